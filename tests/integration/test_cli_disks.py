"""Read-only file systems and full disks: a clear error, older files intact, nothing half stored."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.commands import listing

FORMATS = ("gold", "ndjson", "parquet")


def read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


def fill(disk: Path, leave: int) -> None:
    """Takes all room of a disk but so many KiB."""
    free = os.statvfs(disk)
    (disk / "filler").write_bytes(b"x" * (free.f_bavail * free.f_frsize - leave * 1024))


def fill_up(disk: Path) -> None:
    """Takes all room that is left."""
    with (disk / "rest").open("wb", buffering=0) as rest, suppress(OSError):
        while rest.write(b"x" * 4096):
            pass


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A model whose table takes more than a small disk has."""
    path = tmp_path / "big.yaml"
    nodes = "".join(
        f"  - {{id: n{i}, kind: expr, expr: LOG(2 + CUMSUM(base) * {i})}}\n" for i in range(1, 20)
    )
    grid = "grid: {bins: 5000, binSize: 1, binUnit: minutes}\n"
    base = "  - {id: base, kind: const, values: 3.7}\n"
    path.write_text(f"{grid}nodes:\n{base}{nodes}", encoding="utf-8")
    return path


def test_a_read_only_registry_is_read_and_not_written(
    flowtime: Any, disk: Any, shop: Path, tmp_path: Path
) -> None:
    small = disk(4096)
    at = ("--artifacts", small / "artifacts")
    run = flowtime("run", "--model", shop, *at, "--json").json
    flowtime("export", "--run", run["id"], "--format", "gold", "--out", "run.csv", *at)
    read_only(small)
    before = listing(small)
    for command in (
        ("run", "--model", shop),
        ("run", "--model", run["model_id"]),
        ("sim", "new", "--template", "checkout"),
        ("import", "--data", "run.csv"),
        ("tag", run["id"], "+a"),
        ("star", run["id"]),
        ("edit", run["id"], "--name", "b"),
        ("delete", "--id", run["id"], "--confirm"),
        ("test-loop", "--model", run["model_id"]),
    ):
        error = flowtime(*command, *at, "--json", code=6).error
        assert (error["kind"], error["code"]) == ("unavailable", "FT605")
        assert error["message"].endswith("Read-only file system")
        assert error["where"].startswith(str(small))
        assert "another folder" in error["hint"]
    assert listing(small) == before
    cache = {"FLOWTIME_CACHE": str(small / "cache")}  # nor can an index be written there
    assert flowtime("list", *at, "--json", env=cache).json["total"] == 2
    assert flowtime("show", run["id"], *at, "--json", env=cache).json["id"] == run["id"]
    assert flowtime("search", "--query", "shop", *at, "--json", env=cache).json["total"] == 2
    assert flowtime("index", "status", *at, "--json", env=cache).json["index"] is None
    flowtime("export", "--run", run["id"], "--format", "parquet", "--out", "again.parquet", *at)
    flowtime("test-loop", "--model", shop, *at)
    flowtime("run", "--model", shop)


def test_a_registry_that_cannot_be_made_on_a_read_only_disk(flowtime: Any, disk: Any, shop: Path) -> None:
    small = disk(1024)
    read_only(small)
    error = flowtime(
        "run", "--model", shop, "--artifacts", small / "new" / "artifacts", "--json", code=6
    ).error
    assert error["code"] == "FT605"
    assert list(small.iterdir()) == []
    absent = flowtime("list", "--artifacts", small / "new" / "artifacts", "--json", code=3).error
    assert absent["code"] == "FT513"


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_to_a_read_only_disk(format: str, flowtime: Any, disk: Any, shop: Path) -> None:
    flowtime("run", "--model", shop)
    small = disk(1024)
    flowtime("export", "--run", "shop_run", "--format", format, "--out", small / "old")
    read_only(small)
    before = listing(small)
    for target in (small / "old", small / "new", small / "below" / "new", f"{small}/"):
        words = ("export", "--run", "shop_run", "--format", format, "--out", target)
        error = flowtime(*words, "--json", code=6).error
        assert error["code"] == "FT415"
        assert str(small) in error["where"]
        assert "read-only" in error["message"]
    error = flowtime(
        "sim", "new", "--template", "checkout", "--out", small / "m.yaml", "--json", code=6
    ).error
    assert error["code"] == "FT415"
    assert listing(small) == before


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_to_a_full_disk_leaves_the_older_file(
    format: str, flowtime: Any, disk: Any, shop: Path, big: Path
) -> None:
    small = disk(1024)
    flowtime("run", "--model", shop)
    flowtime("run", "--model", big)
    flowtime("export", "--run", "shop_run", "--format", format, "--out", small / "old")
    fill(small, leave=100)
    before = listing(small)
    for target in (small / "old", small / "new"):
        error = flowtime(
            "export", "--run", "big_run", "--format", format, "--out", target, "--json", code=6
        ).error
        assert error["code"] == "FT415"
        assert "no space" in error["message"]
        assert "free some space" in error["hint"]
    assert listing(small) == before
    (small / "filler").unlink()
    flowtime("export", "--run", "shop_run", "--format", format, "--out", small / "new")
    flowtime("import", "--data", small / "new")


def test_a_full_registry_stores_nothing_half_and_goes_on_when_there_is_room(
    flowtime: Any, disk: Any, shop: Path, big: Path, tmp_path: Path
) -> None:
    small = disk(2048)
    at = ("--artifacts", small / "artifacts")
    flowtime("run", "--model", big, "--artifacts", "elsewhere")
    flowtime(
        "export",
        "--run",
        "big_run",
        "--artifacts",
        "elsewhere",
        "--format",
        "parquet",
        "--out",
        "big.parquet",
    )
    flowtime("run", "--model", shop, *at)
    fill(small, leave=60)
    before = {
        path: data for path, data in listing(small).items() if ".log" not in path and ".turns" not in path
    }
    for command in (
        ("run", "--model", big),
        ("import", "--data", "big.parquet"),
        ("import", "--data", "big.parquet", "--ignore-metadata"),
    ):
        error = flowtime(*command, *at, "--json", code=6).error
        assert (error["kind"], error["code"]) == ("unavailable", "FT604")
        assert "no room" in error["message"]
        assert "free some space" in error["hint"]
    fill_up(small)
    error = flowtime("sim", "new", "--template", "checkout", *at, "--json", code=6).error
    assert error["code"] == "FT604"
    (small / "rest").unlink()
    after = {
        path: data for path, data in listing(small).items() if ".log" not in path and ".turns" not in path
    }
    # A model file is registered before its run, which may have had room.
    assert {path for path in after if not path.startswith("artifacts/models/big_")} == set(before)
    status = flowtime("index", "rebuild", *at, "--json").json
    assert (status["broken"], status["foreign"]) == ([], [])
    (small / "filler").unlink()
    flowtime("sim", "new", "--template", "checkout", *at)
    flowtime("run", "--model", "checkout", *at)
    flowtime("test-loop", "--model", "checkout", *at)


def test_full_temporary_space_is_told(flowtime: Any, disk: Any, big: Path, tmp_path: Path) -> None:
    small = disk(1024)
    env = {"TMPDIR": str(small)}
    flowtime("run", "--model", big)
    fill(small, leave=100)
    for command in (
        ("test-loop", "--model", big),
        ("export", "--run", "big_run", "--format", "parquet", "--out", "-"),
    ):
        done = flowtime(*command, env=env, code=6)
        assert "space" in done.stderr
    assert [path.name for path in small.iterdir()] == ["filler"]


def test_an_import_that_has_no_room_is_refused_before_it_is_written(
    flowtime: Any, disk: Any, shop: Path, tmp_path: Path
) -> None:
    small = disk(4096)
    at = ("--artifacts", small / "artifacts")
    flowtime("run", "--model", shop, *at)
    text = "time_bin,component_id,measure,value\n" + "".join(f"{i},{'n' * 150},m,1\n" for i in range(30_000))
    (tmp_path / "wide.csv").write_text(text, encoding="utf-8")
    before = listing(small)
    error = flowtime("import", "--data", tmp_path / "wide.csv", *at, "--json", code=6).error
    assert error["code"] == "FT604"
    # What the system says of a disk that became full has no numbers.
    assert "bytes are needed" in error["message"]
    after = listing(small)
    assert {path for path in after if ".turns" not in path} == {
        path for path in before if ".turns" not in path
    }
