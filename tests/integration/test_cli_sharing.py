"""Sharing what is there already, and numbers that scripts can assert."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flowtime.api import access_file

MODEL = """grid: {bins: 4}
nodes:
  - {id: a, kind: const, values: [1, 5, 2, 5]}
  - {id: b, kind: expr, expr: "IF(a > 3, a, LOG(0 - a))"}
  - {id: c, kind: expr, expr: "LOG(0 - a)"}
"""


@pytest.fixture
def run(flowtime: Any, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "a.yaml").write_text(MODEL, encoding="utf-8")
    made: dict[str, Any] = flowtime("run", "a.yaml", "--tags", "peak,q3", "--json").json
    return made


def visibilities(flowtime: Any) -> dict[str, str]:
    items = flowtime("list", "--json").json["artifacts"]
    return {item["kind"]: item["visibility"] for item in items}


def test_many_are_shared_at_once(flowtime: Any, run: dict[str, Any]) -> None:
    page = flowtime("edit", "--tag", "peak", "--visibility", "public", "--json").json
    assert [item["id"] for item in page["artifacts"]] == [run["id"]]
    assert visibilities(flowtime) == {"run": "public", "model": "private"}
    assert "2 artifacts changed" in flowtime("edit", "--all-mine", "--visibility", "public").stdout
    assert visibilities(flowtime) == {"run": "public", "model": "public"}
    other = {"FLOWTIME_OWNER": "somebody-else"}
    assert flowtime("edit", "--all-mine", "--visibility", "private", "--json", env=other, code=3).error
    assert (
        flowtime("edit", "--tag", "nix", "--visibility", "private", "--json", code=3).error["code"] == "FT501"
    )
    for words in (["--all-mine", "--name", "x"], [run["id"], "--all-mine", "--team", "x"], ["--team", "x"]):
        assert flowtime("edit", *words, "--json", code=2).error["code"] == "FT803"


def test_many_get_another_owner_at_once(flowtime: Any, run: dict[str, Any]) -> None:
    assert "2 artifacts changed" in flowtime("edit", "--all-mine", "--owner", "ops").stdout
    assert {item["owner"] for item in flowtime("list", "--json").json["artifacts"]} == {"ops"}


def test_the_visibility_of_a_team_needs_a_team(flowtime: Any, run: dict[str, Any]) -> None:
    for words in ([run["id"]], ["--all-mine"]):
        error = flowtime("edit", *words, "--visibility", "team", "--json", code=2).error
        assert error["code"] == "FT508"
        assert error["hint"] == "name the team with --team NAME; without one only the owner could read it"
    assert visibilities(flowtime) == {"run": "private", "model": "private"}
    flowtime("edit", "--all-mine", "--visibility", "team", "--team", "ops")
    assert flowtime("show", run["id"], "--json").json["team"] == "ops"


def test_a_server_says_what_only_owners_see(flowtime: Any, run: dict[str, Any], tmp_path: Path) -> None:
    access_file.add(tmp_path / "access.toml", "ada", teams=(), role="writer", lifetime=None)

    def started() -> list[str]:
        command = [sys.executable, "-m", "flowtime", "serve", "--port", "0", "--auth", "access.toml"]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [*command, "--out", "artifacts"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        process.terminate()
        rest = process.stdout.read()
        process.stdout.close()
        process.wait()
        return [first, *rest.splitlines()]

    said = started()
    assert said[1] == "only their owners can see 2 of 2 artifacts; share yours:"
    assert said[2] == "  flowtime edit --all-mine --visibility public --artifacts artifacts"
    flowtime(*said[2].split()[1:])
    assert len(started()) == 1


def test_scripts_assert_numbers_without_an_export(flowtime: Any, run: dict[str, Any]) -> None:
    shown = flowtime("show", run["id"], "--json").json
    assert shown["measures"] == run["measures"]
    summaries = {each["component"]: each["summary"] for each in run["measures"]}
    assert summaries == {
        "a": {"min": 1.0, "mean": 3.25, "max": 5.0, "missing": 0, "max_bin": 1},
        "b": {"min": 5.0, "mean": 5.0, "max": 5.0, "missing": 2, "max_bin": 1},
        "c": {"min": None, "mean": None, "max": None, "missing": 4, "max_bin": None},
    }


def test_numbers_of_many_series_lie_beside_the_catalog(flowtime: Any, tmp_path: Path) -> None:
    nodes = [{"id": f"node_{i}", "kind": "const", "values": [i, i + 1]} for i in range(200)]
    document = {"grid": {"bins": 2}, "nodes": nodes}
    (tmp_path / "many.json").write_text(json.dumps(document), encoding="utf-8")
    run = flowtime("run", "many.json", "--json").json
    assert Path(tmp_path, run["files"]["catalog"]).stat().st_size <= 8192
    assert {"details", "data"} <= run["files"].keys()
    shown = flowtime("show", run["id"], "--json").json
    assert [each["summary"]["max"] for each in shown["measures"]] == [i + 1 for i in range(200)]
    assert {each["summary"]["max_bin"] for each in shown["measures"]} == {1}
