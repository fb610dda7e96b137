"""Charts: the window that was asked for, extremes that reduction never loses, and the packed form."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtime.analysis.chart import MAX_VALUES, Chart, chart
from flowtime.core.grid import Grid
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.errors import InvalidInput


def held(*rows: list[float]) -> SeriesSet:
    keys = tuple(SeriesKey("shop", f"m{row}") for row in range(len(rows)))
    units = tuple("orders" if row % 2 else None for row in range(len(rows)))
    return SeriesSet(Grid(len(rows[0])), keys, units, np.array(rows, dtype=float))


def unpacked(data: bytes) -> tuple[dict, np.ndarray]:
    """A packed chart as the pages read it."""
    length = int.from_bytes(data[:4], "little")
    head = json.loads(data[4 : 4 + length])
    values = np.frombuffer(data, "<f4", offset=4 + length)
    return head, values.reshape(len(head["series"]), len(head["bins"]))


def test_a_window_that_fits_is_every_value_of_the_rows_asked_for() -> None:
    shown = chart(held([1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, math.nan]), (2, 0), 1, 4, 3).to_json()
    assert not shown["decimated"]
    assert (shown["from"], shown["to"], shown["bins"]) == (1, 4, [1, 2, 3])
    assert [entry["values"] for entry in shown["series"]] == [[10, 11, None], [2, 3, 4]]
    assert [(entry["index"], entry["measure"], entry["unit"]) for entry in shown["series"]] == [
        (2, "m2", None),
        (0, "m0", None),
    ]


def test_every_two_points_are_the_minimum_and_maximum_of_their_bins() -> None:
    shown = chart(held([3, 1, 2, 9, 8, 7, math.nan, 4, math.nan, math.nan]), (0,), points=10 // 2)
    assert shown.decimated
    assert shown.bins.tolist() == [0, 2, 5, 7]
    assert shown.values.tolist() == [[1, 9, 4, 7]]
    nothing = chart(held([math.nan] * 4), (0,), points=2)
    assert nothing.to_json()["series"][0]["values"] == [None, None]


@given(
    st.lists(st.one_of(st.floats(-1e9, 1e9), st.just(math.nan)), min_size=3, max_size=80),
    st.integers(2, 60),
    st.data(),
)
def test_reduction_keeps_the_extremes_and_stays_within_the_points(
    values: list[float], points: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(values) - 1))
    stop = data.draw(st.integers(start + 1, len(values)))
    shown = chart(held(values), (0,), start, stop, points)
    window = np.array(values[start:stop])
    assert shown.values.shape == (1, len(shown.bins))
    assert len(shown.bins) <= points
    assert (np.diff(shown.bins) >= 0).all() and start <= shown.bins[0] and shown.bins[-1] < stop
    if np.isnan(window).all():
        assert np.isnan(shown.values).all()
    else:
        assert np.nanmin(shown.values) == np.nanmin(window)
        assert np.nanmax(shown.values) == np.nanmax(window)
    if shown.decimated:
        # Pair by pair: what the bins up to the next pair hold, no more and no less.
        edges = [*shown.bins[0::2].tolist(), stop]
        for pair, (first, after) in enumerate(pairwise(edges)):
            piece = np.array(values[first:after])
            low, high = shown.values[0, 2 * pair : 2 * pair + 2]
            if np.isnan(piece).all():
                assert math.isnan(low) and math.isnan(high)
            else:
                assert (low, high) == (np.nanmin(piece), np.nanmax(piece))


def test_the_packed_form_says_the_same_in_single_precision() -> None:
    shown = chart(held([0.1, math.nan, 1e300], [1, 2, 3]), (0, 1))
    head, values = unpacked(shown.to_bytes())
    assert head == shown.head()
    assert values[0, 0] == np.float32(0.1)
    assert math.isnan(values[0, 1])
    assert values[0, 2] == math.inf  # beyond single precision; the JSON has it exactly
    assert values[1].tolist() == [1, 2, 3]
    assert shown.to_json()["series"][0]["values"] == [0.1, None, 1e300]


@pytest.mark.parametrize("length", range(4))
def test_the_values_of_a_packed_chart_begin_at_a_multiple_of_four_bytes(length: int) -> None:
    series = SeriesSet(Grid(1), (SeriesKey("x" * (length + 1), "m"),), (None,), np.array([[1.0]]))
    data = chart(series, (0,)).to_bytes()
    assert int.from_bytes(data[:4], "little") % 4 == 0
    assert unpacked(data)[1].tolist() == [[1.0]]


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 2), (3, 2), (0, 5), (4, None)])
def test_bins_that_are_not_there_are_refused(start: int, stop: int | None) -> None:
    with pytest.raises(InvalidInput, match="there are no bins from") as caught:
        chart(held([1, 2, 3, 4]), (0,), start, stop)
    assert caught.value.code == "FT813"
    assert caught.value.hint == "bins count from 0 to 4"


def test_more_numbers_than_a_chart_takes_are_refused_and_fewer_points_are_not() -> None:
    bins, rows = 100_000, MAX_VALUES // 100_000 + 1
    wide = SeriesSet(
        Grid(bins),
        tuple(SeriesKey("c", f"m{i}") for i in range(rows)),
        (None,) * rows,
        np.zeros((rows, bins)),
    )
    with pytest.raises(InvalidInput, match="41 series of 100,000 points are more than a chart takes"):
        chart(wide, range(rows))
    reduced: Chart = chart(wide, range(rows), points=1000)
    assert reduced.values.shape == (rows, 1000)
