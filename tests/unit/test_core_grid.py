"""The grid: its words, its documents, and instants as text."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowtime.core.grid import (
    BIN_UNITS,
    MAX_BINS,
    MAX_INSTANT,
    MIN_INSTANT,
    BinUnit,
    Grid,
    format_instant,
    parse_instant,
)

DAY = parse_instant("2025-03-01T00:00:00Z")


@pytest.mark.parametrize(
    ("grid", "text"),
    [
        (Grid(), "24 bins of 1 hour"),
        (Grid(1, 1, "hours"), "1 bin of 1 hour"),
        (Grid(24, 5, "minutes"), "24 bins of 5 minutes"),
        (Grid(2, 1, "weeks", DAY), "2 bins of 1 week from 2025-03-01T00:00:00Z"),
    ],
)
def test_a_grid_in_words(grid: Grid, text: str) -> None:
    assert str(grid) == text


@pytest.mark.parametrize("unit", BIN_UNITS)
def test_a_unit_is_as_long_as_its_name_says(unit: BinUnit) -> None:
    assert timedelta(microseconds=Grid(bin_unit=unit).step) == timedelta(**{unit: 1})


def test_bins_have_their_times_or_their_index() -> None:
    counted, clock = Grid(3), Grid(3, 6, "hours", DAY)
    assert [counted.time_bin(2), counted.label(2), counted.end] == [2, "2", None]
    assert clock.time_bin(2) == DAY + 12 * 3_600_000_000
    assert [clock.label(2), format_instant(clock.end)] == ["2025-03-01T12:00:00Z", "2025-03-01T18:00:00Z"]


@pytest.mark.parametrize("grid", [Grid(), Grid(1), Grid(MAX_BINS), Grid(7, 2, "days", DAY)])
def test_a_document_reads_back_as_the_grid(grid: Grid) -> None:
    assert Grid.from_json(grid.to_json()) == grid


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bins": 0}, "number of bins is 0"),
        ({"bins": MAX_BINS + 1}, "number of bins is 1000001; 1 to 1,000,000"),
        ({"bins": 2.0}, "number of bins is 2.0"),
        ({"bins": True}, "number of bins is True"),
        ({"binSize": 0}, "size of a bin is 0"),
        ({"binSize": "1"}, "size of a bin is '1'"),
        ({"binUnit": "months"}, "unit is 'months'; seconds, minutes"),
        ({"start": "yesterday"}, "isoformat"),
        ({"bins": 2, "binUnit": "days", "start": "9999-12-31"}, "between the years 1 and 9999"),
        ({"bins": MAX_BINS, "binUnit": "weeks"}, "between the years 1 and 9999"),
        (
            {"bins": 1, "binUnit": "seconds", "start": "9999-12-31T23:59:59.000001Z"},
            "between the years 1 and 9999",
        ),
    ],
)
def test_anything_else_is_no_grid(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Grid.from_json({"bins": 24, "binSize": 1, "binUnit": "hours", **change})


def test_a_grid_may_end_with_the_last_year() -> None:
    last = {"bins": 1, "binSize": 1, "binUnit": "days", "start": "9999-12-31T00:00:00Z"}
    assert Grid.from_json(last).to_json() == last
    # 9,999 years, 2,424 of which are leap years
    longest = {"bins": 1, "binSize": 9999 * 365 + 2424, "binUnit": "days", "start": "0001-01-01T00:00:00Z"}
    assert Grid.from_json(longest).to_json() == longest


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2025-03-01", "2025-03-01T00:00:00Z"),
        ("2025-03-01T02:00:00+02:00", "2025-03-01T00:00:00Z"),
        ("2025-03-01T00:00:00.25Z", "2025-03-01T00:00:00.25Z"),
        ("2025-03-01T00:00:10.100000000Z", "2025-03-01T00:00:10.1Z"),
        ("2025-03-01T00:00:00.1234560-01:00", "2025-03-01T01:00:00.123456Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_instants_are_written_in_utc_with_the_digits_they_need(text: str, written: str) -> None:
    assert format_instant(parse_instant(text)) == written


def test_instants_lie_in_the_years_1_to_9999() -> None:
    assert format_instant(MIN_INSTANT) == "0001-01-01T00:00:00Z"
    assert format_instant(MAX_INSTANT) == "9999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize("text", ["2025-03-01T00:00:00.1234561Z", "2025-03-01 00:00:00,1234561"])
def test_digits_finer_than_a_microsecond_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="finer than a microsecond"):
        parse_instant(text)
