"""What import accepts, what it refuses, and the words in which it does."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.importing import from_text, refusal

from flowtime.core.grid import MAX_BINS, Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet, same_bits
from flowtime.errors import FlowtimeError, InvalidInput, NotFound
from flowtime.formats import FORMATS, GOLD, NDJSON, PARQUET, TABLES, Format
from flowtime.formats.export import export_file, export_stream
from flowtime.formats.metadata import MAX_METADATA, describe, sidecar_path, write_sidecar
from flowtime.formats.telemetry import import_file

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HEADER = "time_bin,component_id,measure,value\n"
START = parse_instant("2025-01-01T00:00:00Z")
DESCRIPTION = {
    "kind": "run",
    "id": "r1",
    "name": "R",
    "model": {"nodes": [{"values": [1.0, 2.5, -0.5]}]},
    "tags": [],
}


def table(bins: int = 4) -> SeriesSet:
    values = np.array([[1 / 3, 5e-324, np.nan, 3.0], [2.0**81, -1.5, 0.0, 1e-7]])
    keys = (SeriesKey("Zeta, EU", "served"), SeriesKey("alpha", "errors"))
    grid = Grid(bins, 6, "hours", START)
    return SeriesSet(grid, keys, ("requests/bin", None), np.resize(values, (2, bins)))


def exported(folder: Path, format: Format, series: SeriesSet | None = None) -> Path:
    return export_file(series or table(), DESCRIPTION, format, folder / f"x{format.extension}").path


def rows(lines: Iterable[str]) -> str:
    return HEADER + "".join(f"{line}\n" for line in lines)


def hours(values: Iterable[object], component: str = "a", first: int = 0) -> list[str]:
    return [f"2025-01-01T{first + n:02}:00:00Z,{component},m,{value}" for n, value in enumerate(values)]


# Files of flowtime's own.


@pytest.mark.parametrize("format", TABLES, ids=[format.name for format in TABLES])
def test_a_lone_file_brings_everything_back(format: Format, tmp_path: Path) -> None:
    found = import_file(exported(tmp_path, format))
    assert found.series.equals(table())
    assert found.description is not None
    assert {key: found.description[key] for key in DESCRIPTION} == DESCRIPTION
    assert found.recognised_by == ("sidecar" if format.sidecar else "footer")
    assert found.format is format
    assert found.notes.grid == "metadata"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("format", TABLES, ids=[format.name for format in TABLES])
def test_compressed_files_are_read_as_they_are(format: Format, suffix: str, tmp_path: Path) -> None:
    path = exported(tmp_path, format)
    packed = path.with_name(path.name + suffix)
    packed.write_bytes((gzip.compress if suffix == ".gz" else zstd.compress)(path.read_bytes()))
    path.unlink()
    found = import_file(packed)
    assert found.series.equals(table())
    assert found.recognised_by is not None
    packed.write_bytes(packed.read_bytes()[:-20])
    assert "cut off or damaged" in str(refusal(packed, "FT402"))


@pytest.mark.parametrize("format", TABLES, ids=[format.name for format in TABLES])
def test_a_stream_is_read_to_its_end(format: Format, tmp_path: Path) -> None:
    path = exported(tmp_path, format)
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as pipe:
        with os.fdopen(write_end, "wb") as other:
            other.write(path.read_bytes())
        found = import_file(pipe)
    assert same_bits(found.series.values, table().values)


def flips(data: bytes, count: int, seed: int) -> Iterable[bytes]:
    draw = np.random.Generator(np.random.PCG64(seed))
    for at in draw.integers(0, len(data), count).tolist():
        changed = bytearray(data)
        changed[at] ^= int(draw.integers(1, 256))
        yield bytes(changed)


def spaces(data: bytes, count: int) -> Iterable[bytes]:
    """Changes that mean nothing in JSON and CSV."""
    for at in range(0, len(data), max(1, len(data) // count)):
        yield data[:at] + b" " + data[at:]
        if data[at : at + 1] in {b" ", b"\n"}:
            yield data[:at] + b"\t" + data[at + 1 :]
            yield data[:at] + data[at + 1 :]


@pytest.mark.parametrize("which", ["gold", "gold sidecar", "ndjson", "ndjson sidecar", "parquet"])
def test_no_changed_byte_passes(which: str, tmp_path: Path) -> None:
    path = exported(tmp_path, FORMATS[which.removesuffix(" sidecar")])
    victim = sidecar_path(path) if "sidecar" in which else path
    data = victim.read_bytes()
    cuts = [data[:at] for at in range(0, len(data), max(1, len(data) // 50))]
    passed = []
    for changed in [
        *flips(data, 300, seed=len(which)),
        *spaces(data, 100),
        *cuts,
        data + b"\n",
        data + b"x",
        data * 2,
    ]:
        victim.write_bytes(changed)
        try:
            import_file(path)
        except InvalidInput:
            continue
        passed.append(changed)
    assert passed == []
    victim.write_bytes(data)
    assert import_file(path).series.equals(table())


def test_every_byte_of_a_parquet_footer_counts(tmp_path: Path) -> None:
    path = exported(tmp_path, PARQUET)
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for at in range(start, len(data)):
        for bit in (0, 3, 7):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(InvalidInput):
                import_file(path)


def test_data_edited_beside_its_old_sidecar(tmp_path: Path) -> None:
    path = exported(tmp_path, GOLD)
    path.write_text(path.read_text().replace("-1.5", "-2.5"))
    error = refusal(path, "FT410")
    assert "the file was changed after flowtime wrote it: its bytes differ" in str(error)
    assert "--ignore-metadata" in str(error)
    found = import_file(path, ignore_metadata=True)
    assert found.description is None
    assert found.series.values[1, 1] == -2.5


def test_a_strangers_sidecar_is_not_believed(tmp_path: Path) -> None:
    path = exported(tmp_path, GOLD)
    sidecar_path(path).write_text('{"resources": []}')
    assert "not the metadata that flowtime wrote" in str(refusal(path, "FT411"))
    assert import_file(path, ignore_metadata=True).recognised_by is None


def test_metadata_of_a_newer_format_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowtime.formats.metadata.FORMAT_VERSION", 2)
    path = exported(tmp_path, GOLD)
    monkeypatch.undo()
    assert "has format version 2; this flowtime reads version 1" in str(refusal(path, "FT411"))


@pytest.mark.parametrize("format", TABLES, ids=[format.name for format in TABLES])
def test_a_plain_file_is_recognised_by_its_digest(format: Format) -> None:
    text = io.BytesIO()
    export_stream(table(), None, format, text)
    lines = text.getvalue()
    if format is GOLD:
        header, *rest = lines.splitlines(keepends=True)
        lines = header + b"".join(reversed(rest))
    known = {(done := from_text(lines)).digest: describe(table(), DESCRIPTION, done.digest)}
    found = from_text(lines, lookup=known.get)
    assert found.series.equals(table())
    assert found.recognised_by == "digest"
    assert from_text(lines, lookup=known.get, ignore_metadata=True).recognised_by is None
    assert from_text(lines, lookup={}.get).recognised_by is None


def test_one_bin_is_recognised_though_it_tells_no_grid() -> None:
    text = io.BytesIO()
    done = export_stream(table(1), None, GOLD, text)
    assert done.rows == 2
    error = refusal(text.getvalue(), "FT405")
    assert "--grid bins=1,size=1,unit=hours,start=2025-01-01T00:00:00Z" in str(error)
    found = from_text(text.getvalue(), lookup=lambda digest: describe(table(1), DESCRIPTION, digest))
    assert found.series.equals(table(1))


# The grid of external telemetry.


@pytest.mark.parametrize(
    ("times", "grid"),
    [
        (["2025-01-01T00:00:00Z", "2025-01-01T00:05:00Z"], Grid(2, 5, "minutes", START)),
        (["2025-01-01 02:00:00", "2025-01-01 00:00:00", "2025-01-01 01:00"], Grid(3, 1, "hours", START)),
        (["2025-01-01", "2025-01-03", "2025-01-02"], Grid(3, 1, "days", START)),
        (["2025-01-01T01:00:00+01:00", "2024-12-31T22:00:30-02:00"], Grid(2, 30, "seconds", START)),
        (["2025-01-01T00:00:00.5Z", "2025-01-08T00:00:00.5Z"], Grid(2, 1, "weeks", START + 500_000)),
        (["1", "0", "2"], Grid(3)),
    ],
)
def test_the_grid_is_inferred(times: list[str], grid: Grid) -> None:
    found = from_text(rows(f"{time},a,m,{n}" for n, time in enumerate(times)))
    assert found.series.grid == grid
    assert found.notes.grid == "inferred"
    order = np.argsort([parse_instant(time) if len(time) > 1 else int(time) for time in times])
    assert found.series.values.tolist() == [order.tolist()]


def test_columns_in_any_order_rows_in_any_order() -> None:
    text = "value,measure,time_bin,component_id\r\n2,m,1,b\r\n,m,0,b\r\n4,m,1,a\r\n3.5,m,0,a\r\n"
    found = from_text(text).series
    assert found.keys == (SeriesKey("b", "m"), SeriesKey("a", "m"))
    assert same_bits(found.values, np.array([[np.nan, 2.0], [3.5, 4.0]]))


@pytest.mark.parametrize("name", ["x^", "\u001f\u008b", "x\u0001", "\ufeffa", "#a", "%PDF"])
def test_a_name_may_begin_as_other_files_do(name: str) -> None:
    text = f"measure,component_id,time_bin,value\n{name},a,0,1\n{name},a,1,2\n"
    if name.isprintable() or name == "\ufeffa":
        assert from_text(text).series.keys == (SeriesKey("a", name),)
    else:
        assert "control character" in str(refusal(text, "FT404"))


def test_negative_zero_becomes_zero() -> None:
    values = from_text(rows(["0,a,m,-0.0", "1,a,m,-0"])).series.values
    assert not np.signbit(values).any()


def test_a_byte_order_mark_is_no_part_of_the_header() -> None:
    assert from_text(b"\xef\xbb\xbf" + rows(["0,a,m,1"]).encode()).series.rows == 1


def test_the_grid_given_rules() -> None:
    grid = Grid(3, 1, "hours", START)
    assert from_text(rows(hours([1, 2, 3])), grid=grid).notes.grid == "given"
    error = refusal(rows(hours([1, 2, 3], first=2)), "FT406", grid=grid)
    assert "2 rows are off the grid of 3 bins of 1 hour from 2025-01-01T00:00:00Z" in str(error)
    assert "standard input:3  FT406  time_bin 2025-01-01T03:00:00Z lies outside the grid" in str(error)


def test_times_between_bins_are_moved_only_when_told() -> None:
    text = rows(["2025-01-01T00:10:00Z,a,m,1", "2025-01-01T01:00:00Z,a,m,2"])
    grid = Grid(2, 1, "hours", START)
    error = refusal(text, "FT406", grid=grid)
    assert "time_bin 2025-01-01T00:10:00Z lies 10 minutes after the start of a bin" in str(error)
    assert "--align floor" in str(error)
    found = from_text(text, grid=grid, align="floor")
    assert found.series.values.tolist() == [[1, 2]]
    assert (found.notes.align, found.notes.moved) == ("floor", 1)


def test_missing_rows_are_filled_only_when_told() -> None:
    text = rows([*hours([1, 2, 3]), *hours([4], "b", first=1)])
    error = refusal(text, "FT407")
    assert "2 rows are missing for 2 series on a grid of 3 bins" in str(error)
    assert [item.message for item in error.errors] == [
        "b.m has no row for 2025-01-01T00:00:00Z",
        "b.m has no row for 2025-01-01T02:00:00Z",
    ]
    assert from_text(text, missing="zero").series.values.tolist() == [[1, 2, 3], [0, 4, 0]]
    found = from_text(text, missing="null")
    assert same_bits(found.series.values, np.array([[1, 2, 3], [np.nan, 4, np.nan]]))
    assert (found.notes.missing, found.notes.filled) == ("null", 2)


def test_duplicate_rows_are_merged_only_when_told() -> None:
    text = rows([*hours([1, 2]), *hours([""], first=1), *hours([5], first=1), *hours([7])])
    error = refusal(text, "FT408")
    assert error.count == 3
    assert str(error.errors[2]).startswith(
        "standard input:6  FT408  a.m at 2025-01-01T00:00:00Z is there already, in row 2"
    )
    merged = {how: from_text(text, duplicates=how).series.values.tolist() for how in ("first", "last", "sum")}
    assert merged == {"first": [[1, 2]], "last": [[7, 5]], "sum": [[8, 7]]}
    assert from_text(text, duplicates="sum").notes.merged == 3
    huge = rows(["0,a,m,1e308", "0,a,m,1e308"])
    assert "beyond the largest double" in str(refusal(huge, "FT408", duplicates="sum"))


def test_grids_that_cannot_be() -> None:
    assert "no grid of whole seconds" in str(
        refusal(rows(["2025-01-01T00:00:00Z,a,m,1", "2025-01-01T00:00:00.25Z,a,m,1"]), "FT405")
    )
    years = rows(["2025-01-01T00:00:00Z,a,m,1", "2025-12-01T00:00:00Z,a,m,1", "2025-12-01T00:00:01Z,a,m,1"])
    error = refusal(years, "FT409")
    assert "2025-12-01T00:00:00Z and 2025-12-01T00:00:01Z" in str(error)
    assert f"a grid has at most {MAX_BINS:,}" in str(error)
    assert "the index 20,250,101" in str(refusal(rows(["20250101,a,m,1"]), "FT409"))
    assert "has a start" in str(refusal(rows(["0,a,m,1"]), "FT406", grid=Grid(1, start=0)))
    assert "start=2025-01-01T00:00:00Z" in str(refusal(rows(hours([1])), "FT406", grid=Grid(1)))


def test_few_rows_do_not_fill_a_huge_table() -> None:
    text = rows(f"{n * 50_000},s{n},m,1" for n in range(20)) + "999999,s0,m,1\n"
    error = refusal(text, "FT409", missing="null")
    assert "21 rows would fill a table of 20 series x 1,000,000 bins = 20,000,000 values" in str(error)


# Rows and columns that break a rule.


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("0,a,m,1e400", 'value "1e400": is not finite'),
        ("0,a,m,INF", 'value "INF": is not a number (an empty field is a missing value)'),
        ("0,a,m,NaN", 'value "NaN": is not a number'),
        ("0,a,m,twelve", 'value "twelve": is not a number'),
        ('0,a,m,"1,5"', 'value "1,5": is not a number'),
        ("0,a", '"0,a": has 2 fields where the header has 4'),
        ("0,a,m", '"0,a,m": has 3 fields where the header has 4'),
        ('0,"a,b",m', "has 3 fields where the header has 4"),
        ("0,a,m,1,2", '"0,a,m,1,2": has 5 fields where the header has 4'),
        ("", '"": has 0 fields where the header has 4'),
        ("0,,m,1", 'component_id "": is empty'),
        ('0,a,"",1', 'measure "": is empty'),
        (",a,m,1", 'time_bin "": is empty'),
        ("soon,a,m,1", 'time_bin "soon": is neither an instant like 2025-01-01T00:00:00Z nor a bin\'s index'),
        ("-1,a,m,1", 'time_bin "-1": is neither'),
        (
            "2025-01-01T00:00:00Z,a,m,1",
            'time_bin "2025-01-01T00:00:00Z": is an instant, while the first row has an index',
        ),
        ("0,=1+1,m,1", "component_id \"=1+1\": begins with '='"),
        ("0,a,@m,1", "measure \"@m\": begins with '@'"),
        ("0,a\x07,m,1", "contains the control character U+0007"),
        ('0,"a,m,1', "is not CSV: a quotation mark is not closed on its line"),
        ('0,"a"b,m,1', "is not CSV: "),
        (b"0,\xff,m,1", "is not UTF-8 text"),
    ],
)
def test_a_bad_row_is_named(row: str | bytes, says: str) -> None:
    raw = row.encode() if isinstance(row, str) else row
    # Past what is looked at to recognise the format.
    before = b"".join(b"%d,good,m,1\n" % n for n in range(9_000))
    error = refusal(HEADER.encode() + before + raw + b"\n5,good,n,1\n", "FT404")
    assert error.count == 1
    assert error.errors[0].line == 9_002
    assert says in error.errors[0].message


def test_every_bad_row_is_counted_and_a_thousand_are_listed() -> None:
    error = refusal(rows(f"{n},a,m,x{n}" for n in range(2_500)), "FT404")
    assert error.count == 2_500
    assert len(error.errors) == 1_000
    assert error.errors[-1].line == 1_001
    assert str(error).endswith("... and 1500 more")
    assert "2,500 rows break a rule" in error.message


def test_all_problems_of_a_row_are_said_at_once() -> None:
    (problem,) = refusal(rows(["x,=a,,1e999"]), "FT404").errors
    assert [part.split(" ")[0] for part in problem.message.split("; ")][:3] == [
        "time_bin",
        "component_id",
        "measure",
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"time_bin":0,"component_id":"a","measure":"m"}', "lacks value"),
        (
            '{"time_bin":0,"component_id":"a","measure":"m","value":1,"extra":2}',
            "has the unknown key 'extra'",
        ),
        ('{"time_bin":0,"component_id":"a","measure":"m","value":1,"value":2}', "names a key twice"),
        ('{"time_bin":0,"component_id":"a","measure":"m","value":1,"\\u0076alue":2}', "names a key twice"),
        ('{"time_bin":0,"component_id":"a","measure":"m","value":"1"}', 'value "1": is not a number or null'),
        (
            '{"time_bin":0,"component_id":"a","measure":"m","value":true}',
            'value "true": is not a number or null',
        ),
        ('{"time_bin":0,"component_id":"a","measure":"m","value":NaN}', 'value "nan": is not finite'),
        ('{"time_bin":0,"component_id":"a","measure":"m","value":1e400}', 'value "inf": is not finite'),
        ('{"time_bin":0,"component_id":7,"measure":"m","value":1}', 'component_id "7": is not text'),
        ('{"time_bin":0.5,"component_id":"a","measure":"m","value":1}', 'time_bin "0.5": is neither'),
        ('{"time_bin":null,"component_id":"a","measure":"m","value":1}', 'time_bin "": is empty'),
        ('[["time_bin",0]]', "is no JSON object"),
        ('{"time_bin":0,', "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_a_bad_object_is_named(line: str, says: str) -> None:
    good = '{"time_bin":0,"component_id":"good","measure":"value","value":1}\n'
    error = refusal(good + line + "\n" + good.replace("0", "1"), "FT404")
    assert error.errors[0].line == 2
    assert says in error.errors[0].message


@pytest.mark.parametrize("name", ["C:\\users", "\\\\u0041", 'a"value', '"value":', "value", 'time_bin" :'])
def test_a_name_that_looks_like_something_else_comes_back(tmp_path: Path, name: str) -> None:
    series = SeriesSet(Grid(2), (SeriesKey(name, "m"), SeriesKey("a", name)), (None, None), np.ones((2, 2)))
    path = tmp_path / "x.ndjson"
    export_file(series, {"id": "x"}, NDJSON, path)
    assert import_file(path).series.equals(series)
    assert import_file(path, ignore_metadata=True).series.equals(series)


def test_objects_may_be_spelled_otherwise() -> None:
    lines = [
        {"value": 1, "measure": "value", "component_id": "é", "time_bin": 1},
        {"value": None, "measure": "value", "component_id": "é", "time_bin": 0},
    ]
    text = "\n".join(json.dumps(line, indent=None) for line in lines)
    assert same_bits(from_text(text).series.values, np.array([[np.nan, 1.0]]))


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("timestamp,component_id,measure,value", "try --map timestamp=time_bin"),
        (
            "Time,Component,metric,value",
            "try --map Time=time_bin --map Component=component_id --map metric=measure",
        ),
        (
            "time,node,component,value",
            "try --map time=time_bin --map component=component_id --map COLUMN=measure, COLUMN being the one",
        ),
        (
            "time_bin,service,metric,value,host",
            'try --map service=component_id --map metric=measure; --ignore-extra leaves out "host"',
        ),
        ("time_bin,Service Name,measure, value", "try --map ' value=value' --map COLUMN=component_id"),
        ("time_bin, component,measure,value", "try --map ' component=component_id'"),
        ("time_bin,component_id,value", "missing: measure"),
        ("time_bin,component_id,measure,value,value", '"value" is there 2 times'),
        ("time_bin,component_id,measure,value,note", 'not known: "note"'),
        ("time_bin;component_id;measure;value", "separated by ';'"),
        ("a,b", "missing: time_bin, component_id, measure, value"),
    ],
)
def test_wrong_columns(header: str, says: str) -> None:
    assert says in str(refusal(header + "\n0,a,m,1\n", "FT403"))


def test_no_way_out_is_named_that_is_none() -> None:
    twice = "time_bin,component_id,measure,value,value\n0,a,m,1,1\n"
    assert refusal(twice, "FT403").hint is None


def test_columns_are_renamed_and_left_out_when_told() -> None:
    text = "ts,component_id,measure,value,note\n0,a,m,1,x\n1,a,m,2,\n"
    assert "--ignore-extra" in str(refusal(text, "FT403", rename={"ts": "time_bin"}))
    found = from_text(text, rename={"ts": "time_bin"}, ignore_extra=True)
    assert found.series.values.tolist() == [[1, 2]]
    assert "does not fit" in str(refusal(text, "FT403", rename={"time": "time_bin"}))
    short = text + "2,a,m,\n"
    assert "has 4 fields where the header has 5" in str(
        refusal(short, "FT404", rename={"ts": "time_bin"}, ignore_extra=True)
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (HEADER.encode(), "the file has no rows"),
        (b"\x7fELF\0\0\0\1", "this is binary data"),
        (b"\x89PNG\r\n\x1a\n\0", "this is binary data"),
        ("time_bin,value\n".encode("utf-16"), "UTF-16"),
        ("time_bin,componént\n1,2\n".encode("latin-1"), "not UTF-8 text (line 1)"),
        (b"<html>", "HTML"),
        (b'[{"time_bin": 0}]', "a JSON array"),
        (b'{"time_bin": \n', "the first line is not JSON"),
        (b"PAR1" + b"x" * 100, "cut off"),
        (b"PAR1" + b"x" * 100 + b"PAR1", "cannot be read"),
        ((HEADER + "0,a,m,12").encode(), 'the last line, "0,a,m,12", does not end with a line break'),
        ((HEADER + "0,a,m,12\n1,a,m," + "9" * 2_000_000).encode(), "line 3 is longer than 1,048,576 bytes"),
        (b"time_bin,component_id,measure,value\r0,a,m,1\r", "lines end with CR alone"),
        (b'time_bin,component_id,"measure,value\n0,a,m,1\n', "the first line is no CSV header"),
    ],
)
def test_wrong_files(data: bytes, says: str) -> None:
    assert says in str(refusal(data, "FT402"))


def test_the_last_line_may_be_followed_by_empty_ones() -> None:
    assert from_text(rows(["0,a,m,1", "1,a,m,2"]) + "\n\r\n\n").series.rows == 2
    assert from_text('{"time_bin":0,"component_id":"a","measure":"m","value":1}\n\n').series.rows == 1


def test_a_format_asked_for_must_be_the_one_found(tmp_path: Path) -> None:
    path = exported(tmp_path, GOLD)
    assert import_file(path, format=GOLD).format is GOLD
    assert "this is no Parquet but looks like Gold CSV" in str(refusal(path, "FT402", format=PARQUET))
    renamed = path.rename(tmp_path / "x.parquet")
    assert import_file(renamed).format is GOLD


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        import_file(tmp_path / "x.csv")
    assert "is a folder" in str(refusal(tmp_path, "FT413"))


def test_strict_infers_fills_and_converts_nothing(tmp_path: Path) -> None:
    assert import_file(exported(tmp_path, GOLD), strict=True).recognised_by == "sidecar"
    grid = Grid(2, 1, "hours", START)
    assert from_text(rows(hours([1, 2])), strict=True, grid=grid).series.rows == 2
    refused = refusal(rows(["0,a,m,1", "1,a,m,2"]), "FT412", strict=True)
    assert "the index of a bin does not tell how long it is" in str(refused)
    naive = rows(hours([1, 2])).replace("Z", "")
    assert "is not spelled 2025-01-01T00:00:00Z" in str(refusal(naive, "FT404", strict=True, grid=grid))
    for option in (
        {"missing": "null"},
        {"duplicates": "sum"},
        {"rename": {"a": "value"}},
        {"ignore_extra": True},
    ):
        refusal(rows(["0,a,m,1"]), "FT412", strict=True, grid=Grid(1), **cast("dict[str, Any]", option))


def test_strict_import_takes_a_grid_that_the_times_state() -> None:
    found = from_text(rows(hours([1, 2, 3])), strict=True)
    assert found.series.grid == Grid(3, 1, "hours", START)
    assert "assumed_utc" not in found.notes.read
    assert "does not tell how long a bin is" in str(refusal(rows(hours([1])), "FT405", strict=True))


@pytest.mark.parametrize("unit", ["us", "ns", "ms"])
def test_strict_import_takes_the_naive_times_of_pandas(unit: str) -> None:
    times = pd.date_range("2025-01-01", periods=2, freq="h", unit=cast("Any", unit))
    frame = pd.DataFrame({"time_bin": times, "component_id": "a", "measure": "m", "value": [1.0, 2.0]})
    handle = io.BytesIO()
    frame.to_parquet(handle)
    found = from_text(handle.getvalue(), strict=True)
    assert found.series.grid == Grid(2, 1, "hours", START)
    assert found.notes.read["assumed_utc"] is True
    whole = io.BytesIO()
    frame.assign(value=[1, 2]).to_parquet(whole)
    assert "converts nothing" in str(refusal(whole.getvalue(), "FT412", strict=True))


@pytest.mark.parametrize(
    ("times", "options", "assumed"),
    [
        (["2025-01-01T00:00:00", "2025-01-01T01:00:00"], {}, True),
        (["2025-01-01 00:00", "2025-01-01 01:00"], {}, True),
        (["2025-01-01T00:00:00Z", "2025-01-01T01:00:00Z"], {}, False),
        (["2025-01-01T00:00:00+01:00", "2025-01-01T01:00:00+01:00"], {}, False),
        (["2025-01-01 00:00", "2025-01-01 01:00"], {"timezone": "Europe/Berlin"}, False),
        (["01.01.2025 00:00", "01.01.2025 01:00"], {"time_format": "%d.%m.%Y %H:%M"}, True),
        (["2025-01-01 00:00+0100", "2025-01-01 01:00+0100"], {"time_format": "%Y-%m-%d %H:%M%z"}, False),
        (["1735689600", "1735693200"], {"time_format": "unix"}, False),
        (["0", "1"], {}, False),
    ],
)
def test_times_that_are_taken_as_utc_are_reported(
    times: list[str], options: dict[str, Any], assumed: bool
) -> None:
    found = from_text(rows([f"{time},a,m,1" for time in times]), **options)
    assert found.notes.read.get("assumed_utc", False) is assumed


# Parquet of other programs.


def parquet(**columns: object) -> bytes:
    frame = {
        "time_bin": [0, 1],
        "component_id": ["a", "a"],
        "measure": ["m", "m"],
        "value": [1.0, None],
    } | columns
    handle = io.BytesIO()
    pl.DataFrame(frame).write_parquet(handle)
    return handle.getvalue()


@pytest.mark.parametrize(
    "time",
    [
        pl.Series([START, START + 3_600_000_000]).cast(pl.Datetime("us", "UTC")),
        pl.Series([START, START + 3_600_000_000]).cast(pl.Datetime("us")),
        pl.Series([START, START + 3_600_000_000]).cast(pl.Datetime("us")).dt.cast_time_unit("ns"),
        pl.Series([START, START + 3_600_000_000])
        .cast(pl.Datetime("us", "UTC"))
        .dt.convert_time_zone("Europe/Berlin"),
        pl.Series(["2025-01-01T00:00:00Z", "2025-01-01T02:00:00+01:00"]),
    ],
    ids=str,
)
def test_parquet_times_of_every_kind(time: pl.Series) -> None:
    found = from_text(parquet(time_bin=time)).series
    assert found.grid == Grid(2, 1, "hours", START)
    assert same_bits(found.values, np.array([[1.0, np.nan]]))
    if time.dtype == pl.String:
        assert "converts nothing" in str(
            refusal(parquet(time_bin=time), "FT412", strict=True, grid=found.grid)
        )


FINE = pl.Series([START * 1_000 + 1, None]).cast(pl.Datetime("ns"))
"""An instant that is no whole number of microseconds, and none."""


@pytest.mark.parametrize(
    ("column", "values", "code", "says"),
    [
        ("value", [1.0, float("nan")], "FT404", 'value "nan": is not finite'),
        ("value", [float("inf"), 1.0], "FT404", 'value "inf": is not finite'),
        ("value", ["1", "2"], "FT403", "value must be a number"),
        ("time_bin", [0.5, 1.0], "FT403", "time_bin must be a timestamp, text or an index"),
        ("time_bin", [None, 1], "FT404", 'time_bin "": is empty'),
        ("time_bin", [-1, 1], "FT404", 'time_bin "-1": is no bin\'s index'),
        ("time_bin", FINE, "FT404", 'time_bin "2025-01-01T00:00:00.000000001": is neither an instant'),
        ("component_id", ["a", None], "FT404", 'component_id "": is empty'),
        ("component_id", [1, 2], "FT403", "component_id must be text"),
        ("measure", ["a", "a\n"], "FT404", "control character"),
    ],
)
def test_parquet_rows_and_types_that_break_a_rule(
    column: str, values: list[Any] | pl.Series, code: str, says: str
) -> None:
    assert says in str(refusal(parquet(**{column: values}), code))


def test_parquet_numbers_of_every_kind_become_doubles() -> None:
    assert from_text(parquet(value=[3, None])).series.values[0, 0] == 3.0
    categories = pl.Series(["a", "a"], dtype=pl.Categorical)
    assert from_text(parquet(component_id=categories)).series.rows == 2


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = exported(tmp_path, GOLD)
    text = path.read_text()
    sidecar_path(path).unlink()

    class Changing(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(-1 if size is None else size)
            path.write_text(text + "\n")
            return data

    with Changing(path) as handle, pytest.raises(FlowtimeError, match="changed while it was read"):
        import_file(cast("BinaryIO", handle))


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowtime.formats.opening.FREE_BYTES", 1 << 20)
    bomb = zstd.compress(HEADER.encode() + b"0,a,m,1\n" * 5_000_000)
    assert "which no table does" in str(refusal(bomb, "FT402"))
    assert NDJSON.sidecar


def test_a_bomb_that_says_its_size_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowtime.formats.opening.FREE_BYTES", 1 << 20)
    bomb = bytearray(zstd.compress(b"x" * 30_000_000))
    # What follows cannot be unpacked: who tried would tell of that.
    bomb[len(bomb) // 2 :] = bytes(len(bomb) - len(bomb) // 2)
    assert "which no table does" in str(refusal(bytes(bomb), "FT402"))


def test_what_is_made_of_gaps_follows_what_came() -> None:
    # 30,000 rows, and 900,000 bins between them.
    far = "".join(f"{30 * i},a,m{i % 2},1\n" for i in range(30_000))
    assert "would fill a table" in str(refusal(HEADER + far, "FT409", missing="null"))


# Metadata that was forged, with seals of its own.


def forge(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Changes the sidecar of `path` and seals it as flowtime would."""
    sidecar = sidecar_path(path)
    document = json.loads(sidecar.read_bytes())
    document["flowtime"].pop("seal")
    change(document)
    sidecar.write_bytes(write_sidecar(document))
    return path


@pytest.mark.parametrize(
    "elsewhere", ["../x.csv", "/etc/passwd", "a/x.csv", "..", "", "C:\\x.csv", "http://x/y"]
)
def test_a_sidecar_points_nowhere_else(elsewhere: str, tmp_path: Path) -> None:
    path = forge(exported(tmp_path, GOLD), lambda document: document["resources"][0].update(path=elsewhere))
    assert "which is not a file beside it" in str(refusal(path, "FT411"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda found: found["series"][0].update(component="=cmd|' /C calc'!A0"), "begins with '='"),
        (lambda found: found["series"][0].update(measure="a\u202eb\x07"), "control character U+0007"),
        (lambda found: found["series"].append(found["series"][0]), "do not fit 2 different series"),
        (lambda found: found["grid"].update(bins=10**9), "lacks or misspells"),
        (lambda found: found.update(rows=10**12), "do not fit"),
        (lambda found: found.update(series=[]), "do not fit"),
        (lambda found: found.update(digest="sha256:" + "0" * 64), "not those that the metadata records"),
    ],
)
def test_forged_descriptions_are_refused(
    change: Callable[[dict[str, Any]], object], says: str, tmp_path: Path
) -> None:
    path = forge(exported(tmp_path, GOLD), lambda document: change(document["flowtime"]))
    assert says in str(refusal(path, "FT410" if "records" in says else "FT411"))


def test_metadata_without_end_is_not_read(tmp_path: Path) -> None:
    path = exported(tmp_path, GOLD)
    os.truncate(sidecar_path(path), MAX_METADATA + 1)
    assert "the metadata is larger than 67,108,864 bytes" in str(refusal(path, "FT411"))
