"""What requests may cost: the table of addresses is that of the code, and nobody waits behind the dearest."""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.servers import Servers

from flowtime.api.server import Config, Limits
from flowtime.service import Flowtime
from flowtime.settings import load
from flowtime.web.app import create

DOCS = Path(__file__).parents[2] / "docs"
WIDE = 3_000
_REQUESTS, _SAMPLES = 4, 5
JSON = {"Content-Type": "application/json"}
YAML = {"Content-Type": "application/yaml"}
CSV = {"Content-Type": "text/csv"}


def test_every_address_is_in_the_table_with_what_it_takes(tmp_path: Path) -> None:
    app = create(Config(load({"artifacts": str(tmp_path / "artifacts"), "cache": str(tmp_path / "cache")})))
    sizes = {2 << 30: "2 GiB", 16 << 20: "16 MiB", 1 << 20: "1 MiB", 16 << 10: "16 KiB"}
    doors = {
        f"{method} {door.route.path}": (door.who, sizes[door.limit(Limits())])
        for door in app.state.doors
        for method in (door.route.methods or set()) - {"HEAD"}
    }
    told: dict[str, tuple[str, str]] = {}
    _, _, table = (DOCS / "security.md").read_text(encoding="utf-8").partition("## What each address takes")
    for line in table.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        for route in re.findall(r"`([A-Z]+ [^`]+)`", cells[0]) if cells else ():
            assert route not in told
            told[route] = (cells[1], cells[2])
    assert told == doors


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of a registry with two runs of many series."""
    folder = tmp_path_factory.mktemp("costs")
    service = Flowtime(load({"artifacts": str(folder / "artifacts")}))
    for name, value in (("one", 1), ("two", 2)):
        nodes = "".join(f"  - {{id: n{i}, kind: const, values: {value}}}\n" for i in range(WIDE))
        model = service.publish_model(f"grid: {{bins: 24}}\nnodes:\n{nodes}".encode(), name=name)["id"]
        service.run(model, name=f"run-{name}")
    service.registry.close()
    with Servers(folder) as shared:
        yield shared


@pytest.fixture(scope="module")
def pair(servers: Servers) -> tuple[str, str]:
    """A server that is attacked, and one that has nothing to do."""
    return servers(), servers()


def ask(method: str, path: str, **given: object) -> Callable[[str], httpx.Response]:
    return lambda url: httpx.request(method, url + path, timeout=120, **given)


MANY = " ".join(f"n{i}" for i in range(32))
ROWS = b"time_bin,component_id,measure,value\n" + b"".join(
    b"%d,c%d,m,1\n" % (bin, series) for bin in range(100) for series in range(500)
)
DEAR: dict[str, Callable[[str], httpx.Response]] = {
    "search": ask("GET", "/v1/artifacts", params={"ranked": "true", "query": MANY}),
    "words": ask("GET", "/v1/artifacts", params={"query": "n " * 5_000}),
    "compare": ask("GET", "/v1/compare", params={"baseline": "run-one", "comparison": "run-two"}),
    "page of a comparison": ask("GET", "/compare", params={"a": "run-one", "b": "run-two"}),
    "graph": ask("GET", "/v1/runs/run-one/graph", params={"nodes": "true"}),
    "plan": ask("GET", "/v1/models/one/plan"),
    "program": ask("GET", "/v1/models/one/program"),
    "chart": ask("GET", "/v1/runs/run-one/series"),
    "workbook": ask("GET", "/v1/runs/run-one/export/xlsx"),
    "bundle": ask("GET", "/v1/runs/run-one/export/bundle"),
    "run": ask("POST", "/v1/runs", json={"model_id": "one"}),
    "JSON": ask("POST", "/v1/runs", content=b"[" + b"[]," * 49_000 + b"1," * 440_000 + b"1]", headers=JSON),
    "form": ask(
        "POST", "/templates/checkout/check", content=b"p.a=1&" * 170_000,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    ),
    "text": ask("POST", "/v1/models/validate", content=b"- [a, b]\n" * 500_000, headers=YAML),
    "import": ask("POST", "/v1/import", params={"dry_run": "true"}, content=ROWS, headers=CSV
    ),
}  # fmt: skip


@pytest.mark.parametrize("dear", DEAR)
def test_nobody_waits_behind_the_dearest_request(pair: tuple[str, str], dear: str) -> None:
    """The bound is 250 ms. How much of an answer's time is the machine's, a second server that has nothing to
    do tells at the same moments; the median of the differences counts, so that a machine under load, on which
    single answers of both take seconds, decides nothing.
    """
    url, idle = pair
    done = threading.Event()
    status: list[int] = []
    late: list[float] = []

    def work() -> None:
        try:
            while len(status) < _REQUESTS or len(late) < _SAMPLES:
                status.append(DEAR[dear](url).status_code)
        finally:
            done.set()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    with httpx.Client(base_url=url, timeout=60) as busy, httpx.Client(base_url=idle, timeout=60) as calm:
        while not done.is_set():
            late.append(_seconds(busy) - _seconds(calm))
    for thread in threads:
        thread.join(240)
    assert status, dear
    assert all(code < 500 for code in status)
    assert statistics.median(late) < 0.25


@pytest.mark.parametrize("opening", [b"[]", b"{}"])
def test_json_of_many_parts_is_refused_before_it_is_read(pair: tuple[str, str], opening: bytes) -> None:
    answer = ask("POST", "/v1/runs", content=b"[" + (opening + b",") * 60_000 + b"1]", headers=JSON)(pair[0])
    assert (answer.status_code, answer.json()["code"]) == (413, "FT824")
    assert "50,000 lists and objects" in answer.json()["detail"]


def _seconds(client: httpx.Client) -> float:
    began = time.perf_counter()
    assert client.get("/healthz").status_code == 200
    return time.perf_counter() - began
