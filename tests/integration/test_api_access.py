"""Who gets in, at real servers: tokens, sessions, OIDC, visibility, hosts, origins, limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.conftest import Command
from tests.servers import Servers

JSON = dict[str, Any]
NewToken = Callable[..., str]


@pytest.fixture
def auth(tmp_path: Path) -> Path:
    """The place of an access file."""
    return tmp_path / "access.toml"


@pytest.fixture
def token(flowtime: Command, auth: Path) -> NewToken:
    """Makes a token: `token(user, role, *teams)` is what the user sends."""

    def make(user: str, role: str = "writer", *teams: str) -> str:
        words = [word for team in teams for word in ("--team", team)]
        made = flowtime("token", "new", "--auth", auth, "--user", user, "--role", role, *words, "--json")
        text: str = made.json["token"]
        return text

    return make


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def code(answer: httpx.Response) -> tuple[int, str]:
    """The status of a problem, and its code."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    said = answer.json()
    assert said["status"] == answer.status_code
    return answer.status_code, said["code"]


def test_browsers_log_in_with_a_token_and_out(serve: Servers, token: NewToken, auth: Path) -> None:
    ada = token("ada")
    url = serve("--auth", auth)
    assert code(httpx.get(f"{url}/v1/artifacts")) == (401, "FT828")
    with httpx.Client(base_url=url, headers={"Sec-Fetch-Site": "same-origin"}) as browser:
        refused = browser.post("/login", data={"token": "ft_wrong"}, headers={"Accept": "text/html"})
        assert (refused.status_code, refused.headers["location"]) == (303, "/login?error=FT828&next=%2F")
        assert code(browser.post("/login", data={"token": "ft_wrong"})) == (401, "FT828")
        assert not browser.cookies

        entered = browser.post("/login", data={"token": ada, "next": "/artifacts?q=x"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/artifacts?q=x")
        cookie = entered.headers["set-cookie"]
        assert re.search("; HttpOnly", cookie) and re.search("; SameSite=lax", cookie)
        assert ada not in cookie
        assert browser.get("/v1/artifacts").status_code == 200
        kept = dict(browser.cookies)

        assert browser.post("/logout").headers["location"] == "/login"
        assert not browser.cookies
        browser.cookies.update(kept)
        assert code(browser.get("/v1/artifacts")) == (401, "FT828")


@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil"])
def test_a_login_leads_nowhere_else(serve: Servers, token: NewToken, auth: Path, place: str) -> None:
    ada = token("ada")
    url = serve("--auth", auth)
    assert httpx.post(f"{url}/login", data={"token": ada, "next": place}).headers["location"] == "/"


def test_a_revoked_token_ends_its_sessions(
    serve: Servers, token: NewToken, auth: Path, flowtime: Command
) -> None:
    ada = token("ada")
    url = serve("--auth", auth)
    with httpx.Client(base_url=url) as browser:
        browser.post("/login", data={"token": ada})
        assert browser.get("/v1/artifacts").status_code == 200
        assert httpx.get(f"{url}/v1/artifacts", headers=bearer(ada)).status_code == 200
        bob = token("bob")
        assert httpx.get(f"{url}/v1/artifacts", headers=bearer(bob)).status_code == 200

        flowtime("token", "revoke", "--auth", auth, ada.split("_")[1])
        assert code(browser.get("/v1/artifacts")) == (401, "FT828")
        assert code(httpx.get(f"{url}/v1/artifacts", headers=bearer(ada))) == (401, "FT828")
        assert httpx.get(f"{url}/v1/artifacts", headers=bearer(bob)).status_code == 200


MODEL = b"""\
grid: {bins: 4, binSize: 1, binUnit: hours}
nodes:
  - {id: arrivals, kind: const, values: [10, 20, 30, 20]}
  - {id: served, kind: expr, expr: "MIN(arrivals, 25)"}
"""
YAML = {"Content-Type": "application/yaml"}


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "10.1.2.3", "[::2]", "a@b:c"])
def test_a_name_that_was_rebound_is_refused(serve: Servers, host: str) -> None:
    url = serve()
    for path in ("/v1/artifacts", "/healthz", "/metrics", "/nothing/here"):
        assert code(httpx.get(url + path, headers={"Host": host})) == (421, "FT831")


def test_its_names_are_known(serve: Servers) -> None:
    url = serve("--allow-host", "Flow.example")
    port = httpx.URL(url).port
    for host in ("localhost", "127.0.0.1", "[::1]", "flow.example", "FLOW.EXAMPLE.", f"flow.example:{port}"):
        assert httpx.get(f"{url}/healthz", headers={"Host": host}).status_code == 200, host


CROSS = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
]


@pytest.mark.parametrize("said", CROSS, ids=str)
def test_another_site_changes_nothing(serve: Servers, said: dict[str, str]) -> None:
    url = serve()
    for method, path in (("POST", "/v1/models"), ("PATCH", "/v1/artifacts/x"), ("DELETE", "/v1/artifacts/x")):
        answer = httpx.request(method, url + path, content=MODEL, headers={**YAML, **said})
        assert code(answer) == (403, "FT830")
    assert httpx.get(f"{url}/v1/artifacts").json()["total"] == 0


def test_our_own_pages_and_programs_may(serve: Servers) -> None:
    url = serve()
    for said in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": url}, {"Authorization": "Bearer x"}):
        assert httpx.post(f"{url}/v1/models", content=MODEL, headers={**YAML, **said}).status_code == 201


def test_a_cookie_alone_is_no_word_of_a_page(serve: Servers, token: NewToken, auth: Path) -> None:
    ada = token("ada")
    url = serve("--auth", auth)
    with httpx.Client(base_url=url) as browser:
        browser.post("/login", data={"token": ada})
        assert code(browser.post("/v1/models", content=MODEL, headers=YAML)) == (403, "FT830")
        own = {**YAML, "Sec-Fetch-Site": "same-origin"}
        assert browser.post("/v1/models", content=MODEL, headers=own).status_code == 201


def test_another_site_loads_nothing(serve: Servers) -> None:
    url = serve()
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert code(httpx.get(f"{url}/v1/artifacts", headers=embedded)) == (403, "FT830")
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(f"{url}/v1/artifacts", headers=link).status_code == 200


@pytest.mark.parametrize("path", ["/v1/artifacts", "/v1/artifacts/none", "/nothing", "/healthz"])
def test_every_response_has_the_headers_that_protect(serve: Servers, path: str) -> None:
    headers = httpx.get(serve() + path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "access-control-allow-origin" not in headers
