"""What a person says about a file on the command line."""

from __future__ import annotations

import pytest

from flowtime.core.grid import Grid, parse_instant
from flowtime.errors import InvalidInput
from flowtime.loop.imports import read_grid


def test_a_grid_is_read() -> None:
    assert read_grid("bins=3, size=5,unit=minutes") == Grid(3, 5, "minutes")
    start = parse_instant("2025-01-01T00:00:00Z")
    assert read_grid("start=2025-01-01,unit=days,size=1,bins=2") == Grid(2, 1, "days", start)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("24h", "it takes bins, size and unit"),
        ("bins=3,unit=hours", "it takes bins, size and unit"),
        ("bins=3,size=1,unit=hours,from=2025-01-01", "it takes bins, size and unit"),
        ("bins=0,size=1,unit=hours", "the number of bins is 0; 1 to 1,000,000 is allowed"),
        ("bins=three,size=1,unit=hours", "the number of bins is 'three'"),
        ("bins=3,size=0,unit=hours", "the size of a bin is 0; 1 or more is allowed"),
        ("bins=3,size=1,unit=months", "the unit is 'months'; seconds, minutes, hours, days, weeks"),
        ("bins=3,size=1,unit=hours,start=soon", "'soon'"),
        ("bins=3,size=1,unit=weeks,start=9999-12-30", "do not lie between the years 1 and 9999"),
        ("bins=1,size=99999999999999999999,unit=weeks", "do not lie between the years 1 and 9999"),
    ],
)
def test_a_grid_that_is_none_says_why(text: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_grid(text)
    assert refused.value.code == "FT808"
    assert why in str(refused.value)
