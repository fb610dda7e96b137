"""Solving: the smallest or largest value of a parameter at which a condition is met, with its proof."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from flowtime.core.series import FloatArray
from flowtime.study.points import Outcome
from flowtime.study.ranges import Range

LISTED = 1_000
"""So many values are all looked at; of more, sections."""

SECTIONS = 32
"""Into so many parts a bracket is cut at a time."""

Reason = Literal["bracketed", "met everywhere", "not bracketed", "flat", "missing"]
Ask = Callable[[FloatArray], Outcome]
"""Gives the metrics at `(points,)` values of the parameter."""


@dataclass(frozen=True, slots=True)
class Point:
    """A value of the parameter with what was found there: `(metrics,)` values, NaN where missing."""

    value: float
    metrics: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Solution:
    """What was found.

    `answer` is the extreme value that meets the condition, and `beside` the nearest one looked at that does
    not, which proves it; None where there is none. `ends` are both ends of the range where no value meets
    it. `broken` are the values beyond the answer at which the condition is not met again.
    """

    reason: Reason
    answer: Point | None
    beside: Point | None
    ends: tuple[Point, ...] = ()
    broken: tuple[float, ...] = ()
    evaluations: int = 0


@dataclass(slots=True)
class _Seen:
    """All values looked at so far, ascending in the direction of the search."""

    ask: Ask
    judged: Sequence[int]
    metrics: dict[float, tuple[float, ...]] = field(default_factory=dict)
    met: dict[float, bool] = field(default_factory=dict)

    def look(self, values: list[float]) -> None:
        new = [value for value in dict.fromkeys(values) if value not in self.met]
        if new:
            found = self.ask(np.array(new))
            for value, row, met in zip(new, found.values, found.met, strict=True):
                self.metrics[value] = tuple(row.tolist())
                self.met[value] = bool(met[self.judged].all())

    def point(self, value: float) -> Point:
        return Point(value, self.metrics[value])


def solve(
    over: Range,
    ask: Ask,
    judged: Sequence[int],
    *,
    largest: bool = False,
    tolerance: float | None = None,
) -> Solution:
    """The smallest value in the range at which the goals of the metrics `judged`, by their places, are met,
    or the largest.

    Up to 1,000 values are all looked at. Of more, and of all numbers between two ends, sections of the
    bracket are, until the answer and its neighbour are next to each other in the list or no further apart
    than `tolerance`, by default a millionth of the range.
    """
    seen = _Seen(ask, list(judged))
    fine = (over.high - over.low) * 1e-6 if tolerance is None else tolerance
    values = list(over.values)
    seen.look(values if 0 < len(values) <= LISTED else _sections(over))
    ordered = sorted(seen.met, reverse=largest)
    hits = [value for value in ordered if seen.met[value]]
    if not hits:
        return _without(seen, ordered)
    while True:
        ordered = sorted(seen.met, reverse=largest)
        at = next(place for place, value in enumerate(ordered) if seen.met[value])
        if at == 0:
            beside = None
            break
        beside = ordered[at - 1]
        between = _between(over, beside, ordered[at], fine)
        if not between:
            break
        seen.look(between)
    answer = ordered[at]
    broken = tuple(value for value in ordered[at:] if not seen.met[value])
    return Solution(
        reason="met everywhere" if beside is None else "bracketed",
        answer=seen.point(answer),
        beside=None if beside is None else seen.point(beside),
        broken=broken,
        evaluations=len(seen.met),
    )


def _without(seen: _Seen, ordered: list[float]) -> Solution:
    """What there is to say where no value meets the condition."""
    rows = np.array([seen.metrics[value] for value in ordered])[:, seen.judged]
    if np.isnan(rows).all():
        return Solution("missing", None, None, evaluations=len(ordered))
    flat = len(ordered) > 1 and not np.isnan(rows).any() and bool((rows == rows[0]).all())
    ends = tuple(seen.point(value) for value in (min(ordered), max(ordered)))
    reason: Reason = "flat" if flat else "not bracketed"
    return Solution(reason, None, None, ends=ends, evaluations=len(ordered))


def _sections(over: Range) -> list[float]:
    """Values of the range at equal distances, both ends among them."""
    shares = [place / SECTIONS for place in range(SECTIONS + 1)]
    if over.values:
        last = len(over.values) - 1
        return [over.values[round(share * last)] for share in shares]
    return [over.low + (over.high - over.low) * share for share in shares]


def _between(over: Range, a: float, b: float, fine: float) -> list[float]:
    """Values between two that are not next to each other."""
    low, high = min(a, b), max(a, b)
    if over.values:
        inside = [value for value in over.values if low < value < high]
        step = max(math.ceil(len(inside) / SECTIONS), 1)
        return inside[::step]
    if high - low <= fine:
        return []
    found = [low + (high - low) * place / SECTIONS for place in range(1, SECTIONS)]
    return [value for value in found if low < value < high]
