"""What a single row must be, whatever the format: the rules, and the rows that passed them.

A reader offers its rows twice. As a `frame` they are checked all at once; where anything at all is
unusual there, the same rows are taken one by one as `cells`, which is slower and knows what to say. The
second way is the rule; the first only ever accepts what the second accepts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flowtime.core.grid import MAX_BINS, MAX_INSTANT, MIN_INSTANT, format_instant, parse_instant
from flowtime.core.series import FloatArray, name_problem
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.formats.metadata import COLUMNS

MAX_REPORTED = 1_000
"""How many bad rows an error lists; it counts all of them."""

SPELLINGS: dict[str, tuple[str, ...]] = {
    "time_bin": ("timestamp", "time", "datetime", "date", "bin", "ts", "period", "timebin"),
    "component_id": ("component", "componentid", "service", "node", "id", "host", "name"),
    "measure": ("metric", "variable", "metric_name", "kpi", "field"),
    "value": ("values", "val", "amount", "reading"),
}
"""What other tables call the columns; suggested, never taken without being told."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INDEX = re.compile(r"[0-9]{1,15}")


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
class Cells:
    """One row as it was read, before any rule. `text` says that the values were spelled as text."""

    time: object
    component: object
    measure: object
    value: object
    text: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that could not even be taken apart, and why."""

    why: str
    excerpt: str


class Block(Protocol):
    """Consecutive rows of a file."""

    def frame(self) -> pl.DataFrame | None:
        """The columns by name, value as Float64, null where missing; None where anything is unusual."""

    def cells(self) -> Iterator[tuple[int, Cells | Broken]]:
        """The rows one by one, each with its number in the file as a person counts it."""


def choose_columns(
    names: Sequence[str], rename: Mapping[str, str], ignore_extra: bool, source: str
) -> dict[str, str]:
    """Which of a file's columns is which of the table's: `{"time_bin": "timestamp", ...}`.

    Raises InvalidInput for columns that are missing, there twice, or unknown.
    """
    unknown = [name for name in rename if name not in names]
    if unknown or not set(rename.values()) <= set(COLUMNS) or len(set(rename.values())) != len(rename):
        wrong = ", ".join(f"{old}={new}" for old, new in rename.items())
        raise InvalidInput(
            "FT403",
            f"--map {wrong} does not fit: the file has the columns {_listed(names)}",
            where=source,
            hint=f"--map takes a column of the file = one of {', '.join(COLUMNS)}.",
        )
    called = [rename.get(name, name) for name in names]
    problems = [f'"{name}" is there {called.count(name)} times' for name in COLUMNS if called.count(name) > 1]
    missing = [name for name in COLUMNS if name not in called]
    if missing:
        problems.append(f"missing: {', '.join(missing)}")
    extra = [name for name in called if name not in COLUMNS]
    maps = [f"--map {name}={new}" for new in missing for name in extra if _alike(name, new)]
    if extra and not ignore_extra:
        problems.append(f"not known: {_listed(extra)}")
    if problems:
        hint = f"Try {' '.join(maps)}" if maps else f"The columns are {', '.join(COLUMNS)}, in any order."
        if not maps and not missing:
            hint = "--ignore-extra leaves out the columns that are not known."
        raise InvalidInput("FT403", f"the columns are wrong: {'; '.join(problems)}", where=source, hint=hint)
    return {new: old for old, new in zip(names, called, strict=True) if new in COLUMNS}


def _alike(name: str, column: str) -> bool:
    folded = name.strip().casefold().replace(" ", "_")
    return folded == column or folded in SPELLINGS[column]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{name[:60]}"' for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


class Checker:
    """Takes blocks, gives the rows that keep the rules, and remembers the rows that do not.

    `on_the_clock` is None until the first row has told whether times are instants or indices. Where
    `strict`, an instant must be spelled as flowtime does.
    """

    def __init__(self, source: str, *, strict: bool) -> None:
        self.source = source
        self.strict = strict
        self.on_the_clock: bool | None = None
        self.errors: list[Diagnostic] = []
        self.count = 0
        self._times: dict[str, int] = {}
        self._names: set[str] = set()

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
        on_the_clock = not time.dtype.is_integer()
        if time.null_count():
            return None
        if time.dtype == pl.String:
            if len(self._times) > MAX_BINS:
                self._times.clear()
            texts = time.unique().to_list()
            new = [text for text in texts if text not in self._times]
            for text in new:
                parsed = _parse_time(text, self.strict)
                if isinstance(parsed, str):
                    return None
                self._times[text] = parsed
            index = [_INDEX.fullmatch(text) is not None for text in texts]
            if any(index) != all(index):
                return None
            on_the_clock = not any(index)
            time = time.replace_strict(texts, [self._times[text] for text in texts], return_dtype=pl.Int64)
        if self.on_the_clock not in {None, on_the_clock}:
            return None
        microseconds = time.cast(pl.Int64, strict=False).to_numpy()
        if time.null_count() or (not on_the_clock and (microseconds < 0).any()):
            return None
        if on_the_clock and ((microseconds < MIN_INSTANT) | (microseconds > MAX_INSTANT)).any():
            raise InvalidInput("FT404", "time_bin goes beyond the years 1 to 9999", where=self.source)
        self.on_the_clock = on_the_clock
        return microseconds

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
        time, value = _parse_time(cells.time, self.strict), _parse_value(cells.value, cells.text)
        names = {"component_id": cells.component, "measure": cells.measure}
        wrong = {column: _name_wrong(name) for column, name in names.items()}
        if isinstance(time, str):
            wrong["time_bin"] = time
        else:
            on_the_clock = _is_instant(cells.time)
            if self.on_the_clock is None:
                self.on_the_clock = on_the_clock
            elif self.on_the_clock != on_the_clock:
                kinds = ("an index", "an instant")
                wrong["time_bin"] = (
                    f"is {kinds[on_the_clock]}, while the first row has {kinds[not on_the_clock]}"
                )
        if isinstance(value, str):
            wrong["value"] = value
        found = {"time_bin": cells.time, **names, "value": cells.value}
        problems = [
            f"{column} {_shown(found[column])}: {why}"
            for column in COLUMNS
            if (why := wrong.get(column)) is not None
        ]
        if problems:
            self._report(number, "; ".join(problems))
            return None
        assert isinstance(time, int)
        assert isinstance(value, float)
        return time, str(cells.component), str(cells.measure), value

    def _report(self, number: int, message: str) -> None:
        self.count += 1
        if len(self.errors) < MAX_REPORTED:
            self.errors.append(Diagnostic("FT404", message, source=self.source, line=number))


def finite(value: pl.Series) -> FloatArray | None:
    """Float64 with nulls as float64 with NaN for them and no negative zero; None where not finite."""
    numbers = value.to_numpy()
    if np.count_nonzero(np.isfinite(numbers)) != len(value) - value.null_count():
        return None
    plain: FloatArray = numbers + 0.0  # negative zero becomes zero
    return plain


def _is_instant(cell: object) -> bool:
    return not isinstance(cell, int) and not (isinstance(cell, str) and _INDEX.fullmatch(cell))


def _parse_time(cell: object, strict: bool) -> int | str:
    """Microseconds since 1970, or the index; where it is neither, why."""
    if isinstance(cell, datetime):
        cell = format_instant(parse_instant(cell.isoformat()))
    if cell is None or cell == "":
        return "is empty"
    if isinstance(cell, bool) or not isinstance(cell, (int, str)):
        return "is neither an instant like 2025-01-01T00:00:00Z nor a bin's index"
    if isinstance(cell, int):
        return cell if 0 <= cell < 10**15 else "is no bin's index, which counts from 0"
    if _INDEX.fullmatch(cell):
        return int(cell)
    try:
        instant = parse_instant(cell)
    except (ValueError, OverflowError):
        return "is neither an instant like 2025-01-01T00:00:00Z nor a bin's index"
    if not MIN_INSTANT <= instant <= MAX_INSTANT:
        return "lies outside the years 1 to 9999"
    if strict and cell != format_instant(instant):
        return f"is not spelled {format_instant(instant)}, as strict import wants it"
    return instant


def _parse_value(cell: object, text: bool) -> float | str:
    """The double, NaN for missing; where it is neither, why."""
    if cell is None:
        return np.nan
    if isinstance(cell, str) and text:
        cell = cell.strip(" \t")
        if not cell:
            return np.nan
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
    return f'"{text[:60]}…"' if len(text) > 60 else f'"{text}"'
