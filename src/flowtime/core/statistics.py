"""What many samples of a series come to: their mean and quantiles in each bin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowtime.core.series import FloatArray, SeriesKey

PERCENTS = (5, 50, 95)

STATISTICS = ("mean", *(f"p{percent:02}" for percent in PERCENTS))
"""The names of the statistics, in the order of `summarise`."""


def keys(key: SeriesKey) -> tuple[SeriesKey, ...]:
    """The keys of a series' statistics: `served` becomes `served.mean`, `served.p05`, ..."""
    return tuple(SeriesKey(key.component, f"{key.measure}.{name}") for name in STATISTICS)


def summarise(samples: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """The statistics of `(samples, bins)` float64 as `(4, bins)` float64, and how many samples are present.

    Missing samples (NaN) are left out; a bin without any is missing. The mean is the sum of the samples
    from the smallest to the largest over their number, and never beyond either of them. A quantile lies
    at (n - 1)·q between the sorted samples, interpolated: Hyndman and Fan's type 7, NumPy's `linear`
    (https://doi.org/10.2307/2684934). The work space is twice the size of `samples`.
    """
    ordered = samples.T.copy()
    ordered.sort(axis=1)  # the missing ones last
    least = ordered[:, 0].copy()
    bins, size = ordered.shape
    every = np.arange(bins)
    present = size - np.count_nonzero(np.isnan(ordered), axis=1).astype(np.int64)
    last = np.maximum(present - 1, 0)
    largest = ordered[every, last]
    result = np.empty((len(STATISTICS), bins))
    with np.errstate(over="ignore", invalid="ignore"):
        for row, percent in zip(result[1:], PERCENTS, strict=True):
            # whole numbers place the quantile exactly
            below, rest = np.divmod(last * percent, 100)
            low, high = ordered[every, below], ordered[every, np.minimum(below + 1, last)]
            share = rest / 100
            row[:] = np.minimum(low + share * (high - low), high)
            far = np.isinf(high - low)  # the span overflows, the two parts do not
            row[far] = (low * (1.0 - share) + high * share)[far]
        running = np.add.accumulate(ordered, axis=1)
        total = running[every, last]
        mean = total / np.maximum(present, 1)
        far = np.isinf(total)
        if far.any():
            mean[far] = np.add.accumulate(ordered[far] / size, axis=1)[np.arange(far.sum()), last[far]]
            mean[far] *= size / present[far]
        result[0] = np.clip(mean, least, largest)
    result += 0.0
    result[:, present == 0] = np.nan
    return result, present
