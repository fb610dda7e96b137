"""Series as a table in memory."""

from __future__ import annotations

import polars as pl

from flowtime.core.series import SeriesSet
from flowtime.errors import InvalidInput
from flowtime.formats.metadata import COLUMNS
from flowtime.formats.stretches import places


def frame(series: SeriesSet, *, wide: bool = False) -> pl.DataFrame:
    """The table that exports hold, `(series x bins)` rows of `time_bin, component_id, measure, value`.

    Times are instants in UTC, or indices of bins where the grid has no start; a missing value is null.
    `wide`: a row per bin, a column for the time and one per series, called `component.measure`. Raises
    InvalidInput (FT418) where two of those columns would have one name.
    """
    times = pl.Series(COLUMNS[0], series.time_bins())
    if series.grid.start is not None:
        times = times.cast(pl.Datetime("us", "UTC"))
    if wide:
        names = [str(key) for key in series.keys]
        twice = next((name for name in names if names.count(name) > 1 or name == COLUMNS[0]), None)
        if twice is not None:
            hint = "take the long table: wide=False"
            raise InvalidInput("FT418", f'two columns would be called "{twice}"', hint=hint)
        columns = [
            pl.Series(name, values, nan_to_null=True)
            for name, values in zip(names, series.values, strict=True)
        ]
        return pl.DataFrame([times, *columns])
    of_series, of_bin = places(slice(0, len(series)), slice(0, series.grid.bins))
    value = pl.Series(series.values.reshape(-1), nan_to_null=True)
    components = pl.Series([key.component for key in series.keys], dtype=pl.String)
    measures = pl.Series([key.measure for key in series.keys], dtype=pl.String)
    columns = [times.gather(of_bin), components.gather(of_series), measures.gather(of_series), value]
    return pl.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def table(rows: list[dict[str, float | None]]) -> pl.DataFrame:
    """Rows of numbers by column, all of the same columns, as a table of float64; None is null."""
    return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.Float64) if rows else None, orient="row")
