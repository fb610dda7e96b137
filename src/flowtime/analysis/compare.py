"""Two sets of series side by side: how far apart, and where first."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from flowtime.core.grid import Grid
from flowtime.core.series import FloatArray, SeriesKey, SeriesSet, sparkline
from flowtime.errors import InvalidInput
from flowtime.wanted import still_wanted


@dataclass(frozen=True, slots=True)
class Alignment:
    """Which bins of both sides are compared: `bins` of them, from these first bins on.

    By time where both grids have a start, by index where neither has. `note` says in words what is left out.
    """

    by: Literal["time", "index"]
    bins: int
    baseline_first: int
    comparison_first: int
    baseline_bins: int
    comparison_bins: int

    @property
    def note(self) -> str:
        """What of both sides is compared: `all 24 bins`, or which bins lie outside."""
        if self.bins == self.baseline_bins == self.comparison_bins:
            return f"all {_bins(self.bins)}"
        outside = []
        for side, first, bins in (
            ("baseline", self.baseline_first, self.baseline_bins),
            ("comparison", self.comparison_first, self.comparison_bins),
        ):
            before, after = first, bins - first - self.bins
            lead = f"begins {_bins(before)} earlier" if before else ""
            tail = f"ends {_bins(after)} later" if after else ""
            if lead or tail:
                outside.append(f"the {side} {' and '.join(filter(None, (lead, tail)))}")
        return f"the {_bins(self.bins)} that both have; {', '.join(outside)}"


@dataclass(frozen=True, slots=True)
class Difference:
    """How one series differs; differences are comparison minus baseline, over bins where both have values.

    `relative` is the mean absolute difference over the mean absolute baseline: 0 where nothing
    differs, None where the baseline is all zero and something differs, or where no bin has both values.
    A difference beyond the largest double is None.
    `first_bin` is the first baseline bin whose values are not the same, or of which one side has none.
    `spark` draws the difference over time, empty where nothing differs.
    """

    component: str
    measure: str
    unit: str | None
    equal: bool
    differing_bins: int
    missing_on_one_side: int
    mean_baseline: float | None
    mean_comparison: float | None
    mean_difference: float | None
    max_difference: float | None
    rmse: float | None
    relative: float | None
    first_bin: int | None
    first_time_bin: str | None
    first_baseline: float | None
    first_comparison: float | None
    spark: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All series that both sides have, and those that only one has."""

    alignment: Alignment
    series: tuple[Difference, ...]
    only_in_baseline: tuple[SeriesKey, ...]
    only_in_comparison: tuple[SeriesKey, ...]

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same series with the same bits over the same bins."""
        a = self.alignment
        return (
            a.bins == a.baseline_bins == a.comparison_bins
            and not self.only_in_baseline
            and not self.only_in_comparison
            and all(difference.equal for difference in self.series)
        )

    def within(self, threshold: float) -> bool:
        """Whether no series is relatively further off than `threshold`, and none is on one side only."""
        return (
            not self.only_in_baseline
            and not self.only_in_comparison
            and all(
                d.relative is not None and d.relative <= threshold and not d.missing_on_one_side
                for d in self.series
            )
        )

    def to_json(self) -> dict[str, Any]:
        """The comparison as every face shows it."""
        return {
            "aligned": {**asdict(self.alignment), "note": self.alignment.note},
            "series": [asdict(difference) for difference in self.series],
            "only_in_baseline": [asdict(key) for key in self.only_in_baseline],
            "only_in_comparison": [asdict(key) for key in self.only_in_comparison],
        }


def compare(baseline: SeriesSet, comparison: SeriesSet) -> Comparison:
    """The differences of all series that both have, in the baseline's order.

    Raises InvalidInput (FT801) where the grids cannot be aligned. Asks before each series whether the
    comparison is still wanted.
    """
    alignment = align(baseline.grid, comparison.grid)
    theirs = {key: row for row, key in enumerate(comparison.keys)}
    ours = frozenset(baseline.keys)
    mine = slice(alignment.baseline_first, alignment.baseline_first + alignment.bins)
    other = slice(alignment.comparison_first, alignment.comparison_first + alignment.bins)
    differences = []
    for key, unit, values in baseline:
        if key in theirs:
            still_wanted()
            their = comparison.values[theirs[key]][other]
            differences.append(difference(key, unit, values[mine], their, baseline.grid, mine.start))
    return Comparison(
        alignment,
        tuple(differences),
        tuple(key for key in baseline.keys if key not in theirs),
        tuple(key for key in comparison.keys if key not in ours),
    )


def align(a: Grid, b: Grid) -> Alignment:
    """The common bins of two grids. Raises InvalidInput (FT801) where there are none."""
    if (a.start is None) != (b.start is None):
        which = "baseline" if a.start is None else "comparison"
        raise _apart(f"the {which} counts its bins, the other side has times", a, b)
    if a.step != b.step:
        raise _apart("their bins differ in length", a, b)
    shift = 0
    if a.start is not None and b.start is not None:
        shift, rest = divmod(b.start - a.start, a.step)
        if rest:
            raise _apart("their bins begin at different times", a, b)
    first_a, first_b = max(shift, 0), max(-shift, 0)
    bins = min(a.bins - first_a, b.bins - first_b)
    if bins < 1:
        raise _apart("their times do not overlap", a, b)
    return Alignment("index" if a.start is None else "time", bins, first_a, first_b, a.bins, b.bins)


def _apart(why: str, a: Grid, b: Grid) -> InvalidInput:
    return InvalidInput(
        "FT801",
        f"the two cannot be compared: {why}; the baseline has {a}, the comparison {b}",
        hint="run both models over bins of the same length that begin at the same times",
    )


def _bins(count: int) -> str:
    return f"{count:,} bin{'' if count == 1 else 's'}"


def difference(
    key: SeriesKey, unit: str | None, a: FloatArray, b: FloatArray, grid: Grid, first: int
) -> Difference:
    """How `b` differs from `a`: both `(bins,)` float64, NaN missing; bin 0 is bin `first` of `grid`."""
    missing_a, missing_b = np.isnan(a), np.isnan(b)
    both = ~(missing_a | missing_b)
    one_sided = missing_a != missing_b
    differs = one_sided | (both & (a != b))
    where = np.flatnonzero(differs)
    at = int(where[0]) if where.size else None
    x, y = a[both], b[both]
    largest = max(np.abs(x).max(), np.abs(y).max()) if x.size else 0.0
    # Sums and squares of larger numbers would overflow where their means do not.
    scale = largest if largest > 1e150 else 1.0
    x, y = x / scale, y / scale
    gap = y - x
    relative: float | None = 0.0 if at is None else None
    if x.size:
        level, off = float(np.abs(x).mean()), float(np.abs(gap).mean())
        relative = 0.0 if off == 0 else off / level if level else None

    def number(value: float) -> float | None:
        number = float(value) * float(scale)
        return number if math.isfinite(number) else None

    return Difference(
        key.component,
        key.measure,
        unit,
        equal=at is None,
        differing_bins=int(where.size),
        missing_on_one_side=int(one_sided.sum()),
        mean_baseline=number(x.mean()) if x.size else None,
        mean_comparison=number(y.mean()) if x.size else None,
        mean_difference=number(gap.mean()) if x.size else None,
        max_difference=number(gap[np.abs(gap).argmax()]) if x.size else None,
        rmse=number(np.sqrt(np.square(gap).mean())) if x.size else None,
        relative=relative,
        first_bin=None if at is None else first + at,
        first_time_bin=None if at is None else grid.label(first + at),
        first_baseline=None if at is None or missing_a[at] else float(a[at]),
        first_comparison=None if at is None or missing_b[at] else float(b[at]),
        spark="" if at is None else sparkline(b / 2 - a / 2),  # halves cannot overflow
    )
