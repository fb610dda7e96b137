"""Runs of many samples through the command: the same bytes again, and the whole loop with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.commands import Command, listing

MODEL = """
metadata: {id: queue}
grid: {bins: 24, binSize: 1, binUnit: hours, start: 2025-01-01T00:00:00Z}
nodes:
  - {id: capacity, kind: const, values: 140}
  - {id: staffed, kind: expr, expr: capacity * 2}
  - {id: requests, kind: pmf, pmf: {"100": 0.3, "150": 0.5, "200": 0.2}}
  - {id: served, kind: expr, expr: "MIN(requests + SHIFT(backlog, 1), capacity)"}
  - {id: backlog, kind: expr, expr: "MAX(0, requests + SHIFT(backlog, 1) - served)"}
topology:
  nodes:
    - {id: Desk, semantics: {arrivals: requests, served: served, backlog: backlog}}
    - {id: Team, semantics: {capacity: capacity, staffed: staffed}}
rng: {seed: 7}
"""


@pytest.fixture(scope="module")
def flowtime(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command, in a folder with `queue.yaml`."""
    command = Command(tmp_path_factory.mktemp("samples"))
    (command.folder / "queue.yaml").write_text(MODEL, encoding="utf-8")
    return command


@pytest.fixture(scope="module")
def run(flowtime: Command) -> dict:
    arguments = ("--model", "queue.yaml", "--samples", "40", "--workers", "1", "--name", "sampled")
    return flowtime("run", *arguments, "--json", env={"PYTHONHASHSEED": "1", "LC_ALL": "C"}).json


def test_the_catalog_says_what_the_run_holds(run: dict) -> None:
    assert run["samples"] == 40
    assert run["seed"] == 7
    assert set(run["capabilities"]) == {
        "counts",
        "feedback",
        "sampled",
        *(f"{m}.quantiles" for m in ("arrivals", "served", "backlog", "capacity", "staffed")),
    }
    names = [f"{m['component']}.{m['measure']}" for m in run["measures"]]
    assert names[8:12] == [
        "Desk.arrivals.mean",
        "Desk.arrivals.p05",
        "Desk.arrivals.p50",
        "Desk.arrivals.p95",
    ]
    assert len(names) == 20


def test_processes_hash_seeds_and_locales_make_no_difference(flowtime: Command, run: dict) -> None:
    arguments = ("--model", "queue.yaml", "--samples", "40", "--workers", "2", "--name", "again")
    env = {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"}
    again = flowtime("run", *arguments, "--json", env=env).json
    assert again["data"] == run["data"]
    assert again["inputs_hash"] == run["inputs_hash"]
    data = [Path(flowtime.folder, catalog["files"]["data"]).read_bytes() for catalog in (run, again)]
    assert data[0] == data[1]


def test_the_number_of_samples_is_an_input(flowtime: Command, run: dict) -> None:
    more = flowtime("run", "--model", "queue.yaml", "--samples", "41", "--name", "more", "--json").json
    one = flowtime("run", "--model", "queue.yaml", "--name", "one", "--json").json
    assert len({catalog["inputs_hash"] for catalog in (run, more, one)}) == 3
    assert one["samples"] is None


@pytest.mark.parametrize(("format", "name"), [("gold", "run.csv"), ("parquet", "run.parquet")])
def test_an_export_comes_back_with_its_model(flowtime: Command, run: dict, format: str, name: str) -> None:
    flowtime("export", "--run", run["id"], "--format", format, "--out", name)
    back = flowtime("import", "--data", name, "--name", "back", "--json").json
    assert back["rebuilt"]
    assert back["data"] == run["data"]
    assert (back["samples"], back["seed"], back["capabilities"]) == (40, 7, run["capabilities"])
    # what no distribution reaches was computed again; the rest cannot be, from statistics
    assert back["conformance"]["ok"]
    assert {entry["component"] for entry in back["conformance"]["series"]} == {"Team"}
    compared = flowtime("compare", "--baseline", run["id"], "--comparison", back["id"], "--json").json
    assert len(compared["series"]) == 20
    assert all(entry["equal"] for entry in compared["series"])


def test_statistics_without_their_description_are_no_run_of_the_model(flowtime: Command, run: dict) -> None:
    flowtime("export", "--run", run["id"], "--format", "gold", "--out", "plain.csv")
    arguments = ("--data", "plain.csv", "--dry-run", "--ignore-metadata", "--model", "queue.yaml")
    assert flowtime("import", *arguments, "--json", code=2).error["code"] == "FT807"


def test_the_loop_closes(flowtime: Command) -> None:
    report = flowtime("test-loop", "--model", "queue.yaml", "--samples", "30", "--json").json
    assert report["ok"]
    assert all(entry["checks"]["computed_again"] for entry in report["formats"].values())


def test_too_many_samples_are_refused_and_nothing_is_kept(flowtime: Command, run: dict) -> None:
    before = listing(flowtime.folder / "artifacts" / "runs")
    refused = flowtime("run", "--model", "queue.yaml", "--samples", "10000001", "--json", code=2)
    assert refused.error["code"] == "FT305"
    assert listing(flowtime.folder / "artifacts" / "runs") == before


def test_explain_writes_the_program_that_a_model_is_compiled_to(flowtime: Command) -> None:
    told = flowtime("explain", "queue.yaml", "--wat", "queue.wat").stdout
    assert "program: " in told.splitlines()[-1]
    text = (flowtime.folder / "queue.wat").read_text(encoding="utf-8")
    assert text.startswith("(module")
    assert ";; served, backlog" in text
    refused = flowtime("explain", "queue.yaml", "--wat", "absent/queue.wat", "--json", code=3)
    assert refused.error["where"] == "absent/queue.wat"
