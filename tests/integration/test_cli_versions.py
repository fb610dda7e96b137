"""Versions and names: what is made again is what was asked for, and no name is taken silently."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.commands import Command, ended, started
from tests.servers import Servers

import flowtime as ft
from flowtime.model.source import parse

TEXT = """grid: {{bins: 2, binSize: 1, binUnit: hours}}
metadata: {{title: {title}}}
nodes:
  - {{id: calls, kind: const, values: {calls}}}
  - {{id: answered, kind: expr, expr: "MIN(calls, 4)"}}
"""


def text(calls: int = 3, title: str = "Shop") -> str:
    return TEXT.format(calls=calls, title=title)


def two_versions(flowtime: Command) -> str:
    """The id of a model "base" whose first version has 6 workers, and its second 9."""
    first = flowtime("sim", "new", "--template", "checkout", "--name", "base", "--json").json
    words = ("sim", "new", "--template", "checkout", "--name", "base", "--set", "payment_workers=9")
    second = flowtime(*words, "--update", first["id"], "--json").json
    assert (first["reference"], second["reference"]) == (f"{first['id']}@v1", f"{first['id']}@v2")
    return str(first["id"])


def workers(model: str) -> float:
    return float(_parsed(model)["parameters"]["payment_workers"]["value"])


def test_what_is_made_again_is_its_own_version_on_the_command_line(flowtime: Command, tmp_path: Path) -> None:
    id = two_versions(flowtime)
    again = flowtime("sim", "new", "--template", "checkout", "--name", "base")
    assert again.stdout.startswith(f"model {id}@v1 ")
    assert f"next: flowtime run --model {id}@v1\n" in again.stdout
    assert f'note: "base" is {id}@v1 already, made ' in again.stderr
    assert "the newest version is v2" in again.stderr
    run = flowtime("run", "--model", f"{id}@v1", "--json").json
    assert (run["model_id"], run["model_version"]) == (id, 1)
    flowtime("sim", "new", "--template", "checkout", "--out", "base.yaml", "--name", "base")
    listed = flowtime("list", "--kind", "model", "--json").json["artifacts"]
    assert [(item["id"], item["model_version"]) for item in listed] == [(id, 2)]


def test_what_is_made_again_is_its_own_version_over_http_and_on_pages(
    flowtime: Command, tmp_path: Path
) -> None:
    id = two_versions(flowtime)
    first = (tmp_path / f"artifacts/models/{id}/v1/model.yaml").read_text()
    with Servers(tmp_path) as servers, httpx.Client(base_url=servers(), timeout=60) as client:
        filled = client.post("/v1/templates/checkout/models", json={"name": "base"})
        sent = client.post(
            "/v1/models", params={"name": "base"}, content=first, headers={"Content-Type": "text/yaml"}
        )
        for answer in (filled, sent):
            told = answer.json()
            assert (told["id"], told["model_version"], told["reference"]) == (id, 1, f"{id}@v1")
            assert answer.headers["location"] == f"/v1/artifacts/{id}@v1"
            assert told["files"]["model"].endswith(f"/{id}@v1/files/model.yaml")
            assert told["notes"]
        run = client.post("/v1/runs", json={"model_id": told["reference"]}).json()
        assert run["model_version"] == 1
        form = {"name": "base", "then": "run"}
        led = client.post("/templates/checkout", data=form).headers["location"].partition("?")[0]
        assert client.get(f"/v1{led}").json()["model_version"] == 1
        shown = client.post("/templates/checkout", data={"name": "base"}).headers["location"]
        assert shown == f"/artifacts/{id}@v1"


def test_what_is_made_again_is_its_own_version_in_the_library(flowtime: Command, tmp_path: Path) -> None:
    id = two_versions(flowtime)
    with ft.Registry(tmp_path / "artifacts") as registry:
        model = registry.create_model("checkout", name="base")
        assert (model.id, model.version, model.catalog["model_version"]) == (id, 1, 1)
        assert registry.run(model).catalog["model_version"] == 1
        assert registry.get(f"{id}@v1") == model
        assert registry.get("base") != model
        assert registry.get("base").version == 2
        assert workers(model.model().text) != workers(registry.get("base").model().text)


@pytest.mark.parametrize(
    ("change", "version"),
    [
        (lambda t: "# a comment\n" + t, 1),
        (lambda t: json.dumps(dict(reversed(_parsed(t).items()))), 1),
        (lambda t: t.replace("title: Shop", "title: Store"), 2),
        (lambda t: t.replace("title: Shop", "title: Shop, description: all calls"), 2),
        (lambda t: t + "provenance: {ticket: 7}\n", 2),
        (lambda t: t.replace("metadata: {title: Shop}\n", ""), 2),
    ],
)
def test_the_same_content_is_the_same_document_comments_and_order_aside(
    tmp_path: Path, change: Any, version: int
) -> None:
    service = ft.Registry(tmp_path / "artifacts")._service
    first = service.publish_model(text().encode(), name="shop", visibility="public", tags=("a",))
    service.edit(first["id"], star=True)
    again = service.publish_model(change(text()).encode(), name="shop", tags=("b",))
    assert (again["id"], again["model_version"]) == (first["id"], version)
    assert again["model_hash"] == first["model_hash"]
    assert (again["visibility"], again["star"]) == ("public", True)
    assert again["tags"] == (["a"] if version == 1 else ["a", "b"])
    # Either is found again, with any number of versions after it.
    assert service.publish_model(text().encode(), name="shop")["reference"] == f"{first['id']}@v1"
    assert service.publish_model(change(text()).encode(), name="shop")["model_version"] == version


def _parsed(document: str) -> dict[str, Any]:
    parsed: dict[str, Any] = parse(document).value
    return parsed


def test_a_catalog_without_a_document_hash_is_known_by_the_bytes_of_its_model(tmp_path: Path) -> None:
    service = ft.Registry(tmp_path / "artifacts")._service
    id = service.publish_model(text().encode(), name="shop")["id"]
    path = tmp_path / f"artifacts/models/{id}/v1/catalog.json"
    catalog = json.loads(path.read_text())
    del catalog["document_hash"], catalog["source_path"]
    path.write_text(json.dumps(catalog))
    service.rebuild_index()
    assert service.publish_model(text().encode(), name="shop")["model_version"] == 1
    changed = service.publish_model(text(title="Store").encode(), name="shop")
    assert changed["reference"] == f"{id}@v2"


def test_writers_who_publish_at_once_lose_nothing_and_make_nothing_twice(
    flowtime: Command, tmp_path: Path
) -> None:
    def at_once() -> list[dict[str, Any]]:
        words = [sys.executable, "-m", "flowtime", "run", "shop.yaml", "--json", "--artifacts"]
        os.chdir(tmp_path)
        return [
            json.loads(said) for said in ended([started([*words, f"{tmp_path}/artifacts"]) for _ in range(4)])
        ]

    flowtime("sim", "new", "--template", "checkout", "--name", "other")
    (tmp_path / "shop.yaml").write_text(text())
    first = at_once()
    assert {(run["model_id"], run["model_version"]) for run in first} == {(first[0]["model_id"], 1)}
    (tmp_path / "shop.yaml").write_text(text(calls=5))
    second = at_once()
    assert {(run["model_id"], run["model_version"]) for run in second} == {(first[0]["model_id"], 2)}
    assert flowtime("list", "--kind", "model", "--json").json["total"] == 2


def test_a_run_knows_the_version_that_made_it(flowtime: Command, tmp_path: Path) -> None:
    id = two_versions(flowtime)
    old = flowtime("run", "--model", f"{id}@v1", "--name", "old", "--json").json
    new = flowtime("run", "--model", id, "--name", "new", "--json").json
    flowtime("export", "--run", "old", "--out", "old.csv")
    flowtime("import", "--data", "old.csv", "--name", "back")
    made = {
        number: json.loads((tmp_path / f"artifacts/models/{id}/v{number}/catalog.json").read_text())
        for number in (1, 2)
    }
    for name, version in (("old", 1), ("new", 2), ("back", 1)):
        parents = flowtime("show", name, "--json").json["lineage"]["parents"]
        [model] = [each for each in parents if each["kind"] == "model"]
        assert (model["reference"], model["version"]) == (f"{id}@v{version}", version)
        assert model["created_utc"] == made[version]["created_utc"]
    assert f"model {id}@v1 (made " in flowtime("show", "old").stdout
    told = flowtime("show", f"{id}@v1", "--json").json["lineage"]["children"]
    assert {each["name"] for each in told} == {"old", "back"}
    told = flowtime("show", id, "--json").json["lineage"]["children"]
    assert {each["name"]: each["made_from"] for each in told if each["kind"] == "run"} == {
        "old": f"{id}@v1",
        "new": f"{id}@v2",
    }
    with Servers(tmp_path) as servers, httpx.Client(base_url=servers(), timeout=60) as client:
        for run, version, other in ((old, 1, 2), (new, 2, 1)):
            page = client.get(f"/artifacts/{run['id']}").text
            assert page.count(f'href="/artifacts/{id}@v{version}"') == 2
            assert page.count(f">base v{version}") == 2
            assert f"{id}@v{other}" not in page
            assert f'href="/artifacts/{id}"' not in page
        older = client.get(f"/artifacts/{id}@v1").text
        assert f'action="/artifacts/{id}@v1/run"' in older
        assert f'href="/artifacts/{old["id"]}"' in older
        assert new["id"] not in older
        ran = client.post(f"/artifacts/{id}@v1/run", data={"name": "third"}).headers["location"]
        assert client.get(f"/v1{ran.partition('?')[0]}").json()["model_version"] == 1


def test_models_of_one_name_are_listed_with_what_tells_them_apart(flowtime: Command, tmp_path: Path) -> None:
    ids = [
        flowtime(
            "sim",
            "new",
            "--template",
            "checkout",
            "--name",
            "shop",
            "--set",
            f"payment_workers={n}",
            "--json",
        ).json["id"]
        for n in (3, 4, 5)
    ]
    run = flowtime("run", "--model", ids[0], "--name", "shop-run", "--json").json["id"]
    for words in (
        ("run", "--model", "shop"),
        ("show", "shop"),
        ("explain", "shop"),
        ("test-loop", "--model", "shop"),
        ("sim", "derive", "--from", "shop", "--set", "payment_workers=7"),
        ("sim", "new", "--template", "checkout", "--update", "shop"),
        ("compare", "--baseline", "shop", "--comparison", ids[0]),
        ("open", "--id", "shop", "--print"),
        ("tag", "shop", "+a"),
        ("run", "--model", "shop@v1"),
    ):
        error = flowtime(*words, "--json", code=2).error
        assert error["code"] == "FT503", words
        assert {each["source"] for each in error["errors"]} == {f"{id}@v1" for id in ids}
        assert [each["message"].rpartition(": ")[2] for each in error["errors"]] == [
            f"payment_workers {n}" for n in (5, 4, 3)
        ]
        assert all(each["message"].startswith("made ") for each in error["errors"])
    told = flowtime("run", "--model", "shop", code=2).stderr
    assert all(id in told for id in ids)
    assert "payment_workers 3" in told
    assert flowtime("list", "--json").json["total"] == 4
    with ft.Registry(tmp_path / "artifacts") as registry, pytest.raises(ft.FlowtimeError, match="FT503"):
        registry.get("shop")
    with Servers(tmp_path) as servers, httpx.Client(base_url=servers(), timeout=60) as client:
        for answer in (
            client.get("/v1/artifacts/shop"),
            client.post("/v1/runs", json={"model_id": "shop"}),
            client.get("/v1/models/shop/graph"),
            client.get("/v1/compare", params={"baseline": "shop", "comparison": "shop"}),
        ):
            assert answer.json()["code"] == "FT503"
            assert len(answer.json()["errors"]) == 3
        page = client.get("/artifacts/shop", headers={"Accept": "text/html"}).text
        for id in ids:
            assert f'href="/artifacts/{id}@v1"' in page
        assert "payment_workers 4" in page
        page = client.get("/compare", params={"a": "shop", "b": ids[0]}).text
        assert f'href="/compare?a={ids[2]}%40v1&amp;b={ids[0]}"' in page
        assert client.get(f"/artifacts/{run}").status_code == 200


def test_of_runs_of_one_name_the_newest_is_taken_and_said_so(flowtime: Command, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(text())
    runs = [flowtime("run", "shop.yaml", "--name", "day", "--json").json["id"] for _ in range(3)]
    said = f'3 runs are called "day"; this is the newest, {runs[-1]}, made '
    for words in (
        ("show", "day"),
        ("export", "--run", "day", "--out", "day.csv"),
        ("compare", "--baseline", "day", "--comparison", runs[0]),
        ("open", "--id", "day", "--print"),
        ("star", "day"),
    ):
        assert f"note: {said}" in flowtime(*words).stderr
        [note] = flowtime(*words, "--json").json["notes"]
        assert note.startswith(said)
    assert f"note: {said}" in flowtime("export", "--run", "day", "--format", "csv", "--out", "-").stderr
    assert flowtime("show", runs[-1], "--json").json["notes"] == []
    with ft.Registry(tmp_path / "artifacts") as registry:
        assert registry.get("day").notes[0].startswith(said)
    with Servers(tmp_path) as servers, httpx.Client(base_url=servers(), timeout=60) as client:
        assert client.get("/v1/artifacts/day").json()["notes"][0].startswith(said)
        told = client.get("/v1/compare", params={"baseline": "day", "comparison": runs[0]}).json()
        assert told["baseline"] == runs[-1]
        assert told["notes"][0].startswith(said)
        for path in ("/artifacts/day", f"/compare?a=day&b={runs[0]}"):
            assert said.replace('"', "&#34;") in client.get(path).text
        series = client.get("/v1/runs/day/series").json()
        assert series["ids"] == [runs[-1]]
        assert runs[-1] in client.get("/v1/runs/day/export/gold").headers["content-disposition"]


def test_a_file_that_was_edited_is_the_next_version_of_its_own_model(
    flowtime: Command, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shop.yaml").write_text(text(calls=1 if folder == "a" else 2))

    def run(*words: str, cwd: str = "") -> tuple[str, str]:
        done = flowtime("run", *words, "--out", tmp_path / "artifacts", "--json", cwd=tmp_path / cwd).json
        return f"{done['model_id']}@v{done['model_version']}", " ".join(done["notes"])

    first, note = run("a/shop.yaml")
    assert first.endswith("@v1")
    assert note == f"a/shop.yaml is a new model, {first}"
    id = first.removesuffix("@v1")
    # Another file of this name is another model, and says so.
    other, note = run("b/shop.yaml")
    assert not other.startswith(f"{id}@")
    assert note.startswith(f"b/shop.yaml is a new model, {other}; other models are called shop: {id}")
    (tmp_path / "a/shop.yaml").write_text(text(calls=7))
    second, note = run("shop.yaml", cwd="a")
    assert second == f"{id}@v2"
    assert note == f"shop.yaml has changed: it is {id}@v2, the next version of the model"
    (tmp_path / "b/shop.yaml").write_text(text(calls=8))
    assert run("b/shop.yaml")[0] == other.replace("@v1", "@v2")
    # What it was before is that version again, and unchanged it is found.
    (tmp_path / "a/shop.yaml").write_text("# as at first\n" + text(calls=1))
    again, note = run("a/shop.yaml")
    assert again == first
    assert "the newest version is v2" in note
    # Another person's file is another model.
    (tmp_path / "a/shop.yaml").write_text(text(calls=9))
    done = flowtime("run", "a/shop.yaml", "--json", env={"FLOWTIME_OWNER": "somebody"}).json
    assert done["model_id"] not in (id, other.removesuffix("@v1"))
    # A new one where that is asked for, and its own edits go there.
    forced, note = run("a/shop.yaml", "--new")
    assert forced.endswith("@v1")
    assert not forced.startswith(f"{id}@")
    (tmp_path / "a/shop.yaml").write_text(text(calls=10))
    assert run("a/shop.yaml")[0] == forced.replace("@v1", "@v2")
    error = flowtime("run", "--model", id, "--new", "--json", code=2).error
    assert "--new" in error["hint"]


def test_a_path_is_relative_to_where_the_registry_lies(flowtime: Command, tmp_path: Path) -> None:
    (tmp_path / "work/models").mkdir(parents=True)
    (tmp_path / "work/models/shop.yaml").write_text(text())
    first = flowtime("run", "models/shop.yaml", "--json", cwd=tmp_path / "work").json
    path = tmp_path / f"work/artifacts/models/{first['model_id']}/v1/catalog.json"
    assert json.loads(path.read_text())["source_path"] == "models/shop.yaml"
    moved = tmp_path / "moved"
    (tmp_path / "work").rename(moved)
    (moved / "models/shop.yaml").write_text(text(calls=9))
    second = flowtime("run", "shop.yaml", "--out", "../artifacts", "--json", cwd=moved / "models").json
    assert (second["model_id"], second["model_version"]) == (first["model_id"], 2)


def test_a_file_that_a_program_loads_and_runs_is_followed_as_well(tmp_path: Path) -> None:
    with ft.Registry(tmp_path / "artifacts") as registry:
        seen = []
        for calls in (1, 2, 1):
            (tmp_path / "shop.yaml").write_text(text(calls=calls))
            catalog = registry.run(ft.load_model(tmp_path / "shop.yaml")).catalog
            seen.append((catalog["model_id"], catalog["model_version"]))
        assert seen == [(seen[0][0], 1), (seen[0][0], 2), (seen[0][0], 1)]
        assert registry.run(tmp_path / "shop.yaml").catalog["model_version"] == 1
        fresh = registry.run(tmp_path / "shop.yaml", new=True)
        assert fresh.catalog["model_id"] != seen[0][0]
        assert "is a new model" in fresh.notes[0]
