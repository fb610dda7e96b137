"""Differences between two sets of series, and where grids meet."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtime.analysis.compare import align, compare
from flowtime.analysis.gate import gate
from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.errors import InvalidInput
from flowtime.wanted import wanted_while

NEW_YEAR = parse_instant("2025-01-01T00:00:00Z")
HOUR = 3_600_000_000
nan = float("nan")


def series(grid: Grid, **rows: list[float]) -> SeriesSet:
    keys = tuple(SeriesKey(name, "value") for name in rows)
    return SeriesSet(grid, keys, (None,) * len(keys), np.array(list(rows.values()), dtype=np.float64))


def within(a: SeriesSet, b: SeriesSet, *threshold: str | float, **wanted: Any) -> bool:
    judge = gate(threshold, **wanted)
    assert judge is not None
    return judge.judge(compare(a, b)).within


def test_equal_series_are_equal() -> None:
    one = series(Grid(3), a=[1, 2, nan], b=[0, 0, 0])
    result = compare(one, one)
    assert result.equal
    assert within(one, one, 0)
    assert [entry.mean_deviation for entry in result.series] == [0.0, 0.0]


def test_differences_are_comparison_minus_baseline() -> None:
    (entry,) = compare(series(Grid(4), a=[10, 10, 10, 10]), series(Grid(4), a=[10, 7, 12, 10])).series
    assert (entry.mean_difference, entry.max_difference, entry.first_bin) == (-0.25, -3.0, 1)
    assert entry.rmse == pytest.approx((13 / 4) ** 0.5)
    assert (entry.mean_deviation, entry.change_of_mean) == (5 / 40, -1 / 40)
    assert (entry.first_baseline, entry.first_comparison, entry.differing_bins) == (10.0, 7.0, 2)


def test_a_value_on_one_side_only_counts_as_different() -> None:
    a, b = series(Grid(3), a=[1, nan, 3]), series(Grid(3), a=[1, 2, 3])
    result = compare(a, b)
    (entry,) = result.series
    assert (entry.missing_on_one_side, entry.first_bin, entry.first_baseline) == (1, 1, None)
    assert (entry.mean_deviation, result.equal) == (0.0, False)
    assert not within(a, b, 0.9)
    assert within(a, b, 0, allow_missing=True)


@pytest.mark.parametrize("by", ["bin", "mean", "peak"])
def test_nothing_that_differs_from_zero_is_within_a_share_of_it(by: str) -> None:
    a, b = series(Grid(1), a=[0]), series(Grid(1), a=[1])
    entry = compare(a, b).series[0]
    assert (entry.change_of_mean, entry.mean_deviation, entry.bin_deviation) == (None, None, None)
    assert not within(a, b, "1000000000%", by=by)
    assert within(a, b, "abs:1", by=by)
    assert not within(a, b, "abs:0.99", by=by)


def test_the_change_of_a_mean_is_that_of_the_means() -> None:
    def change(a: list[float], b: list[float]) -> float | None:
        return compare(series(Grid(len(a)), a=a), series(Grid(len(b)), a=b)).series[0].change_of_mean

    assert change([10, 30], [30, 10]) == 0
    assert change([100, 200], [150, 152.55]) == pytest.approx(0.0085)
    assert change([-10, -10], [-5, -5]) == 0.5
    assert change([0, 0], [0, 0]) == 0
    assert change([1, nan, 5], [2, 9, nan]) == 1


def test_means_that_differ_by_rounding_are_equal() -> None:
    for a, b in (
        ([0.1, 0.2, 0.3, 0.7], [0.7, 0.3, 0.2, 0.1]),
        ([0.1 + 0.2, -0.3], [0.3, -0.3]),
        ([1e16, 1.0, -1e16], [1e16, 3.0, -1e16]),
    ):
        (entry,) = compare(series(Grid(len(a)), a=a), series(Grid(len(b)), a=b)).series
        assert (entry.change_of_mean, entry.mean_difference, entry.equal) == (0.0, 0.0, False)


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6) | st.just(nan), st.floats(-1e6, 1e6) | st.just(nan)), min_size=1)
)
def test_all_figures_are_over_the_bins_that_both_have(pairs: list[tuple[float, float]]) -> None:
    a, b = ([pair[side] for pair in pairs] for side in (0, 1))
    (entry,) = compare(series(Grid(len(a)), a=a), series(Grid(len(b)), a=b)).series
    both = [(x, y) for x, y in pairs if not math.isnan(x) and not math.isnan(y)]
    assert entry.bins == len(both)
    if not both:
        assert (entry.mean_baseline, entry.change_of_mean, entry.bin_deviation) == (None, None, None)
        return
    before, after = (statistics.fmean(side) for side in zip(*both, strict=True))
    level = statistics.fmean(abs(x) for x, _ in both)
    assert entry.mean_baseline == pytest.approx(before, rel=1e-9, abs=1e-9)
    if abs(before) > 1e-6 * level and entry.change_of_mean is not None:
        assert entry.change_of_mean == pytest.approx((after - before) / abs(before), rel=1e-6, abs=1e-5)
    if entry.bin_deviation is not None and level > 1e-300:
        furthest = max(abs(y - x) / max(abs(x), 0.01 * level) for x, y in both)
        assert entry.bin_deviation == pytest.approx(furthest, rel=1e-9)


def test_units_that_differ_are_said_and_are_not_equal() -> None:
    def stated(unit: str | None) -> SeriesSet:
        return replace(series(Grid(2), a=[1, 2]), units=(unit,))

    result = compare(stated("ms"), stated("s"))
    assert not result.equal
    assert result.series[0].notes == ("the baseline counts ms, the comparison s; values are not converted",)
    assert not within(stated("ms"), stated("s"), "5%", allow_missing=True)
    assert compare(stated("ms"), stated(None)).equal


def test_series_on_one_side_only_are_listed() -> None:
    a, b = series(Grid(1), a=[1], b=[1]), series(Grid(1), b=[1], c=[1])
    result = compare(a, b)
    assert [str(key) for key in result.only_in_baseline] == ["a.value"]
    assert [str(key) for key in result.only_in_comparison] == ["c.value"]
    assert not within(a, b, "100%")
    assert within(a, b, "100%", allow_missing=True)
    assert within(a, b, "b.*=100%")


def test_grids_meet_where_their_times_do() -> None:
    early, late = Grid(4, start=NEW_YEAR), Grid(4, start=NEW_YEAR + 2 * HOUR)
    result = compare(series(early, a=[0, 1, 2, 3]), series(late, a=[2, 9, 4, 5]))
    assert (result.alignment.bins, result.alignment.by) == (2, "time")
    assert result.series[0].first_time_bin == "2025-01-01T03:00:00Z"
    assert not result.equal


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (Grid(2), Grid(2, start=NEW_YEAR), "the baseline counts its bins"),
        (
            Grid(2),
            Grid(2, 5, "minutes"),
            "the baseline has 2 bins of 1 hour, the comparison 2 bins of 5 minutes",
        ),
        (Grid(2, start=NEW_YEAR), Grid(2, start=NEW_YEAR + 1), "begin at different times"),
        (Grid(2, start=NEW_YEAR), Grid(2, start=NEW_YEAR + 2 * HOUR), "do not overlap"),
    ],
)
def test_grids_that_do_not_meet_are_explained(a: Grid, b: Grid, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        align(a, b)


def test_units_of_the_same_length_meet() -> None:
    assert align(Grid(3, 60, "minutes"), Grid(3, 1, "hours")).bins == 3


def test_what_is_left_out_of_unlike_grids_is_said() -> None:
    early, late = Grid(4, start=NEW_YEAR), Grid(6, start=NEW_YEAR + HOUR)
    assert align(early, early).note == "all 4 bins"
    assert align(early, late).note == (
        "the 3 bins that both have; the baseline begins 1 bin earlier, the comparison ends 3 bins later"
    )
    assert align(late, early).note == (
        "the 3 bins that both have; the baseline ends 3 bins later, the comparison begins 1 bin earlier"
    )


def test_the_shape_of_a_difference_is_drawn() -> None:
    result = compare(
        series(Grid(4), a=[1, 1, 1, 1], b=[2, 2, 2, 2]), series(Grid(4), a=[1, 1, 9, 1], b=[2, 2, 2, 2])
    )
    assert [entry.spark for entry in result.series] == ["▁▁█▁", ""]


def test_a_constant_difference_is_not_an_empty_line() -> None:
    for gap in (405, -405, 1e-9):
        result = compare(series(Grid(4), a=[1] * 4), series(Grid(4), a=[1 + gap] * 4))
        assert result.series[0].spark == "████"


@dataclass(frozen=True, slots=True)
class Counted(SeriesKey):
    """A key that counts how often it is hashed."""

    def __hash__(self) -> int:
        hashed.append(self.component)
        return hash((self.component, self.measure))


hashed: list[str] = []


def test_each_key_is_looked_up_a_few_times_however_many_there_are() -> None:
    count = 500
    sides = [
        SeriesSet(Grid(1), tuple(Counted(f"{side}{i}", "x") for i in range(count)), (None,) * count, values)
        for side, values in (("a", np.zeros((count, 1))), ("b", np.ones((count, 1))))
    ]
    hashed.clear()
    result = compare(*sides)
    assert len(result.only_in_baseline) == len(result.only_in_comparison) == count
    assert len(hashed) <= 10 * count


def test_a_comparison_stops_when_nobody_wants_it() -> None:
    one = series(Grid(1), **{f"n{i}": [1.0] for i in range(100)})
    asked: list[None] = []

    def ask() -> None:
        asked.append(None)
        if len(asked) == 3:
            raise TimeoutError

    with wanted_while(ask), pytest.raises(TimeoutError):
        compare(one, one)
    assert len(asked) == 3
