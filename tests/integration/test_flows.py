"""Parameters, queues and metrics in every face: set, printed, checked, exported and brought back."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.browser import Watched
from tests.commands import Command
from tests.servers import Servers

import flowtime as ft

DESK = """\
schemaVersion: 2
metadata: {id: desk}
grid: {bins: 5, binSize: 1, binUnit: hours, start: 2026-01-05T08:00:00Z}
parameters:
  staff: {value: 2, min: 1, max: 10, integer: true, unit: agents}
  growth: 1
nodes:
  - {id: calls, kind: const, values: [50, 120, 150, 60, 10], unit: calls/bin}
  - {id: desk, kind: queue, arrivals: calls * growth, capacity: 50 * staff, initial: 20, limit: 60}
metrics:
  peak_wait: {formula: "PEAK(desk.wait_mean)", unit: minutes, goal: "<= 20", title: Longest wait}
  lost_share: TOTAL(desk.lost) / TOTAL(desk.arrivals)
  full: FIRST_BIN(desk.depth >= 60)
"""
CERTAIN = {"peak_wait": 31.2, "lost_share": 10 / 390, "full": 2.0}
SPREAD = DESK.replace("growth: 1\n", "growth: {value: 1, min: 0.9, max: 1.2, spread: {normal: [1, 0.1]}}\n")
SPREAD += "rng: {kind: pcg64, seed: 4}\n"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    path = tmp_path / "desk.yaml"
    path.write_text(DESK, encoding="utf-8")
    return path


def values(catalog: dict[str, Any]) -> dict[str, float]:
    return {metric["name"]: metric["value"] for metric in catalog["metrics"]}


def test_a_run_says_its_metrics_first(flowtime: Command, desk: Path) -> None:
    lines = flowtime("run", desk).stdout.splitlines()
    assert lines[1].split() == ["metric", "value", "unit", "goal"]
    assert lines[2].split()[:6] == ["✗", "peak_wait", "31.2", "minutes", "<=", "20"]
    assert "Longest wait; in bin 3, 2026-01-05T11:00:00Z" in lines[2]
    assert lines[4].split() == ["full", "2026-01-05T10:00:00Z"]
    assert lines[5].split()[0] == "component"
    assert lines[11] == "those that move most; --all shows all 8 series"
    shown = flowtime("run", desk, "--all").stdout
    assert "utilization" in shown
    assert "move most" not in shown
    catalog = flowtime("run", desk, "--json").json
    assert values(catalog) == pytest.approx(CERTAIN)
    assert catalog["metrics"][0]["met"] is False
    assert catalog["parameters"] == {"staff": 2.0, "growth": 1.0}


def test_a_goal_that_is_not_met_is_an_exit_code(flowtime: Command, desk: Path) -> None:
    assert flowtime("run", desk, "--check", code=10).stdout
    assert flowtime("run", desk, "--check", "--json", code=10).json["metrics"][0]["met"] is False
    assert flowtime("run", desk, "--check", "--set", "staff=3").stdout.splitlines()[2].startswith("✓")


def test_parameters_are_of_the_run_and_not_of_the_model(flowtime: Command, desk: Path) -> None:
    plain = flowtime("run", desk, "--deterministic", "--json").json
    more = flowtime("run", desk, "--deterministic", "--set", "staff=3", "--json").json
    same = flowtime("run", desk, "--deterministic", "--set", "staff=2", "--json").json
    assert same["id"] == plain["id"] != more["id"]
    assert plain["model_hash"] == more["model_hash"]
    assert (plain["model_id"], plain["model_version"]) == (more["model_id"], more["model_version"])
    assert plain["inputs_hash"] != more["inputs_hash"]
    assert values(more)["peak_wait"] < values(plain)["peak_wait"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--set", "staf=3"), 'unknown parameter "staf"; can be set: staff, growth'),
        (("--set", "staff=2.5"), 'parameter "staff" takes a whole number from 1 to 10, not 2.5'),
        (("--set", "staff=11"), 'parameter "staff" takes a whole number from 1 to 10, not 11'),
        (("--set", "growth=inf"), 'parameter "growth" takes a number'),
        (("--set", "growth=much"), "not 'much'"),
        (("--metric", "busy=desk.utilization"), "a reducer such as PEAK(desk.utilization)"),
        (("--metric", "busy=PEAK(dek.depth)"), 'unknown series "dek.depth"'),
        (("--metric", "1st=PEAK(calls)"), "1st"),
        (("--set", "staff"), "--set takes NAME=VALUE"),
    ],
)
def test_what_a_run_cannot_take_is_said_and_nothing_is_made(
    flowtime: Command, desk: Path, options: tuple[str, ...], says: str
) -> None:
    flowtime("sim", "validate", desk)
    found = flowtime("run", desk, *options, code=2)
    assert says in found.stderr
    assert not list(Path(desk.parent / "artifacts").glob("runs/*"))


def test_metrics_of_a_run_stand_beside_those_of_the_model(flowtime: Command, desk: Path) -> None:
    catalog = flowtime("run", desk, "--metric", "waiting=MEAN(desk.depth) * 2", "--json").json
    assert values(catalog) == pytest.approx({**CERTAIN, "waiting": 40.0})
    plain = flowtime("run", desk, "--json").json
    assert catalog["inputs_hash"] == plain["inputs_hash"]


@pytest.mark.parametrize("format", ["gold", "ndjson", "parquet", "bundle"])
def test_values_of_parameters_come_back(flowtime: Command, desk: Path, format: str, tmp_path: Path) -> None:
    run = flowtime("run", desk, "--set", "staff=3", "--set", "growth=1.25", "--name", "set", "--json").json
    flowtime("export", "--run", "set", "--format", format, "--out", f"back/{format}/")
    (file,) = [path for path in (tmp_path / "back" / format).iterdir() if "datapackage" not in path.name]
    elsewhere = ("--artifacts", tmp_path / "elsewhere")
    back = flowtime("import", "--data", file, "--json", *elsewhere).json
    assert back["parameters"] == run["parameters"] == {"staff": 3.0, "growth": 1.25}
    again = flowtime("run", "--telemetry", back["id"], "--json", *elsewhere).json
    assert again["parameters"] == run["parameters"]
    assert again["data"]["digest"] == run["data"]["digest"]


def test_a_spread_is_drawn_once_a_sample(flowtime: Command, tmp_path: Path) -> None:
    (tmp_path / "spread.yaml").write_text(SPREAD, encoding="utf-8")
    sampled = ("run", "spread.yaml", "--samples", "400", "--json")
    one = flowtime(*sampled, "--workers", "1").json
    two = flowtime(*sampled, "--workers", "2").json
    assert (one["metrics"], one["data"]["digest"]) == (two["metrics"], two["data"]["digest"])
    wait = one["metrics"][0]
    assert wait["p05"] <= wait["p50"] <= wait["p95"]
    assert 0 < wait["met_share"] < 1
    assert wait["met"] is (wait["p95"] <= 20)
    assert one["parameters"] == {"staff": 2.0}  # the other has no one value
    (moved,) = [warning for warning in one["warnings"] if warning["code"] == "FT313"]
    draws = ft.evaluate(ft.load_model(tmp_path / "spread.yaml"), parameters={"growth": 1.2}).metrics
    assert moved["message"].startswith('parameter "growth": draws_moved in ')
    assert draws[0]["value"] >= wait["p95"] - 1e-9
    fixed = flowtime(*sampled, "--set", "growth=1.1", code=2)
    assert "FT304" in fixed.stdout + fixed.stderr
    assert flowtime("test-loop", "--model", "spread.yaml", "--samples", "40", "--json").json["ok"] is True


def test_over_http(desk: Path, tmp_path: Path) -> None:
    with Servers(tmp_path) as servers, httpx.Client(base_url=servers(), timeout=60) as client:
        body: dict[str, Any] = {"model": DESK, "parameters": {"staff": 3}}
        made = client.post("/v1/runs", json={**body, "metrics": {"deep": "PEAK(desk.depth)"}}).json()
        assert made["parameters"] == {"staff": 3.0, "growth": 1.0}
        assert values(made)["deep"] == 0.0
        refused = client.post("/v1/runs", json={**body, "parameters": {"staff": 0}})
        assert refused.status_code == 422
        assert refused.json()["code"] == "FT221"
        assert client.post("/v1/runs", json={**body, "metrics": {"m": "calls"}}).json()["code"] == "FT222"


def test_in_python(desk: Path, tmp_path: Path) -> None:
    registry = ft.Registry(tmp_path / "artifacts")
    run = registry.run(desk, parameters={"staff": 3}, metrics={"deep": "PEAK(desk.depth)"})
    assert run.parameters == {"staff": 3.0, "growth": 1.0}
    assert run.metrics["deep"] == 0.0
    found = ft.evaluate(ft.load_model(desk), metrics={"spare": "LOW(desk.capacity - desk.served)"})
    told = {metric["name"]: metric["value"] for metric in found.metrics}
    assert told == pytest.approx({**CERTAIN, "spare": 0.0})
    with pytest.raises(ft.FlowtimeError, match="takes a whole number from 1 to 10"):
        registry.run(desk, parameters={"staff": math.nan})


def test_without_metrics_the_usual_ones_are_told(flowtime: Command, tmp_path: Path) -> None:
    text = DESK.partition("metrics:")[0]
    (tmp_path / "plain.yaml").write_text(text, encoding="utf-8")
    catalog = flowtime("run", "plain.yaml", "--json").json
    assert values(catalog) == pytest.approx(
        {"desk_peak_depth": 60, "desk_longest_wait": 36, "desk_lost": 10}, rel=1e-9
    )


def test_more_than_twenty_metrics_keep_catalogs_small(flowtime: Command, tmp_path: Path) -> None:
    names = [f"number_{index}" for index in range(60)]
    metrics = "".join(f"  {name}: PEAK(desk.depth) * {index}\n" for index, name in enumerate(names))
    (tmp_path / "many.yaml").write_text(DESK.partition("metrics:")[0] + f"metrics:\n{metrics}", "utf-8")
    catalog = flowtime("run", "many.yaml", "--json").json
    assert [metric["name"] for metric in catalog["metrics"]] == names[:20]
    assert [metric["name"] for metric in catalog["other_metrics"]] == names[20:]
    assert (Path(catalog["folder"]) / "catalog.json").stat().st_size < 10_000
    assert np.isclose(catalog["other_metrics"][-1]["value"], 59 * 60)


@pytest.fixture
def compared(flowtime: Command, desk: Path) -> dict[str, str]:
    """Runs with other numbers of staff: the id by the number."""
    return {
        staff: flowtime("run", desk, "--set", f"staff={staff}", "--name", f"staff-{staff}", "--json").json[
            "id"
        ]
        for staff in ("1", "2", "3")
    }


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (("staff=2",), "2"),
        (("staff>=2", "kind=run"), None),
        (("staff >= 2",), "32"),
        (("peak_wait <= 20",), "3"),
        (("peak_wait > 20", "staff != 1"), "2"),
        (("full<10", "lost_share>0.1"), "1"),
    ],
)
def test_lists_are_filtered_by_numbers(
    flowtime: Command, compared: dict[str, str], conditions: tuple[str, ...], found: str | None
) -> None:
    options = [word for condition in conditions for word in ("--where", condition)]
    for command in (("list",), ("search", "desk")):
        if found is None:
            error = flowtime(*command, *options, "--json", code=2).error
            assert error["code"] == "FT504"
            continue
        page = flowtime(*command, "--kind", "run", *options, "--json").json
        assert {item["id"] for item in page["artifacts"]} == {compared[staff] for staff in found}


def test_lists_show_numbers(flowtime: Command, compared: dict[str, str]) -> None:
    options = ("--kind", "run", "--sort", "name_asc", "--columns", "staff,peak_wait,full")
    lines = [line.split() for line in flowtime("list", *options).stdout.splitlines()]
    assert lines[0] == ["id", "kind", "name", "staff", "peak_wait", "full", "made", "tags"]
    assert [line[3] for line in lines[1:4]] == ["1", "2", "3"]
    assert lines[2][4:6] == ["31.2", "2"]
    assert lines[3][5] == "–"  # the queue never was full
    page = flowtime("list", *options, "--json").json
    assert page["artifacts"][1]["columns"] == {"staff": 2.0, "peak_wait": pytest.approx(31.2), "full": 2.0}
    assert "columns" not in flowtime("list", "--json").json["artifacts"][0]
    odd = flowtime("list", "--columns", "peek_wait")
    assert 'did you mean "peak_wait"?' in odd.stderr
    assert 'did you mean "peak_wait"?' in flowtime("list", "--where", "peek_wait<3").stdout
    rows = flowtime("index", "rebuild", "--json").json
    assert rows["artifacts"] == 4
    assert len(flowtime("list", "--where", "staff=3", "--json").json["artifacts"]) == 1


def test_lists_of_the_other_faces(compared: dict[str, str], tmp_path: Path) -> None:
    registry = ft.Registry(tmp_path / "artifacts")
    assert [run.id for run in registry.list("run", where="peak_wait <= 20")] == [compared["3"]]
    registry.close()
    with Servers(tmp_path) as servers, httpx.Client(base_url=servers(), timeout=60) as client:
        query = {"kind": "run", "where": ["staff>=2", "peak_wait>20"], "columns": "staff"}
        (item,) = client.get("/v1/artifacts", params=query).json()["artifacts"]
        assert (item["id"], item["columns"]) == (compared["2"], {"staff": 2.0})


def test_show_and_compare_know_them(flowtime: Command, compared: dict[str, str], desk: Path) -> None:
    shown = flowtime("show", compared["3"]).stdout
    assert "parameters  staff = 3, growth = 1" in shown
    assert "peak_wait" in shown
    lines = [line.split() for line in flowtime("compare", compared["2"], compared["3"]).stdout.splitlines()]
    assert ["staff:", "2", "→", "3"] in lines
    assert next(line for line in lines if "peak_wait" in line)[:3] == ["peak_wait", "minutes", "31.2"]
    report = flowtime("compare", compared["2"], compared["3"], "--json").json
    assert report["parameters"] == [{"what": "staff", "baseline": 2.0, "comparison": 3.0}]
    assert [metric["name"] for metric in report["metrics"]] == ["peak_wait", "lost_share", "full"]
    assert report["metrics"][0]["change"] == pytest.approx((report["metrics"][0]["comparison"] - 31.2) / 31.2)
    other = desk.with_name("other.yaml")
    other.write_text(
        DESK.replace("value: 2,", "value: 4,").replace("<= 20", "<= 30").replace("limit: 60", "limit: 70")
    )
    said = flowtime("compare", desk, other).stdout
    for change in ("staff.value: 2 → 4", "peak_wait.goal: <= 20 → <= 30", "limit: 60 → 70"):
        assert change in said


def test_derived_models_have_other_parameters(flowtime: Command, desk: Path) -> None:
    made = flowtime(
        "sim", "derive", desk, "--set", "staff=4", "--set", "growth=1.5", "--name", "more", "--json"
    )
    assert made.json["parameters"] == {"staff": 4.0, "growth": 1.5}
    error = flowtime("sim", "derive", desk, "--set", "desk=4", "--json", code=2).error
    assert '"desk" is a queue, which has no one value' in str(error["errors"])
    error = flowtime("sim", "derive", desk, "--set", "staff=40", "--json", code=2).error
    assert "it takes a whole number from 1 to 10" in str(error["errors"])


def test_metrics_alone_make_a_version_of_the_same_meaning(flowtime: Command, desk: Path) -> None:
    first = flowtime("run", desk, "--json").json
    desk.write_text(DESK.replace("<= 20", "<= 40"), encoding="utf-8")
    second = flowtime("run", desk, "--check", "--json").json
    assert (first["model_version"], second["model_version"]) == (1, 2)
    assert first["model_hash"] == second["model_hash"]
    assert first["inputs_hash"] == second["inputs_hash"]
    assert first["capabilities"] == ["counts"]  # a queue's own memory does not count as feedback


def test_explain_shows_what_a_queue_is(flowtime: Command, desk: Path) -> None:
    told = flowtime("explain", desk).stdout
    assert "waits of queue desk: desk.wait_mean, desk.wait_p95" in told
    assert "the cycle is broken by SHIFT(desk.depth, 1, 20) in desk.arrivals" in told


def test_on_pages(flowtime: Command, desk: Path, watched: Callable[..., Watched], tmp_path: Path) -> None:
    run = flowtime("run", desk, "--json").json
    with Servers(tmp_path) as servers:
        window = watched(servers())
        page = window.open(f"/artifacts/{run['id']}")
        rows = [
            row.inner_text().split("\t") for row in page.locator("#metrics-title >> xpath=../.. >> tr").all()
        ]
        assert [cell.strip() for cell in rows[1][:4]] == [
            "Longest wait",
            "31.2",
            "minutes",
            "✗ not met <= 20",
        ]
        assert page.locator("#metrics-title + span").inner_text() == "staff = 2, growth = 1"
        page = window.open(f"/artifacts/{run['model_id']}")
        assert page.locator("#node-desk dd").all_inner_texts() == ["calls * growth", "50 * staff", "20", "60"]
        page.locator("[data-open=run-dialog]").click()
        assert page.get_by_text("Left empty: 2. It takes a whole number from 1 to 10.").is_visible()
        page.locator("#run-set-staff").fill("3")
        page.locator("#run-dialog button.main").click()
        page.wait_for_url("**export=gold")
        assert page.locator("#metrics-title + span").inner_text() == "staff = 3, growth = 1"
        assert page.get_by_text("✓ met").is_visible()
        body = {"name": "x", "p.staff": "30"}
        headers = {"Sec-Fetch-Site": "same-origin"}
        refused = httpx.post(f"{window.base}/artifacts/{run['model_id']}/run", data=body, headers=headers)
        assert refused.status_code == 422
        assert "takes a whole number from 1 to 10, not 30" in refused.text
