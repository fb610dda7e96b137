"""A store in a folder, on the standard library: written aside, fsynced, renamed into place."""
# ruff: noqa: D102 (methods and arguments are documented in Store)

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from flowtime.errors import NotFound, Unavailable
from flowtime.storage.store import Bytes, Listing, Store, check_key, number_in, position_after

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

STAGING = ".staging"
"""Folder under the root for what is not published yet; `list` does not show it."""

_SETTLE_NS = 100_000_000
"""File systems stamp changes by a clock that ticks every 1 to 10 ms; two changes in one tick look alike."""
_SWEEP_AT_MOST = 16
_LOG_LONGEST = 4 * 1024 * 1024
_LOG_KEPT = 1024 * 1024
"""Bytes of a log at which its oldest lines go, and that are kept: those of about 5,000 changes."""
_LINE_LONGEST = 64 * 1024
_HEAD = b"#cleared %016d\n"
"""First line of a log that was shortened: how many bytes of the whole went."""
_TURNS = ".turns"
_TURN_FILES = 256
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore(Store):
    """A store in a folder, which is made at the first write.

    Files are replaced by rename, folders published by rename; the folder above is fsynced, so that
    what was reported as done survives a power cut. Single keys are written under one lock file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._staging = self.root / STAGING

    @property
    def url(self) -> str:
        return self.root.resolve().as_uri()

    def location(self, key: str) -> str:
        return str(self._path(key, root=True))

    def get(self, key: str) -> bytes:
        with self.open(key) as stream, self._reading(key):
            return stream.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self.open(key) as stream, self._reading(key):
            stream.seek(start)
            return stream.read(length)

    def get_many(self, keys: Iterable[str]) -> Iterator[Bytes]:
        for key in keys:
            try:
                yield self.get(key)
            except (NotFound, Unavailable) as error:
                yield error

    def open(self, key: str) -> BinaryIO:
        path = self._path(key)
        with self._reading(key):
            if self._leaves(path):
                raise FileNotFoundError
            return path.open("rb")

    @contextmanager
    def file(self, key: str) -> Iterator[Path]:
        if self.size(key) is None:
            raise missing(self.location(key))
        yield self._path(key)

    def size(self, key: str) -> int | None:
        path = self._path(key)
        with translated(path):
            try:
                found = path.stat()
            except _ABSENT:
                return None
            if self._leaves(path):
                return None
        return found.st_size if S_ISREG(found.st_mode) else None

    def list(self, prefix: str) -> Listing:
        path = self._path(prefix, root=True)
        folders: list[str] = []
        files: list[str] = []
        with translated(path):
            if self._leaves(path):
                return Listing()
            try:
                with os.scandir(path) as entries:
                    for entry in entries:
                        (folders if entry.is_dir() else files).append(entry.name)
            except FileNotFoundError:
                return Listing()
            except NotADirectoryError:
                if not self.root.is_dir():
                    raise
                return Listing()
        if not prefix and STAGING in folders:
            folders.remove(STAGING)
        return Listing(tuple(sorted(folders)), tuple(sorted(files)))

    def list_many(self, prefixes: Iterable[str]) -> Iterator[Listing]:
        return map(self.list, prefixes)

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with translated(path), self._lock():
            self._write(path, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with translated(path), self._lock():
            if path.exists():
                return False
            self._write(path, data)
            return True

    def update(self, key: str, change: Callable[[bytes], bytes]) -> bytes:
        path = self._path(key)
        if self.size(key) is None:
            raise missing(self.location(key))
        with translated(path), self._lock():
            with self._reading(key):
                before = path.read_bytes()
            after = change(before)
            if after != before:
                self._write(path, after)
            return after

    def delete(self, key: str) -> None:
        path = self._path(key)
        if self.size(key) is None:
            return
        with translated(path), self._lock():
            path.unlink(missing_ok=True)
            _sync_folder(path.parent)

    def append(self, log: str, record: str) -> None:
        self._add_line(log, record, durable=True)

    def note(self, log: str, record: str) -> None:
        self._add_line(log, record, durable=False)

    def _add_line(self, log: str, record: str, *, durable: bool) -> None:
        path = self._path(log)
        with translated(path), self._lock():
            _make_folder(path.parent)
            with path.open("ab") as stream:
                # A line before it that a full disk or a power cut left unfinished must not swallow this one.
                torn = stream.tell() and not _ends_line(path)
                stream.write((b"\n" if torn else b"") + record.encode() + b"\n")
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
                long = stream.tell() > _LOG_LONGEST
            if long:
                with suppress(OSError):
                    self._shorten(path)

    def _shorten(self, path: Path) -> None:
        """Replaces a log by its newest lines, under a head that says how many bytes went before them."""
        with path.open("rb") as stream:
            shift, _ = _head(stream)
            stream.seek(-_LOG_KEPT, os.SEEK_END)
            stream.readline()
            cut = stream.tell()
            self._write(path, _HEAD % (cut + shift) + stream.read())

    def records(self, log: str, after: str) -> tuple[Sequence[str], str] | None:
        path = self._path(log)
        with translated(path):
            try:
                with path.open("rb") as stream:
                    shift, head = _head(stream)
                    start = number_in(after) - shift if after else head
                    if (not after and head) or not head <= start <= stream.seek(0, os.SEEK_END):
                        return None
                    back = max(start - _LINE_LONGEST, 0)
                    stream.seek(back)
                    before = stream.read(start - back)
                    if after and position_after(start + shift, _last_line(before)) != after:
                        return None
                    whole, end, _ = stream.read().rpartition(b"\n")
            except _ABSENT:
                return None if after else ((), "")
        if not end:
            return (), after
        lines = whole.decode("utf-8", "replace").split("\n")
        position = position_after(start + shift + len(whole) + 1, _last_line(before + whole + end))
        return [line for line in lines if line], position

    def tail(self, log: str, count: int) -> tuple[Sequence[str], str]:
        path = self._path(log)
        with translated(path):
            try:
                with path.open("rb") as stream:
                    shift, head = _head(stream)
                    whole, end, _ = stream.read().rpartition(b"\n")
            except _ABSENT:
                return (), ""
        if not end:
            return (), ""
        lines = [line for line in whole.decode("utf-8", "replace").split("\n") if line]
        return lines[-count:], position_after(head + len(whole) + 1 + shift, _last_line(whole + end))

    def marks(self, keys: Sequence[str], logs: Sequence[str], prefixes: Sequence[str]) -> tuple[str, ...]:
        now = time.time_ns()
        return tuple(self._mark(self._path(name), now) for name in (*keys, *logs, *prefixes))

    def _mark(self, path: Path, now: int) -> str:
        with translated(path):
            try:
                found = path.stat()
            except _ABSENT:
                return "absent"
        if abs(now - found.st_mtime_ns) < _SETTLE_NS:
            return ""
        return f"{found.st_mtime_ns}-{found.st_ino}-{found.st_size}"

    def stamp(self, prefix: str) -> int | None:
        path = self._path(prefix)
        with translated(path):
            try:
                return path.stat().st_mtime_ns
            except _ABSENT:
                return None

    def stamps(self, keys: Sequence[str]) -> Sequence[str]:
        now, root = time.time_ns(), str(self.root)
        with translated(self.root):
            return [_stamped(f"{root}/{key}", now) for key in keys]

    def turn(self, prefix: str) -> AbstractContextManager[None]:
        # Two prefixes may share a file, and then wait for each other: turns are short.
        name = f"{zlib.crc32(check_key(prefix).encode()) % _TURN_FILES:02x}"
        return self._locked(self._staging / _TURNS / name)

    def stage(self, room: int = 0) -> AbstractContextManager[Path]:
        return scratch(self._staging, room)

    def publish(self, folder: Path, prefix: str, last: str) -> bool:
        target = self._path(prefix)
        with translated(target):
            _sync_tree(folder)
            return self._rename(folder, target)

    def move(self, prefix: str, target: str, last: str) -> bool:
        source, goal = self._path(prefix), self._path(target)
        # Under the lock, or an update in progress would write its file to a folder that has gone.
        with translated(goal), self._lock():
            if not source.is_dir():
                raise missing(self.location(prefix))
            moved = self._rename(source, goal)
            if moved:
                _sync_folder(source.parent)
            return moved

    def remove(self, prefix: str, last: str) -> None:
        path = self._path(prefix)
        with translated(path):
            if not path.is_dir():
                return
            for folder, _, names in os.walk(path):
                if last in names:
                    Path(folder, last).unlink()
                    _sync_folder(Path(folder))
            shutil.rmtree(path)
            _sync_folder(path.parent)

    def sweep(self, older: float, into: str) -> Sequence[str]:
        swept: list[str] = []
        with translated(self._staging):
            try:
                found = [path for path in sorted(self._staging.iterdir()) if path.name not in (_LOCK, _TURNS)]
            except _ABSENT:
                return ()
            for path in found:
                try:
                    left = time.time() - path.stat().st_mtime > older
                    target = f"{into}/{path.name}"
                    if left and len(swept) < _SWEEP_AT_MOST and self._rename(path, self._path(target)):
                        swept.append(target)
                except FileNotFoundError:
                    continue  # its writer is done, or another sweep was faster
        return swept

    def _leaves(self, path: Path) -> bool:
        """Whether a link below the root leads out of it: what is behind that is not the registry's."""
        below = takewhile(lambda each: each != self.root, (path, *path.parents))
        linked = any(each.is_symlink() for each in below)
        return linked and not path.resolve().is_relative_to(self.root.resolve())

    def _path(self, key: str, *, root: bool = False) -> Path:
        return self.root / check_key(key, root=root)

    def _rename(self, source: Path, target: Path) -> bool:
        """Renames into place, making the folders above; False where the target is taken."""
        while True:
            _make_folder(target.parent)
            try:
                source.rename(target)
            except FileNotFoundError:
                # The folder above was moved away between the two calls; anything else is an error.
                if not source.exists() or target.parent.exists():
                    raise
                continue
            except OSError as error:
                if error.errno in _TAKEN:
                    return False
                raise
            _sync_folder(target.parent)
            return True

    def _write(self, path: Path, data: bytes) -> None:
        aside = self._staging / os.urandom(16).hex()
        try:
            with aside.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            _make_folder(path.parent)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        _sync_folder(path.parent)

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        with translated(self._path(key)):
            try:
                yield
            except _ABSENT:
                raise missing(self.location(key)) from None

    def _lock(self) -> AbstractContextManager[None]:
        return self._locked(self._staging / _LOCK)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Excludes every other process and thread that locks it; a process that dies lets go of it."""
        with translated(path):
            _make_folder(path.parent)
            handle = path.open("ab")
        with handle:
            if sys.platform == "win32":
                handle.seek(0)
                msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
            else:
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _stamped(path: str, now: int) -> str:
    try:
        found = os.stat(path)  # noqa: PTH116 (thousands of them are looked at for one list)
    except _ABSENT:
        return "absent"
    # A copy keeps its time of modification where it is asked to, never that of the change of the file.
    if abs(now - found.st_ctime_ns) < _SETTLE_NS:
        return ""
    return f"{found.st_ctime_ns}-{found.st_mtime_ns}-{found.st_ino}-{found.st_size}"


@contextmanager
def scratch(parent: Path, room: int = 0) -> Iterator[Path]:
    """A new folder in `parent`, gone when the block ends; an error of its disk is raised as Unavailable, and
    so is a lack of `room` for so many bytes.
    """
    folder = parent / os.urandom(16).hex()
    with translated(folder):
        _make_folder(folder)
    try:
        free = shutil.disk_usage(folder).free
        if free < room:
            raise _full(f"at least {room:,} bytes are needed, {free:,} are free", str(folder))
        yield folder
    except OSError as error:
        if error.errno in _OF_THE_DISK or str(error.filename or "").startswith(str(folder)):
            raise _unavailable(error, folder) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_LOCK = ".lock"


def _make_folder(folder: Path) -> None:
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _sync_folder(new.parent)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with Path(parent, name).open("r+b") as stream:
                os.fsync(stream.fileno())
        _sync_folder(Path(parent))


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # Windows has no handle on a folder to sync; NTFS journals its names.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _head(stream: BinaryIO) -> tuple[int, int]:
    """What to add to a place in this log file to get the place in the whole log, and the length of its head;
    the stream is left after that.
    """
    size = len(_HEAD % 0)
    start = stream.read(size)
    if start.startswith(_HEAD[:9]) and len(start) == size:
        return int(start[9:]) - size, size
    stream.seek(0)
    return 0, 0


def _last_line(data: bytes) -> str:
    """The last line of what ends with the end of a line."""
    return data[:-1].rpartition(b"\n")[2].decode("utf-8", "replace")


def _ends_line(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_OF_THE_DISK = (*_FULL, errno.EROFS, errno.EIO)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises an error of the file system as Unavailable, naming the path unless the error names one."""
    try:
        yield
    except OSError as error:
        raise _unavailable(error, path) from error


def _unavailable(error: OSError, path: Path) -> Unavailable:
    where = str(error.filename or path)
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return _full(reason, where)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Unavailable(
            "FT609",
            f"no more files can be opened: {reason}",
            where=where,
            hint="try again; where that does not help, allow the process more of them (ulimit -n)",
        )
    if error.errno in _FORBIDDEN:
        return Unavailable(
            "FT605",
            f"not allowed: {reason}",
            where=where,
            hint="check the permissions, and that the file system is not mounted read-only; "
            "or name another folder",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return Unavailable(
            "FT606",
            f"a file stands where a folder is needed: {reason}",
            where=where,
            hint="name another folder, or move the file away",
        )
    return Unavailable("FT606", f"the file system refused: {reason}", where=where, hint="check the disk")


def _full(reason: str, where: str) -> Unavailable:
    hint = "free some space and try again"
    return Unavailable("FT604", f"no room left to write: {reason}", where=where, hint=hint)


def missing(location: str) -> NotFound:
    """The error that nothing is at this path or URL."""
    return NotFound("FT601", "no such file", where=location)
