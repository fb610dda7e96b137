"""The registry and its index on a folder: rebuild, queries, freshness and publication.

    python -m benchmarks.registry            1,000 and 10,000 artifacts
    python -m benchmarks.registry --full     100,000 too, at which the bounds of queries hold
    python -m benchmarks.registry --mlflow PYTHON   MLflow beside it, by an interpreter that has it

A rebuild is measured against reading and parsing the same catalogs bare, publication against a script
that writes, fsyncs and renames the same files.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.harness import spend
from flowtime.registry import Query, Reader, Registry
from flowtime.registry.catalog import Catalog, Data, Measure, Summary, Topology

BOUNDS = {500: (1, 2, 2), 1_000: (1, 2, 2), 10_000: (1, 10, 20), 100_000: (1, 10, 20)}
"""Milliseconds for a question by id, for a page by tag, kind and date, and for a text prefix."""
REBUILD_BOUNDS = {500: 0.5, 1_000: 1.0, 10_000: 3.0, 100_000: 30.0}
PUBLISH_BOUND = 3.0

WORDS = ["checkout", "cart", "search", "payment", "login", "transit", "support", "mail", "stock", "price"]
START = datetime(2025, 1, 1, tzinfo=UTC)


def catalog(number: int, rng: random.Random) -> Catalog:
    """A run as a template makes it: a dozen series, a few tags."""
    word = rng.choice(WORDS)
    nodes = [f"{word}_{part}" for part in ("arrivals", "served", "errors", "backlog", "retries", "latency")]
    return Catalog(
        kind="run",
        name=f"{word}-{rng.choice(WORDS)}-{number}",
        created_utc=(START + timedelta(minutes=number)).isoformat().replace("+00:00", "Z"),
        owner=rng.choice(["ada", "bob", "cleo"]),
        source="engine",
        engine_version="bench",
        tags=rng.sample(["baseline", "weekly", "what-if", "prod", "draft", "peak"], 2),
        description=f"{rng.choice(WORDS)} under load",
        inputs_hash=f"sha256:{number:064x}",
        data=Data(rows=3456, series=12, digest=f"sha256:{number:064x}"),
        nodes=nodes,
        topology=Topology(nodes=[{"id": node} for node in nodes], edges=[]),
        measures=[
            Measure(component=node, measure=measure, summary=Summary(min=0, mean=1, max=2), spark="▁▂▃▅▇" * 5)
            for node in nodes
            for measure in ("count", "value")
        ],
        provenance={"template": word},
    )


def fill(root: Path, count: int) -> None:
    """Artifacts as publication leaves them, written without waiting for the disk."""
    rng = random.Random(count)
    with Registry.open(root, cache_dir=root.parent / "first") as registry, registry.stage("run") as staging:
        (staging.path / "binned_v0.csv").write_text("time_bin,component_id,measure,value\n")
        contents = staging.publish(catalog(0, rng))["contents"]
    for number in range(1, count):
        document = catalog(number, rng).to_json()
        document |= {"id": f"{document['name']}_2025-01-01_{number:08x}", "contents": contents}
        folder = root / "runs" / document["id"]
        folder.mkdir()
        (folder / "catalog.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        (folder / "binned_v0.csv").write_text("time_bin,component_id,measure,value\n")


def milliseconds(work: Callable[[], object], times: int = 50) -> tuple[float, float]:
    """Median and 95th percentile of the wall time of one call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken), statistics.quantiles(taken, n=20)[-1]


def bare_rebuild(root: Path) -> float:
    """Seconds to read and parse every catalog."""
    start = time.perf_counter()
    for path in sorted((root / "runs").iterdir()):
        json.loads((path / "catalog.json").read_bytes())
    return time.perf_counter() - start


def bare_publish(root: Path, number: int, data: bytes) -> None:
    """Two files written, fsynced and renamed into place."""
    folder = root / "staging" / str(number)
    folder.mkdir(parents=True)
    for name in ("binned_v0.csv", "catalog.json"):
        with (folder / name).open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    sync(folder)
    folder.rename(root / "runs" / str(number))
    sync(root / "runs")


def sync(folder: Path) -> None:
    """Fsyncs a folder."""
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def report(what: str, measured: str, bound: float | None, value: float) -> bool:
    """Prints a line; whether the bound holds."""
    kept = bound is None or value <= bound
    verdict = "" if bound is None else f"   {'ok' if kept else 'OVER'} (bound {bound:g})"
    print(f"  {what:34} {measured}{verdict}")
    return kept


def at_size(folder: Path, count: int) -> bool:
    """All questions at one size."""
    root = folder / f"registry-{count}"
    fill(root, count)
    print(f"{count:,} artifacts")
    bare = bare_rebuild(root)
    registry = Registry.open(root, cache_dir=folder / "cache")
    seconds = registry.rebuild().seconds
    kept = [
        report(
            "rebuild",
            f"{seconds:8.2f} s    {seconds / bare:4.1f} x reading and parsing",
            REBUILD_BOUNDS[count],
            seconds,
        )
    ]
    time.sleep(0.2)
    id = registry.find(Query(size=1, page=count // 2)).artifacts[0]["id"]
    page = Query(
        kinds=("run",), tags=(("baseline",),), since=START, until=START + timedelta(minutes=count // 2)
    )
    reading = registry.seen_by(Reader("ada", ("ops",)))
    questions: list[tuple[str, Callable[[], object], float | None]] = [
        ("by id", lambda: registry.resolve(id), BOUNDS[count][0]),
        ("page by tag, kind, date", lambda: registry.find(page), BOUNDS[count][1]),
        ("text prefix", lambda: registry.find(Query(text="chec")), BOUNDS[count][2]),
        ("text prefix with a tag", lambda: registry.find(Query(text="chec", tags=(("baseline",),))), None),
        ("text prefix with an owner", lambda: registry.find(Query(text="chec", owner="ada")), None),
        ("two tags", lambda: registry.find(Query(tags=(("baseline",), ("prod",)))), None),
        ("page of one reader's", lambda: reading.find(Query()), None),
        ("text prefix of one reader's", lambda: reading.find(Query(text="chec")), None),
        ("text prefix, ranked", lambda: registry.find(Query(text="chec", ranked=True)), None),
        ("nothing changed: the check alone", lambda: registry.find_digest("none"), 1.0),
    ]
    for what, question, bound in questions:
        median, high = milliseconds(question)
        kept.append(report(what, f"{median:8.2f} ms p50 {high:8.2f} ms p95", bound, high))

    def publish_and_find() -> None:
        publish(registry, count)
        registry.find(Query(size=1))

    median, high = milliseconds(publish_and_find, 20)
    report("publish, then list", f"{median:8.2f} ms p50 {high:8.2f} ms p95", None, high)
    words = itertools.count()
    median, high = milliseconds(
        lambda: (registry.tag(id, [f"word-{next(words)}"]), registry.find(Query(size=1))), 20
    )
    report("tag, then list", f"{median:8.2f} ms p50 {high:8.2f} ms p95", None, high)
    registry.close()
    return all(kept)


def publish(registry: Registry, number: int) -> None:
    """One small run."""
    with registry.stage("run") as staging:
        (staging.path / "binned_v0.csv").write_bytes(b"x" * 4000)
        staging.publish(catalog(number, random.Random(number)))


def publication(folder: Path) -> bool:
    """Publication against a bare script."""
    bare = folder / "bare"
    (bare / "runs").mkdir(parents=True)
    registry = Registry.open(folder / "published", cache_dir=folder / "cache")
    publish(registry, 0)
    numbers = iter(range(1, 10_000))
    ours, theirs = [], []
    for _ in range(5):
        ours.append(milliseconds(lambda: publish(registry, next(numbers)), 40)[0])
        theirs.append(milliseconds(lambda: bare_publish(bare, next(numbers), b"x" * 4000), 40)[0])
    ratio = min(ours) / min(theirs)
    print("publication")
    return report(
        "a small run, durable", f"{min(ours):8.2f} ms   {ratio:4.1f} x a bare script", PUBLISH_BOUND, ratio
    )


def beside_mlflow(folder: Path, python: str, runs: int) -> None:
    """What MLflow takes for as many runs in SQLite, by another interpreter in this run; no bound."""
    store = folder / "mlflow"
    store.mkdir()
    script = Path(__file__).with_name("with_mlflow.py")
    said = subprocess.run([python, str(script), str(store), str(runs)], stdout=subprocess.PIPE, check=True)
    theirs = json.loads(said.stdout)
    root = folder / f"beside-{runs}"
    fill(root, runs)
    registry = Registry.open(root, cache_dir=folder / "cache")
    registry.rebuild()
    id = registry.find(Query(size=1, page=runs // 2)).artifacts[0]["id"]
    ours = {
        "publish": milliseconds(lambda: publish(registry, runs), 50)[0],
        "id": milliseconds(lambda: registry.resolve(id))[0],
        "tag": milliseconds(lambda: registry.find(Query(tags=(("baseline",),), size=20)))[0],
    }
    registry.close()
    command = [sys.executable, "-m", "flowtime", "list", "--artifacts", str(root)]
    environment = {**os.environ, "FLOWTIME_CACHE": str(folder / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    ours["list"] = min(spend(command, environment, folder / "output").cpu * 1000 for _ in range(5))
    print(f"beside MLflow {theirs['version']} on SQLite, {runs:,} runs")
    for what, key in (
        ("a small run stored", "publish"),
        ("by id", "id"),
        ("twenty by tag, newest first", "tag"),
        ("the command's list, CPU", "list"),
    ):
        ratio = theirs[key] / ours[key]
        print(f"  {what:34} {ours[key]:8.2f} ms   MLflow {theirs[key]:9.2f} ms   {ratio:7.1f} x")


def main() -> None:
    """Measures and exits with 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="100,000 artifacts too")
    parser.add_argument("--mlflow", metavar="PYTHON", help="an interpreter with MLflow, to measure it too")
    parser.add_argument("--runs", type=int, default=1_000, help="how many runs MLflow holds (%(default)s)")
    options = parser.parse_args()
    sizes = [500, 1_000, 10_000, *([100_000] if options.full else [])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kept = [at_size(folder, size) for size in sizes]
        kept.append(publication(folder))
        if options.mlflow:
            beside_mlflow(folder, options.mlflow, options.runs)
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
