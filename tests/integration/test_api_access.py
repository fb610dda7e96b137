"""Who gets in, at real servers: tokens of the access file, sessions of browsers, how often one may try."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from tests.commands import Command
from tests.servers import Servers, bearer, new_token, problem

from flowtime.api.access_file import add, read


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers that tests share, for they leave nothing behind that others see."""
    with Servers(tmp_path_factory.mktemp("access")) as shared:
        yield shared


@pytest.fixture(scope="module")
def auth(servers: Servers) -> Path:
    """The access file of the shared server."""
    path = servers.folder / "access.toml"
    new_token(path, "somebody")
    return path


@pytest.fixture(scope="module")
def url(servers: Servers, auth: Path) -> str:
    """A server that asks who calls."""
    return servers("--auth", auth)


def ticket(auth: Path, user: str = "ada") -> str:
    """The text of a new token."""
    return add(auth, user, teams=(), role="writer", lifetime=None)[1]


def artifacts(url: str, header: dict[str, str]) -> httpx.Response:
    return httpx.get(f"{url}/v1/artifacts", headers=header, timeout=60)


def test_browsers_log_in_with_a_token_and_out(url: str, auth: Path) -> None:
    ada = ticket(auth)
    assert problem(artifacts(url, {})) == (401, "FT828")
    with httpx.Client(base_url=url, headers={"Sec-Fetch-Site": "same-origin"}) as browser:
        refused = browser.post("/login", data={"token": "ft_wrong"}, headers={"Accept": "text/html"})
        assert (refused.status_code, refused.headers["location"]) == (303, "/login?error=FT828&next=%2F")
        assert problem(browser.post("/login", data={"token": "ft_wrong"})) == (401, "FT828")
        assert not browser.cookies

        entered = browser.post("/login", data={"token": ada, "next": "/artifacts?q=x"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/artifacts?q=x")
        cookie = entered.headers["set-cookie"]
        assert re.search("; HttpOnly", cookie) and re.search("; SameSite=lax", cookie)
        assert "; Secure" not in cookie
        assert ada not in cookie
        assert browser.get("/v1/artifacts").status_code == 200
        kept = dict(browser.cookies)

        assert browser.post("/logout").headers["location"] == "/login"
        assert not browser.cookies
        browser.cookies.update(kept)
        assert problem(browser.get("/v1/artifacts")) == (401, "FT828")


@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil"])
def test_a_login_leads_nowhere_else(url: str, auth: Path, place: str) -> None:
    assert httpx.post(f"{url}/login", data={"token": ticket(auth), "next": place}).headers["location"] == "/"


def test_a_session_is_kept_where_only_the_server_reads_it(url: str, auth: Path) -> None:
    cookie = httpx.post(f"{url}/login", data={"token": ticket(auth)}).cookies["flowtime_session"]
    sessions = list(Path(os.environ["FLOWTIME_CACHE"]).glob("sessions/*/*.json"))
    assert sessions
    for path in sessions:
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0
        assert cookie not in path.name + path.read_text()


def test_a_session_of_another_server_does_not_count(
    serve: Servers, url: str, auth: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "other.toml"
    new_token(theirs, "ada")
    cookies = httpx.post(f"{url}/login", data={"token": ticket(auth)}).cookies
    assert httpx.get(f"{url}/v1/artifacts", cookies=cookies).status_code == 200
    other = serve("--auth", theirs)
    assert problem(httpx.get(f"{other}/v1/artifacts", cookies=cookies)) == (401, "FT828")


def test_a_changed_file_counts_from_the_next_request_on(
    serve: Servers, tmp_path: Path, flowtime: Command
) -> None:
    auth = tmp_path / "access.toml"
    ada = flowtime("token", "new", "--auth", auth, "--user", "ada", "--json").json
    url = serve("--auth", auth)
    with httpx.Client(base_url=url) as browser:
        browser.post("/login", data={"token": ada["token"]})
        assert browser.get("/v1/artifacts").status_code == 200
        assert artifacts(url, bearer(ada["token"])).status_code == 200
        bob = bearer(flowtime("token", "new", "--auth", auth, "--user", "bob").stdout.strip())
        assert artifacts(url, bob).status_code == 200

        flowtime("token", "revoke", "--auth", auth, ada["id"])
        assert problem(browser.get("/v1/artifacts")) == (401, "FT828")
        assert problem(artifacts(url, bearer(ada["token"]))) == (401, "FT828")
        assert artifacts(url, bob).status_code == 200

    good = auth.read_text()
    for broken in ("[[token]", good + "\n[other]\n", good.replace("argon2id", "argon2i"), None):
        auth.unlink() if broken is None else auth.write_text(broken)
        for header in (bob, {}, bearer(ada["token"])):
            assert problem(artifacts(url, header)) == (503, "FT835")
        assert httpx.get(f"{url}/healthz").status_code == 200
    # Whoever runs the server is told what is wrong, once for each state of the file.
    assert serve.log(url).count("FT835") >= 4
    assert "argon2id" in serve.log(url)
    auth.write_text(good)
    assert artifacts(url, bob).status_code == 200
    assert problem(artifacts(url, {})) == (401, "FT828")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not toml",
        "[[token]]\nid = 'abcdefgh'\n",
        "[oidc]\nissuer = 'http://login.example.org'\naudience = 'x'\ndefault_role = 'reader'\n",
        "[oidc]\nissuer = 'https://login.example.org'\naudience = 'x'\n",
        "[oidc]\nissuer = 'https://login.example.org'\naudience = 'x'\nroles = {a = 'owner'}\n",
    ],
)
def test_a_server_does_not_start_with_a_bad_file(flowtime: Command, tmp_path: Path, text: str) -> None:
    auth = tmp_path / "access.toml"
    auth.write_text(text)
    if not text:
        auth.unlink()
    error = flowtime("serve", "--auth", auth, "--port", "0", "--json", code=2).error
    assert (error["code"], error["where"]) == ("FT835", str(auth))
    assert error["hint"]


def test_everybody_may_not_write_the_file(flowtime: Command, tmp_path: Path) -> None:
    auth = tmp_path / "access.toml"
    new_token(auth, "ada")
    auth.chmod(0o666)
    assert flowtime("serve", "--auth", auth, "--port", "0", "--json", code=2).error["code"] == "FT835"


def test_only_this_machine_is_let_in_without_a_file(flowtime: Command) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "flow.example"):
        assert flowtime("serve", "--host", host, "--json", code=2).error["code"] == "FT803"


def test_tokens_that_are_not_right_are_refused(url: str, auth: Path) -> None:
    right = ticket(auth)
    id, secret = right.split("_", 2)[1:]
    last = "A" if secret[-1] != "A" else "B"
    for wrong in (
        "x",
        "ft_",
        f"ft_{id}_",
        right[:-1] + last,
        right + "A",
        f"ft_aaaaaaaaaaaa_{secret}",
        secret,
    ):
        assert problem(artifacts(url, bearer(wrong))) == (401, "FT828")
    for header in (f"Basic {right}", right, f"Token {right}", "Bearer"):
        answer = artifacts(url, {"Authorization": header})
        assert problem(answer) == (401, "FT828")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert problem(httpx.get(f"{url}/v1/artifacts", params={"token": right})) == (401, "FT828")
    assert artifacts(url, bearer(right)).status_code == 200
    assert artifacts(url, {"Authorization": f"bearer {right}"}).status_code == 200


def test_a_token_ends_when_it_expires(url: str, auth: Path) -> None:
    token, text = add(auth, "ada", teams=(), role="writer", lifetime=timedelta(seconds=2))
    assert artifacts(url, bearer(text)).status_code == 200
    cookies = httpx.post(f"{url}/login", data={"token": text}).cookies
    assert httpx.get(f"{url}/v1/artifacts", cookies=cookies).status_code == 200
    assert token.expires is not None
    time.sleep(max(0.0, token.expires.timestamp() - time.time()) + 0.1)
    assert problem(artifacts(url, bearer(text))) == (401, "FT828")
    assert problem(httpx.get(f"{url}/v1/artifacts", cookies=cookies)) == (401, "FT828")


def test_a_hundred_wrong_tokens_have_to_wait(serve: Servers, tmp_path: Path) -> None:
    auth = tmp_path / "access.toml"
    known, fresh = new_token(auth, "ada"), new_token(auth, "bob")
    url = serve("--auth", auth)
    assert artifacts(url, known).status_code == 200
    right = fresh["Authorization"].split("_")[1]
    with httpx.Client() as client:
        statuses = []
        for number in range(130):
            ids = [right, f"nobody00{number:04}", *["?"] * 8]
            wrong = bearer(f"ft_{ids[number % 10]}_{'x' * 43}")
            answer = client.get(f"{url}/v1/artifacts", headers=wrong)
            statuses.append(answer.status_code)
            if answer.status_code == 429:
                break
        assert statuses[:100] == [401] * 100
        # Some more are let through in the time that a slow machine takes for the first hundred.
        assert statuses[-1] == 429
        assert problem(answer) == (429, "FT832")
        assert answer.headers["retry-after"] == "60"
    # Who guesses right after that is not told so; who was known before goes on.
    assert problem(artifacts(url, fresh)) == (429, "FT832")
    assert problem(httpx.post(f"{url}/login", data={"token": "ft_wrong"})) == (429, "FT832")
    assert artifacts(url, known).status_code == 200
    assert problem(artifacts(url, {})) == (401, "FT828")


def test_wrong_tokens_do_not_stop_others(serve: Servers, tmp_path: Path) -> None:
    auth = tmp_path / "access.toml"
    ada = new_token(auth, "ada")
    url = serve("--auth", auth)
    assert artifacts(url, ada).status_code == 200

    def wrong(number: int) -> int:
        return artifacts(url, bearer(f"ft_nobody00{number:04}_{'x' * 43}")).status_code

    with ThreadPoolExecutor(40) as flood:
        refused = [flood.submit(wrong, number) for number in range(80)]
        while not all(each.done() for each in refused):
            assert artifacts(url, ada).status_code == 200
    # No more than ten are checked or wait for it at once: the others are sent away.
    assert {each.result() for each in refused} == {401, 429}


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_reader_changes_nothing(url: str, auth: Path, method: str) -> None:
    reader = new_token(auth, "eve", "reader")
    described = httpx.get(f"{url}/openapi.json").json()["paths"]
    looking = {"/export", "/v1/models/validate", "/login", "/logout"}
    asked = 0
    for path, methods in described.items():
        if method.lower() in methods and path not in looking:
            answer = httpx.request(method, url + path, headers=reader)
            # What is wrong with the body may be said first; what is right is not done.
            assert answer.status_code in {403, 422}, (method, path, answer.text)
            assert answer.status_code == 403 or "body" in answer.text or "query" in answer.text
            asked += 1
    assert asked
    answer = httpx.post(
        f"{url}/v1/models", content=b"grid: {}", headers={**reader, "Content-Type": "text/plain"}
    )
    assert problem(answer) == (403, "FT829")


def test_what_is_open_and_what_is_not(url: str, auth: Path) -> None:
    public = {"/healthz", "/v1/errors/{code}", "/login", "/logout"}
    described = httpx.get(f"{url}/openapi.json").json()["paths"]
    for path, methods in described.items():
        for method in methods if path not in {"/login/oidc", "/login/callback"} else ():
            answer = httpx.request(method.upper(), url + path)
            if answer.status_code != 422:
                assert (answer.status_code == 401) == (path not in public), path
    assert httpx.get(f"{url}/metrics", headers=new_token(auth, "eve", "reader")).status_code == 200


def test_tokens_by_the_command_line(flowtime: Command, tmp_path: Path) -> None:
    auth = tmp_path / "sub" / "access.toml"
    words = (
        "--user",
        'Ada "the" Ü',
        "--team",
        "ops",
        "--team",
        "lab",
        "--role",
        "reader",
        "--expires",
        "90d",
    )
    made = flowtime("token", "new", "--auth", auth, *words, "--json").json
    assert made["token"].startswith(f"ft_{made['id']}_")
    assert auth.stat().st_mode & 0o777 == 0o600
    assert made["token"].split("_", 2)[2] not in auth.read_text()
    assert {key: made[key] for key in ("user", "teams", "role")} == {
        "user": 'Ada "the" Ü',
        "teams": ["ops", "lab"],
        "role": "reader",
    }
    auth.write_text(
        "# ours\n" + auth.read_text() + "\n[oidc]  # theirs\nissuer = 'https://login.example.org'\n"
        "audience = 'flowtime'\ndefault_role = 'reader'\n"
    )
    second = flowtime("token", "new", "--auth", auth, "--user", "bob", "--json").json
    listed = flowtime("token", "list", "--auth", auth, "--json").json["tokens"]
    assert [each["id"] for each in listed] == [made["id"], second["id"]]
    assert all("hash" not in each and "token" not in each for each in listed)
    assert flowtime("token", "revoke", "--auth", auth, made["id"], "--json").json["revoked"] is True
    text = auth.read_text()
    assert text.startswith("# ours") and "[oidc]  # theirs" in text and made["id"] not in text
    error = flowtime("token", "revoke", "--auth", auth, made["id"], "--json", code=3).error
    assert error["code"] == "FT836"
    for user in ("", "a\nb"):
        assert (
            flowtime("token", "new", "--auth", auth, "--user", user, "--json", code=2).error["code"]
            == "FT835"
        )
    assert auth.read_text() == text
    for option in (("--expires", "0d"), ("--expires", "soon"), ("--role", "owner")):
        wrong = flowtime("token", "new", "--auth", auth, "--user", "x", *option, "--json", code=2)
        assert wrong.error["code"] == "FT803"


def test_tokens_made_at_once_are_all_there(tmp_path: Path) -> None:
    auth = tmp_path / "access.toml"
    with ThreadPoolExecutor(8) as many:
        made = list(many.map(lambda number: ticket(auth, f"user{number}"), range(8)))
    assert {text.split("_")[1] for text in made} == set(read(auth).tokens)
