"""Who may read what: hidden artifacts are as if they were not there."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.unit.test_registry_follower import Moments
from tests.worlds import publish, stored_bytes

from flowtime.errors import Conflict, Denied, InvalidInput, NotFound, Unavailable
from flowtime.registry import Query, Reader, Registry
from flowtime.registry.catalog import Catalog, Data, Parent
from flowtime.registry.verify import verify
from flowtime.storage import LocalStore

HASH = "sha256:" + "c2c6abcd" * 8
NOON = "2026-11-21T12:00:00.000Z"
ADA, BOB, EVE = Reader("ada", ("ops",)), Reader("bob", ("ops", "lab")), Reader("eve")
READERS = {"ada": ADA, "bob": BOB, "eve": EVE, "nobody": Reader(""), "root": Reader("root", admin=True)}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def shelf(registry: Registry) -> dict[str, str]:
    """One run of each visibility of ada's, who is in the team ops."""
    return {
        visibility: publish(
            registry, name=f"{visibility}-run", visibility=visibility, team="ops", tags=["night"]
        )
        for visibility in ("private", "team", "public")
    }


SEEN = {
    "ada": {"private", "team", "public"},
    "bob": {"team", "public"},
    "eve": {"public"},
    "nobody": {"public"},
    "root": {"private", "team", "public"},
}


@pytest.mark.parametrize("name", READERS)
def test_lists_counts_searches_and_names_hold_what_may_be_read(
    registry: Registry, shelf: dict[str, str], name: str
) -> None:
    reading = registry.seen_by(READERS[name])
    readable = {shelf[visibility] for visibility in SEEN[name]}
    for query in (
        Query(),
        Query(text="night"),
        Query(text="night", ranked=True),
        Query(tags=(("night",),)),
        Query(tags=(("night", "day"),), kinds=("run",)),
        Query(owner="ada"),
        Query(text="run", owner="ada", tags=(("night",),)),
    ):
        page = reading.find(query)
        assert {item["id"] for item in page.artifacts} == readable
        assert page.total == len(readable)
    assert sum(reading.status()["artifacts"].values()) == len(readable)
    for visibility, id in shelf.items():
        uses: list[Callable[[], object]] = [
            partial(reading.catalog, id),
            partial(reading.resolve, id),
            partial(reading.item, id),
            partial(reading.folder, id),
            partial(stored_bytes, reading, id, "binned_v0.csv"),
            partial(stored_bytes, reading, id, "catalog.json"),
            partial(reading.resolve, f"{visibility}-run"),
            partial(reading.resolve, id[:-4]),
        ]
        for use in uses:
            if visibility in SEEN[name]:
                use()
            else:
                with pytest.raises(NotFound) as caught:
                    use()
                assert caught.value.code == "FT501"
                assert not any(
                    hidden in (caught.value.hint or "") for hidden in shelf.values() if hidden not in readable
                )


def test_what_is_hidden_cannot_be_changed_deleted_or_brought_back(
    registry: Registry, shelf: dict[str, str]
) -> None:
    eve = registry.seen_by(EVE)
    hidden = shelf["private"]
    for use in (
        lambda: eve.tag(hidden, ["mine"]),
        lambda: eve.edit(hidden, star=True),
        lambda: eve.delete(hidden),
        lambda: eve.restore(hidden),
        lambda: eve.purge(hidden),
    ):
        with pytest.raises(NotFound):
            use()
    registry.delete(hidden)
    assert eve.trash() == []
    with pytest.raises(NotFound, match="no artifact"):
        eve.resolve(hidden)
    assert eve.status()["trash"] == 0
    for use in (lambda: eve.restore(hidden), lambda: eve.purge(hidden)):
        with pytest.raises(NotFound) as caught:
            use()
        assert hidden not in (caught.value.hint or "")
    assert eve.purge() == []
    assert [item["id"] for item in registry.seen_by(ADA).trash()] == [hidden]
    assert registry.seen_by(ADA).restore(hidden) == hidden


def test_an_edit_of_visibility_holds_from_the_next_question_on(
    registry: Registry, shelf: dict[str, str]
) -> None:
    eve = registry.seen_by(EVE)
    registry.edit(shelf["private"], visibility="public")
    assert eve.find(Query()).total == 2
    registry.edit(shelf["private"], visibility="private")
    assert eve.find(Query()).total == 1
    registry.edit(shelf["private"], owner="eve")
    assert eve.find(Query()).total == 2


def test_lineage_does_not_lead_to_or_through_what_is_hidden(registry: Registry) -> None:
    model = publish(registry, "model", visibility="public", model_hash=HASH)
    run = publish(registry, parents=[Parent(id=model)], owner="bob")
    telemetry = publish(registry, "telemetry", parents=[Parent(id=run)], visibility="public")
    replay = publish(registry, parents=[Parent(id=telemetry), Parent(id=model)], visibility="public")
    everything = registry.lineage(model)["children"]
    assert [(each["id"], each["depth"]) for each in everything] == sorted(
        [(run, 1), (replay, 1), (telemetry, 2)], key=lambda each: (each[1], each[0])
    )
    eve = registry.seen_by(EVE)
    assert [each["id"] for each in eve.lineage(model)["children"]] == [replay]
    assert eve.lineage(telemetry)["parents"] == []
    assert eve.lineage(run) == {"parents": [], "children": []}
    assert [each["id"] for each in eve.dependants(model)] == [replay]


def test_a_digest_is_recognised_among_what_may_be_read(registry: Registry) -> None:
    data = Data(rows=1, series=1, digest=HASH)
    hidden = publish(registry, data=data)
    shown = publish(registry, "telemetry", data=data, visibility="public")
    assert registry.find_digest(HASH) == [hidden]
    assert registry.seen_by(EVE).find_digest(HASH) == [shown]
    assert registry.seen_by(ADA).find_digest(HASH) == [hidden]


CONTENT: list[tuple[str, dict[str, Any]]] = [
    ("model", {"model_hash": HASH}),
    ("run", {"inputs_hash": HASH, "deterministic": True}),
]


@pytest.mark.parametrize(("kind", "fields"), CONTENT, ids=("model", "run"))
def test_content_derived_ids_are_found_among_what_may_be_read(
    registry: Registry, kind: str, fields: dict[str, Any]
) -> None:
    hidden = publish(registry, kind, **fields)
    assert hidden.endswith("_c2c6abcd")
    assert publish(registry.seen_by(ADA), kind, **fields) == hidden
    theirs = publish(registry.seen_by(EVE), kind, owner="eve", **fields)
    assert theirs != hidden
    assert publish(registry.seen_by(EVE), kind, owner="eve", **fields) == theirs
    assert {item["owner"] for item in registry.seen_by(EVE).find(Query()).artifacts} == {"eve"}


@pytest.mark.parametrize(("kind", "fields"), CONTENT, ids=("model", "run"))
def test_an_id_does_not_tell_that_others_have_the_same(
    tmp_path: Path, kind: str, fields: dict[str, Any]
) -> None:
    ids = []
    for name in ("without", "with"):
        with Registry.open(tmp_path / name, cache_dir=tmp_path / "cache") as registry:
            if name == "with":
                publish(registry, kind, **fields)
                publish(registry.seen_by(ADA), kind, owner="ada", **fields)
            ids.append(publish(registry.seen_by(EVE), kind, owner="eve", created_utc=NOON, **fields))
    assert ids[0] == ids[1]


def test_a_model_keeps_its_id_from_elsewhere_for_who_sees_all(registry: Registry) -> None:
    catalog = Catalog(kind="model", name="one", owner="eve", source="sim", engine_version="1")
    for reader in (EVE, READERS["root"]):
        with registry.seen_by(reader).stage("model") as staging:
            restored = staging.restore(catalog, "one_12345678")
        assert (restored is not None) == reader.admin
    assert registry.versions("one_12345678") == [1]


CHANGES: dict[str, Callable[[Registry, str], object]] = {
    "edit": lambda registry, run: registry.edit(run, description="seen"),
    "tag": lambda registry, run: registry.tag(run, ["seen"]),
    "loop": lambda registry, run: registry.record_loop(run, "gold", HASH, NOON),
    "version": lambda registry, run: publish(registry, "model", run, model_hash="sha256:22"),
    "delete": lambda registry, run: registry.delete(run),
}
MAY = {"private": {"ada", "root"}, "team": {"ada", "bob", "root"}, "public": {"ada", "root"}}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("visibility", MAY)
@pytest.mark.parametrize("name", READERS)
def test_what_is_readable_is_not_changeable_by_all(
    registry: Registry, name: str, visibility: str, change: str
) -> None:
    id = publish(registry, "model", visibility=visibility, team="ops", model_hash=HASH)
    before = registry.catalog(id)
    seen = registry.seen_by(READERS[name])
    if name in MAY[visibility]:
        assert seen.may_change(id)
        CHANGES[change](seen, id)
        return
    with pytest.raises(Denied if visibility in SEEN[name] else NotFound):
        CHANGES[change](seen, id)
    assert registry.catalog(id) == before


@pytest.mark.parametrize("fields", [{"owner": "bob"}, {"team": "lab"}, {"visibility": "private"}], ids=str)
def test_whose_it_is_only_its_owner_changes(registry: Registry, fields: dict[str, str]) -> None:
    id = publish(registry, visibility="team", team="ops")
    with pytest.raises(Denied):
        registry.seen_by(BOB).edit(id, **fields)
    assert registry.seen_by(ADA).edit(id, **fields).items() >= fields.items()


def test_a_version_leaves_the_model_whose_it_is(registry: Registry) -> None:
    id = publish(registry, "model", visibility="team", team="ops", model_hash=HASH)
    publish(registry.seen_by(BOB), "model", id, owner="bob", model_hash="sha256:22", visibility="private")
    newest = registry.catalog(id)
    assert (newest["model_version"], newest["owner"], newest["team"]) == (2, "ada", "ops")
    assert newest["visibility"] == "team"
    publish(registry.seen_by(ADA), "model", id, owner="ada", model_hash="sha256:33", visibility="public")
    assert registry.catalog(id)["visibility"] == "team"


def test_the_trash_is_changed_by_who_may_change_what_is_in_it(registry: Registry) -> None:
    ids = {visibility: publish(registry, visibility=visibility, team="ops") for visibility in MAY}
    for id in ids.values():
        registry.delete(id)
    eve = registry.seen_by(EVE)
    for change in (eve.restore, eve.purge):
        with pytest.raises(Denied):
            change(ids["public"])
        with pytest.raises(NotFound):
            change(ids["team"])
    assert eve.purge() == []
    assert registry.seen_by(BOB).purge() == [ids["team"]]
    assert registry.seen_by(ADA).restore(ids["public"]) == ids["public"]
    assert registry.seen_by(READERS["root"]).purge() == [ids["private"]]


def test_the_whole_registry_is_an_admins(registry: Registry) -> None:
    publish(registry)
    for work in (Registry.rebuild, verify):
        with pytest.raises(Denied):
            work(registry.seen_by(ADA))
        work(registry.seen_by(READERS["root"]))
    assert registry.seen_by(ADA).status()["root"] is None
    assert registry.seen_by(ADA).status()["index"] is None
    assert registry.status()["root"]


def test_a_version_of_a_hidden_model_cannot_be_published(registry: Registry) -> None:
    model = publish(registry, "model", model_hash=HASH)
    with pytest.raises(NotFound):
        publish(registry.seen_by(EVE), "model", model, owner="eve", model_hash="sha256:22")
    with pytest.raises(NotFound):
        registry.seen_by(EVE).versions(model)
    with pytest.raises(NotFound):
        registry.seen_by(EVE).resolve(f"{model}@v1")
    assert registry.versions(model) == [1]


def test_what_a_reader_publishes_belongs_to_their_team(registry: Registry) -> None:
    id = publish(registry.seen_by(BOB), owner="bob", visibility="team")
    assert registry.catalog(id)["team"] == "ops"
    assert registry.seen_by(ADA).find(Query()).total == 1
    registry.edit(id, team="lab")
    assert registry.seen_by(ADA).find(Query()).total == 0


def test_the_rule_is_the_same_in_the_index_and_on_a_catalog(registry: Registry) -> None:
    everything: dict[str, dict[str, Any]] = {}
    for owner, team, visibility in itertools.product(
        ("ada", "bob"), (None, "ops", "lab"), ("private", "team", "public")
    ):
        if visibility == "team" and team is None:
            continue  # is refused
        fields = {"owner": owner, "team": team, "visibility": visibility}
        everything[publish(registry, **fields)] = fields
    for reader in READERS.values():
        found = {item["id"] for item in registry.seen_by(reader).find(Query(size=100)).artifacts}
        assert found == {id for id, fields in everything.items() if reader.may_read(fields)}


def test_a_private_first_version_stays_private_after_a_public_second_one(registry: Registry) -> None:
    id = publish(registry, "model", visibility="private", model_hash=HASH)
    publish(registry.seen_by(ADA), "model", id, model_hash="sha256:22", visibility="public")
    eve = registry.seen_by(EVE)
    for reference in (id, f"{id}@v1", f"{id}@v2"):
        with pytest.raises(NotFound):
            eve.catalog(reference)
    registry.seen_by(ADA).edit(id, visibility="public")
    assert [eve.catalog(f"{id}@v{version}")["visibility"] for version in (1, 2)] == ["public", "public"]
    assert [item["visibility"] for item in eve.find(Query()).artifacts] == ["public"]


@pytest.mark.parametrize("field", ["visibility", "owner", "team"])
def test_access_of_one_version_cannot_be_changed(registry: Registry, field: str) -> None:
    id = publish(registry, "model", model_hash=HASH)
    publish(registry, "model", id, model_hash="sha256:22")
    for version in (1, 2):
        with pytest.raises(InvalidInput) as caught:
            registry.edit(f"{id}@v{version}", **{field: "public"})
        assert (caught.value.code, caught.value.hint) == ("FT508", f"change {id}, without @v{version}")


@pytest.mark.parametrize(
    ("before", "fields", "secret"),
    [
        ("public", {"visibility": "private"}, "after"),
        ("private", {"visibility": "public"}, "before"),
        ("private", {"visibility": "public", "owner": "bob"}, "before"),
        ("public", {"visibility": "private", "owner": "bob"}, "after"),
        ("team", {"team": "lab"}, "neither"),
    ],
)
def test_an_edit_of_words_and_access_shows_nobody_too_much(
    tmp_path: Path, before: str, fields: dict[str, str], secret: str
) -> None:
    """At no moment of the edit, where its writer may die, others see what is not for them."""
    root, seen = tmp_path / "artifacts", list[str]()
    with Registry.open(root, cache_dir=tmp_path / "cache") as registry:
        id = publish(registry, "model", visibility=before, team="ops", model_hash=HASH)
        publish(registry, "model", id, model_hash="sha256:22", team="ops")
        registry.edit(id, description="before")

    def look(_: int) -> None:
        with suppress(NotFound):
            seen.append(Registry(LocalStore(root), None).seen_by(EVE).catalog(id)["description"])

    Registry(Moments(root, look), None).edit(id, description="after", **fields)
    assert secret not in seen
    catalog = Registry(LocalStore(root), None).catalog(id)
    first = Registry(LocalStore(root), None).catalog(f"{id}@v1")
    assert catalog["description"] == "after"
    assert {**first, **fields} == first


def test_an_index_that_is_behind_opens_nothing(registry: Registry, tmp_path: Path) -> None:
    run = publish(registry, visibility="public")
    eve = registry.seen_by(EVE)
    assert eve.catalog(run)["owner"] == "ada"
    catalog = tmp_path / "artifacts/runs" / run / "catalog.json"
    catalog.write_text(catalog.read_text().replace('"public"', '"private"'))
    with pytest.raises(NotFound):
        eve.catalog(run)
    with pytest.raises(NotFound):
        eve.stream(run, "binned_v0.csv")


def test_who_says_to_be_made_from_another_ones_run_does_not_keep_it(registry: Registry) -> None:
    run = publish(registry, visibility="public")
    publish(registry, "telemetry", owner="eve", visibility="public", parents=[Parent(id=run)])
    registry.seen_by(ADA).delete(run)
    again = publish(registry, visibility="public")
    publish(registry, "telemetry", parents=[Parent(id=again)])
    with pytest.raises(Conflict):
        registry.seen_by(ADA).delete(again)


def test_each_copy_in_the_trash_is_its_owners(registry: Registry) -> None:
    id = publish(registry, deterministic=True, inputs_hash="sha256:11111111", visibility="private")
    registry.delete(id)
    assert publish(registry, deterministic=True, inputs_hash="sha256:11111111", owner="eve") == id
    registry.delete(id)
    ada, eve = registry.seen_by(ADA), registry.seen_by(EVE)
    assert [[item["owner"] for item in each.trash()] for each in (ada, eve)] == [["ada"], ["eve"]]
    assert ada.restore(id) == id
    assert registry.catalog(id)["owner"] == "ada"
    assert ada.purge() == []
    assert eve.purge(id) == [id]
    assert registry.trash() == []


def test_a_purge_that_was_cut_short_is_listed_and_can_be_ended(registry: Registry, tmp_path: Path) -> None:
    run = publish(registry)
    registry.delete(run)
    (tmp_path / "artifacts/.trash/runs" / run / "1/catalog.json").unlink()
    assert registry.trash() == [{"id": run, "kind": "run"}]
    with pytest.raises(NotFound):
        registry.restore(run)
    assert registry.purge() == [run]
    assert not (tmp_path / "artifacts/.trash/runs" / run).exists()


def test_a_model_without_its_first_version_can_be_restored_or_deleted(
    registry: Registry, tmp_path: Path
) -> None:
    for leave in ("restore", "delete"):
        id = publish(registry, "model", name=leave, model_hash=HASH)
        publish(registry, "model", id, name=leave, model_hash="sha256:22")
        registry.delete(id)
        half = tmp_path / "artifacts/models" / id
        half.mkdir()
        (tmp_path / "artifacts/.trash/models" / id / "1/v2").rename(half / "v2")  # as races left it
        if leave == "delete":
            registry.delete(id)
            assert not half.exists()
        assert registry.restore(id) == id
        assert registry.versions(id) == ([1, 2] if leave == "restore" else [1])


@pytest.mark.parametrize("place", ["file", "folder"])
def test_links_are_not_followed_out_of_the_registry(registry: Registry, tmp_path: Path, place: str) -> None:
    run = publish(registry)
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "artifacts/runs" / run
    if place == "file":
        (folder / "binned_v0.csv").unlink()
        (outside / "secret").write_bytes(b"x")
        (folder / "binned_v0.csv").symlink_to(outside / "secret")
    else:
        folder.rename(outside / "run")
        folder.symlink_to(outside / "run")
    with pytest.raises(NotFound) as caught:
        registry.stream(run, "binned_v0.csv")
    assert caught.value.code == ("FT509" if place == "file" else "FT501")


@pytest.mark.parametrize("data", [b"y", b"xx"])
def test_only_what_was_published_is_served(registry: Registry, tmp_path: Path, data: bytes) -> None:
    run = publish(registry)
    assert stored_bytes(registry, run, "binned_v0.csv") == b"x"
    folder = tmp_path / "artifacts/runs" / run
    (folder / "binned_v0.csv").write_bytes(data)
    (folder / "added").write_bytes(b"x")
    with pytest.raises(Unavailable) as caught:
        registry.stream(run, "binned_v0.csv")
    assert caught.value.code == "FT805"
    with pytest.raises(NotFound):
        registry.stream(run, "added")


def test_a_registry_replaced_by_a_longer_copy_of_itself_is_noticed(
    registry: Registry, tmp_path: Path
) -> None:
    root, backup = tmp_path / "artifacts", tmp_path / "backup"
    run = publish(registry)
    shutil.copytree(root, backup)
    registry.edit(run, visibility="public")
    registry.edit(run, name="renamed")
    assert [item["name"] for item in registry.find(Query()).artifacts] == ["renamed"]
    with Registry.open(backup, cache_dir=tmp_path / "other") as copy:
        copy.tag(run, ["night"])
        copy.tag(run, ["long" * 15])
        copy.tag(run, ["longer" * 10])
    shutil.rmtree(root)
    backup.rename(root)
    [item] = registry.find(Query()).artifacts
    assert (item["name"], item["visibility"]) == ("one", "private")
    assert "night" in item["tags"]
