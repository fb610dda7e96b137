"""Export and import by the real command: bundles between registries, other people's tables, streams."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vega_datasets

SEATTLE = str(Path(vega_datasets.__file__).parent / "_data" / "seattle-temps.csv")
AS_IT_IS = ("--wide", "--component", "seattle", "--time-format", "%Y/%m/%d %H:%M")


def flowtime(folder: Path, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "flowtime", *words]
    return subprocess.run(command, cwd=folder, input=data, capture_output=True, check=False)


def done(folder: Path, *words: str, data: bytes | None = None) -> bytes:
    finished = flowtime(folder, *words, data=data)
    assert finished.returncode == 0, finished.stderr.decode()
    return finished.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry `here` with a run."""
    path = tmp_path_factory.mktemp("exchange")
    done(path, "sim", "new", "--template", "checkout", "--name", "base", "--artifacts", "here")
    done(path, "run", "--model", "base", "--name", "base-run", "--artifacts", "here")
    return path


def test_a_bundle_brings_the_model_along(folder: Path) -> None:
    exported = ("export", "--run", "base-run", "--artifacts", "here", "--format", "bundle")
    done(folder, *exported, "--out", "x.zip")
    assert done(folder, *exported, "--out", "-") == (folder / "x.zip").read_bytes()
    said = done(folder, "import", "--data", "x.zip", "--artifacts", "there").decode()
    assert "✓ the model is here as base_" in said
    command = next(line for line in said.splitlines() if "flowtime run --model" in line)
    words = command.split("flowtime ", 1)[1].split()
    run = json.loads(done(folder, *words, "--json"))
    original = json.loads(done(folder, "show", "base-run", "--artifacts", "here", "--json"))
    assert run["data"]["digest"] == original["data"]["digest"]


def test_a_csv_with_its_metadata_goes_through_a_pipe(folder: Path) -> None:
    words = ("export", "--run", "base-run", "--artifacts", "here", "--format", "csv", "--embed-metadata")
    text = done(folder, *words, "--out", "-")
    assert text.startswith(b"# flowtime: ")
    catalog = json.loads(done(folder, "import", "--data", "-", "--artifacts", "pipe", "--json", data=text))
    assert catalog["rebuilt"]
    assert catalog["conformance"]["ok"]


def test_a_workbook_is_written_and_not_read(folder: Path) -> None:
    done(folder, "export", "--run", "base-run", "--artifacts", "here", "--format", "xlsx", "--out", "book/")
    (book,) = (folder / "book").iterdir()
    refused = flowtime(folder, "import", "--data", str(book), "--artifacts", "there")
    assert refused.returncode == 2
    assert b"Save the table in it as CSV" in refused.stderr


def test_seattle_from_the_raw_file_in_one_command(folder: Path) -> None:
    refused = flowtime(folder, "import", "--data", SEATTLE, *AS_IT_IS, "--timezone", "America/Los_Angeles")
    assert refused.returncode == 2
    assert b"clocks went forward from 02:00 to 03:00" in refused.stderr
    said = done(
        folder,
        "import",
        "--data",
        SEATTLE,
        *AS_IT_IS,
        "--timezone",
        "-08:00",
        "--missing",
        "null",
        "--name",
        "s",
    ).decode()
    assert "1 series over 8,760 bins of 1 hour from 2010-01-01T08:00:00Z" in said
    assert "note: 1 gap filled: --missing null" in said
    assert "note: the last line does not end with a line break; it was taken as complete" in said
    stored = json.loads(done(folder, "show", "s", "--json"))["stats"]["import"]
    assert (stored["read"]["timezone"], stored["filled"]) == ("-08:00", 1)


def test_wrong_rows_go_to_a_table(folder: Path) -> None:
    (folder / "w.csv").write_text("ts;cpu\n0;1,5\n1;x\n")
    words = ("import", "--data", "w.csv", "--wide", "--component", "a", "--delimiter", ";", "--decimal-comma")
    refused = flowtime(folder, *words, "--errors", "wrong.csv", "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "FT404"
    assert (folder / "wrong.csv").read_text().splitlines()[1].startswith('3,FT404,"cpu ""x"": is not')


@pytest.mark.parametrize("format", ["gold", "ndjson", "parquet", "bundle", "xlsx"])
def test_nothing_is_written_of_a_damaged_run(folder: Path, tmp_path: Path, format: str) -> None:
    shutil.copytree(folder / "here", tmp_path / "here")
    (data,) = (tmp_path / "here").glob("runs/*/binned_v0.csv")
    text = data.read_bytes()
    data.chmod(0o644)
    data.write_bytes(text[:-2] + bytes([text[-2] ^ 1]) + text[-1:])
    words = ("export", "--run", "base-run", "--artifacts", "here", "--format", format)
    to_file = flowtime(tmp_path, *words, "--out", "files/")
    to_pipe = flowtime(tmp_path, *words, "--out", "-")
    for refused in (to_file, to_pipe):
        assert refused.returncode != 0
        assert b"FT805" in refused.stderr
        assert b"restore it from a backup" in refused.stderr
    assert to_pipe.stdout == b""
    assert not list((tmp_path / "files").glob("*"))
