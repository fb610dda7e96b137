"""The benchmarks run; how fast is for `make bench` to tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )


def test_the_commands_are_measured() -> None:
    ran = benchmarks("commands", "--nodes", "12", "--bins", "24", "--artifacts", "3", "--repeat", "1")
    assert ran.returncode in (0, 1), ran.stderr  # 1: over a bound, which a busy machine may be
    lines = ran.stdout.splitlines()
    assert "cores" in lines[0] and "polars" in lines[0]
    for what in (
        "run, 12 nodes x 24 bins, wall",
        "list, 3 artifacts",
        "search, 3 artifacts",
        "show, 3 artifacts",
    ):
        (line,) = [line for line in lines if line.startswith(what)]
        assert line.endswith((" ok", " OVER"))


@pytest.mark.needs("chromium")
def test_the_views_are_measured() -> None:
    ran = benchmarks("views", "--nodes", "12", "--bins", "24", "--series", "2", "--repeat", "2")
    assert ran.returncode in (0, 1), ran.stderr
    for what in ("a step of the slider, 12 nodes", "2 series x 24 bins painted"):
        (line,) = [line for line in ran.stdout.splitlines() if line.startswith(what)]
        assert line.endswith((" ok", " OVER"))


@pytest.mark.needs("chromium")
def test_the_pages_are_measured() -> None:
    ran = benchmarks("pages", "--artifacts", "30", "--repeat", "2")
    assert ran.returncode in (0, 1), ran.stderr
    for what in ("keystroke to list, 30 artifacts", "address to content, 30", "bytes of a first load"):
        (line,) = [line for line in ran.stdout.splitlines() if line.startswith(what)]
        assert line.endswith((" ok", " OVER"))


def test_an_unknown_benchmark_is_refused() -> None:
    ran = benchmarks("speed")
    assert ran.returncode == 2
    assert "engine, formats, registry, commands, views, pages" in ran.stderr
