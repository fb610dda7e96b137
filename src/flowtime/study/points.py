"""Metrics at many points: one model, evaluated with many values of its parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flowtime.core.expression import Call, Expression, children, names
from flowtime.core.functions import KNOWN
from flowtime.core.series import FloatArray
from flowtime.engine.evaluate import evaluate
from flowtime.engine.metrics import reduce, series_formulas
from flowtime.engine.plan import compile
from flowtime.engine.points import Points
from flowtime.engine.sampling import Sampling, prepare
from flowtime.engine.waiting import Stop, in_threads
from flowtime.errors import InvalidInput
from flowtime.model.parameters import set_values
from flowtime.model.spec import ExprNode, Metric, Model, QueueNode

Progress = Callable[[int, int], object]
"""Told of the points done and of all. It may raise, which ends the work."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The metrics at some points.

    `values` is `(points, metrics)` float64, NaN where a metric is missing; `met` says of each whether its
    goal is met, False where it has none.
    """

    values: FloatArray = field(repr=False)
    met: NDArray[np.bool_] = field(repr=False)


def outcome(
    model: Model,
    varied: Mapping[str, FloatArray],
    metrics: Sequence[Metric],
    *,
    parameters: Mapping[str, float | str] | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """The metrics at the points that `varied` makes: `(points,)` values of parameters, by id.

    `parameters` sets others, `seed` takes the place of the model's. Each point has the bits that a run with
    its values has. What no varied parameter reaches is computed once. Raises InvalidInput as `evaluate` does
    for a run with the values of a point, such as FT221, FT312.
    """
    points = len(next(iter(varied.values())))
    found = Outcome(np.full((points, len(metrics)), np.nan), np.zeros((points, len(metrics)), dtype=bool))
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, points)

    structural = sorted(varied.keys() & _structural(model))
    for rows, values in _groups(varied, structural, points):
        given = {**(parameters or {}), **values}
        part = {id: column[rows] for id, column in varied.items() if id not in values}
        _evaluate(model, part, metrics, given, seed, rows, found, tell)
    return found


def _evaluate(
    model: Model,
    varied: Mapping[str, FloatArray],
    metrics: Sequence[Metric],
    given: Mapping[str, float | str],
    seed: int | None,
    rows: NDArray[np.intp],
    found: Outcome,
    tell: Callable[[int], object],
) -> None:
    """Fills in the rows of the points of one program."""
    fixed = set_values(model.parameters, given)
    formulas = series_formulas(metrics)

    def keep(place: int, series: Mapping[str, FloatArray]) -> None:
        values = {**fixed, **{id: float(column[place]) for id, column in varied.items()}}
        for column, result in enumerate(reduce(metrics, series, values)):
            found.values[rows[place], column] = result.value
            found.met[rows[place], column] = bool(result.met)

    sampling = _varying(model, varied, formulas, given, seed)
    if sampling is None:
        series = evaluate(compile(model, parameters=fixed, extra=formulas), seed=seed).extra
        for place in range(len(rows)):
            keep(place, series)
        tell(len(rows))
        return
    points = Points(sampling.sources(varied))

    def take(first: int, values: FloatArray) -> None:
        for number, series in enumerate(values):
            keep(first + number, {**sampling.certain, **dict(zip(sampling.uncertain, series, strict=True))})

    def work(task: tuple[int, int], stop: Stop) -> None:
        points.evaluate(*task, take, stop)

    threads = _cores()
    step = max(min(points.most, len(rows) // (4 * threads)), 1)
    tasks = [(first, min(first + step, len(rows))) for first in range(0, len(rows), step)]
    with closing(in_threads(work, tasks, min(threads, len(tasks)))) as made:
        for (first, end), _ in made:
            tell(end - first)
    points.notes().hold(sampling.plan.model)


def _varying(
    model: Model,
    varied: Mapping[str, FloatArray],
    formulas: Mapping[str, Expression],
    given: Mapping[str, float | str],
    seed: int | None,
) -> Sampling | None:
    """The part of the model that the varied parameters reach, None where no metric depends on them."""
    try:
        return prepare(model, seed=seed, parameters=given, extra=formulas, varied=varied)
    except InvalidInput as error:
        if error.code != "FT304":
            raise
        return None


def _groups(
    varied: Mapping[str, FloatArray], structural: Sequence[str], points: int
) -> Iterator[tuple[NDArray[np.intp], dict[str, float]]]:
    """The points of each program: their numbers, and the values that the program is made for."""
    if not structural:
        yield np.arange(points), {}
        return
    table = np.stack([varied[id] for id in structural], axis=1)
    kinds, which = np.unique(table, axis=0, return_inverse=True)
    for number, kind in enumerate(kinds):
        yield np.flatnonzero(which.ravel() == number), dict(zip(structural, kind.tolist(), strict=True))


def _structural(model: Model) -> set[str]:
    """The parameters in constant formulas: lags, kernels, limits. A program is made for their values."""
    found: set[str] = set()
    for node in model.nodes:
        if isinstance(node, ExprNode):
            found |= _in_constants(node.tree)
        elif isinstance(node, QueueNode):
            for formula in node.constants.values():
                found |= {name.id for name in names(formula.tree)}
            for formula in node.formulas.values():
                found |= _in_constants(formula.tree)
    return found


def _in_constants(tree: Expression) -> set[str]:
    found: set[str] = set()
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, Call) and part.function in KNOWN:
            for index, argument in enumerate(part.arguments):
                if KNOWN[part.function].parameter(index).kind != "series":
                    found |= {name.id for name in names(argument)}
        stack += children(part)
    return found


def _cores() -> int:
    """How many threads may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
