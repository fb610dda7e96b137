"""`flowtime solve` and `flowtime sweep`: questions as people ask them, by commands."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

DESK = """
grid: {bins: 24, binSize: 15, binUnit: minutes, start: 2026-11-30T08:00:00Z}
parameters:
  staff: {value: 2, min: 1, max: 40, integer: true, unit: agents}
  growth: {value: 1, min: 0.5, max: 3}
nodes:
  - {id: calls, kind: const, values: [5, 8, 12, 20, 30, 35, 30, 25, 20, 15, 12, 10,
                                      10, 12, 15, 20, 25, 20, 15, 10, 8, 5, 3, 2]}
  - {id: desk, kind: queue, arrivals: calls * growth, workers: staff, serviceSeconds: 180}
metrics:
  peak_wait: {formula: PEAK(desk.wait_p95), unit: minutes, goal: "<= 10"}
  busy: PEAK(desk.utilization)
"""


@pytest.fixture
def desk(flowtime: Any, tmp_path: Path) -> Path:
    path = tmp_path / "desk.yaml"
    path.write_text(DESK)
    return path


def solved(flowtime: Any, *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = flowtime("solve", "desk.yaml", *words, "--json", code=code).json
    return found


def test_the_answer_is_one_sentence_with_its_proof(flowtime: Any, desk: Path) -> None:
    said = flowtime("solve", "desk.yaml", "--vary", "staff=1..40", "--until", "peak_wait <= 10").stdout
    first, second, *_ = said.splitlines()
    assert first == (
        "staff = 6 agents is the smallest value that meets peak_wait <= 10: there peak_wait is 2.5 minutes; "
        "at 5 peak_wait is 12 minutes."
    )
    assert second.startswith("Only fluid: desk is 100% busy there")
    assert "next: flowtime run desk.yaml --set staff=6" in said
    run = {
        staff: flowtime("run", "desk.yaml", "--set", f"staff={staff}", "--json").json["metrics"][0]
        for staff in (5, 6)
    }
    assert (run[5]["met"], run[6]["met"]) == (False, True)
    found = solved(flowtime, "--vary", "staff=1..40", "--until", "peak_wait <= 10")
    assert (found["answer"], found["below"]) == ({"staff": 6}, {"staff": 5})
    assert (found["reason"], found["study_id"], found["evaluations"]) == ("bracketed", None, 40)
    assert [point["metrics"]["peak_wait"] for point in found["points"]] == [run[6]["value"], run[5]["value"]]


def test_goals_of_the_model_are_what_is_asked_for(flowtime: Any, desk: Path) -> None:
    assert solved(flowtime, "--vary", "staff")["answer"] == {"staff": 6}


def test_chance_asks_for_more(flowtime: Any, desk: Path) -> None:
    found = solved(flowtime, "--vary", "staff=1..40", "--until", "PEAK(desk.latency) <= 10")
    assert (found["answer"], found["only_fluid"]) == ({"staff": 8}, [])


def test_a_real_number_to_a_tolerance(flowtime: Any, desk: Path) -> None:
    words = ("--vary", "growth=0.5..3", "--largest", "--set", "staff=6", "--tolerance", "1e-9")
    found = solved(flowtime, *words)
    answer, above = found["answer"]["growth"], found["below"]["growth"]
    assert 0 < above - answer <= 1e-9
    # By hand: 6 agents serve 30 in a bin; the fifth and the sixth bin bring 30 and 35 times the growth.
    runs = [
        flowtime("run", "desk.yaml", "--set", "staff=6", "--set", f"growth={value!r}", "--json").json
        for value in (answer, above)
    ]
    assert [run["metrics"][0]["met"] for run in runs] == [True, False]


@pytest.mark.parametrize(
    ("words", "reason", "said"),
    [
        (
            ["--vary", "staff=1..3"],
            "not bracketed",
            "at 1 peak_wait is 264.375 minutes; at 3 peak_wait is 74",
        ),
        (["--vary", "staff", "--until", "TOTAL(calls) <= 5"], "flat", "so this parameter does not move it"),
        (["--vary", "staff", "--until", "FIRST_BIN(calls > 99) < 5"], "missing", "missing everywhere"),
    ],
)
def test_a_failure_is_an_answer(flowtime: Any, desk: Path, words: list[str], reason: str, said: str) -> None:
    found = solved(flowtime, *words, code=10)
    assert (found["answer"], found["reason"], found["below"]) == (None, reason, None)
    assert said in flowtime("solve", "desk.yaml", *words, code=10).stdout


def test_met_everywhere_and_not_monotone_are_said(flowtime: Any, desk: Path) -> None:
    found = solved(flowtime, "--vary", "staff=20..30")
    assert (found["reason"], found["answer"], found["below"]) == ("met everywhere", {"staff": 20}, None)
    odd = ("--metric", "odd=MEAN(ABS(calls * (staff - 5) - 15 * 3))", "--until", "odd <= 40")
    assert solved(flowtime, "--vary", "staff=1..12", *odd)["not_met_again_at"] == [10, 11, 12]
    said = flowtime("solve", "desk.yaml", "--vary", "staff=1..12", *odd).stdout
    assert "Not monotone: beyond the answer the condition is not met again at 10, 11, 12." in said


def test_many_whole_numbers_are_found_in_sections(flowtime: Any, tmp_path: Path) -> None:
    text = DESK.replace("max: 40", "max: 90000").replace("calls * growth", "calls * growth * 1000")
    (tmp_path / "desk.yaml").write_text(text)
    found = solved(flowtime, "--vary", "staff=1..90000")
    answer = found["answer"]["staff"]
    assert found["below"] == {"staff": answer - 1}
    assert found["evaluations"] < 200
    assert solved(flowtime, "--vary", f"staff={answer - 20:.0f}..{answer:.0f}")["answer"] == {"staff": answer}


def test_a_sweep_has_all_combinations(flowtime: Any, desk: Path) -> None:
    words = ("sweep", "desk.yaml", "--vary", "staff=2..8", "--vary", "growth=1,1.5")
    found = flowtime(*words, "--json").json
    assert [each["name"] for each in found["metrics"]] == ["peak_wait", "busy"]
    assert len(found["points"]) == 14
    assert found["points"][-1]["parameters"] == {"staff": 8, "growth": 1.5}
    assert {point["status"] for point in found["points"]} == {"done"}
    one = flowtime("run", "desk.yaml", "--set", "staff=7", "--set", "growth=1.5", "--json").json
    point = next(p for p in found["points"] if p["parameters"] == {"staff": 7, "growth": 1.5})
    assert point["metrics"] == {metric["name"]: metric["value"] for metric in one["metrics"]}
    said = flowtime(*words, "--show", "peak_wait").stdout.splitlines()
    assert said[0] == "4 of 14 points meet peak_wait <= 10, the first at staff=6, growth=1."
    assert "busy" not in said[1]
    assert len(said) == 16


def test_nothing_is_stored(flowtime: Any, desk: Path) -> None:
    flowtime("sweep", "desk.yaml", "--vary", "staff=2..3")
    flowtime("solve", "desk.yaml", "--vary", "staff")
    assert sorted(path.name for path in desk.parent.iterdir()) == ["desk.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["solve", "--vary", "stafff=1..3"], 'did you mean "staff"?'),
        (["solve", "--vary", "staff=0..3"], 'parameter "staff" takes a whole number from 1 to 40, not 0'),
        (["solve", "--vary", "staff=3..1"], "write the lower end first"),
        (["solve", "--vary", "staff=a..b"], "write 4..12, 1:2:0.1, 1,2,5 or 10%"),
        (["solve", "--vary", "staff=1.5..1.7"], "no whole number"),
        (["solve", "--vary", "staff", "--until", "peek_wait <= 10"], 'did you mean "peak_wait"?'),
        (["solve", "--vary", "staff", "--until", "peak_wait"], "is not a condition"),
        (["solve", "--vary", "staff", "--until", "desk.depth <= 10"], "PEAK"),
        (["solve", "--vary", "staff", "--until", "peak_wait = 10"], "is not a condition"),
        (["sweep", "--vary", "growth=1..2"], 'give a step: "growth=1:2:0.1"'),
        (["sweep", "--vary", "growth=1:3:0.00001"], "200,001 values are over 100,000"),
        (["sweep", "--vary", "staff", "--vary", "staff"], "two ranges"),
        (["sweep", "--vary", "staff", "--show", "buzy"], 'did you mean "busy"?'),
    ],
)
def test_what_is_not_a_question_is_told(flowtime: Any, desk: Path, words: list[str], said: str) -> None:
    command, *rest = words
    error = flowtime(command, "desk.yaml", *rest, "--json", code=2).error
    assert said in f"{error['message']} {error['hint']}"


def test_waiting_by_chance_agrees_with_sakasegawa(flowtime: Any, tmp_path: Path) -> None:
    """Of 100 calls an hour of 180 s, 7 agents have 32.8 s of random wait and 8 less."""
    text = """
grid: {bins: 24, binSize: 1, binUnit: hours}
parameters: {staff: {value: 6, min: 6, max: 20, integer: true}}
nodes:
  - {id: calls, kind: const, values: [100,100,100,100,100,100,100,100,100,100,100,100,
                                      100,100,100,100,100,100,100,100,100,100,100,100]}
  - {id: desk, kind: queue, arrivals: calls, workers: staff, serviceSeconds: 180, waitUnit: seconds}
metrics: {wait: {formula: PEAK(desk.wait_random), goal: "<= 33"}}
"""
    (tmp_path / "desk.yaml").write_text(text)
    found = solved(flowtime, "--vary", "staff")
    assert found["answer"] == {"staff": 7}
    c, rho = 7, 5 / 7
    known = 180 * rho ** (math.sqrt(2 * (c + 1)) - 1) / (c * (1 - rho))
    assert found["points"][0]["metrics"]["wait"] == pytest.approx(known, rel=1e-12)
