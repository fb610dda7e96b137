"""Rows in any order onto a grid: inferred where nobody knows it, and nothing filled in without being told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flowtime.core.grid import MAX_BINS, MICROSECONDS, Grid, format_instant
from flowtime.core.series import FloatArray, SeriesKey
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.formats.rows import MAX_REPORTED

IntArray = NDArray[np.int64]

FREE_CELLS = 10_000_000
"""A matrix of up to so many values is made even where few rows fill it."""
CELLS_PER_ROW = 100
"""A larger matrix needs a row for every so many of its values."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do about rows that are missing, there twice, or between the starts of two bins."""

    missing: Literal["error", "null", "zero"] = "error"
    duplicates: Literal["error", "first", "last", "sum"] = "error"
    align: Literal["floor"] | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table, in the order of the file.

    `series` `(rows,)` is each row's index in `keys`; `time` `(rows,)` microseconds since 1970, or a bin's
    index where not `on_the_clock`; `value` `(rows,)` has NaN where missing. `first` is the number of the
    first row in the file `source`.
    """

    source: str
    first: int
    on_the_clock: bool
    keys: tuple[SeriesKey, ...]
    series: NDArray[np.int32]
    time: IntArray
    value: FloatArray


@dataclass(frozen=True, slots=True)
class Aligned:
    """A `(series, bins)` matrix, and how many values had to be filled, merged or moved for it."""

    values: FloatArray
    filled: int
    merged: int
    moved: int


def infer_grid(rows: Rows) -> Grid:
    """The grid that the times of `rows` lie on.

    On the clock it starts at the smallest time and steps by the greatest common divisor of all gaps, in
    the largest unit that fits; a single time gives one bin of an hour, which is a guess. Indices make a
    grid of hours up to the largest. Raises InvalidInput where no grid of whole seconds fits, or it would
    have over MAX_BINS bins.
    """
    low, high = int(rows.time.min()), int(rows.time.max())
    if not rows.on_the_clock:
        if high >= MAX_BINS:
            raise _too_many(rows, high + 1, f"time_bin reaches the index {high:,}")
        return Grid(high + 1)
    times = np.unique(rows.time)
    if times.size == 1:
        return Grid(1, start=low)
    gaps = np.diff(times)
    step = int(np.gcd.reduce(gaps))
    shortest = int(gaps.argmin())
    pair = f"{format_instant(int(times[shortest]))} and {format_instant(int(times[shortest + 1]))}"
    if step % MICROSECONDS["seconds"]:
        raise InvalidInput(
            "FT405",
            f"the times fit no grid of whole seconds; {pair} lie nearest to each other",
            where=rows.source,
            hint="Give the grid with --grid, and --align floor to move each time to the start of its bin.",
        )
    bins = (high - low) // step + 1
    if bins > MAX_BINS:
        raise _too_many(rows, bins, f"the gaps between the times share only {_duration(step)}, see {pair}")
    unit = next(unit for unit in reversed(MICROSECONDS) if step % MICROSECONDS[unit] == 0)
    return Grid(bins, step // MICROSECONDS[unit], unit, low)


def onto_grid(rows: Rows, grid: Grid, policy: Policy) -> Aligned:
    """The rows as a matrix on `grid`.

    Raises InvalidInput, naming the first rows or bins, for times off the grid, rows that are there twice
    and rows that are missing, unless `policy` says what to do.
    """
    bins, moved = _bins(rows, grid, policy)
    cells = len(rows.keys) * grid.bins
    if cells > max(FREE_CELLS, CELLS_PER_ROW * rows.time.size):
        raise InvalidInput(
            "FT409",
            f"{rows.time.size:,} rows would fill a table of {len(rows.keys):,} series x {grid.bins:,} bins = "
            f"{cells:,} values",
            where=rows.source,
            hint="Check component_id, measure and the grid; --grid with longer bins may help.",
        )
    place = rows.series.astype(np.int64) * grid.bins + bins
    there = np.zeros(cells, dtype=np.bool_)
    there[place] = True
    filled = cells - int(np.count_nonzero(there))
    merged = rows.time.size - (cells - filled)
    if merged and policy.duplicates == "error":
        raise _duplicates(rows, grid, place, merged)
    if filled and policy.missing == "error":
        raise _gaps(rows, grid, there, filled)
    values = np.full(cells, 0.0 if policy.missing == "zero" else np.nan)
    if policy.duplicates == "sum" and merged:
        _add(rows, place, values)
    else:
        # Of several values for one place the last one stays.
        order = slice(None, None, -1 if policy.duplicates == "first" else 1)
        values[place[order]] = rows.value[order]
    return Aligned(values.reshape(len(rows.keys), grid.bins), filled, merged, moved)


def _bins(rows: Rows, grid: Grid, policy: Policy) -> tuple[IntArray, int]:
    """The bin of each row, and how many times were moved to get there."""
    if rows.on_the_clock != (grid.start is not None):
        found, wanted = ("instants", "has no start") if rows.on_the_clock else ("indices", "has a start")
        first = format_instant(int(rows.time.min())) if rows.on_the_clock else "none"
        raise InvalidInput(
            "FT406",
            f"the times are {found}, but the grid {wanted}",
            where=rows.source,
            hint=f"Give start={first}.",
        )
    bins = rows.time if grid.start is None else (rows.time - grid.start) // grid.step
    rest = np.zeros_like(bins) if grid.start is None else rows.time - grid.start - bins * grid.step
    outside = (bins < 0) | (bins >= grid.bins)
    between = (rest != 0) & ~outside
    moved = int(np.count_nonzero(between)) if policy.align == "floor" else 0
    off = outside if policy.align == "floor" else outside | between
    count = int(np.count_nonzero(off))
    if count:

        def why(row: int) -> str:
            if outside[row]:
                return f"{_time(rows, row)} lies outside the grid"
            return f"{_time(rows, row)} lies {_duration(int(rest[row]))} after the start of a bin"

        raise InvalidInput(
            "FT406",
            f"{_count(count, 'row is', 'rows are')} off the grid of {grid}",
            where=rows.source,
            hint=None if outside.any() else "--align floor moves each time to the start of its bin.",
            errors=_diagnostics("FT406", rows, np.flatnonzero(off), why),
            count=count,
        )
    return bins, moved


def _add(rows: Rows, place: IntArray, values: FloatArray) -> None:
    present = ~np.isnan(rows.value)
    values[place] = np.nan
    values[place[present]] = 0.0
    with np.errstate(over="ignore"):
        np.add.at(values, place[present], rows.value[present])
    if np.isinf(values).any():
        raise InvalidInput("FT408", "a sum of duplicate rows is beyond the largest double", where=rows.source)


def _duplicates(rows: Rows, grid: Grid, place: IntArray, count: int) -> InvalidInput:
    order = np.argsort(place, kind="stable")
    begins = np.r_[True, np.diff(place[order]) != 0]
    first = np.empty_like(order)
    first[order] = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    again = np.flatnonzero(first != np.arange(first.size))

    def why(row: int) -> str:
        key, bin = rows.keys[rows.series[row]], grid.label(int(place[row] % grid.bins))
        return f"{key} at {bin} is there already, in row {rows.first + int(first[row])}"

    return InvalidInput(
        "FT408",
        f"{_count(count, 'row has', 'rows have')} the component, measure and bin of another",
        where=rows.source,
        hint="--duplicates first, last or sum says which value counts.",
        errors=_diagnostics("FT408", rows, again, why),
        count=count,
    )


def _gaps(rows: Rows, grid: Grid, there: NDArray[np.bool_], count: int) -> InvalidInput:
    gaps = np.flatnonzero(~there)[:MAX_REPORTED]
    errors = [
        Diagnostic(
            "FT407",
            f"{rows.keys[gap // grid.bins]} has no row for {grid.label(gap % grid.bins)}",
            source=rows.source,
        )
        for gap in gaps.tolist()
    ]
    return InvalidInput(
        "FT407",
        f"{_count(count, 'row is', 'rows are')} missing for {len(rows.keys):,} series on a grid of {grid}",
        where=rows.source,
        hint="--missing null or --missing zero fills them.",
        errors=errors,
        count=count,
    )


def _diagnostics(
    code: str, rows: Rows, which: NDArray[np.intp], why: Callable[[int], str]
) -> Iterator[Diagnostic]:
    for row in which[:MAX_REPORTED].tolist():
        yield Diagnostic(code, why(row), source=rows.source, line=rows.first + row)


def _too_many(rows: Rows, bins: int, why: str) -> InvalidInput:
    return InvalidInput(
        "FT409",
        f"{why}: that makes {bins:,} bins, and a grid has at most {MAX_BINS:,}",
        where=rows.source,
        hint="Give a grid of longer bins with --grid, and --align floor.",
    )


def _time(rows: Rows, row: int) -> str:
    time = int(rows.time[row])
    return f"time_bin {format_instant(time) if rows.on_the_clock else time}"


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _duration(microseconds: int) -> str:
    for unit in reversed(MICROSECONDS):
        number, rest = divmod(microseconds, MICROSECONDS[unit])
        if number and not rest:
            return f"{number} {unit.removesuffix('s') if number == 1 else unit}"
    return f"{microseconds / MICROSECONDS['seconds']:g} seconds"
