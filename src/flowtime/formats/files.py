"""User files: where they may lie, how they appear all at once, and what the system's errors mean."""

from __future__ import annotations

import errno
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from flowtime.errors import Denied, FlowtimeError, InvalidInput, NotFound, Unavailable
from flowtime.wording import option

if sys.platform != "win32":
    import fcntl


_SETTLED = 2.0
"""Seconds without a change after which an unfinished file that nobody has open was left by the dead."""


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
    """A temporary name in the folder of `path`; whatever still has it at the end is removed, and what killed
    writers of the same file left.
    """
    temporary = path.with_name(f"{_unfinished(path)}{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        for left in unfinished(path):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _SETTLED and not _is_written(left):
                    left.unlink()


def create(temporary: Path) -> BinaryIO:
    """Makes the file, to be written and read; while it is open, others see that its writer lives."""
    handle = temporary.open("xb+")
    if sys.platform != "win32":
        fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


def unfinished(path: Path) -> list[Path]:
    """What writers of the file have made ready beside it, and not yet put in its place or never will."""
    begin = _unfinished(path)
    try:
        names = [each.name for each in path.parent.iterdir() if each.name.startswith(begin)]
    except OSError:
        return []
    end = re.compile(r"[0-9a-f]{8}\.tmp")
    return [path.with_name(name) for name in sorted(names) if end.fullmatch(name.removeprefix(begin))]


def _unfinished(path: Path) -> str:
    return f".{path.name[:100]}."


def _is_written(path: Path) -> bool:
    if sys.platform == "win32":
        return False  # what is open cannot be removed there
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def write_file(path: Path, data: bytes) -> None:
    """Write a small file, complete or not at all; folders are made. Raises as `translated` and `place` do."""
    real = place(path)
    with translated(path):
        real.parent.mkdir(parents=True, exist_ok=True)
        with beside(real) as temporary:
            with create(temporary) as handle:
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
