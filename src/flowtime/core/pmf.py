"""Probability mass functions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from flowtime.core.series import FloatArray

SUM_TOLERANCE = 1e-4
"""How far the probabilities' sum may be from 1 to be normalised instead of refused."""

FEW = 64
"""Up to so many values above the first, all cumulative probabilities are compared with every draw."""


def exact_sum(numbers: Iterable[float]) -> float:
    """The exactly rounded sum of finite numbers; infinite where it, or a part of it, overflows."""
    try:
        return math.fsum(numbers)
    except OverflowError:
        return math.inf


@dataclass(frozen=True, slots=True)
class Pmf:
    """Distinct finite `values` with their `probabilities`, in the document's order, as written.

    `weights` are the probabilities divided by their exact sum. The document's own numbers are kept, so
    that writing and reading a model again changes no bit.
    """

    values: tuple[float, ...]
    probabilities: tuple[float, ...]

    @property
    def weights(self) -> tuple[float, ...]:
        """The normalised probabilities."""
        total = math.fsum(self.probabilities)
        return tuple(p / total for p in self.probabilities)

    @property
    def expectation(self) -> float:
        """The exactly rounded sum of value x probability; infinite where it overflows."""
        return exact_sum(v * w for v, w in zip(self.values, self.weights, strict=True))

    def draw(self, bins: int, seed: int, node_id: str, sample: int | None = None) -> FloatArray:
        """`(bins,)` independent draws from the node's own stream.

        The stream is PCG64 over SeedSequence(seed, spawn_key), the key being the eight little-endian
        uint32 words of SHA-256(node id), then the sample number when there are samples. Each draw is
        u = (raw >> 11) / 2^53 turned into the first value whose cumulative probability, summed left to
        right, exceeds u (else the last). Raw bit streams are stable across NumPy versions.
        """
        words = np.frombuffer(hashlib.sha256(node_id.encode()).digest(), dtype="<u4").tolist()
        key = tuple(words) if sample is None else (*words, sample)
        stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))
        raw = stream.random_raw(bins)
        raw >>= np.uint64(11)
        uniform = raw * 2.0**-53
        reached = np.add.accumulate(np.array(self.weights))[:-1]
        if len(reached) > FEW:
            return np.array(self.values).take(np.searchsorted(reached, uniform, side="right"))
        # counting is four times as fast as searching, which random numbers make guess wrong
        index, passed = np.zeros(bins, dtype=np.uint8), np.empty(bins, dtype=bool)
        for value in reached.tolist():
            np.greater_equal(uniform, value, out=passed)
            index += passed.view(np.uint8)
        return np.array(self.values).take(index)
