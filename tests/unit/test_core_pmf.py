"""Draws from a distribution follow their definition, whatever its size."""

from __future__ import annotations

import math
from bisect import bisect_right
from hashlib import sha256
from itertools import accumulate

import numpy as np
import pytest

from flowtime.core.pmf import FEW, Pmf, exact_sum


@pytest.mark.parametrize("size", [1, 2, 3, FEW + 1, FEW + 2, 300])
def test_a_draw_is_the_first_value_whose_cumulative_probability_exceeds_it(size: int) -> None:
    chances = [0.0 if index % 5 == 1 else index + 1.0 for index in range(size)]
    pmf = Pmf(tuple(float(7 * index % 1009) for index in range(size)), tuple(chances))
    cumulative = list(accumulate(pmf.weights))
    drawn = pmf.draw(2000, 42, "demand")
    key = np.frombuffer(sha256(b"demand").digest(), dtype="<u4").tolist()
    stream = np.random.PCG64(np.random.SeedSequence(42, spawn_key=tuple(key)))
    for raw, value in zip(stream.random_raw(2000).tolist(), drawn.tolist(), strict=True):
        index = bisect_right(cumulative, (raw >> 11) / 2**53)
        assert value == pmf.values[min(index, size - 1)]


def test_draws_stay_what_they_were() -> None:
    drawn = Pmf((1.0, 2.5, 4.0), (0.2, 0.5, 0.3)).draw(12, 42, "demand", 3)
    assert drawn.tolist() == [4.0, 1.0, 1.0, 1.0, 1.0, 4.0, 2.5, 4.0, 2.5, 4.0, 2.5, 1.0]


def test_weights_are_the_probabilities_over_their_sum() -> None:
    assert Pmf((1.0, 2.0), (0.75, 0.125)).weights == (0.75 / 0.875, 0.125 / 0.875)


def test_sums_are_exact_or_infinite() -> None:
    assert exact_sum([0.1] * 10) == 1.0
    assert exact_sum([1e308, 1e308]) == math.inf
