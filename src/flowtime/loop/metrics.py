"""The metrics of a run: which ones, computed with its series, and as its catalog holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowtime.core.expression import Expression, Name
from flowtime.core.grid import Grid
from flowtime.core.series import FloatArray
from flowtime.core.statistics import summarise
from flowtime.engine.metrics import Result, is_met, reduce, series_formulas
from flowtime.model import given_metrics
from flowtime.model.metrics import default_metrics
from flowtime.model.spec import Metric, Model
from flowtime.registry.catalog import Figure

MAX_LISTED = 20
"""How many metrics a catalog holds, which lists can show and filter by; the others are in its details."""

_DRAWN = "drawn:"
"""What the ids of series begin with that hold the drawn values of parameters."""


def metrics_of(model: Model, given: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The metrics of a run: those that the model declares, else the usual ones; and those given for the run,
    a formula, or a mapping as a document has it, by name.

    A given one takes the place of the model's of that name. Raises InvalidInput (FT222) with every problem.
    """
    found = {metric.name: metric for metric in model.metrics or default_metrics(model)}
    if given:
        found |= {metric.name: metric for metric in given_metrics(model, given)}
    return tuple(found.values())


def figures(
    metrics: Sequence[Metric], series: Mapping[str, FloatArray], values: Mapping[str, float], grid: Grid
) -> list[Figure]:
    """The metrics of a run from the series of `series_formulas` and the values of its parameters."""
    return [_figure(result, grid) for result in reduce(metrics, series, values)]


def _figure(result: Result, grid: Grid) -> Figure:
    metric, bin = result.metric, result.bin
    return Figure(
        name=metric.name,
        formula=metric.formula.text,
        value=_number(result.value),
        unit=metric.unit,
        goal=None if metric.goal is None else str(metric.goal),
        met=result.met,
        title=metric.title,
        missing=result.missing,
        bin=bin,
        time=None if bin is None or grid.start is None else grid.label(bin),
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class Samples:
    """The metrics of a run with samples: computed in each sample from its extra series, then summed up.

    `values` are those of all parameters, `drawn` the ids of those that each sample draws.
    """

    metrics: tuple[Metric, ...]
    values: Mapping[str, float]
    drawn: tuple[str, ...]
    found: FloatArray = field(repr=False)
    """`(samples, metrics)` float64, NaN where a metric is missing."""
    met: FloatArray = field(repr=False)
    """`(samples, metrics)`: 1 where the goal is met."""

    @classmethod
    def of(
        cls, metrics: tuple[Metric, ...], values: Mapping[str, float], drawn: tuple[str, ...], samples: int
    ) -> Samples:
        """Room for so many samples."""
        shape = (samples, len(metrics))
        return cls(metrics, values, drawn, np.empty(shape), np.empty(shape))

    def formulas(self) -> dict[str, Expression]:
        """The extra series that `take` needs, by id."""
        if not self.metrics:
            return {}
        return {**series_formulas(self.metrics), **{f"{_DRAWN}{id}": Name(id) for id in self.drawn}}

    def take(self, sample: int, series: Mapping[str, FloatArray]) -> None:
        """Computes the metrics of one sample."""
        values = {**self.values, **{id: float(series[f"{_DRAWN}{id}"][0]) for id in self.drawn}}
        for column, result in enumerate(reduce(self.metrics, series, values)):
            self.found[sample, column] = result.value
            self.met[sample, column] = bool(result.met)

    def figures(self) -> list[Figure]:
        """Of each metric the mean, p05, p50 and p95, and the share of samples that meet its goal.

        The goal itself is met where the p95 meets it, of `>` and `>=` the p05, of `==` and `!=` where every
        sample does.
        """
        if not self.metrics:
            return []
        statistics, present = summarise(self.found)
        shares = self.met.mean(axis=0)
        return [
            self._figure(metric, statistics[:, column], int(present[column]), float(shares[column]))
            for column, metric in enumerate(self.metrics)
        ]

    def _figure(self, metric: Metric, statistics: FloatArray, present: int, share: float) -> Figure:
        mean, p05, p50, p95 = map(float, statistics)
        met = None
        if metric.goal is not None:
            held = {"<": p95, "<=": p95, ">": p05, ">=": p05}.get(metric.goal.operator)
            met = share == 1.0 if held is None else is_met(metric.goal, held, self.values)
        return Figure(
            name=metric.name,
            formula=metric.formula.text,
            value=_number(mean),
            unit=metric.unit,
            goal=None if metric.goal is None else str(metric.goal),
            met=met,
            title=metric.title,
            missing=len(self.found) - present,
            p05=_number(p05),
            p50=_number(p50),
            p95=_number(p95),
            met_share=None if metric.goal is None else share,
        )
