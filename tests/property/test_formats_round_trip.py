"""Any table, through any format and back; and the quick way to check rows against the exact one."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowtime.core.grid import BIN_UNITS, Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet, name_problem, same_bits
from flowtime.errors import InvalidInput
from flowtime.formats import GOLD, NDJSON, TABLES
from flowtime.formats.digest import digest
from flowtime.formats.export import export_file, export_stream
from flowtime.formats.layout import Cells, Layout, Reading
from flowtime.formats.readers import CsvBlock, NdjsonBlock, _Form
from flowtime.formats.rows import Checker
from flowtime.formats.telemetry import import_file

AWKWARD = [
    1 / 3,
    5e-324,
    -5e-324,
    1.7976931348623157e308,
    2.0**81,
    2.0**-1074,
    3.0,
    -17.0,
    1e15,
    1e16,
    1e17,
    0.1,
]
AWKWARD += [9007199254740993.0, 1e-5, 1e-7, 123456789012345680.0, 2.2250738585072014e-308, math.nan]

values = st.sampled_from(AWKWARD) | st.floats(allow_infinity=False).map(lambda value: value + 0.0)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8) | st.sampled_from(
    [
        "a,b",
        'say "x"',
        "'",
        " padded ",
        "Größe",
        "日本",
        "\u00a0",
        "\ufeffbom",
        "null",
        "NaN",
        "1",
        "#",
        "a;b",
        "a\\",
        "C:\\users",
        "value",
        '"value": 1',
        "{}",
    ]
)
names = names.filter(lambda name: name_problem(name) is None)
instants = st.sampled_from(
    ["2025-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "9000-02-28T12:00:00.5Z"]
).map(parse_instant)


@st.composite
def tables(draw: st.DrawFn) -> SeriesSet:
    bins = draw(st.integers(1, 6))
    grid = Grid(bins, draw(st.integers(1, 90)), draw(st.sampled_from(BIN_UNITS)), draw(st.none() | instants))
    keys = draw(st.lists(st.builds(SeriesKey, names, names), min_size=1, max_size=4, unique=True))
    matrix = draw(
        st.lists(st.lists(values, min_size=bins, max_size=bins), min_size=len(keys), max_size=len(keys))
    )
    units = tuple(draw(st.none() | st.text(max_size=5)) for _ in keys)
    return SeriesSet(grid, tuple(keys), units, np.array(matrix, dtype=np.float64))


@settings(max_examples=100)
@given(tables())
def test_what_goes_out_comes_back(series: SeriesSet) -> None:
    with TemporaryDirectory() as folder:
        for format in TABLES:
            path = Path(folder) / f"x{format.extension}"
            done = export_file(series, {"id": "x"}, format, path)
            found = import_file(path)
            assert found.series.equals(series)
            assert found.digest == done.digest == digest(series)
            first = path.read_bytes()
            export_file(found.series, {"id": "x"}, format, path)
            assert path.read_bytes() == first


@settings(max_examples=100)
@given(tables(), st.randoms(use_true_random=False))
def test_external_rows_in_any_order_have_the_same_digest(series: SeriesSet, random: object) -> None:
    shuffle = random.shuffle
    for format in (GOLD, NDJSON):
        text = io.BytesIO()
        export_stream(series, None, format, text)
        lines = (
            text.getvalue().splitlines(keepends=True)
            if format is NDJSON
            else text.getvalue().split(b"\n")[:-1]
        )
        header, body = (
            ([], lines) if format is NDJSON else ([lines[0] + b"\n"], [line + b"\n" for line in lines[1:]])
        )
        shuffle(body)
        found = import_file(io.BytesIO(b"".join(header + body)), grid=series.grid)
        assert found.digest == digest(series)
        assert set(found.series.keys) == set(series.keys)


LONG = Layout("time_bin", ("component_id", "measure"), ("value",))
FORM = _Form(LONG, 4, (0, 1, 2, 3))
NUMBERS = (
    "0 1 3.5 +5 1e400 inf INF nan -0 1. .5 . 1e 0x1f 1_0 --1 +-1 infinity 1E5 1d5 1e-400 ١٢ 007 true null"
)
COMMAS = '1,5|-1,5e3|1|,5|5,|1,5,0|1.5|1.000,5|+2,5|1,5E-2||"1,5"|1,5 |1e400|1,7976931348623157e308|-0,0'
ODD = ["", " ", " 3", "3 ", "\t3", "\u00a01", '"3.5"', '""', '"', "\r", '"a"b', 'a"b', '"a,b"', "\x00"]
TIMES = ["2025-01-01", "2025-01-01T00:00:00Z", "a", "=a"]
cells = st.sampled_from(NUMBERS.split() + ODD + TIMES) | st.text(
    st.characters(codec="utf-8", exclude_characters="\n"), max_size=4
)


def taken(block: CsvBlock | NdjsonBlock, *, at_once: bool) -> tuple[object, ...] | None:
    checker = Checker("x", Reading())
    if at_once:
        frame = block.frame()
        columns = None if frame is None else checker._at_once(frame)
    else:
        columns = checker._one_by_one(block)
    if columns is None or checker.count:
        return None
    bits = np.where(np.isnan(columns.value), np.nan, columns.value).tobytes()
    return (
        columns.time.tolist(),
        columns.component.to_list(),
        columns.measure.to_list(),
        bits,
        checker.on_the_clock,
    )


@settings(max_examples=200)
@given(
    st.lists(
        st.lists(cells, min_size=3, max_size=5) | st.tuples(st.just("0"), st.just("a"), st.just("b"), cells),
        min_size=1,
        max_size=3,
    )
)
@example([["0", "a", "b", "  "]])
@example([["0", "a", "b"], ["0", "a", "b", "1", "2"]])
@example([["0", "a", "b", '"3.5"'], ["0", "\r", "0"]])
@example([["0", '"a,"', "b"], ["1", "a", "b", "1"]])
def test_csv_rows_checked_at_once_are_those_checked_one_by_one(lines: list[list[str]]) -> None:
    text = "".join(",".join(line) + "\n" for line in lines).encode()
    block = CsvBlock(text, 2, FORM)
    quick = taken(block, at_once=True)
    assert quick is None or quick == taken(block, at_once=False)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(COMMAS.split("|")) | cells, min_size=1, max_size=3))
def test_decimal_commas_checked_at_once_are_those_checked_one_by_one(values: list[str]) -> None:
    text = "".join(f"{bin};a;b;{value}\n" for bin, value in enumerate(values)).encode()
    block = CsvBlock(text, 2, replace(FORM, delimiter=";", decimal_comma=True))
    quick = taken(block, at_once=True)
    assert quick is None or quick == taken(block, at_once=False)


def test_plain_csv_rows_are_checked_at_once() -> None:
    block = CsvBlock(b'0,a,b,1\n1,"a,b",b,\n2,a,b,3.5e-7\r\n', 2, FORM)
    assert taken(block, at_once=True) == taken(block, at_once=False) is not None


JSON_CELLS = r"""
    0 1 -1 1.5 null true "a" "value" "\u0061" "" 1e400 -0.0 [] {} NaN 01 "2025-01-01" "5" "\ud800"
    123456789012345678901234567890 99999999999999999999
"""
json_cells = st.sampled_from(JSON_CELLS.split())
json_keys = st.sampled_from(["time_bin", "component_id", "measure", "value", "valu\\u0065", "extra"])


@settings(max_examples=200)
@given(
    st.lists(
        st.lists(st.tuples(json_keys, json_cells), min_size=3, max_size=5)
        | st.tuples(json_cells, json_cells, json_cells, json_cells).map(
            lambda row: list(zip(["time_bin", "component_id", "measure", "value"], row, strict=True))
        ),
        min_size=1,
        max_size=3,
    )
)
def test_objects_checked_at_once_are_those_checked_one_by_one(rows: list[list[tuple[str, str]]]) -> None:
    lines = ["{" + ",".join(f'"{key}":{cell}' for key, cell in row) + "}\n" for row in rows]
    block = NdjsonBlock("".join(lines).encode(), 1, LONG, False)
    quick = taken(block, at_once=True)
    assert quick is None or quick == taken(block, at_once=False)


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.booleans())
@example(b"x\x01\xc2\x80\n", True)
def test_no_bytes_make_import_stumble(data: bytes, with_header: bool) -> None:
    header = b"time_bin,component_id,measure,value\n" if with_header else b""
    try:
        found = import_file(io.BytesIO(header + data))
    except InvalidInput:
        return
    assert not np.isinf(found.series.values).any()
    assert same_bits(found.series.values, found.series.values + 0.0)


def test_cells_are_what_the_readers_give() -> None:
    block = CsvBlock(b"b,7,0,a\n", 2, replace(FORM, places=(2, 3, 0, 1)))
    assert list(block.cells()) == [(2, Cells("0", "a", "b", "7", "."))]
