"""Parquet: four columns in zstd-compressed row groups, described and sealed in the footer.

time_bin is TIMESTAMP(MICROS, UTC), or INT64 where the grid has no start; component_id and measure are
UTF8 strings with dictionaries; value is DOUBLE, null where missing.

Two key-value entries of the footer make the file describe itself. `flowtime` is the Data Package
descriptor (flowtime.formats.metadata) as canonical JSON. `flowtime.seal` is `sha256:` and the 64 hex
digits of the SHA-256 over the whole file in which these 64 digits are zeros. One without the other is
refused, so that no changed byte can make a sealed file look like a plain one.
"""

from __future__ import annotations

import errno
import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from flowtime.core.canonical import JSON
from flowtime.core.grid import MAX_INSTANT, MIN_INSTANT
from flowtime.errors import FlowtimeError, InvalidInput
from flowtime.formats import Progress
from flowtime.formats.bounds import BLOCK_VALUES
from flowtime.formats.layout import Cells, Layout, Reading, layout
from flowtime.formats.metadata import COLUMNS, IGNORE, read_footer, write_footer
from flowtime.formats.pages import check_pages
from flowtime.formats.rows import Broken
from flowtime.formats.stretches import Table, places, stretches
from flowtime.wording import option

MAGIC = b"PAR1"
GROUP_ROWS = 1 << 18
_READ_VALUES = 1 << 22
_KNOWN_TIMES = 1 << 22
_ENTRY = "flowtime"
_SEAL = "flowtime.seal"
_PREFIX = b"sha256:"
_OPEN_SEAL = b"0" * 64
_PIECE = 1 << 20
_BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)


def write_parquet(
    series: Table, document: JSON | None, handle: BinaryIO, progress: Progress | None = None
) -> None:
    """Write `series`, with the descriptor `document` and a seal unless it is None.

    `handle` is an empty file that can be read and sought too: the seal stands before the last bytes. What
    the file holds whenever `progress` is told does not change any more.
    """
    _sink(series, document, handle, progress)
    if document is not None:
        _close_seal(handle)


def _sink(series: Table, document: JSON | None, handle: BinaryIO, progress: Progress | None) -> None:
    time_type = pl.Int64() if series.grid.start is None else pl.Datetime("us", "UTC")
    times = series.time_bins()
    rows = _group_rows(series.grid.bins)
    components = pl.Series([key.component for key in series.keys], dtype=pl.String)
    measures = pl.Series([key.measure for key in series.keys], dtype=pl.String)

    known: dict[tuple[int, int, int], pl.Series] = {}

    def instants(which: slice, bins: slice) -> pl.Series:
        """The times of a stretch, made once for all that are of one shape."""
        shape = bins.start, bins.stop, which.stop - which.start
        if shape not in known:
            if len(known) * rows > _KNOWN_TIMES:
                known.clear()
            known[shape] = pl.Series(np.tile(times[bins], shape[2])).cast(time_type)
        return known[shape]

    broken: list[FlowtimeError] = []

    def frames(*_: object) -> Iterator[pl.DataFrame]:
        done = 0
        try:
            for which, bins, value in stretches(series, rows):
                of_series, _of_bin = places(which, bins)
                columns = (
                    instants(which, bins),
                    components.gather(of_series),
                    measures.gather(of_series),
                    value,
                )
                done += len(value)
                if progress is not None:
                    progress(done, done / series.rows)
                yield pl.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
        except FlowtimeError as error:
            # The library raises an error of its own for it.
            broken.append(error)
            raise

    schema = dict(zip(COLUMNS, (time_type, pl.String(), pl.String(), pl.Float64()), strict=True))
    metadata = (
        None if document is None else {_ENTRY: write_footer(document), _SEAL: (_PREFIX + _OPEN_SEAL).decode()}
    )
    try:
        # Statistics would help who filters by value; they cost a tenth of the time of everyone.
        register_io_source(frames, schema=schema).sink_parquet(
            handle, compression="zstd", row_group_size=rows, statistics=False, metadata=metadata
        )
    except pl.exceptions.ComputeError as error:
        if broken:
            raise broken[0] from None
        number = re.search(r"os error ([0-9]+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error


def _group_rows(bins: int) -> int:
    """Rows of a group: whole series or even parts of one, so that no stretch has to be cut and joined."""
    if bins <= GROUP_ROWS:
        return GROUP_ROWS // bins * bins
    return math.ceil(bins / math.ceil(bins / GROUP_ROWS))


def _close_seal(handle: BinaryIO) -> None:
    at = _seal_position(handle)
    assert at is not None, "a file that was just written has its seal"
    digits = _hash_with_open_seal(handle, at)
    handle.seek(at)
    handle.write(digits)


def is_sealed(handle: BinaryIO, source: str) -> bool:
    """Whether the file carries metadata; raises InvalidInput where its bytes are not those sealed."""
    size = handle.seek(0, 2)
    handle.seek(max(0, size - 4))
    if size < 12 or handle.read(4) != MAGIC:
        raise InvalidInput("FT402", "the Parquet file is cut off: its footer is missing", where=source)
    at = _seal_position(handle)
    if at is not None:
        handle.seek(at)
        if handle.read(64) != _hash_with_open_seal(handle, at):
            raise InvalidInput(
                "FT410",
                "the file was changed after flowtime wrote it: its seal is broken",
                where=source,
                hint=IGNORE,
            )
    check_pages(handle, source)
    entries = _entries(handle, source)
    if (_ENTRY in entries) != (_SEAL in entries) or (at is None) != (_SEAL not in entries):
        raise InvalidInput(
            "FT410",
            "the file has flowtime metadata without its seal, or a seal without it",
            where=source,
            hint=IGNORE,
        )
    return at is not None


def read_metadata(handle: BinaryIO, source: str) -> JSON:
    """The description in a sealed file's footer."""
    return read_footer(_entries(handle, source)[_ENTRY], source)


def _entries(handle: BinaryIO, source: str) -> dict[str, str]:
    handle.seek(0)
    try:
        return pl.read_parquet_metadata(handle)
    except _BROKEN as error:
        raise _damaged(source, error) from error


def _seal_position(handle: BinaryIO) -> int | None:
    """Where the 64 digits of the seal begin in the file, or None where its footer has no seal."""
    size = handle.seek(0, 2)
    handle.seek(max(0, size - 8))
    length = min(int.from_bytes(handle.read(4), "little"), size - 8)
    start = size - 8 - length
    handle.seek(start)
    footer = handle.read(length)
    entry = footer.rfind(_SEAL.encode())
    if entry < 0:
        return None
    prefix = footer.find(_PREFIX, entry, entry + 32)
    return start + (prefix + len(_PREFIX) if prefix >= 0 else entry)


def _hash_with_open_seal(handle: BinaryIO, at: int) -> bytes:
    """The hex digits of the SHA-256 over the file, with the 64 bytes from `at` on read as zeros."""
    seal = hashlib.sha256()
    handle.seek(0)
    left = at
    while left and (piece := handle.read(min(left, _PIECE))):
        seal.update(piece)
        left -= len(piece)
    handle.seek(len(_OPEN_SEAL), 1)
    seal.update(_OPEN_SEAL)
    while piece := handle.read(_PIECE):
        seal.update(piece)
    return seal.hexdigest().encode()


def read_parquet(handle: BinaryIO, source: str, reading: Reading) -> Iterator[ParquetBlock]:
    """The rows of a Parquet file in blocks; raises InvalidInput for columns of other names or types."""
    check_pages(handle, source)
    handle.seek(0)
    try:
        schema = pl.read_parquet_schema(handle)
    except _BROKEN as error:
        raise _damaged(source, error) from error
    found = layout(list(schema), reading, source)
    if reading.strict and not _is_exact([schema[column] for column in found.columns]):
        raise InvalidInput(
            "FT412",
            f"strict import converts nothing, and the columns are {', '.join(map(str, schema.values()))}",
            where=source,
            hint="they must be a timestamp or INT64, string, string and DOUBLE; "
            f"without {option('validate_schema')} they are converted",
        )
    casts = [
        _time(found.time, schema[found.time], reading, source),
        *(
            _text(name, schema[name], column, source)
            for name, column in zip(found.names or (), ("component_id", "measure"), strict=False)
        ),
        *(_number(name, schema[name], source) for name in found.values),
    ]
    handle.seek(0)
    try:
        number = 1
        for frame in _slices(pl.scan_parquet(handle).select(casts), len(found.values)):
            yield ParquetBlock(frame, number, found)
            number += frame.height
    except _BROKEN as error:
        raise _damaged(source, error) from error


def _is_exact(types: list[pl.DataType]) -> bool:
    """Whether the columns hold what they should as it is: nothing has to be converted."""
    time, *others = types
    return others == [pl.String(), pl.String(), pl.Float64()] and (
        time == pl.Int64() or isinstance(time, pl.Datetime)
    )


def _slices(rows: pl.LazyFrame, columns: int) -> Iterator[pl.DataFrame]:
    """The rows, a row group or so many values of a wide table at a time: the library reads far ahead of who
    takes its batches slowly.
    """
    start, taken, seen = 0, _READ_VALUES // columns + 1, BLOCK_VALUES // columns + 1
    while (frame := rows.slice(start, min(taken, GROUP_ROWS)).collect()).height:
        yield from frame.iter_slices(seen)
        start += frame.height


def _time(name: str, dtype: pl.DataType, reading: Reading, source: str) -> pl.Expr:
    """The column as text, integers, or instants: in UTC or naive as they are, in micro- or nanoseconds."""
    found = pl.col(name)
    if dtype.is_integer():
        return found.cast(pl.Int64)
    if dtype == pl.String:
        return found
    if dtype == pl.Date:
        return found.cast(pl.Datetime("us"))
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone and reading.clock.zone is not None:
            raise InvalidInput(
                "FT418",
                f'the times of "{name}" are in {dtype.time_zone}; '
                f"{option('timezone')} is for times without a zone",
                where=source,
            )
        utc = found.dt.convert_time_zone("UTC") if dtype.time_zone else found
        return utc if dtype.time_unit == "ns" else utc.dt.cast_time_unit("us")
    raise _wrong_type(name, dtype, "time_bin must be a timestamp, text or an index", source)


def _text(name: str, dtype: pl.DataType, column: str, source: str) -> pl.Expr:
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return pl.col(name).cast(pl.String)
    raise _wrong_type(name, dtype, f"{column} must be text", source)


def _number(name: str, dtype: pl.DataType, source: str) -> pl.Expr:
    if dtype.is_numeric() or dtype == pl.Null:
        return pl.col(name).cast(pl.Float64)
    raise _wrong_type(name, dtype, "value must be a number", source)


def _wrong_type(name: str, dtype: pl.DataType, rule: str, source: str) -> InvalidInput:
    return InvalidInput("FT403", f'the column "{name}" has the type {dtype}; {rule}', where=source)


def _damaged(source: str, error: BaseException) -> InvalidInput:
    lines = str(error).splitlines() or [type(error).__name__]
    return InvalidInput("FT402", f"the Parquet file cannot be read: {lines[0]}", where=source)


@dataclass(frozen=True)
class ParquetBlock:
    """Consecutive rows of a Parquet file; `first` is the number of the first, counted from 1."""

    rows: pl.DataFrame
    first: int
    layout: Layout
    open_end: bool = False

    def frame(self) -> pl.DataFrame | None:
        """The columns by name; None where an instant is finer than a microsecond."""
        time, *others = self.rows.get_columns()
        if _is_fine(time):
            if _finer(time).any():
                return None
            time = time.dt.cast_time_unit("us")
        return self.layout.long([time, *others])

    def cells(self) -> Iterator[tuple[int, Cells | Broken]]:
        """The rows one by one, a row of a wide table giving several."""
        columns = map(_values, self.rows.get_columns())
        for number, row in enumerate(zip(*columns, strict=True), self.first):
            for cells in self.layout.cells(row):
                yield number, cells


def _is_fine(column: pl.Series) -> bool:
    return isinstance(column.dtype, pl.Datetime) and column.dtype.time_unit == "ns"


def _finer(column: pl.Series) -> pl.Series:
    """Where an instant in nanoseconds is no whole number of microseconds."""
    return (column.to_physical() % 1000 != 0).fill_null(False)


def _values(column: pl.Series) -> list[object]:
    """The values of a column; an instant that Python's datetime does not hold as text."""
    if not isinstance(column.dtype, pl.Datetime):
        return column.to_list()
    known: list[object]
    if _is_fine(column):
        known = column.dt.cast_time_unit("us").to_list()
        for at in _finer(column).arg_true():
            known[at] = column[at : at + 1].dt.strftime("%Y-%m-%dT%H:%M:%S%.f").item()
        return known
    inside = column.to_physical().is_between(MIN_INSTANT, MAX_INSTANT)
    known = column.set(~inside, None).to_list()
    for beyond in (~inside).arg_true():
        known[beyond] = f"{column.to_physical()[beyond]} microseconds after 1970"
    return known
