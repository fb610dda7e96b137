"""Measures what reading hostile files takes: make readers (ARGS="--small parquet" for small files of some)

Each file is read in a process of its own, as the command reads it, into a registry that is new. Peak memory
is what it takes above that of a process that has read a small file; written is all that goes to temporary
files and to the registry. Ends with 1 where a reader takes more than the bounds below. Linux.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flowtime.core.canonical import sha256
from flowtime.errors import FlowtimeError
from flowtime.formats.bundle import ENTRIES
from flowtime.formats.metadata import sidecar_path, write_sidecar
from flowtime.service import Flowtime
from flowtime.settings import load

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FREE = 512 << 20
"""Bytes of memory, and as many on the disk, that any file may take."""
TIMES = 64
"""Times its size that a file may take beyond that, of memory and on the disk."""
HEADER = b"time_bin,component_id,measure,value\n"
_SMALL = HEADER + b"0,a,m,1\n1,a,m,2\n"
_BIG, _LITTLE = 16 << 20, 1 << 20


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file to be read: `data` are its bytes for about a size, `beside` those of its sidecar, `options`
    those of the import; a model is `checked` instead.
    """

    data: Callable[[int], bytes]
    options: tuple[tuple[str, object], ...] = ()
    beside: Callable[[bytes], bytes] | None = None
    checked: bool = False


def _lines(size: int, line: Callable[[int], str], header: bytes = HEADER) -> bytes:
    parts, length, number = [header], 0, 0
    while length < size:
        part = "".join(map(line, range(number, number + 10_000))).encode()
        parts.append(part)
        length, number = length + len(part), number + 10_000
    return b"".join(parts)


def _wide(size: int, columns: int, name: str) -> bytes:
    head = ",".join(["time_bin", *(name.format(i) for i in range(columns))]) + "\n"
    row = ",1" * columns + "\n"
    rows = max(1, (size - len(head)) // len(row))
    return head.encode() + "".join(f"{i}{row}" for i in range(rows)).encode()


def _parquet(frame: pl.DataFrame | pl.LazyFrame, **options: Any) -> bytes:
    file = io.BytesIO()
    frame.lazy().sink_parquet(file, compression="zstd", statistics=False, **options)
    return file.getvalue()


def _same(rows: int, name: str = "a") -> pl.LazyFrame:
    """Rows that all look alike, which take next to nothing in a file."""
    columns = {"time_bin": pl.lit(0, pl.Int64), "component_id": pl.lit(name), "measure": pl.lit("m")}
    return pl.LazyFrame({"value": np.zeros(rows)}).select(
        *(column.alias(key) for key, column in columns.items()), "value"
    )


def _long(size: int) -> bytes:
    rows = size // 4000
    names = pl.Series(["x" * 100_000 + str(i) for i in range(100)])
    which = pl.Series(np.arange(rows) % 100)
    return _parquet(_same(rows).with_columns(component_id=names.gather(which)))


def _archive(entries: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def _described(data: bytes, bins: int, series: list[dict[str, object]], **more: object) -> bytes:
    """A sidecar that claims a table, with a right seal."""
    description = {
        "format_version": 1,
        "grid": {"bins": bins, "binSize": 1, "binUnit": "hours"},
        "series": series,
        "rows": bins * len(series),
        "digest": "sha256:" + "0" * 64,
        **more,
    }
    return write_sidecar(
        {
            "resources": [{"path": "data", "bytes": len(data), "hash": sha256(data)}],
            "flowtime": description,
        }
    )


def _claimed(data: bytes) -> bytes:
    return _described(
        data, 1_000_000, [{"component": f"c{i}", "measure": "m", "unit": None} for i in range(20_000)]
    )


NULLS: tuple[tuple[str, object], ...] = (("missing", "null"),)
WIDE: tuple[tuple[str, object], ...] = (("wide", True), ("component", "c"))
NODES = b"grid: {bins: 1}\nnodes:\n"
FILES: dict[str, Hostile] = {
    "csv, gaps": Hostile(lambda size: _lines(size, lambda i: f"{9 * i},c{i % 9},m,1\n"), NULLS),
    "csv, gaps, long names": Hostile(
        lambda size: _lines(size // 64, lambda i: f"{9 * i},{i % 9}{'n' * 190},m,1\n"), NULLS
    ),
    "csv, every row a series": Hostile(lambda size: _lines(size, lambda i: f"0,{i:x},m,1\n")),
    "csv, every row wrong": Hostile(lambda size: _lines(size, lambda i: "x,a,m,1\n")),
    "csv, every row quoted": Hostile(lambda size: _lines(size, lambda i: f'"{i}","a","m","1"\n')),
    "csv, columns": Hostile(lambda size: _wide(size, 10_000, "m{}"), WIDE),
    "csv, too many columns": Hostile(lambda size: _wide(size, size // 20, "m{}"), WIDE),
    "csv, columns of long names": Hostile(lambda size: _wide(size, 1000, "m{}" + "n" * 190), WIDE),
    "csv, one line": Hostile(lambda size: HEADER + b"x" * size),
    "csv, header of lists": Hostile(lambda size: b"# flowtime: 1\n# {" + b"[]," * (size // 3) + b"}\n"),
    "ndjson, empty objects": Hostile(
        lambda size: b'{"time_bin":0,"component_id":"a","measure":"m","value":1}\n' + b"{}\n" * (size // 3)
    ),
    "ndjson, lists": Hostile(
        lambda size: (
            b'{"time_bin":0,"component_id":"a","measure":"m","value":1}\n'
            + (b'{"value":[' + b"[]," * 300_000 + b"[]]}\n") * max(1, size // 900_000)
        )
    ),
    "ndjson, nesting": Hostile(lambda size: b'{"time_bin":' + b"[" * size + b"\n"),
    "gzip, bomb": Hostile(lambda size: gzip.compress(_SMALL + b"0,a,m,1\n" * (16 * size))),
    "gzip, rows alike": Hostile(
        lambda size: gzip.compress(HEADER + b"0,a,m,1\n" * (2 * size)), (("duplicates", "last"),)
    ),
    "zstd, bomb": Hostile(lambda size: zstd.compress(_SMALL + b"0,a,m,1\n" * (16 * size))),
    "zstd, many frames": Hostile(
        lambda size: b"".join(
            [zstd.compress(HEADER), *[zstd.compress(b"0,a,m,1\n" * 40_000)] * (size // 800)]
        )
    ),
    "parquet, rows alike": Hostile(lambda size: _parquet(_same(2 * size)), (("duplicates", "last"),)),
    "parquet, many row groups": Hostile(
        lambda size: _parquet(_same(size // 400), row_group_size=1), (("duplicates", "last"),)
    ),
    "parquet, columns": Hostile(
        lambda size: _parquet(
            pl.DataFrame({"time_bin": [0], **{f"m{i}": [1.0] for i in range(size // 400)}})
        ),
        WIDE,
    ),
    "parquet, columns of rows alike": Hostile(
        lambda size: _parquet(
            pl.DataFrame({"time_bin": np.arange(size // 400), **{f"m{i}": 1.0 for i in range(800)}})
        ),
        WIDE,
    ),
    "parquet, long strings": Hostile(_long),
    "zip, compressed": Hostile(
        lambda size: _archive(((name, b" " * 8 * size) for name in ENTRIES), zipfile.ZIP_DEFLATED)
    ),
    "zip, many entries": Hostile(lambda size: _archive((f"{i}", b"") for i in range(size // 100))),
    "zip, paths": Hostile(lambda size: _archive([("a/" * 30_000 + "../x", b" " * size)])),
    "sidecar, claims rows": Hostile(lambda _: _SMALL, beside=_claimed),
    "model, lists": Hostile(lambda size: b"- [a, b]\n" * (size // 9), checked=True),
    "model, empty lists": Hostile(lambda size: b"[" + b"[]," * (size // 3) + b"[]]", checked=True),
    "model, nesting": Hostile(lambda size: b"[" * size, checked=True),
    "model, aliases": Hostile(
        lambda size: (
            b"a0: &a0 [x, x, x]\n"
            + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (i + 1, i + 1, i, i) for i in range(min(size // 24, 60)))
        ),
        checked=True,
    ),
    "model, numbers": Hostile(
        lambda size: NODES + b"  - {id: a, kind: const, values: [" + b"1," * (size // 2) + b"1]}\n",
        checked=True,
    ),
    "model, a PMF": Hostile(
        lambda size: (
            NODES
            + b"  - {id: a, kind: pmf, pmf: {"
            + b"".join(b"%d: 0.1, " % i for i in range(size // 12))
            + b"1: 0.5}}\n"
        ),
        checked=True,
    ),
    "model, nodes": Hostile(
        lambda size: (
            NODES + b"".join(b"  - {id: n%d, kind: const, values: 1}\n" % i for i in range(size // 40))
        ),
        checked=True,
    ),
    "model, a formula": Hostile(
        lambda size: NODES + b"  - {id: a, kind: expr, expr: 1" + b"+1" * (size // 2) + b"}\n", checked=True
    ),
    "model, one word": Hostile(lambda size: b"x" * size, checked=True),
}
"""What is measured, by name."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What reading a file took, in bytes, and what came of it: the code of an error, or `read`."""

    size: int
    memory: int
    written: int
    outcome: str

    @property
    def bounded(self) -> bool:
        """Whether that is within the bounds."""
        return max(self.memory, self.written) <= FREE + TIMES * self.size and not self.outcome.startswith("?")


def measure(name: str, size: int) -> Taken:
    """Makes a file of about a size, and reads it in a process of its own."""
    hostile = FILES[name]
    with tempfile.TemporaryDirectory(prefix="flowtime-readers-") as place:
        folder = Path(place)
        data = hostile.data(size)
        (folder / "data").write_bytes(data)
        beside = b"" if hostile.beside is None else hostile.beside(data)
        if beside:
            sidecar_path(folder / "data").write_bytes(beside)
        done = subprocess.run(
            ["timeout", "300", sys.executable, __file__, "--read", name, "--folder", place],
            capture_output=True,
            encoding="utf-8",
            check=False,
            env={**os.environ, "TMPDIR": place, "HOME": place, "FLOWTIME_CACHE": f"{place}/cache"},
        )
    whole = len(data) + len(beside)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return Taken(whole, 0, 0, f"? {done.returncode} {said[-1][:200] if said else ''}")
    found = json.loads(done.stdout)
    return Taken(whole, found["memory"], found["written"], found["outcome"])


def _read(name: str, folder: Path) -> None:
    """The part of the process that is measured: tells as JSON what it took."""
    hostile = FILES[name]
    service = Flowtime(load({"artifacts": str(folder / "artifacts")}))
    (folder / "small").write_bytes(_SMALL)
    service.import_data(folder / "small", name="small")
    service.validate_text(b"grid: {bins: 1}\nnodes: [{id: a, kind: const, values: 1}]")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    memory, written = _told("status", "VmRSS:"), _told("io", "wchar:")
    options: dict[str, Any] = dict(hostile.options)
    outcome = "read"
    try:
        if hostile.checked:
            service.validate_text((folder / "data").read_bytes())
        else:
            service.import_data(folder / "data", **options)
    except FlowtimeError as error:
        outcome = error.code
    print(
        json.dumps(
            {
                "memory": (_told("status", "VmHWM:") - memory) << 10,
                "written": _told("io", "wchar:") - written,
                "outcome": outcome,
            }
        )
    )


def _told(file: str, name: str) -> int:
    found = re.search(
        rf"^{name}\s+(\d+)", Path(f"/proc/self/{file}").read_text(encoding="ascii"), re.MULTILINE
    )
    assert found is not None
    return int(found[1])


def main() -> int:
    """Prints a line for each file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of names, such as csv; all without")
    parser.add_argument("--small", action="store_true", help=f"files of {_LITTLE >> 20} MB, not {_BIG >> 20}")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        _read(args.read, args.folder)
        return 0
    beyond = 0
    print("| File | Size | Peak memory | Written | Outcome |\n|---|---:|---:|---:|---|")
    for name in FILES:
        if args.names and not name.startswith(tuple(args.names)):
            continue
        taken = measure(name, _LITTLE if args.small else _BIG)
        beyond += not taken.bounded
        cells = (f"{part / 1e6:,.1f} MB" for part in (taken.size, taken.memory, taken.written))
        print(
            f"| {name} | {' | '.join(cells)} | {taken.outcome}{'' if taken.bounded else ' (too much)'} |",
            flush=True,
        )
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
