"""Registries with something in them, for tests of the faces."""

from __future__ import annotations

from pathlib import Path

from flowtime.service import Flowtime
from flowtime.settings import load


def make_world(folder: Path) -> None:
    """What the examples of the API speak of: in `artifacts` a model and two runs, and `monday.csv`."""
    folder.mkdir(exist_ok=True)
    service = Flowtime(load({"artifacts": str(folder / "artifacts")}))
    model = service.create_model("checkout", name="baseline-v1", tags=("orders",))["id"]
    for name in ("monday", "tuesday"):
        service.run(model, name=name, tags=("orders", "baseline"))
    service.export("monday", "gold", str(folder / "monday.csv"))
    service.registry.close()
