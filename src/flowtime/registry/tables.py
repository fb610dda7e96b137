"""The tables of the index: what they are, and how an artifact stands in them."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import astuple

from flowtime.core.labels import searchable
from flowtime.registry.document import KINDS, Entry

VERSION = 6
"""Version of the tables below; a file with any other is discarded."""

# What questions walk over, count and sort is narrow; what a page shows of it is apart, in `items`.
_TABLES = """
CREATE TABLE state (
  state TEXT NOT NULL
) STRICT;
CREATE TABLE artifacts (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  created INTEGER NOT NULL,
  owner TEXT NOT NULL,
  team TEXT NOT NULL,
  visibility TEXT NOT NULL,
  star INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX by_id ON artifacts (id, kind);
CREATE INDEX by_created ON artifacts (created DESC, id);
CREATE INDEX by_kind ON artifacts (kind, created DESC, id);
CREATE INDEX by_owner ON artifacts (owner, created DESC, id);
CREATE INDEX by_name ON artifacts (name COLLATE NOCASE, id);
CREATE INDEX by_star ON artifacts (created DESC, id) WHERE star;
CREATE TABLE items (
  number INTEGER PRIMARY KEY,
  version INTEGER,
  created_utc TEXT NOT NULL,
  description TEXT NOT NULL,
  tags TEXT NOT NULL,
  files TEXT NOT NULL,
  digest TEXT,
  inputs_hash TEXT
) STRICT;
CREATE INDEX by_digest ON items (digest) WHERE digest IS NOT NULL;
CREATE INDEX by_inputs ON items (inputs_hash) WHERE inputs_hash IS NOT NULL;
CREATE TABLE tags (
  tag TEXT,
  kind TEXT,
  created INTEGER,
  number INTEGER,
  PRIMARY KEY (tag, kind, created, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_number ON tags (number);
CREATE TABLE figures (
  name TEXT,
  number INTEGER,
  value REAL NOT NULL,
  PRIMARY KEY (name, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX figures_by_number ON figures (number);
CREATE TABLE versions (
  number INTEGER,
  version INTEGER,
  created_utc TEXT NOT NULL,
  model_hash TEXT NOT NULL,
  document_hash TEXT NOT NULL,
  source_path TEXT NOT NULL,
  PRIMARY KEY (number, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE lineage (
  parent TEXT,
  parent_version INTEGER,
  child TEXT,
  child_version INTEGER,
  number INTEGER,
  PRIMARY KEY (parent, parent_version, child, child_version)
) STRICT, WITHOUT ROWID;
CREATE INDEX lineage_by_child ON lineage (child);
CREATE INDEX lineage_by_number ON lineage (number);
CREATE TABLE problems (
  path TEXT PRIMARY KEY,
  reason TEXT NOT NULL,
  ours INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE stamps (
  path TEXT,
  key TEXT,
  stamp TEXT NOT NULL,
  PRIMARY KEY (path, key)
) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE text USING fts5 (
  name, description, tags, nodes, template, owner, id, parameters,
  prefix = '2 3 4', tokenize = 'unicode61 remove_diacritics 2'
);
"""
_NAMES = (
    *("state", "artifacts", "items", "tags", "figures", "versions", "lineage", "problems", "stamps"),
    "text",
)


def prepare(connection: sqlite3.Connection) -> None:
    """Makes the tables where there are none; raises DatabaseError where they are of another version."""
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection) != VERSION:  # unless another process was faster
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise sqlite3.DatabaseError("the index is of another version")
            create(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def create(connection: sqlite3.Connection) -> None:
    """Makes all tables anew, empty."""
    for table in _NAMES:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _TABLES.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def drop(connection: sqlite3.Connection, path: str) -> None:
    """Takes what is at a path out of all tables."""
    connection.execute("DELETE FROM problems WHERE path = ?", (path,))
    connection.execute("DELETE FROM stamps WHERE path = ?", (path,))
    folder, _, id = path.partition("/")
    row = connection.execute(
        "SELECT number FROM artifacts WHERE id = ? AND kind = ?", (id, KINDS[folder])
    ).fetchone()
    if row is not None:
        connection.execute("DELETE FROM artifacts WHERE number = ?", row)
        connection.execute("DELETE FROM items WHERE number = ?", row)
        connection.execute("DELETE FROM tags WHERE number = ?", row)
        connection.execute("DELETE FROM figures WHERE number = ?", row)
        connection.execute("DELETE FROM versions WHERE number = ?", row)
        connection.execute("DELETE FROM lineage WHERE number = ?", row)
        connection.execute("DELETE FROM text WHERE rowid = ?", row)


def add(connection: sqlite3.Connection, entry: Entry) -> None:
    """Puts an artifact into all tables, where it is not yet."""
    number = connection.execute(
        "INSERT INTO artifacts (id, kind, name, created, owner, team, visibility, star) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry.id,
            entry.kind,
            entry.name,
            entry.created,
            entry.owner,
            entry.team,
            entry.visibility,
            int(entry.star),
        ),
    ).lastrowid
    connection.execute(
        "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            entry.version,
            entry.created_utc,
            entry.description,
            json.dumps(entry.tags, ensure_ascii=False),
            json.dumps(entry.files, ensure_ascii=False),
            entry.digest,
            entry.inputs_hash,
        ),
    )
    connection.executemany(
        "INSERT INTO tags VALUES (?, ?, ?, ?)",
        [(tag, entry.kind, entry.created, number) for tag in entry.tags],
    )
    connection.executemany(
        "INSERT INTO figures VALUES (?, ?, ?)", [(name, number, value) for name, value in entry.figures]
    )
    connection.executemany(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)",
        [(number, *astuple(version)) for version in entry.versions],
    )
    connection.executemany(
        "INSERT OR IGNORE INTO lineage VALUES (?, ?, ?, ?, ?)",
        [(link.parent, link.parent_version, entry.id, link.version, number) for link in entry.parents],
    )
    connection.execute(
        "INSERT INTO text (rowid, name, description, tags, nodes, template, owner, id, parameters) "
        "VALUES (?,?,?,?,?,?,?,?,?)",
        (
            number,
            *map(
                searchable,
                (
                    entry.name,
                    entry.description,
                    " ".join(entry.tags),
                    entry.nodes,
                    entry.template,
                    entry.owner,
                    entry.id,
                    entry.parameters,
                ),
            ),
        ),
    )
