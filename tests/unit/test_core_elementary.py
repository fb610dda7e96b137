"""EXP, LOG, POW and MOD: within a unit in the last place, exact where they can be, NumPy's special cases."""

from __future__ import annotations

import itertools
import math
import random
import struct
from types import ModuleType

import numpy as np
import pytest
from scripts import webassembly

from flowtime.core import elementary

SPECIAL = (
    *(
        0.0,
        1.0,
        2.0,
        0.5,
        3.0,
        0.1,
        math.inf,
        5e-324,
        1e-310,
        2.2250738585072014e-308,
        1.7976931348623157e308,
    ),
    *(0.9999999999999999, 1.0000000000000002, 2.0**53, 2.0**53 + 2, 709.782712893384, 745.1332191019412),
)
EVERY = (*SPECIAL, *(-x for x in SPECIAL))


def same(a: float, b: float) -> bool:
    return math.isnan(a) if math.isnan(b) else struct.pack("<d", a) == struct.pack("<d", b)


@pytest.mark.parametrize("module", webassembly.SOURCES, ids=lambda module: module.__name__)
def test_translations_are_what_their_sources_give(module: ModuleType) -> None:
    assert webassembly.target(module).read_text(encoding="utf-8") == webassembly.translated(module)


def test_functions_stay_within_one_unit_in_the_last_place() -> None:
    for name, (worst, at) in webassembly.check(2_000, seed=7).items():
        assert worst <= 1.0, f"{name}{at} is {worst} units off"


@pytest.mark.parametrize("name", ["exp", "log"])
@pytest.mark.parametrize("x", EVERY)
def test_special_values_of_one_argument_are_numpys(name: str, x: float) -> None:
    with np.errstate(all="ignore"):
        theirs = float(getattr(np, name)(x))
    ours = getattr(elementary, name)(x)
    assert same(ours, theirs) or abs(ours - theirs) <= math.ulp(theirs)


def test_special_values_of_powers_are_numpys() -> None:
    for x, y in itertools.product(EVERY, EVERY):
        with np.errstate(all="ignore"):
            theirs = float(np.power(x, y))
        ours = elementary.pow(x, y)
        assert same(ours, theirs) or abs(ours - theirs) <= math.ulp(theirs), (x, y, ours, theirs)


def test_whole_powers_that_a_double_can_hold_are_exact() -> None:
    for x, y in itertools.product(range(-60, 61), range(40)):
        if abs(x**y) < 2**53:
            assert elementary.pow(float(x), float(y)) == float(x**y), (x, y)


def test_remainders_are_numpys_to_the_last_bit() -> None:
    rng = random.Random(3)
    anything = [struct.unpack("<d", rng.randbytes(8))[0] for _ in range(4_000)]
    for a, b in (*itertools.product(EVERY, EVERY), *itertools.pairwise(anything)):
        with np.errstate(all="ignore"):
            theirs = float(np.mod(a, b))
        theirs = 0.0 if b == 0.0 and not math.isnan(a) else theirs
        assert same(elementary.mod(a, b), theirs), (a, b)


def test_missing_operands_give_missing() -> None:
    for x in EVERY:
        for name in ("pow", "mod"):
            function = getattr(elementary, name)
            assert math.isnan(function(math.nan, x)), name
            assert math.isnan(function(x, math.nan)), name
    assert math.isnan(elementary.exp(math.nan))
    assert math.isnan(elementary.log(math.nan))
