"""Other programs read our files: the same rows, and the same values to the last bit where they can.

The run has what readers stumble over: doubles from end to end, integers, missing values, and names with
commas, quotes, spaces, other scripts, and words such as `null` and `NA`.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import frictionless
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.commands import Command

from flowtime.core import canonical
from flowtime.formats import EXPORTS, FORMATS

GUIDES = Path(__file__).parents[2] / "docs" / "guides"

Row = tuple[int, str, str, float | None]
"""Microseconds since 1970, component, measure, value."""
Reader = Callable[[Path], list[Row]]

START = 1_735_689_600_000_000  # 2025-01-01T00:00:00Z
HOUR = 3_600_000_000
BINS = 48


def doubles() -> list[float]:
    """Awkward ones first, then any bits."""
    known = [1 / 3, 5e-324, 1.7976931348623157e308, 2.0**81, 2.2250738585072011e-308, 2.0**-1074, 0.1, -1.5]
    known += [9007199254740993.0, 1e22, 1e23, -5e-324, 0.0, 123456789.0]
    numbers = random.Random(7)
    while len(known) < BINS:
        (value,) = struct.unpack("<d", numbers.randbytes(8))
        if math.isfinite(value):
            known.append(value)
    return known


DOUBLES = doubles()
NAMES = {
    "numbers": ('Plain "quoted", with comma', "arrivals"),
    "integers": ("größe 🚀", "你好 count"),
    "holes": ("'single' and  spaces ", "served; later"),
    "nothing": ("null", "NA"),
}
VALUES: dict[str, list[float | None]] = {
    "numbers": list(DOUBLES),
    "integers": [float(n) for n in range(BINS)],
    "holes": [None if n % 3 == 0 else value for n, value in enumerate(DOUBLES)],
    "nothing": [None] * BINS,
}


def expected() -> list[Row]:
    return [
        (START + bin * HOUR, *NAMES[node], value) for node in NAMES for bin, value in enumerate(VALUES[node])
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The run in every format, and as CSV with its metadata in it, made by the command line."""
    folder = tmp_path_factory.mktemp("readers")
    definitions: dict[str, dict[str, Any]] = {
        "numbers": {"kind": "const", "values": DOUBLES},
        "integers": {"kind": "const", "values": list(range(BINS))},
        "holes": {"kind": "expr", "expr": "IF(MOD(integers, 3) == 0, LOG(0), numbers)"},
        "nothing": {"kind": "expr", "expr": "LOG(integers * 0)"},
    }
    nodes = [
        {"id": id, "component": component, "measure": measure, **definitions[id]}
        for id, (component, measure) in NAMES.items()
    ]
    grid = {"bins": BINS, "binSize": 1, "binUnit": "hours", "start": "2025-01-01T00:00:00Z"}
    (folder / "awkward.json").write_text(json.dumps({"grid": grid, "nodes": nodes}), encoding="utf-8")
    flowtime = Command(folder)
    flowtime("run", "--model", "awkward.json", "--name", "awkward")
    paths = {}
    for name, format in EXPORTS.items():
        paths[name] = folder / f"awkward{format.extension}"
        flowtime("export", "--run", "awkward", "--format", name, "--out", str(paths[name]))
    paths["embedded"] = folder / "embedded.csv"
    embedded = ("--embed-metadata", "--out", str(paths["embedded"]))
    flowtime("export", "--run", "awkward", "--format", "gold", *embedded)
    return paths


# Readers: how each program gets the four columns, without help.


def rows(times: Any, components: Any, measures: Any, values: Any) -> list[Row]:
    """Rows out of columns of plain Python values; NaN is how some programs say missing."""
    missing = [value is None or math.isnan(value) for value in values]
    plain = [None if gone else float(value) for value, gone in zip(values, missing, strict=True)]
    return list(zip(map(int, times), components, measures, plain, strict=True))


def of_pandas(table: pd.DataFrame) -> list[Row]:
    times = pd.to_datetime(table["time_bin"], utc=True).astype("datetime64[us, UTC]").astype("int64")
    return rows(times, table["component_id"], table["measure"], table["value"])


def pandas_csv(path: Path) -> list[Row]:
    return of_pandas(pd.read_csv(path, keep_default_na=False, na_values={"value": [""]}))


def pandas_ndjson(path: Path) -> list[Row]:
    return of_pandas(pd.read_json(path, lines=True, engine="pyarrow"))


def pandas_parquet(path: Path) -> list[Row]:
    return of_pandas(pd.read_parquet(path))


def of_polars(table: pl.DataFrame) -> list[Row]:
    if table["time_bin"].dtype == pl.String:
        table = table.with_columns(pl.col("time_bin").str.to_datetime(time_unit="us", time_zone="UTC"))
    return list(table.with_columns(pl.col("time_bin").dt.timestamp("us")).iter_rows())


def polars_csv(path: Path) -> list[Row]:
    return of_polars(pl.read_csv(path))


def polars_ndjson(path: Path) -> list[Row]:
    return of_polars(pl.read_ndjson(path))


def polars_parquet(path: Path) -> list[Row]:
    return of_polars(pl.read_parquet(path))


def of_duckdb(path: Path) -> list[Row]:
    """DuckDB finds out columns and types of all three by itself."""
    columns = "epoch_us(time_bin), component_id, measure, value"
    return duckdb.sql(f"SELECT {columns} FROM '{path}'").fetchall()


def of_pyarrow(table: pa.Table) -> list[Row]:
    times = table["time_bin"].cast(pa.timestamp("us")).cast(pa.int64())
    return rows(*(column.to_pylist() for column in (times, *table.columns[1:])))


def pyarrow_csv(path: Path) -> list[Row]:
    return of_pyarrow(pa.csv.read_csv(path))


def pyarrow_ndjson(path: Path) -> list[Row]:
    return of_pyarrow(pa.json.read_json(path))


def pyarrow_parquet(path: Path) -> list[Row]:
    return of_pyarrow(pa.parquet.read_table(path))


def of_frictionless(path: Path) -> list[Row]:
    """Rows as the descriptor's schema types them; numbers are decimals."""
    package = frictionless.Package(str(path) if path.suffix == ".zip" else f"{path}.datapackage.json")
    assert package.validate().valid
    read = package.resources[0].read_rows()
    times = [row["time_bin"].timestamp() * 1_000_000 for row in read]
    values = [None if row["value"] is None else float(row["value"]) for row in read]
    return rows(times, [row["component_id"] for row in read], [row["measure"] for row in read], values)


R_READS = """
table <- read.csv(commandArgs(TRUE)[1], encoding = "UTF-8", na.strings = character(),
                  colClasses = c("character", "character", "character", "numeric"))
seconds <- as.numeric(as.POSIXct(table$time_bin, format = "%Y-%m-%dT%H:%M:%SZ", tz = "UTC"))
cat(paste(sprintf("%.0f", seconds), table$component_id, table$measure,
          ifelse(is.na(table$value), "", sprintf("%a", table$value)), sep = "\\t"), sep = "\\n")
"""


def r_csv(path: Path) -> list[Row]:
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", R_READS, str(path)],
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    found = [line.split("\t") for line in done.stdout.splitlines()]
    return [
        (int(seconds) * 1_000_000, component, measure, float.fromhex(value) if value else None)
        for seconds, component, measure, value in found
    ]


SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def calc_cells(path: Path) -> Iterator[dict[str, str | float]]:
    """The rows of the first sheet by column letter, as LibreOffice Calc has them after opening the file."""
    out = path.parent / "calc"
    subprocess.run(
        [
            *("soffice", "--headless", f"-env:UserInstallation={(out / 'profile').as_uri()}"),
            # comma, double quote, UTF-8, from the first line, each column as it comes, English (US)
            *("--infilter=CSV:44,34,76,1,,1033", "--convert-to", "xlsx", "--outdir", str(out), str(path)),
        ],
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    with zipfile.ZipFile(out / f"{path.stem}.xlsx") as book:
        strings = ET.fromstring(book.read("xl/sharedStrings.xml")).findall(f"{SHEET}si")
        texts = ["".join(part.text or "" for part in entry.iter(f"{SHEET}t")) for entry in strings]
        sheet = ET.fromstring(book.read("xl/worksheets/sheet1.xml"))
    for row in sheet.iter(f"{SHEET}row"):
        cells: dict[str, str | float] = {}
        for cell in row.iter(f"{SHEET}c"):
            value = cell.findtext(f"{SHEET}v")
            if value is not None:
                column = str(cell.get("r")).rstrip("0123456789")
                cells[column] = texts[int(value)] if cell.get("t") == "s" else float(value)
        if cells:
            yield cells


def calc_xlsx(path: Path) -> list[Row]:
    """The sheet with a column per series: Excel counts days, here from 1899-12-30."""
    cells = calc_cells(path)
    header = next(row for row in cells if "A" in row and len(row) == len(NAMES) + 1)
    bins = list(cells)
    columns = [column for column in header if column != "A"]
    times = [START + bin * HOUR for bin in range(BINS)]
    days = [(time / 3_600_000_000 / 24) + 25_569 for time in times]
    assert [row["A"] for row in bins] == pytest.approx(days, abs=1e-9)
    return [
        (time, *NAMES[node], None if row.get(column) is None else float(row[column]))
        for node, column in zip(NAMES, columns, strict=True)
        for time, row in zip(times, bins, strict=True)
    ]


def calc_csv(path: Path) -> list[Row]:
    header, *found = calc_cells(path)
    assert list(header.values()) == ["time_bin", "component_id", "measure", "value"]
    times = [pd.Timestamp(cells["A"]).timestamp() * 1_000_000 for cells in found]
    components, measures = ([str(cells[column]) for cells in found] for column in "BC")
    return rows(times, components, measures, [cells.get("D") for cells in found])


@cache
def independent() -> dict[str, Any]:
    """What the reader in the guide defines."""
    text = (GUIDES / "write-a-reader.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python reader\.py\n(.*?)^```$", text, re.S | re.M)
    names: dict[str, Any] = {"__name__": "reader"}
    exec(compile(code, "reader.py", "exec"), names)
    return names


EXACT, DIGITS = "every bit", "15 digits"

READERS: dict[tuple[str, str], tuple[Reader, str, tuple[str, ...]]] = {
    ("pandas", "gold"): (pandas_csv, EXACT, ()),
    ("pandas", "ndjson"): (pandas_ndjson, EXACT, ()),
    ("pandas", "parquet"): (pandas_parquet, EXACT, ()),
    ("polars", "gold"): (polars_csv, EXACT, ()),
    ("polars", "ndjson"): (polars_ndjson, EXACT, ()),
    ("polars", "parquet"): (polars_parquet, EXACT, ()),
    ("DuckDB", "gold"): (of_duckdb, EXACT, ()),
    ("DuckDB", "ndjson"): (of_duckdb, EXACT, ()),
    ("DuckDB", "parquet"): (of_duckdb, EXACT, ()),
    ("pyarrow", "gold"): (pyarrow_csv, EXACT, ()),
    ("pyarrow", "ndjson"): (pyarrow_ndjson, EXACT, ()),
    ("pyarrow", "parquet"): (pyarrow_parquet, EXACT, ()),
    ("R", "gold"): (r_csv, EXACT, ("Rscript",)),
    ("LibreOffice", "gold"): (calc_csv, DIGITS, ("soffice",)),
    ("LibreOffice", "xlsx"): (calc_xlsx, DIGITS, ("soffice",)),
    ("frictionless", "bundle"): (of_frictionless, EXACT, ()),
    ("frictionless", "gold"): (of_frictionless, EXACT, ()),
    ("frictionless", "ndjson"): (of_frictionless, EXACT, ()),
}


def same_rows(found: list[Row], exactness: str = EXACT) -> None:
    wanted = expected()
    assert [row[:3] for row in found] == [row[:3] for row in wanted]
    assert [row[3] is None for row in found] == [row[3] is None for row in wanted]
    for (*key, value), (*_, right) in zip(found, wanted, strict=True):
        if value is None or right is None:
            continue
        if exactness == EXACT:
            assert value.hex() == right.hex(), key
        else:
            assert math.isclose(value, right, rel_tol=1e-14, abs_tol=sys.float_info.min), key


@pytest.mark.parametrize(
    ("program", "format"),
    [
        pytest.param(*pair, marks=pytest.mark.needs(*needed), id="-".join(pair))
        for pair, (_, _, needed) in READERS.items()
    ],
)
def test_the_program_reads_what_flowtime_wrote(files: dict[str, Path], program: str, format: str) -> None:
    read, exactness, _ = READERS[program, format]
    same_rows(read(files[format]), exactness)


def test_the_guide_says_what_was_tested() -> None:
    text = (GUIDES / "data-formats.md").read_text(encoding="utf-8")
    section = text.split("## In other programs")[1].split("###")[0]
    header, _, *lines = [line for line in section.splitlines() if line.startswith("|")]
    titles = [cell.strip() for cell in header.split("|")[2:-1]]
    by_title = {format.title: name for name, format in EXPORTS.items()}
    assert set(titles) == set(by_title)
    said: dict[tuple[str, str], str] = {}
    for line in lines:
        program, *cells = (cell.strip() for cell in line.split("|")[1:-1])
        said |= {(program, by_title[title]): cell for title, cell in zip(titles, cells, strict=True) if cell}
    assert said == {pair: exactness for pair, (_, exactness, _) in READERS.items()}


# The reader that the guide shows is written from the specification alone.


@pytest.mark.parametrize("format", [*FORMATS, "embedded"])
def test_the_guides_reader_reads_and_proves_every_format(files: dict[str, Path], format: str) -> None:
    reader = independent()
    found = list(reader["read_rows"](files[format]))
    same_rows(found)
    described = reader["read_description"](files[format])
    assert described["rows"] == len(found)
    assert reader["digest_of"](found) == described["digest"]
    assert reader["digest_of"](random.Random(1).sample(found, len(found))) == described["digest"]
    model = {key: value for key, value in described["model"].items() if key not in {"metadata", "provenance"}}
    assert reader["sha256"](reader["canonical"](model).encode()) == described["model_hash"]


@pytest.mark.parametrize("format", [*FORMATS, "embedded"])
def test_the_guides_reader_finds_every_changed_byte(
    files: dict[str, Path], format: str, tmp_path: Path
) -> None:
    reader = independent()
    copies = [path for path in files[format].parent.iterdir() if path.name.startswith(files[format].name)]
    for changed in copies:
        # The lines for people, above the descriptor in a CSV file, are left to flowtime's own check.
        first = changed.read_bytes().index(b"# {") if format == "embedded" else 0
        for at in random.Random(2).sample(range(first, changed.stat().st_size), 50):
            for path in copies:
                data = bytearray(path.read_bytes())
                if path == changed:
                    data[at] ^= 0x20
                (tmp_path / path.name).write_bytes(data)
            try:
                reader["read_description"](tmp_path / files[format].name)
            except (AssertionError, KeyError, OSError, TypeError, ValueError):
                continue
            # White space, and the spelling of a number, mean nothing in JSON.
            assert changed.suffix == ".json", f"byte {at} of {changed.name}"
            same = [json.loads(path.read_bytes()) for path in (changed, tmp_path / changed.name)]
            assert same[0] == same[1], f"byte {at} of {changed.name}"


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
        ),
    )
)
@example([1e15, 1e16, 1e-4, 1e-5, 1.5e-5, 1e-6, -0.0, 2.0**53, 1e22, 5e-324])
def test_the_guides_canonical_json_is_flowtimes(value: Any) -> None:
    assert independent()["canonical"](value) == canonical.dump(value).decode()
