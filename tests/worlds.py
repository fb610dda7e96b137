"""Registries with something in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowtime.registry import Registry
from flowtime.registry.catalog import Catalog
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


def publish(
    registry: Registry,
    kind: Any = "run",
    update: str | None = None,
    *,
    files: Mapping[str, bytes] = {"binned_v0.csv": b"x"},
    deterministic: bool = False,
    **fields: Any,
) -> str:
    """The id of a new artifact with these files; what `fields` do not say of its catalog is made up."""
    given = {"name": "one", "owner": "ada", "source": "engine", "engine_version": "1", **fields}
    with registry.stage(kind) as staging:
        for name, data in files.items():
            (staging.path / name).write_bytes(data)
        catalog = Catalog(kind=kind, **given)
        return str(staging.publish(catalog, update=update, deterministic=deterministic)["id"])


def stored_bytes(registry: Registry, id: str, name: str) -> bytes:
    """The bytes of a file of an artifact."""
    with registry.stream(id, name) as stream:
        return stream.read()
