"""The index: a cache over the catalogs, in SQLite with full-text search; it may be deleted at any moment."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from flowtime.errors import Unavailable
from flowtime.registry import tables
from flowtime.registry.artifacts import Stamp
from flowtime.registry.document import JSON, KINDS, Entry, Problem
from flowtime.registry.reader import Reader
from flowtime.registry.view import View
from flowtime.wanted import still_wanted

_WAL_LIMIT = 32 * 1024 * 1024
_PAGES = 64 * 1024
"""KiB of the file that are kept in memory; with less, a rebuild of 100,000 artifacts waits for the disk."""
_READERS = 8
"""Threads that read at once; the framework has 40, and a memory for pages belongs to each connection."""
_PAGES_OF_READERS = 8 * 1024
_STEPS = 20_000
"""Instructions of the database, some 1 ms, after which a question asks whether it is still wanted."""

_Identity = tuple[int, int] | None
"""Which file lies under a name; None where there is none."""


class DamagedIndex(Exception):
    """The file is no index, of another version, cut off, or on a disk that refuses; discard it."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that its writer has announced and not yet reported as done.

    `stamp` is that of the folder above before the change, `since` when it was first seen, in seconds of this
    machine's monotonic clock, `seen` a hash of what the artifact was when it was last looked at.
    """

    token: str
    path: str
    stamp: int | None
    since: float
    seen: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """How far the index has followed storage.

    `generation` is another number after each beginning anew, `registry` whose index it is, `marks` one per
    watched key, `position` that in the log; `stamps` are those of the folders whose every change up to
    then is known.
    """

    generation: str
    registry: str
    position: str
    marks: tuple[str, ...] = ()
    stamps: tuple[tuple[str, int], ...] = ()
    pending: tuple[Pending, ...] = ()


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A rebuilt index: how many artifacts it holds, how long it took, and what it could not take in.

    `broken` are artifacts whose catalog cannot be read, `foreign` folders and files that are no artifacts,
    each with its `path` and the `reason`.
    """

    artifacts: int
    seconds: float
    broken: list[JSON]
    foreign: list[JSON]


class Index:
    """One SQLite file, or memory where the file's folder cannot be written. Threads that write take turns;
    those that ask a file read side by side, up to so many as have a connection of their own.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._turn = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._looked: tuple[str, str] | None = None
        self._identity: _Identity = None
        self._readers = _Readers()

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        with self._turn:
            self._readers.close()
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def discard(self) -> None:
        """Deletes the file; where that or opening a new one is not possible, memory takes its place."""
        with self._turn:
            self.close()
            if self.path is None:
                return
            try:
                for suffix in ("", "-wal", "-shm"):
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
                with self._use():
                    pass
            except (OSError, DamagedIndex):
                self.use_memory()

    def use_memory(self) -> None:
        """Goes on in memory, empty."""
        with self._turn:
            self.close()
            self.path = None

    def state(self) -> State | None:
        """How far the index has got, or None where nothing was begun."""
        with self._reading() as connection:
            return _state(connection)

    @contextmanager
    def snapshot(self, reader: Reader | None) -> Iterator[tuple[State | None, View]]:
        """The state at one moment, and what the reader sees at that moment while the block lasts.

        A statement ends early where nobody waits for it any more, with the error of `still_wanted`.
        """
        with self._reading() as connection, _interruptible(connection):
            connection.execute("BEGIN")
            try:
                yield (
                    _state(connection),
                    View(lambda query, values: connection.execute(query, values).fetchall(), reader),
                )
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    def begin(self, after: State | None, registry: str, position: str, pending: Sequence[Pending]) -> State:
        """Empties the index for what is to be read anew, unless another process has done so since `after`.

        Returns the state to go on from; its marks are empty: all is still to be looked at.
        """
        with self._writing() as connection:
            state = _state(connection)
            if state is not None and (after is None or state.generation != after.generation):
                return state
            tables.create(connection)
            state = State(os.urandom(8).hex(), registry, position, pending=tuple(pending))
            _set_state(connection, state)
            return state

    def apply(
        self,
        before: State,
        entries: Iterable[Entry] = (),
        gone: Iterable[str] = (),
        problems: Iterable[Problem] = (),
        *,
        stamps: Iterable[Stamp] = (),
        after: State | None = None,
    ) -> bool:
        """Takes in what was read from storage and notes the state after it, in one transaction.

        False, with everything as it was, where another process got ahead of the state `before`: what it
        took in may be newer than what was read here.
        """
        with self._writing() as connection:
            if _state(connection) != before:
                return False
            for path in gone:
                tables.drop(connection, path)
            for problem in problems:
                tables.drop(connection, problem.path)
                connection.execute(
                    "INSERT INTO problems VALUES (?, ?, ?)", (problem.path, problem.reason, int(problem.ours))
                )
            for entry in entries:
                tables.drop(connection, entry.path)
                tables.add(connection, entry)
            connection.executemany("INSERT OR REPLACE INTO stamps VALUES (?, ?, ?)", stamps)
            if after is not None:
                _set_state(connection, after)
        self._checkpoint()
        return True

    def paths(self, folder: str) -> set[str]:
        """The paths under a folder that the index holds."""
        with self._use() as connection:
            rows = connection.execute("SELECT id FROM artifacts WHERE kind = ?", (KINDS[folder],)).fetchall()
        return {f"{folder}/{row[0]}" for row in rows}

    def problems(self, folder: str = "") -> list[Problem]:
        """What lies under a folder, or anywhere, and is not in the index, and why."""
        with self._use() as connection:
            rows = connection.execute(
                "SELECT path, reason, ours FROM problems WHERE path > ? AND path < ? ORDER BY path",
                _under(folder),
            ).fetchall()
        return [Problem(path, reason, bool(ours)) for path, reason, ours in rows]

    def stamps(self, limit: int) -> list[Stamp]:
        """The stamps of what the index holds: all, or the next `limit` of them on a round over all."""
        columns = "SELECT path, key, stamp FROM stamps"
        with self._reading() as connection:
            if self._looked is None:
                [count] = connection.execute("SELECT count(*) FROM stamps").fetchone()
                begin = int.from_bytes(os.urandom(4)) % count if count > limit else 0
                self._looked = connection.execute(
                    "SELECT path, key FROM stamps ORDER BY path, key LIMIT 1 OFFSET ?", (begin,)
                ).fetchone() or ("", "")
            found = connection.execute(
                f"{columns} WHERE (path, key) > (?, ?) ORDER BY path, key LIMIT ?", (*self._looked, limit)
            ).fetchall()
            if len(found) < limit:
                found += connection.execute(
                    f"{columns} WHERE (path, key) <= (?, ?) ORDER BY path, key LIMIT ?",
                    (*self._looked, limit - len(found)),
                ).fetchall()
        if len(found) == limit:
            self._looked = found[-1][:2]
        return found

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._turn, _translated(self.path):
            if self._connection is None:
                self._connection = _connect(self.path)
                self._identity = _identity(self.path)
            yield self._connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _translated(self.path), self._readers.one(self._own_file) as connection:
            if connection is not None:
                yield connection
                return
        with self._use() as connection:
            yield connection

    def _own_file(self) -> Path | None:
        """The path where the file in use can be opened again: not that of memory, nor of a file that lies
        there no more, whose last hold is the connection that writes.
        """
        if self._connection is None and self.path is not None:
            with self._use():
                pass
        path, identity = self.path, self._identity
        return path if identity is not None and identity == _identity(path) else None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        # Immediate: a transaction that begins by reading cannot wait for its turn to write.
        with self._use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _checkpoint(self) -> None:
        if self.path is None:
            return
        try:
            size = self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return
        if size > _WAL_LIMIT:
            with self._use() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _Readers:
    """Connections of threads that read one file."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(_READERS)
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closings = 0

    @contextmanager
    def one(self, file: Callable[[], Path | None]) -> Iterator[sqlite3.Connection | None]:
        """A connection that nobody else uses within the block; None where there is no file to open."""
        with self._places:
            with self._lock:
                closings = self._closings
                connection = self._idle.pop() if self._idle else None
            if connection is None and (path := file()) is not None:
                connection = _connect(path, _PAGES_OF_READERS)
                if file() != path:  # it was replaced meanwhile
                    connection.close()
                    connection = None
            try:
                yield connection
            finally:
                with self._lock:
                    if connection is not None and closings == self._closings:
                        self._idle.append(connection)
                    elif connection is not None:
                        connection.close()

    def close(self) -> None:
        """Closes all, those in use when they come back."""
        with self._lock:
            self._closings += 1
            while self._idle:
                self._idle.pop().close()


def _identity(path: Path | None) -> _Identity:
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


@contextmanager
def _translated(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_INTERRUPT:
            still_wanted()
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Unavailable(
                "FT512",
                "another process kept the index busy for 10 seconds",
                where=str(path),
                hint="try again; the file is only a cache and may be deleted",
            ) from error
        raise DamagedIndex(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise DamagedIndex(str(error)) from error


@contextmanager
def _interruptible(connection: sqlite3.Connection) -> Iterator[None]:
    # An exception in the handler interrupts the statement; `_translated` raises it again.
    connection.set_progress_handler(still_wanted, _STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


def _connect(path: Path | None, pages: int = _PAGES) -> sqlite3.Connection:
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # For this user alone, as are the files that SQLite puts beside it: what it holds is private, too.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise sqlite3.DatabaseError(str(error)) from error
    connection = sqlite3.connect(
        ":memory:" if path is None else path, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA cache_size = -{pages}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        tables.prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _state(connection: sqlite3.Connection) -> State | None:
    row = connection.execute("SELECT state FROM state").fetchone()
    if row is None:
        return None
    try:
        generation, registry, position, marks, stamps, pending = json.loads(row[0])
    except (TypeError, ValueError) as error:
        # Of a file that was cut off, the database may read a page of zeros as a row.
        raise sqlite3.DatabaseError(str(error)) from error
    return State(
        generation,
        registry,
        position,
        tuple(marks),
        tuple((folder, stamp) for folder, stamp in stamps),
        tuple(Pending(*each) for each in pending),
    )


def _set_state(connection: sqlite3.Connection, state: State) -> None:
    connection.execute("DELETE FROM state")
    connection.execute("INSERT INTO state VALUES (?)", (json.dumps(astuple(state)),))


def _under(folder: str) -> tuple[str, str]:
    return (f"{folder}/", f"{folder}0") if folder else ("", "\U0010ffff")
