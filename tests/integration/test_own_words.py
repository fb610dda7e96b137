"""What a server says, over HTTP and on pages, names its own fields and buttons and no flag or command."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from tests.project.test_project_wording import spoken

MODEL = """grid: {bins: 3}
nodes:
  - {id: a, kind: const, values: [1, 2, 3]}
  - {id: b, kind: expr, expr: a * 2}
"""
HEADER = "time_bin,component_id,measure,value\n"
FILES = {
    "off.csv": HEADER
    + "2025-01-01T00:00:00Z,a,m,1\n2025-01-01T01:00:00.5Z,a,m,2\n2025-01-01T02:00:00Z,a,m,3\n",
    "twice.csv": HEADER
    + "2025-01-01T00:00:00Z,a,m,1\n2025-01-01T00:00:00Z,a,m,2\n2025-01-01T01:00:00Z,a,m,2\n",
    "gap.csv": HEADER + "0,a,m,1\n2,a,m,1\n0,b,m,1\n1,b,m,1\n2,b,m,1\n",
    "semicolon.csv": HEADER.replace(",", ";") + "0;a;m;1\n",
    "named.csv": "when,what,kind,count\n2025-01-01T00:00:00Z,a,m,1\n",
    "wide.csv": "time_bin,x,y\n0,1,2\n",
    "dates.csv": HEADER + "2025/01/13,a,m,1\n",
    "unix.csv": HEADER + "1735689600,a,m,1\n",
    "one.csv": HEADER + "2025-01-01T00:00:00Z,a,m,1\n",
}


@pytest.fixture
def client(serve: Any) -> Any:
    with httpx.Client(base_url=serve(), timeout=60, follow_redirects=True) as client:
        yield client


def told(client: httpx.Client, face: str) -> dict[str, str]:
    """What goes wrong with many requests, and the words for it."""
    headers = {"X-Flowtime-Face": "page"} if face == "page" else {}
    found = {}

    def ask(name: str, method: str, path: str, **options: Any) -> None:
        answer = client.request(method, path, headers=headers, **options)
        assert answer.status_code >= 400, (name, answer.text)
        found[name] = " ".join(
            str(text)
            for each in (answer.json(), *answer.json()["errors"])
            for text in (each["message"], each.get("hint"))
        )

    made = client.post(
        "/v1/models", content=MODEL, params={"name": "m"}, headers={"Content-Type": "text/plain"}
    ).json()
    run = client.post("/v1/runs", json={"model_id": made["id"]}).json()
    bare = client.post("/v1/import", files={"file": ("t.csv", HEADER + "0,z,m,1\n1,z,m,2\n")}).json()
    for name, text in FILES.items():
        ask(name, "POST", "/v1/import", files={"file": (name, text)})
    ask(
        "strict",
        "POST",
        "/v1/import",
        files={"file": ("t.csv", FILES["gap.csv"])},
        params={"validate_schema": True},
    )
    ask("component", "POST", "/v1/import", files={"file": ("t.csv", "a")}, params={"wide": True})
    ask(
        "zone",
        "POST",
        "/v1/import",
        files={"file": ("t.csv", "a")},
        params={"time_format": "unix", "timezone": "UTC"},
    )
    ask("telemetry", "POST", "/v1/runs", json={"telemetry_id": bare["id"]})
    ask(
        "bind", "POST", "/v1/runs", json={"model_id": made["id"], "telemetry_id": bare["id"], "bind": ["x=y"]}
    )
    ask("nothing", "POST", "/v1/runs", json={})
    ask(
        "samples", "POST", "/v1/runs", json={"model_id": made["id"], "telemetry_id": bare["id"], "samples": 3}
    )
    ask("unknown", "GET", "/v1/artifacts/nothing-like-it")
    ask("delete", "DELETE", f"/v1/artifacts/{made['id']}")
    ask("force", "DELETE", f"/v1/artifacts/{made['id']}", params={"confirm": True})
    ask("file", "GET", f"/v1/artifacts/{run['id']}/files/none.txt")
    ask("restore", "POST", "/v1/artifacts/none/restore")
    ask("template", "POST", "/v1/templates/checkout/models", json={"parameters": {"none": 1}})
    ask("derive", "POST", f"/v1/models/{made['id']}/derive", json={})
    ask("derived", "POST", f"/v1/models/{made['id']}/derive", json={"parameters": {"none": 1}})
    ask("compare", "GET", "/v1/compare", params={"baseline": made["id"], "comparison": bare["id"]})
    ask("team", "PATCH", f"/v1/artifacts/{run['id']}", json={"visibility": "team"})
    ask("address", "GET", "/v1/none")
    ask("query", "GET", "/v1/artifacts", params={"none": 1})
    return found


@pytest.mark.parametrize(
    ("face", "words"),
    [
        (
            "http",
            {
                "twice.csv": "`duplicates` says which value counts",
                "gap.csv": "`missing=null` or `missing=zero` fills them",
                "semicolon.csv": 'give `delimiter` as ";"',
                "delete": "confirm it: `confirm=true` `force=true`",
                "restore": "GET /v1/trash shows what is there",
                "telemetry": "name one with `model_id`, and its inputs with `bind`",
            },
        ),
        (
            "page",
            {
                "twice.csv": '"Double rows" says which value counts',
                "gap.csv": '"Missing rows: stay missing" or "Missing rows: are 0" fills them',
                "semicolon.csv": 'give "Delimiter: ;"',
                "restore": 'the page "Trash" shows what is there',
                "address": "the start page leads to all that there is",
            },
        ),
    ],
)
def test_errors_speak_the_language_of_their_face(
    client: httpx.Client, face: str, words: dict[str, str]
) -> None:
    found = told(client, face)
    assert {name: spoken(text) for name, text in found.items() if spoken(text)} == {}
    assert {name: text for name, text in words.items() if text not in found[name]} == {}


def test_a_job_tells_each_face_its_words(client: httpx.Client) -> None:
    job = client.post(
        "/v1/import", files={"file": ("t.csv", FILES["gap.csv"])}, headers={"Prefer": "respond-async"}
    ).json()
    for _ in range(200):
        job = client.get(f"/v1/jobs/{job['id']}").json()
        if job["finished_utc"]:
            break
    assert job["error"]["hint"] == "`missing=null` or `missing=zero` fills them"
    shown = client.get(f"/jobs/{job['id']}", headers={"Accept": "text/html"}).text
    assert "Missing rows: are 0" in shown


def test_pages_name_no_flag_and_no_command(client: httpx.Client) -> None:
    made = client.post("/v1/templates/checkout/models", json={"name": "m"}).json()
    run = client.post("/v1/runs", json={"model_id": made["id"]}).json()
    paths = [
        "/",
        "/artifacts",
        "/templates",
        "/templates/checkout",
        "/models/new",
        "/import",
        "/trash",
        "/jobs",
        "/none",
    ]
    paths += [
        f"/artifacts/{made['id']}",
        f"/artifacts/{run['id']}",
        f"/artifacts/{made['id']}/edit",
        "/artifacts/none",
    ]
    paths += [
        f"/compare?a={run['id']}&b={run['id']}",
        f"/compare?a={made['id']}&b={run['id']}",
        "/compare?a=none&b=no",
    ]
    for path in paths:
        text = client.get(path, headers={"Accept": "text/html"}).text
        assert "<html" in text, path
        assert (
            spoken(re.sub(r"<script.*?</script>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL))
            == []
        ), path
