"""The index: a cache over the catalogs, in SQLite with full-text search; it may be deleted at any moment."""

# ruff: noqa: S608 (statements are made of the constants here; every value is bound)
from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowtime.errors import Unavailable
from flowtime.registry.document import FOLDERS, JSON, Entry, Problem, microseconds
from flowtime.registry.query import SORTS, Query

VERSION = 1
"""Version of the tables below; a file with any other is discarded."""

_FEW = 1000
_WAL_LIMIT = 32 * 1024 * 1024

_TABLES = """
CREATE TABLE state (
  generation TEXT NOT NULL,
  registry TEXT NOT NULL,
  marks TEXT NOT NULL,
  position INTEGER NOT NULL
) STRICT;
CREATE TABLE artifacts (
  number INTEGER PRIMARY KEY,
  path TEXT NOT NULL UNIQUE,
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  version INTEGER,
  name TEXT NOT NULL,
  created INTEGER NOT NULL,
  created_utc TEXT NOT NULL,
  owner TEXT NOT NULL,
  visibility TEXT NOT NULL,
  description TEXT NOT NULL,
  star INTEGER NOT NULL,
  tags TEXT NOT NULL,
  files TEXT NOT NULL,
  digest TEXT,
  model_hash TEXT,
  inputs_hash TEXT
) STRICT;
CREATE INDEX by_created ON artifacts (created DESC, id);
CREATE INDEX by_kind ON artifacts (kind, created DESC, id);
CREATE INDEX by_owner ON artifacts (owner, created DESC, id);
CREATE INDEX by_id ON artifacts (id);
CREATE INDEX by_name ON artifacts (name, created DESC);
CREATE INDEX by_digest ON artifacts (digest) WHERE digest IS NOT NULL;
CREATE INDEX by_inputs ON artifacts (inputs_hash) WHERE inputs_hash IS NOT NULL;
CREATE TABLE tags (
  tag TEXT,
  kind TEXT,
  created INTEGER,
  number INTEGER,
  PRIMARY KEY (tag, kind, created, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_number ON tags (number);
CREATE TABLE lineage (
  parent TEXT,
  child TEXT,
  number INTEGER,
  PRIMARY KEY (parent, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX lineage_by_child ON lineage (child);
CREATE INDEX lineage_by_number ON lineage (number);
CREATE TABLE problems (
  path TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  ours INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE text USING fts5 (
  name, description, tags, nodes, template, owner,
  prefix = '2 3 4', tokenize = 'unicode61 remove_diacritics 2'
);
"""
_NAMES = ("state", "artifacts", "tags", "lineage", "problems", "text")
_COLUMNS = (
    "path, id, kind, version, name, created, created_utc, owner, visibility, description, star, tags, files, "
    "digest, model_hash, inputs_hash"
)
# Weights of name, description, tags, nodes, template and owner in the ranking.
_RANK = "bm25(text, 10.0, 2.0, 5.0, 3.0, 2.0, 1.0)"


class DamagedIndex(Exception):
    """The file is no index, of another version, cut off, or on a disk that refuses; discard it."""


@dataclass(frozen=True, slots=True)
class State:
    """How far the index has followed storage: whose it is, a mark per watched key, the log position.

    `generation` is another number after each beginning anew.
    """

    generation: str
    registry: str
    marks: tuple[str, ...]
    position: int


class Index:
    """One SQLite file, or memory where the file's folder cannot be written. Threads take turns."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._turn = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        with self._turn:
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
        with self._use() as connection:
            return _state(connection)

    @contextmanager
    def snapshot(self) -> Iterator[State | None]:
        """What is read in the block is of one moment: the one of the given state."""
        with self._use() as connection:
            connection.execute("BEGIN")
            try:
                yield _state(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    def begin(self, after: State | None, registry: str, position: int) -> State:
        """Empties the index for what is to be read anew, unless another process has done so since `after`.

        Returns the state to go on from; its marks are empty: all is still to be looked at.
        """
        with self._writing() as connection:
            state = _state(connection)
            if state is not None and (after is None or state.generation != after.generation):
                return state
            _create(connection)
            state = State(os.urandom(8).hex(), registry, (), position)
            _set_state(connection, state)
            return state

    def apply(self, entries: Iterable[Entry], gone: Iterable[str], problems: Iterable[Problem]) -> None:
        """Takes in what was read from storage, in one transaction."""
        with self._writing() as connection:
            for path in gone:
                _drop(connection, path)
            for problem in problems:
                _drop(connection, problem.path)
                connection.execute(
                    "INSERT INTO problems VALUES (?, ?, ?)", (problem.path, problem.reason, int(problem.ours))
                )
            for entry in entries:
                _drop(connection, entry.path)
                _add(connection, entry)
        self._checkpoint()

    def advance(self, state: State) -> bool:
        """Notes how far the index has got; False where it was begun anew meanwhile."""
        with self._writing() as connection:
            now = _state(connection)
            if now is None or now.generation != state.generation:
                return False
            _set_state(connection, state)
            return True

    def paths(self, folder: str) -> set[str]:
        """The paths under a folder that the index holds."""
        with self._use() as connection:
            rows = connection.execute(
                "SELECT path FROM artifacts WHERE path > ? AND path < ?", _under(folder)
            ).fetchall()
        return {row[0] for row in rows}

    def problems(self, folder: str = "") -> list[Problem]:
        """What lies under a folder, or anywhere, and is not in the index, and why."""
        with self._use() as connection:
            rows = connection.execute(
                "SELECT path, reason, ours FROM problems WHERE path > ? AND path < ? ORDER BY path",
                _under(folder),
            ).fetchall()
        return [Problem(path, reason, bool(ours)) for path, reason, ours in rows]

    def counts(self) -> dict[str, int]:
        """The number of artifacts of each kind."""
        with self._use() as connection:
            return dict(connection.execute("SELECT kind, count(*) FROM artifacts GROUP BY kind").fetchall())

    def find(self, query: Query) -> tuple[list[JSON], int]:
        """The rows of the page, and the exact number on all pages."""
        count, values = _counting(query)
        with self._use() as connection:
            total = connection.execute(count, values).fetchone()[0]
            rows = connection.execute(*_paging(query, total)).fetchall()
        return [_item(row) for row in rows], total

    def get(self, id: str) -> JSON | None:
        """The row with this id."""
        return self._first("id = ?", [id])

    def named(self, name: str, kinds: Sequence[str]) -> JSON | None:
        """The newest row with exactly this name, of one of the kinds."""
        return self._first(f"name = ? AND kind IN ({_marks(kinds)})", [name, *kinds])

    def published(self, kind: str, name: str, column: str, digest: str) -> list[JSON]:
        """The rows of a kind and name with this `model_hash` or `inputs_hash`, newest first."""
        if column not in ("model_hash", "inputs_hash"):
            raise ValueError(column)
        with self._use() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM artifacts WHERE kind = ? AND name = ? AND {column} = ? "
                "ORDER BY created DESC, id",
                (kind, name, digest),
            ).fetchall()
        return [_item(row) for row in rows]

    def with_digest(self, digest: str) -> str | None:
        """The id of the newest run, else of the newest telemetry, whose table has this digest."""
        with self._use() as connection:
            row = connection.execute(
                "SELECT id FROM artifacts WHERE digest = ? "
                "ORDER BY kind = 'run' DESC, created DESC, id LIMIT 1",
                (digest,),
            ).fetchone()
        return None if row is None else str(row[0])

    def beginning(self, prefix: str, kinds: Sequence[str], limit: int) -> list[str]:
        """The ids of the kinds that begin with `prefix`, in order."""
        with self._use() as connection:
            rows = connection.execute(
                f"SELECT id FROM artifacts WHERE id >= ? AND id < ? AND kind IN ({_marks(kinds)}) "
                "ORDER BY id LIMIT ?",
                (prefix, prefix + "\U0010ffff", *kinds, limit),
            ).fetchall()
        return [row[0] for row in rows]

    def words(self, kinds: Sequence[str], limit: int) -> list[str]:
        """Names and ids of the newest artifacts, for suggestions."""
        with self._use() as connection:
            rows = connection.execute(
                f"SELECT name, id FROM artifacts WHERE kind IN ({_marks(kinds)}) "
                "ORDER BY created DESC LIMIT ?",
                (*kinds, limit),
            ).fetchall()
        return [word for row in rows for word in row]

    def ancestors(self, id: str) -> list[tuple[str, int]]:
        """What the artifact was made from, and what that was made from, with the shortest distance."""
        return self._walk(id, "parent", "child")

    def descendants(self, id: str) -> list[tuple[str, int]]:
        """What was made from the artifact, and what was made from that, with the shortest distance."""
        return self._walk(id, "child", "parent")

    def _walk(self, id: str, step: str, start: str) -> list[tuple[str, int]]:
        # The depth ends a walk through damaged catalogs that name each other as parents.
        with self._use() as connection:
            rows = connection.execute(
                f"""WITH RECURSIVE walk (id, depth) AS (
                      SELECT {step}, 1 FROM lineage WHERE {start} = ?
                      UNION SELECT lineage.{step}, depth + 1
                      FROM walk JOIN lineage ON lineage.{start} = walk.id WHERE depth < 100)
                    SELECT id, min(depth) FROM walk WHERE id != ? GROUP BY id ORDER BY 2, 1""",
                (id, id),
            ).fetchall()
        return [(row[0], row[1]) for row in rows]

    def _first(self, where: str, values: Sequence[Any]) -> JSON | None:
        with self._use() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM artifacts WHERE {where} ORDER BY created DESC, id LIMIT 1",
                values,
            ).fetchone()
        return None if row is None else _item(row)

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            try:
                if self._connection is None:
                    self._connection = _connect(self.path)
                yield self._connection
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise Unavailable(
                        "FT512",
                        "another process kept the index busy for 10 seconds",
                        where=str(self.path),
                        hint="try again; the file is only a cache and may be deleted",
                    ) from error
                raise DamagedIndex(str(error)) from error
            except sqlite3.DatabaseError as error:
                raise DamagedIndex(str(error)) from error

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


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise sqlite3.DatabaseError(str(error)) from error
    connection = sqlite3.connect(
        ":memory:" if path is None else path, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection) != VERSION:  # unless another process was faster
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise sqlite3.DatabaseError("the index is of another version")
            _create(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _create(connection: sqlite3.Connection) -> None:
    for table in _NAMES:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _TABLES.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _state(connection: sqlite3.Connection) -> State | None:
    row = connection.execute("SELECT generation, registry, marks, position FROM state").fetchone()
    return None if row is None else State(row[0], row[1], tuple(json.loads(row[2])), row[3])


def _set_state(connection: sqlite3.Connection, state: State) -> None:
    connection.execute("DELETE FROM state")
    connection.execute(
        "INSERT INTO state VALUES (?, ?, ?, ?)",
        (state.generation, state.registry, json.dumps(state.marks), state.position),
    )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _drop(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("DELETE FROM problems WHERE path = ?", (path,))
    row = connection.execute("SELECT number FROM artifacts WHERE path = ?", (path,)).fetchone()
    if row is not None:
        connection.execute("DELETE FROM artifacts WHERE number = ?", row)
        connection.execute("DELETE FROM tags WHERE number = ?", row)
        connection.execute("DELETE FROM lineage WHERE number = ?", row)
        connection.execute("DELETE FROM text WHERE rowid = ?", row)


def _add(connection: sqlite3.Connection, entry: Entry) -> None:
    number = connection.execute(
        f"INSERT INTO artifacts ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            entry.path,
            entry.id,
            entry.kind,
            entry.version,
            entry.name,
            entry.created,
            entry.created_utc,
            entry.owner,
            entry.visibility,
            entry.description,
            int(entry.star),
            json.dumps(entry.tags, ensure_ascii=False),
            json.dumps(entry.files, ensure_ascii=False),
            entry.digest,
            entry.model_hash,
            entry.inputs_hash,
        ),
    ).lastrowid
    connection.executemany(
        "INSERT INTO tags VALUES (?, ?, ?, ?)",
        [(tag, entry.kind, entry.created, number) for tag in entry.tags],
    )
    connection.executemany(
        "INSERT OR IGNORE INTO lineage VALUES (?, ?, ?)",
        [(parent, entry.id, number) for parent in entry.parents],
    )
    connection.execute(
        "INSERT INTO text (rowid, name, description, tags, nodes, template, owner) VALUES (?,?,?,?,?,?,?)",
        (
            number,
            entry.name,
            entry.description,
            " ".join(entry.tags),
            entry.nodes,
            entry.template,
            entry.owner,
        ),
    )


def _item(row: Sequence[Any]) -> JSON:
    item = dict(zip(_COLUMNS.split(", "), row, strict=True))
    item["star"] = bool(item["star"])
    item["tags"] = json.loads(item["tags"])
    item["files"] = json.loads(item["files"])
    return item


def _counting(query: Query) -> tuple[str, list[Any]]:
    """How many artifacts the query finds, asked of the smallest table that can tell."""
    others = query.owner is not None or query.starred
    if query.tags and not query.text and not others:
        group, *groups = query.tags
        number = "*" if len(group) == 1 else "DISTINCT number"
        where, values = _tagged(query, group, groups)
        return f"SELECT count({number}) FROM tags WHERE {where}", values
    if query.text and not query.tags and not others and _span(query, query.kinds) == ([], []):
        return "SELECT count(*) FROM text WHERE text MATCH ?", [_match(query.text)]
    where, values = _conditions(query)
    return f"SELECT count(*) FROM artifacts WHERE {where}", values


def _paging(query: Query, total: int) -> tuple[str, list[Any]]:
    """The rows of the page."""
    # Few hits are looked up and sorted; of many, the first are soon met on a walk in the right order.
    number = "+number" if total > _FEW else "number"
    source, order, first = "artifacts", SORTS[query.sort], []
    ranked = query.ranked and bool(query.text)
    if query.ranked and query.text:
        scores = f"SELECT rowid AS hit, {_RANK} AS score FROM text WHERE text MATCH ?"
        source, order = f"artifacts JOIN ({scores}) ON number = hit", "score, created DESC, id"
        first = [_match(query.text)]
    where, values = _conditions(query, number, text=not ranked)
    return (
        f"SELECT {_COLUMNS} FROM {source} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",
        [*first, *values, query.size, (query.page - 1) * query.size],
    )


def _conditions(query: Query, number: str = "number", *, text: bool = True) -> tuple[str, list[Any]]:
    where, values = _span(query, query.kinds)
    if query.owner is not None:
        where.append("owner = ?")
        values.append(query.owner)
    if query.starred:
        where.append("star")
    for group in query.tags:
        tagged, given = _tagged(query, group)
        where.append(f"{number} IN (SELECT number FROM tags WHERE {tagged})")
        values += given
    if query.text and text:
        where.append(f"{number} IN (SELECT rowid FROM text WHERE text MATCH ?)")
        values.append(_match(query.text))
    return " AND ".join(where) or "TRUE", values


def _tagged(
    query: Query, group: Sequence[str], groups: Iterable[Sequence[str]] = ()
) -> tuple[str, list[Any]]:
    """The rows of tags with one of the group, in the span of the query, and in all other groups."""
    span, values = _span(query, query.kinds or tuple(FOLDERS))
    where = [f"tag IN ({_marks(group)})", *span]
    values = [*group, *values]
    for other in groups:
        tagged, given = _tagged(query, other)
        where.append(f"number IN (SELECT number FROM tags WHERE {tagged})")
        values += given
    return " AND ".join(where), values


def _span(query: Query, kinds: Sequence[str]) -> tuple[list[str], list[Any]]:
    """The conditions on kind and time, which artifacts and tags both know."""
    where: list[str] = []
    values: list[Any] = []
    if kinds:
        where.append(f"kind IN ({_marks(kinds)})")
        values += kinds
    if query.since is not None:
        where.append("created >= ?")
        values.append(microseconds(query.since))
    if query.until is not None:
        where.append("created < ?")
        values.append(microseconds(query.until))
    return where, values


def _match(text: str) -> str:
    """The words of `text` in the search language of FTS5: all of them, each as a prefix."""
    words = [word.replace('"', '""') for word in text.replace("\0", " ").split()]
    found = " ".join(f'"{word}"*' for word in words if any(letter.isalnum() for letter in word))
    return found or '""'


def _under(folder: str) -> tuple[str, str]:
    return (f"{folder}/", f"{folder}0") if folder else ("", "\U0010ffff")


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
