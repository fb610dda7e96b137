"""Exports that wait in temporary files: one for all who read it, and so many for each caller."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random

import httpx
import pytest
from tests.servers import Servers

from flowtime.service import Flowtime
from flowtime.settings import load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at the files that a process has open")

SERIES, BINS = 20, 50_000
CHANCE = Random(1)
"""Values that do not compress: a small file would wait in the buffers of a connection, and be gone."""
MODEL = {
    "grid": {"bins": BINS, "binSize": 1, "binUnit": "minutes", "start": "2025-01-01T00:00:00Z"},
    "nodes": [
        {"id": "arrivals", "kind": "const", "values": [CHANCE.random() for _ in range(BINS)]},
        *({"id": f"n{i}", "kind": "expr", "expr": f"arrivals * {i}.37"} for i in range(1, SERIES)),
    ],
}
MOST = 8


class Site:
    """A server over a run of a million rows, and the temporary files that it has open."""

    def __init__(self, servers: Servers) -> None:
        folder = servers.folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        service = Flowtime(load({"artifacts": str(folder / "artifacts")}))
        model = service.publish_model(json.dumps(MODEL).encode(), name="wide")
        self.run: str = service.run(model["id"], name="wide-run")["id"]
        service.registry.close()
        environment = {"TMPDIR": str(self.temporary), "FLOWTIME_CACHE": str(folder / "cache")}
        self.url = servers(env=environment)
        self.process = servers.process(self.url).pid

    def files(self) -> set[int]:
        """The temporary files that are open, by their numbers; those in folders are of libraries."""
        found = set()
        for each in Path(f"/proc/{self.process}/fd").iterdir():
            try:
                if each.readlink().parent == self.temporary:
                    found.add(each.stat().st_ino)
            except FileNotFoundError:
                continue
        return found

    @contextmanager
    def watched(self) -> Iterator[set[int]]:
        """The temporary files that are there at some time while the block lasts."""
        seen: set[int] = set()
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.005):
                seen.update(self.files())

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield seen
        finally:
            done.set()
            looking.join()

    def settles(self, count: int, seconds: float = 60) -> bool:
        """Whether there come to be so many, and stay."""
        return until(lambda: len(self.files()) == count, seconds)

    def slow(self, format: str, address: str = "127.0.0.1") -> Slow:
        return Slow(self.url, f"/v1/runs/{self.run}/export/{format}", address)


class Slow:
    """A reader that takes next to nothing of an answer."""

    def __init__(self, url: str, path: str, address: str) -> None:
        asked = httpx.URL(url)
        self.connection = socket.socket()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.connection.bind((address, 0))
        self.connection.connect((asked.host, asked.port))
        self.connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {asked.host}:{asked.port}\r\nConnection: close\r\n\r\n".encode()
        )
        self.connection.settimeout(120)
        self.head = self.connection.recv(12)

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    def rest(self) -> bytes:
        """All that comes, with the rest of the head."""
        with self.connection.makefile("rb") as file:
            return file.read()

    def leave(self) -> None:
        self.connection.close()


def unchunked(body: bytes) -> bytes:
    """The bytes that came in chunks (RFC 9112 section 7.1)."""
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        parts.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return b"".join(parts)


def until(so: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Servers(tmp_path_factory.mktemp("shared")) as servers:
        found = Site(servers)
        yield found
        assert "Traceback" not in servers.log(found.url)


@pytest.mark.parametrize("format", ["bundle", "parquet"])
def test_slow_readers_share_a_file_and_each_caller_has_so_many(site: Site, format: str) -> None:
    readers = [site.slow(format) for _ in range(MOST)]
    try:
        assert [reader.status for reader in readers] == [200] * MOST
        # A bundle is made of two tables, which wait in files too while it is written.
        assert site.settles(1)
        refused = site.slow(format)
        assert refused.status == 503
        assert b"FT838" in refused.rest()
        refused.leave()
        # Another caller has as many, and shares the file.
        readers.append(site.slow(format, "127.0.0.2"))
        assert readers[-1].status == 200
        assert site.settles(1)
        readers.pop(0).leave()

        def admitted() -> bool:
            readers.append(site.slow(format))
            return readers[-1].status == 200

        assert until(admitted)
        assert site.settles(1)
    finally:
        for reader in readers:
            reader.leave()
    assert site.settles(0)


@pytest.mark.parametrize("format", ["bundle", "parquet", "xlsx"])
def test_many_who_ask_at_once_get_one_file_and_the_first_may_leave(site: Site, format: str) -> None:
    path = f"/v1/runs/{site.run}/export/{format}"

    def read() -> bytes:
        answer = httpx.get(site.url + path, timeout=120)
        assert answer.status_code == 200
        return hashlib.sha256(answer.content).digest()

    with site.watched() as alone:
        expected = read()
    assert site.settles(0)
    with site.watched() as together, ThreadPoolExecutor(6) as pool:
        readers = list(pool.map(lambda _: site.slow(format), range(6)))
        # All have begun to read; one goes, perhaps the one for whom the file was made.
        readers.pop(0).leave()
        found = list(pool.map(lambda reader: reader.rest().partition(b"\r\n\r\n")[2], readers))
        for reader in readers:
            reader.leave()
    assert {hashlib.sha256(unchunked(body)).digest() for body in found} == {expected}
    # What one reader takes: the file itself, and those in which the tables of a bundle wait.
    assert len(together) <= len(alone)
    assert site.settles(0)


def test_what_is_said_of_the_run_meanwhile_is_in_the_next_file(site: Site) -> None:
    reader = site.slow("bundle")
    before = httpx.get(f"{site.url}/v1/runs/{site.run}/export/bundle", timeout=120)
    edited = httpx.patch(f"{site.url}/v1/artifacts/{site.run}", json={"tags": ["meanwhile"]})
    assert edited.status_code == 200
    after = httpx.get(f"{site.url}/v1/runs/{site.run}/export/bundle", timeout=120)
    assert before.headers["etag"] != after.headers["etag"]
    assert b"meanwhile" not in before.content
    assert b"meanwhile" in after.content
    embedded = f"{site.url}/v1/runs/{site.run}/export/gold?embed_metadata=true"
    tag = httpx.head(embedded, timeout=120).headers["etag"]
    httpx.patch(f"{site.url}/v1/artifacts/{site.run}", json={"tags": []})
    assert httpx.head(embedded, timeout=120).headers["etag"] != tag
    reader.leave()
    assert site.settles(0)


def test_a_form_whose_sender_has_gone_makes_nothing(site: Site) -> None:
    def runs() -> int:
        found = httpx.get(f"{site.url}/v1/artifacts", params={"kind": "run"}, timeout=60).json()
        return int(found["total"])

    nodes = [{"id": "n0", "kind": "const", "values": [1.5] * BINS}]
    nodes += [{"id": f"n{i}", "kind": "expr", "expr": f"LOG(2 + CUMSUM(n{i - 1}))"} for i in range(1, 400)]
    made = httpx.post(
        f"{site.url}/v1/models",
        params={"name": "long"},
        content=json.dumps({"grid": {"bins": BINS}, "nodes": nodes}),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    assert made.status_code == 201, made.text
    form = f"{site.url}/artifacts/{made.json()['id']}/run"
    began = time.monotonic()
    assert httpx.post(form, data={"name": "somebody"}, timeout=120).status_code == 303
    took = time.monotonic() - began
    before = runs()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(form, data={"name": "nobody"}, timeout=httpx.Timeout(120, read=took / 4))
    # Twice as long as it would have taken, so that one that went on would be there.
    time.sleep(2 * took)
    assert runs() == before
