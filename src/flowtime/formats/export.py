"""A table out into a file, complete or not at all, or into a stream."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from flowtime.core.canonical import JSON
from flowtime.core.series import SeriesSet
from flowtime.errors import InvalidInput
from flowtime.formats import BUNDLE, GOLD, PARQUET, XLSX, Format, Progress
from flowtime.formats.bundle import write_bundle
from flowtime.formats.digest import digest
from flowtime.formats.files import beside, create, flush, flush_folder, place, translated
from flowtime.formats.metadata import (
    describe,
    descriptor,
    header,
    sidecar_path,
    table_resource,
    write_sidecar,
)
from flowtime.formats.parquet import write_parquet
from flowtime.formats.stretches import Table
from flowtime.formats.text import Writable, write_csv, write_ndjson
from flowtime.wording import option

MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384
"""What a sheet of Excel holds."""

WriteWorkbook = Callable[[SeriesSet, JSON, Mapping[str, bytes], BinaryIO, Progress | None], None]
"""`flowtime.formats.workbook.write_workbook`, whose library only those import who need it."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written: `bytes` is the data file's size, `digest` that of its content."""

    path: Path
    metadata_path: Path | None
    rows: int
    series: int
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Streamed:
    """What went into a stream: rows, and the number and hash (`sha256:...`) of its bytes."""

    rows: int
    bytes: int
    sha256: str


def export_file(
    series: Table,
    description: Mapping[str, Any],
    format: Format,
    path: Path,
    *,
    table_digest: str | None = None,
    files: Mapping[str, bytes] | None = None,
    embed: bool = False,
    workbook: WriteWorkbook | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write `series` to `path` with its metadata: beside it, or inside where the format has room for it.

    `description` is what the metadata says beyond what the table says itself: id, name, tags, model and
    so on. `table_digest` is that of `series`; it has to be known of a Stored table. `files` are the entries
    of a bundle that are not made of the series (flowtime.formats.bundle.ENTRIES), by name. `workbook`
    writes XLSX. `embed` writes the metadata of a CSV into its first lines instead of a file beside it.

    The files appear when they are complete and on the disk; until then older ones stay as they were.
    Folders are made. The same arguments give the same bytes.

    Raises InvalidInput, Denied or Unavailable where that cannot be done; nothing of it is left then.
    """
    check_embed(format, embed)
    sidecar = format.sidecar and not embed
    real = place(path)
    metadata_path = place(sidecar_path(real)) if sidecar else None
    described = describe(series, description, _digest(series, table_digest))
    with translated(path), ExitStack() as stack:
        real.parent.mkdir(parents=True, exist_ok=True)
        ready = {real: stack.enter_context(beside(real))}
        with create(ready[real]) as handle:
            sha256 = ""
            if sidecar:
                sha256 = export_stream(series, None, format, handle, progress=progress).sha256
            else:
                _write_whole(series, described, files or {}, format, handle, real, workbook, progress)
            flush(handle)
            size = handle.seek(0, 2)
        if metadata_path is not None:
            resource = table_resource(described, format, real.name, size=size, sha256=sha256)
            ready[metadata_path] = stack.enter_context(beside(metadata_path))
            with create(ready[metadata_path]) as handle:
                handle.write(write_sidecar(descriptor(described, [resource])))
                flush(handle)
        for final, temporary in ready.items():
            temporary.replace(final)
        flush_folder(real.parent)
    return Exported(
        path, sidecar_path(path) if sidecar else None, series.rows, len(series), size, described["digest"]
    )


def export_stream(
    series: Table,
    description: Mapping[str, Any] | None,
    format: Format,
    handle: Writable,
    *,
    table_digest: str | None = None,
    files: Mapping[str, bytes] | None = None,
    embed: bool = False,
    workbook: WriteWorkbook | None = None,
    progress: Progress | None = None,
) -> Streamed:
    """Write `series` to `handle`: CSV and NDJSON plain unless `embed`, others with their metadata.

    Without `description` there is no metadata at all. Raises OSError as the handle does.
    """
    check_embed(format, embed)
    counted = _Counted(handle)
    if format.sidecar and not (embed and description is not None):
        (write_csv if format is GOLD else write_ndjson)(series, counted, progress)
        return counted.streamed(series.rows)
    with tempfile.TemporaryFile() as whole:
        if description is None:
            write_parquet(series, None, whole, progress)
        else:
            described = describe(series, description, _digest(series, table_digest))
            name = Path("series" + format.extension)
            _write_whole(series, described, files or {}, format, whole, name, workbook, progress)
        whole.seek(0)
        shutil.copyfileobj(whole, counted)
    return counted.streamed(series.rows)


def export_into(
    table: Table,
    description: Mapping[str, Any],
    format: Format,
    handle: BinaryIO,
    *,
    name: str,
    table_digest: str,
    files: Mapping[str, bytes] | None = None,
    embed: bool = False,
    workbook: WriteWorkbook | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a table that carries its metadata to an empty file, which can be read and sought too. `name` is
    what the file will be called.

    What a Parquet file holds whenever `progress` is told does not change any more. Raises OSError as the
    handle does.
    """
    check_embed(format, embed)
    described = describe(table, description, table_digest)
    _write_whole(table, described, files or {}, format, handle, Path(name), workbook, progress)


def _digest(table: Table, known: str | None) -> str:
    if known is not None:
        return known
    assert isinstance(table, SeriesSet), "who stored a table knows its digest"
    return digest(table)


def check_embed(format: Format, embed: bool) -> None:
    """Raises InvalidInput (FT418) where metadata cannot be embedded in this format."""
    if embed and format is not GOLD:
        raise InvalidInput(
            "FT418",
            f"metadata is embedded in CSV only; this is {format.title}",
            hint=None if format.sidecar else f"{format.title} holds its metadata as it is",
        )


def check_size(format: Format, bins: int, series: int) -> None:
    """Raises InvalidInput (FT419) where so many series of so many bins have no room in this format."""
    if format is XLSX and (bins + 1 > MAX_ROWS or series + 1 > MAX_COLUMNS):
        raise InvalidInput(
            "FT419",
            f"{bins:,} bins x {series:,} series do not fit on a sheet of "
            f"{MAX_ROWS:,} rows x {MAX_COLUMNS:,} columns",
            hint=f"take {option('format', 'gold')}, which spreadsheets import in parts, "
            "or parquet for analysis",
        )


def _write_whole(
    series: Table,
    described: JSON,
    files: Mapping[str, bytes],
    format: Format,
    handle: BinaryIO,
    path: Path,
    workbook: WriteWorkbook | None,
    progress: Progress | None,
) -> None:
    """A file that carries its metadata; `handle` is empty and can be read and sought too."""
    if format is PARQUET:
        document = descriptor(described, [table_resource(described, format, path.name)])
        write_parquet(series, document, handle, progress)
    elif format is XLSX:
        assert workbook is not None, "who asks for a workbook brings its writer"
        assert isinstance(series, SeriesSet), "a workbook has the series side by side"
        workbook(series, described, files, handle, progress)
    elif format is BUNDLE:
        folder = path.parent if path.is_absolute() else None
        write_bundle(series, described, files, handle, folder=folder, progress=progress)
    else:
        handle.write(header(described, path.name))
        table = _Counted(handle)
        write_csv(series, table, progress)
        handle.seek(0)
        handle.write(header(described, path.name, table.streamed(series.rows).sha256))


class _Counted:
    """A stream that counts and hashes what passes."""

    def __init__(self, handle: Writable) -> None:
        self._handle = handle
        self._bytes = 0
        self._hash = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self._handle.write(data)
        self._bytes += len(data)
        self._hash.update(data)

    def streamed(self, rows: int) -> Streamed:
        return Streamed(rows, self._bytes, "sha256:" + self._hash.hexdigest())
