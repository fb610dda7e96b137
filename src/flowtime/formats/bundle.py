"""Bundles: a whole run in one zip file, the same bytes on every machine, sealed to the last of them.

The entries are stored, not compressed, in the order of ENTRIES, with fixed dates and modes.
`datapackage.json` comes first: the sealed descriptor (flowtime.formats.metadata), which gives the
SHA-256 of every other entry. The zip's comment is `sha256:` and the 64 hex digits of the SHA-256 over
all bytes before it.

Nothing of a zip is believed before it is checked: its names, kinds and sizes against those that a bundle
has, its seal, the descriptor's seal, then the hash of every entry. Since entries are stored, no zip can
hold more than it has bytes.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from flowtime.core.canonical import JSON, sha256
from flowtime.core.series import SeriesSet
from flowtime.errors import InvalidInput
from flowtime.formats import GOLD, PARQUET, Progress, half
from flowtime.formats.metadata import (
    MAX_METADATA,
    OPEN_HASH,
    descriptor,
    read_sealed,
    table_resource,
    write_sidecar,
)
from flowtime.formats.parquet import write_parquet
from flowtime.formats.stretches import Table
from flowtime.formats.text import write_csv

DESCRIPTOR, CSV_ENTRY, PARQUET_ENTRY, README = (
    "datapackage.json",
    "series.csv",
    "series.parquet",
    "README.txt",
)
ENTRIES = {
    DESCRIPTOR: "application/json",
    "model.yaml": "application/yaml",
    "catalog.json": "application/json",
    PARQUET_ENTRY: PARQUET.media_type,
    CSV_ENTRY: GOLD.media_type,
    "preview.svg": "image/svg+xml",
    README: "text/plain",
}
"""The names of a bundle's entries, in their order, with their media types."""

_NEEDED = {DESCRIPTOR, "catalog.json", PARQUET_ENTRY, CSV_ENTRY, README}
_TABLES = (PARQUET_ENTRY, CSV_ENTRY)
_PIECE = 1 << 20
_LARGE = 1 << 31
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_ANEW = (
    "export the run again; an archive that was changed or packed anew is no bundle; a table in an archive of "
    "your own has to be taken out first"
)


def write_bundle(
    series: Table,
    description: JSON,
    files: Mapping[str, bytes],
    handle: BinaryIO,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Write `series` as a bundle with `files`, which are among ENTRIES, to an empty file.

    `description` is what `metadata.describe` returns. `handle` can be read and sought too. The tables
    wait in `folder`, or where temporary files lie, until their hashes are known.
    """
    small = {**files, README: _readme(description, files).encode()}
    with ExitStack() as stack:
        tables = {name: stack.enter_context(tempfile.TemporaryFile(dir=folder)) for name in _TABLES}
        document = descriptor(description, [table_resource(description, PARQUET, PARQUET_ENTRY)])
        write_parquet(series, document, tables[PARQUET_ENTRY], half(progress, 0.0))
        write_csv(series, tables[CSV_ENTRY], half(progress, 0.5))
        document = descriptor(description, list(_resources(description, tables, small)))
        small[DESCRIPTOR] = write_sidecar(document)
        with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
            for name in ENTRIES:
                if name in small:
                    with archive.open(_entry(name), "w") as entry:
                        entry.write(small[name])
                elif name in tables:
                    size = tables[name].seek(0, 2)
                    tables[name].seek(0)
                    with archive.open(_entry(name), "w", force_zip64=size >= _LARGE) as entry:
                        shutil.copyfileobj(tables[name], entry, _PIECE)
            archive.comment = OPEN_HASH.encode()
    end = handle.seek(0, 2) - len(OPEN_HASH)
    seal = _hash(handle, end)
    handle.seek(end)
    handle.write(seal.encode())


def _resources(
    description: JSON, tables: Mapping[str, BinaryIO], small: Mapping[str, bytes]
) -> Iterator[JSON]:
    """What the descriptor says of each entry but itself."""
    for name, format in ((CSV_ENTRY, GOLD), (PARQUET_ENTRY, PARQUET)):
        size = tables[name].seek(0, 2)
        found = _hash(tables[name], size)
        title = "series" if format is GOLD else f"series-{format.name}"
        yield table_resource(description, format, name, name=title, size=size, sha256=found)
    for name, media_type in ENTRIES.items():
        if name in small:
            yield {
                "name": name.replace(".", "-").lower(),
                "type": "file",
                "path": name,
                "mediatype": media_type,
                "encoding": "utf-8",
                "bytes": len(small[name]),
                "hash": sha256(small[name]),
            }


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


def _readme(description: JSON, files: Mapping[str, bytes]) -> str:
    kinds = {
        DESCRIPTOR: "what all of this is, as a Data Package (datapackage.org), with hashes of the files",
        "model.yaml": "the model",
        "catalog.json": "the catalog of the artifact that was exported",
        PARQUET_ENTRY: "the series, a row for each component, measure and time",
        CSV_ENTRY: "the same rows as text",
        "preview.svg": "the model as a drawing",
        README: "this text",
    }
    there = {DESCRIPTOR, *files, *_TABLES, README}
    listed = "\n".join(f"  {name:<18}{kinds[name]}" for name in ENTRIES if name in there)
    title = " ".join(str(description.get("name") or description.get("id") or "series").split())
    return (
        f"{title}\n\n"
        f"A bundle of flowtime: {description['rows']} rows of {len(description['series'])} series.\n\n"
        f"{listed}\n\n"
        "To bring it back, with its model:\n\n"
        "  flowtime import --data THIS_FILE.zip\n\n"
        f"The content of the table has the digest {description['digest']}.\n"
    )


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle all of whose hashes were right.

    `parquet` is the table, `files` are the small entries besides descriptor and README, by name.
    """

    source: str
    description: JSON
    parquet: BinaryIO
    files: Mapping[str, bytes]
    csv_hash: str

    def check_csv(self, series: SeriesSet) -> None:
        """Raise InvalidInput unless the bundle's CSV is the gold CSV of `series`, the Parquet's content."""
        text = _Hashing()
        write_csv(series, text)
        if "sha256:" + text.hash.hexdigest() != self.csv_hash:
            raise _wrong(self.source, f"{CSV_ENTRY} and {PARQUET_ENTRY} hold different series")


class _Hashing:
    """Takes bytes and keeps their hash."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self.hash.update(data)


@contextmanager
def read_bundle(handle: BinaryIO, source: str) -> Iterator[Bundle]:
    """A bundle, checked in every respect but whether its table is the one described.

    Raises InvalidInput (FT416) where the zip holds what no bundle does, FT410 where a byte was changed.
    """
    try:
        handle.seek(0)
        with zipfile.ZipFile(handle) as archive, ExitStack() as stack:
            entries = _checked(archive, handle, source)
            _check_seal(archive, handle, source)
            description, resources = read_sealed(_small(archive, entries[DESCRIPTOR]), source)
            expected = _declared(resources, entries, source)
            files = {}
            parquet = stack.enter_context(tempfile.TemporaryFile())
            for name, hash in expected.items():
                if name in _TABLES:
                    found = _spool(archive, entries[name], parquet if name == PARQUET_ENTRY else None)
                else:
                    files[name] = _small(archive, entries[name])
                    found = sha256(files[name])
                if found != hash:
                    raise _wrong(source, f'the hash of "{name}" is not the one in {DESCRIPTOR}')
            files.pop(README)
            yield Bundle(source, description, parquet, files, expected[CSV_ENTRY])
    except (zipfile.BadZipFile, RuntimeError, UnicodeDecodeError, EOFError) as error:
        raise _wrong(source, f"the zip archive cannot be read: {error}") from error


def _checked(archive: zipfile.ZipFile, handle: BinaryIO, source: str) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, each as a bundle has it."""
    if "[Content_Types].xml" in archive.namelist():
        hint = "save the table in it as CSV"
        raise InvalidInput("FT402", "this is a spreadsheet or a document", where=source, hint=hint)
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        problem = _problem(entry)
        if entry.filename in entries:
            problem = "is there twice"
        if problem is not None:
            raise _wrong(source, f'the entry "{entry.filename[:100]}" {problem}')
        entries[entry.filename] = entry
    missing = _NEEDED - set(entries)
    if missing:
        raise _wrong(source, f"it lacks {', '.join(sorted(missing))}")
    whole = handle.seek(0, 2)
    if sum(entry.file_size for entry in entries.values()) > whole:
        raise _wrong(source, f"its entries are larger than its {whole:,} bytes: they overlap")
    if next(iter(entries)) != DESCRIPTOR or archive.infolist()[0].header_offset != 0:
        raise _wrong(source, f"{DESCRIPTOR} is not its first entry")
    return entries


def _problem(entry: zipfile.ZipInfo) -> str | None:
    """What is wrong with an entry, before anything of it is read."""
    name, mode = entry.filename, entry.external_attr >> 16
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        return "has an absolute path"
    if ".." in name.replace("\\", "/").split("/"):
        return "points out of its folder"
    if stat.S_ISLNK(mode):
        return "is a link"
    if entry.is_dir() or stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        return "is not a regular file"
    if name not in ENTRIES:
        return "is none that a bundle has"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if entry.compress_type != zipfile.ZIP_STORED:
        return "is compressed, as no bundle's is"
    if entry.compress_size != entry.file_size:
        return f"claims {entry.file_size:,} bytes, and takes {entry.compress_size:,}"
    if name not in _TABLES and entry.file_size > MAX_METADATA:
        return f"is larger than {MAX_METADATA:,} bytes"
    return None


def _check_seal(archive: zipfile.ZipFile, handle: BinaryIO, source: str) -> None:
    end = handle.seek(0, 2) - len(OPEN_HASH)
    if not archive.comment.startswith(b"sha256:") or len(archive.comment) != len(OPEN_HASH):
        raise _wrong(source, "it has no seal")
    handle.seek(end)
    if handle.read() != _hash(handle, end).encode():
        raise InvalidInput(
            "FT410",
            "the file was changed after flowtime wrote it: its seal is broken",
            where=source,
            hint=_ANEW,
        )


def _declared(resources: list[JSON], entries: Mapping[str, Any], source: str) -> dict[str, str]:
    """The hash of every entry but the descriptor."""
    try:
        declared = {str(each["path"]): str(each["hash"]) for each in resources}
        sizes = {str(each["path"]): each["bytes"] for each in resources if "bytes" in each}
    except (KeyError, TypeError) as error:
        raise _wrong(source, f"{DESCRIPTOR} does not give the path and hash of every entry") from error
    for name in sorted(set(entries) ^ {DESCRIPTOR, *declared}):
        where = "in the zip alone" if name in entries else f"in {DESCRIPTOR} alone"
        raise _wrong(source, f'"{name[:100]}" is {where}')
    for name, size in sizes.items():
        if entries[name].file_size != size:
            raise _wrong(source, f'"{name}" has {entries[name].file_size:,} bytes instead of {size:,}')
    return declared


def _small(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as stream:
        return stream.read(MAX_METADATA)


def _spool(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, into: BinaryIO | None) -> str:
    """The hash of an entry, which is copied as it is read."""
    found = hashlib.sha256()
    with archive.open(entry) as stream:
        while piece := stream.read(_PIECE):
            found.update(piece)
            if into is not None:
                into.write(piece)
    return "sha256:" + found.hexdigest()


def _hash(handle: IO[bytes], end: int) -> str:
    """`sha256:...` of the first `end` bytes of a file."""
    found = hashlib.sha256()
    handle.seek(0)
    while end and (piece := handle.read(min(end, _PIECE))):
        found.update(piece)
        end -= len(piece)
    return "sha256:" + found.hexdigest()


def _wrong(source: str, why: str) -> InvalidInput:
    return InvalidInput("FT416", f"this is no bundle of flowtime: {why}", where=source, hint=_ANEW)
