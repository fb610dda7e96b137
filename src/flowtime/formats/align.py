"""Rows in any order onto a grid: inferred where nobody knows it, and nothing filled in without being told."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flowtime.core.grid import MAX_BINS, MAX_INSTANT, MICROSECONDS, Grid, format_instant
from flowtime.core.series import FloatArray, SeriesKey
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.formats.bounds import check_stored, stored_size
from flowtime.formats.clock import Clock
from flowtime.formats.rows import MAX_REPORTED
from flowtime.wording import option

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

FREE_CELLS, FREE_GAPS = 1_000_000, 64 << 20
"""A matrix of up to so many values, which takes so many bytes as CSV, is made even where few rows fill it."""
CELLS_PER_ROW = 10
"""A larger matrix needs a row for every so many of its values: what is stored follows what came."""
IN_MEMORY = 64 << 20
"""Rows beyond so many bytes wait on the disk."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do about rows that are missing, there twice, or between the starts of two bins."""

    missing: Literal["error", "null", "zero"] = "error"
    duplicates: Literal["error", "first", "last", "sum"] = "error"
    align: Literal["floor"] | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive values: `first` is the place of the first among all.

    `series` `(n,)` is each value's index in the keys; `time` `(n,)` microseconds since 1970, or a bin's
    index; `value` `(n,)` has NaN where missing.
    """

    first: int
    series: NDArray[np.int32]
    time: IntArray
    value: FloatArray


class Rows:
    """The values of a table, in the order of the file `source`, in a temporary file where they are many.

    `size` is the number of bytes of that file, `line` the number of the first row, `per_line` how many values
    a row has. `low` and `high` are the smallest and largest time, `step` the greatest common divisor of the
    gaps between times.
    """

    def __init__(
        self, source: str, size: int, line: int, per_line: int, clock: Clock, stack: ExitStack
    ) -> None:
        self.source = source
        self.size = size
        self.clock = clock
        self.keys: dict[SeriesKey, int] = {}
        self.on_the_clock = False
        self.low = self.high = self.step = self.count = 0
        self._line, self._per_line = line, per_line
        self._spool = stack.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115
        self._sizes: list[int] = []

    def add(self, series: NDArray[np.int32], time: IntArray, value: FloatArray) -> None:
        """Appends values."""
        if not time.size:
            return
        low, high = int(time.min()), int(time.max())
        if not self.count:
            self.low, self.high = low, high
        gaps = time - self.low
        if not self.step or (gaps % self.step).any():
            self.step = math.gcd(self.step, int(np.gcd.reduce(gaps)))
        self.low, self.high = min(self.low, low), max(self.high, high)
        for column in (series, time, value):
            self._spool.write(np.ascontiguousarray(column).tobytes())
        self._sizes.append(time.size)
        self.count += time.size

    def chunks(self) -> Iterator[Chunk]:
        """All values, in order."""
        self._spool.seek(0)
        first = 0
        for size in self._sizes:
            series = np.frombuffer(self._spool.read(4 * size), dtype=np.int32)
            time = np.frombuffer(self._spool.read(8 * size), dtype=np.int64)
            yield Chunk(first, series, time, np.frombuffer(self._spool.read(8 * size), dtype=np.float64))
            first += size

    def line(self, place: int) -> int:
        """The number of the row that the value at `place` stands in."""
        return self._line + place // self._per_line

    def label(self, time: int) -> str:
        """A time as errors show it."""
        if not self.on_the_clock:
            return f"time_bin {time}"
        return f"time_bin {format_instant(time)}{self.clock.spelled(time)}"


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
    if not rows.on_the_clock:
        if rows.high >= MAX_BINS:
            hint = f"if they count from 1970: {option('time_format', 'unix')} (seconds) or unix-ms"
            raise _too_many(rows, rows.high + 1, f"time_bin reaches the index {rows.high:,}", hint)
        return Grid(rows.high + 1)
    if rows.low == rows.high:
        return Grid(1, start=rows.low)
    step = rows.step
    if step % MICROSECONDS["seconds"]:
        raise InvalidInput(
            "FT405",
            f"the times fit no grid of whole seconds; {_nearest(rows)} lie near to each other",
            where=rows.source,
            hint=f"give the grid with {option('grid')}, and {option('align', 'floor')} to move each time to "
            "the start of its bin",
        )
    bins = (rows.high - rows.low) // step + 1
    if bins > MAX_BINS:
        why = f"the gaps between the times share only {_duration(step)}, see {_nearest(rows)}"
        hint = f"give a grid of longer bins with {option('grid')}, and {option('align', 'floor')}"
        raise _too_many(rows, bins, why, hint)
    unit = next(unit for unit in reversed(MICROSECONDS) if step % MICROSECONDS[unit] == 0)
    grid = Grid(bins, step // MICROSECONDS[unit], unit, rows.low)
    if rows.high + step > MAX_INSTANT + 1:
        raise InvalidInput(
            "FT405",
            f"the times make a grid of {grid}, whose last bin ends after the year 9999",
            where=rows.source,
            hint=f"give a grid of shorter bins with {option('grid')}",
        )
    return grid


def _nearest(rows: Rows) -> str:
    """The pair of times with the shortest gap, among the first million values."""
    parts: list[IntArray] = []
    for chunk in rows.chunks():
        parts.append(np.unique(chunk.time))
        if chunk.first > 1_000_000:
            break
    times = np.unique(np.concatenate(parts))
    if times.size < 2:
        times = np.array([rows.low, rows.high])
    at = int(np.diff(times).argmin())
    return f"{format_instant(int(times[at]))} and {format_instant(int(times[at + 1]))}"


def onto_grid(rows: Rows, grid: Grid, policy: Policy) -> Aligned:
    """The rows as a matrix on `grid`.

    Raises InvalidInput, naming the first rows or bins, for times off the grid, rows that are there twice
    and rows that are missing, unless `policy` says what to do.
    """
    _fits(rows, grid)
    values = np.full(len(rows.keys) * grid.bins, np.nan)
    there = np.zeros(values.size, dtype=np.bool_)
    off = _Off(rows, grid, policy)
    for chunk in rows.chunks():
        bins = off.bins(chunk)
        if bins is None:
            continue
        place = chunk.series * np.int64(grid.bins) + bins
        if policy.duplicates == "sum":
            _add(rows, place, chunk.value, values)
        elif policy.duplicates == "first":
            new = ~there[place]
            # Of several values for one place the last one stays.
            values[place[new][::-1]] = chunk.value[new][::-1]
        else:
            values[place] = chunk.value
        there[place] = True
    off.raise_any()
    filled = values.size - int(np.count_nonzero(there))
    merged = rows.count - (values.size - filled)
    if merged and policy.duplicates == "error":
        raise _duplicates(rows, grid, policy, merged)
    if filled and policy.missing == "error":
        raise _gaps(rows, grid, there, filled)
    if filled and policy.missing == "zero":
        values[~there] = 0.0
    return Aligned(values.reshape(len(rows.keys), grid.bins), filled, merged, off.moved)


def _fits(rows: Rows, grid: Grid) -> None:
    if rows.on_the_clock != (grid.start is not None):
        found, wanted = ("instants", "has no start") if rows.on_the_clock else ("indices", "has a start")
        first = format_instant(rows.low) if rows.on_the_clock else "none"
        raise InvalidInput(
            "FT406",
            f"the times are {found}, but the grid {wanted}",
            where=rows.source,
            hint=f"give start={first}",
        )
    cells, stored = len(rows.keys) * grid.bins, stored_size(grid, rows.keys)
    if cells > CELLS_PER_ROW * rows.count and (cells > FREE_CELLS or stored > FREE_GAPS):
        raise InvalidInput(
            "FT409",
            f"{rows.count:,} rows would fill a table of {len(rows.keys):,} series x {grid.bins:,} bins = "
            f"{cells:,} values",
            where=rows.source,
            hint=f"check component_id, measure and the grid; {option('grid')} with longer bins may help",
        )
    check_stored(stored, rows.size, rows.source)


class _Off:
    """Finds the bin of each time, and remembers the times that have none."""

    def __init__(self, rows: Rows, grid: Grid, policy: Policy) -> None:
        self.moved = 0
        self._rows, self._grid, self._floor = rows, grid, policy.align == "floor"
        self._errors: list[Diagnostic] = []
        self._count = 0
        self._outside = False

    def bins(self, chunk: Chunk) -> IntArray | None:
        """The bin of each value; None where any of them has none."""
        grid, time = self._grid, chunk.time
        bins = time if grid.start is None else (time - grid.start) // grid.step
        rest = np.zeros_like(bins) if grid.start is None else time - grid.start - bins * grid.step
        outside = (bins < 0) | (bins >= grid.bins)
        between = (rest != 0) & ~outside
        self.moved += int(np.count_nonzero(between)) if self._floor else 0
        off = outside if self._floor else outside | between
        count = int(np.count_nonzero(off))
        if not count:
            return bins
        self._count += count
        self._outside = self._outside or bool(outside.any())
        for at in np.flatnonzero(off)[: MAX_REPORTED - len(self._errors)].tolist():
            label = self._rows.label(int(time[at]))
            after = f"lies {_duration(int(rest[at]))} after the start of a bin"
            why = f"{label} {'lies outside the grid' if outside[at] else after}"
            line = self._rows.line(chunk.first + at)
            self._errors.append(Diagnostic("FT406", why, source=self._rows.source, line=line))
        return None

    def raise_any(self) -> None:
        """Raises InvalidInput where there were times off the grid."""
        if self._count:
            raise InvalidInput(
                "FT406",
                f"{_count(self._count, 'row is', 'rows are')} off the grid of {self._grid}",
                where=self._rows.source,
                hint=None
                if self._outside
                else f"{option('align', 'floor')} moves each time to the start of its bin",
                errors=self._errors,
                count=self._count,
            )


def _add(rows: Rows, place: IntArray, value: FloatArray, values: FloatArray) -> None:
    """Adds to the sums so far; missing plus a value is the value."""
    present = ~np.isnan(value)
    into = place[present]
    values[into] = np.nan_to_num(values[into])
    with np.errstate(over="ignore", invalid="ignore"):
        np.add.at(values, into, value[present])
    if not np.isfinite(values[into]).all():
        raise InvalidInput("FT408", "a sum of duplicate rows is beyond the largest double", where=rows.source)


def _duplicates(rows: Rows, grid: Grid, policy: Policy, count: int) -> InvalidInput:
    """The error about rows that are there again, naming the first row of each."""
    seen = np.zeros(len(rows.keys) * grid.bins, dtype=np.bool_)
    again: dict[int, int] = {}
    find = _Off(rows, grid, policy)

    def places() -> Iterator[tuple[Chunk, IntArray]]:
        for chunk in rows.chunks():
            bins = find.bins(chunk)
            assert bins is not None, "times off the grid were found before"
            yield chunk, chunk.series * np.int64(grid.bins) + bins

    for chunk, place in places():
        unique, first = np.unique(place, return_index=True)
        new = np.zeros(place.size, dtype=np.bool_)
        new[first[~seen[unique]]] = True
        seen[unique] = True
        for at in np.flatnonzero(~new)[: MAX_REPORTED - len(again)].tolist():
            again[chunk.first + at] = int(place[at])
        if len(again) == MAX_REPORTED:
            break
    firsts: dict[int, int] = {}
    wanted = np.unique(list(again.values()))
    for chunk, place in places():
        for at in np.flatnonzero(np.isin(place, wanted)).tolist():
            firsts.setdefault(int(place[at]), chunk.first + at)
        if len(firsts) == wanted.size:
            break
    keys = list(rows.keys)
    errors = [
        Diagnostic(
            "FT408",
            f"{keys[place // grid.bins]} at {_bin(rows, grid, place % grid.bins)} is there already, "
            f"in row {rows.line(firsts[place])}",
            source=rows.source,
            line=rows.line(at),
        )
        for at, place in again.items()
    ]
    return InvalidInput(
        "FT408",
        f"{_count(count, 'row has', 'rows have')} the component, measure and bin of another",
        where=rows.source,
        hint=f"{option('duplicates')} says which value counts: first, last or their sum",
        errors=errors,
        count=count,
    )


def _gaps(rows: Rows, grid: Grid, there: BoolArray, count: int) -> InvalidInput:
    keys = list(rows.keys)
    errors = [
        Diagnostic(
            "FT407",
            f"{keys[gap // grid.bins]} has no row for {_bin(rows, grid, gap % grid.bins)}",
            source=rows.source,
        )
        for gap in np.flatnonzero(~there)[:MAX_REPORTED].tolist()
    ]
    return InvalidInput(
        "FT407",
        f"{_count(count, 'row is', 'rows are')} missing for {len(keys):,} series on a grid of {grid}",
        where=rows.source,
        hint=f"{option('missing', 'null')} or {option('missing', 'zero')} fills them",
        errors=errors,
        count=count,
    )


def _bin(rows: Rows, grid: Grid, bin: int) -> str:
    return grid.label(bin) + (rows.clock.spelled(grid.time_bin(bin)) if rows.on_the_clock else "")


def _too_many(rows: Rows, bins: int, why: str, hint: str) -> InvalidInput:
    return InvalidInput(
        "FT409",
        f"{why}: that makes {bins:,} bins, and a grid has at most {MAX_BINS:,}",
        where=rows.source,
        hint=hint,
    )


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _duration(microseconds: int) -> str:
    for unit in reversed(MICROSECONDS):
        number, rest = divmod(microseconds, MICROSECONDS[unit])
        if number and not rest:
            return f"{number} {unit.removesuffix('s') if number == 1 else unit}"
    return f"{microseconds / MICROSECONDS['seconds']:g} seconds"
