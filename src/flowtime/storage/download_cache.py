"""Files of a bucket on this machine's disk: downloaded once for many who ask, within a bound of bytes."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from flowtime.storage.local import translated

_BLOCK = 4096
"""Bytes that a file and its folder count for at least, so that many small ones are bounded too."""

Fetch = Callable[[str, str, Path], str | None]
"""Downloads a key to a path and returns its etag; None, writing nothing, where it has the given one."""


@dataclass(slots=True, eq=False)
class _Kept:
    path: Path
    etag: str
    size: int
    users: int = 1
    retired: bool = False


class DownloadCache:
    """Local copies of keys, each as the store has it at the moment of asking. Threads share one.

    A copy that somebody uses stays; of the others the least recently used go where all together pass `room`
    bytes. The folder goes with this object.
    """

    def __init__(self, fetch: Fetch, room: int) -> None:
        self._fetch = fetch
        self._room = room
        # The collector of garbage closes forgotten streams in any thread, also in one that has the lock.
        self._turn = threading.RLock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._asking: dict[str, threading.Lock] = {}
        self._asked: Counter[str] = Counter()
        self._size = 0

    @contextmanager
    def file(self, key: str) -> Iterator[Path]:
        """A file with the key's bytes, not to be written to, which is there while the block lasts."""
        kept = self._take(key)
        try:
            yield kept.path
        finally:
            self._let_go(kept)

    def open(self, key: str) -> BinaryIO:
        """A stream of the key's bytes; its file stays until it is closed."""
        kept = self._take(key)
        try:
            with translated(kept.path):
                return _Stream(kept.path, lambda: self._let_go(kept))
        except BaseException:
            self._let_go(kept)
            raise

    def _take(self, key: str) -> _Kept:
        """The copy of the key, in use; one thread at a time downloads it, the others find it there."""
        with self._alone(key):
            with self._turn:
                kept = self._kept.get(key)
                if kept is not None:
                    kept.users += 1
                    self._kept.move_to_end(key)
            etag = kept.etag if kept is not None and kept.path.is_file() else ""
            target = self._folder / os.urandom(8).hex() / key.rpartition("/")[2]
            try:
                with translated(target):
                    target.parent.mkdir()
                found = self._fetch(key, etag, target)
                if found is not None:
                    size = max(target.stat().st_size, _BLOCK)
            except BaseException:
                shutil.rmtree(target.parent, ignore_errors=True)
                if kept is not None:
                    self._let_go(kept)
                raise
            if found is None:
                assert kept is not None  # only an etag that was given can still be the same
                shutil.rmtree(target.parent, ignore_errors=True)
                return kept
            new = _Kept(target, found, size)
            with self._turn:
                self._retire(key)
                self._kept[key] = new
                self._size += size
            if kept is not None:
                self._let_go(kept)
            self._make_room()
            return new

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        with self._turn:
            lock = self._asking.setdefault(key, threading.Lock())
            self._asked[key] += 1
        try:
            with lock:
                yield
        finally:
            with self._turn:
                self._asked[key] -= 1
                if not self._asked[key]:
                    del self._asking[key], self._asked[key]

    def _let_go(self, kept: _Kept) -> None:
        with self._turn:
            kept.users -= 1
            last = kept.retired and not kept.users
        if last:
            shutil.rmtree(kept.path.parent, ignore_errors=True)
        self._make_room()

    def _make_room(self) -> None:
        """Deletes what nobody uses, the least recently used first, until all fits."""
        with self._turn:
            gone = []
            for key, kept in list(self._kept.items()):
                if self._size <= self._room:
                    break
                if not kept.users and self._kept.get(key) is kept:
                    gone.append(kept.path.parent)
                    self._retire(key)
        for folder in gone:
            shutil.rmtree(folder, ignore_errors=True)

    def _retire(self, key: str) -> None:
        """Forgets the copy of a key; under the lock. Whoever uses it last deletes it."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            kept.retired = True
            self._size -= kept.size

    @cached_property
    def _folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="flowtime-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder


class _Stream(io.BufferedReader):
    """A file that tells when it is closed."""

    _done: Callable[[], None] | None = None

    def __init__(self, path: Path, done: Callable[[], None]) -> None:
        super().__init__(io.FileIO(path))
        self._done = done

    def close(self) -> None:
        try:
            super().close()
        finally:
            done, self._done = self._done, None
            if done is not None:
                done()
