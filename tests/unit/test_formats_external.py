"""Other people's tables: wide ones, commas, zones whose clocks are set, and rows that are wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import polars as pl
import pytest
import vega_datasets
from tests.importing import from_text, refusal

from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey, same_bits
from flowtime.errors import InvalidInput
from flowtime.formats.align import IN_MEMORY
from flowtime.formats.problems import problem_table
from flowtime.formats.readers import BLOCK_BYTES
from flowtime.formats.telemetry import import_file

SEATTLE = Path(vega_datasets.__file__).parent / "_data" / "seattle-temps.csv"
AS_IT_IS: dict[str, Any] = {"wide": True, "component": "seattle", "time_format": "%Y/%m/%d %H:%M"}


# The temperatures of Seattle, step by step as a person gets there.


def test_seattle_says_that_it_is_wide() -> None:
    assert "--wide --component NAME" in str(refusal(SEATTLE, "FT403"))


def test_seattle_says_how_its_times_are_spelled() -> None:
    error = refusal(SEATTLE, "FT404", wide=True, component="seattle")
    assert (error.count, len(error.errors)) == (8_759, 1_000)
    assert error.hint == "the times fit --time-format '%Y/%m/%d %H:%M'"


def test_seattle_in_its_own_zone_says_what_its_clocks_did() -> None:
    error = refusal(SEATTLE, "FT404", **AS_IT_IS, timezone="America/Los_Angeles")
    assert [(each.line, each.message) for each in error.errors] == [
        (
            1732,
            (
                'time_bin "2010/03/14 02:00": never was in America/Los_Angeles: '
                "clocks went forward from 02:00 to 03:00 then"
            ),
        ),
        (
            7442,
            (
                'time_bin "2010/11/07 01:00": was twice in America/Los_Angeles: '
                "clocks went back from 02:00 to 01:00 then"
            ),
        ),
    ]
    assert "--timezone -08:00" in str(error.hint)


def test_seattle_with_a_fixed_offset_says_which_hour_it_lacks() -> None:
    error = refusal(SEATTLE, "FT407", **AS_IT_IS, timezone="-08:00")
    (gap,) = error.errors
    assert gap.message == ("seattle.temp has no row for 2010-03-14T11:00:00Z (2010/03/14 03:00 in -08:00)")


def test_seattle_comes_in_with_one_command() -> None:
    found = import_file(SEATTLE, **AS_IT_IS, timezone="-08:00", missing="null")
    series = found.series
    assert series.grid == Grid(8_760, 1, "hours", parse_instant("2010-01-01T08:00:00Z"))
    assert series.keys == (SeriesKey("seattle", "temp"),)
    assert (series.values[0, 0], series.values[0, -1], np.isnan(series.values).sum()) == (39.4, 39.6, 1)
    assert found.notes.to_json()["read"] == {
        "map": {"date": "time_bin"},
        "component": "seattle",
        "time_format": "%Y/%m/%d %H:%M",
        "timezone": "-08:00",
        "open_end": True,
    }


# Wide tables.


def test_a_column_for_each_measure() -> None:
    text = "timestamp,cpu,mem\n2025-01-01T01:00:00Z,3,4\n2025-01-01T00:00:00Z,1,\n"
    found = from_text(text, wide=True, component="web").series
    assert found.keys == (SeriesKey("web", "cpu"), SeriesKey("web", "mem"))
    assert same_bits(found.values, np.array([[1.0, 3.0], [np.nan, 4.0]]))


def test_wide_tables_of_every_format() -> None:
    lines = '{"ts":0,"cpu":1,"mem":null}\n{"ts":1,"cpu":2.5,"mem":4}\n'
    frame = pl.DataFrame({"ts": [0, 1], "cpu": [1.0, 2.5], "mem": [None, 4]})
    parquet = io.BytesIO()
    frame.write_parquet(parquet)
    for source in (lines, parquet.getvalue(), "ts,cpu,mem\n0,1,\n1,2.5,4\n"):
        found = from_text(source, wide=True, component="web").series
        assert same_bits(found.values, np.array([[1.0, 2.5], [np.nan, 4.0]]))


def test_measures_are_named_and_chosen_by_map() -> None:
    text = "when,cpu,note\n0,1,x\n1,2,y\n"
    error = refusal(text, "FT403", wide=True, component="web")
    assert "say which, such as --map when=time_bin" in str(error)
    rename = {"when": "time_bin", "cpu": "busy"}
    error = refusal(text, "FT404", wide=True, component="web", rename=rename)
    assert error.errors[0].message == 'note "x": is not a number (an empty field is a missing value)'
    found = from_text(text, wide=True, component="web", rename=rename, ignore_extra=True)
    assert found.series.keys == (SeriesKey("web", "busy"),)
    both = refusal("date,time,x\n0,0,1\n", "FT403", wide=True, component="web")
    assert '"date", "time" may all be the time' in str(both)


def test_each_row_of_a_wide_table_counts_once() -> None:
    text = "time_bin,a,b\nsoon,1,2\n0,x,y\n1,1,1\n"
    error = refusal(text, "FT404", wide=True, component="web")
    assert error.count == 2
    assert [(each.line, each.message.split(":")[0]) for each in error.errors] == [
        (2, 'time_bin "soon"'),
        (3, 'a "x"'),
        (3, 'b "y"'),
    ]


def test_rows_of_wide_tables_are_named_by_their_line() -> None:
    text = "time_bin,a,b\n0,1,2\n1,1,2\n0,5,6\n"
    error = refusal(text, "FT408", wide=True, component="web")
    assert [str(each) for each in error.errors] == [
        "standard input:4  FT408  web.a at 0 is there already, in row 2",
        "standard input:4  FT408  web.b at 0 is there already, in row 2",
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"wide": True}, "--component NAME, whose measures"),
        ({"component": "a"}, "--wide, is not given"),
        ({"wide": True, "component": "=a"}, "begins with '='"),
    ],
)
def test_wide_and_component_go_together(options: dict[str, Any], says: str) -> None:
    assert says in str(refusal("time_bin,a\n0,1\n", "FT418", **options))


# Delimiters and decimal commas.


def test_semicolons_and_commas() -> None:
    text = 'time_bin;component_id;measure;value\n0;a;m;1,5\n1;a;m;-2e3\n2;a;m;\n3;a;m;"7,25"\n'
    assert "give --delimiter ';'" in str(refusal(text, "FT403"))
    found = from_text(text, delimiter=";", decimal_comma=True)
    assert same_bits(found.series.values, np.array([[1.5, -2000.0, np.nan, 7.25]]))
    assert "give --delimiter tab" in str(refusal(text.replace(";", "\t"), "FT403"))
    assert from_text(text.replace(";", "\t"), delimiter="tab", decimal_comma=True).digest == found.digest


@pytest.mark.parametrize("value", ["1.5", "1.234,5", "1,5,5", "1,", ",", "١,٢", "1,5e", "NaN", "inf", "0x1"])
def test_points_and_thousands_are_not_guessed(value: str) -> None:
    text = f"time_bin;component_id;measure;value\n0;a;m;{value}\n"
    if value == "1,":
        assert from_text(text, delimiter=";", decimal_comma=True).series.values[0, 0] == 1.0
    else:
        assert "is not a number" in str(refusal(text, "FT404", delimiter=";", decimal_comma=True))


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "a", "1", "-", ".", "\n", "ü"])
def test_not_everything_separates(delimiter: str) -> None:
    text = "time_bin,component_id,measure,value\n0,a,m,1\n"
    if delimiter:
        assert "cannot stand between columns" in str(refusal(text, "FT418", delimiter=delimiter))


def test_delimiters_are_for_csv() -> None:
    line = '{"time_bin":0,"component_id":"a","measure":"m","value":1}\n'
    assert "are for CSV; this is NDJSON" in str(refusal(line, "FT418", delimiter=";"))


# Times.


@pytest.mark.parametrize(
    ("format", "zone", "times"),
    [
        ("%d.%m.%Y %H:%M", None, ["01.02.2025 00:00", "01.02.2025 01:00"]),
        ("%d.%m.%Y %H:%M", "+01:00", ["01.02.2025 01:00", "1.2.2025 2:00"]),
        ("%Y%m%d%H", "Europe/Berlin", ["2025020101", "2025020102"]),
        ("%m/%d/%y %I:%M %p", "America/New_York", ["01/31/25 07:00 PM", "01/31/25 08:00 PM"]),
        ("%Y-%m-%dT%H:%M:%S%z", None, ["2025-02-01T01:00:00+0100", "2025-01-31T20:00:00-0500"]),
        (None, "Asia/Kolkata", ["2025-02-01 05:30", "2025-02-01T06:30:00"]),
        (None, "UTC", ["2025-02-01", "2025-02-01T01:00"]),
        ("unix", None, ["1738368000", "1738371600.0"]),
        ("unix-ms", None, ["1738368000000", "1738371600000"]),
    ],
)
def test_times_of_every_spelling_and_zone(format: str | None, zone: str | None, times: list[str]) -> None:
    text = "time_bin,component_id,measure,value\n" + "".join(f"{t},a,m,{n}\n" for n, t in enumerate(times))
    found = from_text(text, time_format=format, timezone=zone).series
    assert found.grid == Grid(2, 1, "hours", parse_instant("2025-02-01T00:00:00Z"))


@pytest.mark.parametrize(
    ("times", "hint"),
    [
        (["01/02/2025", "02/02/2025"], "--time-format %d/%m/%Y or --time-format %m/%d/%Y"),
        (["01/02/2025", "13/02/2025"], "the times fit --time-format %d/%m/%Y"),
        (["02/13/2025 1:00 PM"], "the times fit --time-format '%m/%d/%Y %I:%M %p'"),
        (["soon"], "None"),
    ],
)
def test_the_spelling_is_suggested_only_where_it_fits(times: list[str], hint: str) -> None:
    text = "time_bin,component_id,measure,value\n" + "".join(f"{t},a,m,1\n" for t in times)
    assert str(refusal(text, "FT404").hint).endswith(hint)


def test_seconds_since_1970_are_recognised_as_too_large_an_index() -> None:
    text = "time_bin,component_id,measure,value\n1738368000,a,m,1\n"
    assert "--time-format unix (seconds)" in str(refusal(text, "FT409"))


@pytest.mark.parametrize(
    ("zone", "time", "says"),
    [
        (
            "Europe/Berlin",
            "2025-03-30 02:30",
            "never was in Europe/Berlin: clocks went forward from 02:00 to 03:00",
        ),
        (
            "Europe/Berlin",
            "2025-10-26 02:59:59",
            "was twice in Europe/Berlin: clocks went back from 03:00 to 02:00",
        ),
        ("Australia/Lord_Howe", "2025-10-05 02:15", "clocks went forward from 02:00 to 02:30"),
        ("Africa/Monrovia", "1972-01-07 00:10", "clocks went forward from 00:00 to 00:44:30"),
        ("Pacific/Apia", "2011-12-30 12:00", "clocks went forward from 00:00 to 00:00"),
    ],
)
def test_clocks_that_were_set(zone: str, time: str, says: str) -> None:
    text = f"time_bin,component_id,measure,value\n{time},a,m,1\n"
    error = refusal(text, "FT404", timezone=zone)
    assert says in error.errors[0].message
    assert "has a fixed offset" in str(error.hint)


@pytest.mark.parametrize("format", [None, "%Y-%m-%d %H:%M:%S"])
def test_zones_at_once_are_zones_one_by_one(format: str | None) -> None:
    hours = [
        f"2025-{month:02}-{day:02} {hour:02}:30:00"
        for month in (3, 7, 10)
        for day in (1, 29, 30)
        for hour in range(4)
    ]
    text = "time_bin,component_id,measure,value\n" + "".join(
        f"{t},a,m,1\n" for t in hours if t != "2025-03-30 02:30:00"
    )
    options: dict[str, Any] = {"timezone": "Europe/Berlin", "missing": "null"}
    found = from_text(text, time_format=format, **options)
    slow = from_text(text + '2025-10-30 05:30:00,a,m," 1"\n', time_format=format, **options)
    assert found.series.grid.start == slow.series.grid.start
    assert same_bits(found.series.values, slow.series.values[:, : found.series.grid.bins])
    naive = pl.DataFrame({"time_bin": hours[:2], "component_id": "a", "measure": "m", "value": 1.0})
    handle = io.BytesIO()
    naive.with_columns(pl.col("time_bin").str.to_datetime()).write_parquet(handle)
    start = from_text(handle.getvalue(), timezone="Europe/Berlin").series.grid.start
    assert start == parse_instant("2025-02-28T23:30:00Z") == found.series.grid.start


def test_times_with_an_offset_have_no_other_zone() -> None:
    text = "time_bin,component_id,measure,value\n2025-01-01T00:00:00Z,a,m,1\n"
    error = refusal(text, "FT404", timezone="Europe/Berlin")
    assert "has an offset of its own; --timezone Europe/Berlin is for times without one" in str(error)
    frame = pl.DataFrame(
        {"time_bin": ["2025-01-01T00:00:00Z"], "component_id": "a", "measure": "m", "value": 1.0}
    )
    handle = io.BytesIO()
    frame.with_columns(pl.col("time_bin").str.to_datetime(time_zone="UTC")).write_parquet(handle)
    assert "--timezone is for times without a zone" in str(
        refusal(handle.getvalue(), "FT418", timezone="+01:00")
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"timezone": "Europe/Berln"}, 'did you mean "Europe/Berlin"'),
        ({"timezone": "+25:00"}, "offsets like +01:00"),
        ({"timezone": "../../etc/passwd"}, "there is no time zone"),
        ({"time_format": "%H:%M"}, "says no year"),
        ({"time_format": "%Y %Q"}, "cannot be read"),
        ({"time_format": "unix", "timezone": "+01:00"}, "does not go with it"),
    ],
)
def test_zones_and_formats_that_are_none(options: dict[str, Any], says: str) -> None:
    assert says in str(refusal("time_bin,component_id,measure,value\n0,a,m,1\n", "FT417", **options))


# The end of a file, and files of any size.


def test_an_open_last_line_is_taken_from_others_and_said() -> None:
    found = from_text("ts,cpu\n0,1\n1,2", wide=True, component="web")
    assert found.series.values.tolist() == [[1, 2]]
    assert found.notes.read["open_end"] is True
    own = "time_bin,component_id,measure,value\n0,a,m,1"
    assert "may be cut off" in str(refusal(own, "FT402"))
    assert from_text("ts,cpu\n0,1\n1,2\n", wide=True, component="web").notes.read.get("open_end") is None


class Endless(io.RawIOBase):
    """A file of one line without end; fails when more than a little of it is asked for."""

    def __init__(self, head: bytes) -> None:
        self.left, self.head, self.at = 1 << 30, head, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset if whence == 0 else self.left
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int = -1) -> bytes:
        assert 0 < size <= BLOCK_BYTES
        assert self.at < 4 * BLOCK_BYTES, "a line of a gigabyte was read on"
        data = self.head[self.at : self.at + size].ljust(size, b"x")
        self.at += size
        return data


@pytest.mark.parametrize("head", [b"", b"time_bin,component_id,measure,value\n0,a,m,", b'{"time_bin":'])
def test_a_line_of_a_gigabyte_is_not_read(head: bytes) -> None:
    with pytest.raises(InvalidInput, match="is longer than 1,048,576 bytes"):
        import_file(cast("BinaryIO", Endless(head)))


def lines(count: int) -> Iterator[str]:
    for row in np.random.Generator(np.random.PCG64(1)).permutation(count).tolist():
        yield f"{row // 4},c{row % 4},m,{row}.5\n"


def test_rows_that_wait_on_the_disk_are_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "time_bin,component_id,measure,value\n" + "".join(lines(40_000))
    found = from_text(text)
    monkeypatch.setattr("flowtime.formats.align.IN_MEMORY", 1000)
    monkeypatch.setattr("flowtime.formats.readers.BLOCK_BYTES", 10_000)
    again = from_text(text)
    assert again.digest == found.digest
    assert IN_MEMORY > 1000
    twice = text + "7,c1,m,1\n" + "7,c1,m,2\n"
    error = refusal(twice, "FT408")
    first = twice.splitlines().index("7,c1,m,29.5") + 1
    assert [each.line for each in error.errors] == [40_002, 40_003]
    assert all(each.message.endswith(f"in row {first}") for each in error.errors)
    for how, value in (("first", 29.5), ("last", 2.0), ("sum", 32.5)):
        series = from_text(twice, duplicates=how).series
        assert series[SeriesKey("c1", "m")][7] == value


def test_progress_is_told_up_to_the_end() -> None:
    told: list[tuple[int, float | None]] = []
    text = "time_bin,component_id,measure,value\n" + "".join(lines(100))
    from_text(text, progress=lambda rows, share: told.append((rows, share)))
    assert told[-1] == (100, 1.0)


# The table of problems.


def test_problems_as_a_table_for_those_who_mend_them() -> None:
    header = "time_bin,component_id,measure,value\n"
    error = refusal(header + "".join(f"{n},=cmd,m,x\n" for n in range(1_500)), "FT404")
    rows = list(csv.reader(io.StringIO(problem_table(error).decode())))
    assert rows[0] == ["row", "code", "problem"]
    assert rows[1][:2] == ["2", "FT404"]
    assert rows[1][2].startswith('component_id "=cmd": ')
    assert len(rows) == 1_002
    assert rows[-1] == ["", "FT404", "500 more problems are not listed"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert problem_table(None) == b"row,code,problem\n"
    empty = refusal(header, "FT402")
    assert problem_table(empty).decode().splitlines()[1] == ",FT402,the file has no rows"


def test_columns_called_like_formulas_begin_no_cell_of_the_table() -> None:
    error = refusal("time_bin,=cmd,+cmd\nx,x,x\n", "FT404", wide=True, component="a")
    rows = list(csv.reader(io.StringIO(problem_table(error).decode())))
    assert rows[1][2].startswith('time_bin "x": is neither')
    assert rows[2][2].startswith('measure "+cmd": begins with')
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


def test_a_wide_table_with_our_column_names_says_each_problem_once() -> None:
    text = "time_bin,component_id,measure,value\n0,web,2,3\n1,1,x,3\n"
    error = refusal(text, "FT404", wide=True, component="a")
    said = [(each.line, each.message) for each in error.errors]
    why = "is not a number (an empty field is a missing value)"
    assert said == [(2, f'component_id "web": {why}'), (3, f'measure "x": {why}')]


def test_a_grid_that_would_end_after_the_calendar_is_refused() -> None:
    text = "time_bin,component_id,measure,value\n9999-12-30,a,m,1\n9999-12-31T12:00,a,m,2\n"
    assert "ends after the year 9999" in str(refusal(text, "FT405"))
    last = from_text(text.replace("T12:00", "")).series.grid
    assert Grid.from_json(last.to_json()) == last
