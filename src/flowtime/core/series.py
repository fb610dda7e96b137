"""Series on a grid: the one value that engine and formats exchange."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowtime.core.grid import Grid

FloatArray = NDArray[np.float64]

MAX_NAME = 200
_FORBIDDEN = ("Cc", "Cs", "Zl", "Zp")  # controls, lone surrogates, line and paragraph separators


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """The name of a series: whose it is and what it measures."""

    component: str
    measure: str

    def __str__(self) -> str:
        return f"{self.component}.{self.measure}"


@dataclass(frozen=True, slots=True, eq=False)
class SeriesSet:
    """Series over one grid, in their recorded order.

    `values` is a C-contiguous `(series, bins)` float64 matrix; NaN means missing. It holds no infinity
    and no negative zero. `units` has one entry per series; None means that no unit was stated.
    """

    grid: Grid
    keys: tuple[SeriesKey, ...]
    units: tuple[str | None, ...]
    values: FloatArray

    @property
    def rows(self) -> int:
        """Rows of the long table: series times bins."""
        return int(self.values.size)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[tuple[SeriesKey, str | None, FloatArray]]:
        return zip(self.keys, self.units, self.values, strict=True)

    def __getitem__(self, key: SeriesKey) -> FloatArray:
        """The `(bins,)` values of one series; raises KeyError."""
        try:
            row = self.keys.index(key)
        except ValueError:
            raise KeyError(key) from None
        values: FloatArray = self.values[row]
        return values

    def time_bins(self) -> NDArray[np.int64]:
        """`(bins,)` int64: microseconds since 1970 of each bin's start, or its index without a start."""
        index = np.arange(self.grid.bins, dtype=np.int64)
        return index if self.grid.start is None else self.grid.start + index * self.grid.step

    def equals(self, other: SeriesSet) -> bool:
        """Whether both have the same grid, keys in the same order, units, and bit-identical values."""
        return (
            self.grid == other.grid
            and self.keys == other.keys
            and self.units == other.units
            and same_bits(self.values, other.values)
        )


def floats(values: Iterable[float | None]) -> FloatArray:
    """Numbers as a float64 array, None as missing. Raises TypeError or ValueError where some are none."""
    return np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64)


def same_bits(a: FloatArray, b: FloatArray) -> bool:
    """Whether both arrays hold the same doubles bit for bit, any missing equal to any missing."""
    missing = np.isnan(a)
    return bool(
        np.array_equal(missing, np.isnan(b))
        and np.array_equal(np.where(missing, 0.0, a).view(np.int64), np.where(missing, 0.0, b).view(np.int64))
    )


def name_problem(name: str) -> str | None:
    """Why `name` cannot be a component or measure, or None where it can.

    Spreadsheets run cells that begin with `= + - @`, so such names are refused everywhere.
    """
    if not 1 <= len(name) <= MAX_NAME:
        return f"has {len(name)} characters; 1 to {MAX_NAME} are allowed"
    if name[0] in "=+-@":
        return f"begins with {name[0]!r}, which spreadsheets would run as a formula"
    control = next((c for c in name if unicodedata.category(c) in _FORBIDDEN), None)
    if control is not None:
        return f"contains the control character U+{ord(control):04X}"
    return None


BLOCKS = np.array(list("▁▂▃▄▅▆▇█"))
HANGING = np.array(list("▔▔▀▀▀▀██"))


def sparkline(values: Iterable[float], width: int = 24, *, zero: bool = False) -> str:
    """`values` as at most `width` block characters, each the mean of its share; a space: all is missing.

    The line goes from the least to the greatest of them. With `zero` it reaches to 0, and where no value is
    above it the blocks hang from the top, so that a series that stays away from 0 is not an empty line.
    """
    series = floats(values)
    count = min(width, series.size)
    if not count:
        return ""
    size, longer = divmod(series.size, count)  # the first shares have a value more
    share = np.arange(count)
    starts = share * size + np.minimum(share, longer)
    present = ~np.isnan(series)
    counts = np.add.reduceat(present, starts, dtype=np.int64)
    # Only the shape is drawn: means of values divided by their number cannot overflow.
    sums = np.add.reduceat(np.where(present, series, 0.0) / series.size, starts)
    shown = counts > 0
    blocks = np.full(count, " ")
    if shown.any():
        means = sums[shown] / counts[shown]
        shapes = BLOCKS
        if zero and means.max() <= 0.0:
            means, shapes = -means, HANGING if means.min() < 0.0 else BLOCKS
        low, high = means.min(), means.max()
        if zero:
            low, high = min(low, 0.0), max(high, 0.0)
        # Sums of shares of unlike length differ by rounding where the values do not.
        flat = high - low <= 1e-12 * max(high, -low)
        levels = (means - low) * (0.0 if flat else 7.999 / max(high - low, 1e-307))
        blocks[shown] = shapes[levels.astype(np.int64)]
    return "".join(blocks.tolist())
