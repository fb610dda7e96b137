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
