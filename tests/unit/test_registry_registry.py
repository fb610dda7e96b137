"""The registry on a folder: what is published is found, changed, deleted and brought back."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.worlds import stored_bytes

from flowtime.errors import Conflict, FlowtimeError, InvalidInput, NotFound, Unavailable
from flowtime.registry import Query, Registry
from flowtime.registry.catalog import Catalog, Measure, Parent, Summary, Topology, Verification, schema
from flowtime.registry.document import EDITABLE
from flowtime.registry.verify import verify
from flowtime.wanted import wanted_while

HASH = "sha256:" + "c2c6abcd" * 8


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2025, 9, 19, 10, 22, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache", clock=clock) as opened:
        yield opened


def catalog(kind: Any = "run", name: str = "baseline", **fields: Any) -> Catalog:
    return Catalog(
        kind=kind, name=name, **{"owner": "ada", "source": "engine", "engine_version": "flowtime 1", **fields}
    )


def publish(
    registry: Registry,
    kind: Any = "run",
    name: str = "baseline",
    files: dict[str, str] | None = None,
    update: str | None = None,
    deterministic: bool = False,
    **fields: Any,
) -> Any:
    data = "model.yaml" if kind == "model" else "binned_v0.csv"
    with registry.stage(kind) as staging:
        for file, text in (files or {data: f"{name}\n"}).items():
            (staging.path / file).write_text(text)
        return staging.publish(catalog(kind, name, **fields), update=update, deterministic=deterministic)


def ids(registry: Registry, **query: Any) -> list[str]:
    return [item["id"] for item in registry.find(Query(**query)).artifacts]


def trashed(registry: Registry) -> list[str]:
    return [item["id"] for item in registry.trash()]


def names(registry: Registry, **query: Any) -> list[str]:
    return [item["name"] for item in registry.find(Query(**query)).artifacts]


# Layout and catalog


def test_reading_an_absent_registry_finds_nothing_and_makes_nothing(
    registry: Registry, tmp_path: Path
) -> None:
    assert registry.find(Query()).to_json() == {"artifacts": [], "total": 0, "page": 1, "size": 20}
    assert registry.status()["registry"] is None
    with pytest.raises(NotFound):
        registry.resolve("anything")
    assert not (tmp_path / "artifacts").exists()


def test_layout(registry: Registry, tmp_path: Path) -> None:
    model = publish(registry, "model", model_hash=HASH, files={"model.yaml": "m", "preview.svg": "<svg/>"})
    publish(registry, "model", model_hash="sha256:00", update=model["id"])
    run = publish(registry, name="Rush hour")
    telemetry = publish(registry, "telemetry", name="prod")
    root = tmp_path / "artifacts"
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert {file for file in files if not file.startswith(".staging/")} == {
        "flowtime.json",
        ".log/changes",
        "models/baseline_c2c6abcd/v1/model.yaml",
        "models/baseline_c2c6abcd/v1/preview.svg",
        "models/baseline_c2c6abcd/v1/catalog.json",
        "models/baseline_c2c6abcd/v2/model.yaml",
        "models/baseline_c2c6abcd/v2/catalog.json",
        f"runs/{run['id']}/binned_v0.csv",
        f"runs/{run['id']}/catalog.json",
        f"telemetry/{telemetry['id']}/binned_v0.csv",
        f"telemetry/{telemetry['id']}/catalog.json",
    }
    assert re.fullmatch(r"rush-hour_2025-09-19_[0-9a-f]{8}", run["id"])
    marker = json.loads((root / "flowtime.json").read_text())
    assert marker["format"] == 1
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", marker["id"])
    assert registry.status()["registry"] == marker["id"]


def test_catalog_is_complete(registry: Registry) -> None:
    published = publish(
        registry,
        tags=["orders"],
        description="the usual",
        model_id="checkout_1",
        model_version=2,
        inputs_hash=HASH,
        parents=[Parent(id="checkout_1", version=2, digest=HASH)],
        topology=Topology(nodes=[{"id": "Checkout"}], edges=[]),
        measures=[
            Measure(
                component="Checkout", measure="served", summary=Summary(min=0, mean=1.5, max=3), spark="▁█"
            )
        ],
        loop={"gold": Verification(digest=HASH, verified_utc="2025-09-19T10:22:30Z")},
        files={"binned_v0.csv": "time_bin\n"},
    )
    stored = registry.catalog(published["id"])
    assert stored == published == json.loads(stored_bytes(registry, published["id"], "catalog.json"))
    assert list(stored) == list(Catalog.__struct_fields__)
    assert stored["created_utc"] == "2025-09-19T10:22:30Z"
    assert stored["schema_version"] == "treehouse.binned.v0"
    assert stored["visibility"] == "private"
    digest = hashlib.sha256(b"time_bin\n").hexdigest()
    assert stored["contents"] == [{"name": "binned_v0.csv", "bytes": 9, "sha256": f"sha256:{digest}"}]
    assert stored["topology"] == {"nodes": [{"id": "Checkout"}], "edges": []}


def test_a_large_catalog_keeps_counts_and_moves_its_lists(registry: Registry) -> None:
    nodes = [f"node_{number}" for number in range(1000)]
    published = publish(
        registry,
        nodes=nodes,
        topology=Topology(nodes=[{"id": node} for node in nodes], edges=[{"from": "node_0", "to": "node_1"}]),
        measures=[
            Measure(component=node, measure="value", summary=Summary(min=0, mean=0, max=0)) for node in nodes
        ],
    )
    raw = json.loads(stored_bytes(registry, published["id"], "catalog.json"))
    assert len(stored_bytes(registry, published["id"], "catalog.json")) < 8 * 1024
    assert raw["measures"]["count"] == 1000
    assert raw["topology"] | {"sha256": ""} == {"nodes": 1000, "edges": 1, "sha256": ""}
    assert "details.json" in [content["name"] for content in raw["contents"]]
    assert registry.catalog(published["id"]) == published
    assert registry.tag(published["id"], ["wide"])["nodes"] == nodes
    assert ids(registry, text="node_999") == [published["id"]]


def test_files_of_an_artifact(registry: Registry) -> None:
    id = publish(registry, files={"binned_v0.csv": "1,2\n"})["id"]
    assert stored_bytes(registry, id, "binned_v0.csv").decode() == "1,2\n"
    with registry.stream(id, "binned_v0.csv") as stream:
        assert stream.read() == b"1,2\n"
    assert registry.folder(id) == str(Path(registry.folder(id), "binned_v0.csv").parent)
    for name in ("nothing.csv", "../../flowtime.json", "/etc/passwd", ""):
        with pytest.raises(NotFound) as caught:
            registry.stream(id, name)
        assert caught.value.code == "FT509"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"owner": ""},
        {"visibility": "secret"},
        {"tags": ["a,b"]},
        {"tags": [" a"]},
        {"tags": [""]},
        {"description": "x" * 4001},
        {"stats": {"seconds": float("nan")}},
    ],
)
def test_values_that_are_not_allowed_are_not_published(registry: Registry, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        publish(registry, **fields)
    assert caught.value.code == "FT508"
    assert registry.find(Query()).total == 0


def test_an_interrupted_publication_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    def interrupted() -> None:
        with registry.stage("run") as staging:
            (staging.path / "binned_v0.csv").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()] == []


# Ids and versions


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Checkout", "checkout"),
        ("shop_optimistic.v2", "shop_optimistic.v2"),
        ("  Größe / später!  ", "groe-spater"),
        ("../../etc", "etc"),
        ("CON", "con-"),
        ("日本", "model"),
        ("x" * 150, "x" * 80),
    ],
)
def test_ids_are_made_of_the_name_and_the_hash(registry: Registry, name: str, stem: str) -> None:
    assert publish(registry, "model", name=name, model_hash=HASH)["id"] == f"{stem}_c2c6abcd"
    assert len(publish(registry, name=name)["id"]) <= 100


def test_the_same_model_is_found_and_not_made_twice(registry: Registry) -> None:
    first = publish(registry, "model", model_hash=HASH)
    assert publish(registry, "model", model_hash=HASH) == first
    assert registry.versions(first["id"]) == [1]
    assert publish(registry, "model", name="another", model_hash=HASH)["id"] == "another_c2c6abcd"
    assert registry.find(Query()).total == 2


def test_another_model_that_would_have_the_same_id_gets_its_own(registry: Registry) -> None:
    first = publish(registry, "model", name="a b", model_hash=HASH)
    second = publish(registry, "model", name="a-b", model_hash=HASH)
    assert first["id"] == "a-b_c2c6abcd"
    assert re.fullmatch(r"a-b_[0-9a-f]{8}", second["id"])
    assert second["id"] != first["id"]
    assert publish(registry, "model", name="a-b", model_hash=HASH)["id"] == second["id"]


def test_versions(registry: Registry) -> None:
    id = publish(registry, "model", model_hash=HASH, files={"model.yaml": "one"})["id"]
    second = publish(registry, "model", model_hash="sha256:22", update=id, files={"model.yaml": "two"})
    assert (second["id"], second["model_version"]) == (id, 2)
    assert (
        publish(registry, "model", model_hash="sha256:22", update=id, files={"model.yaml": "two"}) == second
    )
    assert registry.versions(id) == [1, 2]
    assert stored_bytes(registry, id, "model.yaml").decode() == "two"
    assert stored_bytes(registry, f"{id}@v1", "model.yaml").decode() == "one"
    assert registry.resolve("baseline@v1") == f"{id}@v1"
    [item] = registry.find(Query()).artifacts
    assert item["model_version"] == 2
    assert item["files"]["model"].endswith("v2/model.yaml")
    with pytest.raises(NotFound, match="no version 3") as caught:
        registry.resolve(f"{id}@v3")
    assert "1, 2" in str(caught.value)
    with pytest.raises(NotFound):
        registry.catalog(f"{id}@v3")
    with pytest.raises(NotFound):
        publish(registry, "model", update="nothing_00000000")


def test_deterministic_runs_are_found_on_another_day(registry: Registry, clock: Clock) -> None:
    first = publish(registry, inputs_hash=HASH, deterministic=True)
    assert first["id"] == "baseline_2025-09-19_c2c6abcd"
    clock.time += timedelta(days=3)
    assert publish(registry, inputs_hash=HASH, deterministic=True) == first
    assert publish(registry, inputs_hash=HASH)["id"] != first["id"]
    assert publish(registry, "telemetry", name="日本")["id"].startswith("telem_2025-09-22_")


def test_ids_in_older_spellings_are_read(registry: Registry, tmp_path: Path) -> None:
    id = "run_2025-09-19T10:22Z_c2c6"
    folder = tmp_path / "artifacts/runs" / id
    folder.mkdir(parents=True)
    (folder / "catalog.json").write_text(
        json.dumps(
            {"kind": "run", "id": id, "name": "checkout-baseline", "created_utc": "2025-09-19T10:22:30Z"}
        )
    )
    assert ids(registry) == [id]
    assert registry.resolve(id) == registry.resolve("checkout-baseline") == id
    assert registry.tag(id, ["old"])["tags"] == ["old"]
    assert registry.delete(id) == []


@pytest.mark.parametrize(
    "id", ["../x", "a/b", "a\\b", "", ".", "a\n", "-a", "a..b", "NUL", "con.txt", "x" * 101, "/a"]
)
def test_strange_ids_never_reach_storage(registry: Registry, id: str) -> None:
    publish(registry)
    for use in (
        registry.catalog,
        registry.delete,
        registry.restore,
        registry.purge,
        registry.tag,
        registry.versions,
    ):
        with pytest.raises(FlowtimeError) as caught:
            use(id)
        assert caught.value.code == "FT502"


# Finding


@pytest.fixture
def shop(registry: Registry, clock: Clock) -> Registry:
    """Two models, three runs and a telemetry, an hour apart."""
    for kind, name, tags, owner, fields in (
        ("model", "shop-conservative", ["shop"], "ada", {"provenance": {"template": "e-commerce"}}),
        ("model", "shop-optimistic", ["shop"], "bob", {"description": "A rosy Überblick"}),
        ("run", "shop-conservative_run", ["baseline", "conservative"], "ada", {"nodes": ["user_requests"]}),
        ("run", "shop-optimistic_run", ["scenario", "optimistic"], "bob", {}),
        ("run", "Night", ["baseline"], "ada@example.org", {}),
        ("telemetry", "prod-sept-baseline", ["production", "september"], "ada", {}),
    ):
        publish(registry, kind, name, tags=tags, owner=owner, **fields)
        clock.time += timedelta(hours=1)
    return registry


def test_newest_come_first_with_all_that_a_list_shows(shop: Registry) -> None:
    page = shop.find(Query(size=2))
    assert [item["name"] for item in page.artifacts] == ["prod-sept-baseline", "Night"]
    assert page.total == 6
    item = page.artifacts[1]
    folder = shop.folder(item["id"])
    assert item == {
        "id": item["id"],
        "kind": "run",
        "name": "Night",
        "created_utc": "2025-09-19T14:22:30Z",
        "tags": ["baseline"],
        "owner": "ada@example.org",
        "visibility": "private",
        "description": "",
        "star": False,
        "files": {"catalog": f"{folder}/catalog.json", "data": f"{folder}/binned_v0.csv"},
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"kinds": ("model",)}, ["shop-optimistic", "shop-conservative"]),
        ({"kinds": ("model", "telemetry"), "size": 1}, ["prod-sept-baseline"]),
        ({"tags": (("baseline",),)}, ["Night", "shop-conservative_run"]),
        ({"tags": (("scenario", "production"),)}, ["prod-sept-baseline", "shop-optimistic_run"]),
        ({"tags": (("baseline", "scenario"), ("conservative",))}, ["shop-conservative_run"]),
        ({"owner": "bob", "kinds": ("run",)}, ["shop-optimistic_run"]),
        ({"since": datetime(2025, 9, 19, 14, 22, 30, tzinfo=UTC)}, ["prod-sept-baseline", "Night"]),
        ({"until": datetime(2025, 9, 19, 11, 22, 30, tzinfo=UTC)}, ["shop-conservative"]),
        ({"text": "shop", "kinds": ("model",)}, ["shop-optimistic", "shop-conservative"]),
        ({"text": "opti rosy"}, ["shop-optimistic"]),
        ({"text": "uberbl"}, ["shop-optimistic"]),
        ({"text": "user_req"}, ["shop-conservative_run"]),
        ({"text": "e-comm"}, ["shop-conservative"]),
        ({"text": "septem"}, ["prod-sept-baseline"]),
        ({"text": "example.org"}, ["Night"]),
        ({"text": "ÜBERBLICK"}, ["shop-optimistic"]),
        ({"text": "U\u0308berbl"}, ["shop-optimistic"]),
        ({"text": "shop-opt", "kinds": ("model",)}, ["shop-optimistic"]),
        ({"text": "optimistic-shop"}, []),
        ({"text": '"night'}, ["Night"]),
        ({"text": "(night)"}, ["Night"]),
        ({"text": "night*"}, ["Night"]),
        ({"text": "shop OR night"}, []),
        ({"text": "NOT night"}, []),
        ({"text": "name:night"}, []),
        ({"text": "night AND"}, []),
        ({"text": 'ni"ght'}, []),
        ({"text": "-- NEAR( *"}, []),
        ({"text": "--"}, []),
        ({"sort": "name_asc", "kinds": ("run",)}, ["Night", "shop-conservative_run", "shop-optimistic_run"]),
        ({"sort": "created_asc", "size": 1}, ["shop-conservative"]),
        ({"page": 2, "size": 4}, ["shop-optimistic", "shop-conservative"]),
        ({"page": 9}, []),
    ],
)
def test_filters(shop: Registry, query: dict[str, Any], found: list[str]) -> None:
    assert names(shop, **query) == found


def test_total_counts_all_pages(shop: Registry) -> None:
    assert shop.find(Query(kinds=("run",), size=1, page=3)).total == 3
    assert shop.find(Query(kinds=("run",), size=1, page=4)).total == 3


@pytest.mark.parametrize("ranked", [False, True])
def test_total_is_exact_for_every_filter(shop: Registry, ranked: bool) -> None:
    everywhere: list[tuple[str, list[Any]]] = [
        ("kinds", [(), ("run",), ("run", "model")]),
        (
            "tags",
            [
                (),
                (("baseline",),),
                (("shop", "baseline"),),
                (("baseline", "production"), ("conservative", "baseline")),
            ],
        ),
        ("owner", [None, "ada"]),
        ("text", [None, "shop", "s", " "]),
        ("since", [None, datetime(2025, 9, 19, 11, tzinfo=UTC)]),
        ("starred", [False, True]),
    ]
    for values in itertools.product(*(values for _, values in everywhere)):
        query = dict(zip([field for field, _ in everywhere], values, strict=True))
        page = shop.find(Query(**query, ranked=ranked, size=100))
        assert page.total == len({item["id"] for item in page.artifacts}) == len(page.artifacts), query
        many = Query(**query, ranked=ranked, size=1, page=2)
        assert shop.find(many).artifacts == page.artifacts[1:2], query


def test_search_ranks_a_name_over_a_description(registry: Registry, clock: Clock) -> None:
    publish(registry, name="checkout")
    clock.time += timedelta(hours=1)
    publish(registry, name="other", description="unlike checkout, this one")
    assert names(registry, text="checkout") == ["other", "checkout"]
    assert names(registry, text="checkout", ranked=True) == ["checkout", "other"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"kinds": ("runs",)}, 'did you mean "run"?'),
        ({"sort": "newest"}, "allowed: created_desc"),
        ({"page": 0}, "pages count from 1"),
        ({"page": 10**20}, "pages count from 1"),
        ({"tags": (("week",),) * 2000}, "at most 500"),
        ({"size": 0}, "1 to 1000"),
        ({"size": 1001}, "1 to 1000"),
        ({"since": datetime(2025, 1, 1)}, "time zone"),  # noqa: DTZ001
    ],
)
def test_queries_that_mean_nothing_are_refused(query: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Query(**query)
    assert caught.value.code == "FT504"
    assert said in str(caught.value)


def test_what_cannot_be_stored_names_nothing(shop: Registry) -> None:
    half = "\udcff"
    assert names(shop, owner=half) == names(shop, tags=((half,),)) == names(shop, text=half) == []
    with pytest.raises(NotFound):
        shop.resolve(half)


def test_a_name_means_its_newest_artifact_of_the_kind(shop: Registry) -> None:
    again = publish(shop, name="Night")
    assert shop.resolve("Night") == again["id"]
    publish(shop, "telemetry", name="Night")
    assert shop.resolve("Night", ["run"]) == again["id"]


def test_references(shop: Registry) -> None:
    [model] = ids(shop, text="conservative", kinds=("model",))
    assert shop.resolve(model) == model
    assert shop.resolve("shop-conservative_", ["model"]) == model
    assert shop.resolve("nigh").startswith("night_2025-09-19_")
    with pytest.raises(InvalidInput) as ambiguous:
        shop.resolve("shop-", ["model"])
    assert ambiguous.value.code == "FT503"
    assert model in str(ambiguous.value)
    with pytest.raises(InvalidInput) as wrong:
        shop.resolve(model, ["run", "telemetry"])
    assert wrong.value.code == "FT507"
    assert "wanted: run or telemetry" in str(wrong.value)
    with pytest.raises(InvalidInput) as named:
        shop.resolve("Night", ["model", "telemetry"])
    assert named.value.code == "FT507"
    assert '"Night" is a run' in str(named.value)
    with pytest.raises(NotFound) as unknown:
        shop.resolve("shop-conservatve")
    assert unknown.value.code == "FT501"
    assert "did you mean" in str(unknown.value)
    with pytest.raises(NotFound):
        shop.resolve("")


def test_a_table_is_recognised_by_its_digest(registry: Registry) -> None:
    data = {"rows": 1, "series": 1, "digest": HASH}
    run = publish(registry, data=data)
    publish(registry, "telemetry", data=data)
    again = publish(registry, data=data)
    assert sorted(registry.find_digest(HASH)) == sorted([run["id"], again["id"]])
    assert registry.find_digest("sha256:00") == []


# Changing


def test_edits(registry: Registry) -> None:
    id = publish(registry, tags=["a", "b"])["id"]
    assert registry.tag(id, ["c", "a"], ["b"])["tags"] == ["a", "c"]
    edited = registry.edit(id, name="renamed", description="new", visibility="public", star=True, owner="bob")
    assert edited == registry.catalog(id)
    [item] = registry.find(Query(text="renamed", starred=True)).artifacts
    assert (item["tags"], item["visibility"], item["owner"]) == (["a", "c"], "public", "bob")
    assert registry.record_loop(id, "gold", HASH, "2025-09-19T10:22:30Z")["loop"] == {
        "gold": {"digest": HASH, "verified_utc": "2025-09-19T10:22:30Z"}
    }


@pytest.mark.parametrize("fields", [{"data": None}, {"id": "x"}, {"name": ""}, {"visibility": "all"}])
def test_what_is_immutable_or_wrong_is_refused(registry: Registry, fields: dict[str, Any]) -> None:
    published = publish(registry)
    with pytest.raises(InvalidInput) as caught:
        registry.edit(published["id"], **fields)
    assert caught.value.code == "FT508"
    assert registry.catalog(published["id"]) == published


def test_fields_of_a_newer_flowtime_survive_an_edit(registry: Registry) -> None:
    id = publish(registry)["id"]
    path = Path(registry.folder(id), "catalog.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "carbon": {"grams": 1.25}}))
    assert registry.tag(id, ["a"])["carbon"] == {"grams": 1.25}
    assert json.loads(path.read_text())["carbon"] == {"grams": 1.25}


# Lineage and deletion


@pytest.fixture
def family(registry: Registry) -> tuple[Registry, str, str, str]:
    """A model, its run, and a telemetry made from that."""
    model = publish(registry, "model", model_hash=HASH)["id"]
    run = publish(registry, model_id=model, parents=[Parent(id=model, version=1, digest=HASH)])["id"]
    telemetry = publish(registry, "telemetry", parents=[Parent(id=run)])["id"]
    return registry, model, run, telemetry


def test_lineage_goes_both_ways(family: tuple[Registry, str, str, str]) -> None:
    registry, model, run, telemetry = family
    lineage = registry.lineage(run)
    assert [(each["id"], each["kind"], each["depth"]) for each in lineage["parents"]] == [(model, "model", 1)]
    assert [each["id"] for each in lineage["children"]] == [telemetry]
    assert [(each["id"], each["depth"]) for each in registry.lineage(model)["children"]] == [
        (run, 1),
        (telemetry, 2),
    ]
    assert [each["id"] for each in registry.lineage(f"{model}@v1")["children"]] == [run, telemetry]


def test_lineage_that_runs_in_a_circle_ends(registry: Registry) -> None:
    first = publish(registry, parents=[Parent(id="later")])["id"]
    path = Path(registry.folder(first), "catalog.json")
    second = publish(registry, parents=[Parent(id=first)])["id"]
    path.write_text(path.read_text().replace('"later"', f'"{second}"'))
    registry.rebuild()
    assert [each["id"] for each in registry.lineage(first)["children"]] == [second]


def test_deletion_names_what_depends_on_it(family: tuple[Registry, str, str, str]) -> None:
    registry, model, run, telemetry = family
    with pytest.raises(Conflict) as caught:
        registry.delete(model)
    assert caught.value.code == "FT505"
    assert run in str(caught.value)
    assert telemetry in str(caught.value)
    assert [each["id"] for each in registry.delete(model, force=True)] == [run, telemetry]
    assert model not in ids(registry)
    assert [(each["id"], each["kind"]) for each in registry.lineage(run)["parents"]] == [(model, None)]
    assert registry.delete(telemetry) == []
    assert registry.delete(run) == []


def test_trash(registry: Registry) -> None:
    id = publish(registry, "model", model_hash=HASH)["id"]
    publish(registry, "model", model_hash="sha256:22", update=id)
    with pytest.raises(NotFound):
        registry.delete("baseline")
    registry.delete(id)
    assert (ids(registry), trashed(registry)) == ([], [id])
    with pytest.raises(NotFound):
        registry.catalog(id)
    with pytest.raises(NotFound, match=f"is in the trash\nflowtime restore {id}"):
        registry.resolve(id)
    assert registry.restore(id) == id
    assert (ids(registry), trashed(registry)) == ([id], [])
    assert registry.versions(id) == [1, 2]


def test_an_id_deleted_twice_comes_back_as_it_was_last(registry: Registry) -> None:
    for text in ("first", "second"):
        id = publish(registry, "model", model_hash=HASH, files={"model.yaml": text})["id"]
        registry.delete(id)
    publish(registry, "model", model_hash=HASH)
    with pytest.raises(Conflict) as caught:
        registry.restore(id)
    assert caught.value.code == "FT506"
    registry.delete(id)
    registry.restore(id)
    registry.delete(id)
    assert registry.purge(id) == [id]
    with pytest.raises(NotFound, match="not in the trash"):
        registry.restore(id)
    with pytest.raises(NotFound, match="not in the trash"):
        registry.purge(id)


def test_a_model_whose_deletion_was_cut_short_comes_back(tmp_path: Path) -> None:
    with Registry.open("memory://cut-short", cache_dir=tmp_path) as registry:
        id = publish(registry, "model", model_hash="sha256:00")["id"]
        publish(registry, "model", update=id, model_hash="sha256:01")
        last = ("v1/model.yaml", "v2/catalog.json", "v2/model.yaml")
        left = {f"models/{id}/{name}": registry.store.get(f"models/{id}/{name}") for name in last}
        registry.delete(id)
        # A writer that dies halfway has copied everything, and deleted the first version's catalog first.
        for key, data in left.items():
            registry.store.put(key, data)
        assert ids(registry) == []
        assert registry.restore(id) == id
        assert registry.versions(id) == [1, 2]
        assert ids(registry) == [id]


def test_purge_removes_all_that_is_in_the_trash_and_nothing_else(registry: Registry, tmp_path: Path) -> None:
    kept, gone = publish(registry)["id"], publish(registry)["id"]
    registry.delete(gone)
    assert registry.purge() == [gone]
    assert ids(registry) == [kept]
    assert not list((tmp_path / "artifacts").rglob(f"*{gone}*"))


# The index


def index_file(tmp_path: Path) -> Path:
    [path] = (tmp_path / "cache").glob("*.sqlite")
    return path


def test_index_that_is_deleted_truncated_or_junk_is_made_anew(registry: Registry, tmp_path: Path) -> None:
    published = {publish(registry, name=f"run-{number}", tags=["kept"])["id"] for number in range(20)}
    assert set(ids(registry)) == published

    def damage(path: Path, how: str) -> None:
        if how == "deleted":
            path.unlink()
        elif how == "truncated":
            os.truncate(path, path.stat().st_size // 2)
        elif how == "empty":
            path.write_bytes(b"")
        elif how == "overwritten":
            with path.open("r+b") as stream:
                stream.seek(4096)
                stream.write(os.urandom(path.stat().st_size - 4096))
        else:
            path.write_bytes(os.urandom(8192))

    for how in ("deleted", "truncated", "empty", "overwritten", "junk"):
        registry.close()
        ids(registry)
        registry.close()
        damage(index_file(tmp_path), how)
        assert set(ids(registry, tags=(("kept",),), text="run")) == published, how
        damage(index_file(tmp_path), how)
        assert set(ids(registry, tags=(("kept",),), text="run")) == published, f"{how} while open"


def test_index_of_another_version_is_made_anew(registry: Registry, tmp_path: Path) -> None:
    id = publish(registry)["id"]
    for version in (0, 99):
        ids(registry)
        registry.close()
        connection = sqlite3.connect(index_file(tmp_path))
        connection.execute("DROP TABLE lineage")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        assert ids(registry) == [id]


def test_another_registry_in_the_same_place_is_not_mixed_up(registry: Registry, tmp_path: Path) -> None:
    publish(registry, inputs_hash=HASH, deterministic=True, tags=["old"])
    assert names(registry, tags=(("old",),)) == ["baseline"]
    other = Registry.open(tmp_path / "other", cache_dir=tmp_path / "cache", clock=Clock())
    publish(other, inputs_hash=HASH, deterministic=True, tags=["new"])
    other.close()
    shutil.rmtree(tmp_path / "artifacts")
    (tmp_path / "other").rename(tmp_path / "artifacts")
    assert names(registry, tags=(("new",),)) == ["baseline"]
    assert names(registry, tags=(("old",),)) == []


def test_two_roots_have_two_indexes(registry: Registry, tmp_path: Path) -> None:
    publish(registry)
    with Registry.open(tmp_path / "other", cache_dir=tmp_path / "cache") as other:
        assert other.find(Query()).total == 0
    assert registry.find(Query()).total == 1


def test_a_cache_folder_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as registry:
        id = publish(registry)["id"]
        assert ids(registry) == [id]
        assert registry.status()["index"] is None


def test_what_others_copy_or_remove_by_hand_is_seen(registry: Registry, tmp_path: Path) -> None:
    first, second = publish(registry)["id"], publish(registry)["id"]
    assert len(ids(registry)) == 2
    runs = tmp_path / "artifacts/runs"
    shutil.move(runs / first, tmp_path / "aside")
    assert ids(registry) == [second]
    shutil.move(tmp_path / "aside", runs / first)
    assert set(ids(registry)) == {first, second}


def test_broken_catalogs_and_strangers_are_reported_and_left_alone(
    registry: Registry, tmp_path: Path
) -> None:
    good = publish(registry)["id"]
    root = tmp_path / "artifacts"
    broken = {
        "cut": '{"kind": "run", "id"',
        "list": "[]",
        "moved": json.dumps(
            {"kind": "run", "id": "elsewhere", "name": "x", "created_utc": "2025-01-01T00:00:00Z"}
        ),
        "timeless": json.dumps({"kind": "run", "id": "timeless", "name": "x"}),
        "binary": "\ufffd\x00",
        "tagged": json.dumps(
            {"kind": "run", "id": "tagged", "name": "x", "created_utc": "2025-01-01T00:00:00Z", "tags": "a"}
        ),
    }
    for name, text in broken.items():
        (root / "runs" / name).mkdir()
        (root / "runs" / name / "catalog.json").write_text(text)
    (root / "models/notes").mkdir(parents=True)
    (root / "models/notes/readme.txt").write_text("mine")
    (root / "telemetry").mkdir()
    (root / "telemetry/.DS_Store").write_text("")
    assert ids(registry) == [good]
    status = registry.status()
    assert {each["path"] for each in status["broken"]} == {f"runs/{name}" for name in broken}
    assert all(each["reason"] for each in status["broken"])
    assert {each["path"] for each in status["foreign"]} == {"models/notes", "telemetry/.DS_Store"}
    assert registry.rebuild().broken == status["broken"]
    assert (root / "models/notes/readme.txt").read_text() == "mine"
    with pytest.raises(Unavailable) as caught:
        registry.catalog("cut")
    assert caught.value.code == "FT510"
    assert caught.value.where == str(root / "runs/cut/catalog.json")
    with pytest.raises(Unavailable, match=r"FT510  cannot be read: catalog\.json: tags is 'a'"):
        registry.resolve("tagged")
    repaired = {"kind": "run", "id": "cut", "name": "mended", "created_utc": "2025-01-01T00:00:00Z"}
    (root / "runs/cut/catalog.json").write_text(json.dumps(repaired))
    assert "runs/cut" not in [each["path"] for each in registry.status()["broken"]]
    assert names(registry, text="mended") == ["mended"]
    # What it does not say has a default.
    assert registry.catalog("cut")["owner"] == ""


def test_what_somebody_else_removed_is_said_to_be_gone(registry: Registry, tmp_path: Path) -> None:
    id = publish(registry, "model", model_hash=HASH)["id"]
    assert ids(registry) == [id]
    # No folder that is watched changes with this.
    shutil.rmtree(tmp_path / f"artifacts/models/{id}/v1")
    with pytest.raises(NotFound, match=r"is listed, but its files are gone\n.*index rebuild"):
        registry.catalog(id)
    registry.rebuild()
    with pytest.raises(NotFound, match="no artifact"):
        registry.catalog(id)


STRANGE: list[Any] = [
    None, True, -1, 10**30, 1e308, "", "x", "\ud800", "9" * 5000, "0001-01-01", "9999-12-31T23:59:59-23:59",
    [], [1], [None], ["\ud800"], [["a"]], [{}], [{"name": 1}], [{"name": "\ud800"}], [{"id": []}],
    [{"id": "\ud800"}], [{"component": 1}], {}, {"a": 1}, {"template": []}, {"template": "\ud800"},
    {"nodes": 7}, {"nodes": [1]}, {"nodes": ["\ud800"]}, {"digest": "\ud800"}, {"digest": 1},
]  # fmt: skip


@pytest.mark.parametrize("details", [False, True])
def test_a_catalog_with_any_strange_value_is_listed_or_reported_and_never_fatal(
    registry: Registry, tmp_path: Path, details: bool
) -> None:
    nodes = [f"node_{number}" for number in range(1000 if details else 2)]
    good = publish(registry, nodes=nodes, topology=Topology(nodes=[{"id": node} for node in nodes]))["id"]
    runs = tmp_path / "artifacts/runs"
    whole = json.loads((runs / good / ("details.json" if details else "catalog.json")).read_text())
    strange = set()
    for field in whole:
        for number, value in enumerate(STRANGE):
            id = f"{field}.{number}"
            shutil.copytree(runs / good, runs / id)
            catalog = json.loads((runs / id / "catalog.json").read_text()) | {"id": id}
            (runs / id / "catalog.json").write_text(json.dumps(catalog | ({} if details else {field: value})))
            if details:
                (runs / id / "details.json").write_text(json.dumps(whole | {field: value}))
            strange.add(id)
    found = registry.find(Query(size=1000))
    listed = set(ids(registry, size=1000)) | set(ids(registry, size=1000, page=2))
    broken = {each["path"].removeprefix("runs/") for each in registry.status()["broken"]}
    assert listed | broken == {good, *strange}
    assert found.total + len(broken) == 1 + len(strange)
    json.dumps(found.to_json()).encode()
    registry.rebuild()
    assert registry.find(Query(size=1000)).total == found.total
    found_out = {each.path.split("/")[1] for each in verify(registry).findings}
    assert strange - found_out <= {
        f"{field}.{number}" for field in EDITABLE for number in range(len(STRANGE))
    }


def test_rebuild_finds_everything_again_and_tells_of_its_progress(registry: Registry) -> None:
    for number in range(30):
        publish(registry, name=f"run-{number}")
    model = publish(registry, "model", model_hash=HASH)["id"]
    publish(registry, "model", model_hash="sha256:22", update=model)
    before = registry.find(Query(size=100))
    told: list[tuple[int, int]] = []
    rebuilt = registry.rebuild(lambda done, total: told.append((done, total)))
    assert rebuilt.artifacts == 31
    assert told[-1] == (31, 31)
    assert registry.find(Query(size=100)) == before


def test_a_registry_of_a_newer_format_is_not_touched(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/flowtime.json").write_text('{"format": 2, "id": "x"}')
    for use in (lambda: publish(registry), lambda: registry.find(Query())):
        with pytest.raises(Unavailable) as caught:
            use()
        assert caught.value.code == "FT511"
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == ["flowtime.json"]


def test_abandoned_staging_goes_to_the_trash(registry: Registry, tmp_path: Path) -> None:
    abandoned = tmp_path / "artifacts/.staging/abandoned"
    abandoned.mkdir(parents=True)
    os.utime(abandoned, (0, 0))
    publish(registry)
    assert not abandoned.exists()
    assert (tmp_path / "artifacts/.trash/staging/abandoned").is_dir()
    registry.purge()
    assert not (tmp_path / "artifacts/.trash/staging/abandoned").exists()


def test_what_is_published_is_what_the_schema_describes(registry: Registry) -> None:
    nodes = [f"node_{number}" for number in range(1000)]
    measures = [
        Measure(component=node, measure="value", summary=Summary(min=0, mean=0, max=0)) for node in nodes
    ]
    for published in (publish(registry), publish(registry, nodes=nodes, measures=measures)):
        data = stored_bytes(registry, published["id"], "catalog.json")
        assert set(json.loads(data)) == set(schema()["$defs"]["Catalog"]["properties"])
        assert msgspec.json.decode(data, type=Catalog).id == published["id"]


def test_questions_are_bounded(tmp_path: Path) -> None:
    for text in (" ".join(f"w{i}" for i in range(33)), "a" * 1001):
        with pytest.raises(InvalidInput) as caught:
            Query(text=text)
        assert caught.value.code == "FT504"
    # A word said twice asks for nothing more.
    assert Query(text="a " * 100_000).text == "a"


def test_readers_read_side_by_side_and_not_behind_a_writer(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as registry:
        assert registry.find(Query()).total == 0
        index = registry._index
        met = threading.Barrier(4)
        read_by: list[int] = []

        def read() -> None:
            with index.snapshot(None) as (_, view):
                met.wait(20)
                read_by.append(view.find(Query())[1])

        threads = [threading.Thread(target=read) for _ in range(3)]
        with index._writing():
            for thread in threads:
                thread.start()
            met.wait(20)
        for thread in threads:
            thread.join(20)
        assert read_by == [0, 0, 0]


def test_a_question_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as registry:
        assert registry.find(Query()).total == 0
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        asked: list[None] = []

        def ask() -> None:
            asked.append(None)
            if len(asked) > 3:
                raise TimeoutError

        with wanted_while(ask), pytest.raises(TimeoutError), registry._index.snapshot(None) as (_, view):
            view._select(endless, [])
        assert registry.find(Query()).total == 0
