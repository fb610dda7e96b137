"""Every point of a question has the bits of a run with its values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtime.engine.evaluate import evaluate
from flowtime.engine.metrics import reduce, series_formulas
from flowtime.engine.plan import compile
from flowtime.errors import InvalidInput
from flowtime.model import load
from flowtime.study.points import outcome

MODEL = """
grid: {bins: 48, binSize: 15, binUnit: minutes}
rng: {kind: pcg64, seed: 7}
parameters:
  staff: {value: 2, min: 1, max: 40, integer: true}
  growth: {value: 1, min: 0, max: 3}
  lag: {value: 1, min: 1, max: 5, integer: true}
  room: {value: 50, min: 20}
  share: {value: 0.2, min: 0, max: 1}
nodes:
  - {id: calls, kind: pmf, pmf: {"10": 0.3, "25": 0.5, "60": 0.2}, mode: sample}
  - {id: offered, kind: expr, expr: "calls * growth + share * SHIFT(desk.lost, lag)"}
  - {id: desk, kind: queue, arrivals: offered, workers: staff, serviceSeconds: 180, limit: room, initial: 5}
  - {id: smooth, kind: expr, expr: "EMA(desk.depth, 2 / (lag + 1))"}
metrics:
  wait: PEAK(desk.wait_p95)
  lost: TOTAL(desk.lost) / TOTAL(desk.arrivals)
  smooth: {formula: "MEAN(smooth) * share", goal: "<= 3"}
  still: MEAN(calls)
"""

VALUES = {
    "staff": st.integers(1, 9).map(float),
    "growth": st.floats(0, 3),
    "lag": st.integers(1, 4).map(float),
    "room": st.floats(20, 90),
    "share": st.floats(0, 1),
}


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_points_have_the_bits_of_runs(data: st.DataObject) -> None:
    model = load(MODEL.encode(), "m")
    ids = data.draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True))
    count = data.draw(st.integers(1, 6))
    varied = {id: np.array(data.draw(st.lists(VALUES[id], min_size=count, max_size=count))) for id in ids}
    found = outcome(model, varied, model.metrics)
    for number in range(count):
        values = {id: float(column[number]) for id, column in varied.items()}
        plan = compile(model, parameters=values, extra=series_formulas(model.metrics))
        used = {id: parameter.value for id, parameter in model.parameters.items()} | values
        alone = reduce(model.metrics, evaluate(plan).extra, used)
        assert found.values[number].tobytes() == np.array([each.value for each in alone]).tobytes()
        assert found.met[number].tolist() == [bool(each.met) for each in alone]


def test_a_point_that_a_run_refuses_is_refused() -> None:
    text = MODEL.replace("serviceSeconds: 180", "serviceSeconds: 180 - 60 * growth")
    model = load(text.encode(), "m")
    with pytest.raises(InvalidInput) as refused:
        outcome(model, {"growth": np.array([1.0, 3.0])}, model.metrics)
    assert refused.value.code == "FT312"
