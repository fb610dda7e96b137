"""Series as charts draw them: a window of bins, reduced to as many points as fit on a screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from flowtime.core.canonical import JSON
from flowtime.core.series import FloatArray, SeriesSet
from flowtime.errors import InvalidInput

MAX_VALUES = 4_000_000
"""The most numbers that one chart may hold."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Some series over the bins from `start` to before `stop`.

    `values` is `(rows, points)` float64, NaN where missing; `bins` the bin of each point. Where `decimated`,
    every two points are the minimum and the maximum of the bins from the first point's bin to before the
    next pair's; otherwise each point is one bin. `ids` are the artifacts whose series they are.
    """

    series: SeriesSet
    rows: tuple[int, ...]
    start: int
    stop: int
    decimated: bool
    bins: NDArray[np.int64]
    values: FloatArray
    ids: tuple[str, ...] = ()

    def head(self) -> JSON:
        """All but the values."""
        keys, units = self.series.keys, self.series.units
        return {
            "ids": [*self.ids],
            "grid": self.series.grid.to_json(),
            "from": self.start,
            "to": self.stop,
            "decimated": self.decimated,
            "bins": self.bins.tolist(),
            "series": [
                {
                    "index": row,
                    "component": keys[row].component,
                    "measure": keys[row].measure,
                    "unit": units[row],
                }
                for row in self.rows
            ],
        }

    def to_json(self) -> JSON:
        """The chart with the values of each series, None where missing."""
        head = self.head()
        for entry, row in zip(head["series"], self.values.tolist(), strict=True):
            entry["values"] = [None if math.isnan(value) else value for value in row]
        return head

    def to_bytes(self) -> bytes:
        """The length of the head as 4 bytes, the head as JSON, blanks up to a multiple of 4 bytes, then the
        values as `(rows, points)` float32; all numbers little-endian.
        """
        head = msgspec.json.encode(self.head())
        head += b" " * (-len(head) % 4)
        with np.errstate(over="ignore"):
            values = self.values.astype("<f4")
        return len(head).to_bytes(4, "little") + head + values.tobytes()


def chart(
    series: SeriesSet, rows: Sequence[int], start: int = 0, stop: int | None = None, points: int | None = None
) -> Chart:
    """The rows of a series set over some bins, with at most `points` points each.

    Raises InvalidInput (FT813) on bins that are not there, or for more than MAX_VALUES numbers.
    """
    bins = series.grid.bins
    end = bins if stop is None else stop
    if not 0 <= start < end <= bins:
        raise InvalidInput(
            "FT813", f"there are no bins from {start} to {end}", hint=f"bins count from 0 to {bins}"
        )
    span = end - start
    if points is None or span <= points:
        count, decimated = span, False
    else:
        count, decimated = max(points // 2, 1) * 2, True
    if count * len(rows) > MAX_VALUES:
        raise InvalidInput(
            "FT813",
            f"{len(rows):,} series of {count:,} points are more than a chart takes ({MAX_VALUES:,} numbers)",
            hint="name fewer series, fewer bins or fewer points; an export has them all",
        )
    window = series.values[list(rows), start:end]
    if not decimated:
        return Chart(series, tuple(rows), start, end, False, np.arange(start, end), window)
    edges = np.linspace(0, span, count // 2 + 1).astype(np.int64)
    lowest, highest = (reduce.reduceat(window, edges[:-1], axis=1) for reduce in (np.fmin, np.fmax))
    places = np.empty(count, dtype=np.int64)
    places[0::2] = edges[:-1]
    places[1::2] = (edges[:-1] + edges[1:]) // 2
    values = np.empty((len(rows), count))
    values[:, 0::2], values[:, 1::2] = lowest, highest
    return Chart(series, tuple(rows), start, end, True, places + start, values)
