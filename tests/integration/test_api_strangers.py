"""What those can do whom the server does not know: little, and at little cost. Real servers, attacked."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.servers import Servers, new_token, problem

LARGE = 16 << 20
DOCS = Path(__file__).parents[2] / "docs"


class Watched:
    """What the process of a server takes, by the system's count."""

    def __init__(self, servers: Servers, url: str) -> None:
        self._place = Path(f"/proc/{servers.process(url).pid}")
        if not (self._place / "clear_refs").exists():
            pytest.skip("the system does not count what a process takes")

    def begin(self) -> None:
        (self._place / "clear_refs").write_text("5")
        self._memory, self._seconds = self._peak(), self._cpu()

    def cost(self) -> tuple[float, float]:
        """MB of memory and seconds of processor since `begin`."""
        return (self._peak() - self._memory) / 1000, self._cpu() - self._seconds

    def _peak(self) -> int:
        found = re.search(r"VmHWM:\s+(\d+) kB", (self._place / "status").read_text())
        assert found is not None
        return int(found[1])

    def _cpu(self) -> float:
        fields = (self._place / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("strangers")) as shared:
        yield shared


@pytest.fixture(scope="module")
def ada(servers: Servers) -> dict[str, str]:
    """The header of a writer."""
    return new_token(servers.folder / "access.toml", "ada")


@pytest.fixture(scope="module")
def url(servers: Servers, ada: dict[str, str]) -> str:
    """A server that wants to know who calls."""
    return servers("--auth", servers.folder / "access.toml")


def send(url: str, head: str, body: bytes) -> int:
    """The status of the answer to a request whose body is sent as long as the server takes it."""
    place = httpx.URL(url)
    assert place.port is not None
    with socket.create_connection((place.host, place.port), timeout=30) as connection:
        connection.sendall(f"{head}\r\nHost: {place.host}:{place.port}\r\n\r\n".encode())
        sent = memoryview(body)
        try:
            while sent:
                sent = sent[connection.send(sent) :]
        except (BrokenPipeError, ConnectionResetError):
            """The server has answered and gone; the answer is there all the same."""
        answer = connection.recv(1 << 16)
    return int(answer.split(b" ", 2)[1])


def test_a_stranger_costs_nearly_nothing_whatever_is_sent(servers: Servers, url: str) -> None:
    described = httpx.get(f"{url}/openapi.json").json()["paths"]
    asked = [
        (method.upper(), re.sub(r"\{\w+\}", "import", path))
        for path, methods in described.items()
        for method in methods
        if method != "get" and path not in ("/login", "/logout")
    ]
    pages = ["/templates/checkout", "/templates/checkout/check", "/artifacts/x/run", "/models/check"]
    asked += [("POST", page) for page in pages]
    assert len(asked) > 15
    body = b"[" + b"[]," * (LARGE // 3) + b"[]]"
    watched = Watched(servers, url)
    watched.begin()
    for method, path in asked:
        head = f"{method} {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        assert send(url, head, body) == 401, (method, path)
        # Nor does it help not to say how much will come.
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        head = f"{method} {path} HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
        assert send(url, head, chunked) == 401, (method, path)
    memory, seconds = watched.cost()
    assert memory < 16
    assert seconds < 0.05 * 2 * len(asked)


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_what_strangers_may_send_is_short(servers: Servers, url: str, path: str) -> None:
    watched = Watched(servers, url)
    watched.begin()
    for _ in range(5):
        kind = "Content-Type: application/x-www-form-urlencoded"
        head = f"POST {path} HTTP/1.1\r\n{kind}\r\nSec-Fetch-Site: same-origin\r\nContent-Length: {LARGE}"
        assert send(url, head, b"&" * LARGE) in (303, 413)
    memory, seconds = watched.cost()
    assert memory < 16
    assert seconds < 0.5


def test_a_path_that_ends_in_import_is_not_one_for_imports(url: str, ada: dict[str, str]) -> None:
    head = f"PATCH /v1/artifacts/import HTTP/1.1\r\nAuthorization: {ada['Authorization']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {LARGE}"
    assert send(url, head, b"[" * LARGE) == 413
    for path in ("/v1/runs/import", "/v1/artifacts/x/import", "/import"):
        assert httpx.patch(url + path, headers=ada, content=b"{}").status_code in (404, 405)


def test_a_short_body_of_a_stranger_leaves_the_connection_open(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        for _ in range(3):
            answer = client.post("/v1/runs", json={"model_id": "x"})
            assert problem(answer) == (401, "FT828")
            assert "connection" not in answer.headers


def test_a_frame_or_object_of_another_site_loads_nothing(url: str, ada: dict[str, str]) -> None:
    leads = {**ada, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    for kind in ("iframe", "frame", "fencedframe", "object", "embed", "image", "script", "empty", ""):
        for path in ("/", "/v1/artifacts", "/healthz", "/nothing"):
            answer = httpx.get(url + path, headers={**leads, "Sec-Fetch-Dest": kind})
            assert problem(answer) == (403, "FT830"), kind
    assert httpx.get(url, headers={**leads, "Sec-Fetch-Dest": "document"}).status_code == 200


ODD_COOKIES = [
    "{}", "a=b; {}", "a b=c; {}", 'a="b; {}', "{}; a,b=c", "@=1; {}", "=x; {}", "x; {}", "a=b;;{};",
    "ä=1; {}", "flowtime_session=x; {}", "(=1; {}", "a[0]=1; {}", "a=\\; {}", "{};", "a=b;\t{}",
]  # fmt: skip


@pytest.mark.parametrize("shape", ODD_COOKIES)
def test_who_is_known_by_a_cookie_is_asked_for_its_page(url: str, ada: dict[str, str], shape: str) -> None:
    token = ada["Authorization"].removeprefix("Bearer ")
    answer = httpx.post(f"{url}/login", data={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})
    said: dict[str, Any] = {
        "Cookie": shape.format(f"flowtime_session={answer.cookies['flowtime_session']}").encode("latin-1")
    }
    known = httpx.get(f"{url}/v1/artifacts", headers=said).status_code == 200
    changed = httpx.post(f"{url}/v1/trash/purge", headers=said)
    assert changed.status_code == (403 if known else 401)
    assert known


@pytest.mark.parametrize(
    "host",
    [
        "localhost/x", "localhost?x", "localhost#x", "a@localhost", "localhost:", "localhost:x",
        "localhost:99999", "localhost:-1", "local host", "local\thost", "[::1", "::1", "[::1]x",
        "[localhost]", "localhost,evil", "localhost\\x", "localhost%00", "localh\u00f6st", "localhost:80:80",
    ],
)  # fmt: skip
def test_an_odd_host_is_refused(url: str, host: str) -> None:
    place = httpx.URL(url)
    assert place.port is not None
    with socket.create_connection((place.host, place.port), timeout=30) as connection:
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
        answer = connection.recv(1 << 16)
    assert int(answer.split(b" ", 2)[1]) in (400, 421)
