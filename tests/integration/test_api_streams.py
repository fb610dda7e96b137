"""Bytes over HTTP: exports and files as streams, ranges, compressed; uploads that come, and break off."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.servers import Servers

from flowtime.service import Flowtime
from flowtime.settings import load

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BINS = 50_000
MODEL = {
    "grid": {"bins": BINS, "binSize": 1, "binUnit": "minutes", "start": "2025-01-01T00:00:00Z"},
    "nodes": [
        {"id": "arrivals", "kind": "const", "values": [(i * 7 % 1009) / 7 for i in range(BINS)]},
        {"id": "served", "kind": "expr", "expr": "MIN(arrivals, 100) / MAX(arrivals - 9, 0)"},
        *({"id": f"n{i}", "kind": "expr", "expr": f"arrivals * {i}.37"} for i in range(18)),
    ],
}
PLAIN = {"Accept-Encoding": "identity"}


class Site:
    """A server, its registry with a run of a million rows, and the folders where it may leave something."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.service = Flowtime(load({"artifacts": str(folder / "artifacts")}))
        model = self.service.publish_model(json.dumps(MODEL).encode(), name="wide")
        self.run: str = self.service.run(model["id"], name="wide-run")["id"]

    def left(self) -> list[Path]:
        """What of requests is still on the disk."""
        found = [*self.temporary.glob("*"), *(self.folder / "cache").glob("server-*/processes/*/*")]
        found += (self.folder / "artifacts/.staging").glob("*")
        return [path for path in found if path.name not in ("lock", ".lock", ".turns")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("streams"))


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    environment = {"TMPDIR": str(site.temporary), "FLOWTIME_CACHE": str(site.folder / "cache")}
    with Servers(site.folder) as servers:
        url = servers(env=environment)
        with httpx.Client(base_url=url, timeout=120, headers=PLAIN) as client:
            yield client
        assert "Traceback" not in servers.log(url)


@pytest.mark.parametrize("format", ["gold", "ndjson", "parquet", "bundle"])
def test_an_export_has_the_bytes_of_the_command(client: httpx.Client, site: Site, format: str) -> None:
    exported = site.service.export(site.run, format, f"{site.folder}/{format}/")
    path = Path(exported["path"])
    response = client.get(f"/v1/runs/wide-run/export/{format}")
    assert response.status_code == 200
    assert hashlib.sha256(response.content).digest() == hashlib.sha256(path.read_bytes()).digest()
    assert response.headers["x-flowtime-rows"] == str(exported["rows"])
    assert exported["digest"] in response.headers["etag"]
    assert response.headers["x-flowtime-digest"] == exported["digest"]
    assert f'filename="{site.run}.' in response.headers["content-disposition"]
    if format in ("gold", "ndjson"):
        link = response.headers["link"]
        assert 'rel="describedby"' in link
        described = client.get(link.partition("<")[2].partition(">")[0]).json()
        assert described == json.loads(Path(exported["metadata_path"]).read_bytes())
    if format == "gold":
        assert response.headers["content-length"] == str(exported["bytes"])
    path.unlink()


def test_metadata_embedded_in_a_csv(client: httpx.Client, site: Site) -> None:
    path = site.folder / f"{site.run}.csv"
    site.service.export(site.run, "gold", str(path), embed=True)
    embedded = client.get("/v1/runs/wide-run/export/gold?embed_metadata=true")
    assert hashlib.sha256(embedded.content).digest() == hashlib.sha256(path.read_bytes()).digest()
    assert embedded.headers["etag"] != client.head("/v1/runs/wide-run/export/gold").headers["etag"]
    path.unlink()


@pytest.mark.parametrize(
    "path", ["/v1/runs/wide-run/export/gold", "/v1/artifacts/wide-run/files/binned_v0.csv"]
)
def test_ranges(client: httpx.Client, path: str) -> None:
    whole = client.get(path)
    data, etag = whole.content, whole.headers["etag"]
    assert whole.headers["accept-ranges"] == "bytes"

    def part(said: str, **more: str) -> httpx.Response:
        return client.get(path, headers={"Range": said, **more})

    for said, expected in (("bytes=0-9", data[:10]), ("bytes=-7", data[-7:]), ("bytes=100-", data[100:])):
        response = part(said)
        assert (response.status_code, response.content) == (206, expected)
        assert response.headers["content-range"].endswith(f"/{len(data)}")
        assert response.headers["etag"] == etag
    assert part("bytes=0-9", **{"If-Range": etag}).status_code == 206
    for said, more in (
        ("bytes=0-9", {"If-Range": '"other"'}),
        ("lines=0-9", {}),
        ("bytes=9-5", {}),
        ("bytes=x", {}),
    ):
        assert part(said, **more).status_code == 200
    beyond = part(f"bytes={len(data)}-")
    assert (beyond.status_code, beyond.json()["code"]) == (416, "FT825")
    assert beyond.headers["content-range"] == f"bytes */{len(data)}"
    assert beyond.json()["hint"] == "they count from 0; without Range the whole file comes"
    # A broken download goes on where it broke off.
    assert part("bytes=0-499999").content + part("bytes=500000-").content == data


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_compressed_as_the_caller_can_read_it(client: httpx.Client, coding: str) -> None:
    opened = gzip.decompress if coding == "gzip" else zstd.decompress
    accept = {"Accept-Encoding": coding}
    for path in (
        "/v1/runs/wide-run/export/gold",
        "/v1/runs/wide-run/export/ndjson",
        "/v1/artifacts/wide-run",
    ):
        plain = client.get(path)
        with client.stream("GET", path, headers=accept) as response:
            raw = b"".join(response.iter_raw())
        assert response.headers["content-encoding"] == coding
        assert "accept-encoding" in response.headers["vary"].lower()
        assert opened(raw) == plain.content
        assert len(raw) < len(plain.content) / 2
        etag = response.headers["etag"]
        assert etag != plain.headers["etag"]
        unchanged = client.get(path, headers={**accept, "If-None-Match": etag})
        assert (unchanged.status_code, unchanged.headers["etag"]) == (304, etag)
    for path in ("/v1/runs/wide-run/export/parquet", "/v1/trash"):
        assert "content-encoding" not in client.get(path, headers=accept).headers
    assert (
        client.get("/v1/artifacts/wide-run", headers={"Accept-Encoding": "gzip;q=0, *;q=0"}).headers.get(
            "content-encoding"
        )
        is None
    )


def test_head_tells_what_get_would(client: httpx.Client) -> None:
    for path in (
        "/v1/artifacts", "/v1/artifacts/wide-run", "/v1/runs/wide-run/export/gold",
        "/v1/artifacts/wide-run/files/model.yaml", "/v1/templates", "/v1/index",
    ):  # fmt: skip
        head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-type", "content-length", "etag", "link", "content-disposition"):
            assert head.headers.get(name) == get.headers.get(name), (path, name)


def test_what_was_not_changed_is_not_sent_again(client: httpx.Client) -> None:
    for path in (
        "/v1/artifacts?kind=run", "/v1/artifacts/wide-run", "/v1/runs/wide-run/export/gold",
        "/v1/runs/wide-run/export/bundle", "/v1/artifacts/wide-run/files/model.yaml",
        "/v1/runs/wide-run/graph",
    ):  # fmt: skip
        etag = client.head(path).headers["etag"]
        for said in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            response = client.get(path, headers={"If-None-Match": said})
            assert (response.status_code, response.content) == (304, b""), (path, said)
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_only_what_was_seen_is_changed(client: httpx.Client) -> None:
    seen = client.get("/v1/artifacts/wide").headers["etag"]
    compressed = client.get("/v1/artifacts/wide", headers={"Accept-Encoding": "gzip"}).headers["etag"]
    changed = client.patch("/v1/artifacts/wide", json={"star": True}, headers={"If-Match": compressed})
    assert (changed.status_code, changed.json()["star"]) == (200, True)
    late = client.patch("/v1/artifacts/wide", json={"star": False}, headers={"If-Match": seen})
    assert (late.status_code, late.json()["code"]) == (412, "FT823")
    assert client.get("/v1/artifacts/wide").json()["star"] is True
    assert (
        client.patch("/v1/artifacts/wide", json={"star": False}, headers={"If-Match": "*"}).status_code == 200
    )


def test_a_damaged_table_never_looks_complete(client: httpx.Client, site: Site) -> None:
    run = site.service.run("wide", name="damaged", tags=("x",))
    path = Path(run["files"]["data"])
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    for format in ("gold", "ndjson", "parquet"):
        with pytest.raises((httpx.RemoteProtocolError, httpx.HTTPStatusError)):
            client.get(f"/v1/runs/damaged/export/{format}").raise_for_status()
    site.service.delete(run["id"], confirm=True)


def gone(site: Site, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while site.left() and time.monotonic() < end:
        time.sleep(0.05)
    return site.left() == []


@pytest.mark.parametrize("format", ["gold", "ndjson", "parquet", "bundle"])
def test_a_reader_that_goes_away_leaves_nothing(client: httpx.Client, site: Site, format: str) -> None:
    for _ in range(3):
        with httpx.stream(
            "GET", f"{client.base_url}/v1/runs/wide-run/export/{format}", headers=PLAIN
        ) as response:
            next(response.iter_raw(1000))
    assert gone(site)
    # Nobody waits behind them.
    assert client.get(f"/v1/runs/wide-run/export/{format}", timeout=30).status_code == 200


@pytest.mark.parametrize("form", [False, True])
def test_an_upload_that_breaks_off_leaves_nothing(client: httpx.Client, site: Site, form: bool) -> None:
    before = client.get("/v1/artifacts").json()["total"]
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        kind = "multipart/form-data; boundary=b" if form else "text/csv"
        head = f"POST /v1/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        head += "Content-Length: 99999999\r\n\r\n"
        part = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n' if form else b""
        )
        connection.sendall(head.encode() + part + b"time_bin,component_id,measure,value\n" * 100_000)
        end = time.monotonic() + 10
        while not site.left() and time.monotonic() < end:
            time.sleep(0.02)
        assert site.left()
    assert gone(site)
    assert client.get("/v1/artifacts").json()["total"] == before


def test_a_caller_that_goes_away_during_an_import_gets_no_artifact(client: httpx.Client, site: Site) -> None:
    data = client.get("/v1/runs/wide-run/export/ndjson").content
    before = client.get("/v1/artifacts").json()["total"]
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{client.base_url}/v1/import?ignore_metadata=true",
            content=data,
            timeout=httpx.Timeout(30, read=0.2),
        )
    assert gone(site)
    assert client.get("/v1/artifacts").json()["total"] == before


def test_a_form_brings_file_metadata_and_options(client: httpx.Client, site: Site) -> None:
    folder = site.folder / "form"
    exported = site.service.export("wide-run", "gold", f"{folder}/")
    files = {
        "metadata": ("any.json", Path(exported["metadata_path"]).read_bytes()),
        "file": ("../../wide.csv", Path(exported["path"]).read_bytes()),
    }
    response = client.post("/v1/import", files=files, data={"name": "back", "tags": "a, b"})
    assert response.status_code == 201, response.text
    made = response.json()
    assert (made["name"], made["tags"], made["rebuilt"], made["conformance"]["ok"]) == (
        "back",
        ["a", "b"],
        True,
        True,
    )
    assert made["data"]["digest"] == exported["digest"]
    assert client.get(response.headers["location"]).json()["id"] == made["id"]
    again = client.post("/v1/import?dry_run=true", files=files)
    assert (again.status_code, "id" in again.json(), again.json()["rebuilt"]) == (200, False, True)
    assert gone(site)
    files["metadata"] = ("any.json", files["metadata"][1].replace(b'"sha256:', b'"sha256:0'))
    refused = client.post("/v1/import", files=files)
    assert (refused.status_code, refused.json()["kind"]) == (422, "invalid")
    assert gone(site)


def test_pages_are_linked(client: httpx.Client) -> None:
    first = client.get("/v1/artifacts", params={"size": 1, "kind": "run,model", "tag": ["a", "b"]})
    assert 'rel="first"' in first.headers["link"]
    response = client.get("/v1/artifacts?size=1")
    seen = [response.json()["artifacts"][0]["id"]]
    while "next" in response.links:
        response = client.get(response.links["next"]["url"])
        seen += [item["id"] for item in response.json()["artifacts"]]
    assert len(seen) == len(set(seen)) == response.json()["total"]
    assert response.links["last"]["url"] == str(response.url.raw_path, "ascii")
