"""Differences between two sets of series, and where grids meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from flowtime.analysis.compare import align, compare
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


def test_equal_series_are_equal() -> None:
    one = series(Grid(3), a=[1, 2, nan], b=[0, 0, 0])
    result = compare(one, one)
    assert result.equal
    assert result.within(0)
    assert [entry.relative for entry in result.series] == [0.0, 0.0]


def test_differences_are_comparison_minus_baseline() -> None:
    (entry,) = compare(series(Grid(4), a=[10, 10, 10, 10]), series(Grid(4), a=[10, 7, 12, 10])).series
    assert (entry.mean_difference, entry.max_difference, entry.first_bin) == (-0.25, -3.0, 1)
    assert entry.rmse == pytest.approx((13 / 4) ** 0.5)
    assert entry.relative == 5 / 40
    assert (entry.first_baseline, entry.first_comparison, entry.differing_bins) == (10.0, 7.0, 2)


def test_a_value_on_one_side_only_counts_as_different() -> None:
    result = compare(series(Grid(3), a=[1, nan, 3]), series(Grid(3), a=[1, 2, 3]))
    (entry,) = result.series
    assert (entry.missing_on_one_side, entry.first_bin, entry.first_baseline) == (1, 1, None)
    assert (entry.relative, result.equal, result.within(1)) == (0.0, False, False)


def test_nothing_that_differs_from_zero_is_within_any_threshold() -> None:
    result = compare(series(Grid(1), a=[0]), series(Grid(1), a=[1]))
    assert result.series[0].relative is None
    assert not result.within(1e9)


def test_series_on_one_side_only_are_listed() -> None:
    result = compare(series(Grid(1), a=[1], b=[1]), series(Grid(1), b=[1], c=[1]))
    assert [str(key) for key in result.only_in_baseline] == ["a.value"]
    assert [str(key) for key in result.only_in_comparison] == ["c.value"]
    assert not result.within(1)


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
