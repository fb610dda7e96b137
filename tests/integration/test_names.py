"""Whatever can be stored can be named: over HTTP, on pages, at the command line and in filters."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.commands import Command
from tests.servers import Servers
from tests.worlds import publish

from flowtime.registry import Registry
from flowtime.service import Flowtime
from flowtime.settings import load

MODEL = """\
grid: {bins: 2, binSize: 1, binUnit: hours, start: 2025-01-01T00:00:00Z}
nodes:
  - {id: a, kind: const, values: [1, 2]}
"""
NAMES = (
    "name@v2",
    "dev_team/test",
    "a/files/catalog.json",
    "a/../b",
    "/a/",
    "deletion",
    "index",
    "new",
    "shop.yaml",
    "-v",
    "50 % off? #1 'x' \"y\" & <b>",
    "a+b=c;d\\e",
    "Größe ②",
    "🚀",
    "👩‍💻 crew",
    "a  b",
    "%2F",
)
JSON = dict[str, Any]


@pytest.fixture
def named(tmp_path: Path) -> dict[str, str]:
    """The ids of runs with these names, one each, by name."""
    (tmp_path / "a.yaml").write_text(MODEL)
    service = Flowtime(load({"artifacts": str(tmp_path / "artifacts")}))
    ids = {name: str(service.run(str(tmp_path / "a.yaml"), name=name)["id"]) for name in NAMES}
    service.registry.close()
    return ids


def test_every_name_is_reached(named: dict[str, str], serve: Servers, flowtime: Command) -> None:
    with httpx.Client(base_url=serve(), timeout=60) as client:
        for name, id in named.items():
            asked = quote(name, safe="")
            shown = client.get(f"/v1/artifacts/{asked}")
            assert (shown.status_code, shown.json().get("id")) == (200, id), name
            for place in (
                f"/v1/artifacts/{asked}/files/catalog.json",
                f"/v1/runs/{asked}/series",
                f"/v1/runs/{asked}/graph",
                f"/v1/runs/{asked}/export/ndjson",
                f"/artifacts/{asked}",
                f"/artifacts/{asked}/series.csv?index=0",
            ):
                assert client.get(place).status_code == 200, place
            changed = client.patch(f"/v1/artifacts/{asked}", json={"add_tags": ["seen"]})
            assert changed.json()["id"] == id, name
            page = client.get(f"/artifacts/{asked}", headers={"Accept": "text/html"}).text
            assert f'data-id="{id}"' in page or id in page
    for name in ("name@v2", "dev_team/test", "-v", "🚀"):
        assert flowtime("show", "--id", name, "--json").json["id"] == named[name]


def test_a_model_is_run_by_a_name_that_looks_like_a_file(flowtime: Command, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MODEL)
    flowtime("sim", "new", "--template", "checkout", "--name", "dev_team/test")
    run = flowtime("run", "--model", "dev_team/test", "--json").json
    assert run["model_id"] == flowtime("show", "dev_team/test", "--json").json["id"]
    assert flowtime("compare", "dev_team/test", "dev_team/test", "--json").json["model"]["equal"]
    assert flowtime("run", "--model", "dev_team/toast", "--json", code=3).error["code"] == "FT105"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_both_ways_to_write_an_accent_are_the_same(
    form: str, serve: Servers, tmp_path: Path, flowtime: Command
) -> None:
    name, tag = "Café Größe", "straße-é"
    stored = {key: unicodedata.normalize(form, text) for key, text in (("name", name), ("tag", tag))}
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as registry:
        id = publish(registry, name=stored["name"], owner=stored["name"], tags=[stored["tag"]])
        catalog = registry.catalog(id)
        assert (catalog["name"], catalog["tags"]) == (name, [tag])
    # What an older flowtime has stored is found as well.
    path = tmp_path / "artifacts" / "runs" / id / "catalog.json"
    path.write_text(path.read_text().replace(name, stored["name"]).replace(tag, stored["tag"]))
    flowtime("index", "rebuild")
    with httpx.Client(base_url=serve(), timeout=60) as client:
        for asked in (unicodedata.normalize(way, name) for way in ("NFC", "NFD")):
            assert client.get(f"/v1/artifacts/{quote(asked, safe='')}").json()["id"] == id
            for filter in ({"owner": asked}, {"query": asked}):
                assert client.get("/v1/artifacts", params=filter).json()["total"] == 1
        for asked in (unicodedata.normalize(way, tag) for way in ("NFC", "NFD")):
            assert client.get("/v1/artifacts", params={"tag": asked}).json()["total"] == 1
            assert client.get("/artifacts", params={"tag": asked}).text.count(f"/artifacts/{id}") > 0
    assert flowtime("tag", id, f"-{unicodedata.normalize('NFD', tag)}", "--json").json["tags"] == []


def test_space_around_a_name_does_not_count(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as registry:
        id = publish(registry, name="  night shift ", owner=" ada ")
        assert (registry.catalog(id)["name"], registry.catalog(id)["owner"]) == ("night shift", "ada")
        assert registry.resolve(" night shift") == registry.resolve("night shift") == id


@pytest.mark.parametrize(
    "name", [".", "..", " .. ", "", " ", "\u200b", "a\tb", "a\nb", "a\x85b", "a\u2028b", "\0"]
)
def test_what_cannot_be_reached_is_refused(name: str, serve: Servers) -> None:
    with httpx.Client(base_url=serve(), timeout=60) as client:
        made = client.post(
            "/v1/models", params={"name": name}, content=MODEL, headers={"Content-Type": "application/yaml"}
        )
        assert made.status_code in (400, 422) or name == ""
        if name:
            assert made.json()["code"] == "FT508"
            assert client.get("/v1/artifacts").json()["total"] == 0


def test_a_name_never_hides_behind_an_id(tmp_path: Path, flowtime: Command) -> None:
    model = flowtime("sim", "new", "--template", "checkout", "--name", "shop", "--json").json["id"]
    for name in (model, f"{model}@v1", f"{model}@v7"):
        error = flowtime("run", "--model", "shop", "--name", name, "--json", code=2).error
        assert error["code"] == "FT508" and model in error["hint"]
        flowtime("edit", model, "--name", name, "--json", code=0 if name == model else 2)
    assert flowtime("list", "--json").json["total"] == 1


def test_a_version_of_an_id_is_meant_before_a_name(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as registry:
        model = publish(registry, "model", name="shop", model_hash="sha256:1", files={"model.yaml": b"x"})
        publish(registry, "model", model, name="shop", model_hash="sha256:2", files={"model.yaml": b"y"})
        assert registry.resolve("shop@v1") == f"{model}@v1"
        run = publish(registry, name="shop@v1")
        assert registry.resolve("shop@v1") == run
        assert registry.resolve(f"{model}@v1") == f"{model}@v1"
