"""Which columns of a table hold what: one row per value, or a row per time with a column per measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from flowtime.errors import InvalidInput
from flowtime.formats.bounds import MAX_COLUMNS
from flowtime.formats.clock import Clock
from flowtime.formats.metadata import COLUMNS
from flowtime.wording import option

SPELLINGS: dict[str, tuple[str, ...]] = {
    "time_bin": ("timestamp", "time", "datetime", "date", "bin", "ts", "period", "timebin"),
    "component_id": ("component", "componentid", "service", "node", "id", "host", "name"),
    "measure": ("metric", "variable", "metric_name", "kpi", "field"),
    "value": ("values", "val", "amount", "reading"),
}
"""What other tables call the columns; suggested, never taken without being told."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a person says about a table of unknown origin.

    `component` makes it a wide table, whose columns besides the time are measures of that component.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    ignore_extra: bool = False
    strict: bool = False
    component: str | None = None
    delimiter: str = ","
    decimal_comma: bool = False
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True, slots=True)
class Cells:
    """One value as it was read, before any rule.

    `point` is the decimal separator of a value that was spelled as text, None for any other. `column` is
    what an error calls the value's column.
    """

    time: object
    component: object
    measure: object
    value: object
    point: str | None = None
    column: str = "value"


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a file by what they hold.

    In a long table `names` are the columns of component and measure, and `values` is the one of the
    value. In a wide table `names` is None, and each of `values` is a column with the measure that
    stands at the same place in `measures`, all of the same `component`.
    """

    time: str
    names: tuple[str, str] | None
    values: tuple[str, ...]
    component: str = ""
    measures: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, in a fixed order: time, names, values."""
        return (self.time, *(self.names or ()), *self.values)

    def long(self, columns: Sequence[pl.Series]) -> pl.DataFrame | None:
        """`columns`, in the order of `Layout.columns`, as the long table under the names of COLUMNS.

        The values must be Float64. None where they hold NaN, which only null may mean.
        """
        if self.names is not None:
            return pl.DataFrame([column.alias(name) for name, column in zip(COLUMNS, columns, strict=True)])
        time, *values = columns
        if any(column.is_nan().any() for column in values):
            return None
        rows, count = len(time), len(values)
        each = pl.Series(np.repeat(np.arange(rows, dtype=np.uint32), count))
        turn = pl.Series(np.tile(np.arange(count, dtype=np.uint32), rows))
        matrix = np.stack([column.to_numpy() for column in values], axis=1)
        return pl.DataFrame(
            {
                "time_bin": time.gather(each),
                "component_id": pl.Series([self.component], dtype=pl.String).new_from_index(0, rows * count),
                "measure": pl.Series(self.measures, dtype=pl.String).gather(turn),
                "value": pl.Series(matrix.reshape(-1), nan_to_null=True),
            }
        )

    def cells(self, fields: Sequence[object], point: str | None = None) -> Iterator[Cells]:
        """The values of one row, whose `fields` stand in the order of `Layout.columns`."""
        if self.names is not None:
            time, component, measure, value = fields
            yield Cells(time, component, measure, value, point)
            return
        time, *values = fields
        for column, measure, value in zip(self.values, self.measures, values, strict=True):
            yield Cells(time, self.component, measure, value, point, column)


def layout(names: Sequence[str], reading: Reading, source: str) -> Layout:
    """Which of a file's columns hold what; raises InvalidInput (FT403) where that is not clear, or they are
    too many.
    """
    if len(names) > MAX_COLUMNS:
        raise InvalidInput(
            "FT403",
            f"the file has {len(names):,} columns; at most {MAX_COLUMNS:,} are read",
            where=source,
            hint=f"a table of more series has the columns {', '.join(COLUMNS)}, and a row for each value",
        )
    unknown = [name for name in reading.rename if name not in names]
    if unknown:
        wrong = " ".join(option("map", f"{old}={reading.rename[old]}") for old in unknown)
        raise InvalidInput(
            "FT403", f"{wrong} does not fit: the file has the columns {_listed(names)}", where=source
        )
    if reading.component is not None:
        return _wide(names, reading, reading.component, source)
    return _long(names, reading, source)


def _long(names: Sequence[str], reading: Reading, source: str) -> Layout:
    rename = reading.rename
    if not set(rename.values()) <= set(COLUMNS) or len(set(rename.values())) != len(rename):
        wrong = " ".join(option("map", f"{old}={new}") for old, new in rename.items())
        raise InvalidInput(
            "FT403",
            f"{wrong} does not fit",
            where=source,
            hint=f"{option('map')} takes a column of the file = one of {', '.join(COLUMNS)}.",
        )
    called = [rename.get(name, name) for name in names]
    problems = [f'"{name}" is there {called.count(name)} times' for name in COLUMNS if called.count(name) > 1]
    missing = [name for name in COLUMNS if name not in called]
    if missing:
        problems.append(f"missing: {', '.join(missing)}")
    extra = [name for name in called if name not in COLUMNS]
    if extra and not reading.ignore_extra:
        problems.append(f"not known: {_listed(extra)}")
    if problems:
        hint = _advice(missing, extra, reading.ignore_extra)
        raise InvalidInput("FT403", f"the columns are wrong: {'; '.join(problems)}", where=source, hint=hint)
    found = {new: old for old, new in zip(names, called, strict=True) if new in COLUMNS}
    return Layout(found["time_bin"], (found["component_id"], found["measure"]), (found["value"],))


def _advice(missing: Sequence[str], extra: Sequence[str], ignore_extra: bool) -> str | None:
    """What to do about columns that are missing and columns that are not known."""
    if not missing:
        ignore = option("ignore_extra", True)
        return f"{ignore} leaves out the columns that are not known." if extra else None
    named: dict[str, str] = {}
    for new in missing:
        alike = [name for name in extra if name not in named.values() and _alike(name, new)]
        if alike:
            named[new] = min(alike, key=lambda name: _rank(name, new))
    left = [new for new in missing if new not in named]
    if {"component_id", "measure"} <= set(left):
        return (
            "a table with a column per measure is imported with "
            f"{option('wide', True)} {option('component', 'NAME')}"
        )
    if not named:
        return f"the columns are {', '.join(COLUMNS)}, in any order"
    maps = [option("map", f"{name}={new}") for new, name in named.items()] + [
        option("map", f"COLUMN={new}") for new in left
    ]
    more = ", COLUMN being the one that holds it" if left else ""
    others = [name for name in extra if name not in named.values()]
    if others and not left and not ignore_extra:
        more = f"; {option('ignore_extra', True)} leaves out {_listed(others)}"
    return f"try {' '.join(maps)}{more}"


def _wide(names: Sequence[str], reading: Reading, component: str, source: str) -> Layout:
    called = [reading.rename.get(name, name) for name in names]
    twice = [name for name, count in Counter(called).items() if count > 1]
    if twice:
        raise InvalidInput("FT403", f"the columns are wrong: {_listed(twice)} more than once", where=source)
    times = [name for name in called if name == "time_bin"] or [n for n in called if _alike(n, "time_bin")]
    if len(times) != 1:
        found = f"{_listed(times)} may all be the time" if times else f"none of {_listed(names)} is the time"
        first = (times or called or ["COLUMN"])[0]
        raise InvalidInput(
            "FT403", found, where=source, hint=f"say which, such as {option('map', f'{first}=time_bin')}"
        )
    taken = set(reading.rename.values() if reading.ignore_extra and len(reading.rename) else called)
    measures = [name for name in called if name in taken and name != times[0]]
    if not measures:
        raise InvalidInput(
            "FT403",
            "a wide table has a column for each measure besides the time",
            where=source,
            hint=f"with {option('ignore_extra', True)} only the columns that {option('map')} names are taken",
        )
    column = dict(zip(called, names, strict=True))
    return Layout(
        column[times[0]], None, tuple(column[name] for name in measures), component, tuple(measures)
    )


def _alike(name: str, column: str) -> bool:
    return _folded(name) in (column, *SPELLINGS[column])


def _rank(name: str, column: str) -> int:
    """How far down the list of spellings a name stands, the likeliest being first."""
    return (column, *SPELLINGS[column]).index(_folded(name))


def _folded(name: str) -> str:
    return name.strip().casefold().replace(" ", "_")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{name[:60]}"' for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
