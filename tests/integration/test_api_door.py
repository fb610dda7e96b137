"""What every request passes, at real servers: hosts, origins, sizes, pace, names in addresses, and bombs."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from playwright.async_api import async_playwright
from tests.servers import Servers, new_token, problem

MODEL = b"""\
grid: {bins: 4, binSize: 1, binUnit: hours}
nodes:
  - {id: arrivals, kind: const, values: [10, 20, 30, 20]}
  - {id: served, kind: expr, expr: "MIN(arrivals, 25)"}
"""
YAML = {"Content-Type": "application/yaml"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers that tests share, for they leave nothing behind that others see."""
    with Servers(tmp_path_factory.mktemp("door")) as shared:
        yield shared


@pytest.fixture(scope="module")
def url(servers: Servers) -> str:
    """A server that lets everybody in."""
    return servers("--allow-host", "Flow.example")


# Hosts: a name that leads here since a moment ago (DNS rebinding) is not one of ours.


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "10.1.2.3", "[::2]", "a@b:c"],
)
def test_a_name_that_was_rebound_is_refused(url: str, host: str) -> None:
    for path in ("/v1/artifacts", "/healthz", "/metrics", "/nothing/here"):
        assert problem(httpx.get(url + path, headers={"Host": host})) == (421, "FT831")


def test_its_names_are_known(url: str) -> None:
    port = httpx.URL(url).port
    for host in ("localhost", "127.0.0.1", "[::1]", "flow.example", "FLOW.EXAMPLE.", f"flow.example:{port}"):
        assert httpx.get(f"{url}/healthz", headers={"Host": host}).status_code == 200, host


def test_a_server_for_others_is_known_by_its_address(serve: Servers) -> None:
    auth = serve.folder / "access.toml"
    header = new_token(auth, "ada")
    port = httpx.URL(serve("--host", "0.0.0.0", "--auth", auth)).port
    for host, status in (("127.0.0.1", 200), ("127.0.0.2", 421), ("evil.example", 421)):
        said = {**header, "Host": f"{host}:{port}"}
        assert httpx.get(f"http://127.0.0.1:{port}/v1/artifacts", headers=said).status_code == status


# Origins: pages of other sites, in the browser of somebody whom the server lets in.

CROSS = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://127.0.0.1"},
]


@pytest.mark.parametrize("said", CROSS, ids=str)
def test_another_site_changes_nothing(url: str, said: dict[str, str]) -> None:
    before = httpx.get(f"{url}/v1/artifacts").json()["total"]
    for path, methods in httpx.get(f"{url}/openapi.json").json()["paths"].items():
        for method in methods.keys() - {"get"}:
            answer = httpx.request(method.upper(), url + path, content=MODEL, headers={**YAML, **said})
            assert problem(answer) == (403, "FT830"), (method, path)
    assert httpx.get(f"{url}/v1/artifacts").json()["total"] == before


def test_our_own_pages_and_programs_may(url: str) -> None:
    for said in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": url}, {"Authorization": "Bearer x"}):
        assert httpx.post(f"{url}/v1/models", content=MODEL, headers={**YAML, **said}).status_code == 201


def test_a_cookie_alone_is_no_word_of_a_page(serve: Servers) -> None:
    auth = serve.folder / "access.toml"
    token = new_token(auth, "ada")["Authorization"].removeprefix("Bearer ")
    with httpx.Client(base_url=serve("--auth", auth)) as browser:
        browser.post("/login", data={"token": token})
        assert problem(browser.post("/v1/models", content=MODEL, headers=YAML)) == (403, "FT830")
        cross = {**YAML, "Sec-Fetch-Site": "cross-site"}
        assert problem(browser.post("/v1/models", content=MODEL, headers=cross)) == (403, "FT830")
        own = {**YAML, "Sec-Fetch-Site": "same-origin"}
        assert browser.post("/v1/models", content=MODEL, headers=own).status_code == 201


def test_another_site_loads_nothing(url: str) -> None:
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert problem(httpx.get(f"{url}/v1/artifacts", headers=embedded)) == (403, "FT830")
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert httpx.get(f"{url}/v1/artifacts", headers=link).status_code == 200
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    answer = httpx.options(f"{url}/v1/artifacts/x", headers=asked)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/v1/artifacts", "/v1/artifacts/none", "/nothing", "/healthz", "/metrics"])
def test_every_response_has_the_headers_that_protect(url: str, path: str) -> None:
    for headers in (httpx.get(url + path).headers, httpx.get(url + path, headers={"Host": "x.y"}).headers):
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "access-control-allow-origin" not in headers


# Names in addresses


OUTSIDE = [
    "..", "../..", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e", "%2e%2e%2f", "..\\..", "..%5c..%5cx", "%00",
    "a%00b", "%2fetc%2fpasswd", "//etc/passwd", "C:%5cx", "file:%2f%2f%2fetc%2fpasswd", "a%0d%0ab", ".", "~",
    "con", "%c0%ae%c0%ae", "..%252f..%252f", "models%2f..", ".staging", ".trash", "flowtime.json", "*",
    "a" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE, ids=lambda name: name[:20])
def test_no_name_leads_out_of_the_registry(servers: Servers, url: str, name: str) -> None:
    secret = "the-secret-beside-the-registry"
    (servers.folder / "secret.txt").write_text(secret)
    httpx.post(f"{url}/v1/models", params={"name": "walked"}, content=MODEL, headers=YAML)
    id = httpx.get(f"{url}/v1/artifacts").json()["artifacts"][0]["id"]
    before = sorted(path for path in servers.folder.rglob("*") if "log" not in path.name)
    target = httpx.URL(url)
    for path, methods in httpx.get(f"{url}/openapi.json").json()["paths"].items():
        parameters = re.findall(r"\{(\w+)\}", path)
        for hole in parameters:
            good = {"id": id, "name": "catalog.json", "format": "gold", "code": "FT101"}
            filled = path.replace(f"{{{hole}}}", name)
            for other in parameters:
                filled = filled.replace(f"{{{other}}}", good[other])
            for method in methods:
                status, text = raw(target, method.upper(), filled)
                assert 400 <= status < 500, (method, filled, status)
                assert secret not in text and "root:" not in text
                # A problem says what was asked for, and nothing of where the server keeps it.
                assert str(servers.folder) not in text
    for reference in (name, f"{id}@v{name}", f"{name}@v1"):
        for body in ({"model_id": reference}, {"telemetry_id": reference}):
            assert httpx.post(f"{url}/v1/runs", json=body).status_code in {404, 422}
    after = sorted(path for path in servers.folder.rglob("*") if "log" not in path.name)
    assert after == before


def head(request: str, *lines: str) -> bytes:
    """The head of a request, as it goes over the wire."""
    return "\r\n".join((f"{request} HTTP/1.1", "Host: localhost", *lines, "", "")).encode()


def raw(target: httpx.URL, method: str, path: str) -> tuple[int, str]:
    """A request whose address no client has tidied; its status and body."""
    with socket.create_connection((target.host, target.port), timeout=30) as wire:
        wire.sendall(head(f"{method} {path}", "Connection: close", "Content-Length: 0"))
        answer = b"".join(iter(lambda: wire.recv(65536), b"")).decode(errors="replace")
    return int(answer.split(" ", 2)[1]), answer.partition("\r\n\r\n")[2]


@pytest.mark.parametrize("filename", ["../../x.csv", "/etc/passwd", "..\\x.csv", "", "a\x00b", "x" * 300])
def test_no_file_name_of_an_upload_leads_anywhere(servers: Servers, url: str, filename: str) -> None:
    table = b"time_bin,component_id,measure,value\n0,a,m,1\n1,a,m,2\n"
    before = {path.name for path in servers.folder.iterdir()}
    answer = httpx.post(f"{url}/v1/import", files={"file": (filename, table)})
    assert answer.status_code in {201, 422}, answer.text
    assert {path.name for path in servers.folder.iterdir()} == before
    assert not (Path("/tmp") / "x.csv").exists()


# Sizes and pace

LIMITED = """
import sys
from pathlib import Path
from flowtime.api.server import Limits
from flowtime.api.serving import Config, serve
from flowtime.settings import load

limits = Limits(body=200_000, document=50_000, fields=50_000, silence=1.0, upload=4.0)
config = Config(load({"artifacts": sys.argv[1]}), limits=limits)
serve(
    config, "127.0.0.1", 0, 1, lambda url: print(url, flush=True), application="flowtime.web.app:application"
)
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with small limits."""
    folder = tmp_path_factory.mktemp("limited")
    command = [sys.executable, "-c", LIMITED, str(folder / "artifacts")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def test_a_body_that_is_announced_as_too_large_is_not_received(limited: str) -> None:
    target = httpx.URL(limited)
    for path, size in (
        ("/v1/models", 50_001),
        ("/v1/import", 200_001),
        ("/v1/runs", 10**15),
        ("/nothing", 50_001),
    ):
        with socket.create_connection((target.host, target.port), timeout=20) as wire:
            wire.sendall(head(f"POST {path}", f"Content-Length: {size}"))
            answer = b"".join(iter(lambda: wire.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"FT824"' in answer
    assert httpx.get(f"{limited}/v1/artifacts").json()["total"] == 0


@pytest.mark.parametrize(
    ("path", "size"), [("/v1/models", 50_001), ("/v1/runs", 50_001), ("/v1/import", 200_001)]
)
def test_a_body_that_turns_out_too_large_is_stopped(limited: str, path: str, size: int) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(size // 1000 + 1):
            yield b"#" * 1000

    kind = "application/json" if path == "/v1/runs" else "text/plain"
    answer = httpx.post(limited + path, content=pieces(), headers={"Content-Type": kind})
    assert problem(answer) == (413, "FT824")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/import", "/v1/runs", "/export"])
def test_a_body_that_stops_is_not_waited_for(limited: str, path: str) -> None:
    target = httpx.URL(limited)
    with socket.create_connection((target.host, target.port), timeout=20) as wire:
        kind = "text/csv" if path == "/v1/import" else "application/json"
        wire.sendall(head(f"POST {path}", f"Content-Type: {kind}", "Content-Length: 1000") + b"{")
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"FT827"' in answer


def test_a_body_that_trickles_is_given_up(limited: str) -> None:
    target = httpx.URL(limited)
    with socket.create_connection((target.host, target.port), timeout=20) as wire:
        wire.sendall(head("POST /v1/import", "Content-Type: text/csv", "Content-Length: 1000"))
        wire.setblocking(False)
        answer, until = b"", time.monotonic() + 15
        while not answer and time.monotonic() < until:
            wire.send(b"a")
            time.sleep(0.3)
            try:
                answer = wire.recv(65536)
            except BlockingIOError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_slow_bodies_hold_nobody_up(limited: str) -> None:
    target = httpx.URL(limited)
    wires = [socket.create_connection((target.host, target.port)) for _ in range(100)]
    try:
        for wire in wires:
            wire.sendall(head("POST /v1/models", "Content-Length: 100") + b"grid")
        assert httpx.get(f"{limited}/v1/artifacts", timeout=5).status_code == 200
    finally:
        for wire in wires:
            wire.close()


# Bombs


def memory(servers: Servers, url: str) -> int:
    """The most memory that a server ever held, in MiB."""
    status = Path(f"/proc/{servers.process(url).pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) >> 10


def packed(size: int, name: str = "binned_v0.csv") -> bytes:
    """A zip whose one file holds so many zeros."""
    made = io.BytesIO()
    with (
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as file,
    ):
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return made.getvalue()


def gzipped(head: bytes, size: int) -> bytes:
    """A gzip file of a table whose last line never ends."""
    packer = zlib.compressobj(1, wbits=31)
    return (
        packer.compress(head)
        + b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20))
        + packer.flush()
    )


GRID = "grid: {bins: 4, binSize: 1, binUnit: hours}\n"
HEAD = b"time_bin,component_id,measure,value\n"
DEEP = "(" * 40_000 + "1" + ")" * 40_000
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
WIDE = "\n".join(f"0,c{number},m,1" for number in range(20_000)).encode()
FORMULA = GRID + 'nodes: [{id: b, kind: expr, expr: "FORMULA"}]'
MANY = "grid: {bins: 1000000000, binSize: 1, binUnit: minutes}\nnodes: []"
LARGE = {
    "grid": {"bins": 1_000_000, "binSize": 1, "binUnit": "minutes"},
    "nodes": [{"id": f"n{number}", "kind": "expr", "expr": "1"} for number in range(500)],
}
BOMBS: dict[str, tuple[str, Callable[[], Any], str]] = {
    "aliases": ("/v1/models", lambda: LAUGHS + GRID, "FT103"),
    "aliases, checked": ("/v1/models/validate", lambda: LAUGHS + GRID, "FT103"),
    "nested lists": ("/v1/models", lambda: "a: " + "[" * 100_000, "FT103"),
    "nested JSON": ("/v1/runs", lambda: '{"model": ' + '{"a":' * 40_000, "FT822"),
    "much nested JSON": ("/v1/runs", lambda: '{"model": ' + '{"a":' * 100_000, "FT824"),
    "nested model": ("/v1/runs", lambda: json.dumps({"model": "[" * 40_000}), "FT103"),
    "much nested model": ("/v1/runs", lambda: json.dumps({"model": "[" * 100_000}), "FT824"),
    "nested formula": ("/v1/models", lambda: FORMULA.replace("FORMULA", DEEP), "FT200"),
    "long formula": ("/v1/models", lambda: FORMULA.replace("FORMULA", "1+" * 99_999 + "1"), "FT200"),
    "many bins": ("/v1/models", lambda: MANY, "FT200"),
    "nodes times bins": ("/v1/runs", lambda: json.dumps({"model": LARGE}), "FT309"),
    "zip": ("/v1/import", lambda: packed(1 << 28), ""),
    "zip of a model": ("/v1/import", lambda: packed(1 << 28, "model.yaml"), ""),
    "gzip": ("/v1/import", lambda: gzipped(HEAD, 1 << 28), ""),
    "gzip of gzip": ("/v1/import", lambda: zlib.compress(gzipped(HEAD, 1 << 26), 9, wbits=31), ""),
    "a wide table": (
        "/v1/import?missing=null&grid=bins=1000000,size=1,unit=minutes",
        lambda: HEAD + WIDE,
        "",
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process from /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(servers: Servers, url: str, name: str) -> None:
    path, make, expected = BOMBS[name]
    content = make()
    kind = "application/json" if path == "/v1/runs" else "text/plain"
    before = memory(servers, url)
    answer = httpx.post(url + path, content=content, headers={"Content-Type": kind}, timeout=60)
    assert problem(answer)[0] in ({413} if expected == "FT824" else {400, 422}), answer.text[:300]
    assert expected in {"", answer.json()["code"]}, answer.text[:300]
    assert len(answer.content) < 300_000
    assert memory(servers, url) - before < 200, "MiB"
    assert httpx.get(f"{url}/healthz").status_code == 200


# A script in a picture of an imported bundle

SCRIPT = """<svg xmlns="http://www.w3.org/2000/svg" onload="fetch('/v1/artifacts', {method: 'POST'})">
<script>document.title = 'ran'; fetch('/v1/models', {method: 'POST', body: 'x'})</script>
<image href="x" onerror="document.title = 'ran'"/><foreignObject><iframe xmlns="http://www.w3.org/1999/xhtml"
srcdoc="&lt;script&gt;parent.document.title = 'ran'&lt;/script&gt;"/></foreignObject></svg>"""


TAG = "<script>document.title=1</script>"


@pytest.mark.needs("chromium")
def test_a_script_in_a_picture_does_not_run(servers: Servers, unavailable: Callable[[str], NoReturn]) -> None:
    url = servers("--artifacts", servers.folder / "pictures")
    # A bundle from elsewhere, whose model has markup wherever it can have text.
    other = servers("--artifacts", servers.folder / "elsewhere")
    evil = MODEL.decode().replace(
        "id: served,", f"id: served, title: {json.dumps(SCRIPT)}, component: '{TAG}',"
    )
    run = httpx.post(f"{other}/v1/runs", json={"model": evil}).json()["id"]
    bundle = httpx.get(f"{other}/v1/runs/{run}/export/bundle").content
    id = httpx.post(f"{url}/v1/import", content=bundle).json()["model_id"]
    answer = httpx.get(f"{url}/v1/artifacts/{id}/files/preview.svg")
    assert TAG not in answer.text and "<script" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy and "allow-scripts" not in policy and "script-src" not in policy
    # A picture with a script, however it came into the registry, is not the one that was published.
    picture = servers.folder / "pictures" / "models" / id / "v1" / "preview.svg"
    assert picture.exists()
    picture.write_text(SCRIPT)
    place = f"{url}/v1/artifacts/{id}/files/preview.svg"

    async def look() -> tuple[str, list[str]]:
        asked: list[str] = []
        async with async_playwright() as play:
            browser = await play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = await browser.new_page()
            page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
            shown = await page.goto(place)
            assert shown is not None and shown.status == 503
            await page.wait_for_timeout(500)
            title = await page.title()
            await browser.close()
        return title, asked

    title, asked = asyncio.run(look())
    assert title != "ran"
    assert [each for each in asked if "POST" in each] == []
