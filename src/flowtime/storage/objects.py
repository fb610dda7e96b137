"""A store in a bucket of S3, Azure Blob, ADLS Gen2 or memory, on obstore.

What decides is that a create succeeds once and that an update needs the etag it read.
Under `.staging/` lies what is under way:

    turn/{prefix}         who may change what is under this prefix now; `turns` says how it ends
    publish/{prefix}      the claim of the one writer that may publish under this prefix
    move/{id}/{prefix}    the note of a move from this prefix that has begun

A claim or note is made before anything else, and goes when a line of a log has told of what was done. What
a dead writer left therefore carries one, and nothing else is ever swept.
"""
# ruff: noqa: D102 (methods and arguments are documented in Store)

from __future__ import annotations

import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    NotModifiedError,
    PreconditionError,
)
from obstore.store import AzureStore, MemoryStore, S3Store

from flowtime.errors import NotFound, Unavailable
from flowtime.storage.answers import is_final, is_torn, is_without_bucket, unavailable
from flowtime.storage.download_cache import DownloadCache
from flowtime.storage.local import STAGING, missing, scratch, translated
from flowtime.storage.object_log import ObjectLog
from flowtime.storage.store import Bytes, Listing, Store, check_key
from flowtime.storage.turns import Turn, Version

Objects = AzureStore | MemoryStore | S3Store

_T = TypeVar("_T")

_THREADS = 16
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between the attempts at a conditional write, or at an answer that is cut off."""
_PATIENCE = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1, 1, 1)
"""Seconds between looks at a rival's publication, which is given five seconds to end."""
_SWEEP_AT_MOST = 16
_ROOM = 1 << 29
"""Bytes of downloaded files that are kept for the next reader."""
_LARGE = 8 * 1024 * 1024
"""Size in bytes beyond which the service copies where it can, instead of this machine."""
_CLAIMS = f"{STAGING}/publish/"
_MOVES = f"{STAGING}/move/"
_TURNS = f"{STAGING}/turn/"
_CLOCK = f"{STAGING}/clock"

_opened_in = os.getpid()


class ObjectStore(Store):
    """A store in a bucket or container, under a prefix. Threads share one; forked processes cannot."""

    def __init__(
        self,
        objects: Objects,
        once: Objects,
        place: str,
        prefix: str,
        *,
        service: str = "",
        copies: bool = True,
    ) -> None:
        """`once` is the same place as `objects`, without retries: only so is it known who created what.

        `place` is the URL of the bucket, `service` tells apart services that have buckets of one name.
        `copies` says that the service copies large objects, on condition and at once.
        """
        # A memory has no prefix of its own.
        self._above = f"{prefix}/" if prefix and isinstance(objects, MemoryStore) else ""
        self._objects = objects
        self._once = once
        self._address = f"{place}/{prefix}".rstrip("/")
        self._service = service
        self._copies = copies
        self._log = ObjectLog(self)
        self._downloads = DownloadCache(self._download, _ROOM)
        self._open = threading.local()

    @property
    def url(self) -> str:
        return f"{self._address}?service={self._service}" if self._service else self._address

    def location(self, key: str) -> str:
        return f"{self._address}/{check_key(key, root=True)}".rstrip("/")

    # Reading

    def get(self, key: str) -> bytes:
        return self._get(key)[0]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        found = self.size(key)
        if found is None:
            raise missing(self.location(key))
        length = min(length, found - start)
        if length <= 0:
            return b""
        with self._reading(key):
            return _whole(
                lambda: bytes(obstore.get_range(self._objects, self._path(key), start=start, length=length))
            )

    def get_many(self, keys: Iterable[str]) -> Iterator[Bytes]:
        return self._each(self._got, keys)

    def open(self, key: str) -> BinaryIO:
        return self._downloads.open(check_key(key))

    def file(self, key: str) -> AbstractContextManager[Path]:
        return self._downloads.file(check_key(key))

    def _download(self, key: str, etag: str, target: Path) -> str | None:
        """Writes the object to the target and returns its etag; None where it still has the given one."""

        def save() -> str:
            options: Any = {"if_none_match": etag} if etag else None
            found = obstore.get(self._objects, self._path(key), options=options)
            with translated(target), target.open("wb") as stream:
                for chunk in found.stream():
                    stream.write(chunk)
            return found.meta["e_tag"] or ""

        with self._reading(key):
            try:
                return _whole(save)
            except NotModifiedError:
                return None

    def size(self, key: str) -> int | None:
        with self._translated(key):
            try:
                found = obstore.head(self._objects, self._path(key))
            except FileNotFoundError:
                return None
        return int(found["size"])

    def list(self, prefix: str) -> Listing:
        path = self._path(prefix, root=True)
        with self._translated(prefix):
            found = _whole(lambda: obstore.list_with_delimiter(self._objects, path or None))
        # The console of S3 makes an object named like the prefix itself, to show an empty folder.
        folders = {name.rpartition("/")[2] for name in found["common_prefixes"]}
        files = {each["path"].rpartition("/")[2] for each in found["objects"] if each["path"] != path}
        if not prefix:
            folders.discard(STAGING)
        return Listing(tuple(sorted(folders)), tuple(sorted(files)))

    def list_many(self, prefixes: Iterable[str]) -> Iterator[Listing]:
        return self._each(self.list, prefixes)

    # Writing one key

    def put(self, key: str, data: bytes) -> None:
        with self._translated(key):
            obstore.put(self._objects, self._path(key), data, use_multipart=False)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self._translated(key):
            return self._create(key, data)

    def update(self, key: str, change: Callable[[bytes], bytes]) -> bytes:
        while True:
            before, version = self._get(key)
            after = change(before)
            if after == before:
                return after
            with self._translated(key):
                if self._put_once(key, after, version):
                    return after
            time.sleep(random.uniform(0, 0.02))

    def delete(self, key: str) -> None:
        with self._translated(key):
            # The pointer to the end of a log goes first: without its line it would lead nowhere.
            self.drop([key, *self._log.lines(key)])
            self._log.forget(key)

    # Logs

    def append(self, log: str, record: str) -> None:
        with self._translated(log):
            self._log.append(log, record)
            self.drop(self._under_way())
            self._under_way().clear()

    def records(self, log: str, after: str) -> tuple[Sequence[str], str] | None:
        return self._log.records(check_key(log), after)

    def tail(self, log: str, count: int) -> tuple[Sequence[str], str]:
        return self._log.tail(check_key(log), count)

    def marks(self, keys: Sequence[str], logs: Sequence[str], prefixes: Sequence[str]) -> tuple[str, ...]:
        # To tell a change of names by them, all would have to be listed.
        found = self._each(
            lambda mark: mark(),
            [*(partial(self._etag, k) for k in keys), *(partial(self._end_mark, k) for k in logs)],
        )
        return (*found, *["log"] * len(prefixes))

    def _etag(self, key: str) -> str:
        with self._translated(key):
            try:
                return f"etag {obstore.head(self._objects, self._path(key))['e_tag']}"
            except FileNotFoundError:
                return "absent"

    def _end_mark(self, log: str) -> str:
        return f"line {self._log.end(log)}"

    # Turns, publication and what lies under a prefix

    @contextmanager
    def turn(self, prefix: str) -> Iterator[None]:
        turn = Turn(self, f"{_TURNS}{check_key(prefix)}", self.location(prefix))
        with turn.taken():
            self._turns().append(turn)
            try:
                yield
            finally:
                self._turns().remove(turn)

    def write_once(self, key: str, data: bytes, version: Version | None) -> bool:
        """Writes where the object has this version, or is not there for None; False where that is not so."""
        with self._translated(key):
            return self._put_once(key, data, version)

    def read_version(self, key: str) -> tuple[bytes, Version] | None:
        """The bytes of an object and the version of them, None where there is none."""
        try:
            return self._get(key)
        except NotFound:
            return None

    def stage(self, room: int = 0) -> AbstractContextManager[Path]:
        return scratch(Path(tempfile.gettempdir()), room)

    def publish(self, folder: Path, prefix: str, last: str) -> bool:
        check_key(prefix)
        with translated(folder):
            paths = {
                each.relative_to(folder).as_posix(): each for each in folder.rglob("*") if each.is_file()
            }
        names = [*sorted(paths.keys() - {last}), last]
        claim = f"{_CLAIMS}{prefix}"
        note = {"id": os.urandom(16).hex(), "prefix": prefix, "files": names}
        with self._translated(prefix):
            if self.size(f"{prefix}/{last}") is not None:
                return False
            if not self._create(claim, json.dumps(note).encode()):
                self._await_rival(f"{prefix}/{last}", claim)
                return False
            made: list[str] = []
            # A rival that was done between the look and the claim has let go of its own claim meanwhile.
            if self.size(f"{prefix}/{last}") is None:
                for name in names:
                    if not self._create(f"{prefix}/{name}", paths[name]):
                        break
                    made.append(name)
            if len(made) == len(names):
                self._under_way().append(claim)
                return True
            self.drop([*(f"{prefix}/{name}" for name in made), claim])
            return False

    def move(self, prefix: str, target: str, last: str) -> bool:
        check_key(target)
        with self._translated(prefix):
            names = _ordered(self.names(prefix), last)
            if not names or names[0].rpartition("/")[2] != last:
                raise missing(self.location(prefix))
            if self.size(f"{target}/{names[0]}") is not None and not self._same(
                f"{prefix}/{names[0]}", f"{target}/{names[0]}"
            ):
                return False
            note = {"prefix": prefix, "target": target, "files": names}
            move = f"{_MOVES}{os.urandom(16).hex()}/{prefix}"
            self._create(move, json.dumps(note).encode())
            # What an interrupted move left at the target is the same, and is taken as it is.
            for name in reversed(names):
                if not self._copy(f"{prefix}/{name}", f"{target}/{name}"):
                    self.drop([move])
                    return False
            lost = set(names) - set(self.names(target))
            if lost:
                raise Unavailable(
                    "FT606",
                    f"the copy is not complete, so nothing was deleted: {min(lost)} is missing",
                    where=self.location(target),
                    hint="somebody else is clearing this place; try again",
                )
            self._delete_under(prefix, names)
            self._under_way().append(move)
            return True

    def remove(self, prefix: str, last: str) -> None:
        check_key(prefix)
        with self._translated(prefix):
            self._delete_under(prefix, _ordered(self.names(prefix), last))

    def sweep(self, older: float, into: str) -> Sequence[str]:
        check_key(into)
        with self._translated(STAGING):
            staged = self._staged()
            old = [path for path, then in staged.items() if time.time() - then >= older]
            if not old:
                return ()
            # The clock of the service decides: that of this machine may be wrong by days.
            obstore.put(self._objects, self._path(_CLOCK), b"")
            now = obstore.head(self._objects, self._path(_CLOCK))["last_modified"].timestamp()
            swept = []
            for path in [path for path in sorted(old) if now - staged[path] >= older][:_SWEEP_AT_MOST]:
                alive = [other for other, then in self._staged().items() if now - then < older]
                if self._sweep(path, alive, into):
                    swept.append(path)
            self._under_way().extend(swept)
        return tuple(_changing(path) for path in swept)

    def _sweep(self, path: str, alive: Iterable[str], into: str) -> bool:
        """Clears away what a dead writer left, by the note it made; False where that has to wait for one
        that may be alive.
        """
        note = _read_note(self._got(path))
        if note is None:
            return True
        prefix, names = note["prefix"], note["files"]
        if path.startswith(_MOVES):
            places = {prefix, note["target"]}
            moving = (_read_note(self._got(other)) for other in alive if other.startswith(_MOVES))
            if any(other and places & {other["prefix"], other["target"]} for other in moving):
                return False
            self._end_move(prefix, note["target"], names, into)
        elif self.size(f"{prefix}/{names[-1]}") is None:
            for name in names:
                if self.size(f"{prefix}/{name}") is not None:
                    self._copy(f"{prefix}/{name}", f"{into}/{note['id']}/{name}")
            self._delete_under(prefix, names)
        return True

    def _end_move(self, prefix: str, target: str, names: Sequence[str], into: str) -> None:
        """Deletes what a move that was interrupted left half at one of its places."""
        here, there = f"{prefix}/{names[0]}", f"{target}/{names[0]}"
        if self.size(here) is None:
            self._delete_under(prefix, names)
        elif self.size(there) is None:
            self._delete_under(target, names)
        elif self._same(here, there):
            # Both are whole. The one in view may have been changed since: what goes is the one in the trash.
            trash = into.partition("/")[0]
            self._delete_under(prefix if prefix.startswith(f"{trash}/") else target, names)

    def _await_rival(self, key: str, claim: str) -> None:
        """Waits for a rival's publication, which a caller that is told of its loss wants to look at."""
        for pause in _PATIENCE:
            if self.size(key) is not None or self.size(claim) is None:
                return
            time.sleep(pause)

    def _under_way(self) -> MutableSequence[str]:
        """The claims and moves of this thread that no line of a log has told of yet."""
        keys: MutableSequence[str] = vars(self._open).setdefault("keys", [])
        return keys

    def _turns(self) -> MutableSequence[Turn]:
        """The turns that this thread holds."""
        turns: MutableSequence[Turn] = vars(self._open).setdefault("turns", [])
        return turns

    def _staged(self) -> dict[str, float]:
        """The claims and moves under way, or left by the dead, with the time of each."""
        listed = self._listed(self._path(STAGING))
        found = {each["path"].removeprefix(self._above): each["last_modified"].timestamp() for each in listed}
        return {path: then for path, then in found.items() if path.startswith((_CLAIMS, _MOVES))}

    # Objects

    def _get(self, key: str) -> tuple[bytes, Version]:
        """The bytes, and the version of them that a conditional write names."""

        def read() -> tuple[bytes, Version]:
            found = obstore.get(self._objects, self._path(key))
            return bytes(found.bytes()), _version(found.meta)

        with self._reading(key):
            return _whole(read)

    def _got(self, key: str) -> Bytes:
        try:
            return self.get(key)
        except (NotFound, Unavailable) as error:
            return error

    def _create(self, key: str, data: bytes | Path) -> bool:
        """Makes the object; False where it is there already. Exactly one of several callers made it."""
        return self._put_once(key, data, None)

    def _put_once(self, key: str, data: bytes | Path, version: Version | None) -> bool:
        """Writes on the condition that the object has this version, or is not there for None."""
        path, unsure = self._path(key), False
        mode: Any = "create" if version is None else version
        for pause in (*_PAUSES, None):
            try:
                obstore.put(self._once, path, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                # An attempt whose reply was lost may have been the one that wrote what is there.
                if unsure and self._holds(key, data):
                    return True
                # S3 also refuses while another's write of the same key is under way, which may yet fail.
                if version is not None or self.size(key) is not None:
                    return False
                if pause is None:
                    raise
            except GenericError as error:
                if pause is None or is_final(error):
                    raise
                unsure = True
            else:
                return True
            time.sleep(pause * random.uniform(0.5, 1))
        raise AssertionError("the last attempt returns or raises")

    def _copy(self, source: str, target: str) -> bool:
        """Makes the target a copy of the source; False where it holds something else."""
        found = self.size(source)
        if found is None:
            raise missing(self.location(source))
        if found > _LARGE and self._copies:
            try:
                _whole(
                    lambda: obstore.copy(
                        self._objects, self._path(source), self._path(target), overwrite=False
                    )
                )
            except AlreadyExistsError:
                return self._same(source, target)
            return True
        if found <= _LARGE:
            data = self.get(source)
            return self._create(target, data) or self._holds(target, data)
        with self.file(source) as path:
            return self._create(target, path) or self._holds(target, path)

    def _same(self, one: str, other: str) -> bool:
        with self.file(one) as path:
            return self._holds(other, path)

    def _holds(self, key: str, data: bytes | Path) -> bool:
        """Whether the object has exactly these bytes."""
        found = self.size(key)
        if isinstance(data, bytes):
            return found is not None and found == len(data) and self._got(key) == data
        with translated(data), data.open("rb") as stream:
            if found is None or found != os.fstat(stream.fileno()).st_size:
                return False

            def equal() -> bool:
                stream.seek(0)
                answer = obstore.get(self._objects, self._path(key))
                return all(stream.read(len(chunk)) == chunk for chunk in answer.stream())

            with self._reading(key):
                return _whole(equal)

    def names(self, prefix: str) -> Sequence[str]:
        """The names of all objects under the prefix, relative to it."""
        path = self._path(prefix)
        with self._translated(prefix):
            found = self._listed(path)
        return [each["path"].removeprefix(f"{path}/") for each in found if each["path"] != path]

    def _listed(self, path: str) -> Sequence[obstore.ObjectMeta]:
        return _whole(lambda: obstore.list(self._objects, prefix=path).collect())

    def drop(self, keys: Sequence[str]) -> None:
        """Deletes objects, of which some may have gone: Azure calls that an error, S3 does not."""
        paths = [self._path(key) for key in keys]
        if not paths:
            return
        for turn in self._turns():
            turn.hold()
        with self._translated(keys[0]):
            try:
                _whole(lambda: obstore.delete(self._objects, paths))
            except FileNotFoundError:
                for path in paths:
                    with suppress(FileNotFoundError):
                        obstore.delete(self._objects, path)

    def _delete_under(self, prefix: str, names: Sequence[str]) -> None:
        """Deletes what decides one after the other, in this order, and then the rest at once."""
        if not names:
            return
        deciding = names[0].rpartition("/")[2]
        for name in names:
            if name.rpartition("/")[2] == deciding:
                self.drop([f"{prefix}/{name}"])
        self.drop([f"{prefix}/{name}" for name in names if name.rpartition("/")[2] != deciding])

    def _path(self, key: str, *, root: bool = False) -> str:
        return (self._above + check_key(key, root=root)).rstrip("/")

    def _each(self, work: Callable[[Any], _T], items: Iterable[Any]) -> Iterator[_T]:
        return self._pool.map(work, items)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_THREADS, thread_name_prefix="flowtime-objects")

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        with self._translated(key):
            try:
                yield
            except FileNotFoundError as error:
                if is_without_bucket(error):
                    raise
                raise missing(self.location(key)) from None

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        if os.getpid() != _opened_in:
            raise Unavailable(
                "FT606",
                "the store was opened before this process was forked, and object stores do not survive that",
                where=self._address,
                hint='start worker processes by spawning: multiprocessing.get_context("spawn")',
            )
        try:
            yield
        except (BaseError, FileNotFoundError, ValueError) as error:
            where = self.location("") if key.startswith(STAGING) else self.location(key)
            raise unavailable(error, where, self._address) from error


def _whole(ask: Callable[[], _T]) -> _T:
    """What `ask` returns, which is called again where the service's answer is cut off."""
    for pause in _PAUSES:
        try:
            return ask()
        except GenericError as error:
            if not is_torn(error):
                raise
        time.sleep(pause * random.uniform(0.5, 1))
    return ask()


def _version(meta: Mapping[str, Any]) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}


def _read_note(data: Bytes) -> dict[str, Any] | None:
    """What a claim or a move says; None where the object has gone or is not of our making."""
    try:
        note: dict[str, Any] | None = json.loads(data) if isinstance(data, bytes) else None
    except ValueError:
        return None
    return note if isinstance(note, dict) and note.keys() >= {"prefix", "files"} else None


def _changing(path: str) -> str:
    """The prefix that a claim or move is about."""
    if path.startswith(_CLAIMS):
        return path.removeprefix(_CLAIMS)
    return path.removeprefix(_MOVES).partition("/")[2]


def _ordered(names: Iterable[str], last: str) -> list[str]:
    """The names with those of `last` first, the highest of them before all others."""
    return sorted(names, key=lambda name: (name.rpartition("/")[2] != last, name.count("/"), len(name), name))
