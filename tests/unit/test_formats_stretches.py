"""Tables that are read out of their file: the same doubles again, and no file but the one recorded."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest

from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.errors import InvalidInput
from flowtime.formats import GOLD
from flowtime.formats.export import export_stream
from flowtime.formats.stretches import Stored

NAMES = (("plain", "m"), ('a "quoted", one', "m"), ("ünïcode", "m 2"), ("#", "1"))
GRIDS = (Grid(3), Grid(70_000, 1, "minutes", parse_instant("2025-01-01T00:00:00.25Z")))


def table(grid: Grid) -> SeriesSet:
    values = np.random.Generator(np.random.PCG64(5)).random((len(NAMES), grid.bins)) * 1e6
    values[:, :3] = [
        [1 / 3, 5e-324, np.nan],
        [np.nan, 0.0, 1e-7],
        [-(2.0**81), 1.7e308, 1e16],
        [1.0, 2.0, 3.0],
    ]
    return SeriesSet(grid, tuple(SeriesKey(*name) for name in NAMES), ("1", None, "requests", None), values)


def stored(series: SeriesSet) -> tuple[Stored, bytes]:
    file = io.BytesIO()
    export_stream(series, None, GOLD, file)
    content = file.getvalue()
    hash = "sha256:" + hashlib.sha256(content).hexdigest()
    known = (series.grid, series.keys, series.units)
    return Stored(*known, lambda: io.BytesIO(content), len(content), hash, "x.csv"), content


@pytest.mark.parametrize("grid", GRIDS, ids=["steps", "instants"])
def test_the_same_series_come_back(grid: Grid) -> None:
    series = table(grid)
    told: list[tuple[int, float | None]] = []
    assert stored(series)[0].series(lambda rows, share: told.append((rows, share))).equals(series)
    assert told[-1] == (series.rows, 1.0)


@pytest.mark.parametrize("grid", GRIDS, ids=["steps", "instants"])
def test_plain_csv_of_them_is_the_file_itself(grid: Grid) -> None:
    known, content = stored(table(grid))
    again, told = io.BytesIO(), []
    export_stream(known, None, GOLD, again, progress=lambda rows, share: told.append((rows, share)))
    assert again.getvalue() == content
    assert told[-1] == (known.rows, 1.0)


@pytest.mark.parametrize("grid", GRIDS, ids=["steps", "instants"])
def test_another_file_is_refused(grid: Grid) -> None:
    known, content = stored(table(grid))
    last = content.rindex(b",") + 1
    others = (
        content[:last] + b"7" + content[last + 1 :],
        content.replace(b"plain", b"plane"),
        content + b"0,plain,m,1.0\n",
        content[: content[:-1].rindex(b"\n") + 1],
        content[:-1],
        content[: len(content) // 2],
        b"",
        b"\x00" * len(content),
    )
    for other in others:
        damaged = replace(known, open=lambda other=other: io.BytesIO(other))
        for use in (damaged.series, damaged.check, lambda damaged=damaged: list(damaged.pieces())):
            with pytest.raises(InvalidInput, match="not the SHA-256 that was recorded") as caught:
                use()
            assert caught.value.code == "FT410"
            assert caught.value.where == "x.csv"
