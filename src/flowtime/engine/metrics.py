"""Metrics: what a run says in single numbers, from series that are evaluated with the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flowtime.core.arithmetic import ARITHMETIC
from flowtime.core.constants import constant
from flowtime.core.expression import Binary, Call, Expression, Number, children
from flowtime.core.series import FloatArray
from flowtime.engine.expansion import METRIC
from flowtime.model.metrics import CONDITIONS, PLACES, reducers
from flowtime.model.spec import Goal, Metric

_COMPARISONS = frozenset(("<", "<=", ">", ">=", "==", "!="))


@dataclass(frozen=True, slots=True)
class Result:
    """The value of a metric: NaN where it is missing, and how many missing values it leaves out.

    `met` says whether its goal is met, None without a goal. `bin` is where a value was found that is one of a
    single bin: FIRST_BIN, LAST_BIN, PEAK and LOW.
    """

    metric: Metric
    value: float
    missing: int = 0
    met: bool | None = None
    bin: int | None = None


def series_formulas(metrics: Iterable[Metric]) -> dict[str, Expression]:
    """The formulas whose series the metrics reduce, by an id of our own, for `compile(extra=...)`.

    A condition is missing where any operand of its comparisons is.
    """
    return {
        f"{METRIC}{metric.name}:{index}": _present(call)
        for metric in metrics
        for index, call in enumerate(reducers(metric.formula.tree))
    }


def _present(call: Call) -> Expression:
    tree = call.arguments[0]
    if call.function not in CONDITIONS:
        return tree
    for operand in _compared(tree):
        tree = Binary("+", tree, Binary("*", Number(0.0), operand))
    return tree


def _compared(tree: Expression) -> Iterator[Expression]:
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, Binary) and part.operator in _COMPARISONS:
            yield from (part.left, part.right)
        stack += children(part)


def reduce(
    metrics: Sequence[Metric], series: Mapping[str, FloatArray], values: Mapping[str, float]
) -> tuple[Result, ...]:
    """The metrics of a run, from the `(bins,)` series of `series_formulas` and the values of parameters."""
    return tuple(_result(metric, series, values) for metric in metrics)


def _result(metric: Metric, series: Mapping[str, FloatArray], values: Mapping[str, float]) -> Result:
    known: dict[Expression, float] = {}
    missing, place = 0, None
    for index, call in enumerate(reducers(metric.formula.tree)):
        row = series[f"{METRIC}{metric.name}:{index}"]
        missing += int(np.isnan(row).sum())
        known[call], place = _reduced(call, row, values)
    whole = constant(metric.formula.tree, values, known) + 0.0
    value = whole if math.isfinite(whole) else math.nan
    tree = metric.formula.tree
    alone = isinstance(tree, Call) and tree.function in (*PLACES, "PEAK", "LOW")
    met = None if metric.goal is None else is_met(metric.goal, value, values)
    return Result(metric, value, missing, met, place if alone else None)


def is_met(goal: Goal, value: float, values: Mapping[str, float]) -> bool:
    """Whether a value meets a goal at these values of parameters; a missing one does not."""
    return ARITHMETIC[goal.operator](value, constant(goal.bound.tree, values)) == 1.0 and not math.isnan(
        value
    )


def _reduced(call: Call, row: FloatArray, values: Mapping[str, float]) -> tuple[float, int | None]:
    """The number that a reducer makes of a series, and the bin that it is about."""
    bins = np.flatnonzero(~np.isnan(row))
    if not bins.size:
        return math.nan, None
    there = row[bins]
    match call.function:
        case "TOTAL":
            return total(there), None
        case "MEAN":
            return total(there) / there.size, None
        case "PEAK" | "LOW":
            at = int(there.argmax() if call.function == "PEAK" else there.argmin())
            return float(there[at]), int(bins[at])
        case "FIRST":
            return float(there[0]), int(bins[0])
        case "LAST":
            return float(there[-1]), int(bins[-1])
        case "QUANTILE":
            return quantile(there, constant(call.arguments[1], values)), None
    true = bins[there != 0.0]
    match call.function:
        case "SHARE":
            return true.size / there.size, None
        case "BINS":
            return float(true.size), None
    if not true.size:
        return math.nan, None
    at = int(true[0 if call.function == "FIRST_BIN" else -1])
    return float(at), at


def total(values: FloatArray) -> float:
    """The sum in index order."""
    return float(np.add.accumulate(values)[-1])


def quantile(values: FloatArray, share: float) -> float:
    """The value that a share of all does not exceed, as `numpy.quantile` interpolates (linear)."""
    ordered = np.sort(values)
    place = (ordered.size - 1) * share
    low = math.floor(place)
    a, b, t = float(ordered[low]), float(ordered[min(low + 1, ordered.size - 1)]), place - low
    return b - (b - a) * (1.0 - t) if t >= 0.5 else a + (b - a) * t
