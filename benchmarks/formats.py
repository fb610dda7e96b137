"""Export, import and digest against the bare table library, as ratios measured in one run.

    python benchmarks/formats.py           10 thousand and 1 million rows
    python benchmarks/formats.py --full    10 million rows too, at which the bounds hold

Export is measured against polars writing the same table from a frame that is already in memory, import
against polars reading the file, writing the table as CSV again and hashing the bytes, the digest against
SHA-256 over as many bytes. As in the command, an export knows the digest from the catalog. Each time is
the best of three in CPU seconds, so that other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.formats import GOLD, NDJSON, PARQUET, TABLES, Format
from flowtime.formats.digest import digest
from flowtime.formats.export import export_file, export_stream
from flowtime.formats.telemetry import import_file

BINS = 1_000
BOUNDS = {
    "digest": 3.5,
    "export gold": 1.3,
    "export ndjson": 1.3,
    "export parquet": 1.2,
    "import gold": 1.6,
    "import parquet": 1.6,
}


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """CPU seconds of the fastest of three calls."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work(*arguments)
        times.append(time.process_time() - start)
    return min(times)


def table(rows: int) -> SeriesSet:
    """A table of `rows` rows with long digits, a few missing values and many series."""
    count = rows // BINS
    values = np.random.Generator(np.random.PCG64(7)).random((count, BINS)) * 1000
    values[:, ::97] = np.nan
    keys = tuple(SeriesKey(f"service-{n}", "arrivals") for n in range(count))
    grid = Grid(BINS, 5, "minutes", parse_instant("2025-01-01T00:00:00Z"))
    return SeriesSet(grid, keys, ("requests/bin",) * count, values)


def frame_of(series: SeriesSet) -> pl.DataFrame:
    """The same table as a frame in memory, as another program would hold it."""
    text = io.BytesIO()
    export_stream(series, None, PARQUET, text)
    text.seek(0)
    return pl.read_parquet(text)


def write_bare(frame: pl.DataFrame, format: Format, path: Path) -> None:
    """What polars does when asked for the same table."""
    if format is PARQUET:
        frame.write_parquet(path)
    elif format is NDJSON:
        frame.with_columns(pl.col("time_bin").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_ndjson(path)
    else:
        frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")


def read_bare(format: Format, path: Path) -> pl.DataFrame:
    """What polars does when asked to read it."""
    if format is PARQUET:
        return pl.read_parquet(path)
    return pl.read_ndjson(path) if format is NDJSON else pl.read_csv(path)


def publish(source: Path, target: Path) -> None:
    """Import with every check, and write what an artifact holds."""
    found = import_file(source)
    with target.open("wb") as handle:
        export_stream(found.series, None, GOLD, handle)


def measure(rows: int, folder: Path) -> bool:
    """Print one line per measurement; whether all bounds held."""
    series = table(rows)
    frame = frame_of(series)
    held = True

    def report(what: str, ours: float, bare: float) -> None:
        nonlocal held
        bound = BOUNDS.get(what)
        ratio = ours / max(bare, 1e-9)
        held = held and (bound is None or ratio <= bound)
        limit = f"<= {bound}" if bound else ""
        print(f"{rows:>12,} rows  {what:<24} {ours:8.3f} s  bare {bare:8.3f} s  ratio {ratio:6.2f}  {limit}")

    content = series.values.tobytes() + series.time_bins().tobytes() * len(series)
    report("digest", seconds(digest, series), seconds(hashlib.sha256, content))
    known = digest(series)
    for format in TABLES:
        ours = folder / f"ours{format.extension}"
        bare = seconds(write_bare, frame, format, folder / f"bare{format.extension}")
        export = partial(export_file, table_digest=known)
        report(f"export {format.name}", seconds(export, series, {}, format, ours), bare)
    csv = seconds(write_bare, frame, GOLD, folder / "again.csv")
    for format in TABLES:
        ours = folder / f"ours{format.extension}"
        read = seconds(read_bare, format, ours)
        hashed = seconds(hashlib.sha256, ours.read_bytes())
        report(f"import {format.name}", seconds(publish, ours, folder / "binned_v0.csv"), read + csv + hashed)
        report("  the checks alone", seconds(import_file, ours), read)
        external = partial(import_file, ours, ignore_metadata=True)
        report("  as external telemetry", seconds(external), read)
    return held


def main() -> int:
    """Measure; 1 where a bound was missed at 10 million rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="measure 10 million rows too")
    options = parser.parse_args()
    held = True
    for rows in (10_000, 1_000_000, *([10_000_000] if options.full else [])):
        with tempfile.TemporaryDirectory() as folder:
            held = measure(rows, Path(folder))
    return 0 if held or not options.full else 1


if __name__ == "__main__":
    sys.exit(main())
