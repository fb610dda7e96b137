from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flowtime.core.series import SeriesKey
from flowtime.core.statistics import keys, summarise

nan = math.nan


def column(*samples: float) -> list[float]:
    """Mean, p05, p50 and p95 of one bin."""
    statistics, _ = summarise(np.array(samples).reshape(-1, 1))
    return statistics[:, 0].tolist()


def test_names_follow_the_measure() -> None:
    assert [str(key) for key in keys(SeriesKey("Checkout", "served"))] == [
        "Checkout.served.mean",
        "Checkout.served.p05",
        "Checkout.served.p50",
        "Checkout.served.p95",
    ]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ((7.0,), [7, 7, 7, 7]),
        ((1.0, 2.0), [1.5, 1.05, 1.5, 1.95]),
        (tuple(range(101)), [50, 5, 50, 95]),
        ((3.0, nan, 1.0, nan), [2, 1.1, 2, 2.9]),
        ((nan, nan), [nan, nan, nan, nan]),
        ((0.1,) * 7, [0.1, 0.1, 0.1, 0.1]),
        ((-0.0, 0.0), [0, 0, 0, 0]),
        ((-1.5e-323, 5e-324, 5e-324), [0, -1.5e-323, 5e-324, 5e-324]),  # a third of the least double is 0
        ((-1e308, 1e308), [0, -0.9e308, 0, 0.9e308]),
        ((1.7e308,) * 3, [1.7e308] * 4),
        ((1.7e308, 1.7e308, nan), [1.7e308] * 4),
        ((1.2e308, 1.6e308, nan), [1.4e308, 1.22e308, 1.4e308, 1.58e308]),
    ],
)
def test_by_hand(samples: tuple[float, ...], expected: list[float]) -> None:
    found = column(*samples)
    assert found == pytest.approx(expected, rel=1e-15, abs=0, nan_ok=True)
    assert all(math.copysign(1.0, value) > 0 for value in found if value == 0)


def test_counts_the_samples_that_are_there() -> None:
    _, present = summarise(np.array([[1.0, nan], [nan, nan], [2.0, nan]]))
    assert present.tolist() == [2, 0]


samples = arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.integers(1, 4)),
    elements=st.floats(-1e300, 1e300) | st.just(nan),
)


@given(samples)
def test_statistics_are_ordered_and_within_the_samples(values: np.ndarray) -> None:
    (mean, low, middle, high), present = summarise(values)
    there = present > 0
    assert np.isnan(mean[~there]).all()
    some = values[:, there]
    least, largest = np.fmin.reduce(some, axis=0), np.fmax.reduce(some, axis=0)
    for lower, upper in ((low, middle), (middle, high), (mean, mean)):
        assert (least <= lower[there]).all()
        assert (lower[there] <= upper[there]).all()
        assert (upper[there] <= largest).all()


@given(arrays(np.float64, (23, 3), elements=st.floats(-1e6, 1e6)))
def test_agrees_with_numpy(values: np.ndarray) -> None:
    (mean, *quantiles), _ = summarise(values)
    scale = np.abs(values).max() + 1e-300
    assert np.abs(mean - values.mean(axis=0)).max() <= 1e-14 * scale
    assert np.abs(quantiles - np.quantile(values, (0.05, 0.5, 0.95), axis=0)).max() <= 1e-14 * scale


@given(samples, st.randoms())
def test_the_order_of_samples_makes_no_difference(values: np.ndarray, random: object) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    assert summarise(values)[0].tobytes() == summarise(values[order])[0].tobytes()
