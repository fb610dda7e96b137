"""A table out into a file, complete or not at all, or into a stream."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowtime.core.series import SeriesSet
from flowtime.formats import GOLD, Format
from flowtime.formats.digest import digest
from flowtime.formats.files import beside, flush, flush_folder, place, translated
from flowtime.formats.metadata import describe, descriptor, sidecar_path, write_sidecar
from flowtime.formats.parquet import write_parquet
from flowtime.formats.text import Writable, write_csv, write_ndjson


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


def export_file(series: SeriesSet, description: Mapping[str, Any], format: Format, path: Path) -> Exported:
    """Write `series` to `path` with its metadata: beside it, or inside where the format has room for it.

    `description` is what the metadata says beyond what the table says itself: id, name, tags, model and
    so on. The files appear when they are complete and on the disk; until then older ones stay as they
    were. Folders are made. The same arguments give the same bytes.

    Raises InvalidInput, Denied or Unavailable where that cannot be done; nothing of it is left then.
    """
    real = place(path)
    metadata_path = place(sidecar_path(real)) if format.sidecar else None
    described = describe(series, description, digest(series))
    with translated(path), ExitStack() as stack:
        real.parent.mkdir(parents=True, exist_ok=True)
        ready = {real: stack.enter_context(beside(real))}
        with ready[real].open("xb+") as handle:
            if metadata_path is None:
                write_parquet(series, descriptor(described, format, real.name), handle)
            else:
                written = export_stream(series, None, format, handle)
            flush(handle)
            size = handle.seek(0, 2)
        if metadata_path is not None:
            document = descriptor(described, format, real.name, size=written.bytes, sha256=written.sha256)
            ready[metadata_path] = stack.enter_context(beside(metadata_path))
            with ready[metadata_path].open("xb") as handle:
                handle.write(write_sidecar(document))
                flush(handle)
        for final, temporary in ready.items():
            temporary.replace(final)
        flush_folder(real.parent)
    beside_path = sidecar_path(path) if format.sidecar else None
    return Exported(path, beside_path, series.rows, len(series), size, described["digest"])


def export_stream(
    series: SeriesSet, description: Mapping[str, Any] | None, format: Format, handle: Writable
) -> Streamed:
    """Write `series` to `handle`: CSV and NDJSON plain, Parquet with its metadata where there is any.

    Raises OSError as the handle does.
    """
    counted = _Counted(handle)
    if format.sidecar:
        (write_csv if format is GOLD else write_ndjson)(series, counted)
        return counted.streamed(series.rows)
    document = None
    if description is not None:
        described = describe(series, description, digest(series))
        document = descriptor(described, format, "series" + format.extension)
    with tempfile.TemporaryFile() as whole:
        write_parquet(series, document, whole)
        whole.seek(0)
        shutil.copyfileobj(whole, counted)
    return counted.streamed(series.rows)


class _Counted:
    """A stream that counts and hashes what passes."""

    def __init__(self, handle: Writable) -> None:
        self._handle = handle
        self._bytes = 0
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._handle.write(data)
        self._bytes += len(data)
        self._hash.update(data)

    def streamed(self, rows: int) -> Streamed:
        return Streamed(rows, self._bytes, "sha256:" + self._hash.hexdigest())
