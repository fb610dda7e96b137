"""What one user may read and change of another's, over HTTP, at every address."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.servers import Servers, new_token, problem

JSON = dict[str, Any]

MODEL = """\
grid: {bins: 4, binSize: 1, binUnit: hours, start: 2025-09-01T00:00:00Z}
nodes:
  - {id: arrivals, kind: const, values: [10, 20, 30, 20]}
  - {id: served, kind: expr, expr: "MIN(arrivals, 25)"}
"""
YAML = {"Content-Type": "application/yaml"}


@dataclass(frozen=True)
class Town:
    """A server with its users, and what ada made there: by visibility, the ids by kind."""

    users: dict[str, httpx.Client]
    made: dict[str, dict[str, str]]
    table: bytes
    bundle: bytes
    job: str


def make(user: httpx.Client, visibility: str, name: str) -> dict[str, str]:
    """A model, a run of it and telemetry of that."""
    label = {"name": name, "visibility": visibility}
    model = user.post("/v1/models", params={**label, "tags": "night"}, content=MODEL, headers=YAML).json()[
        "id"
    ]
    run = user.post("/v1/runs", json={"model_id": model, "deterministic": True, **label}).json()["id"]
    bundle = user.get(f"/v1/runs/{run}/export/bundle").content
    telemetry = user.post("/v1/import", params=label, content=bundle).json()["id"]
    return {"model": model, "run": run, "telemetry": telemetry}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Servers(tmp_path_factory.mktemp("visibility")) as servers:
        auth = servers.folder / "access.toml"
        tokens = {
            "ada": new_token(auth, "ada", "writer", "ops"),
            "bob": new_token(auth, "bob", "writer", "lab", "ops"),
            "eve": new_token(auth, "eve", "writer", "sales"),
            "kim": new_token(auth, "kim", "reader", "ops"),
            "root": new_token(auth, "root", "admin"),
        }
        url = servers("--auth", auth)
        users = {
            name: httpx.Client(base_url=url, headers=token, timeout=60) for name, token in tokens.items()
        }
        ada = users["ada"]
        # What eve sees of a registry that has nothing for her, before anything is hidden from her there.
        made = {visibility: make(ada, visibility, f"{visibility} one") for visibility in ("private", "team")}
        run = made["private"]["run"]
        job = ada.post(
            "/v1/loops", json={"model_id": made["private"]["model"]}, headers={"Prefer": "respond-async"}
        ).json()["id"]
        while ada.get(f"/v1/jobs/{job}").json()["finished_utc"] is None:
            time.sleep(0.05)
        table = ada.get(f"/v1/runs/{run}/export/gold").content
        yield Town(users, made, table, ada.get(f"/v1/runs/{run}/export/bundle").content, job)
        for user in users.values():
            user.close()


def absent(id: str) -> str:
    """An id of the same shape that nobody has."""
    return id[:-8] + "0" * 8


ASKED: list[tuple[str, str, JSON]] = [
    ("POST", "/v1/runs", {"json": {"model_id": "{id}"}}),
    ("POST", "/v1/runs", {"json": {"telemetry_id": "{id}"}}),
    ("POST", "/v1/loops", {"json": {"model_id": "{id}"}}),
    ("POST", "/export", {"json": {"runId": "{id}"}}),
    ("GET", "/export/csv", {"params": {"runId": "{id}"}}),
    ("GET", "/v1/compare", {"params": {"baseline": "{id}", "comparison": "{id}"}}),
    ("POST", "/v1/trash/purge", {"params": {"id": "{id}", "confirm": "true"}}),
    (
        "POST",
        "/v1/import",
        {
            "params": {"model": "{id}", "dry_run": "true"},
            "content": b"time_bin,component_id,measure,value\n0,a,m,1\n",
        },
    ),
    ("POST", "/v1/models", {"params": {"update": "{id}"}, "content": MODEL, "headers": YAML}),
    ("POST", "/v1/templates/checkout/models", {"json": {"update": "{id}"}}),
]
"""Requests that name an artifact elsewhere than in the path."""
BODIES: JSON = {
    "PATCH /v1/artifacts/{id}": {"json": {"name": "mine"}},
    "DELETE /v1/artifacts/{id}": {"params": {"confirm": "true", "force": "true"}},
    "POST /v1/models/{id}/derive": {"json": {"parameters": {"arrivals": [1, 2, 3, 4]}}},
}
"""What requests with an artifact in the path need besides."""


def requests_of(client: httpx.Client) -> list[tuple[str, str, JSON]]:
    """Every request of the API that names an artifact, with `{id}` where it stands."""
    found = list(ASKED)
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        if "{id}" in path and not path.startswith(("/v1/jobs", "/v1/templates")):
            for method in methods:
                filled = path.replace("{format}", "gold").replace("{name}", "catalog.json")
                assert not re.search(r"\{(?!id\})", filled), f"say what {path} is asked with"
                found.append((method.upper(), filled, BODIES.get(f"{method.upper()} {path}", {})))
    return found


def with_id(value: Any, id: str) -> Any:
    if isinstance(value, dict):
        return {key: with_id(each, id) for key, each in value.items()}
    return value.replace("{id}", id) if isinstance(value, str) else value


def ask(user: httpx.Client, request: tuple[str, str, JSON], id: str) -> httpx.Response:
    method, path, more = request
    return user.request(method, path.replace("{id}", id), **with_id(more, id))


@pytest.mark.parametrize("kind", ["model", "run", "telemetry"])
@pytest.mark.parametrize("visibility", ["private", "team"])
def test_a_hidden_artifact_is_as_if_it_were_not_there(town: Town, visibility: str, kind: str) -> None:
    id = town.made[visibility][kind]
    before = town.users["ada"].get(f"/v1/artifacts/{id}").text
    asked = requests_of(town.users["eve"])
    assert len(asked) >= 20
    for request in asked:
        for suffix in ("", "@v1"):
            hidden = ask(town.users["eve"], request, id + suffix)
            nowhere = ask(town.users["eve"], request, absent(id) + suffix)
            assert hidden.status_code in {404, 422}, (request, hidden.text)
            told = hidden.text.replace(id, absent(id))
            assert (hidden.status_code, told) == (nowhere.status_code, nowhere.text), request
    assert town.users["ada"].get(f"/v1/artifacts/{id}").text == before


PAGES: list[tuple[str, str, JSON]] = [
    ("GET", "/artifacts/{id}", {}),
    ("GET", "/artifacts/{id}/edit", {}),
    ("GET", "/artifacts/{id}/preview.svg", {}),
    ("GET", "/artifacts/{id}/series.csv", {}),
    ("GET", "/deletion", {"params": {"id": "{id}"}}),
    ("GET", "/compare", {"params": {"a": "{id}", "b": "{id}"}}),
    ("GET", "/compare.csv", {"params": {"a": "{id}", "b": "{id}"}}),
    ("GET", "/models/new", {"params": {"from": "{id}"}}),
    ("POST", "/artifacts/{id}/run", {"data": {"name": "mine"}}),
]


@pytest.mark.parametrize("kind", ["model", "run", "telemetry"])
def test_a_page_of_a_hidden_artifact_is_as_if_it_were_not_there(town: Town, kind: str) -> None:
    id = town.made["private"][kind]
    for method, path, more in PAGES:
        for accepted in ("text/html", "application/json"):
            request = (method, path, {**more, "headers": {"Accept": accepted}})
            hidden, nowhere = (ask(town.users["eve"], request, each) for each in (id, absent(id)))
            told = hidden.text.replace(id, absent(id))
            assert (hidden.status_code, told) == (nowhere.status_code, nowhere.text), path
    for path in ("/", "/artifacts", "/trash", "/jobs", "/import", "/compare"):
        for name in ("eve", "bob"):
            shown = town.users[name].get(path, headers={"Accept": "text/html"})
            assert shown.status_code == 200, (path, shown.text[:300])
            assert id not in shown.text
    assert id in town.users["ada"].get("/artifacts", headers={"Accept": "text/html"}).text
    assert town.users["ada"].get(f"/artifacts/{id}").status_code == 200
    hidden = town.users["eve"].get(f"/jobs/{town.job}", headers={"Accept": "text/html"})
    assert hidden.status_code == 404


def test_pages_ask_who_looks(town: Town) -> None:
    id = town.made["private"]["run"]
    with httpx.Client(base_url=town.users["eve"].base_url) as stranger:
        for _, path, _ in PAGES[:-1]:
            place = path.replace("{id}", id)
            shown = stranger.get(place, headers={"Accept": "text/html"})
            assert shown.status_code == 303, place
            assert shown.headers["location"].startswith("/login?")
            assert problem(stranger.get(place)) == (401, "FT828")
        page = stranger.get("/login", headers={"Accept": "text/html"})
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
        assert "frame-ancestors 'none'" in policy


def test_the_walk_above_reaches_what_is_there(town: Town) -> None:
    # The same requests by the owner are answered, so the walk asks for what is there.
    id = town.made["private"]["run"]
    asked = [request for request in requests_of(town.users["ada"]) if request[0] == "GET"]
    answered = [request for request in asked if ask(town.users["ada"], request, id).status_code == 200]
    assert {path for _, path, _ in answered} >= {
        "/v1/artifacts/{id}",
        "/v1/artifacts/{id}/files/catalog.json",
        "/v1/runs/{id}/series",
        "/v1/runs/{id}/graph",
        "/v1/runs/{id}/export/gold",
        "/v1/runs/{id}/export/gold/metadata",
        "/v1/compare",
        "/export/csv",
    }


QUERIES: list[JSON] = [
    {},
    {"query": "one"},
    {"query": "priv"},
    {"query": "arrivals", "ranked": "true"},
    {"tag": "night"},
    {"owner": "ada"},
    {"kind": "run"},
    {"sort": "name_asc"},
    {"from": "2020-01-01"},
]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_lists_and_counts_hold_what_may_be_read(town: Town, query: JSON) -> None:
    totals = {}
    for name, sees in (
        ("ada", {"private", "team"}),
        ("bob", {"team"}),
        ("kim", {"team"}),
        ("root", {"private", "team"}),
    ):
        found = town.users[name].get("/v1/artifacts", params={**query, "size": 100, "page": 1}).json()
        ids = {item["id"] for item in found["artifacts"]}
        hidden = {
            id for visibility, made in town.made.items() if visibility not in sees for id in made.values()
        }
        assert not ids & hidden
        assert found["total"] == len(ids)
        totals[name] = found["total"]
    eve = town.users["eve"].get("/v1/artifacts", params={**query, "owner": "ada"}).json()
    assert (eve["artifacts"], eve["total"]) == ([], 0)
    assert totals["ada"] == totals["root"] >= totals["bob"] == totals["kim"]


def test_counts_of_the_index_hold_what_may_be_read(town: Town) -> None:
    seen = {name: town.users[name].get("/v1/index").json() for name in town.users}
    assert seen["root"]["artifacts"]["run"] >= 2
    assert seen["bob"]["artifacts"]["run"] == seen["root"]["artifacts"]["run"] - 1
    # Where things lie is not for those who may not read everything.
    assert {seen["bob"].get(name) for name in ("root", "index")} == {None}


def test_lineage_names_what_may_be_read(town: Town) -> None:
    ada, bob = town.users["ada"], town.users["bob"]
    private, team = town.made["private"], town.made["team"]
    model = ada.post(
        "/v1/models", params={"name": "shared", "visibility": "team"}, content=MODEL, headers=YAML
    ).json()
    secret = ada.post("/v1/runs", json={"model_id": model["id"], "name": "secret run"}).json()["id"]
    assert secret in ada.get(f"/v1/artifacts/{model['id']}").text
    assert "secret" not in bob.get(f"/v1/artifacts/{model['id']}").text
    assert private["model"] not in bob.get(f"/v1/artifacts/{team['run']}").text
    # What depends on it is told among what may be read: bob sees none.
    refused = bob.delete(f"/v1/artifacts/{model['id']}")
    assert problem(refused) == (409, "FT802")
    assert "secret" not in refused.text


def test_nobody_finds_out_by_content_who_has_the_same(town: Town) -> None:
    eve, made = town.users["eve"], town.made["private"]
    params = {"name": "private one"}
    mine = eve.post("/v1/models", params=params, content=MODEL, headers=YAML).json()
    assert mine["owner"] == "eve"
    assert mine["id"] != made["model"]
    assert (
        mine["created_utc"] != town.users["ada"].get(f"/v1/artifacts/{made['model']}").json()["created_utc"]
    )
    assert eve.post("/v1/models", params=params, content=MODEL, headers=YAML).json()["id"] == mine["id"]
    run = {"model_id": mine["id"], "name": "private one", "deterministic": True}
    ran = eve.post("/v1/runs", json=run).json()
    assert ran["id"] != made["run"]
    assert eve.post("/v1/runs", json=run).json()["id"] == ran["id"]
    # Nor by a file that leads back to what she may not read.
    back = eve.post("/v1/import", params={"name": "back"}, content=town.bundle).json()
    assert back["owner"] == "eve"
    assert back["model_id"] not in {made["model"], None}
    restored = eve.get(f"/v1/artifacts/{back['model_id']}").json()
    assert restored["owner"] == "eve"
    parents = {each["id"]: each for each in back["lineage"]["parents"]}
    assert parents.get(made["run"], {}).get("name") is None


def test_a_table_that_only_others_know_is_not_recognised(town: Town) -> None:
    ada, eve = town.users["ada"], town.users["eve"]
    text = MODEL.replace("30, 20]", "30, 21]")
    run = ada.post("/v1/runs", json={"model": text, "name": "known"}).json()["id"]
    table = ada.get(f"/v1/runs/{run}/export/gold").content
    reports = {
        user: town.users[user].post("/v1/import", params={"dry_run": "true"}, content=table).json()
        for user in town.users
        if user != "kim"
    }
    assert {user: report["rebuilt"] for user, report in reports.items()} == {
        "ada": True,
        "root": True,
        "bob": False,
        "eve": False,
    }
    ada.patch(f"/v1/artifacts/{run}", json={"visibility": "public"})
    assert eve.post("/v1/import", params={"dry_run": "true"}, content=table).json()["rebuilt"] is True


def test_jobs_are_their_owners(town: Town) -> None:
    for name in ("bob", "eve", "kim"):
        user = town.users[name]
        assert problem(user.get(f"/v1/jobs/{town.job}")) == (404, "FT833")
        assert town.job not in user.get("/v1/jobs").text
    for name in ("bob", "eve"):
        assert problem(town.users[name].delete(f"/v1/jobs/{town.job}")) == (404, "FT833")
    for name in ("ada", "root"):
        assert town.users[name].get(f"/v1/jobs/{town.job}").json()["status"] == "done"
        assert town.job in town.users[name].get("/v1/jobs").text


def test_the_trash_is_as_private_as_the_shelf(town: Town) -> None:
    ada, bob, eve, root = (town.users[name] for name in ("ada", "bob", "eve", "root"))
    ids: dict[str, str] = {}
    for visibility in ("private", "team", "public"):
        text = MODEL.replace("30, 20]", f"30, {len(ids)}]")
        made = ada.post(
            "/v1/models", params={"name": visibility, "visibility": visibility}, content=text, headers=YAML
        )
        ids[visibility] = made.json()["id"]
        assert ada.delete(f"/v1/artifacts/{ids[visibility]}", params={"confirm": "true"}).status_code == 200

    def trash(user: httpx.Client) -> set[str]:
        found = user.get("/v1/trash").json()
        assert found["total"] == len(found["artifacts"])
        return {item["id"] for item in found["artifacts"]} & set(ids.values())

    assert trash(eve) == {ids["public"]}
    assert trash(bob) == {ids["public"], ids["team"]}
    assert trash(ada) == trash(root) == set(ids.values())
    confirm = {"confirm": "true"}
    for user, hidden, seen in ((eve, ids["team"], ids["public"]), (bob, ids["private"], ids["public"])):
        assert problem(user.post(f"/v1/artifacts/{hidden}/restore")) == (404, "FT501")
        assert problem(user.post("/v1/trash/purge", params={**confirm, "id": hidden})) == (404, "FT501")
        assert problem(user.post(f"/v1/artifacts/{seen}/restore")) == (403, "FT829")
        assert problem(user.post("/v1/trash/purge", params={**confirm, "id": seen})) == (403, "FT829")
    assert eve.post("/v1/trash/purge", params=confirm).json() == {"purged": []}
    assert bob.post("/v1/trash/purge", params=confirm).json() == {"purged": [ids["team"]]}
    assert ada.post(f"/v1/artifacts/{ids['public']}/restore").status_code == 200
    assert ids["private"] in root.post("/v1/trash/purge", params=confirm).json()["purged"]


def test_what_is_read_is_not_changed_by_all(town: Town) -> None:
    ada, bob, eve, kim, root = (town.users[name] for name in ("ada", "bob", "eve", "kim", "root"))
    params = {"name": "open", "visibility": "public"}
    id = ada.post("/v1/models", params=params, content=MODEL, headers=YAML).json()["id"]
    for user in (bob, eve):
        assert user.get(f"/v1/artifacts/{id}").status_code == 200
        assert problem(user.patch(f"/v1/artifacts/{id}", json={"star": True})) == (403, "FT829")
        assert problem(user.delete(f"/v1/artifacts/{id}", params={"confirm": "true"})) == (403, "FT829")
        update = {"update": id, "name": "open"}
        text = MODEL.replace("25", "26")
        assert problem(user.post("/v1/models", params=update, content=text, headers=YAML)) == (403, "FT829")
        # Its loop is verified all the same; the verdict stands in the answer, not in what is another's.
        assert user.post("/v1/loops", json={"model_id": id, "formats": ["gold"]}).json()["ok"] is True
        assert user.post("/v1/runs", json={"model_id": id}).json()["owner"] in {"bob", "eve"}
    assert not ada.get(f"/v1/artifacts/{id}").json().get("loop")
    team = town.made["team"]["telemetry"]
    assert problem(kim.patch(f"/v1/artifacts/{team}", json={"star": True})) == (403, "FT829")
    assert bob.patch(f"/v1/artifacts/{team}", json={"star": True}).json()["star"] is True
    for fields in ({"owner": "bob"}, {"visibility": "public"}, {"team": "lab"}):
        assert problem(bob.patch(f"/v1/artifacts/{team}", json=fields)) == (403, "FT829")
    assert ada.patch(f"/v1/artifacts/{id}", json={"owner": "bob"}).json()["owner"] == "bob"
    assert problem(ada.patch(f"/v1/artifacts/{id}", json={"owner": "ada"})) == (403, "FT829")
    assert root.patch(f"/v1/artifacts/{id}", json={"owner": "ada"}).json()["owner"] == "ada"


def test_the_whole_registry_is_an_admins(town: Town) -> None:
    for path in ("/v1/artifacts/index", "/v1/artifacts/verify"):
        for name in ("ada", "kim"):
            assert problem(town.users[name].post(path)) == (403, "FT829")
        assert town.users["root"].post(path).status_code == 200
        asynchronous = {"Prefer": "respond-async"}
        assert problem(town.users["ada"].post(path, headers=asynchronous)) == (403, "FT829")
