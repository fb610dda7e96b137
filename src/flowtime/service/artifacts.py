"""Use cases of every kind of artifact: find, show, label, delete, and the index over them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import BinaryIO, Unpack

from flowtime.errors import Conflict, NotFound
from flowtime.registry import Query
from flowtime.registry.document import FOLDERS, JSON
from flowtime.registry.query import MAX_SIZE, condition
from flowtime.service.opened import Opened
from flowtime.service.options import Edits, Finds, hold_known
from flowtime.wording import action, option


class Artifacts(Opened):
    """What can be done with any artifact."""

    def find(self, *, where: Iterable[str] = (), **query: Unpack[Finds]) -> JSON:
        """A page of artifacts: `{artifacts, total, page, size}`. Takes the fields of a Query; `where` are
        texts such as `peak_wait <= 10`.
        """
        hold_known("find", query, Finds)
        return self.registry.find(Query(where=tuple(map(condition, where)), **query)).to_json()

    @staticmethod
    def check_figures(where: Iterable[str], columns: Iterable[str] = ()) -> None:
        """Raises InvalidInput (FT504) where `find` does not take these conditions and columns."""
        Query(where=tuple(map(condition, where)), columns=tuple(columns))

    def ids(self, prefix: str, kinds: tuple[str, ...] = (), limit: int = 200) -> list[str]:
        """The ids of the kinds, all of them without one, that begin with `prefix`, in order."""
        return self.registry.ids(prefix, kinds or tuple(FOLDERS), limit)

    def trash(self) -> JSON:
        """What is in the trash, newest first: `{artifacts, total, page, size}`, all on one page."""
        found = self.registry.trash()
        return {"artifacts": found, "total": len(found), "page": 1, "size": len(found)}

    def show(self, reference: str) -> JSON:
        """An artifact's catalog, with its lineage, the paths of its files, and its folder."""
        notes: list[str] = []
        return self._shown(self.registry.resolve(reference, tell=notes.append), notes)

    def lineage(self, id: str) -> JSON:
        """What an artifact with this full id was made from and what was made from it; `ID@v2` means what was
        made from that version.
        """
        return self.registry.lineage(id)

    def dependants(self, id: str) -> list[JSON]:
        """What was made from the artifact with this full id, near ones first, and is still there."""
        return self.registry.dependants(id)

    def may_change(self, id: str) -> bool:
        """Whether the user may change or delete the artifact with this full id."""
        return self.registry.may_change(id)

    def stamp(self, id: str) -> str:
        """A text that changes with every edit of the artifact with this full id."""
        return self.registry.stamp(id)

    def file(self, reference: str, name: str) -> tuple[BinaryIO, JSON]:
        """A file of an artifact as an open stream, and its `{name, bytes, sha256}`."""
        id = self.registry.resolve(reference)
        contents = {content["name"]: content for content in self.registry.catalog(id)["contents"]}
        stream = self.registry.stream(id, name)
        if name in contents:
            return stream, contents[name]
        size = stream.seek(0, 2)
        stream.seek(0)
        return stream, {"name": name, "bytes": size, "sha256": None}

    def newest(self, kind: str) -> str:
        """The id of the newest artifact of a kind; raises NotFound (FT501) where there is none."""
        found = self.find(kinds=(kind,), size=1)["artifacts"]
        if not found:
            raise NotFound("FT501", f"there is no {kind} yet", hint=f"{action('run')} makes one")
        return str(found[0]["id"])

    def link(self, reference: str) -> JSON:
        """The address of an artifact's page: `{id, url, notes}`."""
        notes: list[str] = []
        id = self.registry.resolve(reference, tell=notes.append)
        return {"id": id, "url": f"{self.settings.server}/artifacts/{id}", "notes": notes}

    def edit(
        self,
        reference: str,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        *,
        seen: str | None = None,
        **fields: Unpack[Edits],
    ) -> JSON:
        """Changes name, description, owner, team, visibility, star or tags; shows the artifact.

        Raises Denied (FT829), Conflict (FT823) where its stamp is not `seen` any more.
        """
        hold_known("edit", fields, Edits)
        notes: list[str] = []
        id = self.registry.resolve(reference, tell=notes.append)
        self.registry.edit(id, add, remove, seen=seen, **fields)
        return self._shown(id, notes)

    def edit_all(
        self, changes: Edits, *, tags: tuple[tuple[str, ...], ...] = (), owner: str | None = None
    ) -> JSON:
        """Changes every artifact with these tags, of this owner: `{artifacts, total, page, size}`, all on one
        page. Nothing changes where one of them cannot be changed so.

        Raises NotFound (FT501) where there is none, Denied (FT829), InvalidInput (FT508).
        """
        ids: list[str] = []
        for page in itertools.count(1):
            found = self.find(tags=tags, owner=owner, size=MAX_SIZE, page=page)["artifacts"]
            ids += [item["id"] for item in found]
            if len(found) < MAX_SIZE:
                break
        if not ids:
            raise NotFound("FT501", "no artifact is meant", hint=f"{action('list')} shows what is there")
        for id in ids:
            self.registry.check_edit(id, changes)
        shown = [self.edit(id, **changes) for id in ids]
        return {"artifacts": shown, "total": len(shown), "page": 1, "size": len(shown)}

    def hidden(self) -> tuple[int, int]:
        """How many artifacts only their owners may read, and how many there are."""
        return self.registry.hidden()

    def delete(self, reference: str, *, confirm: bool, force: bool = False) -> JSON:
        """Moves an artifact to the trash: `{id, deleted, dependants}`. Takes a full id, or a name that only
        one artifact has.

        Raises NotFound (FT501) on the beginning of an id, InvalidInput (FT503) where several have the name,
        (FT502) for one version of a model, and Conflict: FT802 without `confirm`, FT505 where others were
        made from it and not `force`.
        """
        id = self.registry.the_one(reference)
        dependants = [child["id"] for child in self.registry.dependants(id)]
        if not confirm:
            used = f"; made from it: {', '.join(dependants)}" if dependants else ""
            hint = f"confirm it: {option('confirm', True)}"
            if dependants:
                hint += f" {option('force', True)}"
            raise Conflict("FT802", f"{id} would go to the trash{used}", hint=hint)
        self.registry.delete(id, force=force)
        return {"id": id, "deleted": True, "dependants": dependants}

    def restore(self, reference: str) -> JSON:
        """Brings an artifact back from the trash, by its full id or a name that means one; returns its
        catalog.
        """
        return self._shown(self.registry.restore(reference))

    def purge(self, id: str | None, *, confirm: bool) -> JSON:
        """Removes one artifact, or everything, from the trash for good: `{purged}`.

        Raises Conflict (FT802) without `confirm`.
        """
        waiting = [item["id"] for item in self.registry.trash() if id in (None, item["id"])]
        if not confirm and (waiting or id is not None):
            what = ", ".join(waiting) or "nothing"
            raise Conflict(
                "FT802", f"{what} would be removed for good", hint=f"confirm it: {option('confirm', True)}"
            )
        return {"purged": self.registry.purge(id)}

    def rebuild_index(self) -> JSON:
        """Makes the index anew: `{artifacts, seconds, broken, foreign}`."""
        rebuilt = self.registry.rebuild(self.progress)
        return {name: getattr(rebuilt, name) for name in ("artifacts", "seconds", "broken", "foreign")}

    def verify_index(self) -> JSON:
        """Every artifact hashed again: `{artifacts, files, bytes, seconds, ok, findings}`."""
        from flowtime.registry.verify import verify

        return verify(self.registry, self.progress).to_json()

    def registry_id(self) -> str | None:
        """The UUID of the registry, None where nothing was published yet."""
        return self.registry.artifacts.registry_id() or None

    def index_status(self) -> JSON:
        """The registry and its index in numbers, and what storage holds that cannot be read."""
        return self.registry.status()
