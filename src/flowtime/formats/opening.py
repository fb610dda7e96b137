"""Files to be read: opened, decompressed, recognised by their content, and watched for changes."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flowtime.errors import InvalidInput
from flowtime.formats import BUNDLE, GOLD, NDJSON, PARQUET, Format
from flowtime.formats.bounds import FREE_BYTES, TIMES
from flowtime.formats.files import translated
from flowtime.formats.metadata import sidecar_path
from flowtime.formats.parquet import MAGIC
from flowtime.formats.readers import BOM

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = 1 << 20
_ZSTD_HEADER = 18
"""Bytes of the longest frame header (RFC 8878)."""
_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", (b"PK\x03\x04", b"PK\x05\x06")
_FOREIGN = {
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"%PDF": "a PDF document",
    b"SQLite": "a SQLite database",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet or document; save the table in it as CSV",
    b"<": "HTML or XML",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A data file as plain, seekable bytes; `beside` are the names that its sidecar may have."""

    name: str
    handle: BinaryIO
    beside: tuple[Path, ...]

    @property
    def size(self) -> int:
        """The number of its plain bytes."""
        here = self.handle.tell()
        size = self.handle.seek(0, 2)
        self.handle.seek(here)
        return size


@contextmanager
def opened(source: Path | BinaryIO) -> Iterator[Source]:
    """The bytes of a file or a stream, decompressed, and in a temporary file where they cannot be sought."""
    name = str(source) if isinstance(source, Path) else "standard input"
    with translated(name), ExitStack() as stack:
        handle = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
        beside = [sidecar_path(source)] if isinstance(source, Path) else []
        if not handle.seekable():
            handle = _spooled(stack, iter(lambda: handle.read(PIECE), b""))
        before = _version(handle)
        head = handle.read(4)
        handle.seek(0)
        plain = handle
        if head.startswith((_GZIP, _ZSTD)):
            plain = _spooled(stack, _expanded(handle, head, name))
            if isinstance(source, Path) and source.suffix in {".gz", ".zst"}:
                beside.append(sidecar_path(source.with_suffix("")))
        yield Source(name, plain, tuple(beside))
        if _version(handle) != before:
            raise InvalidInput("FT402", "the file changed while it was read", where=name)


def _spooled(stack: ExitStack, pieces: Iterable[bytes]) -> BinaryIO:
    spool: BinaryIO = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    for piece in pieces:
        spool.write(piece)
    spool.seek(0)
    return spool


def _expanded(handle: BinaryIO, head: bytes, name: str) -> Iterator[bytes]:
    """The decompressed bytes, within the bounds and half of the room for temporary files."""
    size = handle.seek(0, 2)
    limit = FREE_BYTES + TIMES * size
    room = shutil.disk_usage(tempfile.gettempdir()).free // 2
    said = _announced(handle, head)
    handle.seek(0)
    if said > min(limit, room):
        raise _too_large(size, limit, room, name)
    plain = gzip.GzipFile(fileobj=handle) if head.startswith(_GZIP) else zstd.ZstdFile(handle)
    expanded = 0
    try:
        while piece := plain.read(PIECE):
            expanded += len(piece)
            if expanded > min(limit, room):
                raise _too_large(size, limit, room, name)
            yield piece
    except (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError) as error:
        raise InvalidInput(
            "FT402", f"the compressed file is cut off or damaged: {error}", where=name
        ) from error


def _announced(handle: BinaryIO, head: bytes) -> int:
    """The size that a compressed file says it expands to, 0 where it does not say it at its beginning."""
    if head.startswith(_GZIP):
        # It says it in its last bytes, which are other ones where it was cut off.
        return 0
    handle.seek(0)
    try:
        return zstd.get_frame_info(handle.read(_ZSTD_HEADER)).decompressed_size or 0
    except zstd.ZstdError:
        return 0


def _too_large(size: int, limit: int, room: int, name: str) -> InvalidInput:
    if limit <= room:
        what = f"{size:,} bytes expand to over {limit:,}, which no table does"
        return InvalidInput("FT402", what, where=name, hint="decompress it yourself, and import that")
    what = f"{size:,} bytes expand to over {room:,}, half of the room for temporary files"
    return InvalidInput("FT402", what, where=name, hint="TMPDIR names a folder with more room")


def _version(handle: BinaryIO) -> tuple[int, int] | None:
    """Size and time of change of a file on disk; None for bytes in memory."""
    try:
        status = os.fstat(handle.fileno())
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def format_of(file: Source, asked: Format | None) -> Format:
    """The format that the content has; raises InvalidInput where it has none, or not the one asked for."""
    file.handle.seek(0)
    head = file.handle.read(1 << 16)
    text = head.removeprefix(BOM)
    if not head.strip():
        raise InvalidInput("FT402", "the file is empty", where=file.name)
    binary = {MAGIC: PARQUET, **dict.fromkeys(_ZIP, BUNDLE)}
    actual = next((format for magic, format in binary.items() if head.startswith(magic)), None)
    if actual is None:
        kind = next((kind for magic, kind in _FOREIGN.items() if text.lstrip().startswith(magic)), None)
        kind = kind or _not_text(head)
        if kind is not None:
            raise InvalidInput(
                "FT402",
                f"this is {kind}",
                where=file.name,
                hint="import reads CSV, NDJSON, Parquet and bundles",
            )
        actual = NDJSON if text.lstrip().startswith(b"{") else GOLD
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
