"""How much may be made of a file: bounds that follow its size, known before the work.

Tables compress well where little happens in them: 1,000,000 zeros of 1,000 series, as flowtime writes them,
take 82,000 bytes of Parquet, one for each 49 values. Beyond that it is less, 15 to 30; so every file may
become a table of some size, and a larger one a multiple of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowtime.core.grid import Grid
from flowtime.core.series import SeriesKey
from flowtime.errors import InvalidInput

FREE_BYTES, TIMES = 64 << 20, 100
"""A compressed file, or all pages of a Parquet file, may expand to so much, and so many times its size."""
FREE_STORED, STORED_TIMES = 384 << 20, 64
"""A file may become a table of so many bytes as CSV, and so many times its size."""
MAX_COLUMNS = 16_384
"""Columns of a table that is read, as many as a sheet of Excel has: libraries look at each beside each."""
BLOCK_VALUES = 1 << 19
"""Values that are looked at together."""
FREE_SERIES, BYTES_PER_SERIES = 100_000, 100
"""A table may have so many series, and a large one a series for each so many of its bytes."""
_BETWEEN = 4
"""Bytes of a row of CSV besides its time, names and value: commas and the end of the line."""


def stored_size(grid: Grid, keys: Iterable[SeriesKey]) -> int:
    """Bytes that a table takes as gold CSV at least: values that are missing take none."""
    time = 1 if grid.start is None else len(grid.label(0))
    return grid.bins * sum(
        _BETWEEN + time + len(str(key.component).encode()) + len(key.measure.encode()) for key in keys
    )


def check_stored(stored: int, size: int, source: str) -> None:
    """Raises InvalidInput (FT409) where a table of so many bytes is more than a file of `size` becomes."""
    if stored > FREE_STORED + STORED_TIMES * size:
        raise InvalidInput(
            "FT409",
            f"{size:,} bytes would become a table of at least {stored:,}",
            where=source,
            hint="import it as CSV with a row for each value, or in parts",
        )


def check_series(count: int, size: int, source: str) -> None:
    """Raises InvalidInput (FT409) where so many series are more than a file of `size` bytes has."""
    if count > max(FREE_SERIES, size // BYTES_PER_SERIES):
        raise InvalidInput(
            "FT409",
            f"{size:,} bytes name over {max(FREE_SERIES, size // BYTES_PER_SERIES):,} series",
            where=source,
            hint="a series has a row for each bin; check component_id and measure",
        )
