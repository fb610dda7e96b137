"""Gates: how thresholds are written, which one a series has, and what is said of those that are over."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from flowtime.analysis.compare import compare
from flowtime.analysis.gate import Bound, By, Verdict, gate
from flowtime.core.grid import Grid
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.errors import InvalidInput


def series(**rows: list[float]) -> SeriesSet:
    keys = tuple(SeriesKey(*name.split("_")) for name in rows)
    values = np.array(list(rows.values()), dtype=np.float64)
    return SeriesSet(Grid(values.shape[1]), keys, (None,) * len(keys), values)


def verdict(a: SeriesSet, b: SeriesSet, *threshold: str, **wanted: Any) -> Verdict:
    judge = gate(threshold, **wanted)
    assert judge is not None
    return judge.judge(compare(a, b))


@pytest.mark.parametrize(
    ("text", "bound", "written"),
    [
        ("5%", Bound(0.05), "5%"),
        ("0.05", Bound(0.05), "5%"),
        ("0", Bound(0.0), "0%"),
        ("1000%", Bound(10.0), "1000%"),
        ("abs:5", Bound(5.0, absolute=True), "abs:5"),
        ("web.*=7%", Bound(7 / 100, pattern="web.*"), "web.*=7%"),
        ("a=b.served=abs:0.5", Bound(0.5, absolute=True, pattern="a=b.served"), "a=b.served=abs:0.5"),
    ],
)
def test_a_bound_is_read_as_it_is_written(text: str, bound: Bound, written: str) -> None:
    assert Bound.read(text) == bound
    assert str(bound) == written


@pytest.mark.parametrize(
    "text",
    ["five", "", "-1%", "nan", "inf%", "abs:", "abs:-1", "abs:5%", "=5%", "web.*=", "5", "1", "web.*=5"],
)
def test_what_is_not_a_bound_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        gate(text)
    assert caught.value.code == "FT803"
    assert "5%" in caught.value.message
    assert "abs:5" in caught.value.message


def test_the_last_pattern_that_matches_counts_before_the_bound_for_all() -> None:
    a = series(web_load=[100], web_errors=[100], db_load=[100])
    b = series(web_load=[109], web_errors=[100.5], db_load=[104])
    assert verdict(a, b, "web.*=10%", "5%").within
    assert verdict(a, b, "5%", "*.errors=0%", "web.*=10%").within
    found = verdict(a, b, "web.*=10%", "*.errors=0.1%", "5%")
    assert [str(one.key) for one in found.over] == ["web.errors"]
    assert verdict(a, b, "db.load=5%").judged == 1


def test_a_name_with_brackets_is_its_own_pattern() -> None:
    a = SeriesSet(Grid(1), (SeriesKey("web[1]", "load"),), (None,), np.array([[1.0]]))
    assert verdict(a, a, "web[1].load=5%").judged == 1


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    a = series(web_load=[1])
    with pytest.raises(InvalidInput, match=r"wbe\.load") as caught:
        verdict(a, a, "5%", "wbe.load=1%")
    assert (caught.value.code, caught.value.hint) == ("FT815", 'did you mean "web.load"?')


def test_what_says_how_to_judge_needs_a_threshold() -> None:
    assert gate(None) is None
    for wanted in ({"by": "mean"}, {"allow_missing": True}):
        with pytest.raises(InvalidInput, match="there is none"):
            gate(None, **wanted)
    for twice in (("5%", "6%"), ("a.*=5%", "a.*=6%")):
        with pytest.raises(InvalidInput, match="more than one threshold"):
            gate(twice)
    with pytest.raises(InvalidInput, match="bin, mean, peak"):
        gate("5%", by="median")
    assert get_args(By) == ("bin", "mean", "peak")


def test_a_bin_of_almost_nothing_is_held_against_the_floor() -> None:
    a, b = series(q_depth=[0, 100, 200]), series(q_depth=[0.01, 100, 200])
    found = verdict(a, b, "1%")
    assert found.within
    assert found.closest is not None
    assert found.closest.said == "q.depth: 0 → 0.01 in bin 0, floor 1, is 1% off; 1% is allowed"
    assert not verdict(a, series(q_depth=[0.02, 100, 200]), "1%").within


def test_a_difference_that_is_just_allowed_is_within() -> None:
    for before, after in ((1.0, 1.05), (20.0, 21.0), (3.0, 2.85)):
        assert verdict(series(a_b=[before]), series(a_b=[after]), "5%").within
    found = verdict(series(a_b=[1.0]), series(a_b=[1.0500001]), "5%")
    assert "is 5.00001% off; 5% is allowed" in found.over[0].said


@pytest.mark.parametrize(
    ("by", "allowed", "refused"),
    [("bin", "60%", "59%"), ("mean", "20%", "19%"), ("peak", "40%", "39%")],
)
def test_what_is_judged_can_be_chosen(by: str, allowed: str, refused: str) -> None:
    a, b = series(a_b=[50, 100]), series(a_b=[80, 100])
    c = series(a_b=[80, 140])
    expected = {"bin": b, "mean": b, "peak": c}[by]
    assert verdict(a, expected, allowed, by=by).within
    assert not verdict(a, expected, refused, by=by).within


def test_where_nothing_can_be_judged_nothing_is_within() -> None:
    a, b = series(a_b=[1.0, np.nan]), series(a_b=[np.nan, 1.0])
    assert verdict(a, b, "5%").unlike == (
        "a.b: 1 bin with a value in the baseline only, first in bin 0",
        "a.b: 1 bin with a value in the comparison only",
    )
    assert not verdict(a, b, "5%", allow_missing=True).within
    assert not verdict(a, series(c_d=[1.0, 1.0]), "5%", allow_missing=True).within
    nothing = series(a_b=[np.nan, np.nan])
    assert verdict(nothing, nothing, "0").within
