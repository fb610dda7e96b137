"""The digest, against an implementation written from its description alone."""

from __future__ import annotations

import hashlib
import math
import struct

import numpy as np
import pytest

from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.formats.digest import digest

CLOCK = Grid(9, 30, "minutes", parse_instant("2025-01-01T00:00:00Z"))
VALUES = [1 / 3, 5e-324, 1.7976931348623157e308, 2.0**81, 3.0, math.nan, -0.5, 0.0, math.nan]


def by_the_book(rows: list[tuple[str, str, int, float]]) -> str:
    tables: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for component, measure, time, value in rows:
        tables.setdefault((component, measure), []).append((time, value))
    leaves = []
    for (component, measure), cells in tables.items():
        cells.sort()
        data = b""
        for name in (component, measure):
            data += struct.pack("<I", len(name.encode())) + name.encode()
        data += b"".join(struct.pack("<q", time) for time, _ in cells)
        bits = [int(math.isnan(value)) for _, value in cells]
        bits += [0] * (-len(bits) % 8)
        data += bytes(sum(bits[i + j] << j for j in range(8)) for i in range(0, len(bits), 8))
        data += b"".join(struct.pack("<d", 0.0 if math.isnan(value) else value) for _, value in cells)
        leaves.append(hashlib.sha256(data).digest())
    return "sha256:" + hashlib.sha256(b"".join(sorted(leaves))).hexdigest()


def series_set(grid: Grid, names: list[tuple[str, str]]) -> SeriesSet:
    values = np.array([np.roll(VALUES[: grid.bins], shift) for shift in range(len(names))])
    return SeriesSet(grid, tuple(SeriesKey(*name) for name in names), (None,) * len(names), values)


@pytest.mark.parametrize("grid", [CLOCK, Grid(9), Grid(8), Grid(1)])
def test_is_what_its_description_says(grid: Grid) -> None:
    series = series_set(grid, [("b", "x"), ("é, ü", "x"), ("", "bx")])
    rows = [
        (key.component, key.measure, grid.time_bin(bin), float(value))
        for key, _, values in series
        for bin, value in enumerate(values)
    ]
    assert digest(series) == by_the_book(rows) == by_the_book(rows[::-1])


def test_is_pinned() -> None:
    series = series_set(CLOCK, [("Checkout", "arrivals")])
    assert digest(series) == "sha256:a2d1a8cc3e6be1a8e1b7d8afb251172e65a07b36b6feab709a248fb60246fe2b"


def test_ignores_the_order_of_series_and_their_units() -> None:
    series = series_set(CLOCK, [("a", "x"), ("b", "x")])
    turned = SeriesSet(CLOCK, series.keys[::-1], ("requests", "s"), series.values[::-1])
    assert digest(turned) == digest(series)


def test_tells_names_apart_that_join_to_the_same_text() -> None:
    assert digest(series_set(Grid(2), [("ab", "c")])) != digest(series_set(Grid(2), [("a", "bc")]))


@pytest.mark.parametrize("value", [0.0, 1.0, np.nextafter(-0.5, 0)])
def test_tells_every_value_apart(value: float) -> None:
    series = series_set(CLOCK, [("a", "x"), ("b", "x")])
    values = series.values.copy()
    values[1, 7] = value
    other = SeriesSet(CLOCK, series.keys, series.units, values)
    missing = values.copy()
    missing[1, 7] = np.nan
    gap = SeriesSet(CLOCK, series.keys, series.units, missing)
    assert len({digest(series), digest(other), digest(gap)}) == 3
