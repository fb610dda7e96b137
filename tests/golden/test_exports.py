"""The exports that readers of the format are held against: they are read for good, and written as ever."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scripts.golden import FILES, FOLDER, write

from flowtime.service import Flowtime
from flowtime.settings import load

GUIDE = Path(__file__).parents[2] / "docs/guides/write-a-reader.md"
DIGESTS = {
    "edges": "sha256:a609974d7d49b7202675137ce9a1b51378f55be5e41fe893d45820c62a9698ce",
    "bins": "sha256:48303a9f0075718bd640b47cd61e40322b633a502d39d1f9ea3754c66837e86e",
}


@pytest.mark.parametrize("name", FILES)
def test_the_file_comes_back_whole(name: str, tmp_path: Path) -> None:
    service = Flowtime(load({"artifacts": str(tmp_path / "artifacts")}))
    telemetry = service.import_data(FOLDER / name)
    assert telemetry["data"]["digest"] == DIGESTS[name.partition(".")[0].replace("single", "edges")]
    assert telemetry["rebuilt"] is True
    assert telemetry["conformance"]["ok"] is True


def test_tables_have_the_bytes_that_they_had(tmp_path: Path) -> None:
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} | {"edges.yaml"} == {
        path.name for path in FOLDER.iterdir()
    }
    for name in ("edges.csv", "edges.ndjson", "bins.csv", "bins.ndjson"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name


def test_the_guide_shows_the_model_and_every_file() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```yaml edges\.yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert shown == (FOLDER / "edges.yaml").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(\.\./\.\./tests/golden/exports/([\w.]+)\)", text))
    assert linked | {"edges.yaml"} == {path.name for path in FOLDER.iterdir()}
    assert all(digest in text for digest in DIGESTS.values())
