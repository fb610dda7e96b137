"""Export and import by the real command: bundles between registries, other people's tables, streams."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
import vega_datasets
from tests.commands import Command

SEATTLE = str(Path(vega_datasets.__file__).parent / "_data" / "seattle-temps.csv")
AS_IT_IS = ("--wide", "--component", "seattle", "--time-format", "%Y/%m/%d %H:%M")


@pytest.fixture(scope="module")
def flowtime(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command, in a folder with a registry `here` that has a run."""
    command = Command(tmp_path_factory.mktemp("exchange"))
    command("sim", "new", "--template", "checkout", "--name", "base", "--artifacts", "here")
    command("run", "--model", "base", "--name", "base-run", "--artifacts", "here")
    return command


def test_a_bundle_brings_the_model_along(flowtime: Command) -> None:
    exported = ("export", "--run", "base-run", "--artifacts", "here", "--format", "bundle")
    flowtime(*exported, "--out", "x.zip")
    assert flowtime(*exported, "--out", "-").raw == (flowtime.folder / "x.zip").read_bytes()
    said = flowtime("import", "--data", "x.zip", "--artifacts", "there").stdout
    assert "✓ the model is here as base_" in said
    command = next(line for line in said.splitlines() if "flowtime run --model" in line)
    words = command.split("flowtime ", 1)[1].split()
    run = flowtime(*words, "--json").json
    original = flowtime("show", "base-run", "--artifacts", "here", "--json").json
    assert run["data"]["digest"] == original["data"]["digest"]


def test_a_csv_with_its_metadata_goes_through_a_pipe(flowtime: Command) -> None:
    words = ("export", "--run", "base-run", "--artifacts", "here", "--format", "csv", "--embed-metadata")
    text = flowtime(*words, "--out", "-").raw
    assert text.startswith(b"# flowtime: ")
    catalog = flowtime("import", "--data", "-", "--artifacts", "pipe", "--json", stdin=text).json
    assert catalog["rebuilt"]
    assert catalog["conformance"]["ok"]


def test_import_says_how_it_recognised_a_file(flowtime: Command, tmp_path: Path) -> None:
    run = flowtime("show", "base-run", "--artifacts", "here", "--json").json["id"]

    def said(format: str, *options: str, alone: bool = False) -> list[str]:
        path = tmp_path / f"{run}.{format}"
        flowtime("export", "--run", run, "--format", format, "--out", path, *options, "--artifacts", "here")
        if alone:
            path.with_name(f"{path.name}.datapackage.json").unlink()
        return flowtime("import", path, "--dry-run", "--artifacts", "here").stdout.splitlines()

    came = "✓ the model came back with it; its graph was computed again"
    for format, options, by in (
        ("csv", (), "sidecar"),
        ("ndjson", (), "sidecar"),
        ("csv", ("--embed-metadata",), "embedded header"),
        ("parquet", (), "footer"),
        ("bundle", (), "bundle"),
    ):
        lines = said(format, *options)
        assert f"recognised by its {by}: the export of {run}" in lines
        assert came in lines
    for path in tmp_path.iterdir():
        path.unlink()
    lines = said("csv", alone=True)
    assert f"recognised by its digest: the series of {run}" in lines
    assert came in lines
    lines = flowtime(
        "import", tmp_path / f"{run}.csv", "--dry-run", "--artifacts", "nowhere"
    ).stdout.splitlines()
    assert "not recognised: it brings no metadata, and nothing here has these series" in lines
    assert "no model came along; --model MODEL checks the data against one" in lines
    again = flowtime("run", "base", "--name", "again", "--artifacts", "here", "--json").json["id"]
    lines = flowtime("import", tmp_path / f"{run}.csv", "--artifacts", "here").stdout.splitlines()
    assert (
        f"recognised by its digest: the series of {again}, {run}; --run ID says whose export it is" in lines
    )
    assert came in lines
    flowtime("delete", again, "--confirm", "--force", "--artifacts", "here")


def test_a_workbook_is_written_and_not_read(flowtime: Command) -> None:
    flowtime("export", "--run", "base-run", "--artifacts", "here", "--format", "xlsx", "--out", "book/")
    (book,) = (flowtime.folder / "book").iterdir()
    refused = flowtime("import", "--data", book, "--artifacts", "there", code=2)
    assert "save the table in it as CSV" in refused.stderr


def test_seattle_from_the_raw_file_in_one_command(flowtime: Command) -> None:
    words = ("import", "--data", SEATTLE, *AS_IT_IS)
    refused = flowtime(*words, "--timezone", "America/Los_Angeles", code=2)
    assert "clocks went forward from 02:00 to 03:00" in refused.stderr
    said = flowtime(*words, "--timezone", "-08:00", "--missing", "null", "--name", "s").stdout
    assert "1 series over 8,760 bins of 1 hour from 2010-01-01T08:00:00Z" in said
    assert "note: 1 gap filled: --missing null" in said
    assert "note: the last line does not end with a line break; it was taken as complete" in said
    stored = flowtime("show", "s", "--json").json["stats"]["import"]
    assert (stored["read"]["timezone"], stored["filled"]) == ("-08:00", 1)


def test_wrong_rows_go_to_a_table(flowtime: Command) -> None:
    (flowtime.folder / "w.csv").write_text("ts;cpu\n0;1,5\n1;x\n")
    words = ("import", "--data", "w.csv", "--wide", "--component", "a", "--delimiter", ";", "--decimal-comma")
    assert flowtime(*words, "--errors", "wrong.csv", "--json", code=2).error["code"] == "FT404"
    written = (flowtime.folder / "wrong.csv").read_text().splitlines()
    assert written[1].startswith('3,FT404,"cpu ""x"": is not')


@pytest.mark.parametrize("format", ["gold", "ndjson", "parquet", "bundle", "xlsx"])
def test_nothing_is_written_of_a_damaged_run(flowtime: Command, tmp_path: Path, format: str) -> None:
    shutil.copytree(flowtime.folder / "here", tmp_path / "here")
    (data,) = (tmp_path / "here").glob("runs/*/binned_v0.csv")
    text = data.read_bytes()
    data.chmod(0o644)
    data.write_bytes(text[:-2] + bytes([text[-2] ^ 1]) + text[-1:])
    words = ("export", "--run", "base-run", "--artifacts", "here", "--format", format)
    to_file = flowtime(*words, "--out", "files/", cwd=tmp_path, code=6)
    to_pipe = flowtime(*words, "--out", "-", cwd=tmp_path, code=6)
    for refused in (to_file, to_pipe):
        assert "FT805" in refused.stderr
        assert "restore it from a backup" in refused.stderr
    assert to_pipe.raw == b""
    assert not list((tmp_path / "files").glob("*"))


HEAD = "time_bin,component_id,measure,value"
STRICT = {
    "indices": "time_bin,component_id,measure,value\n0,a,m,1\n1,a,m,2\n",
    "one time": "time_bin,component_id,measure,value\n2025-01-01T00:00:00Z,a,m,1\n",
    "a gap": "time_bin,component_id,measure,value\n"
    + "".join(f"2025-01-01T0{hour}:00:00Z,a,m,{hour}\n" for hour in (0, 1, 3)),
    "two rows for a bin": "time_bin,component_id,measure,value\n0,a,m,1\n1,a,m,2\n1,a,m,2\n",
    "another column": "time_bin,component_id,measure,value,host\n0,a,m,1,x\n1,a,m,2,x\n",
    "another name": "timestamp,component_id,measure,value\n0,a,m,1\n1,a,m,2\n",
    "another spelling": f"{HEAD}\n2025-01-01 00:00,a,m,1\n2025-01-01 01:00,a,m,2\n",
}


@pytest.mark.parametrize("name", STRICT)
def test_the_hints_of_a_strict_import_work(flowtime: Command, tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(STRICT[name], encoding="utf-8")
    words = ["--validate-schema"]
    for _ in range(4):
        ended = flowtime("import", path, *words, "--artifacts", "strict", "--json", code=None)
        if ended.code == 0:
            break
        hint = ended.error["hint"]
        if "leave out --validate-schema" in hint or "without --validate-schema" in hint:
            words.remove("--validate-schema")
        said = [word.strip(",;") for word in shlex.split(hint.partition("; then ")[2] or hint)]
        at = next((at for at, word in enumerate(said) if word.startswith("--")), None)
        if at is not None and said[at] == "--duplicates":  # the hint names what it takes
            words += ["--duplicates", "first"]
        elif at is not None and said[at] != "--validate-schema":
            words += said[at : at + (1 if said[at] == "--ignore-extra" else 2)]
    assert ended.code == 0, ended.stdout
    assert ended.json["data"]["series"] == 1
    assert ("--validate-schema" in words) == (name in {"indices", "one time"})
