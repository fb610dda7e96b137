"""Two sets of series side by side: how far apart, and where first."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from flowtime.core.grid import Grid
from flowtime.core.series import FloatArray, SeriesKey, SeriesSet, sparkline
from flowtime.errors import InvalidInput
from flowtime.texts import count, number
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
            return f"all {count(self.bins, 'bin')}"
        outside = []
        for side, first, bins in (
            ("baseline", self.baseline_first, self.baseline_bins),
            ("comparison", self.comparison_first, self.comparison_bins),
        ):
            before, after = first, bins - first - self.bins
            lead = f"begins {count(before, 'bin')} earlier" if before else ""
            tail = f"ends {count(after, 'bin')} later" if after else ""
            if lead or tail:
                outside.append(f"the {side} {' and '.join(filter(None, (lead, tail)))}")
        return f"the {count(self.bins, 'bin')} that both have; {', '.join(outside)}"


@dataclass(frozen=True, slots=True)
class Place:
    """One bin of the baseline, and what both sides hold there; None where a side has no value."""

    bin: int
    time_bin: str
    baseline: float | None
    comparison: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """How one series differs over the bins where both have values: comparison minus baseline.

    Means are over these `bins`; the `own` ones are over all bins of their side. `bins_only_in_baseline` and
    `bins_only_in_comparison` count the aligned bins in which one side alone has a value, the first at
    `missing_at`. `first_bin` is the first baseline bin whose values are not the same, or of which one side
    has none. `max_difference` is the one of the largest magnitude, at `largest_at`.

    Ratios are 0 where nothing differs, and None where they would be infinite:
    `change_of_mean`  mean_difference / |mean_baseline|, where means that differ by rounding alone are equal
    `mean_deviation`  the mean of |difference| / the mean of |baseline|
    `bin_deviation`   the largest |difference| / max(|baseline|, floor), at `deviation_at`; the `floor` is a
                      hundredth of the mean of |baseline|
    `peak_change`     (peak_comparison - peak_baseline) / |peak_baseline|, of the largest values

    Without a bin that both have these figures are None, and so is a difference beyond the largest double.
    Different units are never `equal`; a side that states none has no other unit. `spark` draws the difference
    over time, from or through 0, and is empty where nothing differs.
    """

    component: str
    measure: str
    unit: str | None
    unit_comparison: str | None
    equal: bool
    bins: int
    bins_only_in_baseline: int
    bins_only_in_comparison: int
    differing_bins: int
    mean_baseline: float | None
    mean_comparison: float | None
    own_mean_baseline: float | None
    own_mean_comparison: float | None
    mean_difference: float | None
    change_of_mean: float | None
    mean_deviation: float | None
    max_difference: float | None
    largest_at: Place | None
    rmse: float | None
    floor: float | None
    bin_deviation: float | None
    deviation_at: Place | None
    peak_baseline: float | None
    peak_comparison: float | None
    peak_change: float | None
    first_bin: int | None
    first_time_bin: str | None
    first_baseline: float | None
    first_comparison: float | None
    missing_at: Place | None
    spark: str = ""

    @property
    def key(self) -> SeriesKey:
        """Which series it is."""
        return SeriesKey(self.component, self.measure)

    @property
    def units_differ(self) -> bool:
        """Whether both sides state a unit, and not the same."""
        return units_differ(self.unit, self.unit_comparison)

    @property
    def missing_on_one_side(self) -> int:
        """The compared bins in which one side alone has a value."""
        return self.bins_only_in_baseline + self.bins_only_in_comparison

    @property
    def notes(self) -> tuple[str, ...]:
        """What the figures do not tell, in words: other units, and bins that one side has alone."""
        notes = []
        if self.units_differ:
            notes.append(
                f"the baseline counts {self.unit}, the comparison {self.unit_comparison}; "
                "values are not converted"
            )
        if self.missing_on_one_side:
            mine, other = self.bins_only_in_baseline, self.bins_only_in_comparison
            alone = [
                f"the {side} alone in {n:,}" for side, n in (("baseline", mine), ("comparison", other)) if n
            ]
            notes.append(
                f"both have a value in {count(self.bins, 'bin')}, {', '.join(alone)}; over all bins of its "
                f"own the mean of the baseline is {number(self.own_mean_baseline)}, "
                f"that of the comparison {number(self.own_mean_comparison)}"
            )
        return tuple(notes)

    def to_json(self) -> dict[str, Any]:
        """The difference as every face shows it; `relative` is the name that mean_deviation had before."""
        return {
            **asdict(self),
            "missing_on_one_side": self.missing_on_one_side,
            "units_differ": self.units_differ,
            "notes": list(self.notes),
            "relative": self.mean_deviation,
        }


def units_differ(a: str | None, b: str | None) -> bool:
    """Whether both are stated, and not the same."""
    return a != b and a is not None and b is not None


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

    def to_json(self) -> dict[str, Any]:
        """The comparison as every face shows it."""
        return {
            "aligned": {**asdict(self.alignment), "note": self.alignment.note},
            "series": [difference.to_json() for difference in self.series],
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
    differences = []
    for key, unit, values in baseline:
        if key in theirs:
            still_wanted()
            row = theirs[key]
            units = (unit, comparison.units[row])
            differences.append(
                difference(key, units, values, comparison.values[row], baseline.grid, alignment)
            )
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


_ROUNDING = 1e-12
"""Means that are apart by less than this share of the values' mean magnitude differ by rounding alone."""
_FLOOR = 0.01
"""A bin whose baseline is less than this share of the mean magnitude is measured against that instead."""


def difference(
    key: SeriesKey,
    units: tuple[str | None, str | None],
    baseline: FloatArray,
    comparison: FloatArray,
    grid: Grid,
    alignment: Alignment,
) -> Difference:
    """How one series differs over the aligned bins: `(bins,)` float64 of each side, NaN missing, of which the
    baseline's are over `grid`. Units are the baseline's, then the comparison's.
    """
    first = alignment.baseline_first
    a = baseline[first : first + alignment.bins]
    b = comparison[alignment.comparison_first : alignment.comparison_first + alignment.bins]
    has_a, has_b = ~np.isnan(a), ~np.isnan(b)
    both = has_a & has_b
    differs = (has_a != has_b) | (both & (a != b))
    where = np.flatnonzero(differs)

    def place(at: int) -> Place:
        mine, other = (float(side[at]) if has[at] else None for side, has in ((a, has_a), (b, has_b)))
        return Place(first + at, grid.label(first + at), mine, other)

    at = None if where.size == 0 else place(int(where[0]))
    lonely = np.flatnonzero(has_a != has_b)
    bins = np.flatnonzero(both)
    figures, largest, furthest = _figures(a[both], b[both])
    return Difference(
        key.component,
        key.measure,
        *units,
        equal=at is None and not units_differ(*units),
        bins=int(bins.size),
        bins_only_in_baseline=int((has_a & ~has_b).sum()),
        bins_only_in_comparison=int((has_b & ~has_a).sum()),
        differing_bins=int(where.size),
        own_mean_baseline=_mean(baseline),
        own_mean_comparison=_mean(comparison),
        largest_at=None if largest is None else place(int(bins[largest])),
        deviation_at=None if furthest is None else place(int(bins[furthest])),
        first_bin=None if at is None else at.bin,
        first_time_bin=None if at is None else at.time_bin,
        first_baseline=None if at is None else at.baseline,
        first_comparison=None if at is None else at.comparison,
        missing_at=None if lonely.size == 0 else place(int(lonely[0])),
        spark="" if at is None else sparkline(b / 2 - a / 2, zero=True),  # halves cannot overflow
        **figures,
    )


_FIGURES = (
    "mean_baseline", "mean_comparison", "mean_difference", "change_of_mean", "mean_deviation",
    "max_difference", "rmse", "floor", "bin_deviation", "peak_baseline", "peak_comparison", "peak_change",
)  # fmt: skip


def _figures(x: FloatArray, y: FloatArray) -> tuple[dict[str, Any], int | None, int | None]:
    """The figures of a Difference by name, with the places of its largest difference and bin deviation, None
    where nothing differs: of `x` and `y`, `(bins,)` float64 without a missing value.
    """
    if not x.size:
        return dict.fromkeys(_FIGURES), None, None
    scale = _scale(x, y)
    x, y = x / scale, y / scale
    gap = y - x
    off, level = np.abs(gap), np.abs(x).mean()
    rounding = _ROUNDING * max(level, np.abs(y).mean())
    shift, base = (0.0 if abs(one) <= rounding else one for one in (gap.mean(), x.mean()))
    floor = _FLOOR * level
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = np.where(off == 0, 0.0, off / np.maximum(np.abs(x), floor))
    largest, furthest = int(off.argmax()), int(ratios.argmax())
    peak, other_peak = x.max(), y.max()
    sizes = {
        "mean_baseline": x.mean(),
        "mean_comparison": y.mean(),
        "mean_difference": shift,
        "max_difference": gap[largest],
        "rmse": np.sqrt(np.square(gap).mean()),
        "floor": floor,
        "peak_baseline": peak,
        "peak_comparison": other_peak,
    }
    shares = {
        "change_of_mean": _ratio(shift, base),
        "mean_deviation": _ratio(off.mean(), level),
        "bin_deviation": _finite(ratios[furthest]),
        "peak_change": _ratio(other_peak - peak, peak),
    }
    figures = {name: _finite(size, scale) for name, size in sizes.items()} | shares
    return (figures, largest, furthest) if off[largest] else (figures, None, None)


def _scale(*sides: FloatArray) -> float:
    """What to divide by so that sums and squares do not overflow where their means do not."""
    largest = float(max(np.abs(side).max() for side in sides))
    return largest if largest > 1e150 else 1.0


def _mean(values: FloatArray) -> float | None:
    present = values[~np.isnan(values)]
    if not present.size:
        return None
    scale = _scale(present)
    return _finite((present / scale).mean(), scale)


def _ratio(off: float, base: float) -> float | None:
    """`off` as a share of the size of `base`; None where it is infinite."""
    if off == 0:
        return 0.0
    return _finite(float(off) / abs(float(base))) if base else None


def _finite(value: float, scale: float = 1.0) -> float | None:
    """`value` times `scale`; None beyond the largest double."""
    found = float(value) * scale  # Python's floats overflow without a warning
    return found if math.isfinite(found) else None
