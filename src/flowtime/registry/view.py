"""What one reader sees of the index, at one moment: every question, each with the reader's limits in it."""

# ruff: noqa: S608 (statements are made of the constants here; every value is bound)
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flowtime.core.labels import normal, searchable
from flowtime.errors import did_you_mean
from flowtime.registry.document import FOLDERS, JSON, microseconds, reference
from flowtime.registry.query import SORTS, Query
from flowtime.registry.reader import Reader

Select = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs a statement with its values and returns all rows."""

_FEW = 1_000
_COLUMNS = (
    "id, kind, name, created, owner, team, visibility, star, "
    "version, created_utc, description, tags, files, digest, inputs_hash"
)
# Weights of name, description, tags, nodes, template, owner, id and parameters in the ranking.
_RANK = "bm25(text, 10.0, 2.0, 5.0, 3.0, 2.0, 1.0, 2.0, 2.0)"

_VOCABULARY = 1_000
"""Artifacts, the newest ones, among whose words one is looked for that was misspelt."""
_WORD = re.compile(r"[^\W_]+")

_VERSIONS = {
    "id": "a.id",
    "owner": "a.owner",
    "version": "v.version",
    "created_utc": "v.created_utc",
    "model_hash": "v.model_hash",
    "document_hash": "v.document_hash",
    "source_path": "v.source_path",
}
"""What is asked of the versions of models, and where it stands."""

_FIGURE = "EXISTS (SELECT 1 FROM figures AS f WHERE f.name = ? AND f.number = a.number AND f.value {} ?)"

_Clause = tuple[str, list[Any]]
"""A condition of a statement, and its values."""


class View:
    """Questions about the artifacts that `reader` may read; None is the embedded user, who may read all.

    A row is a dict of the columns of the index; what the reader may not read is as if it were not there.
    """

    def __init__(self, select: Select, reader: Reader | None) -> None:
        self._select: Select = lambda query, values: select(query, [_storable(value) for value in values])
        self._readable = _readable(reader)

    def find(self, query: Query) -> tuple[list[JSON], int]:
        """The rows of the page, and the exact number on all pages."""
        conditions = _conditions(query)
        if self._readable is not None:
            conditions.append(self._readable)
        [(total,)] = self._select(*_counting(query, conditions))
        numbers = [row[0] for row in self._select(*_paging(query, conditions, total))]
        rows = self._select(
            f"SELECT number, {_COLUMNS} FROM artifacts JOIN items USING (number) "
            f"WHERE number IN ({_marks(numbers)})",
            numbers,
        )
        by_number = {row[0]: _row(row[1:]) for row in rows}
        if query.columns:
            for row in by_number.values():
                row["columns"] = dict.fromkeys(query.columns)
            found = self._select(
                "SELECT number, name, value FROM figures "
                f"WHERE name IN ({_marks(query.columns)}) AND number IN ({_marks(numbers)})",
                [*query.columns, *numbers],
            )
            for number, name, value in found:
                by_number[number]["columns"][name] = value
        return [by_number[number] for number in numbers], total

    def counts(self) -> dict[str, int]:
        """The number of artifacts of each kind."""
        where, values = _all_of([self._readable])
        rows = self._select(f"SELECT kind, count(*) FROM artifacts AS a WHERE {where} GROUP BY kind", values)
        return {row[0]: row[1] for row in rows}

    def hidden(self) -> tuple[int, int]:
        """How many artifacts only their owners may read, and how many there are."""
        where, values = _all_of([self._readable])
        alone = "a.visibility = 'private' OR (a.visibility = 'team' AND a.team = '')"
        [row] = self._select(f"SELECT total({alone}), count(*) FROM artifacts AS a WHERE {where}", values)
        return int(row[0]), int(row[1])

    def get(self, id: str) -> JSON | None:
        """The row with this id."""
        return next(iter(self._rows(("a.id = ?", [id]), limit=1)), None)

    def named(self, name: str, kinds: Sequence[str], limit: int) -> list[JSON]:
        """The newest rows with exactly this name, of one of the kinds, at most `limit`."""
        return self._rows(_named(name), _one_of("a.kind", kinds), limit=limit)

    def all_named(self, name: str) -> list[str]:
        """The ids of what has exactly this name, newest first."""
        return [str(row["id"]) for row in self._rows(_named(name), limit=-1)]

    def made_of(self, kind: str, name: str, inputs_hash: str) -> list[JSON]:
        """The rows of a kind and name with this `inputs_hash`, newest first."""
        same = ("items.inputs_hash = ?", [inputs_hash])
        return self._rows(_named(name), ("a.kind = ?", [kind]), same, limit=-1)

    def versions(self, name: str, **columns: str) -> list[JSON]:
        """The versions of models of this name, newest first: `id`, `owner`, `version`, `created_utc`,
        `model_hash`, `document_hash`, `source_path`. `columns` are those of them that are given.
        """
        wanted: list[_Clause] = [(f"{_VERSIONS[column]} = ?", [value]) for column, value in columns.items()]
        where, values = _all_of([("a.kind = 'model'", []), _named(name), *wanted, self._readable])
        rows = self._select(
            f"SELECT {', '.join(_VERSIONS.values())} FROM artifacts AS a JOIN versions AS v USING (number) "
            f"WHERE {where} ORDER BY v.created_utc DESC, a.id, v.version DESC",
            values,
        )
        return [dict(zip(_VERSIONS, row, strict=True)) for row in rows]

    def with_digest(self, digest: str) -> list[str]:
        """The ids of the runs, else of the telemetry, whose table has this digest, newest first."""
        rows = self._rows(("items.digest = ?", [digest]), limit=-1)
        runs = [str(row["id"]) for row in rows if row["kind"] == "run"]
        return runs or [str(row["id"]) for row in rows]

    def beginning(self, prefix: str, kinds: Sequence[str], limit: int) -> list[str]:
        """The ids of the kinds that begin with `prefix`, in order."""
        where, values = _all_of(
            [
                ("a.id >= ? AND a.id < ?", [prefix, prefix + "\U0010ffff"]),
                _one_of("a.kind", kinds),
                self._readable,
            ]
        )
        rows = self._select(
            f"SELECT id FROM artifacts AS a WHERE {where} ORDER BY id LIMIT ?", [*values, limit]
        )
        return [row[0] for row in rows]

    def words(self, kinds: Sequence[str], limit: int) -> list[str]:
        """Names and ids of the newest artifacts, for suggestions."""
        where, values = _all_of([_one_of("a.kind", kinds), self._readable])
        rows = self._select(
            f"SELECT name, id FROM artifacts AS a WHERE {where} ORDER BY created DESC LIMIT ?",
            [*values, limit],
        )
        return [word for row in rows for word in row]

    def nearest(self, query: Query) -> str | None:
        """A hint at the tag, owner or word nearest to one of the query that nothing has."""
        where, values = _all_of([self._readable])
        newest = f"(SELECT a.* FROM artifacts AS a WHERE {where} ORDER BY created DESC LIMIT {_VOCABULARY})"

        def known(statement: str) -> list[str]:
            return [text for row in self._select(statement, values) for text in row if text]

        asked = [tag for group in query.tags for tag in group]
        tags = known(f"SELECT DISTINCT tag FROM {newest} AS a JOIN tags USING (number)") if asked else []
        owners = known(f"SELECT DISTINCT owner FROM {newest}") if query.owner else []
        texts = (
            known(
                "SELECT text.name, text.tags, nodes, template, text.owner, parameters "
                f"FROM {newest} AS a JOIN text ON text.rowid = a.number"
            )
            if query.text
            else []
        )
        words = {word: None for text in texts for word in (*text.split(), *_WORD.findall(text))}
        asked_for = [*(each.name for each in query.where), *query.columns]
        figures = (
            known(f"SELECT DISTINCT f.name FROM {newest} AS a JOIN figures AS f USING (number)")
            if asked_for
            else []
        )
        hints = [
            *(did_you_mean(name, figures) for name in asked_for if name not in figures),
            *(did_you_mean(tag, tags) for tag in asked if normal(tag) not in tags),
            *(did_you_mean(owner, owners) for owner in [query.owner or ""] if normal(owner) not in owners),
            *(did_you_mean(word, words) for word in (query.text or "").split() if not _begins(word, words)),
        ]
        return next(filter(None, hints), None)

    def ancestors(self, id: str, version: int | None = None) -> list[JSON]:
        """What the artifact, or this version of it, was made from, and what that was made from.

        Near ones come first. Each has `id`, `kind`, `name`, `created_utc`, `depth` (the shortest distance)
        and, of a model, the `version`, whose time it is; `reference` names exactly that. Of what is not there
        only id and version are known,
        to who may read everything; the walk ends at it. For others, what is hidden and what is not there
        are the same: nothing.
        """
        join = "LEFT" if self._readable is None else "INNER"
        return [found for found, _ in self._walk(id, version, "parent", "child", join)]

    def descendants(self, id: str, version: int | None = None) -> list[JSON]:
        """What was made from the artifact, or from this version of it, and what was made from that, as
        `ancestors` has it; `made_from` is the id, `ID@v2` of a model, that each was made from.
        """
        walked = self._walk(id, version, "child", "parent", "INNER")
        return [{**found, "made_from": source} for found, source in walked]

    def _walk(self, id: str, version: int | None, step: str, start: str, join: str) -> list[tuple[JSON, str]]:
        # The depth ends a walk through damaged catalogs that name each other as parents.
        readable, values = _all_of([self._readable])
        rows = self._select(
            f"""WITH RECURSIVE seen AS NOT MATERIALIZED (SELECT * FROM artifacts AS a WHERE {readable}),
                walk (id, version, source, source_version, depth) AS (
                  SELECT {step}, {step}_version, {start}, {start}_version, 1
                  FROM lineage JOIN seen ON seen.id = {start}
                  WHERE {start} = ? AND (? = 0 OR {start}_version IN (0, ?))
                  UNION SELECT {step}, {step}_version, {start}, {start}_version, depth + 1
                  FROM walk JOIN seen ON seen.id = walk.id JOIN lineage ON lineage.{start} = walk.id
                  AND (walk.version = 0 OR {start}_version IN (0, walk.version))
                  WHERE depth < 100)
                SELECT walk.id, seen.kind, seen.name, coalesce(v.created_utc, items.created_utc), min(depth),
                  walk.version, source, source_version
                FROM walk {join} JOIN seen ON seen.id = walk.id LEFT JOIN items ON items.number = seen.number
                LEFT JOIN versions AS v ON v.number = seen.number AND v.version = walk.version
                WHERE walk.id != ?
                GROUP BY walk.id, walk.version ORDER BY min(depth), walk.id, walk.version""",
            [*values, id, version or 0, version or 0, id],
        )
        fields = ("id", "kind", "name", "created_utc", "depth", "version", "reference")
        return [
            (
                dict(zip(fields, (*row[:5], row[5] or None, reference(row[0], row[5])), strict=True)),
                reference(row[6], row[7]),
            )
            for row in rows
        ]

    def _rows(self, *conditions: _Clause, limit: int, order: str = "") -> list[JSON]:
        where, values = _all_of([*conditions, self._readable])
        rows = self._select(
            f"SELECT {_COLUMNS} FROM artifacts AS a JOIN items USING (number) WHERE {where} "
            f"ORDER BY {order}a.created DESC, a.id LIMIT ?",
            [*values, limit],
        )
        return [_row(row) for row in rows]


def _begins(word: str, words: Iterable[str]) -> bool:
    return any(known.casefold().startswith(word.casefold()) for known in words)


def _storable(value: Any) -> Any:
    """The value as it can be asked for: half of a surrogate pair is in no text that is stored."""
    return normal(value.encode(errors="backslashreplace").decode()) if isinstance(value, str) else value


def _row(values: Sequence[Any]) -> JSON:
    row = dict(zip(_COLUMNS.split(", "), values, strict=True))
    row["path"] = f"{FOLDERS[row['kind']]}/{row['id']}"
    row["star"] = bool(row["star"])
    row["tags"] = json.loads(row["tags"])
    row["files"] = json.loads(row["files"])
    return row


def _readable(reader: Reader | None) -> _Clause | None:
    """`Reader.may_read` as a condition; None where everything may be read."""
    if reader is None or reader.admin:
        return None
    ways: list[_Clause] = [("a.visibility = 'public'", [])]
    if reader.user:
        ways.append(("a.owner = ?", [reader.user]))
    if reader.teams:
        teams, values = _one_of("a.team", reader.teams)
        ways.append((f"(a.visibility = 'team' AND {teams})", values))
    return f"({' OR '.join(way for way, _ in ways)})", [value for _, values in ways for value in values]


def _conditions(query: Query) -> list[_Clause]:
    """What the query asks of an artifact `a` besides its text and tags."""
    conditions: list[_Clause] = list(_span(query, "a", query.kinds))
    if query.owner is not None:
        conditions.append(("a.owner = ?", [query.owner]))
    if query.starred:
        conditions.append(("a.star", []))
    conditions += [(_FIGURE.format(each.operator), [each.name, each.value]) for each in query.where]
    return conditions


def _span(query: Query, table: str, kinds: Sequence[str]) -> Iterable[_Clause]:
    """The conditions on kind and time, which artifacts and tags both know."""
    if kinds:
        yield _one_of(f"{table}.kind", kinds)
    if query.since is not None:
        yield f"{table}.created >= ?", [microseconds(query.since)]
    if query.until is not None:
        yield f"{table}.created < ?", [microseconds(query.until)]


def _counting(query: Query, conditions: Sequence[_Clause]) -> _Clause:
    """How many artifacts the query finds, asked of the smallest tables that can tell."""
    tagged = [_tagged("a", query, group) for group in query.tags]
    if query.text:
        where, values = _all_of([_matches(query.text), *conditions, *tagged])
        alone = not conditions and not tagged
        source = "text" if alone else "text CROSS JOIN artifacts AS a ON a.number = text.rowid"
        return f"SELECT count(*) FROM {source} WHERE {where}", values
    if not query.tags:
        where, values = _all_of(conditions)
        return f"SELECT count(*) FROM artifacts AS a WHERE {where}", values
    group, *groups = query.tags
    others = conditions[len(list(_span(query, "a", query.kinds))) :]
    where, values = _all_of(
        [*_with_tag(query, group), *(_tagged("t", query, other) for other in groups), *others]
    )
    source = "tags AS t CROSS JOIN artifacts AS a ON a.number = t.number" if others else "tags AS t"
    number = "*" if len(group) == 1 else "DISTINCT t.number"
    return f"SELECT count({number}) FROM {source} WHERE {where}", values


def _paging(query: Query, conditions: Sequence[_Clause], total: int) -> _Clause:
    """The numbers of the rows of the page, in order."""
    source, order, first = "artifacts AS a", SORTS[query.sort], list[_Clause]()
    tagged = [_tagged("a", query, group) for group in query.tags]
    values: list[Any] = []
    if query.text and query.ranked:
        source = (
            f"(SELECT rowid AS hit, {_RANK} AS score FROM text WHERE text MATCH ?) "
            "CROSS JOIN artifacts AS a ON a.number = hit"
        )
        values.append(_match(query.text))
        order = "score, a.created DESC, a.id"
    elif total > _FEW:
        # Of many hits, the first are soon met on a walk in the right order.
        tagged = [_is_tagged(group) for group in query.tags]
        if query.text:
            match, words = _matches(query.text)
            first.append((f"+a.number IN (SELECT rowid FROM text WHERE {match})", words))
    elif query.text:
        source = "text CROSS JOIN artifacts AS a ON a.number = text.rowid"
        first.append(_matches(query.text))
    elif query.tags:
        hits, values = _all_of(_with_tag(query, query.tags[0]))
        source = (
            f"(SELECT DISTINCT t.number AS hit FROM tags AS t WHERE {hits}) "
            "CROSS JOIN artifacts AS a ON a.number = hit"
        )
        tagged = tagged[1:]
    where, given = _all_of([*first, *tagged, *conditions])
    return (
        f"SELECT a.number FROM {source} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",
        [*values, *given, query.size, (query.page - 1) * query.size],
    )


def _tagged(table: str, query: Query, group: Sequence[str]) -> _Clause:
    """That an artifact has one of the tags, as one of all that have; the plus keeps the order of the join."""
    where, values = _all_of(_with_tag(query, group))
    return f"+{table}.number IN (SELECT t.number FROM tags AS t WHERE {where})", values


def _is_tagged(group: Sequence[str]) -> _Clause:
    """That an artifact `a` has one of the tags, looked up for itself."""
    tag, values = _one_of("t.tag", group)
    key = "t.kind = a.kind AND t.created = a.created AND t.number = a.number"
    return f"EXISTS (SELECT 1 FROM tags AS t WHERE {tag} AND {key})", values


def _with_tag(query: Query, group: Sequence[str]) -> list[_Clause]:
    """The rows of tags with one of the group, in the span of the query."""
    return [_one_of("t.tag", group), *_span(query, "t", query.kinds or tuple(FOLDERS))]


def _named(name: str) -> _Clause:
    # The index of names, which also sorts them, ignores case.
    return "a.name = ? COLLATE NOCASE AND a.name = ?", [name, name]


def _matches(text: str) -> _Clause:
    return "text MATCH ?", [_match(text)]


def _match(text: str) -> str:
    """The words of `text` in the search language of FTS5: all of them, each as a prefix unless it sets a
    parameter to a value.
    """
    words = [word.replace('"', '""') for word in searchable(text.replace("\0", " ")).split()]
    found = " ".join(
        f'"{word}"' + "*" * ("=" not in word) for word in words if any(letter.isalnum() for letter in word)
    )
    return found or '""'


def _one_of(column: str, values: Sequence[str]) -> _Clause:
    return f"{column} IN ({_marks(values)})", list(values)


def _all_of(conditions: Iterable[_Clause | None]) -> _Clause:
    given = [each for each in conditions if each is not None]
    return " AND ".join(text for text, _ in given) or "TRUE", [v for _, values in given for v in values]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
