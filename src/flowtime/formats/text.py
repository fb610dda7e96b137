"""Gold CSV and NDJSON.

Both are lines of three parts, the time, the names and the value, of which the first two repeat: they are
spelled once per bin and once per series, and the table library only joins them with the digits of the
values (the shortest that read back as the same double, always with a point or an exponent).

Gold CSV is RFC 4180 with LF, UTF-8, no byte order mark, and the header line of COLUMNS; NDJSON has one
object per line with the same four keys. A missing value is an empty field, or null.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, Protocol

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from flowtime.core.series import SeriesSet
from flowtime.errors import InvalidInput
from flowtime.formats.metadata import COLUMNS
from flowtime.formats.rows import Broken, Cells, choose_columns

CHUNK_ROWS = 1 << 17
BLOCK_BYTES = 1 << 24
MAX_LINE_BYTES = 1 << 20

BOM = b"\xef\xbb\xbf"
_CSV_SPECIAL = re.compile(r'[",\r\n]')


class Writable(Protocol):
    """Anything that takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


def spans(series: SeriesSet, rows: int) -> Iterator[tuple[slice, slice]]:
    """The matrix in stretches of about `rows` values, in the order of the table: series and bins of each."""
    bins = series.grid.bins
    count = max(1, rows // bins)
    for first in range(0, len(series), count):
        for start in range(0, bins, rows):
            yield slice(first, min(first + count, len(series))), slice(start, min(start + rows, bins))


def long_table(
    series: SeriesSet, span: tuple[slice, slice], times: pl.Series, **names: pl.Series
) -> pl.DataFrame:
    """One stretch as rows: `times` has an entry per bin, each of `names` one per series."""
    which, bins = span
    values = series.values[which, bins]
    of_series = np.repeat(np.arange(which.start, which.stop, dtype=np.uint32), values.shape[1])
    of_bin = np.tile(np.arange(bins.start, bins.stop, dtype=np.uint32), values.shape[0])
    columns = {name: per_series.gather(of_series) for name, per_series in names.items()}
    value = pl.Series(np.ascontiguousarray(values).reshape(-1), nan_to_null=True)
    return pl.DataFrame({"time_bin": times.gather(of_bin), **columns, "value": value})


def labels(series: SeriesSet) -> pl.Series:
    """`time_bin` of every bin as text, as Grid.label spells it."""
    time_bins = pl.Series(series.time_bins())
    if series.grid.start is None:
        return time_bins.cast(pl.String)
    # Bins are whole seconds long, so that all of them share the digits below a second.
    fraction = series.grid.label(0)[19:]
    return time_bins.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S") + fraction


def write_csv(series: SeriesSet, handle: Writable) -> None:
    """Write `series` as gold CSV."""
    handle.write(",".join(COLUMNS).encode() + b"\n")
    names = [f"{_field(key.component)},{_field(key.measure)}" for key in series.keys]
    _write(series, handle, labels(series), names, separator=",", null_value="", line_terminator="\n")


def write_ndjson(series: SeriesSet, handle: Writable) -> None:
    """Write `series` as NDJSON."""
    quote = '"' if series.grid.start is not None else ""
    times = f'{{"time_bin":{quote}' + labels(series) + f'{quote},"component_id"'
    names = [f'{_json(key.component)},"measure":{_json(key.measure)},"value"' for key in series.keys]
    _write(series, handle, times, names, separator=":", null_value="null", line_terminator="}\n")


def _write(
    series: SeriesSet,
    handle: Writable,
    times: pl.Series,
    names: Sequence[str],
    *,
    separator: str,
    null_value: str,
    line_terminator: str,
) -> None:
    keys = pl.Series(names, dtype=pl.String)
    for span in spans(series, CHUNK_ROWS):
        text = io.BytesIO()
        long_table(series, span, times, key=keys).write_csv(
            text,
            include_header=False,
            quote_style="never",
            separator=separator,
            null_value=null_value,
            line_terminator=line_terminator,
            batch_size=8192,
        )
        handle.write(text.getvalue())


def _field(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if _CSV_SPECIAL.search(name) else name


def _json(name: str) -> str:
    return msgspec.json.encode(name).decode()


def read_csv(
    handle: BinaryIO, source: str, rename: Mapping[str, str], ignore_extra: bool
) -> Iterator[CsvBlock]:
    """The rows of a CSV file in blocks; raises InvalidInput for a header that is none."""
    lines = whole_lines(handle, source, last_may_be_open=False)
    _, first = next(lines, (1, b""))
    header, _, rest = first.partition(b"\n")
    try:
        names = next(csv.reader([header.decode().removesuffix("\r")], strict=True), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidInput("FT402", f"the first line is no CSV header: {error}", where=source) from error
    for other in (";", "\t", "|"):
        if len(names) == 1 and other in names[0]:
            raise InvalidInput(
                "FT403",
                f"the columns are separated by {other!r}, not by commas: {names[0][:80]!r}",
                where=source,
                hint="Save the file with commas between the columns and points in the numbers.",
            )
    chosen = choose_columns(names, rename, ignore_extra, source)
    places = tuple(names.index(chosen[column]) for column in COLUMNS)
    if rest:
        yield CsvBlock(rest, 2, len(names), places)
    for number, block in lines:
        yield CsvBlock(block, number, len(names), places)


@dataclass(frozen=True)
class CsvBlock:
    """Whole lines of a CSV file: `first` is the number of the first, `places` where COLUMNS stand in it."""

    text: bytes
    first: int
    width: int
    places: tuple[int, ...]

    def frame(self) -> pl.DataFrame | None:
        """The columns by name; None where a line is unlike the others in any way."""
        value = self.places[3]
        schema = {str(place): pl.Float64 if place == value else pl.String for place in range(self.width)}
        # Without a header the library would take some beginnings for those of a compressed file.
        header = ",".join(schema).encode() + b"\n"
        try:
            frame = pl.read_csv(header + self.text, schema=schema)
        except pl.exceptions.PolarsError:
            return None
        if frame.height != self.text.count(b"\n") or self._has_short_rows(frame):
            return None
        return frame.select(
            pl.col(str(place)).alias(name) for name, place in zip(COLUMNS, self.places, strict=True)
        )

    def _has_short_rows(self, frame: pl.DataFrame) -> bool:
        """Whether a line lacks fields, which the table library would read as missing values."""
        if b'"' not in self.text:
            return self.text.count(b",") != (self.width - 1) * frame.height
        open_ended = frame[str(self.width - 1)].is_null().arg_true().to_list()
        lines = self.text.split(b"\n") if open_ended else []
        return any(isinstance(self._cells(lines[row]), Broken) for row in open_ended)

    def cells(self) -> Iterator[tuple[int, Cells | Broken]]:
        """The lines one by one."""
        for number, line in enumerate(self.text.removesuffix(b"\n").split(b"\n"), self.first):
            yield number, self._cells(line)

    def _cells(self, line: bytes) -> Cells | Broken:
        line = line.removesuffix(b"\r")
        try:
            fields = next(csv.reader([line.decode()], strict=True), [])
        except UnicodeDecodeError:
            return Broken("is not UTF-8 text", _excerpt(line))
        except csv.Error as error:
            return Broken(f"is not CSV: {error}", _excerpt(line))
        if len(fields) != self.width:
            number = f"{len(fields)} field" + ("s" if len(fields) != 1 else "")
            return Broken(f"has {number} where the header has {self.width}", _excerpt(line))
        time, component, measure, value = (fields[place] for place in self.places)
        return Cells(time, component, measure, value, text=True)


def read_ndjson(
    handle: BinaryIO, source: str, rename: Mapping[str, str], ignore_extra: bool
) -> Iterator[NdjsonBlock]:
    """The rows of an NDJSON file in blocks; raises InvalidInput where the first object lacks a column."""
    keys: tuple[str, ...] | None = None
    for number, block in whole_lines(handle, source, last_may_be_open=True):
        if keys is None:
            head = block.partition(b"\n")[0]
            pairs = _pairs(head)
            if isinstance(pairs, str):
                why = f"the first line {pairs}; NDJSON has one object on each line"
                raise InvalidInput("FT402", f"{why}: {_excerpt(head)}", where=source)
            chosen = choose_columns([key for key, _ in pairs], rename, ignore_extra, source)
            keys = tuple(chosen[column] for column in COLUMNS)
        yield NdjsonBlock(block, number, keys, ignore_extra)


@dataclass(frozen=True)
class NdjsonBlock:
    """Whole lines of an NDJSON file: `first` is the number of the first, `keys` what COLUMNS are called."""

    text: bytes
    first: int
    keys: tuple[str, ...]
    ignore_extra: bool

    @cached_property
    def _lines(self) -> list[bytes]:
        return self.text.removesuffix(b"\n").split(b"\n")

    def frame(self) -> pl.DataFrame | None:
        """The columns by name; None where a line is unlike the others in any way."""
        try:
            rows = msgspec.json.Decoder().decode_lines(self.text)
            columns = [[row[key] for row in rows] for key in self.keys]
            extra = not self.ignore_extra and any(len(row) != len(COLUMNS) for row in rows)
            doubles: NDArray[np.float64] = np.array(columns[3], dtype=np.float64)
        except (ValueError, KeyError, TypeError, OverflowError):
            return None
        times, components, measures, _ = columns
        kinds = [set(map(type, column)) for column in columns]
        if extra or self._repeats_keys(columns) or not kinds[3] <= {float, int, type(None)}:
            return None
        if kinds[0] not in ({int}, {str}) or kinds[1] != {str} or kinds[2] != {str}:
            return None
        return pl.DataFrame(
            {
                "time_bin": pl.Series(
                    times, dtype=pl.Int64 if kinds[0] == {int} else pl.String, strict=False
                ),
                "component_id": pl.Series(components, dtype=pl.String),
                "measure": pl.Series(measures, dtype=pl.String),
                "value": pl.Series(doubles, nan_to_null=True),
            }
        )

    def _repeats_keys(self, columns: list[list[Any]]) -> bool:
        """Whether an object may name a key twice, which the JSON library would not tell."""
        if b"\\u" in self.text:
            return True
        for key in self.keys:
            # Every object has the key; where it is found more often, it must be some column's value.
            more = self.text.count(msgspec.json.encode(key)) - len(self._lines)
            if more and more != sum(column.count(key) for column in columns):
                return True
        return False

    def cells(self) -> Iterator[tuple[int, Cells | Broken]]:
        """The lines one by one."""
        for number, line in enumerate(self._lines, self.first):
            yield number, self._cells(line)

    def _cells(self, line: bytes) -> Cells | Broken:
        pairs = _pairs(line)
        if isinstance(pairs, str):
            return Broken(pairs, _excerpt(line))
        row = dict(pairs)
        problems = [f"lacks {key}" for key in self.keys if key not in row]
        if len(row) != len(pairs):
            problems.append("names a key twice")
        extra = [key for key in row if key not in self.keys]
        if extra and not self.ignore_extra:
            problems.append(f"has the unknown key {extra[0][:60]!r}")
        if problems:
            return Broken("; ".join(problems), _excerpt(line))
        return Cells(*(row[key] for key in self.keys))


def _pairs(line: bytes) -> list[tuple[str, Any]] | str:
    """The keys and values of the object on a line, as often as they are there; where it is none, why."""
    try:
        text = line.decode()
        pairs = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except UnicodeDecodeError:
        return "is not UTF-8 text"
    except (ValueError, RecursionError) as error:
        return f"is not JSON ({error})"
    return pairs if text.lstrip().startswith("{") else "is no JSON object"


def whole_lines(handle: BinaryIO, source: str, *, last_may_be_open: bool) -> Iterator[tuple[int, bytes]]:
    """A text file in blocks of whole lines, each block with the number of its first line.

    Every block ends with LF. Empty lines at the end of the file are left out. Raises InvalidInput for a
    line of over MAX_LINE_BYTES, and, unless `last_may_be_open`, for a last line without a line break:
    it may be cut off, and half of a number is a number.
    """
    number, rest = 1, b""
    while data := handle.read(BLOCK_BYTES):
        rest += data.removeprefix(BOM) if number == 1 and not rest else data
        block = rest[: rest.rfind(b"\n") + 1].rstrip(b"\r\n")
        if block:
            end = rest.index(b"\n", len(block)) + 1
            block, rest = rest[:end], rest[end:]
            yield number, block
            number += block.count(b"\n")
        if len(rest) > MAX_LINE_BYTES and not rest.strip(b"\r\n"):
            raise InvalidInput("FT402", f"over a million empty lines from line {number}", where=source)
        if len(rest) - rest.rfind(b"\n") > MAX_LINE_BYTES:
            raise InvalidInput(
                "FT402", f"line {number} is longer than {MAX_LINE_BYTES:,} bytes", where=source
            )
    rest = rest.rstrip(b"\r\n") if rest.endswith(b"\n") else rest
    if rest and not last_may_be_open:
        last = _excerpt(rest[rest.rfind(b"\n") + 1 :])
        raise InvalidInput(
            "FT402",
            f"the last line, {last}, does not end with a line break: the file may be cut off",
            where=source,
            hint="If it is complete, add a line break at its end.",
        )
    if rest:
        yield number, rest + b"\n"


def _excerpt(line: bytes) -> str:
    text = line[:80].decode(errors="replace").strip("\r\n")
    return f'"{text}…"' if len(line) > 80 else f'"{text}"'
