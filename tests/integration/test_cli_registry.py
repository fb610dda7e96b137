"""The registry from the command line: verified, starred, thrown away, and where things came from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A registry with a model, its run, and the telemetry that the run's export came back as."""
    folder = tmp_path_factory.mktemp("cli")
    made = {
        "model": call(folder, "sim", "new", "--template", "checkout", "--name", "shop", "--tags", "night")[
            "id"
        ],
        "run": call(folder, "run", "--model", "shop", "--name", "shop-run")["id"],
    }
    call(folder, "export", "--run", made["run"], "--format", "gold", "--out", "shop.csv")
    made["telemetry"] = call(folder, "import", "--data", "shop.csv", "--name", "back")["id"]
    return folder, made


@pytest.fixture
def shop(made: tuple[Path, dict[str, str]], tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A copy of it."""
    shutil.copytree(made[0] / "artifacts", tmp_path / "artifacts")
    return tmp_path, made[1]


def flowtime(folder: Path, *arguments: str, code: int = 0) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "flowtime", *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def call(folder: Path, *arguments: str, code: int = 0) -> Any:
    return json.loads(flowtime(folder, *arguments, "--json", code=code))


def test_index_verify_says_where_and_what_and_exits_with_10(shop: tuple[Path, dict[str, str]]) -> None:
    folder, ids = shop
    report = call(folder, "index", "verify")
    assert (report["ok"], report["artifacts"], report["findings"]) == (True, 3, [])
    assert "all as published" in flowtime(folder, "index", "verify")
    table = folder / "artifacts/runs" / ids["run"] / "binned_v0.csv"
    data = bytearray(table.read_bytes())
    data[-3] ^= 1
    table.write_bytes(data)
    report = call(folder, "index", "verify", code=10)
    assert report["ok"] is False
    assert [(each["path"], each["what"]) for each in report["findings"]] == [
        (f"runs/{ids['run']}/binned_v0.csv", "changed")
    ]
    text = flowtime(folder, "index", "verify", code=10)
    assert f"changed    runs/{ids['run']}/binned_v0.csv: its hash is" in text
    assert "1 finding" in text
    assert "\x1b" not in text


def test_strangers_and_broken_catalogs_are_listed_by_status(shop: tuple[Path, dict[str, str]]) -> None:
    folder, ids = shop
    (folder / "artifacts/notes.txt").write_text("mine")
    (folder / "artifacts/runs/mine").mkdir()
    (folder / "artifacts/runs/mine/notes.txt").write_text("mine")
    (folder / "artifacts/runs" / ids["run"] / "catalog.json").write_text("{")
    status = call(folder, "index", "status")
    assert [each["path"] for each in status["broken"]] == [f"runs/{ids['run']}"]
    assert {each["path"] for each in status["foreign"]} == {"notes.txt", "runs/mine"}
    assert f"broken     runs/{ids['run']}: catalog.json" in flowtime(folder, "index", "status")
    assert call(folder, "list")["total"] == 2


def test_starred(shop: tuple[Path, dict[str, str]]) -> None:
    folder, ids = shop
    assert call(folder, "list", "--starred")["total"] == 0
    assert "no artifacts match" in flowtime(folder, "list", "--starred")
    flowtime(folder, "star", ids["run"])
    assert [item["id"] for item in call(folder, "list", "--starred")["artifacts"]] == [ids["run"]]
    assert call(folder, "search", "--query", "shop", "--starred")["total"] == 1


def test_what_was_deleted_can_be_found_and_brought_back(shop: tuple[Path, dict[str, str]]) -> None:
    folder, ids = shop
    assert "the trash is empty" in flowtime(folder, "list", "--trash")
    call(folder, "delete", "--id", ids["telemetry"], "--confirm")
    call(folder, "delete", "--id", ids["run"], "--confirm")
    trash = call(folder, "list", "--trash")
    assert trash["total"] == 2
    assert {item["id"]: item["name"] for item in trash["artifacts"]} == {
        ids["telemetry"]: "back",
        ids["run"]: "shop-run",
    }
    assert "flowtime restore" in flowtime(folder, "list", "--trash")
    flowtime(folder, "list", "--trash", "--tag", "night", code=2)
    told = flowtime(folder, "purge", code=4)
    assert ids["run"] in told
    assert ids["telemetry"] in told
    guess = flowtime(folder, "restore", ids["run"][:-1] + "x", code=3)
    assert f'did you mean "{ids["run"]}"' in guess
    flowtime(folder, "restore", ids["run"])
    assert call(folder, "purge", "--confirm")["purged"] == [ids["telemetry"]]
    assert call(folder, "list")["total"] == 2


def test_show_tells_where_it_came_from_and_what_came_of_it(shop: tuple[Path, dict[str, str]]) -> None:
    folder, ids = shop
    lineage = call(folder, "show", ids["run"])["lineage"]
    assert [each["id"] for each in lineage["parents"]] == [ids["model"]]
    assert [each["id"] for each in lineage["children"]] == [ids["telemetry"]]
    text = flowtime(folder, "show", ids["telemetry"])
    assert f"made from   run {ids['run']}\n" in text
    assert f"made from   model {ids['model']}\n" in text
    text = flowtime(folder, "show", ids["model"])
    assert f"used by     run {ids['run']}\n" in text
    assert f"used by     telemetry {ids['telemetry']}\n" in text
    refused = call(folder, "delete", "--id", ids["model"], "--confirm", code=4)["error"]
    assert refused["code"] == "FT505"
    assert ids["run"] in refused["message"]
    assert ids["telemetry"] in refused["message"]
