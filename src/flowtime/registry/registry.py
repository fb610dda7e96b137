"""The registry: every artifact under one root, found by id, name or search, changed and deleted safely."""

from __future__ import annotations

import copy
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

from flowtime.core.labels import normal
from flowtime.errors import Conflict, Denied, InvalidInput, NotFound, Unavailable
from flowtime.registry import document as documents
from flowtime.registry import removal
from flowtime.registry.artifacts import (
    FORMAT,
    OURS,
    TRASH,
    Artifacts,
    artifact_of,
    first_of,
    split_version,
    versioned,
)
from flowtime.registry.checked import Checked
from flowtime.registry.document import ACCESS, CATALOG, FOLDERS, JSON, Kind, Problem
from flowtime.registry.follower import Follower, Progress, is_like_an_id
from flowtime.registry.index import Index, Rebuilt
from flowtime.registry.publication import Staging
from flowtime.registry.query import Page, Query
from flowtime.registry.reader import Reader
from flowtime.registry.resolution import LISTED, Tell, of_version, resolve
from flowtime.registry.trash import Trash
from flowtime.registry.view import View
from flowtime.settings import cache_folder
from flowtime.storage import Store, open_store
from flowtime.wording import action

_T = TypeVar("_T")

_ABANDONED = 24 * 3600.0
"""Seconds after which an unfinished publication counts as abandoned."""


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


class Registry:
    """Every artifact under one root. Threads may share one; processes share the root."""

    def __init__(
        self,
        store: Store,
        index: Path | None,
        *,
        clock: Callable[[], datetime] = now,
        progress: Progress | None = None,
    ) -> None:
        """`index` is the file of the index, None for one in memory."""
        self.store = store
        self._index = Index(index)
        self.artifacts = Artifacts(store, clock)
        self._follower = Follower(self.artifacts, self._index, progress)
        self._reader: Reader | None = None
        self._checked = Checked()

    @classmethod
    def open(
        cls,
        root: str | os.PathLike[str],
        *,
        cache_dir: Path | None = None,
        clock: Callable[[], datetime] = now,
        progress: Progress | None = None,
    ) -> Registry:
        """The registry at a folder or URL, which need not exist; nothing there is read or written yet.

        The index lies in `cache_dir`, by default the user's cache folder, or in memory where that cannot
        be written. `progress` is told of the reading that a missing or outdated index makes necessary.
        Raises InvalidInput (FT602).
        """
        store = open_store(root)
        folder = cache_folder() if cache_dir is None else cache_dir
        key = hashlib.sha256(store.url.encode()).hexdigest()[:16]
        return cls(store, folder / f"index-{key}.sqlite", clock=clock, progress=progress)

    def seen_by(self, reader: Reader | None) -> Registry:
        """The same registry as this reader sees it; None, as at first, is the user of an embedded registry.

        What the reader may not read is as if it were not there: it is not listed, counted, found, named
        as a relative, suggested, recognised, changed or deleted. What the reader may read and not change
        raises Denied (FT829) on every change. What is published without a team gets the reader's first one.
        """
        other = copy.copy(self)
        vars(other).update(_reader=reader, _follower=self._follower.seen_by(reader))
        return other

    def exists(self) -> bool:
        """Whether anything of a registry is at the address; the first publication makes one."""
        return self.artifacts.exist()

    def place(self) -> str | None:
        """The address as a person finds it; None for a reader who may not read everything."""
        return self.store.location("") if self._sees_all() else None

    def hold_existing(self) -> None:
        """Raises NotFound (FT513) where there is no registry at the address."""
        if not self.exists():
            where = f" at {place}" if (place := self.place()) else ""
            hint = "the first model, run or import makes it; or name another address"
            raise NotFound("FT513", f"there is no registry{where}", hint=hint)

    def close(self) -> None:
        """Lets go of the index; the registry may still be used."""
        self._follower.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def stage(self, kind: Kind, room: int = 0) -> Iterator[Staging]:
        """A folder with `room` for an artifact's files; what is not published is gone when the block ends."""
        self.artifacts.registry_id()
        for prefix in self.store.sweep(_ABANDONED, f"{TRASH}/staging"):
            with self.artifacts.changing("sweep", artifact_of(prefix), hint=True):
                pass
        with self.store.stage(room) as folder:
            yield Staging(self.artifacts, self._follower, self._reader, kind, folder)

    # Finding

    def find(self, query: Query) -> Page:
        """The artifacts that the query asks for, models with their newest version, and their exact number."""
        rows, total = self._follower.ask(lambda view: view.find(query), closely=True)
        unknown = any(all(row["columns"][name] is None for row in rows) for name in query.columns)
        hint = self._follower.ask(lambda view: view.nearest(query)) if unknown or not total else None
        return Page([self._item(row) for row in rows], total, query.page, query.size, hint)

    def item(self, id: str) -> JSON:
        """What a list shows of the artifact with this full id; raises NotFound (FT501)."""
        row = self._follower.ask(lambda view: view.get(id))
        if row is None:
            raise self._unknown(id)
        return self._item(row)

    def resolve(
        self, reference: str, kinds: Sequence[str] = tuple(FOLDERS), tell: Tell = lambda _: None
    ) -> str:
        """The id that a person means: a full id; else the artifact of one of the kinds with exactly this
        name; else the one id that begins so. `@v2` after one of these keeps to that version of a model,
        where nothing has exactly this name.

        Of several runs or telemetry of one name it is the newest, and `tell` hears of the choice. Raises
        NotFound (FT501) with a suggestion, InvalidInput (FT503) with the candidates where several models
        have the name or several ids begin so, InvalidInput (FT507) where the id or name is of another kind,
        Unavailable (FT510) where its catalog cannot be read.
        """
        try:
            id, version = self._follower.ask(
                lambda view: resolve(view, reference, kinds, self.artifacts, tell),
                closely=not is_like_an_id(reference),
            )
        except NotFound:
            self._tell_why_not(split_version(reference)[0])
            raise
        return id if version is None else of_version(id, version, self.artifacts.versions(f"models/{id}"))

    def the_one(self, reference: str) -> str:
        """The full id of what is to go: the id itself, or that of the only artifact with exactly this name.

        Raises NotFound (FT501), InvalidInput: FT502 for one version of a model, FT503 with the candidates
        where several have the name.
        """
        id = self._follower.ask(lambda view: removal.meant(view, reference))
        return removal.refuse(reference, self.resolve(reference)) if id is None else id

    def is_named(self, name: str) -> bool:
        """Whether an artifact has exactly this name."""
        return bool(self._follower.ask(lambda view: view.named(name, tuple(FOLDERS), 1)))

    def namesakes(self, name: str) -> list[str]:
        """The ids of the newest models of this name."""
        return [row["id"] for row in self._follower.ask(lambda view: view.named(name, ("model",), LISTED))]

    def ids(self, prefix: str, kinds: Sequence[str], limit: int) -> list[str]:
        """The ids of the kinds that begin with `prefix`, in order."""
        return self._follower.ask(lambda view: view.beginning(prefix, kinds, limit))

    def find_digest(self, digest: str) -> list[str]:
        """The ids of the runs, or else of the telemetry, whose table has this digest, newest first."""
        return self._follower.ask(lambda view: view.with_digest(digest))

    # One artifact. An id is a full one; of a model it means the newest version, or `ID@v2` that one.

    def catalog(self, id: str) -> JSON:
        """The catalog as it is in storage, with what lies in `details.json`.

        Raises NotFound (FT501), InvalidInput (FT502), Unavailable (FT510) where it cannot be read.
        """
        prefix = self._prefix(id)
        try:
            catalog = self.artifacts.catalog(prefix)
        except NotFound as error:
            raise self._unknown(id) from error
        try:
            documents.hold(catalog)
        except ValueError as error:
            raise self.artifacts.unreadable(f"{prefix}/{CATALOG}", error) from error
        return catalog

    def folder(self, id: str) -> str:
        """Where the artifact's files lie, as a path or URL; raises NotFound (FT501)."""
        return self.store.location(self._prefix(id))

    def stream(self, id: str, name: str) -> BinaryIO:
        """A stream of the artifact's file `name`, which is what was published.

        Raises NotFound (FT501, FT509), Unavailable (FT805) where it is not, (FT510) where the catalog cannot
        be read.
        """
        if name == CATALOG:
            return self.unchecked(id, name)
        contents = {content["name"]: content for content in self.catalog(id)["contents"]}
        if name not in contents:
            raise _without(id, name)
        return self._checked.held(self.unchecked(id, name), id, contents[name])

    def unchecked(self, id: str, name: str) -> BinaryIO:
        """As `stream`, for who compares the hash while reading."""
        return self._file(id, name, self.store.open)

    def versions(self, id: str) -> list[int]:
        """The versions of a model, ascending; raises NotFound (FT501)."""
        found = artifact_of(self._prefix(id))
        versions = self.artifacts.versions(found)
        if not versions:
            raise self._unknown(id)
        return versions

    def lineage(self, id: str) -> JSON:
        """What the artifact was made from and what was made from it, near ones first.

        `{parents: [...], children: [...]}`, each with `id`, `kind`, `name`, `created_utc` and `depth` (1:
        directly); kind, name and time are None where the artifact is no longer there. A model stands with the
        `version` that was used or made, and its `reference` is `ID@v2`; that of others is their id. Children
        say which reference they were `made_from`. `ID@v2` means what was made from that version.
        """
        base, version = split_version(id)

        def ask(view: View) -> JSON:
            return {"parents": view.ancestors(base, version), "children": view.descendants(base, version)}

        return self._follower.ask(ask)

    def dependants(self, id: str) -> list[JSON]:
        """What was made from the artifact, directly or over others, and is still there."""
        far = reversed(self.lineage(id)["children"])
        return list({child["id"]: child for child in far}.values())[::-1]

    # Changing

    def may_change(self, id: str) -> bool:
        """Whether the reader may change or delete the artifact; raises NotFound (FT501)."""
        return self._reader is None or self._reader.may_change(self.catalog(id))

    def stamp(self, id: str) -> str:
        """A text that is another one after every change of the artifact; raises NotFound (FT501)."""
        return self._stamp(self._prefix(id))

    def _stamp(self, prefix: str) -> str:
        places = dict.fromkeys((first_of(prefix), prefix))
        try:
            catalogs = [self.store.get(f"{place}/{CATALOG}") for place in places]
        except NotFound as error:
            raise self._unknown(artifact_of(prefix).partition("/")[2]) from error
        return hashlib.sha256(b"".join(catalogs)).hexdigest()[:24]

    def edit(
        self,
        id: str,
        /,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        *,
        seen: str | None = None,
        **fields: Any,
    ) -> JSON:
        """Sets `name`, `description`, `owner`, `team`, `visibility`, `star` or `tags`, then adds and removes
        tags, keeping the order of the others; returns the catalog. Owner, team and visibility of a model are
        those of all its versions.

        Raises InvalidInput (FT508) on any other field, on these of one version, or a value that is not
        allowed, NotFound (FT501), Denied (FT829), Conflict (FT823) where the artifact's stamp is not `seen`
        any more.
        """
        self.check_edit(id, fields)
        documents.normalise(fields)
        shared = {field: value for field, value in fields.items() if field in ACCESS}
        own = {field: value for field, value in fields.items() if field not in ACCESS}
        added, removed = tuple(add), frozenset(map(normal, remove))

        def change(catalog: JSON) -> None:
            catalog.update(own)
            if added or removed:
                kept = [tag for tag in catalog.get("tags") or [] if normal(tag) not in removed]
                tags: JSON = {"tags": [*kept, *added]}
                documents.check(tags)
                documents.normalise(tags)
                catalog.update(tags)

        with self._turn(id, fields) as prefix:
            if "name" in fields:
                self._follower.hold_name(fields["name"], id)
            if seen not in (None, self._stamp(prefix)):
                raise Conflict(
                    "FT823",
                    f'"{id}" was changed by somebody else meanwhile',
                    hint="read it again and repeat the change",
                )
            if first_of(prefix) == prefix:  # one catalog holds all, and is written once
                own, shared = dict(fields), {}
            first = first_of(prefix)
            before = self.artifacts.catalog(first) if shared else {}
            others = bool(own or added or removed) or not shared
            # Whoever dies between the writes, or reads then, leaves and finds the narrower access.
            earlier, later = documents.access_steps(before, shared) if others and shared else ({}, shared)
            if earlier:
                self._change(id, first, "edit", lambda catalog: catalog.update(earlier))
            if others:
                self._change(id, prefix, "edit", change)
            if later:
                self._change(id, first, "edit", lambda catalog: catalog.update(later))
            return self.artifacts.catalog(prefix)

    def check_edit(self, id: str, fields: Mapping[str, Any]) -> None:
        """Raises what `edit` raises where these fields cannot be set so."""
        documents.check_editable(fields)
        base, version = split_version(id)
        access = [field for field in fields if field in ACCESS]
        if access and version is not None:
            raise InvalidInput(
                "FT508",
                f"{', '.join(access)} cannot be changed for one version: a model has one for all",
                hint=f"change {base}, without @v{version}",
            )
        self._hold(id, self._prefix(id), fields)
        wanted = dict(fields)
        if fields.keys() & {"team", "visibility"}:
            catalog = self.catalog(id)
            wanted = {name: catalog.get(name) for name in ("visibility", "team")} | wanted
        documents.check(wanted)

    def tag(self, id: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> JSON:
        """Adds and removes tags, keeping the order of the others, and returns the catalog."""
        return self.edit(id, add, remove)

    def record_loop(self, id: str, format: str, digest: str, time: str) -> JSON:
        """Notes that the loop through a format closed with this digest at this time (ISO 8601, UTC).

        Raises NotFound (FT501), Denied (FT829).
        """
        seen = {format: {"digest": digest, "verified_utc": time}}

        def change(catalog: JSON) -> None:
            catalog["loop"] = {**(catalog.get("loop") or {}), **seen}

        with self._turn(id) as prefix:
            self._change(id, prefix, "loop", change)
            return self.artifacts.catalog(prefix)

    @contextmanager
    def _turn(self, id: str, fields: Iterable[str] = ()) -> Iterator[str]:
        """The prefix of an artifact that nobody else changes or deletes while the block lasts.

        Raises NotFound (FT501), Denied (FT829) where the reader may not change these fields of it.
        """
        with self.store.turn(artifact_of(self._prefix(id))):
            prefix = self._prefix(id)
            self._hold(split_version(id)[0], prefix, fields)
            yield prefix

    def _change(self, id: str, prefix: str, action: str, change: Callable[[JSON], None]) -> None:
        key = f"{prefix}/{CATALOG}"

        def changed(data: bytes) -> bytes:
            catalog = self.artifacts.parse(key, data)
            before = dict(catalog)
            change(catalog)
            changes = {field: value for field, value in catalog.items() if before.get(field, ...) != value}
            documents.check(changes)
            return documents.dump(catalog) if changes else data

        try:
            with self.artifacts.changing(action, artifact_of(prefix), hint=False):
                self.store.update(key, changed)
        except NotFound as error:
            raise self._unknown(id) from error

    # Deleting

    def delete(self, id: str, *, force: bool = False) -> list[JSON]:
        """Moves an artifact, a model with all its versions, to the trash; returns what depends on it.

        Raises NotFound (FT501) on anything but a full id, Denied (FT829), Conflict (FT505) where others were
        made from it and `force` is not given. What somebody else says to be made from it does not count.
        """
        with self.store.turn(self._deletable(id)):
            path = self._deletable(id)
            dependants = self.dependants(id)
            holding = [child for child in dependants if self._holds_back(path, child)]
            if holding and not force:
                raise removal.used(id, [str(child["id"]) for child in holding])
            with self.artifacts.changing("delete", path, hint=True):
                self._trash.take(path)
        return dependants

    def _deletable(self, id: str) -> str:
        """The path of what can be deleted under an id, also a model that lost its first version."""
        try:
            prefix = self._prefix(documents.check_id(id))
        except NotFound:
            path = self.artifacts.without_first(id) if self._sees_all() else None
            if path is None:
                raise
            return path
        self._hold(id, prefix)
        return artifact_of(prefix)

    def _holds_back(self, path: str, child: JSON) -> bool:
        """Whether a child keeps its parent from being deleted; a damaged one does not."""
        if self._reader is None:
            return True
        try:
            of_child = self.artifacts.access(self._prefix(child["id"]))
            return removal.holds(self.artifacts.access(path), of_child)
        except (NotFound, Unavailable):
            return False

    @property
    def _trash(self) -> Trash:
        return Trash(self.artifacts, self._reader)

    def trash(self) -> list[JSON]:
        """What is in the trash, newest first: the fields of a list; of what has no readable catalog only
        id and kind.
        """
        return self._trash.items()

    def restore(self, reference: str) -> str:
        """Brings back what of the reader's was last deleted under a full id, or the only thing in the trash
        with exactly this name, and returns the id.

        Raises NotFound (FT501) where the trash has neither, InvalidInput (FT503) where it has several of the
        name, Denied (FT829), Conflict (FT506) where the id is in use.
        """
        try:
            return self._trash.restore(reference)
        except NotFound:
            self.hold_existing()
            raise

    def purge(self, id: str | None = None) -> list[str]:
        """Removes one full id, or everything, as far as the reader may change it, from the trash for good;
        returns the ids. What is deleted meanwhile stays.

        Raises NotFound (FT501) where the trash has no such id, Denied (FT829).
        """
        try:
            return self._trash.purge(id)
        except NotFound:
            self.hold_existing()
            raise

    # The index

    def rebuild(self, progress: Progress | None = None) -> Rebuilt:
        """Makes the index anew from the catalogs in storage; raises Denied (FT829) for all but an admin."""
        self.hold_all()
        began = time.perf_counter()
        self._follower.begin_anew(progress)
        return Rebuilt(
            artifacts=sum(self._follower.ask(View.counts).values()),
            seconds=time.perf_counter() - began,
            **_by_origin(self._follower.problems()),
        )

    def hold_all(self) -> None:
        """Raises Denied (FT829) unless the reader may read and change everything."""
        if not self._sees_all():
            raise Denied("FT829", "this takes in what belongs to others", hint="ask an admin to do it")

    def status(self) -> JSON:
        """The registry and its index in numbers, and what the index could not take in, looked at again;
        the latter, and where things lie, only for those who may read everything.
        """
        everything = self._sees_all()
        problems = self._follower.problems() if everything else []
        counts = self._follower.ask(View.counts)
        return {
            "root": self.place(),
            "registry": self.artifacts.registry_id() or None,
            "format": FORMAT,
            "index": str(self._index.path) if everything and self._index.path is not None else None,
            "artifacts": {kind: counts.get(kind, 0) for kind in FOLDERS},
            "trash": len(self.trash()),
            **_by_origin([*problems, *(self._strangers() if everything else ())]),
        }

    def hidden(self) -> tuple[int, int]:
        """How many artifacts only their owners may read, and how many there are."""
        return self._follower.ask(View.hidden)

    def _strangers(self) -> Iterator[Problem]:
        """What lies at the root and is not flowtime's."""
        listing = self.store.list("")
        for name in (*listing.folders, *listing.files):
            if name not in OURS:
                yield Problem(name, "flowtime knows no such name at the root", ours=False)

    def _sees_all(self) -> bool:
        return self._reader is None or self._reader.admin

    def _hold(self, id: str, prefix: str, fields: Iterable[str] = ()) -> None:
        """Raises Denied (FT829) where the reader may not change these fields of the artifact."""
        if self._reader is not None and not self._sees_all():
            self._reader.hold(id, self.artifacts.access(prefix), fields)

    def _tell_why_not(self, id: str) -> None:
        """Raises NotFound (FT501) where the artifact is in the trash, Unavailable (FT510) where its catalog
        is there and cannot be read: only for who sees everything, for to others the time would tell of ids.
        Raises NotFound (FT513) where there is no registry.
        """
        self.hold_existing()
        if not documents.is_id(id) or not self._sees_all():
            return
        if self._trash.holds(id):
            raise NotFound("FT501", f'"{id}" is in the trash', hint=f"{action('restore', id)} brings it back")
        path = self.artifacts.path(id)
        for problem in self._follower.problems() if path is not None else ():
            if problem.path == path:
                raise self.artifacts.unreadable(path, problem.reason)

    def _unknown(self, id: str) -> NotFound:
        self.hold_existing()
        return self._follower.unknown(id)

    def _prefix(self, id: str) -> str:
        """Where the files of `ID` or `ID@v2` are, for a reader who may read them; raises NotFound (FT501).

        The index comes first, so that a hidden id is no more work than one that nobody has; then the
        catalog, for the index of a server may be older than that.
        """
        base = documents.check_id(split_version(id)[0])
        if self._sees_all():
            prefix = self.artifacts.prefix(id)
            if prefix is not None:
                return prefix
        listed = self._follower.ask(lambda view: view.get(base)) is not None
        if listed and not self._sees_all():
            prefix = self.artifacts.prefix(id)
            with suppress(NotFound):
                if prefix is not None and self._may_read(prefix):
                    return prefix
        elif listed and not self.artifacts.path(base):
            hint = f"restore them from a backup; {action('rebuild')} forgets it"
            raise NotFound("FT501", f'"{base}" is listed, but its files are gone', hint=hint)
        raise self._unknown(id)

    def _may_read(self, prefix: str) -> bool:
        return self._reader is None or self._reader.may_read(self.artifacts.access(prefix))

    def _file(self, id: str, name: str, get: Callable[[str], _T]) -> _T:
        prefix = self._prefix(id)
        try:
            return get(f"{prefix}/{name}")
        except (NotFound, InvalidInput) as error:
            if self.artifacts.prefix(id) != prefix:
                raise self._unknown(id) from error
            raise _without(id, name) from error

    def _item(self, row: JSON) -> JSON:
        folder = self.store.location(versioned(row["path"], row["version"]))
        item = {field: row[field] for field in documents.SHOWN}
        if row["version"] is not None:
            item["model_version"] = row["version"]
        if "columns" in row:
            item["columns"] = row["columns"]
        item["files"] = documents.by_role(folder, row["files"])
        return item


def _without(id: str, name: str) -> NotFound:
    hint = f"{action('show', id)} lists its files"
    return NotFound("FT509", f'"{id}" has no file {name!r}', hint=hint)


def _by_origin(problems: Iterable[Problem]) -> dict[str, list[JSON]]:
    origins: dict[str, list[JSON]] = {"broken": [], "foreign": []}
    for problem in problems:
        origins["broken" if problem.ours else "foreign"].append(problem.to_json())
    return origins
