"""Memory and time of export and import at 50 million rows, each step in a process of its own.

    python -m benchmarks.streams                                 CSV and Parquet, 1,000,000 bins x 50 series
    python -m benchmarks.streams --bins 1000000 --series 50 gold ndjson parquet bundle

Each step prints its peak memory beyond the matrix of the series, which bounds 400 MB for CSV and Parquet,
its seconds and its rows per second. `external` imports the file as if it had no metadata.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from flowtime.core.grid import Grid
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.formats import FORMATS
from flowtime.formats.export import export_file
from flowtime.formats.telemetry import import_file

BOUND = 400
BOUNDED = {"gold", "parquet"}
FILES = {"catalog.json": b"{}"}


def series(bins: int, count: int) -> SeriesSet:
    """Series of long digits and some missing values on a grid of minutes."""
    values = np.random.Generator(np.random.PCG64(7)).random((count, bins))
    values *= 1000
    values[:, ::97] = np.nan
    keys = tuple(SeriesKey(f"service-{n}", "arrivals") for n in range(count))
    return SeriesSet(Grid(bins, 1, "minutes", 0), keys, (None,) * count, values)


def step(name: str, format: str, bins: int, count: int, folder: Path) -> None:
    """One export or import; prints peak megabytes and seconds."""
    path = folder / f"x{FORMATS[format].extension}"
    began = time.perf_counter()
    if name == "export":
        table = series(bins, count)
        began = time.perf_counter()
        export_file(table, {"id": "x"}, FORMATS[format], path, files=FILES)
    else:
        import_file(path, ignore_metadata=name == "external")
    taken = time.perf_counter() - began
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, taken)


def main() -> int:
    """Measure; 1 where a bound was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("formats", nargs="*", default=["gold", "parquet"])
    parser.add_argument("--bins", type=int, default=1_000_000)
    parser.add_argument("--series", type=int, default=50)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step(options.step, options.formats[0], options.bins, options.series, options.folder)
        return 0
    rows, held = options.bins * options.series, True
    matrix = rows * 8 / 2**20
    print(f"{rows:,} rows, a matrix of {matrix:.0f} MB")
    for format in options.formats:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("export", "import", *(["external"] if format != "bundle" else [])):
                same = [
                    f"--{key}={value}" for key, value in vars(options).items() if key in ("bins", "series")
                ]
                command = [sys.executable, __file__, format, *same, f"--step={name}", f"--folder={folder}"]
                peak, taken = map(float, subprocess.check_output(command, text=True).split())
                held = held and (format not in BOUNDED or peak - matrix <= BOUND)
                beyond = f"{peak - matrix:6.0f} MB beyond the matrix"
                print(
                    f"{format:<8} {name:<9} {beyond}  {taken:6.1f} s  {rows / taken:12,.0f} rows/s",
                    flush=True,
                )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
