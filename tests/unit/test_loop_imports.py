"""What a person says about a file on the command line."""

from __future__ import annotations

import pytest

from flowtime.core.grid import Grid, parse_instant
from flowtime.engine import compile, evaluate
from flowtime.errors import InvalidInput
from flowtime.loop.imports import read_grid
from flowtime.loop.rebuilt import conformance, rebuild
from flowtime.loop.runs import inputs_hash
from flowtime.model import load
from flowtime.model.identity import graph_hash, model_hash
from flowtime.model.writer import to_document


def test_a_grid_is_read() -> None:
    assert read_grid("bins=3, size=5,unit=minutes") == Grid(3, 5, "minutes")
    start = parse_instant("2025-01-01T00:00:00Z")
    assert read_grid("start=2025-01-01,unit=days,size=1,bins=2") == Grid(2, 1, "days", start)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("24h", "it takes bins, size and unit"),
        ("bins=3,unit=hours", "it takes bins, size and unit"),
        ("bins=3,size=1,unit=hours,from=2025-01-01", "it takes bins, size and unit"),
        ("bins=0,size=1,unit=hours", "the number of bins is 0; 1 to 1,000,000 is allowed"),
        ("bins=three,size=1,unit=hours", "the number of bins is 'three'"),
        ("bins=3,size=0,unit=hours", "the size of a bin is 0; 1 or more is allowed"),
        ("bins=3,size=1,unit=months", "the unit is 'months'; seconds, minutes, hours, days, weeks"),
        ("bins=3,size=1,unit=hours,start=soon", "'soon'"),
        ("bins=3,size=1,unit=weeks,start=9999-12-30", "do not lie between the years 1 and 9999"),
        ("bins=1,size=99999999999999999999,unit=weeks", "do not lie between the years 1 and 9999"),
    ],
)
def test_a_grid_that_is_none_says_why(text: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_grid(text)
    assert refused.value.code == "FT808"
    assert why in str(refused.value)


def test_runs_of_earlier_semantics_may_differ_in_last_bits_and_say_so() -> None:
    model = load("nodes:\n  - {id: x, kind: const, values: 3}\n  - {id: y, kind: expr, expr: EXP(x) + 1}\n")
    series = evaluate(compile(model)).series
    hash = model_hash(model)
    described = {"model": to_document(model), "model_hash": hash, "graph_hash": graph_hash(model)}
    older = {**described, "inputs_hash": inputs_hash(hash, None, None, None, {}, 1)}
    newer = {**described, "inputs_hash": inputs_hash(hash, None, None, None, {})}
    found, current = rebuild(older, {}), rebuild(newer, {})
    assert found is not None and found.older
    assert current is not None and not current.older
    exact = conformance(found, series)
    assert exact.ok and exact.within == ()
    series.values[1] *= 1 + 1e-12
    close = conformance(found, series)
    assert close.ok
    assert [str(key) for key in close.within] == ["y.value"]
    assert close.to_json()["within"] == [{"component": "y", "measure": "value"}]
    assert not conformance(current, series).ok
    series.values[1] *= 1 + 1e-8
    assert not conformance(found, series).ok
