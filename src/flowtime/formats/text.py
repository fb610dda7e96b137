"""Gold CSV and NDJSON.

Both are lines of three parts, the time, the names and the value, of which the first two repeat: they are
spelled once per bin and once per series, and the table library only joins them with the digits of the
values (the shortest that read back as the same double, always with a point or an exponent).

Gold CSV is RFC 4180 with LF, UTF-8, no byte order mark, and the header line of COLUMNS; NDJSON has one
object per line with the same four keys. A missing value is an empty field, or null.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec
import polars as pl

from flowtime.formats import Progress
from flowtime.formats.metadata import COLUMNS
from flowtime.formats.stretches import Stored, Table, places, stretches

CHUNK_ROWS = 1 << 17
_KNOWN_LABELS = 1 << 20
"""Up to so many bins all times are spelled once; of more, those of a stretch at a time."""
_CSV_SPECIAL = re.compile(r'[",\r\n]')


class Writable(Protocol):
    """Anything that takes bytes."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of `data`."""


def labels(series: Table, bins: slice = slice(None)) -> pl.Series:
    """`time_bin` of every bin, or of some, as text, as Grid.label spells it."""
    time_bins = pl.Series(series.time_bins()[bins])
    if series.grid.start is None:
        return time_bins.cast(pl.String)
    # Bins are whole seconds long, so that all of them share the digits below a second.
    fraction = series.grid.label(0)[19:]
    return time_bins.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S") + fraction


def write_csv(series: Table, handle: Writable, progress: Progress | None = None) -> None:
    """Write `series` as gold CSV."""
    _write(csv_pieces(series), series.rows, handle, progress)


def write_ndjson(series: Table, handle: Writable, progress: Progress | None = None) -> None:
    """Write `series` as NDJSON."""
    _write(ndjson_pieces(series), series.rows, handle, progress)


def csv_pieces(series: Table) -> Iterator[tuple[int, bytes | memoryview]]:
    """`series` as gold CSV, piece by piece, each with the number of its rows.

    What an artifact keeps is that already, and goes out as it is: its rows are told by their share of bytes.
    """
    if isinstance(series, Stored):
        sent = 0
        for piece in series.pieces():
            before, sent = sent, sent + len(piece)
            yield series.rows * sent // series.size - series.rows * before // series.size, piece
        return
    yield 0, ",".join(COLUMNS).encode() + b"\n"
    names = [f"{_field(key.component)},{_field(key.measure)}" for key in series.keys]
    yield from _lines(series, lambda texts: texts, names, (",", "", "\n"))


def ndjson_pieces(series: Table, rows: int = CHUNK_ROWS) -> Iterator[tuple[int, bytes | memoryview]]:
    """`series` as NDJSON in pieces of about `rows` rows, each with the number of its rows."""
    quote = '"' if series.grid.start is not None else ""
    names = [f'{_json(key.component)},"measure":{_json(key.measure)},"value"' for key in series.keys]

    def spelled(texts: pl.Series) -> pl.Series:
        return f'{{"time_bin":{quote}' + texts + f'{quote},"component_id"'

    yield from _lines(series, spelled, names, (":", "null", "}\n"), rows)


def _write(
    pieces: Iterator[tuple[int, bytes | memoryview]],
    rows: int,
    handle: Writable,
    progress: Progress | None,
) -> None:
    done = 0
    for count, piece in pieces:
        handle.write(piece)
        done += count
        if progress is not None and count:
            progress(done, done / rows)


def _lines(
    series: Table,
    spelled: Callable[[pl.Series], pl.Series],
    names: Sequence[str],
    spelling: tuple[str, str, str],
    rows: int = CHUNK_ROWS,
) -> Iterator[tuple[int, bytes | memoryview]]:
    """Lines of time, name and value; `spelling` is what separates them, what missing is, what ends a line."""
    keys = pl.Series(names, dtype=pl.String)
    separator, missing, end = spelling
    times = spelled(labels(series)) if series.grid.bins <= _KNOWN_LABELS else None
    for which, bins, value in stretches(series, rows):
        of_series, of_bin = places(which, bins)
        time = times.gather(of_bin) if times is not None else spelled(labels(series, bins))
        frame = pl.DataFrame({"time": time, "key": keys.gather(of_series), "value": value})
        text = io.BytesIO()
        frame.write_csv(
            text,
            include_header=False,
            quote_style="never",
            separator=separator,
            null_value=missing,
            line_terminator=end,
            batch_size=8192,
        )
        yield len(value), text.getbuffer()


def _field(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if _CSV_SPECIAL.search(name) else name


def _json(name: str) -> str:
    return msgspec.json.encode(name).decode()
