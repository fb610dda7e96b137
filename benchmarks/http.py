"""The HTTP API on a real server, against the same work in this process (Linux).

    python -m benchmarks.http [--artifacts 10000] [--rows 10000000] [--streams 50] [--seconds 10]

A page of the list is measured against the same query in this process and an address of the framework that
does nothing; a run of the checkout template against the same run in this process; exports against the
command. Then the list is asked while exports and imports are under way, by wrk where that is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness import Row, report
from benchmarks.registry import catalog
from flowtime.registry import Registry
from flowtime.service import Flowtime
from flowtime.settings import load

LIST_BOUND = 3.0
RUN_BOUND = 3.0
EXPORT_BOUND = 1 / 0.6
MEMORY_BOUND = 150.0
FIRST_BOUND = 1.0
BUSY_BOUND = 250.0
EMPTY = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
app.get("/")(lambda: {})
print('{"url": "http://127.0.0.1:%s"}' % sys.argv[1], flush=True)
uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
"""


@contextmanager
def serving(command: list[str], environment: dict[str, str]) -> Iterator[tuple[httpx.Client, int]]:
    """A server that says its URL as JSON, with a client of it and its process."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        said = ""
        while not said.endswith("}\n") and (line := process.stdout.readline()):
            said += line
        try:
            with httpx.Client(base_url=json.loads(said)["url"], timeout=600) as client:
                for _ in range(600):
                    try:
                        client.get("/")
                        break
                    except httpx.ConnectError:
                        time.sleep(0.1)
                yield client, process.pid
        finally:
            process.terminate()


def times(function: Callable[[], object], count: int) -> list[float]:
    """Seconds of each call, after some that do not count."""
    taken = []
    for turn in range(count + count // 5):
        began = time.perf_counter()
        function()
        if turn >= count // 5:
            taken.append(time.perf_counter() - began)
    return taken


def fill(folder: Path, artifacts: int) -> None:
    """A registry of many artifacts."""
    numbers = random.Random(artifacts)
    with Registry.open(folder) as registry:
        for number in range(artifacts):
            with registry.stage("run") as staging:
                (staging.path / "binned_v0.csv").write_text("time_bin,component_id,measure,value\n")
                staging.publish(catalog(number, numbers))


def wide(service: Flowtime, rows: int) -> str:
    """A run of so many rows."""
    bins = rows // 100
    nodes: list[dict[str, Any]] = [
        {"id": "a", "kind": "const", "values": [(i * 7 % 1009) / 7 for i in range(bins)]},
        *({"id": f"n{i}", "kind": "expr", "expr": f"a * {i}.37 + {i}"} for i in range(99)),
    ]
    grid = {"bins": bins, "binSize": 1, "binUnit": "minutes", "start": "2025-01-01T00:00:00Z"}
    model = service.publish_model(json.dumps({"grid": grid, "nodes": nodes}).encode(), name="wide")
    return str(service.run(model["id"], name="wide-run")["id"])


def memory(process: int) -> float:
    """What a process has in memory, in MB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1000


def listing(client: httpx.Client, empty: httpx.Client, service: Flowtime) -> Row:
    """A page of the list."""
    asked = statistics.median(times(lambda: client.get("/v1/artifacts?size=20"), 200))
    nothing = statistics.median(times(lambda: empty.get("/"), 200))
    here = statistics.median(times(lambda: service.find(size=20), 200))
    floor = here + nothing
    return Row(
        "GET /v1/artifacts, 20 of all, median",
        f"{asked * 1000:.1f} ms",
        f"{here * 1000:.1f} ms (here) + {nothing * 1000:.1f} ms (empty route)",
        asked / floor,
        LIST_BOUND,
        "x",
    )


def runs(client: httpx.Client, service: Flowtime) -> Row:
    """A run of the checkout template."""
    model = service.create_model("checkout", name="checkout")["id"]
    asked = statistics.median(
        times(lambda: client.post("/v1/runs", json={"model_id": model}).raise_for_status(), 30)
    )
    here = statistics.median(times(lambda: service.run(model), 30))
    what = "POST /v1/runs, checkout, median"
    return Row(what, f"{asked * 1000:.0f} ms", f"{here * 1000:.0f} ms (here)", asked / here, RUN_BOUND, "x")


def exports(
    client: httpx.Client, process: int, run: str, folder: Path, environment: dict[str, str]
) -> Iterator[Row]:
    """Exports as streams: their speed, when the first byte comes, and the server's memory."""
    for format in ("gold", "ndjson", "parquet"):
        client.get(f"/v1/runs/{run}/export/{format}", headers={"Range": "bytes=0-9"}).close()
        time.sleep(1)
        idle = peak = memory(process)
        first, began = 0.0, time.perf_counter()
        with (
            client.stream(
                "GET", f"/v1/runs/{run}/export/{format}", headers={"Accept-Encoding": "identity"}
            ) as answer,
            (folder / "out").open("wb") as out,
        ):
            for piece in answer.iter_raw():
                first = first or time.perf_counter() - began
                out.write(piece)
                peak = max(peak, memory(process))
        taken = time.perf_counter() - began
        command = [sys.executable, "-m", "flowtime", "export", "--run", run, "--format", format]
        began = time.perf_counter()
        subprocess.run(
            [*command, "--out", str(folder / f"cli.{format}")],
            env=environment,
            check=True,
            capture_output=True,
        )
        floor = time.perf_counter() - began
        yield Row(
            f"export {format}, time",
            f"{taken:.1f} s",
            f"{floor:.1f} s (command)",
            taken / floor,
            EXPORT_BOUND,
            "x",
        )
        yield Row(f"export {format}, first byte", f"{first:.2f} s", "", first, FIRST_BOUND, "s")
        yield Row(
            f"export {format}, memory",
            f"{peak:.0f} MB",
            f"{idle:.0f} MB (idle)",
            peak - idle,
            MEMORY_BOUND,
            "MB more",
        )


def busy(client: httpx.Client, service: Flowtime, streams: int, seconds: float) -> Row:
    """The list, while many exports and imports are under way."""
    run = service.run(service.create_model("warehouse-waves", name="busy")["id"])["id"]
    data = client.get(f"/v1/runs/{run}/export/ndjson").content
    end, failed, done = time.monotonic() + seconds + 2, [], []

    def work(number: int) -> None:
        with httpx.Client(base_url=client.base_url, timeout=600) as own:
            while time.monotonic() < end:
                if number % 5:
                    answer = own.get(f"/v1/runs/wide-run/export/{('gold', 'ndjson', 'parquet')[number % 3]}")
                else:
                    answer = own.post("/v1/import?name=busy", content=data)
                (done if answer.is_success else failed).append(answer.status_code)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(streams)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    taken = waited(client, seconds)
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(
            f"{len(failed)} of {len(done) + len(failed)} exports and imports failed: {set(failed)}"
        )
    what = f"GET /v1/artifacts beside {streams} exports and imports, p95"
    return Row(what, f"{taken:.0f} ms", f"{len(done)} of them ended", taken, BUSY_BOUND, "ms")


def waited(client: httpx.Client, seconds: float) -> float:
    """Milliseconds within which 95 of 100 answers of the list come, two being asked for at a time."""
    url = f"{client.base_url}/v1/artifacts?size=20".replace("//v1", "/v1")
    if shutil.which("wrk") is None:
        taken, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            client.get("/v1/artifacts?size=20")
            taken.append((time.perf_counter() - began) * 1000)
        return statistics.quantiles(taken, n=20)[-1]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            "done = function(s, l) io.write(string.format('p95 %f\\n', l:percentile(95) / 1000)) end"
        )
        script.flush()
        command = ["wrk", "-t1", "-c2", f"-d{seconds:.0f}s", "--timeout", "60s", "-s", script.name, url]
        said = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    found = re.search(r"p95 ([0-9.]+)", said)
    assert found is not None, said
    return float(found[1])


def main() -> int:
    """Prints the table; 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--artifacts", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "FLOWTIME_CACHE": str(folder / "cache")}
        os.environ["FLOWTIME_CACHE"] = environment["FLOWTIME_CACHE"]
        rows = []
        empty = [sys.executable, "-c", EMPTY, "8799"]
        serve = [sys.executable, "-m", "flowtime", "serve", "--json", "--port", "0", "--artifacts"]
        fill(folder / "many", options.artifacts)
        service = Flowtime(load({"artifacts": str(folder / "many")}), takes_files=False)
        with (
            serving(empty, environment) as (bare, _),
            serving([*serve, str(folder / "many")], environment) as (client, _),
        ):
            rows += [listing(client, bare, service), runs(client, service)]
        service = Flowtime(load({"artifacts": str(folder / "few")}), takes_files=False)
        run = wide(service, options.rows)
        here = {**environment, "FLOWTIME_ARTIFACTS": str(folder / "few")}
        with serving([*serve, str(folder / "few")], environment) as (client, process):
            rows += exports(client, process, run, folder, here)
        service = Flowtime(load({"artifacts": str(folder / "some")}), takes_files=False)
        wide(service, options.rows // 50)
        with serving([*serve, str(folder / "some")], environment) as (client, _):
            rows.append(busy(client, service, options.streams, options.seconds))
        return 0 if report(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
