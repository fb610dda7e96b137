"""What benchmarks share: processes measured from outside, the table of results, the machine they ran on."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process took: `wall` and `cpu` (user and system) in seconds, `memory` its peak in bytes."""

    wall: float
    cpu: float
    memory: int


def spend(command: list[str], environment: Mapping[str, str], output: Path) -> Spent:
    """Runs a command to its end, its output going to a file.

    A process counts the memory of the one that started it until its own program is loaded, so that a
    benchmark which asks for `memory` must itself be small. Raises RuntimeError where the command fails.
    """
    target = (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    began = time.perf_counter()
    process = os.posix_spawn(command[0], command, environment, file_actions=[target])
    _, status, used = os.wait4(process, 0)
    wall = time.perf_counter() - began
    if code := os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return Spent(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * kilobyte)


@dataclass(frozen=True, slots=True)
class Row:
    """A result: `value` is how `measured` stands to `floor`, and may be up to `bound`, both in `unit`."""

    what: str
    measured: str
    floor: str
    value: float
    bound: float
    unit: str

    @property
    def kept(self) -> bool:
        """Whether the bound holds."""
        return self.value <= self.bound


def report(rows: Sequence[Row]) -> bool:
    """Prints the table; whether every bound holds."""
    cells = [("what", "measured", "floor", "result", "bound", "")]
    for row in rows:
        result, bound = (f"{number:.3g} {row.unit}" for number in (row.value, row.bound))
        cells.append((row.what, row.measured, row.floor, result, bound, "ok" if row.kept else "OVER"))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        columns = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *columns]).rstrip())
    return all(row.kept for row in rows)


def machine() -> str:
    """The processor, its cores, the system, and the versions that speed depends on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "polars"))
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}; "
        f"Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")
