"""What is wrong is named with what to do; nothing of it is stored, and everything else goes on working."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests.commands import listing

HEADER = "time_bin,component_id,measure,value\n"
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xdb\x00C\x00"
JUNK = random.Random(3).randbytes(5000)


def rows(*lines: str) -> bytes:
    return (HEADER + "".join(f"{line}\n" for line in lines)).encode()


def archive() -> bytes:
    whole = BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        file.writestr("table.csv", rows("2025-01-01T00:00:00Z,a,b,1"))
    return whole.getvalue()


HOURS = [f"2025-01-01T{hour:02}:00:00Z,shop,orders,{hour}" for hour in range(24)]

DATA: dict[str, tuple[bytes, str, str]] = {
    "an image": (PNG, "FT402", "binary data"),
    "a photo": (JPEG, "FT402", "binary data"),
    "a zip": (archive(), "FT416", "taken out first"),
    "a pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "FT402", "PDF"),
    "a web page": (b"<!doctype html><html>", "FT402", "HTML"),
    "UTF-16": (HEADER.encode("utf-16"), "FT402", "UTF-16"),
    "Latin-1": (rows("2025-01-01T00:00:00Z,Caf\xe9,b,1").decode().encode("latin-1"), "FT402", "UTF-8"),
    "junk": (JUNK, "FT402", ""),
    "an empty file": (b"", "FT402", "empty"),
    "white space": (b" \n\n", "FT402", "empty"),
    "a header alone": (rows(), "FT402", "no rows"),
    "prose": (b"hello\nthis is no table\n", "FT403", "time_bin"),
    "a JSON array": (b'[{"time_bin": 0}]', "FT402", "NDJSON"),
    "a cut-off gzip": (gzip.compress(rows(*HOURS) * 50)[:-20], "FT402", "cut off"),
    "a cut-off parquet": (b"PAR1" + JUNK, "FT402", ""),
    "a line cut off": (rows(*HOURS)[:-9], "FT402", "cut off"),
    "1e400": (rows(*HOURS[:5], "2025-01-01T05:00:00Z,shop,orders,1e400", *HOURS[6:]), "FT404", "1e400"),
    "nan": (rows(*HOURS[:5], "2025-01-01T05:00:00Z,shop,orders,nan", *HOURS[6:]), "FT404", "nan"),
    "a word": (rows(*HOURS[:5], "2025-01-01T05:00:00Z,shop,orders,five", *HOURS[6:]), "FT404", "five"),
    "a row twice": (rows(*HOURS, HOURS[7]), "FT408", "07:00"),
    "a bin off the grid": (rows(*HOURS, "2025-01-01T09:20:00Z,shop,orders,1"), "", "09:20"),
    "a bin missing": (rows(*HOURS[:9], *HOURS[10:]), "FT407", "09:00"),
    "a column missing": (b"time_bin,component_id,value\n0,a,1\n", "FT403", "measure"),
    "a column twice": (b"time_bin,component_id,measure,value,value\n0,a,b,1,1\n", "FT403", "value"),
    "a column too many": (b"time_bin,component_id,measure,value,note\n0,a,b,1,x\n", "FT403", "note"),
}


@pytest.mark.parametrize("name", DATA)
def test_a_bad_data_file_is_refused(name: str, flowtime: Any, tmp_path: Path) -> None:
    data, code, said = DATA[name]
    path = tmp_path / "data.csv"
    path.write_bytes(data)
    grid = ["--grid", "bins=24,size=1,unit=hours,start=2025-01-01T00:00:00Z"] if "bin" in name else []
    done = flowtime("import", "--data", "data.csv", *grid, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith(f"error FT4{code[3:]}")
    assert "data.csv" in done.stderr
    assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]
    streamed = flowtime("import", "--data", "-", *grid, stdin=data, code=2)
    assert said in streamed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_all_bad_rows_are_told_at_once(flowtime: Any, tmp_path: Path) -> None:
    bad = [
        "x,a,b,1",
        "2025-01-01T00:00:00Z,,b,1",
        "2025-01-01T01:00:00Z,a,b,1e400",
        "2025-01-01T02:00:00Z,a,=b,1",
    ]
    (tmp_path / "data.csv").write_bytes(rows(*bad))
    error = flowtime("import", "--data", "data.csv", "--json", code=2).error
    assert error["count"] == len(error["errors"]) == 4
    assert [one["line"] for one in error["errors"]] == [2, 3, 4, 5]


def test_what_cannot_be_written_is_spelled_out(flowtime: Any, tmp_path: Path) -> None:
    (tmp_path / "data.ndjson").write_bytes(
        b'{"time_bin": 0, "component_id": "\\ud800", "measure": "b", "value": 1}\n'
    )
    error = flowtime("import", "--data", "data.ndjson", "--errors", "bad.csv", "--json", code=2).error
    assert (error["code"], error["errors"][0]["message"].startswith('component_id "\\ud800"')) == (
        "FT404",
        True,
    )
    assert "\\ud800" in (tmp_path / "bad.csv").read_text()


MODELS: dict[str, tuple[bytes, str, str]] = {
    "an image": (PNG, "FT10", ""),
    "junk": (JUNK, "FT10", ""),
    "a zip": (archive(), "FT10", ""),
    "an empty file": (b"", "FT", ""),
    "a list": (b"- 1\n- 2\n", "FT2", ""),
    "cut off": (b"nodes:\n  - {id: a, kind: const, val", "FT101", "flow mapping"),
    "1e400": (b"nodes:\n  - {id: a, kind: const, values: 1e400}\n", "FT200", "1e400"),
    "an unknown series": (
        b"nodes:\n  - {id: visits, kind: const, values: 1}\n  - {id: b, kind: expr, expr: visit * 2}\n",
        "FT200",
        'did you mean "visits"?',
    ),
    "a cycle": (
        b"nodes:\n  - {id: a, kind: expr, expr: b}\n  - {id: b, kind: expr, expr: a}\n",
        "FT200",
        "a -> b",
    ),
    "a csv above its folder": (
        b"nodes:\n  - {id: a, kind: const, values: {csv: ../x.csv, column: a}}\n",
        "FT200",
        "../x.csv",
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "command", [("run", "--model"), ("test-loop", "--model"), ("explain",), ("sim", "validate")]
)
def test_a_bad_model_file_is_refused(
    name: str, command: tuple[str, ...], flowtime: Any, tmp_path: Path
) -> None:
    data, code, said = MODELS[name]
    (tmp_path / "model.yaml").write_bytes(data)
    error = flowtime(*command, "model.yaml", "--json", code=2).error
    assert error["code"].startswith(code)
    told = str(error)
    assert said in told
    assert "model.yaml" in told
    assert [path.name for path in tmp_path.iterdir()] == ["model.yaml"]


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--model", "shop.yml"),
        ("test-loop", "--model", "./shop"),
        ("explain", "shop.json"),
        ("sim", "validate", "shop.yaml"),
        ("import", "--data", "shop.csv"),
        ("sim", "new", "--template", "checkout", "--params", "values.yaml"),
    ],
)
def test_a_missing_file_or_a_folder_in_its_place(
    command: tuple[str, ...], flowtime: Any, tmp_path: Path
) -> None:
    name = command[-1]
    error = flowtime(*command, "--json", code=3).error
    assert (error["kind"], error["code"]) == ("not_found", "FT105")
    assert Path(name).name in f"{error['message']} {error['where']}"
    (tmp_path / name).mkdir()
    error = flowtime(*command, "--json", code=2).error
    assert error["kind"] == "invalid"
    assert "folder" in error["message"]
    assert [path.name for path in tmp_path.iterdir()] == [Path(name).name]


def test_a_misspelt_file_is_guessed(flowtime: Any, tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text("nodes: []\n")
    error = flowtime("run", "desk.yml", "--json", code=3).error
    assert (error["code"], error["hint"]) == ("FT105", 'did you mean "desk.yaml"?')


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--model"),
        ("export", "--format", "gold", "--out", "x.csv", "--run"),
        ("test-loop", "--model"),
        ("compare", "--baseline", "shop_run", "--comparison"),
        ("explain",),
        ("show",),
        ("open", "--print", "--id"),
        ("tag", "+a"),
        ("star",),
        ("edit", "--name", "b"),
        ("delete", "--confirm", "--id"),
        ("restore",),
        ("purge", "--confirm"),
        ("sim", "new", "--template", "checkout", "--update"),
        ("import", "--data", "data.csv", "--model"),
    ],
)
def test_an_unknown_id_is_told_with_the_nearest_there_is(
    command: tuple[str, ...],
    flowtime: Any,
    shop: Path,
    tmp_path: Path,
) -> None:
    flowtime("run", "--model", shop)
    (tmp_path / "data.csv").write_bytes(rows(*HOURS))
    before = listing(tmp_path)
    reference = "shop_rum" if {"export", "compare"} & set(command) else "shap"
    words = (command[0], reference, *command[1:]) if command[0] == "tag" else (*command, reference)
    error = flowtime(*words, "--json", code=3).error
    assert (error["kind"], error["code"]) == ("not_found", "FT501")
    assert f'"{reference}"' in error["message"]
    assert error["hint"] or command[0] in {"restore", "purge"}
    if command[0] not in {"restore", "purge"}:
        assert "shop" in error["hint"]
    assert listing(tmp_path) == before


def test_an_artifact_of_another_kind_is_told(flowtime: Any, shop: Path) -> None:
    run = flowtime("run", "--model", shop, "--json").json
    error = flowtime("run", "--model", run["id"], "--json", code=2).error
    assert error["code"] == "FT507"
    error = flowtime(
        "export", "--run", run["model_id"], "--format", "gold", "--out", "x", "--json", code=2
    ).error
    assert error["code"] == "FT507"
    error = flowtime("explain", "shop_run", "--json", code=2).error
    assert (error["code"], error["message"]) == ("FT507", '"shop_run" is a run')
    flowtime("export", "--run", run["id"], "--format", "bundle", "--out", "shop.zip")
    flowtime("import", "--data", "shop.zip", "--name", "measured")
    error = flowtime("test-loop", "--model", "measured", "--json", code=2).error
    assert (error["message"], error["hint"]) == ('"measured" is telemetry', "wanted: model")


def test_a_damaged_artifact_is_told_and_the_others_go_on(flowtime: Any, shop: Path, tmp_path: Path) -> None:
    good = flowtime("run", "--model", shop, "--name", "good", "--json").json
    for number, damage in enumerate((b"", b"{", JUNK, b"[]", b"null")):
        run = flowtime("run", "--model", shop, "--name", f"bad-{number}", "--json").json
        Path(run["files"]["catalog"]).write_bytes(damage)
        flowtime("show", run["id"], "--json", code=6)
    data = flowtime("run", "--model", shop, "--name", "flipped", "--json").json
    table = Path(data["files"]["data"])
    table.write_bytes(table.read_bytes().replace(b"4", b"5", 1))
    error = flowtime(
        "export", "--run", "flipped", "--format", "gold", "--out", "x.csv", "--json", code=6
    ).error
    assert "flipped" in str(error)
    assert not (tmp_path / "x.csv").exists()
    status = flowtime("index", "rebuild", "--json").json
    assert len(status["broken"]) == 5
    assert flowtime("show", good["id"], "--json").json["id"] == good["id"]
    flowtime("export", "--run", "good", "--format", "gold", "--out", "x.csv")


@pytest.mark.parametrize("root", ["file", "file/below"])
def test_a_registry_root_that_is_a_file(root: str, flowtime: Any, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for command in (
        ("run", "--model", str(shop)),
        ("sim", "new", "--template", "checkout"),
        ("list",),
        ("index", "rebuild"),
    ):
        error = flowtime(*command, "--artifacts", root, "--json", code=6).error
        assert "file" in error["where"]
        assert error["hint"]
    assert (tmp_path / "file").read_text() == "precious"
    flowtime("run", "--model", shop)


@pytest.mark.parametrize("root", ["gs://bucket/x", "ftp://host", "file://otherhost/x"])
def test_a_registry_root_that_no_store_takes(root: str, flowtime: Any, tmp_path: Path) -> None:
    error = flowtime("list", "--artifacts", root, "--json", code=2).error
    assert error["code"] == "FT602"
    assert list(tmp_path.iterdir()) == []


def test_a_text_that_is_no_text_is_refused(flowtime: Any, tmp_path: Path) -> None:
    for option in ("--name", "--description", "--owner", "--tags"):
        words = ("sim", "new", "--template", "checkout", option, os.fsdecode(b"caf\xe9"))
        assert flowtime(*words, "--json", code=2).error["code"] == "FT508"
    assert not list(tmp_path.glob("artifacts/models/*"))


@pytest.mark.parametrize("target", ["here", "file.csv/x.csv", "a" * 300 + ".csv"])
def test_an_export_to_where_no_file_can_be(target: str, flowtime: Any, shop: Path, tmp_path: Path) -> None:
    run = flowtime("run", "--model", shop, "--json").json
    (tmp_path / "file.csv").write_text("precious")
    (tmp_path / "here" / (run["id"] + ".csv")).mkdir(parents=True)
    error = flowtime(
        "export", "--run", run["id"], "--format", "gold", "--out", target, "--json", code=2
    ).error
    assert error["code"] == "FT413"
    assert (tmp_path / "file.csv").read_text() == "precious"
    assert list(tmp_path.rglob("*.tmp")) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not stop root")
def test_a_folder_without_permission(flowtime: Any, shop: Path, tmp_path: Path) -> None:
    flowtime("run", "--model", shop)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    error = flowtime(
        "export", "--run", "shop_run", "--format", "gold", "--out", "closed/x.csv", "--json", code=5
    ).error
    assert error["code"] == "FT414"
    error = flowtime("run", "--model", shop, "--artifacts", "closed/artifacts", "--json", code=6).error
    assert error["code"] == "FT605"
    assert list(closed.iterdir()) == []


def test_output_that_cannot_be_written_is_told(flowtime: Any, shop: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    flowtime("run", "--model", shop)
    for command in (("list",), ("export", "--run", "shop_run", "--format", "parquet", "--out", "-")):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "flowtime", *command],
                cwd=tmp_path,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 6
        assert "No space left" in done.stderr
