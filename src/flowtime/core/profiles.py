"""Built-in daily profiles: 24 hourly weights with mean 1, placed by clock time in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from flowtime.core.grid import MICROSECONDS, Grid
from flowtime.core.series import FloatArray

HOURLY: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        # office hours with a dip at lunch; every day counts as a working day: a grid may have no calendar
        "weekday-office": (
            4, 2, 2, 2, 4, 10, 20, 48, 104, 144, 152, 140,
            104, 130, 148, 144, 126, 88, 52, 36, 30, 24, 14, 8,
        ),
        # 06:00, 14:00 and 22:00 change over; the night shift runs at about half
        "three-shift": (
            40, 40, 40, 40, 40, 36, 68, 80, 80, 80, 80, 80,
            80, 66, 68, 80, 80, 80, 80, 80, 80, 62, 36, 40,
        ),
        # two peaks, 08:00 and 17:00-18:00
        "rush-hour": (
            8, 4, 4, 4, 8, 24, 72, 136, 152, 88, 56, 52,
            60, 56, 60, 80, 120, 156, 144, 88, 60, 44, 36, 24,
        ),
    }
)  # fmt: skip
"""64 times the weight of each hour; each row sums to 24 x 64, so that the weights are exact with mean 1."""

_HOUR = MICROSECONDS["hours"]
_DAY = MICROSECONDS["days"]


def daily_profile(name: str, grid: Grid) -> FloatArray:
    """`(bins,)` weights: the average weight over each bin's span, correctly rounded for any bin length.

    Without a start, bin 0 begins at midnight.
    """
    parts = HOURLY[name]
    total = 24 * 64 * _HOUR
    before = [sum(parts[:hour]) * _HOUR for hour in range(25)]

    def until(moment: int) -> int:
        """Parts times microseconds between a midnight and `moment` after it."""
        days, rest = divmod(moment, _DAY)
        hour, fraction = divmod(rest, _HOUR)
        return days * total + before[hour] + (parts[hour] * fraction if fraction else 0)

    # the pattern repeats: a step is whole seconds, so there are at most 86,400 different bins
    index = np.arange(grid.bins, dtype=np.int64)
    phases = ((grid.start or 0) % _DAY + index * (grid.step % _DAY)) % _DAY
    distinct, which = np.unique(phases, return_inverse=True)
    weights = [_DAY * (until(p + grid.step) - until(p)) / (total * grid.step) for p in distinct.tolist()]
    return np.array(weights)[which]
