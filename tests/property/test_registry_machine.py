"""The registry against a plain dictionary: after any sequence of changes, crashes and rebuilds, every open
registry, in this process or another, with its own index or a shared one, shows the same."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flowtime.errors import Conflict, NotFound
from flowtime.registry import Query, Reader, Registry
from flowtime.registry.catalog import Catalog, Parent
from flowtime.storage import Store, open_store

STORES: dict[str, Callable[[Path], Store]] = {
    "local": lambda folder: open_store(folder / "artifacts"),
    "memory": lambda folder: open_store(f"memory:/{folder}"),
}
"""How to open one and the same store again and again; a store joins by a line here."""

NAMES = ("alpha", "beta-max", "Größe")
WORDS = {"al": "alpha", "beta-m": "beta-max", "max": "beta-max", "grosse": None, "gro": "Größe"}
TAGS = ("red", "green", "blue")
OWNERS = ("ann", "ben")
TEAMS = ("x-team", None)
VISIBILITIES = ("private", "team", "public")


def allowed(team: str | None) -> tuple[str, ...]:
    """What an artifact of this team, or of none, can be."""
    return tuple(each for each in VISIBILITIES if team is not None or each != "team")


READERS = (None, Reader("ann"), Reader("ben", ("x-team",)), Reader("", ()), Reader("root", admin=True))
KINDS = ("model", "run", "telemetry")
EXAMPLES = 200 if os.environ.get("FLOWTIME_TEST_ALL") == "1" else 40


class DiedError(BaseException):
    """A process was killed here."""


class Dying:
    """A store whose process is killed at the n-th moment before or after something was written."""

    def __init__(self, store: Store, moments: int) -> None:
        self._store = store
        self._left = moments

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in {"put", "put_if_absent", "update", "append", "note", "publish", "move", "remove"}:
            return found

        def dying(*arguments: Any) -> Any:
            self._moment()
            result = found(*arguments)
            self._moment()
            return result

        return dying

    def _moment(self) -> None:
        self._left -= 1
        if self._left <= 0:
            raise DiedError


@dataclass
class Plain:
    """What an artifact is."""

    kind: str
    name: str
    owner: str
    team: str | None
    visibility: str
    tags: list[str]
    parents: tuple[str, ...]
    star: bool = False
    versions: int = 0

    def shown(self) -> tuple[Any, ...]:
        return self.kind, self.name, self.owner, self.visibility, self.tags, self.star, self.versions


@dataclass
class World:
    """All that there is, and all that was deleted, by id; the last deletion of an id comes last."""

    there: dict[str, Plain] = field(default_factory=dict)
    trash: dict[str, list[Plain]] = field(default_factory=dict)

    def children(self, id: str) -> set[str]:
        found: set[str] = set()
        while True:
            more = {child for child, one in self.there.items() if {id, *found} & set(one.parents)} - found
            if not more:
                return found - {id}
            found |= more


Act = Callable[[Registry, World], None]


class Machine(RuleBasedStateMachine):
    """Registries on one store: two that share an index file, as two processes do, and one with its own."""

    open_store: Callable[[Path], Store]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="flowtime-machine-"))
        self.world = World()
        self.number = 0

    @initialize(data=st.data(), kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=6))
    def begin(self, data: st.DataObject, kinds: list[str]) -> None:
        self.registries = [self.fresh(name) for name in ("shared", "shared", "own")]
        for kind in kinds:
            self.publish(data, kind)

    def fresh(self, index: str | None, store: Any = None) -> Registry:
        path = None if index is None else self.folder / f"{index}.sqlite"
        return Registry(store or type(self).open_store(self.folder), path)

    def teardown(self) -> None:
        for registry in getattr(self, "registries", ()):
            registry.close()
        shutil.rmtree(self.folder)

    # Changes, each through one of the registries, and sometimes through one that dies meanwhile

    def change(self, data: st.DataObject, act: Act, one_by_one: bool = False) -> None:
        moment = data.draw(st.sampled_from((None, None, None, *range(1, 9))), "dies at")
        if moment is None:
            act(data.draw(st.sampled_from(self.registries), "registry"), self.world)
            return
        after = copy.deepcopy(self.world)
        index = data.draw(st.sampled_from(("shared", "own", "third")), "index")
        dying = self.fresh(index, Dying(type(self).open_store(self.folder), moment))
        with suppress(DiedError):
            act(dying, after)
        dying.close()
        truth = observed(self.fresh(None))
        if truth != expected(self.world):
            for id, shown in truth[0].items():
                if id not in after.there and id not in self.world.there:
                    # Published, but its writer died before it heard of the id.
                    after.there[id] = self.published
                    assert shown == self.published.shown()
            if one_by_one:  # a writer may die between two artifacts
                after.trash = {id: copies for id, copies in self.world.trash.items() if id in truth[1]}
            assert truth == expected(after)
            self.world = after

    def plain(self, data: st.DataObject, kind: str) -> Plain:
        return Plain(
            kind=kind,
            name=data.draw(st.sampled_from(NAMES), "name"),
            owner=data.draw(st.sampled_from(OWNERS), "owner"),
            team=(team := data.draw(st.sampled_from(TEAMS), "team")),
            visibility=data.draw(st.sampled_from(allowed(team)), "visibility"),
            tags=data.draw(st.lists(st.sampled_from(TAGS), max_size=2, unique=True), "tags"),
            parents=tuple(
                data.draw(st.lists(st.sampled_from([*self.world.there] or ["gone"]), max_size=2, unique=True))
            ),
            versions=1 if kind == "model" else 0,
        )

    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def publish(self, data: st.DataObject, kind: str) -> None:
        plain = self.published = self.plain(data, kind)
        self.number += 1

        def act(registry: Registry, world: World) -> None:
            world.there[staged(registry, plain, f"sha256:{self.number:08x}")] = plain

        self.change(data, act)

    @precondition(lambda self: any(one.kind == "model" for one in self.world.there.values()))
    @rule(data=st.data())
    def version(self, data: st.DataObject) -> None:
        models = [id for id, one in self.world.there.items() if one.kind == "model"]
        id = data.draw(st.sampled_from(models), "id")
        self.number += 1

        def act(registry: Registry, world: World) -> None:
            one = world.there[id]
            one.versions += 1
            one.star = False
            assert staged(registry, one, f"sha256:{self.number:08x}", id) == id

        self.change(data, act)

    def some(self, data: st.DataObject, ids: Any) -> str:
        # By the order in which they came to be: ids end at random, and draws must not depend on that.
        return data.draw(st.sampled_from([*dict.fromkeys(ids)] or ["none_00000000"]), "id")

    @precondition(lambda self: self.world.there)
    @rule(data=st.data(), add=st.sets(st.sampled_from(TAGS)), remove=st.sets(st.sampled_from(TAGS)))
    def tag(self, data: st.DataObject, add: set[str], remove: set[str]) -> None:
        id = self.some(data, self.world.there)

        def act(registry: Registry, world: World) -> None:
            if id not in world.there:
                with pytest.raises(NotFound):
                    registry.tag(id, sorted(add), remove)
                return
            one = world.there[id]
            one.tags = list(dict.fromkeys([tag for tag in one.tags if tag not in remove] + sorted(add)))
            assert registry.tag(id, sorted(add), remove)["tags"] == one.tags

        self.change(data, act)

    @precondition(lambda self: self.world.there)
    @rule(data=st.data(), star=st.booleans(), visibility=st.sampled_from(VISIBILITIES))
    def edit(self, data: st.DataObject, star: bool, visibility: str) -> None:
        id = self.some(data, self.world.there)

        def act(registry: Registry, world: World) -> None:
            if id in world.there:
                shown = visibility if visibility in allowed(world.there[id].team) else "private"
                world.there[id].visibility = shown
                if world.there[id].versions > 1:  # its first version holds who may see it
                    registry.edit(id, visibility=shown)
                    return
                world.there[id].star = star
                registry.edit(id, star=star, visibility=shown)

        self.change(data, act)

    @precondition(lambda self: self.world.there)
    @rule(data=st.data(), force=st.booleans())
    def delete(self, data: st.DataObject, force: bool) -> None:
        id = self.some(data, self.world.there)

        def act(registry: Registry, world: World) -> None:
            if id not in world.there:
                with pytest.raises(NotFound):
                    registry.delete(id, force=force)
            elif world.children(id) and not force:
                with pytest.raises(Conflict) as caught:
                    registry.delete(id)
                assert caught.value.code == "FT505"
            else:
                children = world.children(id)
                world.trash.setdefault(id, []).append(world.there.pop(id))
                assert {each["id"] for each in registry.delete(id, force=force)} == children

        self.change(data, act)

    @precondition(lambda self: self.world.trash)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        id = self.some(data, [*self.world.trash, *self.world.there])

        def act(registry: Registry, world: World) -> None:
            if id not in world.trash:
                with pytest.raises(NotFound):
                    registry.restore(id)
            elif id in world.there:
                with pytest.raises(Conflict):
                    registry.restore(id)
            else:
                world.there[id] = world.trash[id].pop()
                if not world.trash[id]:
                    del world.trash[id]
                assert registry.restore(id) == id

        self.change(data, act)

    @precondition(lambda self: self.world.trash)
    @rule(data=st.data(), everything=st.booleans())
    def purge(self, data: st.DataObject, everything: bool) -> None:
        id = self.some(data, self.world.trash)

        def act(registry: Registry, world: World) -> None:
            if everything:
                ids = sorted(world.trash)
                world.trash.clear()
                assert registry.purge() == ids
            elif id in world.trash:
                del world.trash[id]
                assert registry.purge(id) == [id]

        self.change(data, act, one_by_one=everything)

    # What may happen to the index and to writers

    @rule(data=st.data())
    def rebuild(self, data: st.DataObject) -> None:
        rebuilt = data.draw(st.sampled_from(self.registries)).rebuild()
        assert rebuilt.artifacts == len(self.world.there)
        assert rebuilt.broken == rebuilt.foreign == []

    @rule(index=st.sampled_from(("shared", "own")), damage=st.sampled_from(("gone", "junk", "cut")))
    def lose_the_index(self, index: str, damage: str) -> None:
        path = self.folder / f"{index}.sqlite"
        if not path.exists():
            return
        if damage == "gone":
            path.unlink()
        elif damage == "junk":
            path.write_bytes(os.urandom(9000))
        else:
            os.truncate(path, path.stat().st_size // 2)

    @rule()
    def abandon_a_staging(self) -> None:
        with suppress(DiedError), self.registries[0].stage("run") as staging:
            (staging.path / "binned_v0.csv").write_text("half")
            raise DiedError

    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, 2))
        self.registries[place].close()
        self.registries[place] = self.fresh(("shared", "shared", "own")[place])

    # What everybody must see

    @invariant()
    def all_see_the_same(self) -> None:
        for registry in getattr(self, "registries", ()):
            assert observed(registry) == expected(self.world)

    @precondition(lambda self: self.world.there)
    @rule(
        data=st.data(),
        reader=st.sampled_from(READERS),
        kinds=st.sets(st.sampled_from(KINDS)),
        groups=st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=2, unique=True), max_size=2),
        owner=st.sampled_from((None, *OWNERS)),
        word=st.sampled_from((None, *WORDS)),
        starred=st.booleans(),
    )
    def ask(
        self,
        data: st.DataObject,
        reader: Reader | None,
        kinds: set[str],
        groups: list[list[str]],
        owner: str | None,
        word: str | None,
        starred: bool,
    ) -> None:
        def matches(one: Plain) -> bool:
            return (
                (reader is None or reader.may_read(vars(one)))
                and (not kinds or one.kind in kinds)
                and all(set(group) & set(one.tags) for group in groups)
                and owner in (None, one.owner)
                and (word is None or WORDS[word] == one.name)
                and (one.star or not starred)
            )

        registry = data.draw(st.sampled_from(self.registries)).seen_by(reader)
        wanted = {id for id, one in self.world.there.items() if matches(one)}
        filters: dict[str, Any] = {
            "kinds": tuple(kinds),
            "tags": tuple(map(tuple, groups)),
            "owner": owner,
            "text": word,
            "starred": starred,
        }
        pages = [
            registry.find(Query(**filters, page=page, size=3)) for page in range(1, len(wanted) // 3 + 2)
        ]
        assert {page.total for page in pages} == {len(wanted)}
        found = [item["id"] for page in pages for item in page.artifacts]
        assert len(found) == len(wanted)
        assert set(found) == wanted
        for id, one in self.world.there.items():
            if reader is None or reader.may_read(vars(one)):
                assert registry.resolve(id) == id
            else:
                with pytest.raises(NotFound):
                    registry.catalog(id)


def staged(registry: Registry, plain: Plain, digest: str, update: str | None = None) -> str:
    with registry.stage(plain.kind) as staging:
        (staging.path / "model.yaml").write_text(digest)
        catalog = Catalog(
            kind=plain.kind,
            name=plain.name,
            owner=plain.owner,
            team=plain.team,
            visibility=plain.visibility,
            tags=plain.tags,
            parents=[Parent(id=parent) for parent in plain.parents],
            source="engine",
            engine_version="1",
            model_hash=digest,
        )
        return str(staging.publish(catalog, update=update)["id"])


def observed(registry: Registry) -> tuple[dict[str, Any], list[str]]:
    """All artifacts as the index has them, versions as storage has them, and the ids in the trash."""
    page = registry.find(Query(size=1000))
    assert page.total == len(page.artifacts)
    items = page.artifacts
    shown = ("kind", "name", "owner", "visibility", "tags", "star")
    found = {
        item["id"]: (
            *(item[name] for name in shown),
            len(registry.versions(item["id"])) if item["kind"] == "model" else 0,
        )
        for item in items
    }
    assert all(item.get("model_version", 0) == found[item["id"]][-1] for item in items)
    return found, sorted(item["id"] for item in registry.trash())


def expected(world: World) -> tuple[dict[str, Any], list[str]]:
    return {id: one.shown() for id, one in world.there.items()}, sorted(world.trash)


@pytest.mark.timeout(1200)  # half a minute alone; thousands of folders wait for a disk that others use
@pytest.mark.parametrize("name", [*STORES])
def test_every_registry_shows_what_a_plain_dictionary_does(name: str) -> None:
    machine = type(f"{name.title()}Machine", (Machine,), {"open_store": staticmethod(STORES[name])})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
