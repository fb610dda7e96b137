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
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec
import numpy as np
import polars as pl

from flowtime.core.series import SeriesSet
from flowtime.formats import Progress
from flowtime.formats.metadata import COLUMNS

CHUNK_ROWS = 1 << 17
_CSV_SPECIAL = re.compile(r'[",\r\n]')


class Writable(Protocol):
    """Anything that takes bytes."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of `data`."""


def spans(series: SeriesSet, rows: int) -> Iterator[tuple[slice, slice]]:
    """The matrix in stretches of about `rows` values, in the order of the table: series and bins of each."""
    bins = series.grid.bins
    count = max(1, rows // bins)
    for first in range(0, len(series), count):
        for start in range(0, bins, rows):
            yield slice(first, min(first + count, len(series))), slice(start, min(start + rows, bins))


def stretch(series: SeriesSet, span: tuple[slice, slice]) -> tuple[pl.Series, pl.Series, pl.Series]:
    """One stretch as rows: the row of each value in the matrix, its bin, and the value, null if missing."""
    which, bins = span
    values = series.values[which, bins]
    # Indices as Series: gathering by an array costs three times as much.
    of_series = pl.Series(np.repeat(np.arange(which.start, which.stop, dtype=np.uint32), values.shape[1]))
    of_bin = pl.Series(np.tile(np.arange(bins.start, bins.stop, dtype=np.uint32), values.shape[0]))
    return of_series, of_bin, pl.Series(np.ascontiguousarray(values).reshape(-1), nan_to_null=True)


def labels(series: SeriesSet) -> pl.Series:
    """`time_bin` of every bin as text, as Grid.label spells it."""
    time_bins = pl.Series(series.time_bins())
    if series.grid.start is None:
        return time_bins.cast(pl.String)
    # Bins are whole seconds long, so that all of them share the digits below a second.
    fraction = series.grid.label(0)[19:]
    return time_bins.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S") + fraction


def write_csv(series: SeriesSet, handle: Writable, progress: Progress | None = None) -> None:
    """Write `series` as gold CSV."""
    handle.write(",".join(COLUMNS).encode() + b"\n")
    names = [f"{_field(key.component)},{_field(key.measure)}" for key in series.keys]
    _write(series, handle, labels(series), names, (",", "", "\n"), progress)


def write_ndjson(series: SeriesSet, handle: Writable, progress: Progress | None = None) -> None:
    """Write `series` as NDJSON."""
    quote = '"' if series.grid.start is not None else ""
    times = f'{{"time_bin":{quote}' + labels(series) + f'{quote},"component_id"'
    names = [f'{_json(key.component)},"measure":{_json(key.measure)},"value"' for key in series.keys]
    _write(series, handle, times, names, (":", "null", "}\n"), progress)


def _write(
    series: SeriesSet,
    handle: Writable,
    times: pl.Series,
    names: Sequence[str],
    spelling: tuple[str, str, str],
    progress: Progress | None,
) -> None:
    """Lines of time, name and value; `spelling` is what separates them, what missing is, what ends a line."""
    keys = pl.Series(names, dtype=pl.String)
    separator, missing, end = spelling
    done = 0
    for span in spans(series, CHUNK_ROWS):
        of_series, of_bin, value = stretch(series, span)
        frame = pl.DataFrame({"time": times.gather(of_bin), "key": keys.gather(of_series), "value": value})
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
        handle.write(text.getbuffer())
        done += len(value)
        if progress is not None:
            progress(done, done / series.rows)


def _field(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if _CSV_SPECIAL.search(name) else name


def _json(name: str) -> str:
    return msgspec.json.encode(name).decode()
