"""A data file back into series: recognise, verify, validate, align. Nothing is believed, nothing guessed.

A file that carries metadata must be exactly what its metadata says, to the byte. Every other file is
external telemetry: its rows are put onto a grid, and its digest may still tell whose export it was.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flowtime.core.canonical import JSON
from flowtime.core.grid import Grid
from flowtime.core.series import FloatArray, SeriesKey, SeriesSet
from flowtime.errors import InvalidInput
from flowtime.formats import GOLD, NDJSON, PARQUET, Format
from flowtime.formats.align import Policy, Rows, infer_grid, onto_grid
from flowtime.formats.digest import digest
from flowtime.formats.files import translated
from flowtime.formats.metadata import IGNORE, Recorded, read_sidecar, recorded, sidecar_path
from flowtime.formats.parquet import MAGIC, is_sealed, read_metadata, read_parquet
from flowtime.formats.rows import Block, Checker, finite
from flowtime.formats.text import BOM, labels, read_csv, read_ndjson

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_EXPANDED = 1 << 30
MAX_EXPANSION = 1_000
"""A compressed file may expand to 1 GiB, and a larger one to so many times its size beyond that."""

_PIECE = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; save the table in it as CSV",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"%PDF": "a PDF document",
    b"SQLite": "a SQLite database",
    b"<": "HTML or XML",
}

Lookup = Callable[[str], JSON | None]
"""Finds the description of an export by its digest."""


@dataclass(frozen=True, slots=True)
class Notes:
    """What import had to infer, fill in, merge, move or leave out; what a catalog records about it."""

    grid: Literal["metadata", "given", "inferred"]
    missing: str = "error"
    filled: int = 0
    duplicates: str = "error"
    merged: int = 0
    align: str | None = None
    moved: int = 0

    def to_json(self) -> JSON:
        """The notes as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Imported:
    """A file that passed every check. `description` is its metadata, None for external telemetry."""

    series: SeriesSet
    description: JSON | None
    format: Format
    digest: str
    notes: Notes
    recognised_by: Literal["sidecar", "footer", "digest"] | None


@dataclass(frozen=True, slots=True)
class _Source:
    """A data file as plain, seekable bytes; `beside` are the names that its sidecar may have."""

    name: str
    handle: BinaryIO
    beside: tuple[Path, ...]


def import_file(
    source: Path | BinaryIO,
    *,
    format: Format | None = None,
    grid: Grid | None = None,
    rename: Mapping[str, str] | None = None,
    missing: Literal["error", "null", "zero"] = "error",
    duplicates: Literal["error", "first", "last", "sum"] = "error",
    align: Literal["floor"] | None = None,
    ignore_extra: bool = False,
    ignore_metadata: bool = False,
    strict: bool = False,
    lookup: Lookup | None = None,
) -> Imported:
    """Read and check a data file, plain or compressed with gzip or Zstandard.

    `format`, where given, must be what the content is. External telemetry goes onto `grid`, or onto the
    one inferred from its times; `rename` maps its columns to those of the table; `missing`, `duplicates`
    and `align` say what becomes of rows that do not fill the grid once each. `ignore_metadata` takes any
    file as external. `strict` infers, fills and converts nothing. `lookup` recognises a file without
    metadata by its digest.

    Raises NotFound, Denied, Unavailable, or InvalidInput with every bad row (the first 1,000 listed).
    """
    policy, rename = Policy(missing, duplicates, align), rename or {}
    if strict and (policy != Policy() or rename or ignore_extra):
        raise InvalidInput("FT412", "strict import fills, moves, renames and leaves out nothing")
    with _opened(source) as file:
        actual = _format_of(file, format)
        recognised_by, description = (None, None) if ignore_metadata else _metadata(file, actual)
        if description is not None:
            expected = recorded(description, file.name)
            if grid not in {None, expected.grid}:
                raise InvalidInput(
                    "FT405", "the grid given is not the one in the metadata", where=file.name, hint=IGNORE
                )
            series = _read_recorded(_blocks(file, actual, {}), expected, file.name)
            return Imported(series, description, actual, expected.digest, Notes("metadata"), recognised_by)
        blocks = _blocks(file, actual, rename, ignore_extra=ignore_extra, strict=strict)
        rows = _read_external(blocks, 2 if actual is GOLD else 1, Checker(file.name, strict=strict))
    if strict and grid is None:
        raise InvalidInput(
            "FT412", "strict import infers no grid", where=rows.source, hint="Give it with --grid."
        )
    return _settle(rows, actual, grid, policy, None if ignore_metadata else lookup)


def read_recorded(source: Path | BinaryIO, expected: Recorded) -> SeriesSet:
    """The series of a file that must be exactly the table `expected`, such as an artifact's data.

    Several times faster than the import of an unknown file, because nothing has to be found out. Raises
    NotFound, Denied, Unavailable, or InvalidInput where the file holds anything else.
    """
    with _opened(source) as file:
        return _read_recorded(_blocks(file, _format_of(file, None), {}), expected, file.name)


def _settle(rows: Rows, format: Format, grid: Grid | None, policy: Policy, lookup: Lookup | None) -> Imported:
    """External rows onto their grid, or back to the export that has the same content."""
    on = infer_grid(rows) if grid is None else grid
    aligned = onto_grid(rows, on, policy)
    series = SeriesSet(on, rows.keys, (None,) * len(rows.keys), aligned.values)
    content = digest(series)
    description = lookup(content) if lookup else None
    if description is not None:
        series = _reordered(series, recorded(description, rows.source), rows.source)
        return Imported(series, description, format, content, Notes("metadata"), "digest")
    if grid is None and rows.on_the_clock and on.bins == 1:
        raise InvalidInput(
            "FT405",
            "all rows have the same time, which does not tell how long a bin is",
            where=rows.source,
            hint=f"Give the grid, such as --grid bins=1,size=1,unit=hours,start={on.label(0)}.",
        )
    notes = Notes(
        grid="inferred" if grid is None else "given",
        missing=policy.missing,
        filled=aligned.filled,
        duplicates=policy.duplicates,
        merged=aligned.merged,
        align=policy.align,
        moved=aligned.moved,
    )
    return Imported(series, None, format, content, notes, None)


def _reordered(series: SeriesSet, expected: Recorded, source: str) -> SeriesSet:
    """`series` in the order, on the grid and with the units that an equal table was recorded with."""
    found = SeriesSet(expected.grid, expected.keys, expected.units, series.values)
    if set(expected.keys) != set(series.keys) or not np.array_equal(found.time_bins(), series.time_bins()):
        raise InvalidInput("FT411", "the metadata recorded for this digest is another table's", where=source)
    place = {key: row for row, key in enumerate(series.keys)}
    values = np.ascontiguousarray(series.values[[place[key] for key in expected.keys]])
    return replace(found, values=values)


def _metadata(file: _Source, format: Format) -> tuple[Literal["sidecar", "footer"], JSON] | tuple[None, None]:
    """The description that the file carries, once its bytes are known to be those it was written with."""
    if format is PARQUET:
        if is_sealed(file.handle, file.name):
            return "footer", read_metadata(file.handle, file.name)
        return None, None
    beside = next((path for path in file.beside if path.is_file()), None)
    if beside is None:
        return None, None
    with translated(beside):
        sidecar = read_sidecar(beside.read_bytes(), str(beside))
    size, found = _size_and_hash(file.handle)
    if (size, found) != (sidecar.bytes, sidecar.sha256):
        why = (
            "its bytes differ"
            if size == sidecar.bytes
            else f"it has {size:,} bytes instead of {sidecar.bytes:,}"
        )
        raise InvalidInput(
            "FT410", f"the file was changed after flowtime wrote it: {why}", where=file.name, hint=IGNORE
        )
    return "sidecar", sidecar.description


def _size_and_hash(handle: BinaryIO) -> tuple[int, str]:
    handle.seek(0)
    whole = hashlib.sha256()
    while piece := handle.read(_PIECE):
        whole.update(piece)
    return handle.tell(), "sha256:" + whole.hexdigest()


def _blocks(
    file: _Source,
    format: Format,
    rename: Mapping[str, str],
    *,
    ignore_extra: bool = False,
    strict: bool = False,
) -> Iterator[Block]:
    file.handle.seek(0)
    if format is PARQUET:
        return read_parquet(file.handle, file.name, rename, ignore_extra, strict)
    read = read_csv if format is GOLD else read_ndjson
    return read(file.handle, file.name, rename, ignore_extra)


def _read_recorded(blocks: Iterable[Block], expected: Recorded, source: str) -> SeriesSet:
    """Rows that must be those recorded, one after the other, in the recorded order."""
    values = np.empty((len(expected.keys), expected.grid.bins))
    series = SeriesSet(expected.grid, expected.keys, expected.units, values)
    flat, bins, at = values.reshape(-1), expected.grid.bins, 0
    instants = pl.Series(series.time_bins())
    times = {
        pl.String: labels(series),
        pl.Int64: instants,
        pl.Datetime: instants.cast(pl.Datetime("us", "UTC")),
    }
    components = pl.Series([key.component for key in expected.keys], dtype=pl.String)
    measures = pl.Series([key.measure for key in expected.keys], dtype=pl.String)
    for block in blocks:
        frame = block.frame()
        found = None if frame is None else finite(frame["value"])
        if frame is None or found is None or at + frame.height > expected.rows:
            raise _not_recorded(source, at)
        row = np.arange(at, at + frame.height)
        of_series, of_bin = row // bins, row % bins
        if not (
            frame["time_bin"].equals(times[frame["time_bin"].dtype.base_type()].gather(of_bin))
            and frame["component_id"].equals(components.gather(of_series))
            and frame["measure"].equals(measures.gather(of_series))
        ):
            raise _not_recorded(source, at)
        flat[at : at + frame.height] = found
        at += frame.height
    if at != expected.rows or digest(series) != expected.digest:
        raise _not_recorded(source, 0)
    return series


def _not_recorded(source: str, after: int) -> InvalidInput:
    return InvalidInput(
        "FT410",
        f"the rows after row {after:,} are not those that the metadata records",
        where=source,
        hint=IGNORE,
    )


def _read_external(blocks: Iterable[Block], first: int, checker: Checker) -> Rows:
    """All rows of a table of unknown origin; raises InvalidInput where any of them breaks a rule."""
    codes: dict[SeriesKey, int] = {}
    series: list[NDArray[np.int32]] = []
    times: list[NDArray[np.int64]] = []
    values: list[FloatArray] = []
    for block in blocks:
        columns = checker.check(block)
        if checker.count:
            continue
        names = pl.DataFrame({"component": columns.component, "measure": columns.measure})
        pairs = names.unique(maintain_order=True)
        code = [codes.setdefault(SeriesKey(*pair), len(codes)) for pair in pairs.iter_rows()]
        known = pairs.with_columns(code=pl.Series(code, dtype=pl.Int32))
        joined = names.join(known, on=["component", "measure"], how="left", maintain_order="left")
        series.append(joined["code"].to_numpy())
        times.append(columns.time)
        values.append(columns.value)
    checker.raise_bad_rows()
    if not times or checker.on_the_clock is None:
        raise InvalidInput("FT402", "the file has no rows", where=checker.source)
    return Rows(
        checker.source,
        first,
        checker.on_the_clock,
        tuple(codes),
        np.concatenate(series),
        np.concatenate(times),
        np.concatenate(values),
    )


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[_Source]:
    """The bytes of a file or a stream, decompressed, and in a temporary file where they cannot be sought."""
    name = str(source) if isinstance(source, Path) else "standard input"
    with translated(name), ExitStack() as stack:
        handle = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
        beside = [sidecar_path(source)] if isinstance(source, Path) else []
        if not handle.seekable():
            handle = _spooled(stack, iter(lambda: handle.read(_PIECE), b""))
        before = _version(handle)
        head = handle.read(4)
        handle.seek(0)
        plain = handle
        if head.startswith((_GZIP, _ZSTD)):
            plain = _spooled(stack, _expanded(handle, head, name))
            if isinstance(source, Path) and source.suffix in {".gz", ".zst"}:
                beside.append(sidecar_path(source.with_suffix("")))
        yield _Source(name, plain, tuple(beside))
        if _version(handle) != before:
            raise InvalidInput("FT402", "the file changed while it was read", where=name)


def _spooled(stack: ExitStack, pieces: Iterable[bytes]) -> BinaryIO:
    spool: BinaryIO = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    for piece in pieces:
        spool.write(piece)
    spool.seek(0)
    return spool


def _expanded(handle: BinaryIO, head: bytes, name: str) -> Iterator[bytes]:
    """The decompressed bytes; a small file that expands without end is refused."""
    size = handle.seek(0, 2)
    handle.seek(0)
    limit = MAX_EXPANDED + size * MAX_EXPANSION
    plain = gzip.GzipFile(fileobj=handle) if head.startswith(_GZIP) else zstd.ZstdFile(handle)
    expanded = 0
    try:
        while piece := plain.read(_PIECE):
            expanded += len(piece)
            if expanded > limit:
                raise InvalidInput(
                    "FT402", f"{size:,} bytes expand to over {limit:,}, which no table does", where=name
                )
            yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError) as error:
        raise InvalidInput(
            "FT402", f"the compressed file is cut off or damaged: {error}", where=name
        ) from error


def _version(handle: BinaryIO) -> tuple[int, int] | None:
    """Size and time of change of a file on disk; None for bytes in memory."""
    try:
        status = os.fstat(handle.fileno())
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _format_of(file: _Source, asked: Format | None) -> Format:
    """The format that the content has; raises InvalidInput where it has none, or not the one asked for."""
    head = file.handle.read(1 << 16)
    text = head.removeprefix(BOM)
    if not head.strip():
        raise InvalidInput("FT402", "the file is empty", where=file.name)
    kind = next((kind for magic, kind in _FOREIGN.items() if text.lstrip().startswith(magic)), None)
    if kind is None and not head.startswith(MAGIC):
        kind = _not_text(head)
    if kind is not None:
        raise InvalidInput(
            "FT402", f"this is {kind}", where=file.name, hint="Import reads CSV, NDJSON and Parquet."
        )
    actual = PARQUET if head.startswith(MAGIC) else NDJSON if text.lstrip().startswith(b"{") else GOLD
    if asked not in {None, actual}:
        raise InvalidInput(
            "FT402", f"this is no {asked.title} but looks like {actual.title}", where=file.name
        )
    return actual


def _not_text(head: bytes) -> str | None:
    if b"\0" in head:
        return "binary data"
    if head.lstrip().startswith(b"["):
        return "a JSON array; NDJSON has one object on each line, without brackets"
    if b"\r" in head and b"\n" not in head:
        return "text whose lines end with CR alone; save it with LF or CRLF"
    try:
        # The last character may be cut off where the head ends.
        head.rpartition(b"\n")[0].decode()
    except UnicodeDecodeError as error:
        line = head.count(b"\n", 0, error.start) + 1
        return f"not UTF-8 text (line {line}); save it as UTF-8"
    return None
