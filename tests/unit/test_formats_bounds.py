"""What may be made of a file follows its size: refusals before the work, and what every reader takes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from flowtime.core.canonical import sha256
from flowtime.errors import InvalidInput
from flowtime.formats.metadata import sidecar_path, write_sidecar
from flowtime.formats.telemetry import import_file

ROOT = Path(__file__).parents[2]
HEADER = "time_bin,component_id,measure,value\n"
WIDE: dict[str, Any] = {"wide": True, "component": "c"}


def refusal(data: bytes, code: str, **options: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        import_file(io.BytesIO(data), **options)
    assert caught.value.code == code
    return str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system what a process has taken")
@pytest.mark.parametrize("reader", ["csv", "ndjson", "gzip", "zstd", "parquet", "zip", "sidecar", "model"])
def test_a_hostile_file_takes_bounded_memory_and_disk(reader: str) -> None:
    command = [sys.executable, "scripts/readers.py", "--small", reader]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) > 2


def test_a_small_parquet_file_has_no_millions_of_rows() -> None:
    rows = pl.LazyFrame({"value": np.zeros(5_000_000)}).select(
        pl.lit(0, pl.Int64).alias("time_bin"),
        pl.lit("a").alias("component_id"),
        measure=pl.lit("m"),
        value="value",
    )
    file = io.BytesIO()
    rows.sink_parquet(file, compression="zstd", statistics=False)
    assert len(file.getvalue()) < 100_000
    assert "do not hold 5,000,000 rows" in refusal(file.getvalue(), "FT402", duplicates="last")


def test_all_pages_of_a_parquet_file_together_are_bounded() -> None:
    frame = pl.DataFrame(
        {"time_bin": [0], "component_id": ["a" * 30_000_000], "measure": ["m"], "value": [1.0]}
    )
    file = io.BytesIO()
    pl.concat([frame] * 3).write_parquet(file, compression="zstd", statistics=False, row_group_size=1)
    assert "all pages to over" in refusal(file.getvalue(), "FT402")


def test_names_are_counted_in_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    # Names of 200 characters in gaps; and in a wide table, where they are in its head alone.
    far = "".join(f"{i},{'n' * 190}{i % 9},m,1\n" for i in range(0, 50_000, 50))
    assert "would fill a table" in refusal((HEADER + far).encode(), "FT409", missing="null")
    head = ",".join(["time_bin", *(f"{'n' * 190}{i}" for i in range(200))])
    rows = "".join(f"{i}{',1' * 200}\n" for i in range(1_000))
    monkeypatch.setattr("flowtime.formats.bounds.FREE_STORED", 1 << 20)
    assert "would become a table" in refusal(f"{head}\n{rows}".encode(), "FT409", **WIDE)


def test_series_are_bounded() -> None:
    text = HEADER + "".join(f"0,{i:x},m,1\n" for i in range(100_001))
    assert "name over 100,000 series" in refusal(text.encode(), "FT409")


def test_columns_are_bounded() -> None:
    text = ",".join(["time_bin", *(f"m{i}" for i in range(20_000))]) + "\n" + "0" + ",1" * 20_000 + "\n"
    assert "at most 16,384 are read" in refusal(text.encode(), "FT403", **WIDE)


def test_lines_of_a_wide_table_keep_their_numbers() -> None:
    head = ",".join(["time_bin", *(f"m{i}" for i in range(1_000))]) + "\n"
    rows = [f"{i}{',1' * 1_000}\n" for i in range(1_500)]
    assert import_file(io.BytesIO((head + "".join(rows)).encode()), **WIDE).series.values.sum() == 1_500_000
    rows[1_300] = rows[1_300].replace(",1\n", ",x\n")
    with pytest.raises(InvalidInput) as caught:
        import_file(io.BytesIO((head + "".join(rows)).encode()), **WIDE)
    assert [error.line for error in caught.value.errors] == [1_302]


def test_a_sidecar_may_not_claim_more_than_its_file_becomes(tmp_path: Path) -> None:
    data = (HEADER + "0,a,m,1\n").encode()
    (tmp_path / "x.csv").write_bytes(data)
    description = {
        "format_version": 1,
        "grid": {"bins": 1_000_000, "binSize": 1, "binUnit": "hours"},
        "series": [{"component": f"c{i}", "measure": "m", "unit": None} for i in range(100)],
        "rows": 100_000_000,
        "digest": "sha256:" + "0" * 64,
    }
    resource = {"path": "x.csv", "bytes": len(data), "hash": sha256(data)}
    sidecar_path(tmp_path / "x.csv").write_bytes(
        write_sidecar({"resources": [resource], "flowtime": description})
    )
    with pytest.raises(InvalidInput) as caught:
        import_file(tmp_path / "x.csv")
    assert caught.value.code == "FT409"


def test_metadata_has_no_millions_of_lists() -> None:
    lists = json.dumps({"flowtime": [[]] * 200_000}).encode()
    assert "the last line of the header is not" in refusal(b"# flowtime: 1\n# " + lists + b"\n", "FT411")
