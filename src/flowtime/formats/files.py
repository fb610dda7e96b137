"""User files: where they may lie, how they appear all at once, and what the system's errors mean."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from flowtime.errors import Denied, FlowtimeError, InvalidInput, NotFound, Unavailable
from flowtime.wording import option


def place(path: Path) -> Path:
    """`path` without links; raises InvalidInput where something other than a regular file is there, or what
    describes the file could not name it.
    """
    with translated(path):
        real = Path(os.path.realpath(path))
        if real.name != real.name.encode(errors="replace").decode():
            raise InvalidInput(
                "FT413", "its name is not Unicode text", where=str(path), hint="give the file another name"
            )
        if real.is_dir():
            raise InvalidInput("FT413", "is a folder; name the file in it", where=str(path))
        if real.exists() and not real.is_file():
            raise InvalidInput(
                "FT413",
                "is not a regular file",
                where=str(path),
                hint=f"{option('out', '-')} writes to a stream",
            )
        return real


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A temporary name in the folder of `path`; whatever still has it at the end is removed."""
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> None:
    """Write a small file, complete or not at all; folders are made. Raises as `translated` and `place` do."""
    real = place(path)
    with translated(path):
        real.parent.mkdir(parents=True, exist_ok=True)
        with beside(real) as temporary:
            with temporary.open("xb") as handle:
                handle.write(data)
                flush(handle)
            temporary.replace(real)
        flush_folder(real.parent)


def flush(handle: BinaryIO) -> None:
    """Bring what was written to `handle` onto the disk."""
    handle.flush()
    os.fsync(handle.fileno())


def flush_folder(path: Path) -> None:
    """Bring new names in the folder `path` onto the disk, where the system lets folders be opened."""
    if os.name == "nt":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Turn an OSError about `path` into the FlowtimeError that says what to do."""
    try:
        yield
    except OSError as error:
        raise _meaning(error, str(path)) from error


def _meaning(error: OSError, where: str) -> FlowtimeError:
    why = error.strerror or str(error)
    match error.errno:
        case errno.ENOENT:
            return NotFound("FT105", "there is no such file", where=where)
        case errno.EACCES | errno.EPERM:
            return Denied(
                "FT414",
                f"{why[:1].lower()}{why[1:]}",
                where=where,
                hint="check who owns the file and its folder",
            )
        case errno.EISDIR:
            return InvalidInput("FT413", "is a folder; name the file in it", where=where)
        case errno.ENOTDIR | errno.EEXIST:
            return InvalidInput("FT413", "a part of the path is a file, not a folder", where=where)
        case errno.ENAMETOOLONG | errno.EINVAL | errno.ELOOP:
            return InvalidInput("FT413", f"cannot be a file: {why.lower()}", where=where)
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            hint = "nothing was kept of it; free some space, or write to another disk"
            return Unavailable("FT415", "there is no space left", where=where, hint=hint)
        case errno.EROFS:
            return Unavailable(
                "FT415", "the file system is read-only", where=where, hint="write to another folder"
            )
        case _:
            return Unavailable("FT415", f"the system says: {why}", where=where)
