"""What those try who mean harm, at real servers: odd names and addresses, slow heads, a flood of connections,
many sessions, and issuers that answer with anything.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.issuer import Issuer
from tests.servers import Servers, bearer, new_token, problem

from flowtime.api.jobs import Jobs
from flowtime.api.presence import Presence
from flowtime.api.session import Sessions
from flowtime.registry import Query, Registry

CSV = b"time_bin,component_id,measure,value\n0,a,b,1\n1,a,b,2\n"
OIDC = """\
[oidc]
issuer = "{url}"
audience = "flowtime"
client_id = "web"
default_role = "reader"
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("attacks")) as shared:
        yield shared


@pytest.fixture(scope="module")
def url(servers: Servers) -> str:
    """A server that lets everybody in."""
    return servers()


@pytest.fixture(scope="module")
def auth(servers: Servers) -> Path:
    """The access file of `guarded`."""
    path = servers.folder / "access.toml"
    new_token(path, "ada")
    return path


@pytest.fixture(scope="module")
def guarded(servers: Servers, auth: Path) -> str:
    """A server that wants to know who calls."""
    return servers("--auth", auth)


def connect(url: str) -> socket.socket:
    place = httpx.URL(url)
    assert place.port is not None
    return socket.create_connection((place.host, place.port), timeout=30)


# Names and addresses


@pytest.mark.parametrize(
    "name",
    [
        "ü" * 255, "\U0001f600" * 100, "a" * 5000 + ".csv", "..", ".", "", " ", "/", "\\", "../x.csv", "a\0b",
        "con", "a\nb", "a\tb", '"', "%2e%2e", "\u202ecsv.x", "a/" * 300,
    ],
)  # fmt: skip
def test_every_name_of_an_upload_has_an_answer(url: str, name: str) -> None:
    for metadata in (False, True):
        files = {"file": (name, CSV)} | ({"metadata": (name, b"{}")} if metadata else {})
        answer = httpx.post(f"{url}/v1/import", params={"dry_run": "true"}, files=files, timeout=60)
        assert answer.status_code < 500, answer.text


@pytest.mark.parametrize(
    "place",
    [
        "/ü", "/\u2028", "/\U0001f600", "/" + "a" * 100_000, "/" + "ü" * 1000, "//evil.example",
        "/\\evil.example", "https://evil.example", "/a\r\nX: y", "/\x00", "/%0d%0aX:%20y", "/a?b=ü#c", "",
    ],
)  # fmt: skip
def test_every_way_on_has_an_answer_and_stays_here(guarded: str, auth: Path, place: str) -> None:
    patient = httpx.Client(base_url=guarded, timeout=60)
    token = new_token(auth, "eve")["Authorization"].removeprefix("Bearer ")
    own = {"Sec-Fetch-Site": "same-origin"}
    onward = patient.post("/login", data={"token": token, "next": place[:5000]}, headers=own)
    assert onward.status_code == 303
    assert httpx.URL(guarded).join(onward.headers["location"]).host == httpx.URL(guarded).host
    assert len(onward.headers["location"]) <= 4000
    short = place[:8000].encode(errors="replace").decode()
    assert patient.get("/login", params={"next": short}).status_code == 200
    assert patient.get("/login/oidc", params={"next": short}).status_code < 500
    patient.close()


def test_no_header_repeats_a_query_of_any_length(url: str, guarded: str) -> None:
    for letter in ("x", "ü", '"', "%"):
        query = {"query": letter * 500, **{f"a{i}": letter * 500 for i in range(12)}}
        for base, path in (
            (url, "/v1/artifacts"),
            (url, "/artifacts"),
            (guarded, "/artifacts"),
            (url, "/login"),
        ):
            answer = httpx.get(
                base + path, params={**query, "q": "x"}, headers={"Accept": "text/html"}, timeout=60
            )
            assert answer.status_code < 500
            assert max(len(value) for value in answer.headers.values()) <= 4_100, answer.headers


def test_pictures_vary_by_who_looks_and_static_files_by_version(url: str) -> None:
    model = b"grid: {bins: 2}\nnodes: [{id: a, kind: const, values: [1, 2]}]\n"
    made = httpx.post(f"{url}/v1/models", content=model, headers={"Content-Type": "application/yaml"}).json()
    seen = httpx.get(f"{url}/artifacts/{made['id']}/preview.svg")
    assert seen.status_code == 200
    assert "Cookie" in seen.headers["vary"]
    page = httpx.get(f"{url}/artifacts").text
    here = page.partition('href="/static/')[2].partition('"')[0]
    assert httpx.get(f"{url}/static/{here}").status_code == 200
    other = here.replace(here.partition("/")[0], "0" * 16)
    assert httpx.get(f"{url}/static/{other}").status_code == 404


# Connections


@pytest.mark.parametrize("begins", [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_head_that_comes_slowly_is_given_up(url: str, begins: bytes) -> None:
    began = time.monotonic()
    with connect(url) as slow:
        slow.settimeout(0.5)
        slow.sendall(begins)
        while time.monotonic() - began < 60:
            try:
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                try:
                    slow.sendall(b"x" if begins else b"")
                except OSError:
                    break
            except OSError:
                break
    assert time.monotonic() - began < 40


def test_a_kept_connection_is_not_held_by_drops(url: str) -> None:
    with connect(url) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in slow.recv(1 << 16)
        began = time.monotonic()
        slow.settimeout(1)
        gone = False
        while not gone and time.monotonic() - began < 60:
            try:
                slow.sendall(b"G" if time.monotonic() - began < 1 else b"x")
                gone = slow.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                gone = True
        assert gone
        assert time.monotonic() - began < 40


def test_running_out_of_descriptors_is_said_once(servers: Servers) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("the system sets no limits of other processes")
    url = servers()
    assert httpx.get(f"{url}/healthz").status_code == 200
    pid = servers.process(url).pid
    held = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (held + 8, most))
    crowd = [connect(url) for _ in range(60)]
    time.sleep(4)
    for each in crowd:
        each.close()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
    deadline = time.monotonic() + 60
    while True:  # it listens again after a moment
        try:
            assert httpx.get(f"{url}/healthz", timeout=5).status_code == 200
            break
        except httpx.HTTPError:
            assert time.monotonic() < deadline
    said = servers.log(url)
    assert said.count("no connection and no file can be opened") == 1
    assert len(said) < 5_000


# Sessions


def test_a_user_has_a_bounded_number_of_sessions_found_without_a_list(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    cookies = [sessions.begin("ada", {"number": number}) for number in range(40)]
    other = sessions.begin("eve", {"number": -1})
    known = [sessions.get(cookie) for cookie in cookies]
    assert known == [None] * 24 + [{"number": number} for number in range(24, 40)]
    assert len(list((tmp_path / "sessions").iterdir())) == 17
    sessions.end(cookies[-1])
    assert sessions.get(cookies[-1]) is None
    assert sessions.get(cookies[-2]) == {"number": 38}
    again = sessions.begin("ada", {"number": 40})
    assert sessions.get(again) == {"number": 40}
    assert sessions.get(cookies[-2]) == {"number": 38}
    assert sessions.get(other) == {"number": -1}
    for wrong in ("", "x", other[:-1] + "_", other.replace("-0-", "-1-"), cookies[-2] + "x"):
        assert sessions.get(wrong) is None


def test_logins_at_once_take_places_of_their_own(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    cookies: list[str] = []
    meet = threading.Barrier(8)

    def log_in() -> None:
        meet.wait(10)
        cookies.append(sessions.begin("ada", {}))

    threads = [threading.Thread(target=log_in) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [sessions.get(cookie) for cookie in cookies] == [{}] * 8


@pytest.mark.skipif(os.name != "posix", reason="there are no modes of files")
def test_what_the_cache_holds_is_for_its_user_alone(tmp_path: Path) -> None:
    presence = Presence(tmp_path / "processes")
    presence.enter()
    jobs = Jobs(tmp_path / "jobs", presence)
    jobs.begin("run", "ada", lambda _: {})
    jobs.stop(10)
    presence.leave()
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as registry:
        assert registry.find(Query()).total == 0
        files = [*(tmp_path / "jobs").iterdir(), *(tmp_path / "cache").glob("index-*")]
        assert len(files) >= 3
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


# Issuers


class Faulty:
    """An issuer whose discovery tells of `keys` and `token` addresses that answer as a function does."""

    def __init__(self, answer: Callable[[Any], None], *, discovery: bool = True) -> None:
        self.asked = 0
        faulty = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if discovery and self.path.endswith("openid-configuration"):
                    names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
                    said = {"issuer": faulty.url, **{name: f"{faulty.url}/{name}" for name in names}}
                    body = json.dumps(said).encode()
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                faulty.asked += 1
                try:
                    answer(self)
                except OSError:
                    """The server has gone, and rightly."""

            do_POST = do_GET  # noqa: N815 (the name that the library looks for)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def body(data: bytes, status: int = 200, **headers: str) -> Callable[[Any], None]:
    def answer(request: Any) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    return answer


def drops(request: Any) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(120):
        request.wfile.write(b" ")
        request.wfile.flush()
        time.sleep(0.5)


def slow_head(request: Any) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 120:
        request.wfile.write(bytes([letter]))
        request.wfile.flush()
        time.sleep(0.5)


FAULTS: dict[str, Callable[[Any], None]] = {
    "garbage": body(os.urandom(1000)),
    "no HTTP": lambda request: request.wfile.write(b"\x00\xff\r\n\r\n"),
    "nothing": lambda _: None,
    "a list": body(b"[]"),
    "no keys": body(b'{"keys": []}'),
    "odd keys": body(
        b'{"keys": [1, {"kty": []}, {"kty": "RSA", "n": 1, "e": {}}, {"kty": "EC", "crv": "x"}]}'
    ),
    "deep": body(b"[" * 200_000),
    "huge": body(b" " * (3 << 20)),
    "a redirect": body(b"", 302, Location="http://127.0.0.1:9/keys"),
    "an error": body(b"{}", 500),
    "drops": drops,
    "a slow head": slow_head,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_issuer_is_told_as_one_and_met_once(servers: Servers, fault: str) -> None:
    with Issuer() as known:
        token = known.token()
    faulty = Faulty(FAULTS[fault], discovery=fault not in ("garbage", "a list"))
    auth = servers.folder / f"{fault}.toml"
    auth.write_text(OIDC.format(url=faulty.url))
    ada = new_token(auth, "ada")
    url = servers("--auth", auth)
    assert httpx.get(f"{url}/v1/artifacts", headers=ada, timeout=60).status_code == 200
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        answers.append(problem(httpx.get(f"{url}/v1/artifacts", headers=bearer(token), timeout=60)))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    # Nobody else waits for the issuer.
    assert httpx.get(f"{url}/v1/artifacts", headers=ada, timeout=30).status_code == 200
    for thread in threads:
        thread.join(60)
    assert answers == [(503, "FT837")] * 12
    assert time.monotonic() - began < 60
    assert faulty.asked == 1
    faulty.close()
    servers.stop(url)


@pytest.mark.parametrize("fault", ["no HTTP", "huge", "a redirect", "an error", "odd keys"])
def test_a_login_meets_a_fault_of_the_issuer_once(servers: Servers, fault: str) -> None:
    faulty = Faulty(FAULTS[fault])
    auth = servers.folder / f"login {fault}.toml"
    auth.write_text(OIDC.format(url=faulty.url))
    url = servers("--auth", auth)
    for _ in range(3):
        with httpx.Client(base_url=url) as browser:
            left = httpx.URL(browser.get("/login/oidc").headers["location"])
            back = {"code": "x", "state": left.params["state"]}
            assert problem(browser.get("/login/callback", params=back)) == (503, "FT837")
    assert faulty.asked == 1
    faulty.close()
    servers.stop(url)
