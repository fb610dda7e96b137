"""What a single row must be, whatever the format: the rules, and the rows that passed them.

A reader offers its rows twice. As a `frame` they are checked all at once; where anything at all is
unusual there, the same rows are taken one by one as `cells`, which is slower and knows what to say. The
second way is the rule; the first only ever accepts what the second accepts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flowtime.core.grid import MAX_INSTANT, MIN_INSTANT, format_instant
from flowtime.core.series import FloatArray, name_problem
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.formats.clock import is_index
from flowtime.formats.layout import Cells, Layout, Reading

MAX_REPORTED = 1_000
"""How many bad rows an error lists; it counts all of them."""

_KNOWN_TIMES = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Columns:
    """A stretch of rows that keep every rule for single rows.

    `time` is int64, microseconds since 1970 or the bin's index; `component` and `measure` are String
    without nulls; `value` is float64 without infinity and negative zero, NaN where missing.
    """

    time: NDArray[np.int64]
    component: pl.Series
    measure: pl.Series
    value: FloatArray


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that could not even be taken apart, and why."""

    why: str
    excerpt: str


class Block(Protocol):
    """Consecutive rows of a file, the first of which has the number `first`."""

    @property
    def first(self) -> int: ...  # noqa: D102 (said above)

    @property
    def layout(self) -> Layout: ...  # noqa: D102

    @property
    def open_end(self) -> bool: ...  # noqa: D102 (a last line without a line break)

    def frame(self) -> pl.DataFrame | None:
        """The columns by name, value as Float64, null where missing; None where anything is unusual."""

    def cells(self) -> Iterator[tuple[int, Cells | Broken]]:
        """The rows one by one, each with its number in the file as a person counts it."""


class Checker:
    """Takes blocks, gives the rows that keep the rules, and remembers the rows that do not.

    `on_the_clock` is None until the first row has told whether times are instants or indices. `assumed_utc`
    says that there were times without an offset, and nobody said whose clock they are of.
    """

    def __init__(self, source: str, reading: Reading) -> None:
        self.source = source
        self.strict = reading.strict
        self.clock = reading.clock
        # A person who says how times are spelled has no indices.
        self.on_the_clock: bool | None = None if reading.clock.format is None else True
        self.assumed_utc = False
        self.errors: list[Diagnostic] = []
        self.count = 0
        self._last = (0, "")
        self._times: dict[str, int] = {}
        self._names: set[str] = set()
        self._refused: dict[str, None] = {}

    def check(self, block: Block) -> Columns:
        """The good rows of `block`."""
        frame = block.frame()
        columns = None if frame is None else self._at_once(frame)
        return self._one_by_one(block) if columns is None else columns

    def raise_bad_rows(self) -> None:
        """Raise InvalidInput with the bad rows, where there were any."""
        if self.count:
            rows = "1 row breaks" if self.count == 1 else f"{self.count:,} rows break"
            raise InvalidInput(
                "FT404",
                f"{rows} a rule; nothing was imported",
                where=self.source,
                hint=self.clock.advice(self._refused),
                errors=self.errors,
                count=self.count,
            )

    def _at_once(self, frame: pl.DataFrame) -> Columns | None:
        time = self._instants(frame["time_bin"])
        component, measure = frame["component_id"], frame["measure"]
        value = finite(frame["value"])
        if time is None or value is None or not (self._named(component) and self._named(measure)):
            return None
        return Columns(time, component, measure, value)

    def _instants(self, time: pl.Series) -> NDArray[np.int64] | None:
        if time.null_count() or not len(time):
            return None
        microseconds: NDArray[np.int64] | None
        on_the_clock = not time.dtype.is_integer()
        if time.dtype == pl.String:
            on_the_clock = self.clock.format is not None or not is_index(time[0])
            microseconds = self.clock.column(time) if on_the_clock else None
            if microseconds is not None:
                self.assumed_utc = self.assumed_utc or self.clock.assumes_utc(time[0])
            else:
                microseconds = self._texts(time, on_the_clock)
        elif isinstance(time.dtype, pl.Datetime) and time.dtype.time_zone is None:
            microseconds = self.clock.all_utc(time.cast(pl.Int64).to_numpy())
            self.assumed_utc = self.assumed_utc or self.clock.zone is None
        else:
            wide = time.cast(pl.Int64, strict=False)
            microseconds = None if wide.null_count() else wide.to_numpy()
        if microseconds is None or self.on_the_clock not in {None, on_the_clock}:
            return None
        low, high = (MIN_INSTANT, MAX_INSTANT) if on_the_clock else (0, 10**15 - 1)
        if not low <= microseconds.min() <= microseconds.max() <= high:
            return None
        self.on_the_clock = on_the_clock
        return microseconds

    def _texts(self, time: pl.Series, on_the_clock: bool) -> NDArray[np.int64] | None:
        """Times of any spelling that the rules allow, each looked at once as long as few are known."""
        if len(self._times) > _KNOWN_TIMES:
            self._times.clear()
        texts = time.unique().to_list()
        for text in texts:
            if text not in self._times:
                parsed = self._time(text)
                if isinstance(parsed, str):
                    return None
                self._times[text] = parsed
            if self.clock.format is None and is_index(text) == on_the_clock:
                return None
        known = [self._times[text] for text in texts]
        return time.replace_strict(texts, known, return_dtype=pl.Int64).to_numpy()

    def _named(self, names: pl.Series) -> bool:
        new = set(names.unique().to_list()) - self._names
        if None in new or any(name_problem(name) for name in new):
            return False
        self._names |= new
        return True

    def _one_by_one(self, block: Block) -> Columns:
        rows = [row for number, cells in block.cells() if (row := self._row(number, cells)) is not None]
        return Columns(
            np.array([row[0] for row in rows], dtype=np.int64),
            pl.Series([row[1] for row in rows], dtype=pl.String),
            pl.Series([row[2] for row in rows], dtype=pl.String),
            np.array([row[3] for row in rows], dtype=np.float64),
        )

    def _row(self, number: int, cells: Cells | Broken) -> tuple[int, str, str, float] | None:
        if isinstance(cells, Broken):
            self._report(number, f"{cells.excerpt}: {cells.why}")
            return None
        time, value = self._time(cells.time), _parse_value(cells.value, cells.point)
        why_time = time if isinstance(time, str) else None
        if why_time is None:
            on_the_clock = self._is_instant(cells.time)
            if self.on_the_clock is None:
                self.on_the_clock = on_the_clock
            elif self.on_the_clock != on_the_clock:
                kinds = ("an index", "an instant")
                why_time = f"is {kinds[on_the_clock]}, while the first row has {kinds[not on_the_clock]}"
        # the columns of a wide table may have any name, "measure" too
        found = (
            ("time_bin", cells.time, why_time),
            ("component_id", cells.component, _name_wrong(cells.component)),
            ("measure", cells.measure, _name_wrong(cells.measure)),
            (cells.column, cells.value, value if isinstance(value, str) else None),
        )
        problems = [f"{column} {_shown(cell)}: {why}" for column, cell, why in found if why is not None]
        if problems:
            self._report(number, *problems)
            return None
        assert isinstance(time, int)
        assert isinstance(value, float)
        return time, str(cells.component), str(cells.measure), value

    def _time(self, cell: object) -> int | str:
        """Microseconds since 1970, or the index; where it is neither, why."""
        why: int | str = "is neither an instant like 2025-01-01T00:00:00Z nor a bin's index"
        if cell is None or cell == "":
            return "is empty"
        if isinstance(cell, datetime):
            aware = cell.tzinfo is not None
            since = (cell if aware else cell.replace(tzinfo=UTC)) - _EPOCH
            microseconds = since // timedelta(microseconds=1)
            why = microseconds if aware else self.clock.utc(microseconds)
            self.assumed_utc = self.assumed_utc or (not aware and self.clock.zone is None)
        elif isinstance(cell, int) and not isinstance(cell, bool):
            if self.clock.format is not None:
                why = self.clock.instant(str(cell))
            else:
                why = cell if 0 <= cell < 10**15 else "is no bin's index, which counts from 0"
        elif isinstance(cell, str):
            index = self.clock.format is None and is_index(cell)
            why = int(cell) if index else self.clock.instant(cell)
            if not index and not self.assumed_utc and isinstance(why, int):
                self.assumed_utc = self.clock.assumes_utc(cell)
            if isinstance(why, str) and len(self._refused) < MAX_REPORTED:
                self._refused[cell] = None
            if self.strict and isinstance(why, int) and not index and cell != format_instant(why):
                return f"is not spelled {format_instant(why)}, as strict import wants it"
        return why

    def _is_instant(self, cell: object) -> bool:
        if self.clock.format is not None:
            return True
        return not isinstance(cell, int) and not (isinstance(cell, str) and is_index(cell))

    def _report(self, number: int, *problems: str) -> None:
        last, said = self._last
        if number == last:
            problems = tuple(problem for problem in problems if problem not in said)
        else:
            self.count += 1
        message = "; ".join(problems)
        self._last = (number, f"{said}; {message}" if number == last else message)
        if message and len(self.errors) < MAX_REPORTED:
            self.errors.append(Diagnostic("FT404", message, source=self.source, line=number))


def finite(value: pl.Series) -> FloatArray | None:
    """Float64 with nulls as float64 with NaN for them and no negative zero; None where not finite."""
    numbers = value.to_numpy()
    if np.count_nonzero(np.isfinite(numbers)) != len(value) - value.null_count():
        return None
    plain: FloatArray = numbers + 0.0  # negative zero becomes zero
    return plain


def _parse_value(cell: object, point: str | None) -> float | str:
    """The double, NaN for missing; where it is neither, why."""
    if cell is None:
        return np.nan
    if isinstance(cell, str) and point is not None:
        cell = cell.strip(" \t")
        if not cell:
            return np.nan
        if point != ".":
            if "." in cell:
                return "is not a number with a decimal comma"
            cell = cell.replace(point, ".", 1)
        if not _NUMBER.fullmatch(cell):
            return "is not a number (an empty field is a missing value)"
    elif isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return "is not a number or null"
    try:
        number = float(cell)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number):
        return "is not finite (doubles reach to 1.7976931348623157e308; a missing value is left empty)"
    return number + 0.0


def _name_wrong(name: Any) -> str | None:
    if name is None or name == "":
        return "is empty"
    return name_problem(name) if isinstance(name, str) else "is not text"


def _shown(cell: object) -> str:
    text = "" if cell is None else str(cell)
    if isinstance(cell, bool):
        text = text.lower()
    return f'"{text[:60]}…"' if len(text) > 60 else f'"{text}"'
