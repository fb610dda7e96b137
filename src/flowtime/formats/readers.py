"""Reading CSV and NDJSON, of flowtime and of others, in blocks of whole lines."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

import msgspec
import numpy as np
import polars as pl

from flowtime.errors import InvalidInput
from flowtime.formats.bounds import BLOCK_VALUES
from flowtime.formats.layout import Cells, Layout, Reading, layout
from flowtime.formats.metadata import COLUMNS
from flowtime.formats.rows import Broken
from flowtime.wording import option

BLOCK_BYTES = 1 << 23
MAX_LINE_BYTES = 1 << 20
_LF = 10

BOM = b"\xef\xbb\xbf"
_BAD_DELIMITER = re.compile(r'[A-Za-z0-9"+\-.\s]')
_DECIMAL_COMMA = r"^[+-]?[0-9]+(?:,[0-9]+)?(?:[eE][+-]?[0-9]+)?$"


def read_csv(handle: BinaryIO, source: str, reading: Reading, first: int = 1) -> Iterator[CsvBlock]:
    """The rows of a CSV file in blocks, `first` being the number of its header line.

    Raises InvalidInput for a header that is none, or a delimiter that cannot be one; and for a last line
    without a line break where the columns are flowtime's own, which always has one: half of a number is a
    number.
    """
    delimiter = "\t" if reading.delimiter in {"tab", "\\t"} else reading.delimiter
    if (
        len(delimiter) != 1
        or not delimiter.isascii()
        or (_BAD_DELIMITER.match(delimiter) and delimiter != "\t")
    ):
        raise InvalidInput(
            "FT418",
            f"{option('delimiter', str(reading.delimiter))} cannot stand between columns",
            hint="such as ; or tab",
        )
    lines = whole_lines(handle, source, first)
    _, block, _ = next(lines, (first, b"", True))
    header, _, rest = block.partition(b"\n")
    try:
        names = next(csv.reader([header.decode().removesuffix("\r")], delimiter=delimiter, strict=True), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidInput("FT402", f"the first line is no CSV header: {error}", where=source) from error
    _check_header(names, delimiter, source)
    found = layout(names, reading, source)
    place = {name: at for at, name in reversed(list(enumerate(names)))}
    places = tuple(place[column] for column in found.columns)
    form = _Form(found, len(names), places, delimiter, reading.decimal_comma)
    if rest:
        yield from _blocks(rest, first + 1, form)
    for number, block, ended in lines:
        if not ended and (reading.strict or names == list(COLUMNS)):
            raise InvalidInput(
                "FT402",
                f"the last line, {_excerpt(block)}, does not end with a line break: the file may be cut off",
                where=source,
                hint="if it is complete, add a line break at its end",
            )
        if ended:
            yield from _blocks(block, number, form)
        else:
            yield CsvBlock(block, number, form, open_end=True)


def _blocks(text: bytes, first: int, form: _Form) -> Iterator[CsvBlock]:
    """Whole lines in blocks of so many values: a line of a wide table has many."""
    lines = max(1, BLOCK_VALUES // len(form.layout.values))
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == _LF) + 1
    start = 0
    for number, end in enumerate([*ends[lines - 1 :: lines].tolist(), len(text)]):
        if end > start:
            yield CsvBlock(text[start:end], first + number * lines, form)
        start = end


def _check_header(names: list[str], delimiter: str, source: str) -> None:
    if names and names[0].startswith("#"):
        raise InvalidInput(
            "FT402",
            "the file begins with lines of comment",
            where=source,
            hint="remove the lines before the one with the names of the columns",
        )
    for other, name in ((",", ","), (";", ";"), ("\t", "tab"), ("|", "|")):
        if len(names) == 1 and other in names[0]:
            raise InvalidInput(
                "FT403",
                f"the columns are separated by {other!r}, not by {delimiter!r}: {names[0][:80]!r}",
                where=source,
                hint=f"give {option('delimiter', name)}, "
                f"and {option('decimal_comma', True)} where numbers have one",
            )


@dataclass(frozen=True, slots=True)
class _Form:
    """How the lines of a CSV file are taken apart: `places` are where the layout's columns stand."""

    layout: Layout
    width: int
    places: tuple[int, ...]
    delimiter: str = ","
    decimal_comma: bool = False


@dataclass(frozen=True)
class CsvBlock:
    """Whole lines of a CSV file: `first` is the number of the first.

    `open_end` says that it is the last line of the file, and had no line break.
    """

    text: bytes
    first: int
    form: _Form
    open_end: bool = False

    @property
    def layout(self) -> Layout:
        """Which columns hold what."""
        return self.form.layout

    def frame(self) -> pl.DataFrame | None:
        """The columns by name; None where a line is unlike the others in any way."""
        form = self.form
        numbers = form.places[-len(form.layout.values) :]
        number = pl.String if form.decimal_comma else pl.Float64
        schema = {str(place): number if place in numbers else pl.String for place in range(form.width)}
        # Without a header the library would take some beginnings for those of a compressed file.
        header = form.delimiter.join(schema).encode() + b"\n"
        try:
            frame = pl.read_csv(header + self.text, schema=schema, separator=form.delimiter)
        except pl.exceptions.PolarsError:
            return None
        if frame.height != self.text.count(b"\n") or self._has_short_rows(frame):
            return None
        if form.decimal_comma:
            texts = [str(place) for place in numbers]
            if not all(frame[text].str.contains(_DECIMAL_COMMA).all() for text in texts):
                return None
            point = pl.col(texts).str.replace(",", ".", literal=True)
            frame = frame.with_columns(point.cast(pl.Float64, strict=False))
        return form.layout.long([frame[str(place)] for place in form.places])

    def _has_short_rows(self, frame: pl.DataFrame) -> bool:
        """Whether a line lacks fields, which the table library would read as missing values."""
        if b'"' not in self.text:
            return self.text.count(self.form.delimiter.encode()) != (self.form.width - 1) * frame.height
        open_ended = frame[str(self.form.width - 1)].is_null().arg_true().to_list()
        lines = self.text.split(b"\n") if open_ended else []
        return any(isinstance(self._fields(lines[row]), Broken) for row in open_ended)

    def cells(self) -> Iterator[tuple[int, Cells | Broken]]:
        """The lines one by one, a line of a wide table giving several."""
        for number, line in enumerate(self.text.removesuffix(b"\n").split(b"\n"), self.first):
            fields = self._fields(line)
            if isinstance(fields, Broken):
                yield number, fields
                continue
            point = "," if self.form.decimal_comma else "."
            for cells in self.form.layout.cells([fields[place] for place in self.form.places], point):
                yield number, cells

    def _fields(self, line: bytes) -> list[str] | Broken:
        line = line.removesuffix(b"\r")
        try:
            fields = next(csv.reader([line.decode()], delimiter=self.form.delimiter, strict=True), [])
        except UnicodeDecodeError:
            return Broken("is not UTF-8 text", _excerpt(line))
        except csv.Error as error:
            why = str(error)
            if why == "unexpected end of data":
                why = "a quotation mark is not closed on its line, and fields over several lines are not read"
            return Broken(f"is not CSV: {why}", _excerpt(line))
        if len(fields) != self.form.width:
            number = f"{len(fields)} field" + ("s" if len(fields) != 1 else "")
            return Broken(f"has {number} where the header has {self.form.width}", _excerpt(line))
        return fields


def read_ndjson(handle: BinaryIO, source: str, reading: Reading) -> Iterator[NdjsonBlock]:
    """The rows of an NDJSON file in blocks; raises InvalidInput where the first object lacks a column."""
    found: Layout | None = None
    for number, block, _ in whole_lines(handle, source, 1):
        if found is None:
            head = block.partition(b"\n")[0]
            pairs = _pairs(head)
            if isinstance(pairs, str):
                why = f"the first line {pairs}; NDJSON has one object on each line"
                raise InvalidInput("FT402", f"{why}: {_excerpt(head)}", where=source)
            found = layout([key for key, _ in pairs], reading, source)
        yield NdjsonBlock(block, number, found, reading.ignore_extra)


_JSON_NUMBER = r"^:(?:null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\}$"
_BETWEEN = (
    "{",
    "time_bin",
    ":",
    None,
    ",",
    "component_id",
    ":",
    None,
    ",",
    "measure",
    ":",
    None,
    ",",
    "value",
)
"""What stands between the quotation marks of a line as flowtime writes it, None being a time or name."""
_TEXTS = [str(at) for at, part in enumerate(_BETWEEN) if part is None]
_CONTROL = r"[\x00-\x1f]"
_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u")
"""A character spelled as `\\u0041`: the backslash is no part of a spelled backslash, `\\\\`."""


@dataclass(frozen=True)
class NdjsonBlock:
    """Whole lines of an NDJSON file: `first` is the number of the first."""

    text: bytes
    first: int
    layout: Layout
    ignore_extra: bool
    open_end: bool = False

    @cached_property
    def _lines(self) -> list[bytes]:
        return self.text.removesuffix(b"\n").split(b"\n")

    def frame(self) -> pl.DataFrame | None:
        """The columns by name; None where a line is unlike the others in any way."""
        own = self._own_spelling()
        return self._any_spelling() if own is None else own

    def _own_spelling(self) -> pl.DataFrame | None:
        """The rows where every line is spelled as flowtime does, with an instant and nothing escaped."""
        long = self.layout.names is not None and self.layout.columns == COLUMNS
        if not long or b"\\" in self.text or b"\r" in self.text:
            return None
        schema = {str(place): pl.String for place in range(len(_BETWEEN) + 1)}
        header = b'"'.join(name.encode() for name in schema) + b"\n"
        try:
            # No quotes: a quotation mark is what separates the parts of a line.
            frame = pl.read_csv(header + self.text, schema=schema, separator='"', quote_char=None)
        except pl.exceptions.PolarsError:
            return None
        value = frame[str(len(_BETWEEN))]
        alike = all((frame[str(at)] == part).all() for at, part in enumerate(_BETWEEN) if part is not None)
        whole = not any(frame[str(at)].null_count() for at in range(len(_BETWEEN) + 1))
        if frame.height != self.text.count(b"\n") or not (alike and whole):
            return None
        if not value.str.contains(_JSON_NUMBER).all() or any(
            frame[at].str.contains(_CONTROL).any() for at in _TEXTS
        ):
            return None
        digits = value.str.slice(1).str.strip_suffix("}")
        numbers = digits.cast(pl.Float64, strict=False)
        if numbers.null_count() != (digits == "null").sum():
            return None
        return self.layout.long([*(frame[at] for at in _TEXTS), numbers])

    def _any_spelling(self) -> pl.DataFrame | None:
        try:
            rows = msgspec.json.Decoder().decode_lines(self.text)
            columns = [[row[key] for row in rows] for key in self.layout.columns]
            extra = not self.ignore_extra and any(len(row) != len(columns) for row in rows)
            values = columns[-len(self.layout.values) :]
            doubles = [np.array(column, dtype=np.float64) for column in values]
        except (ValueError, KeyError, TypeError, OverflowError):
            return None
        kinds = [set(map(type, column)) for column in columns]
        numbers = all(kind <= {float, int, type(None)} for kind in kinds[-len(values) :])
        texts = all(kind == {str} for kind in kinds[1 : -len(values)])
        if extra or not numbers or not texts or kinds[0] not in ({int}, {str}) or self._repeats_keys():
            return None
        time = pl.Series(columns[0], dtype=pl.Int64 if kinds[0] == {int} else pl.String, strict=False)
        names = [pl.Series(column, dtype=pl.String) for column in columns[1 : -len(values)]]
        return self.layout.long([time, *names, *(pl.Series(column, nan_to_null=True) for column in doubles)])

    def _repeats_keys(self) -> bool:
        """Whether an object may name a key twice, which the JSON library would not tell."""
        if b"\\u" in self.text and _ESCAPE.search(self.text):
            return True
        for key in self.layout.columns:
            # Every object has the key; where its text is found more often, it may end some name.
            spelled, lines = msgspec.json.encode(key), len(self._lines)
            if self.text.count(spelled) != lines and len(_key(spelled).findall(self.text)) != lines:
                return True
        return False

    def cells(self) -> Iterator[tuple[int, Cells | Broken]]:
        """The lines one by one, a line of a wide table giving several."""
        for number, line in enumerate(self._lines, self.first):
            row = self._row(line)
            if isinstance(row, Broken):
                yield number, row
                continue
            for cells in self.layout.cells([row[key] for key in self.layout.columns]):
                yield number, cells

    def _row(self, line: bytes) -> dict[str, Any] | Broken:
        pairs = _pairs(line)
        if isinstance(pairs, str):
            return Broken(pairs, _excerpt(line))
        row = dict(pairs)
        problems = [f"lacks {key}" for key in self.layout.columns if key not in row]
        if len(row) != len(pairs):
            problems.append("names a key twice")
        extra = [key for key in row if key not in self.layout.columns]
        if extra and not self.ignore_extra:
            problems.append(f"has the unknown key {extra[0][:60]!r}")
        return Broken("; ".join(problems), _excerpt(line)) if problems else row


def _key(spelled: bytes) -> re.Pattern[bytes]:
    return re.compile(re.escape(spelled) + rb"[ \t\r]*:")


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


def whole_lines(handle: BinaryIO, source: str, number: int) -> Iterator[tuple[int, bytes, bool]]:
    """A text file in blocks of whole lines, each with the number of its first line, `number` for the first.

    Every block ends with LF. Empty lines at the end of the file are left out. A last line without LF is a
    block of its own, for which the third part is False. Raises InvalidInput for a line of over
    MAX_LINE_BYTES.
    """
    rest, beginning = b"", number
    while data := handle.read(BLOCK_BYTES):
        rest += data.removeprefix(BOM) if number == beginning and not rest else data
        end = _end_of_lines(rest)
        if end:
            yield number, (block := rest[:end]), True
            number += block.count(b"\n")
            rest = rest[end:]
        if len(rest) > MAX_LINE_BYTES and not rest.strip(b"\r\n"):
            raise InvalidInput("FT402", f"over a million empty lines from line {number}", where=source)
        if len(rest) - rest.rfind(b"\n") > MAX_LINE_BYTES:
            raise InvalidInput(
                "FT402", f"line {number} is longer than {MAX_LINE_BYTES:,} bytes", where=source
            )
    if rest.strip(b"\r\n"):
        complete, _, last = rest.rpartition(b"\n")
        if complete:
            yield number, complete + b"\n", True
            number += complete.count(b"\n") + 1
        yield number, last + b"\n", False


def _end_of_lines(text: bytes) -> int:
    """Where the last whole line ends that is not followed by empty ones alone; 0 where there is none."""
    end = text.rfind(b"\n") + 1
    if end > 1 and text[end - 2 : end - 1] not in {b"\n", b"\r"}:
        return end
    kept = len(text[:end].rstrip(b"\r\n"))
    return text.index(b"\n", kept) + 1 if kept else 0


def _excerpt(line: bytes) -> str:
    text = line[:80].decode(errors="replace").strip("\r\n")
    return f'"{text}…"' if len(line) > 80 else f'"{text}"'
