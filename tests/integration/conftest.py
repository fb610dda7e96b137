"""The real command, its server, a browser on that, and file systems that are too small."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, Protocol

import pytest
from playwright.sync_api import Browser
from tests.browser import CHROMIUM, Watched, chromium
from tests.commands import Command
from tests.servers import Servers


@pytest.fixture
def flowtime(tmp_path: Path) -> Command:
    """The command, in `tmp_path`."""
    return Command(tmp_path)


class Disk(Protocol):
    """Mounts a file system of so many KiB and returns its folder."""

    def __call__(self, kilobytes: int) -> Path: ...


@pytest.fixture
def disk(tmp_path: Path, unavailable: Callable[[str], NoReturn]) -> Iterator[Disk]:
    """Makes small file systems; permissions do not stop root, so these are real mounts."""
    mounted: list[Path] = []

    def mount(kilobytes: int) -> Path:
        if sys.platform != "linux" or os.geteuid() != 0:
            unavailable("mounting a file system needs root on Linux")
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        if subprocess.run(["mount", *options], check=False).returncode:
            unavailable("this machine does not let a file system be mounted")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Servers]:
    """`serve(*options, env=...)` is the URL of a new server over the registry `artifacts` in `tmp_path`."""
    with Servers(tmp_path) as servers:
        yield servers


@pytest.fixture(scope="module")
def browser(unavailable: Callable[[str], NoReturn]) -> Iterator[Browser]:
    """A Chromium that the tests of a module share."""
    if CHROMIUM is None:
        unavailable("not installed: chromium")
    with chromium() as running:
        yield running


@pytest.fixture
def watched(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens windows on servers; in none of them anything may go wrong."""
    windows: list[Watched] = []

    def window(base: str, width: int = 1280, theme: str = "light") -> Watched:
        windows.append(Watched(browser, base, width, theme))
        return windows[-1]

    yield window
    for each in windows:
        each.close()
        assert (each.complaints, each.elsewhere) == ([], [])


SHOP = """\
schemaVersion: 1
metadata: {id: shop, title: İstanbul şubesi – Größe ②, tags: [straße, 店]}
grid: {bins: 48, binSize: 30, binUnit: minutes, start: 2025-03-30T00:00:00+01:00}
nodes:
  - {id: demand, kind: const, values: {csv: demand.csv, column: arrivals}, component: Mağaza, measure: geliş}
  - {id: noise, kind: pmf, pmf: {"0.9": 0.25, "1": 0.5, "1.1": 0.25}, mode: sample}
  - {id: visits, kind: pmf, pmf: {"90": 0.5, "110.3": 0.5}, profile: rush-hour, unit: visits/bin}
  - {id: offered, kind: expr, expr: "demand * noise + visits + SHIFT(backlog, 1) + CONV(errors, [0, .5, .2])"}
  - {id: served, kind: expr, expr: "MIN(offered, 140)", component: 窓口, measure: served, unit: 件/bin}
  - {id: errors, kind: expr, expr: "served * (1 - EXP(-offered / 1e3))"}
  - {id: backlog, kind: expr, expr: "offered - served"}
  - {id: wait, kind: expr, expr: "POW(offered / 140, 2.5) + LOG(1 + backlog)", unit: µs}
rng: {kind: pcg64, seed: 42}
"""
"""A model with a feedback loop, sampling, EXP and POW, a csv source, and names in other scripts."""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The file of that model, with its csv beside it."""
    rows = "\n".join(f"{bin},{40 + (bin * 37 % 23) / 7!r}" for bin in range(48))
    (tmp_path / "demand.csv").write_text(f"bin,arrivals\n{rows}\n", encoding="utf-8")
    path = tmp_path / "shop.yaml"
    path.write_text(SHOP, encoding="utf-8")
    return path
