"""Queues with random flows: what comes is what goes, both forms give the same bits, waits add up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtime.core.arithmetic import LARGEST_PART
from flowtime.core.expression import parse
from flowtime.core.series import FloatArray
from flowtime.engine import compile, machine, program, reference
from flowtime.engine.plan import Plan
from flowtime.engine.sources import sources
from flowtime.model import from_document, load
from flowtime.model.spec import FLOWS, QueueNode

amounts = st.one_of(st.just(0.0), st.floats(0, 200), st.integers(0, 200).map(float))


@st.composite
def queues(draw: st.DrawFn, *, losing: bool = True) -> dict[str, Any]:
    """A document with one queue, all of whose measures are recorded."""
    bins = draw(st.integers(1, 30))
    flows = {name: draw(st.lists(amounts, min_size=bins, max_size=bins)) for name in ("a", "c", "share")}
    queue: dict[str, Any] = {"id": "q", "kind": "queue", "arrivals": "a", "waitUnit": "bins", "slo": 0.5}
    queue["initial"] = draw(st.one_of(st.just(0), st.floats(0, 100)))
    if draw(st.booleans()):
        queue |= {"capacity": "c"}
    else:
        queue |= {"workers": "c", "serviceSeconds": draw(st.floats(60, 7200))}
    if losing and draw(st.booleans()):
        queue["limit"] = queue["initial"] + draw(st.floats(0, 100))
    leaving = draw(st.sampled_from(("patience", "abandon", None))) if losing else None
    if leaving == "patience":
        queue["patience"] = draw(st.integers(1, 5))
    elif leaving == "abandon":
        queue["abandon"] = "share / 250"
    nodes = [{"id": id, "kind": "const", "values": values} for id, values in flows.items()]
    return {"schemaVersion": 2, "grid": {"bins": bins}, "nodes": [*nodes, queue]}


def both(plan: Plan) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """The recorded series of a plan by the reference and by the program."""
    found = sources(plan)
    by_reference, notes = reference.evaluate(plan, found.fixed, found.draw(), lambda: None)
    run = machine.Machine(machine.Module(program.compile(plan)), found)
    run.all_bins(lambda: None)
    ids = [node.id for _, node in plan.model.recorded()]
    assert run.notes().bins.keys() == notes.bins.keys()
    for note, where in notes.bins.items():
        np.testing.assert_array_equal(run.notes().bins[note], where)
    values = run.values().copy()
    return dict(zip(ids, by_reference, strict=True)), dict(zip(ids, values, strict=True))


def evaluated(document: dict[str, Any]) -> dict[str, FloatArray]:
    """All measures of the queue, the same in both forms."""
    model = from_document(document)
    queue = model.node("q")
    assert isinstance(queue, QueueNode)
    plan = compile(model, extra={measure: parse(f"q.{measure}") for measure in queue.measures})
    mine, theirs = both(plan)
    for id, row in mine.items():
        assert row.tobytes() == theirs[id].tobytes(), id
    return {measure: mine[measure] for measure in queue.measures}


@given(queues())
def test_what_comes_is_served_lost_gone_or_still_there(document: dict[str, Any]) -> None:
    q = evaluated(document)
    come = document["nodes"][-1]["initial"] + math.fsum(q["arrivals"])
    gone = math.fsum((*q["served"], *q["lost"], *q["abandoned"], q["depth"][-1]))
    assert gone == pytest.approx(come, rel=1e-9, abs=1e-9)
    assert (q["depth"] >= 0).all()
    limit = document["nodes"][-1].get("limit", math.inf)
    assert (q["depth"] <= limit).all()
    spare = q["served"] < q["capacity"]
    assert (q["depth"][spare] == 0).all()


@given(queues(losing=False))
def test_the_area_under_the_depth_is_what_all_have_waited(document: dict[str, Any]) -> None:
    """Little's law for the fluid: depth in a bin is a line, or two where the queue empties inside."""
    q = evaluated(document)
    depths = [document["nodes"][-1]["initial"], *q["depth"]]
    area = 0.0
    for before, after, come, capacity in zip(depths, depths[1:], q["arrivals"], q["capacity"], strict=False):
        empties = before / (capacity - come) if after == 0 and capacity > come else 1.0
        area += (before + after) / 2 * min(empties, 1.0)
    served = np.nan_to_num(q["served"] * q["wait_mean"]).sum()
    # Those who are still there have waited, too: the fluid in the queue, from its own arrival to the end.
    waiting, still = depths[-1], 0.0
    for t in reversed(range(len(q["arrivals"]))):
        part = min(waiting, q["arrivals"][t])
        if part > 0:
            length = part / q["arrivals"][t]
            still += part * (len(q["arrivals"]) - t - 1 + length / 2)
            waiting -= part
    still += waiting * len(q["arrivals"])
    assert served + still == pytest.approx(area, rel=1e-6, abs=1e-6)


@given(queues())
def test_waits_are_in_order(document: dict[str, Any]) -> None:
    q = evaluated(document)
    there = ~np.isnan(q["wait_mean"])
    served = q["served"] > 0
    # A depth that is less than the rounding of what came before has no place in the line.
    lost_in_rounding = q["served"] < 1e-12 * (q["arrivals"].max() + q["depth"].max())
    np.testing.assert_array_equal(there[~lost_in_rounding], served[~lost_in_rounding])
    assert (q["wait_p50"][there] <= q["wait_p95"][there]).all()
    assert (q["wait_p95"][there] <= q["wait_p99"][there]).all()
    # At most a hundredth waits longer than the 99th percentile, and nobody longer than the run has lasted.
    longest = np.arange(1, len(there) + 1)[there]
    assert (q["wait_mean"][there] <= 0.99 * q["wait_p99"][there] + 0.01 * longest + 1e-9).all()
    assert ((q["within_slo"][there] >= 0) & (q["within_slo"][there] <= 1 + 1e-12)).all()


def test_a_share_is_cut_and_negative_flows_count_as_nothing() -> None:
    document = {
        "schemaVersion": 2,
        "grid": {"bins": 3},
        "nodes": [
            {"id": "a", "kind": "const", "values": [10, -5, 10]},
            {"id": "s", "kind": "const", "values": [0.5, 2, -1]},
            {"id": "q", "kind": "queue", "arrivals": "a", "capacity": 4, "abandon": "s"},
        ],
    }
    q = evaluated(document)
    assert q["arrivals"].tolist() == [10, 0, 10]
    assert q["depth"].tolist() == [6, 0, 6]
    assert q["abandoned"][1] == 6 * LARGEST_PART
    assert set(FLOWS) <= q.keys()


PARAMETERS = """
schemaVersion: 2
grid: {bins: 8}
parameters: {p: 1.5, r: {value: 0.25, min: 0, max: 1}, n: {value: 3, integer: true, min: 1, max: 5}}
nodes:
  - {id: x, kind: const, values: [5, 0, 40, 3, 17, 60, 1, 9]}
  - {id: shifted, kind: expr, expr: "SHIFT(x, 2, p - 1) + SHIFT(x * p, n, FIRST)"}
  - {id: average, kind: expr, expr: "EMA(x - p, r) + EMA(LOG(x - 3), r)"}
  - {id: folded, kind: expr, expr: "CONV(x + 1, [0, r, 1 - r, 0]) + p"}
  - {id: loop, kind: expr, expr: "x + CONV(loop, [0, r])"}
  - {id: plain, kind: expr, expr: "IF(x > 10 * p, POW(p, x / 10), CLAMP(-x, -p, r))"}
  - id: q
    kind: queue
    arrivals: "x + q.lost * 0 + SHIFT(q.lost, 1) * r"
    workers: p
    serviceSeconds: "300 + 100 * p"
    initial: "2 * p"
    limit: "20 + p"
    abandon: "r / 4"
    slo: "10 * p"
    variability: "p / 2"
    record: [served, lost, depth, utilization, wait_mean, wait_p95, within_slo, wait_random, latency]
"""


@given(p=st.floats(0.1, 9), r=st.floats(0.01, 1))
@pytest.mark.parametrize("where", ["reference", "program"])
def test_what_is_drawn_has_the_bits_of_what_is_set(where: str, p: float, r: float) -> None:
    model = load(PARAMETERS.replace("q.lost * 0 + ", ""))
    values = {"p": p, "r": r, "n": 3.0}
    once = both(compile(model, parameters=values))[0]
    plan = compile(model, drawn=("p", "r"))
    found = sources(plan, seed=1)
    rows = np.array([[values[source.node]] * 8 for source in plan.drawn])
    if where == "reference":
        drawn, _ = reference.evaluate(plan, found.fixed, rows, lambda: None)
    else:
        run = machine.Machine(machine.Module(program.compile(plan)), found)
        run.draws[:] = rows
        run.all_bins(lambda: None)
        drawn = run.values()
    for id, row in zip(once, drawn, strict=True):
        assert once[id].tobytes() == row.tobytes(), id
