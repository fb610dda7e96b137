"""Parquet files whose structure claims more than they hold, and those of other writers, which are fine."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowtime.errors import InvalidInput
from flowtime.formats.pages import check_pages
from flowtime.formats.telemetry import import_file

ROWS = 3_000


def table() -> pa.Table:
    return pa.table(
        {
            "time_bin": pa.array(range(ROWS), pa.int64()),
            "component_id": ["a"] * ROWS,
            "measure": ["m"] * ROWS,
            "value": [None if n % 7 == 0 else n / 3 for n in range(ROWS)],
            "notes": [[n, n + 1] if n % 2 else [] for n in range(ROWS)],
        }
    )


def by_pyarrow(**options: Any) -> Callable[[Path], object]:
    return lambda path: pq.write_table(table(), path, **options)


def by_duckdb(path: Path) -> None:
    rows = table()
    duckdb.sql("SELECT * FROM rows").write_parquet(str(path))
    assert rows.num_rows == ROWS


WRITERS: dict[str, Callable[[Path], object]] = {
    "pages of version 1": by_pyarrow(data_page_version="1.0", data_page_size=512),
    "pages of version 2": by_pyarrow(data_page_version="2.0", data_page_size=512, compression="zstd"),
    "without dictionaries": by_pyarrow(use_dictionary=False, compression="none", row_group_size=100),
    "other encodings": by_pyarrow(
        use_dictionary=False,
        column_encoding={"time_bin": "DELTA_BINARY_PACKED", "measure": "DELTA_BYTE_ARRAY"},
    ),
    "page index": by_pyarrow(write_page_index=True, compression="brotli"),
    "duckdb": by_duckdb,
    "polars": lambda path: pl.DataFrame(pl.from_arrow(table())).write_parquet(path, row_group_size=500),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_files_of_other_writers_are_read(writer: str, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    WRITERS[writer](path)
    series = import_file(path, ignore_extra=True).series
    assert series.values[0, 1:4].tolist() == [1 / 3, 2 / 3, 1.0]
    assert series.rows == ROWS


def small(**more: list[Any]) -> bytes:
    columns = {"time_bin": [0, 1], "component_id": ["a", "a"], "measure": ["m", "m"], "value": [1.0, 2.0]}
    file = io.BytesIO()
    pq.write_table(pa.table({**columns, **more}), file, compression="none", use_dictionary=False)
    return file.getvalue()


def refused(data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        check_pages(io.BytesIO(data), "x.parquet")
    assert caught.value.code == "FT402"
    return caught.value.message


def test_a_file_that_claims_more_rows_than_its_groups_hold_is_refused() -> None:
    data = small()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    # The fields version (1), schema (2), number of rows (3) begin a footer: 2 rows are the zigzag 4.
    at = data.index(b"\x16\x04\x19", footer)
    assert "the footer says 3" in refused(data[: at + 1] + b"\x06" + data[at + 2 :])


def test_bytes_lost_in_the_middle_are_missed() -> None:
    data = small()
    footer = int.from_bytes(data[-8:-4], "little") + 8
    for end in range(5, len(data) - footer):
        refused(data[:end] + data[-footer:])


def test_a_footer_that_nests_without_end_is_refused() -> None:
    footer = b"\x1c" * 200
    assert "nested too deeply" in refused(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def test_times_that_no_calendar_has_are_bad_rows() -> None:
    beyond = pl.Series([2**60, 0, -(2**61)]).cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"time_bin": beyond, "component_id": "a", "measure": "m", "value": 1.0})
    file = io.BytesIO()
    frame.write_parquet(file)
    file.seek(0)
    with pytest.raises(InvalidInput) as caught:
        import_file(file)
    assert (caught.value.code, caught.value.count) == ("FT404", 2)
    assert f'"{2**60} microseconds after 1970"' in caught.value.errors[0].message


def test_naive_times_beside_a_bad_row_keep_their_meaning() -> None:
    times = [datetime(2025, 1, 1, hour, tzinfo=UTC) for hour in range(2)]
    frame = pl.DataFrame({"time_bin": times, "component_id": ["a", None], "measure": "m", "value": 1.0})
    file = io.BytesIO()
    frame.write_parquet(file)
    file.seek(0)
    with pytest.raises(InvalidInput) as caught:
        import_file(file)
    assert [error.message for error in caught.value.errors] == ['component_id "": is empty']
