"""Options mean what they say, and what people type leads to what they meant."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import httpx
import pytest

MODEL = """grid: {bins: 3}
nodes:
  - {id: a, kind: const, values: [1, 2, 3]}
  - {id: b, kind: expr, expr: a * 2}
"""


@pytest.fixture
def run(flowtime: Any, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "a.yaml").write_text(MODEL, encoding="utf-8")
    made: dict[str, Any] = flowtime("run", "a.yaml", "--name", "monday", "--json").json
    return made


def test_workers_without_samples_say_what_they_are_for(flowtime: Any, run: dict[str, Any]) -> None:
    error = flowtime("run", run["model_id"], "--workers", "2", "--json", code=2).error
    assert error["code"] == "FT803"
    assert error["message"].startswith("--workers shares samples out among processes")
    assert error["message"].endswith("say how many with --samples N")
    assert flowtime("list", "--kind", "run", "--json").json["total"] == 1


@pytest.mark.parametrize("name", ["results.csv", "r.Parquet", "out/r.ndjson.gz", "r.xlsx", "r.yaml"])
def test_no_registry_is_made_where_a_file_was_meant(
    flowtime: Any, run: dict[str, Any], tmp_path: Path, name: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    error = flowtime("run", "a.yaml", "--out", name, "--json", code=2).error
    assert error["code"] == "FT602"
    assert f"flowtime export --run ID --out {name}" in error["hint"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_called_like_a_file_stays_a_registry(flowtime: Any, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MODEL, encoding="utf-8")
    (tmp_path / "old.zip").mkdir()
    flowtime("run", "a.yaml", "--out", "old.zip")
    assert flowtime("list", "--out", "old.zip", "--json").json["total"] == 2


def test_a_format_that_is_not_the_name_s_is_asked_about(
    flowtime: Any, run: dict[str, Any], tmp_path: Path
) -> None:
    error = flowtime("export", run["id"], "--format", "gold", "--out", "z.parquet", "--json", code=2).error
    assert error["code"] == "FT418"
    assert error["hint"] == "say which is meant: --format parquet, or a name with .csv"
    assert not (tmp_path / "z.parquet").exists()
    flowtime("export", run["id"], "--format", "gold", "--out", "z.txt")
    flowtime("export", run["id"], "--format", "csv", "--out", "z.csv")


def test_files_have_one_shape(flowtime: Any, run: dict[str, Any]) -> None:
    assert list(run["files"])[:2] == ["catalog", "data"]
    shown = flowtime("show", run["id"], "--json").json["files"]
    [listed] = flowtime("list", "--kind", "run", "--json").json["artifacts"]
    assert listed["files"] == shown == run["files"]
    model = flowtime("show", run["model_id"], "--json").json["files"]
    assert list(model) == ["catalog", "model", "preview"]


def test_what_people_type_leads_to_what_they_meant(flowtime: Any, run: dict[str, Any]) -> None:
    assert flowtime("help", "run").stdout == flowtime("run", "--help").stdout
    assert flowtime("help").stdout == flowtime("--help").stdout
    assert flowtime("version").stdout == flowtime("--version").stdout
    assert flowtime("validate", "a.yaml", "--json").json["kind"] == "model"
    assert flowtime("list", "--limit", "1", "--json").json["size"] == 1
    assert 'did you mean "run"' in flowtime("help", "rnu", code=2).stderr


def narrow(folder: Path, *words: str) -> str:
    """What a command prints on a terminal of 40 columns."""
    own, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 40, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "flowtime", *words], cwd=folder, env=env, stdout=other, stderr=other
    )
    os.close(other)
    said = b""
    while True:
        try:
            piece = os.read(own, 65536)
        except OSError:
            break
        if not piece:
            break
        said += piece
    process.wait()
    os.close(own)
    return said.decode()


def test_no_id_is_cut_on_a_narrow_terminal(flowtime: Any, run: dict[str, Any], tmp_path: Path) -> None:
    assert run["id"] in narrow(tmp_path, "list")
    assert run["model_id"] in narrow(tmp_path, "search", "a")
    assert "checkout" in narrow(tmp_path, "sim", "list")
    flowtime("delete", run["id"], "--confirm", "--force")
    assert run["id"] in narrow(tmp_path, "list", "--trash")


def test_unknown_query_parameters_are_refused_on_every_route(
    serve: Any, flowtime: Any, run: dict[str, Any]
) -> None:
    base = serve()
    with httpx.Client(base_url=base, timeout=60) as client:
        described = client.get("/openapi.json").json()["paths"]
        for path, operations in described.items():
            if path.startswith("/login") or path == "/logout":
                continue
            for method in operations:
                answer = client.request(method, path.replace("{id}", run["id"]), params={"tagz": "x"})
                assert (answer.status_code, answer.json()["code"]) == (400, "FT822"), (method, path)
                assert "tagz" in answer.json()["message"]
        answer = client.get("/v1/artifacts", params={"tagz": "x"}).json()
        assert answer["hint"] == 'did you mean "tag"?'
        assert answer["errors"][0]["source"] == "query.tagz"
        assert client.get("/v1/artifacts", params={"tag": "x", "from": "2025-01-01"}).status_code == 200


def test_bad_formats_have_one_status_and_export_heeds_its_format(
    serve: Any, flowtime: Any, run: dict[str, Any]
) -> None:
    with httpx.Client(base_url=serve(), timeout=60) as client:
        answers = [
            client.post("/export", json={"format": "xls"}),
            client.get("/export/xls"),
            client.get(f"/v1/runs/{run['id']}/export/xls"),
            client.post("/v1/import", params={"format": "xls"}, content=b"a,b\n1,2\n"),
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(422, "FT401")}
        answer = client.post("/export", json={"format": "ndjson"})
        assert list(answer.json()["files"]) == ["ndjson"]
        assert client.get(answer.headers["location"]).text.startswith('{"time_bin"')
        assert list(client.post("/export", json={"format": "csv"}).json()["files"]) == ["gold"]
        assert set(client.post("/export").json()["files"]) == {"gold", "ndjson", "parquet", "bundle", "xlsx"}


def test_delete_and_restore_take_a_name_that_means_one(flowtime: Any, run: dict[str, Any]) -> None:
    error = flowtime("delete", "monday", "--json", code=4).error
    assert run["id"] in error["message"]
    assert flowtime("delete", "monday", "--confirm", "--json").json["id"] == run["id"]
    assert flowtime("restore", "monday", "--json").json["id"] == run["id"]
    other = flowtime("run", run["model_id"], "--name", "monday", "--json").json["id"]
    error = flowtime("delete", "monday", "--confirm", "--json", code=2).error
    assert error["code"] == "FT503"
    assert {run["id"], other} == set(error["hint"].removeprefix("one of: ").split(", "))
    for id in (run["id"], other):
        flowtime("delete", id, "--confirm")
    error = flowtime("restore", "monday", "--json", code=2).error
    assert {run["id"], other} == set(error["hint"].removeprefix("one of: ").split(", "))
    assert flowtime("restore", "no-such-thing", "--json", code=3).error["code"] == "FT501"
