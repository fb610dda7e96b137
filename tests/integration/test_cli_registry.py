"""The registry from the command line: verified, starred, thrown away, and where things came from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.commands import Command


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A registry with a model, its run, and the telemetry that the run's export came back as; their ids."""
    flowtime = Command(tmp_path_factory.mktemp("cli"))
    new = ("sim", "new", "--template", "checkout", "--name", "shop", "--tags", "night", "--json")
    ids = {"model": flowtime(*new).json["id"]}
    ids["run"] = flowtime("run", "--model", "shop", "--name", "shop-run", "--json").json["id"]
    flowtime("export", "--run", ids["run"], "--format", "gold", "--out", "shop.csv")
    ids["telemetry"] = flowtime("import", "--data", "shop.csv", "--name", "back", "--json").json["id"]
    return flowtime.folder / "artifacts", ids


@pytest.fixture
def ids(made: tuple[Path, dict[str, str]], tmp_path: Path) -> dict[str, str]:
    """The ids by kind; the registry in `tmp_path` is a copy of that one."""
    shutil.copytree(made[0], tmp_path / "artifacts")
    return made[1]


def test_index_verify_says_where_and_what_and_exits_with_10(
    flowtime: Command, ids: dict[str, str], tmp_path: Path
) -> None:
    report = flowtime("index", "verify", "--json").json
    assert (report["ok"], report["artifacts"], report["findings"]) == (True, 3, [])
    assert "all as published" in flowtime("index", "verify").stdout
    table = tmp_path / "artifacts/runs" / ids["run"] / "binned_v0.csv"
    data = bytearray(table.read_bytes())
    data[-3] ^= 1
    table.write_bytes(data)
    report = flowtime("index", "verify", "--json", code=10).json
    assert report["ok"] is False
    assert [(each["path"], each["what"]) for each in report["findings"]] == [
        (f"runs/{ids['run']}/binned_v0.csv", "changed")
    ]
    text = flowtime("index", "verify", code=10).stdout
    assert f"changed    runs/{ids['run']}/binned_v0.csv: its hash is" in text
    assert "1 finding" in text
    assert "\x1b" not in text


def test_strangers_and_broken_catalogs_are_listed_by_status(
    flowtime: Command, ids: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "artifacts/notes.txt").write_text("mine")
    (tmp_path / "artifacts/runs/mine").mkdir()
    (tmp_path / "artifacts/runs/mine/notes.txt").write_text("mine")
    (tmp_path / "artifacts/runs" / ids["run"] / "catalog.json").write_text("{")
    status = flowtime("index", "status", "--json").json
    assert [each["path"] for each in status["broken"]] == [f"runs/{ids['run']}"]
    assert {each["path"] for each in status["foreign"]} == {"notes.txt", "runs/mine"}
    assert f"broken     runs/{ids['run']}: catalog.json" in flowtime("index", "status").stdout
    assert flowtime("list", "--json").json["total"] == 2


def test_starred(flowtime: Command, ids: dict[str, str]) -> None:
    assert flowtime("list", "--starred", "--json").json["total"] == 0
    assert "no artifacts match" in flowtime("list", "--starred").stdout
    flowtime("star", ids["run"])
    assert [item["id"] for item in flowtime("list", "--starred", "--json").json["artifacts"]] == [ids["run"]]
    assert flowtime("search", "--query", "shop", "--starred", "--json").json["total"] == 1


def test_what_was_deleted_can_be_found_and_brought_back(flowtime: Command, ids: dict[str, str]) -> None:
    assert "the trash is empty" in flowtime("list", "--trash").stdout
    flowtime("delete", "--id", ids["telemetry"], "--confirm")
    flowtime("delete", "--id", ids["run"], "--confirm")
    trash = flowtime("list", "--trash", "--json").json
    assert trash["total"] == 2
    assert {item["id"]: item["name"] for item in trash["artifacts"]} == {
        ids["telemetry"]: "back",
        ids["run"]: "shop-run",
    }
    assert "flowtime restore" in flowtime("list", "--trash").stdout
    flowtime("list", "--trash", "--tag", "night", code=2)
    told = flowtime("purge", code=4).stderr
    assert ids["run"] in told
    assert ids["telemetry"] in told
    guess = flowtime("restore", ids["run"][:-1] + "x", code=3).stderr
    assert f'did you mean "{ids["run"]}"' in guess
    flowtime("restore", ids["run"])
    assert flowtime("purge", "--confirm", "--json").json["purged"] == [ids["telemetry"]]
    assert flowtime("list", "--json").json["total"] == 2


def test_show_tells_where_it_came_from_and_what_came_of_it(flowtime: Command, ids: dict[str, str]) -> None:
    lineage = flowtime("show", ids["run"], "--json").json["lineage"]
    assert [each["id"] for each in lineage["parents"]] == [ids["model"]]
    assert [each["id"] for each in lineage["children"]] == [ids["telemetry"]]
    text = flowtime("show", ids["telemetry"]).stdout
    assert f"made from   run {ids['run']}\n" in text
    assert f"made from   model {ids['model']}@v1 (made " in text
    text = flowtime("show", ids["model"]).stdout
    assert f"used by     run {ids['run']}\n" in text
    assert f"used by     telemetry {ids['telemetry']}\n" in text
    refused = flowtime("delete", "--id", ids["model"], "--confirm", "--json", code=4).error
    assert (refused["code"], refused["hint"]) == ("FT505", "--force deletes it all the same")
    assert ids["run"] in refused["message"]
    assert ids["telemetry"] in refused["message"]
