"""The trash: deleted artifacts, each copy its owner's, to be restored or removed for good."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from flowtime.core.labels import normal
from flowtime.errors import Conflict, NotFound, Unavailable, did_you_mean
from flowtime.registry import document as documents
from flowtime.registry import removal
from flowtime.registry.artifacts import TRASH, Artifacts, versioned
from flowtime.registry.document import ACCESS, CATALOG, FOLDERS, JSON, KINDS, SHOWN
from flowtime.registry.reader import Reader
from flowtime.wording import action


@dataclass(frozen=True, slots=True)
class Copy:
    """One deletion of an artifact, the `slot`th of those in the trash.

    `catalog` is that of the newest version, empty where it cannot be read; None where the files have none,
    which is what a removal leaves that was cut short. `stamp` is another one for other catalogs.
    """

    path: str
    slot: int
    stamp: str
    catalog: JSON | None

    @property
    def prefix(self) -> str:
        """Where it lies."""
        return f"{TRASH}/{self.path}/{self.slot}"

    @property
    def id(self) -> str:
        """The id that it had."""
        return self.path.partition("/")[2]


class Trash:
    """What a reader sees of the trash: the copies that they may read; None is who may read everything.

    A copy without a readable catalog is there for those who see everything.
    """

    def __init__(self, artifacts: Artifacts, reader: Reader | None) -> None:
        self._artifacts = artifacts
        self._store = artifacts.store
        self._reader = reader
        self._all = reader is None or reader.admin

    def newest(self) -> list[Copy]:
        """The last copy of each id, those of the newest artifacts first."""
        last = {copy.path: copy for copy in self._copies()}
        found = sorted(last.values(), key=lambda copy: copy.id)
        return sorted(found, key=lambda copy: str((copy.catalog or {}).get("created_utc", "")), reverse=True)

    def items(self) -> list[JSON]:
        """The newest copies as lists show them; of one without a readable catalog only id and kind."""
        return [
            {
                **{field: value for field, value in (copy.catalog or {}).items() if field in SHOWN},
                "id": copy.id,
                "kind": KINDS[copy.path.partition("/")[0]],
            }
            for copy in self.newest()
        ]

    def take(self, path: str) -> None:
        """Moves an artifact here; the caller has the turn of its path. Raises NotFound (FT601)."""
        slot = 1
        while not self._store.move(path, f"{TRASH}/{path}/{slot}", CATALOG):
            slot += 1

    def restore(self, reference: str) -> str:
        """Brings back the last copy of an id that the reader may change, and returns the id; a name stands
        for the only id with that name.

        Raises NotFound (FT501) where there is none, InvalidInput (FT503), Denied (FT829), Conflict (FT506)
        where the id is in use.
        """
        waiting = {copy.id: (copy.catalog or {}).get("name") for copy in self.newest()}
        named = [id for id, name in waiting.items() if name == normal(reference)]
        id = removal.only(reference, named) if named and reference not in waiting else reference
        documents.check_id(id)
        for path in dict.fromkeys(copy.path for copy in self._named(id)):
            with self._store.turn(path):
                copies = [copy for copy in self._of(path) if copy.catalog is not None]
                if not copies:
                    continue
                mine = [copy for copy in copies if self._may_change(copy)]
                if self._reader is not None and not mine:
                    self._reader.hold(id, copies[-1].catalog or {})
                if self._artifacts.path(id) is not None:
                    raise _in_use(id)
                self._reunite(path, mine[-1])
                with self._artifacts.changing("restore", path, hint=True):
                    if not self._store.move(mine[-1].prefix, path, CATALOG):
                        raise _in_use(id)
                return id
        raise self.unknown(id)

    def purge(self, id: str | None = None) -> list[str]:
        """Removes the copies of an id, or all, that the reader may change, for good; returns the ids.

        What is deleted meanwhile stays. Raises NotFound (FT501), Denied (FT829).
        """
        copies = list(self._copies() if id is None else self._named(documents.check_id(id)))
        if id is not None and not copies:
            raise self.unknown(id)
        mine = [copy for copy in copies if self._may_change(copy)]
        if self._reader is not None and id is not None and not mine:
            self._reader.hold(id, copies[-1].catalog or {})
        purged = set[str]()
        for path, group in groupby(mine, key=lambda copy: copy.path):
            seen = list(group)
            with self._store.turn(path):
                there = list(self._of(path))
                doomed = [copy for copy in there if copy in seen]
                names = self._store.list(f"{TRASH}/{path}").folders
                if len(doomed) == len(names):
                    self._store.remove(f"{TRASH}/{path}", CATALOG)
                else:
                    for copy in doomed:
                        self._store.remove(copy.prefix, CATALOG)
            purged.update(copy.id for copy in doomed)
        if id is None and self._all:
            for name in self._store.list(f"{TRASH}/staging").folders:
                self._store.remove(f"{TRASH}/staging/{name}", CATALOG)
        return sorted(purged)

    def unknown(self, id: str) -> NotFound:
        """The error that an id is not in the trash."""
        hint = did_you_mean(id, [copy.id for copy in self.newest()])
        return NotFound(
            "FT501", f'"{id}" is not in the trash', hint=hint or f"{action('trash')} shows what is there"
        )

    def holds(self, id: str) -> bool:
        """Whether a copy of this id can be restored; only who sees everything may ask that of one id."""
        return self._all and any(copy.catalog is not None for copy in self._named(id))

    def _named(self, id: str) -> Iterator[Copy]:
        """The copies of an id. For who does not see everything, all of the trash is read: the time that it
        takes must not tell whether somebody else's is there.
        """
        if self._all:
            for folder in FOLDERS.values():
                yield from self._of(f"{folder}/{id}")
        else:
            yield from [copy for copy in self._copies() if copy.id == id]

    def _copies(self) -> Iterator[Copy]:
        for folder in KINDS:
            for id in self._store.list(f"{TRASH}/{folder}").folders:
                yield from self._of(f"{folder}/{id}")

    def _of(self, path: str) -> Iterator[Copy]:
        """The copies of the artifact that was at a path, the last deleted last."""
        names = self._store.list(f"{TRASH}/{path}").folders
        for slot in sorted(int(name) for name in names if name.isdecimal()):
            copy = self._copy(path, slot)
            if copy.catalog is None and not self._artifacts.anything(copy.prefix):
                continue
            if self._all or (
                copy.catalog and self._reader is not None and self._reader.may_read(copy.catalog)
            ):
                yield copy

    def _copy(self, path: str, slot: int) -> Copy:
        prefix = f"{TRASH}/{path}/{slot}"
        if path.startswith("models/"):
            versions = self._artifacts.versions(prefix)
            places = [versioned(prefix, number) for number in dict.fromkeys((*versions[:1], *versions[-1:]))]
        else:
            places = [prefix]
        stamp, catalog = hashlib.sha256(), dict[str, Any]()
        try:
            for place in places:
                data = self._store.get(f"{place}/{CATALOG}")
                stamp.update(data)
                first = {field: catalog[field] for field in ACCESS if field in catalog}
                catalog = {**documents.load(data), **first}
        except NotFound:
            places = []
        except (ValueError, Unavailable):
            catalog = {}
        return Copy(path, slot, stamp.hexdigest(), catalog if places else None)

    def _may_change(self, copy: Copy) -> bool:
        return self._all or (self._reader is not None and self._reader.may_change(copy.catalog or {}))

    def _reunite(self, path: str, copy: Copy) -> None:
        """Puts versions that came to a model while it was deleted beside those that were."""
        id = copy.id
        if self._artifacts.without_first(id) != path:
            return
        for number in self._artifacts.published(path):
            if not self._store.move(versioned(path, number), versioned(copy.prefix, number), CATALOG):
                raise _in_use(id)


def _in_use(id: str) -> Conflict:
    return Conflict("FT506", f'"{id}" is in use', hint="delete that one first")
