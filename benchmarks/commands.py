"""The `flowtime` command as people run it, each time a process of its own (not on Windows).

    python -m benchmarks.commands [--nodes 1000] [--bins 8760] [--artifacts 1000] [--repeat 10]

A run of a big model, YAML in and artifact out, is measured in wall time against polars writing the same
table as CSV from a frame that is already in memory, and in peak memory against the matrix of its values;
the cold commands in CPU time against a Python that does nothing. Variables of Python's own are taken out of
the environment, PYTHONDONTWRITEBYTECODE among them, and each command runs once before it counts, so that
modules are compiled, as they are after an installation.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import Row, report, spend
from benchmarks.registry import catalog
from flowtime.model.writer import dump
from flowtime.registry import Registry

RUN_BOUND = 3.0
MEMORY_BOUND = 8.0
COLD_BOUND = 80.0
SMALL_RUN_BOUND = 350.0
CONSTS = 10
RUNS = 3


def document(nodes: int, bins: int) -> dict[str, Any]:
    """A model of 10 const arrays and formulas, each over the node ten places before it."""
    ids = [f"c{i}" for i in range(CONSTS)] + [f"e{i}" for i in range(nodes - CONSTS)]
    consts = [
        {
            "id": f"c{i}",
            "kind": "const",
            "values": [round(100 + (k * 7 + i * 13) % 997 / 7, 3) for k in range(bins)],
        }
        for i in range(CONSTS)
    ]
    formulas = [
        {
            "id": f"e{i}",
            "kind": "expr",
            "expr": f"{before} * 0.9 + c{(i + 1) % CONSTS} - MIN(c3, {i}) / 2",
        }
        for i, before in enumerate(ids[: nodes - CONSTS])
    ]
    return {"grid": {"bins": bins, "start": "2025-01-01T00:00:00Z"}, "nodes": [*consts, *formulas]}


def end_to_end(
    folder: Path, flowtime: str, environment: Mapping[str, str], nodes: int, bins: int
) -> list[Row]:
    """`flowtime run` on a model file, the best of some, in an empty registry each time."""
    model, artifacts = folder / "big.yaml", folder / "artifacts"
    model.write_text(dump(document(nodes, bins)), encoding="utf-8")
    command = [flowtime, "run", "--model", str(model), "--artifacts", str(artifacts)]
    spent = []
    for _ in range(1 + RUNS):
        shutil.rmtree(artifacts, ignore_errors=True)
        spent.append(spend(command, environment, folder / "output"))
    wall = min(run.wall for run in spent[1:])
    memory = max(run.memory for run in spent[1:])
    (table,) = artifacts.glob("runs/*/binned_v0.csv")
    floor = bare_write(table, folder / "bare.csv")
    matrix = nodes * bins * 8
    what = f"run, {nodes:,} nodes x {bins:,} bins"
    return [
        Row(f"{what}, wall", seconds(wall), f"{seconds(floor)} (polars)", wall / floor, RUN_BOUND, "x"),
        Row(
            f"{what}, peak memory",
            size(memory),
            f"{size(matrix)} (matrix)",
            memory / matrix,
            MEMORY_BOUND,
            "x",
        ),
    ]


def bare_write(table: Path, path: Path) -> float:
    """Seconds that polars takes for the same table, the best of some."""
    # Imported late: what this process holds would count as memory of those it starts.
    import polars as pl  # noqa: PLC0415

    frame = pl.read_csv(table, try_parse_dates=True)
    taken = []
    for _ in range(RUNS):
        path.unlink(missing_ok=True)
        began = time.perf_counter()
        frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")
        taken.append(time.perf_counter() - began)
    if path.read_bytes() != table.read_bytes():
        raise RuntimeError("polars wrote another table")
    return min(taken)


def cold(
    folder: Path, flowtime: str, environment: Mapping[str, str], artifacts: int, repeat: int
) -> list[Row]:
    """Commands that look something up, in a registry of many artifacts whose index is up to date."""
    root = folder / "many"
    numbers = random.Random(artifacts)
    with Registry.open(root, cache_dir=Path(environment["FLOWTIME_CACHE"])) as registry:
        for number in range(artifacts):
            with registry.stage("run") as staging:
                (staging.path / "binned_v0.csv").write_text("time_bin,component_id,measure,value\n")
                newest = staging.publish(catalog(number, numbers))
    small = folder / "small.yaml"
    small.write_text(dump(document(12, 24)), encoding="utf-8")
    elsewhere = ["--artifacts", str(folder / "small")]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "list": [flowtime, "list"],
        "list --json": [flowtime, "list", "--json"],
        "search": [flowtime, "search", "--query", "check"],
        "show": [flowtime, "show", newest["id"]],
        "run of 12 nodes": [flowtime, "run", "--model", str(small), *elsewhere],
    }
    here = {**environment, "FLOWTIME_ARTIFACTS": str(root)}
    taken: dict[str, list[float]] = {what: [] for what in commands}
    for turn in range(1 + repeat):
        for what, command in commands.items():
            cpu = spend(command, here, folder / "output").cpu * 1000
            if turn:
                taken[what].append(cpu)
    bare, *medians = (statistics.median(times) for times in taken.values())
    rows = zip(list(commands)[1:], medians, strict=True)
    floor = f"{bare:.1f} ms (bare Python)"
    return [
        Row(f"{what}, CPU", f"{cpu:.1f} ms", floor, cpu - bare, SMALL_RUN_BOUND, "ms more")
        if what.startswith("run")
        else Row(
            f"{what}, {artifacts:,} artifacts, CPU", f"{cpu:.1f} ms", floor, cpu - bare, COLD_BOUND, "ms more"
        )
        for what, cpu in rows
    ]


def seconds(value: float) -> str:
    """Seconds in the table."""
    return f"{value:.2f} s"


def size(count: int) -> str:
    """Bytes in the table."""
    return f"{count / 1e6:,.0f} MB"


def main() -> int:
    """Prints the table; 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--bins", type=int, default=8760)
    parser.add_argument("--artifacts", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=10, help="times that each cold command runs")
    options = parser.parse_args()
    flowtime = shutil.which("flowtime", path=sysconfig.get_path("scripts"))
    if flowtime is None:
        parser.error("the flowtime command is not installed beside this Python")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {
            "FLOWTIME_CACHE": str(folder / "cache"),
            "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        }
        rows = cold(folder, flowtime, environment, options.artifacts, options.repeat)
        rows = end_to_end(folder, flowtime, environment, options.nodes, options.bins) + rows
        return 0 if report(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
