"""Every address of the API, asked wrongly in every way: always a problem of one shape, never a defect."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from tests.servers import Servers
from tests.worlds import make_world

from flowtime.api.app import create
from flowtime.api.server import Config
from flowtime.errors import CODES
from flowtime.settings import load

MEMBERS = {
    "type", "title", "status", "detail", "kind", "code", "message", "where", "hint", "errors", "count",
}  # fmt: skip
ODD = ("..%2F..%2Fetc%2Fpasswd", "no-such", "%00", "a%2Fb", "x" * 300, "İ€", "%FF")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("errors")
    make_world(folder)
    with Servers(folder) as servers:
        url = servers()
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
        assert "Traceback" not in servers.log(url)


@pytest.fixture(scope="module")
def operations(client: httpx.Client) -> list[tuple[str, str, dict[str, Any]]]:
    paths = client.get("/openapi.json").json()["paths"]
    found = [(path, method, operation) for path, each in paths.items() for method, operation in each.items()]
    assert len(found) > 30
    return found


def assert_problem(response: httpx.Response, *statuses: int) -> dict[str, Any]:
    what = f"{response.request.method} {response.request.url} → {response.status_code} {response.text[:300]}"
    assert response.status_code in statuses, what
    assert response.headers["content-type"] == "application/problem+json", what
    problem = response.json()
    assert set(problem) == MEMBERS, what
    assert problem["status"] == response.status_code, what
    assert problem["title"] == CODES[problem["code"]].title, what
    assert problem["kind"] == CODES[problem["code"]].kind, what
    assert problem["type"].endswith(f"/v1/errors/{problem['code']}"), what
    assert problem["detail"], what
    assert response.headers["x-content-type-options"] == "nosniff", what
    assert "no-store" in response.headers["cache-control"], what
    return problem


def path_with(path: str, operation: dict[str, Any], value: str) -> str:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", value)
    return path


def test_ids_that_there_are_not(client: httpx.Client, operations: list[Any]) -> None:
    tried = 0
    for path, method, operation in operations:
        if "{" not in path:
            continue
        example = operation.get("requestBody", {}).get("content", {})
        kind, body = next(((k, c["example"]) for k, c in example.items() if "example" in c), ("", None))
        content = body if isinstance(body, str) or body is None else json.dumps(body)
        headers = {"Content-Type": kind} if kind else {}
        for odd in ODD:
            response = client.request(
                method, path_with(path, operation, odd), content=content, headers=headers
            )
            assert_problem(response, 400, 404, 405, 409, 422)
            tried += 1
    assert tried > 100


def test_methods_that_there_are_not(client: httpx.Client, operations: list[Any]) -> None:
    allowed: dict[str, set[str]] = {}
    for path, method, _ in operations:
        allowed.setdefault(path, set()).add(method.upper())
    # At these an artifact could be, too.
    for path in ("/v1/artifacts/index", "/v1/artifacts/verify"):
        allowed[path] |= allowed["/v1/artifacts/{id}"]
    for path, methods in allowed.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - methods:
            problem = assert_problem(
                client.request(method, path.replace("{", "x").replace("}", "")), 405, 404
            )
            assert problem["code"] in {"FT821", "FT820", "FT501", "FT833", "FT701", "FT401"}


@pytest.mark.parametrize("path", ["/", "/artifacts", "/templates", "/import", "/v1/artifacts", "/healthz"])
def test_whatever_can_be_got_has_a_head_and_says_what_it_allows(client: httpx.Client, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    refused = client.request("TRACE", path)
    assert assert_problem(refused, 405)["code"] == "FT821"
    assert refused.headers["allow"] == "GET, HEAD"


def test_a_slash_at_the_end_changes_nothing(client: httpx.Client) -> None:
    # Nor does it send a client that uploads to another address, which a proxy may not lead to.
    rows = b"time_bin,component_id,measure,value\n0,a,b,1\n"
    assert client.post("/v1/import/?dry_run=true", content=rows).status_code == 200
    for path in ("/v1/artifacts", "/artifacts", "/healthz"):
        plain, slashed = client.get(path), client.get(f"{path}/")
        assert (slashed.status_code, slashed.text) == (200, plain.text)
    assert_problem(client.get("/v1/artifacts//"), 404)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[]", "application/json"),
        (b'"text"', "application/json"),
        (b"null", "application/json"),
        (b'{"no_such_field": 1}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"name": 1e999}', "application/json"),
        (b'{"name": "\\ud800"}', "application/json"),
        (b'{"\\ud800": 1}', "application/json"),
        (b"a: [", "application/yaml"),
        (b"a: &a [*a]", "application/yaml"),
        (b"<x/>", "application/xml"),
        (b"", ""),
        (b"x" * 100, "multipart/form-data; boundary=y"),
        (b"x", "multipart/form-data"),
        (
            b'--y\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n1',
            "multipart/form-data; boundary=y",
        ),
    ],
)
def test_bodies_that_say_nothing(
    client: httpx.Client, operations: list[Any], content: bytes, kind: str
) -> None:
    for path, method, operation in operations:
        body = operation.get("requestBody")
        if body is None or (not body.get("required") and content in (b"", b"null")):
            continue
        headers = {"Content-Type": kind} if kind else {}
        response = client.request(
            method, path_with(path, operation, "baseline-v1"), content=content, headers=headers
        )
        assert_problem(response, 400, 404, 409, 413, 415, 422)


def test_parameters_of_the_wrong_type(client: httpx.Client, operations: list[Any]) -> None:
    tried = 0
    for path, method, operation in operations:
        for parameter in operation.get("parameters", ()):
            schema = json.dumps(parameter["schema"])
            if parameter["in"] != "query" or not any(
                f'"{kind}"' in schema for kind in ("integer", "number", "boolean", "enum")
            ):
                continue
            response = client.request(
                method, path_with(path, operation, "monday"), params={parameter["name"]: "not-of-this-type"}
            )
            problem = assert_problem(response, 400, 422)
            tried += 1
            if problem["code"] == "FT822":
                assert parameter["name"] in {error["source"].split(".")[1] for error in problem["errors"]}
    assert tried > 15


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("page=0", 422), ("size=0", 422), ("size=100000", 422), ("sort=age", 422), ("kind=runs", 422),
        ("from=yesterday", 422), ("to=2025-13-01", 422), ("page=99999999999999999999999", 422),
        ("&".join(f"tag=week-{n}" for n in range(2000)), 422),
        ("tag=" + ",".join(f"{n}" for n in range(9000)), 422),
    ],
)  # fmt: skip
def test_filters_that_mean_nothing(client: httpx.Client, query: str, status: int) -> None:
    problem = assert_problem(client.get(f"/v1/artifacts?{query}"), status, 400)
    assert problem["hint"] or problem["errors"]


@pytest.mark.parametrize("text", ["\\ud800", "baseline\\udfff"])
@pytest.mark.parametrize("path", ["/v1/runs", "/v1/loops"])
def test_half_of_a_surrogate_pair_names_nothing(client: httpx.Client, path: str, text: str) -> None:
    content = f'{{"model_id": "{text}"}}'
    answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert "surrogate" in assert_problem(answer, 400)["detail"]


def test_json_sent_as_a_form_says_what_to_send_instead(client: httpx.Client) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", ""):
        headers = {"Content-Type": kind} if kind else {}
        answer = client.post("/v1/runs", content='{"model_id": "baseline-v1"}', headers=headers)
        problem = assert_problem(answer, 415)
        assert (problem["code"], problem["hint"]) == ("FT826", "send Content-Type: application/json")


def test_kinds_may_be_repeated_as_they_may_be_listed(client: httpx.Client) -> None:
    asked = ["kind=run&kind=model", "kind=run,model", "kind=run|model", "kind=run&kind=model,"]
    totals = {client.get(f"/v1/artifacts?{query}").json()["total"] for query in asked}
    each = [client.get(f"/v1/artifacts?kind={kind}").json()["total"] for kind in ("run", "model")]
    assert (totals, all(each)) == ({sum(each)}, True)


def test_nothing_but_series_is_exported(client: httpx.Client) -> None:
    model = client.get("/v1/artifacts?kind=model").json()["artifacts"][0]["id"]
    for answer in (
        client.post("/export", json={"runId": model}),
        client.get(f"/export/csv?runId={model}"),
        client.get(f"/v1/runs/{model}/export/csv"),
    ):
        assert assert_problem(answer, 422)["code"] == "FT507"


def test_an_address_that_there_is_not(client: httpx.Client) -> None:
    problem = assert_problem(client.get("/v2/artifacts"), 404)
    assert (problem["kind"], problem["code"]) == ("not_found", "FT820")
    assert problem["message"] == "there is no address /v2/artifacts"


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("GET", "/v1/artifacts?page=first", None, 'page is "first"; a whole number is allowed'),
        ("GET", "/v1/artifacts?page=0", None, 'page is "0"; 1 or more is allowed'),
        ("GET", "/v1/artifacts?starred=perhaps", None, 'starred is "perhaps"; true or false is allowed'),
        ("GET", "/v1/artifacts?size=9000", None, 'size is "9000"; 1,000 or less is allowed'),
        ("GET", "/v1/runs/monday/series?index=a", None, 'index.0 is "a"; a whole number is allowed'),
        ("GET", "/v1/compare?baseline=a", None, "comparison is missing"),
        ("POST", "/v1/runs", None, "the body is missing"),
        ("POST", "/v1/runs", "{", "the body is not JSON: "),
        ("POST", "/v1/runs", "[]", "the body is a list; an object is allowed"),
        ("POST", "/v1/runs", '{"modle": 1}', "modle is not known here"),
        ("POST", "/v1/runs", '{"seed": -1}', "seed is -1; 0 or more is allowed"),
        ("POST", "/v1/runs", '{"\\ud800": 1}', "the body: a text has half of a surrogate pair"),
        (
            "PATCH",
            "/v1/artifacts/monday",
            '{"visibility": "all"}',
            'visibility is "all"; private, team or public',
        ),
        ("PATCH", "/v1/artifacts/monday", '{"add_tags": "x"}', 'add_tags is "x"; a list is allowed'),
        ("POST", "/v1/import?missing=none", "", 'missing is "none"; error, null or zero is allowed'),
        ("PUT", "/v1/artifacts", None, "/v1/artifacts takes no PUT"),
    ],
)
def test_a_bad_request_is_told_in_the_words_of_all_other_errors(
    client: httpx.Client, method: str, path: str, body: str | None, said: str
) -> None:
    response = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    problem = assert_problem(response, 400, 405)
    assert said in problem["message"]
    assert problem["hint"]


def test_all_that_is_wrong_with_a_request_is_told(client: httpx.Client) -> None:
    problem = assert_problem(client.get("/v1/compare?threshold=low"), 400)
    assert problem["message"] == "the request has 3 problems"
    assert [error["source"] for error in problem["errors"]] == [
        "query.baseline", "query.comparison", "query.threshold",
    ]  # fmt: skip


def test_how_to_judge_a_comparison_is_checked(client: httpx.Client) -> None:
    sides = "/v1/compare?baseline=monday&comparison=monday"
    for wanted, said in (
        ("threshold=5", "write 5% or 0.05"),
        ("threshold=5%25&threshold=a.*", "is not a threshold"),
        ("threshold=5%25&by=median", "bin, mean or peak"),
    ):
        assert said in assert_problem(client.get(f"{sides}&{wanted}"), 400)["message"]
    assert "there is none" in assert_problem(client.get(f"{sides}&by=mean"), 422)["message"]


def test_the_fields_of_a_form_are_told_apart(client: httpx.Client) -> None:
    files = {"file": ("a.csv", b"time_bin,component_id,measure,value\n")}
    problem = assert_problem(client.post("/v1/import", files=files, data={"wide": "perhaps"}), 400)
    assert problem["message"] == 'wide is "perhaps"; true or false is allowed'
    assert problem["errors"][0]["source"] == "form.wide"


def test_the_type_of_a_problem_leads_to_its_explanation(client: httpx.Client) -> None:
    problem = assert_problem(client.get("/v1/artifacts/no-such"), 404)
    explained = client.get(problem["type"]).json()
    assert explained["code"] == problem["code"] == "FT501"
    assert explained["title"] == problem["title"]


def test_bad_rows_are_listed_with_their_lines(client: httpx.Client) -> None:
    rows = b"time_bin,component_id,measure,value\n" + b"".join(b"x,a,b,%d\n" % n for n in range(1500))
    response = client.post("/v1/import", content=rows, headers={"Content-Type": "text/csv"})
    problem = assert_problem(response, 422)
    assert (problem["count"], len(problem["errors"])) == (1500, 1000)
    assert problem["errors"][0]["line"] == 2
    assert "/" not in problem["errors"][0]["source"]


def test_a_model_is_refused_with_every_problem_at_its_place(client: httpx.Client, tmp_path: Path) -> None:
    text = "grid: {bins: 4}\nnodes:\n  - {id: a, kind: expr, expr: nobody + 1}\n  - {id: a, kind: const}\n"
    for path in ("/v1/models", "/v1/models/validate"):
        response = client.post(path, content=text, headers={"Content-Type": "application/yaml"})
        problem = assert_problem(response, 422)
        assert {error["line"] for error in problem["errors"]} >= {3, 4}


def test_the_hint_of_a_bad_request_leads_somewhere(client: httpx.Client) -> None:
    problem = assert_problem(client.get("/v1/artifacts?page=first"), 400)
    hint = problem["hint"]
    assert hint.startswith("see /")
    assert client.get(hint.removeprefix("see ")).status_code == 200


def test_a_defect_is_told_once_in_the_log_and_nothing_of_it_to_the_caller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create(Config(load({"artifacts": str(tmp_path / "artifacts")})))

    def broken() -> None:
        raise ZeroDivisionError("the inside")

    app.add_api_route("/broken", broken)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    serving = threading.Thread(target=server.run)
    serving.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        problem = assert_problem(httpx.get(f"http://127.0.0.1:{port}/broken", timeout=60), 500)
    finally:
        server.should_exit = True
        serving.join()
    assert problem["code"] == "FT900"
    assert "the inside" not in json.dumps(problem)
    assert [record.name for record in caplog.records if record.exc_info] == ["flowtime.api"]
