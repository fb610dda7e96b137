"""The real command as a subprocess, its server, file systems that refuse, and terminals of a given width."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
from tests.servers import Servers


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)
    raw: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The one JSON document that stdout must be."""
        return json.loads(self.stdout)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a command that failed under `--json`."""
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"kind", "code", "message", "where", "hint", "errors", "count"}
        return error


class Command(Protocol):
    """Runs `flowtime` with these arguments."""

    def __call__(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        stdin: bytes | None = None,
        code: int | None = 0,
    ) -> Done: ...


@pytest.fixture
def flowtime(tmp_path: Path) -> Command:
    """The command of this Python's environment, in `tmp_path`; fails unless it ends with `code`."""

    def run(
        *arguments: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        stdin: bytes | None = None,
        code: int | None = 0,
    ) -> Done:
        ended = subprocess.run(
            [sys.executable, "-m", "flowtime", *map(str, arguments)],
            cwd=cwd or tmp_path,
            env={**os.environ, **(env or {})},
            input=b"" if stdin is None else stdin,
            capture_output=True,
            check=False,
        )
        done = Done(
            ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(), ended.stdout
        )
        assert "Traceback" not in done.stderr, done.stderr
        if code not in {None, done.code}:
            pytest.fail(f"exit code {done.code}, not {code}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done

    return run


@pytest.fixture
def listing() -> Callable[[Path], dict[str, str]]:
    """Every file under a folder with the SHA-256 of its bytes, every folder with its kind."""

    def of(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): (
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            )
            for path in sorted(folder.rglob("*"))
        }

    return of


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
