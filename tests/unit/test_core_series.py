"""Series: what stands where, and the line of blocks that shows a series' shape."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtime.core.grid import Grid
from flowtime.core.series import MAX_NAME, SeriesKey, SeriesSet, floats, name_problem, same_bits, sparkline

BLOCKS = "▁▂▃▄▅▆▇█"


def test_a_series_is_found_by_its_key() -> None:
    keys = (SeriesKey("shop", "served"), SeriesKey("shop", "errors"))
    series = SeriesSet(Grid(2), keys, (None, None), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert series[SeriesKey("shop", "errors")].tolist() == [3.0, 4.0]
    with pytest.raises(KeyError, match="queue"):
        series[SeriesKey("shop", "queue")]


def test_numbers_become_floats_wherever_they_come_from() -> None:
    for values in ([1, None, 2.5], iter((1, None, 2.5)), np.array([1, math.nan, 2.5])):
        assert same_bits(floats(values), np.array([1.0, math.nan, 2.5]))


def test_names_that_files_cannot_carry_are_refused() -> None:
    assert [name_problem(name) for name in ("served", "x", "a, b", "Ü=1", "x" * MAX_NAME)] == [None] * 5
    assert [name_problem(name) for name in ("", "x" * (MAX_NAME + 1))] == [
        "has 0 characters; 1 to 200 are allowed",
        "has 201 characters; 1 to 200 are allowed",
    ]
    for first in "=+-@":
        assert f"begins with '{first}', which spreadsheets" in str(name_problem(f"{first}served"))
    for control in ("\x00", "\n", "\u2028", "\u2029", "\ud800"):
        assert "contains the control character" in str(name_problem(f"a{control}b"))


def test_sets_are_equal_where_nothing_differs() -> None:
    def series(grid: Grid, measure: str, unit: str | None, *values: float) -> SeriesSet:
        return SeriesSet(grid, (SeriesKey("shop", measure),), (unit,), np.array([values]))

    one = series(Grid(2), "served", None, 0.0, math.nan)
    assert one.equals(series(Grid(2), "served", None, 0.0, math.nan))
    assert not one.equals(series(Grid(2), "served", None, -0.0, math.nan))
    assert not one.equals(series(Grid(2), "served", None, math.nan, 0.0))
    assert not one.equals(series(Grid(2), "served", "orders", 0.0, math.nan))
    assert not one.equals(series(Grid(2), "errors", None, 0.0, math.nan))
    assert not one.equals(series(Grid(2, start=0), "served", None, 0.0, math.nan))
    assert not same_bits(np.zeros(2), np.zeros(3))


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([5.0], "▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([1.0, math.nan, 2.0], "▁ █"),
        ([math.nan, math.nan], "  "),
        ([0.1] * 1000, "▁" * 24),
        ([1e308] * 1000, "▁" * 24),
        ([-1e308] * 480 + [1e308] * 480, "▁" * 12 + "█" * 12),
        ([1e300, 1.0000000000001e300], "▁▁"),
        ([-3.0, -2.0], "▁█"),
        ([2.0, 2.0] * 12 + [2.0, math.nan] * 12, "▁" * 24),
    ],
)
def test_sparkline_shows_the_shape(values: list[float], line: str) -> None:
    assert sparkline(values) == line
    assert sparkline(np.array(values, dtype=np.float64)) == line


@given(st.lists(st.integers(-1000, 1000) | st.just(math.nan), min_size=1, max_size=120), st.integers(1, 30))
def test_sparkline_is_the_mean_of_each_share(values: list[float], width: int) -> None:
    shares = [share.tolist() for share in np.array_split(np.array(values), min(width, len(values)))]
    present = [[value for value in share if not math.isnan(value)] for share in shares]
    means = [statistics.fmean(share) if share else math.nan for share in present]
    known = [mean for mean in means if not math.isnan(mean)]
    line = sparkline(values, width)
    assert len(line) == len(means)
    for block, mean in zip(line, means, strict=True):
        if math.isnan(mean):
            assert block == " "
        else:
            span = max(known) - min(known)
            level = (mean - min(known)) / span * 7.999 if span > 1e-9 else 0.0
            assert abs(BLOCKS.index(block) + 0.5 - level) <= 0.5 + 1e-6
