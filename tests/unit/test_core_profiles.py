from __future__ import annotations

import math

import numpy as np
import pytest

from flowtime.core.grid import Grid, parse_instant
from flowtime.core.profiles import HOURLY, daily_profile


@pytest.mark.parametrize("name", HOURLY)
def test_a_day_has_24_weights_with_mean_exactly_1(name: str) -> None:
    weights = [part / 64 for part in HOURLY[name]]
    assert len(weights) == 24
    assert min(weights) >= 0
    assert math.fsum(weights) / 24 == 1.0


@pytest.mark.parametrize("name", HOURLY)
def test_hourly_bins_hold_the_weights_by_the_clock(name: str) -> None:
    weights = [part / 64 for part in HOURLY[name]]
    assert daily_profile(name, Grid(26)).tolist() == [*weights, *weights[:2]]
    started = Grid(3, start=parse_instant("2025-03-01T22:00:00Z"))
    assert daily_profile(name, started).tolist() == [weights[22], weights[23], weights[0]]
    before_1970 = Grid(2, start=parse_instant("1969-12-31T23:00:00Z"))
    assert daily_profile(name, before_1970).tolist() == [weights[23], weights[0]]


@pytest.mark.parametrize("name", HOURLY)
def test_a_bin_takes_the_average_over_its_span(name: str) -> None:
    weights = [part / 64 for part in HOURLY[name]]
    assert daily_profile(name, Grid(12, 5, "minutes")).tolist() == [weights[0]] * 12
    across = Grid(1, 1, "hours", parse_instant("2025-01-01T07:45:00Z"))
    assert daily_profile(name, across).tolist() == [weights[7] / 4 + weights[8] * 3 / 4]
    assert daily_profile(name, Grid(2, 1, "days")).tolist() == [1.0, 1.0]
    assert daily_profile(name, Grid(2, 3, "weeks")).tolist() == [1.0, 1.0]
    uneven = daily_profile(name, Grid(1, 25, "hours"))
    assert uneven.tolist() == [pytest.approx((24 + weights[0]) / 25, rel=1e-15)]


def test_any_bin_length_keeps_the_mean_over_whole_days() -> None:
    for size in (7, 13, 47):
        values = daily_profile("rush-hour", Grid(1440, size, "minutes"))
        assert np.mean(values) == pytest.approx(1.0, rel=1e-12)
