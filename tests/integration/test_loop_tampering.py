"""A file that was changed after export is refused, and nothing of it is stored."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.commands import listing

from flowtime.errors import InvalidInput
from flowtime.service import Flowtime
from flowtime.settings import load

FLIPS = 300
FILES = ("run.csv", "run.csv.datapackage.json", "run.ndjson", "run.ndjson.datapackage.json", "run.parquet")


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flowtime]:
    flow = Flowtime(load({"artifacts": str(tmp_path / "artifacts")}))
    yield flow
    flow.registry.close()


@pytest.fixture
def files(flow: Flowtime, shop: Path, tmp_path: Path) -> Path:
    """A run in every format; the registry that is asked to import them knows nothing of it."""
    elsewhere = Flowtime(load({"artifacts": str(tmp_path / "elsewhere")}))
    run = elsewhere.run(str(shop), name="run", tags=("a", "b"), description="as it was")
    for format, suffix in (("gold", "csv"), ("ndjson", "ndjson"), ("parquet", "parquet")):
        elsewhere.export(run["id"], format, str(tmp_path / f"run.{suffix}"))
    flow.run(str(shop), name="unrelated", seed=1)
    return tmp_path


def changes(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """The data with one byte changed, to any other value."""
    for _ in range(FLIPS):
        at = chance.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :]


@pytest.mark.parametrize("name", FILES)
def test_no_changed_byte_passes(name: str, flow: Flowtime, files: Path, tmp_path: Path) -> None:
    original = (files / name).read_bytes()
    data = files / name.removesuffix(".datapackage.json")
    before = listing(tmp_path / "artifacts")
    for changed in changes(original, random.Random(name)):
        (files / name).write_bytes(changed)
        with pytest.raises(InvalidInput) as caught:
            flow.import_data(data)
        assert str(data) in str(caught.value)
    assert listing(tmp_path / "artifacts") == before
    (files / name).write_bytes(original)
    assert flow.import_data(data)["rebuilt"]


@pytest.mark.parametrize("name", FILES)
def test_no_file_that_was_cut_off_passes(name: str, flow: Flowtime, files: Path, tmp_path: Path) -> None:
    original = (files / name).read_bytes()
    data = files / name.removesuffix(".datapackage.json")
    before = listing(tmp_path / "artifacts")
    chance = random.Random(name)
    for length in {0, 1, 4, len(original) - 1, *(chance.randrange(len(original)) for _ in range(30))}:
        (files / name).write_bytes(original[:length])
        with pytest.raises(InvalidInput):
            flow.import_data(data)
    assert listing(tmp_path / "artifacts") == before


@pytest.mark.parametrize("name", FILES)
def test_the_command_exits_2_and_says_what_to_do(
    name: str, flowtime: Any, files: Path, tmp_path: Path
) -> None:
    original = (files / name).read_bytes()
    data = files / name.removesuffix(".datapackage.json")
    (files / name).write_bytes(next(changes(original, random.Random(name))))
    before = listing(tmp_path / "artifacts")
    error = flowtime("import", "--data", data, "--json", code=2).error
    assert error["kind"] == "invalid"
    assert str(data) in error["where"]
    assert error["hint"]
    assert listing(tmp_path / "artifacts") == before


def test_a_file_of_another_run_beside_its_sidecar_is_refused(
    flowtime: Any, files: Path, tmp_path: Path
) -> None:
    shutil.copy(files / "run.csv.datapackage.json", files / "other.csv.datapackage.json")
    flowtime("export", "--run", "unrelated", "--format", "gold", "--out", "unrelated.csv")
    shutil.copy(files / "unrelated.csv", files / "other.csv")
    error = flowtime("import", "--data", "other.csv", "--json", code=2).error
    assert error["code"] == "FT410"
    assert "--ignore-metadata" in error["hint"]
    taken = flowtime("import", "--data", "other.csv", "--ignore-metadata", "--json").json
    assert taken["rebuilt"] is False
