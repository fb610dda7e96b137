"""The instructions of each function and operator, for one bin and for two, against plain Python."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable
from importlib.resources import files

import pytest
import wasmtime

from flowtime.core.arithmetic import ARITHMETIC, NOTED
from flowtime.core.functions import KNOWN, OPERATORS, OWN, TABLE
from flowtime.engine.formula import MEMORY
from flowtime.engine.instructions import PAIR, SINGLE

AWKWARD = (math.nan, 0.0, 0.49999999999999994, 0.5, 1.0, 2.0, 2.5, 3.0, 700.0, 4503599627370497.5, 1e300)
VALUES = (*AWKWARD, *(-value for value in AWKWARD[1:]), math.inf, -math.inf, 5e-324)


def module(name: str, size: int) -> Callable[..., list[float]]:
    """What gives the value of an operation by itself, and those of both bins of a pair."""
    one = " ".join(f"(param $a{index} f64)" for index in range(size))
    two = " ".join(f"(param $b{index} f64)" for index in range(size))
    single = SINGLE.operation[name].format(*(f"(local.get $a{index})" for index in range(size)))
    pairs = [
        f"(f64x2.replace_lane 1 (f64x2.splat (local.get $a{index})) (local.get $b{index}))"
        for index in range(size)
    ]
    text = f"""(module {files("flowtime.core").joinpath("elementary.wat").read_text()}
      (func (export "f") {one} {two} (result f64 f64 f64) (local $p v128)
        (local.set $p {PAIR.operation[name].format(*pairs)})
        {single} (f64x2.extract_lane 0 (local.get $p)) (f64x2.extract_lane 1 (local.get $p))))"""
    store = wasmtime.Store()
    native = wasmtime.Module(store.engine, wasmtime.wat2wasm(text))
    call = wasmtime.Instance(store, native, []).exports(store)["f"]
    return lambda *operands: call(store, *operands)


def same(a: float, b: float) -> bool:
    return math.isnan(a) if math.isnan(b) else struct.pack("<d", a) == struct.pack("<d", b)


def test_every_function_has_instructions_and_arithmetic() -> None:
    done_elsewhere = {*MEMORY, "PULSE", *(name for name, function in TABLE.items() if function.rewrite)}
    wanted = {*TABLE, *OPERATORS, *OWN, "negative", "copy"} - done_elsewhere
    assert ARITHMETIC.keys() == wanted
    assert SINGLE.operation.keys() == PAIR.operation.keys() == wanted


@pytest.mark.parametrize("name", [name for name in ARITHMETIC if name != "/"])
def test_all_forms_compute_the_same(name: str) -> None:
    """Divisions by zero are left to whole models."""
    one = ("negative", "copy")
    size = len(KNOWN[name].parameters) if name in KNOWN else 1 if name in one else 2
    call = module(name, size)
    rows = list(itertools.product(VALUES, repeat=size))
    for row, other in zip(rows, [*rows[7:], *rows[:7]], strict=True):
        expected, second = ARITHMETIC[name](*row), ARITHMETIC[name](*other)
        single, low, high = call(*row, *other)
        if name in ("MIN", "MAX") and row[0] == row[-1] == 0.0:
            assert single == low == 0.0  # which of two zeros it is, formulas do not see
            continue
        assert same(single, expected), (row, single, expected)
        if name in NOTED and (NOTED[name][1](row[0]) or NOTED[name][1](other[0])):
            continue  # pairs that are worth a note are done one by one
        assert same(low, expected), (row, low, expected)
        if not (name in ("MIN", "MAX") and other[0] == other[-1] == 0.0):
            assert same(high, second), (other, high, second)
