"""Parameters: numbers that a run may set, with their bounds and with spreads to draw them from."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from flowtime.core import elementary
from flowtime.core.arithmetic import round_half_away
from flowtime.core.expression import format_number
from flowtime.core.pmf import Pmf


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every number between `low` and `high` is as likely."""

    low: float
    high: float

    def at(self, u: float) -> float:
        """The number that a share u, 0 < u < 1, of all draws stays below."""
        return self.low + (self.high - self.low) * u


@dataclass(frozen=True, slots=True)
class Triangular:
    """Numbers between `low` and `high`, most often near `mode`."""

    low: float
    mode: float
    high: float

    def at(self, u: float) -> float:
        """The number that a share u, 0 < u < 1, of all draws stays below."""
        width = self.high - self.low
        if u * width < self.mode - self.low:
            return self.low + math.sqrt(u * width * (self.mode - self.low))
        return self.high - math.sqrt((1.0 - u) * width * (self.high - self.mode))


@dataclass(frozen=True, slots=True)
class Normal:
    """The bell curve with a mean and a standard deviation."""

    mean: float
    deviation: float

    def at(self, u: float) -> float:
        """The number that a share u, 0 < u < 1, of all draws stays below."""
        return self.mean + self.deviation * standard_normal(u)


Spread = Pmf | Uniform | Triangular | Normal


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number for a whole run: `value` unless a run sets it, or draws it from `spread`.

    `title` and `description` do not change its meaning.
    """

    id: str
    value: float
    minimum: float = -math.inf
    maximum: float = math.inf
    integer: bool = False
    unit: str | None = None
    title: str | None = None
    description: str | None = None
    spread: Spread | None = None

    @property
    def allowed(self) -> str:
        """The values that it takes, as a message says it."""
        kind = "a whole number" if self.integer else "a number"
        low, high = self.minimum > -math.inf, self.maximum < math.inf
        if low and high:
            return f"{kind} from {format_number(self.minimum)} to {format_number(self.maximum)}"
        if low:
            return f"{kind} of at least {format_number(self.minimum)}"
        return f"{kind} of at most {format_number(self.maximum)}" if high else kind

    def takes(self, value: float) -> bool:
        """Whether a value is allowed."""
        whole = not self.integer or value.is_integer()
        return math.isfinite(value) and whole and self.minimum <= value <= self.maximum

    def draw(self, seed: int, sample: int) -> tuple[float, bool]:
        """The value for one sample, and whether the draw had to be moved into the bounds.

        The stream is PCG64 over SeedSequence(seed, spawn_key), the key being the eight little-endian uint32
        words of SHA-256("parameter:" + id), then the sample number; its first output gives
        u = ((raw >> 11) + 1/2) / 2^53.
        """
        if self.spread is None:
            return self.value, False
        words = np.frombuffer(hashlib.sha256(f"parameter:{self.id}".encode()).digest(), dtype="<u4").tolist()
        stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(*words, sample)))
        u = ((int(stream.random_raw()) >> 11) + 0.5) * 2.0**-53
        drawn = quantile(self.spread, u)
        if self.integer:
            drawn = round_half_away(drawn) + 0.0
        kept = min(max(drawn, self.minimum), self.maximum)
        return kept, kept != drawn


def quantile(spread: Spread, u: float) -> float:
    """The number that a share u, 0 < u < 1, of all draws from a spread stays below."""
    if not isinstance(spread, Pmf):
        return spread.at(u)
    for value, reached in zip(spread.values, accumulate(spread.weights), strict=True):
        if reached > u:
            return value
    return spread.values[-1]


def standard_normal(u: float) -> float:
    """The inverse of the standard normal distribution, 0 < u < 1: Wichura's PPND16 (AS 241, 1988).

    Relative error about 1e-16; IEEE operations alone.
    """
    q = u - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * _horner(_A, r) / _horner(_B, r)
    r = math.sqrt(-elementary.log(min(u, 1.0 - u)))
    tail = _horner(_C, r - 1.6) / _horner(_D, r - 1.6)
    if r > 5.0:
        tail = _horner(_E, r - 5.0) / _horner(_F, r - 5.0)
    return math.copysign(tail, q)


def _horner(coefficients: tuple[float, ...], x: float) -> float:
    total = 0.0
    for coefficient in coefficients:
        total = total * x + coefficient
    return total


_A = (
    *(2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4),
    *(1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
)
_B = (
    *(5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4),
    *(5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)
_C = (
    *(7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1),
    *(1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0),
    *(4.63033784615654529590e0, 1.42343711074968357734e0),
)
_D = (
    *(1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2),
    *(1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0),
    *(2.05319162663775882187e0, 1.0),
)
_E = (
    *(2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3),
    *(2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0),
    *(5.46378491116411436990e0, 6.65790464350110377720e0),
)
_F = (
    *(2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5),
    *(7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1),
    *(5.99832206555887937690e-1, 1.0),
)
