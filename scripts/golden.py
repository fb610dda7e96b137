"""Writes the files that readers of the format are held against, in tests/golden/exports: make golden

They are one model with an edge of everything, in every spelling, with a start in its grid and without.
Write them anew where the format changes, with a new version of it where older readers would misread them.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowtime.service import Flowtime
from flowtime.settings import load

FOLDER = Path(__file__).parents[1] / "tests/golden/exports"
START = ", start: 2025-03-30T00:30:00.25Z"
FILES: dict[str, dict[str, Any]] = {
    "edges.csv": {"format": "gold"},
    "edges.ndjson": {"format": "ndjson"},
    "edges.parquet": {"format": "parquet"},
    "edges.zip": {"format": "bundle"},
    "single.csv": {"format": "gold", "embed": True},
    "bins.csv": {"format": "gold"},
    "bins.ndjson": {"format": "ndjson"},
}
"""Each file, and how it is exported. `bins` has no start in its grid."""


def write(folder: Path) -> None:
    """Runs the models and writes all files into a folder."""
    text = (FOLDER / "edges.yaml").read_text(encoding="utf-8")
    assert START in text
    with tempfile.TemporaryDirectory() as place:
        settings = replace(load({"artifacts": f"{place}/artifacts"}), owner="ada", cache=Path(place, "cache"))
        service = Flowtime(settings)
        for name, document in (("edges", text), ("bins", text.replace(START, ""))):
            model = Path(place, f"{name}.yaml")
            model.write_text(document, encoding="utf-8")
            service.run(str(model), name=name, deterministic=True)
        for name, options in FILES.items():
            run = "bins" if name.startswith("bins") else "edges"
            service.export(run, path=str(folder / name), **options)
        service.registry.close()


if __name__ == "__main__":
    write(FOLDER)
