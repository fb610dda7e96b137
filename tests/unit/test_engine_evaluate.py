from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from flowtime.core import elementary
from flowtime.core.expression import format_number, parse
from flowtime.core.functions import TABLE
from flowtime.core.grid import Grid, parse_instant
from flowtime.core.pmf import Pmf
from flowtime.core.series import SeriesKey, same_bits
from flowtime.engine.evaluate import Evaluation, evaluate
from flowtime.engine.plan import compile
from flowtime.engine.points import Points
from flowtime.engine.sources import sources
from flowtime.errors import InvalidInput
from flowtime.model.spec import ConstNode, ExprNode, Model, Node, Output, PmfNode, Topology, TopologyNode

nan = math.nan
LOOPS = 8
X = (-4.0, 0.0, 4.0, 1000.0)


def expr(id: str, text: str, unit: str | None = None) -> ExprNode:
    return ExprNode(id=id, expr=text, tree=parse(text), unit=unit)


def const(id: str, *values: float) -> ConstNode:
    return ConstNode(id=id, values=values)


def run(*nodes: Node, bins: int = 4, **model: object) -> Evaluation:
    return evaluate(compile(Model(nodes, Grid(bins), **model)))


def values(result: Evaluation, id: str) -> list[float]:
    return result.series[SeriesKey(id, "value")].tolist()


def of(formula: str, **series: tuple[float, ...]) -> list[float]:
    """The values of a formula over const series; `m` is missing in bins 1 and 3, `x` is X."""
    nodes = [const(id, *numbers) for id, numbers in {"x": X, "odd": (1.0, -1.0, 1.0, -1.0), **series}.items()]
    result = run(*nodes, expr("m", "x + LOG(odd)"), expr("f", formula))
    return values(result, "f")


def warnings(result: Evaluation) -> list[tuple[str, str | None, str]]:
    return [(w.code, w.node, w.message.partition(": ")[2]) for w in result.warnings]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x + 1 - 2 * 3 / 4", [-4.5, -0.5, 3.5, 999.5]),
        ("-x", [4, 0, -4, -1000]),
        ("x / 0", [0, 0, 0, 0]),
        ("m / 0", [0, nan, 0, nan]),
        ("0 / x", [0, 0, 0, 0]),
        ("EXP(x) / 0", [0, 0, 0, 0]),
        ("SHIFT(x, 0)", list(X)),
        ("SHIFT(x, 2)", [0, 0, -4, 0]),
        ("SHIFT(x, 2, -7)", [-7, -7, -4, 0]),
        ("SHIFT(x, 99, 5)", [5, 5, 5, 5]),
        ("SHIFT(3, 1)", [0, 3, 3, 3]),
        ("SHIFT(m, 1)", [0, -4, nan, 4]),
        ("CONV(x, [1, 0.5])", [-4, -2, 4, 1002]),
        ("CONV(x, [0])", [0, 0, 0, 0]),
        ("CONV(m, [1, 0, 1])", [-4, nan, 0, nan]),
        ("CONV(m, [0, 0, 0, 0, 1])", [0, 0, 0, 0]),
        ("EMA(x, 0.5)", [-4, -2, 1, 500.5]),
        ("EMA(x, 1)", list(X)),
        ("EMA(m, 0.5)", [-4, nan, nan, nan]),
        ("CUMSUM(x)", [-4, -4, 0, 1000]),
        ("CUMSUM(m)", [-4, nan, nan, nan]),
        ("MIN(x, 3, 5)", [-4, 0, 3, 3]),
        ("MAX(x, 3, 5)", [5, 5, 5, 1000]),
        ("MIN(m, -9)", [-9, nan, -9, nan]),
        ("MAX(9, m)", [9, nan, 9, nan]),
        ("CLAMP(x, -1, 5)", [-1, 0, 4, 5]),
        ("CLAMP(x, 5, -1)", [5, 5, 5, 5]),
        ("CLAMP(m, 0, 1)", [0, nan, 1, nan]),
        ("CLAMP(x, 0, m)", [0, nan, 4, nan]),
        ("MOD(x, 3)", [2, 0, 1, 1]),
        ("MOD(x, -3)", [-1, 0, -2, -2]),
        ("MOD(x, 0)", [0, 0, 0, 0]),
        ("MOD(m, 0)", [0, nan, 0, nan]),
        ("FLOOR(x / 3)", [-2, 0, 1, 333]),
        ("CEIL(x / 3)", [-1, 0, 2, 334]),
        ("ROUND(x / 8)", [-1, 0, 1, 125]),
        ("ABS(x)", [4, 0, 4, 1000]),
        ("SQRT(x)", [nan, 0, 2, math.sqrt(1000)]),
        ("LOG(x)", [nan, nan, math.log(4), math.log(1000)]),
        ("EXP(x / 1000)", [elementary.exp(v / 1000) for v in X]),
        ("EXP(x)", [elementary.exp(-4.0), 1, elementary.exp(4.0), nan]),
        ("POW(x, 2)", [16, 0, 16, 1e6]),
        ("POW(2, x)", [1 / 16, 1, 16, float(np.power(2.0, 1000.0))]),
        ("POW(x, 0.5)", [nan, 0, 2, math.sqrt(1000)]),
        ("POW(m, 0)", [1, nan, 1, nan]),
        ("POW(1, m)", [1, nan, 1, nan]),
        ("POW(m, x - x) + 0 * SHIFT(f, 1)", [1, nan, nan, nan]),
        ("POW(1, m + 0 * SHIFT(f, 9))", [1, nan, 1, nan]),
        ("IF(x, 1, 2)", [1, 2, 1, 1]),
        ("IF(x > 0, m, 7)", [7, 7, 4, nan]),
        ("IF(m, 1, 2)", [1, nan, 1, nan]),
        ("STEP(x, 0)", [0, 1, 1, 1]),
        ("STEP(m, -9)", [1, 0, 1, 0]),
        ("STEP(x, m)", [1, 0, 1, 0]),
        ("PULSE(2)", [1, 0, 1, 0]),
        ("PULSE(2, 1)", [0, 1, 0, 1]),
        ("PULSE(9, 2, 5)", [0, 0, 5, 0]),
        ("PULSE(2, 0, m)", [-4, 0, 4, 0]),
        ("PULSE(1, 9)", [0, 0, 0, 0]),
        ("PULSE(2, 0, x)", [-4, 0, 4, 0]),
        ("x < 4", [1, 1, 0, 0]),
        ("x <= 4", [1, 1, 1, 0]),
        ("x > 0", [0, 0, 1, 1]),
        ("x >= 0", [0, 1, 1, 1]),
        ("x == 4", [0, 0, 1, 0]),
        ("x != 4", [1, 1, 0, 1]),
        ("m == m", [1, 0, 1, 0]),
        ("m != 3", [1, 0, 1, 0]),
        ("m < 9999", [1, 0, 1, 0]),
        ("MIN(EXP(x), 5) > 4", [0, 0, 1, 1]),
        ("2 * 3 + 1", [7, 7, 7, 7]),
        ("5", [5, 5, 5, 5]),
        ("x", list(X)),
    ],
)
def test_formula(formula: str, expected: list[float]) -> None:
    np.testing.assert_array_equal(of(formula), expected)


@pytest.mark.parametrize(("name", "given"), [("SHIFT", "x, 2"), ("PULSE", "2"), ("PULSE", "2, 1")])
def test_an_argument_left_out_is_its_default(name: str, given: str) -> None:
    left_out = TABLE[name].parameters[len(given.split(", ")) :]
    rest = [format_number(parameter.default) for parameter in left_out if parameter.default is not None]
    assert len(rest) == len(left_out)
    assert of(f"{name}({given})") == of(f"{name}({', '.join([given, *rest])})")


def test_rounding_is_exact_just_below_a_half_and_far_out() -> None:
    awkward = (0.49999999999999994, -0.49999999999999994, 2.5, 4503599627370497.5)
    assert of("ROUND(a)", a=awkward) == [0, 0, 3, 4503599627370498]
    huge = (1e300, -1e300, 9007199254740993.0, -2.5)
    assert of("ROUND(a)", a=huge) == [1e300, -1e300, 9007199254740992.0, -3]


def test_no_result_is_negative_zero() -> None:
    for formula in (
        "-0",
        "-a",
        "-a + -a",
        "a * -1",
        "a * b",
        "MIN(-a, 0)",
        "CEIL(b)",
        "ROUND(b)",
        "SHIFT(a, 1, -0)",
        "a / -3",
        "c / 3",
        "c * 0.5",
    ):
        result = np.array(of(formula, a=(0.0,) * 4, b=(-0.25,) * 4, c=(-5e-324,) * 4))
        assert (result == 0).all(), formula
        assert not np.signbit(result).any(), formula
    given = run(const("a", -0.0), expr("f", "a * 2"), outputs=(Output("f"),))
    assert not np.signbit(values(given, "f")).any()


@pytest.mark.parametrize("sampled", [True, False])
def test_no_part_of_a_profile_makes_a_distribution_negative_zero(sampled: bool) -> None:
    owed = PmfNode(id="owed", pmf=Pmf((-1.0,), (1.0,)), profile=(0.0, 1.0, 0.0, 1.0), sampled=sampled)
    outputs = ((Output("owed"), Output("twice")), (Output("twice"),))
    for recorded in outputs:
        for row in run(owed, expr("twice", "owed * 2"), outputs=recorded, seed=1).series.values:
            assert np.signbit(row).tolist() == [False, True, False, True]


def test_a_power_sees_the_sign_of_a_zero_inside_its_formula_only() -> None:
    zero = (0.0,) * 4
    assert of("POW(-a, -1) > 0", a=zero) == [0] * 4
    # which of two zeros a processor takes must not be seen
    for either in ("MIN(a, -a)", "MIN(-a, a)", "MAX(a, -a)", "MAX(-a, a)"):
        assert of(f"POW({either}, -1) > 0", a=zero) == [1] * 4, either
    for loops in (1, LOOPS):
        nodes: list[Node] = [const("a", *zero)]
        for i in range(loops):
            nodes += [expr(f"g{i}", f"-a * (SHIFT(h{i}, 1) + 1)"), expr(f"h{i}", f"POW(g{i}, -1) > 0")]
        assert values(run(*nodes), "h0") == [1] * 4


def test_sums_run_in_index_order() -> None:
    numbers = tuple(np.random.Generator(np.random.PCG64(1)).normal(size=1000).tolist())
    total, expected = 0.0, []
    for number in numbers:
        total += number
        expected.append(total)
    assert values(run(const("a", *numbers), expr("s", "CUMSUM(a)"), bins=1000), "s") == expected


def test_an_exponent_means_the_same_as_a_number_and_as_a_series() -> None:
    a = np.random.Generator(np.random.PCG64(2)).lognormal(0, 3, 2000)
    for exponent in (2.0, 0.5, -1.0, 3.0):
        result = run(
            const("a", *a.tolist()),
            const("y", exponent),
            expr("by_number", f"POW(a, {exponent})"),
            expr("by_series", "POW(a, y)"),
            expr("fed_back", "POW(a, y) + 0 * SHIFT(fed_back, 1)"),
            expr("inside", "POW(a + 0 * SHIFT(inside, 1), y)"),
            bins=2000,
        )
        expected = values(result, "by_number")
        for id in ("by_series", "fed_back", "inside"):
            assert values(result, id) == expected


BACKLOG = (
    const("arrivals", 10, 20, 30, 5, 0, 0),
    const("capacity", 12),
    expr("served", "MIN(arrivals + SHIFT(backlog, 1), capacity)"),
    expr("backlog", "MAX(0, arrivals - served + SHIFT(backlog, 1))"),
)


def test_feedback_is_evaluated_bin_by_bin() -> None:
    result = run(*BACKLOG, bins=6)
    assert values(result, "served") == [10, 12, 12, 12, 12, 7]
    assert values(result, "backlog") == [0, 8, 26, 19, 7, 0]


def test_a_node_that_only_repeats_another_of_its_group_is_there_in_time() -> None:
    result = run(expr("g", "SHIFT(h, 1) + 1"), expr("f", "g"), expr("h", "f * 2"))
    assert values(result, "f") == [1, 3, 7, 15]
    assert values(result, "h") == [2, 6, 14, 30]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("SHIFT(f, 1, 100) + 1", [101, 102, 103, 104, 105]),
        ("SHIFT(f, 2, 10) + 1", [11, 11, 12, 12, 13]),
        ("SHIFT(SHIFT(f, 1, 5), 1, 7) + 1", [8, 6, 9, 7, 10]),
        ("SHIFT(SHIFT(f, 1, 5), 1, 7)", [7, 5, 7, 5, 7]),
        ("SHIFT(SHIFT(f, 1, 5), 2, 7) + 1", [8, 8, 6, 9, 9]),
        ("SHIFT(f * 2, 1, 1)", [1, 2, 4, 8, 16]),
        ("SHIFT(f + SHIFT(f, 1), 1, 1)", [1, 1, 2, 3, 5]),
        ("CONV(f, [0, 0.5, 1]) + 8", [8, 12, 22, 31, 45.5]),
        ("CONV(f + 1, [0, 1])", [0, 1, 2, 3, 4]),
        ("CONV(f, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]) + 1", [1, 1, 1, 1, 1]),
        ("CONV(f, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]) + 1", [1, 2, 4, 8, 16]),
        ("EMA(SHIFT(f, 1) + 8, 0.5)", [8, 12, 16, 20, 24]),
        ("CUMSUM(SHIFT(f, 1) + 1)", [1, 3, 7, 15, 31]),
        ("PULSE(2, 1, SHIFT(f, 1) + 1)", [0, 1, 0, 1, 0]),
        ("IF(SHIFT(f, 1) > 2, 0, SHIFT(f, 1) + 1)", [1, 2, 3, 0, 1]),
        ("1 / SHIFT(f, 1) + 1", [1, 2, 1.5, 1 + 1 / 1.5, 1.6]),
        ("SQRT(1 - SHIFT(f, 1))", [1, 0, 1, 0, 1]),
        ("LOG(SHIFT(f, 1) * -1 + 1)", [0, 0, 0, 0, 0]),
        ("SHIFT(f, 1) + LOG(k - 3)", [nan, nan, nan, nan, nan]),
    ],
)
def test_formula_that_feeds_back_on_itself(formula: str, expected: list[float]) -> None:
    """`k` counts bins from 1; LOG(k - 3) has no value in the first three."""
    result = run(const("k", 1, 2, 3, 4, 5), expr("f", formula), bins=5)
    np.testing.assert_allclose(values(result, "f"), expected, rtol=1e-15)


def test_division_by_zero_warns_once_per_node_with_count_and_first_bin() -> None:
    result = run(
        const("a", 1, 2, 3, 4), const("z", 1, 0, 0, 2), expr("f", "a / z + 1 / z"), expr("g", "f + 1")
    )
    assert values(result, "f") == [2, 0, 0, 2.5]
    assert warnings(result) == [("FT301", "f", "division_by_zero in 2 bins, first in bin 1")]
    assert result.warnings[0].severity == "warning"
    other = run(const("z", 1, 0, 0, 2), const("y", 0, 1, 1, 1), expr("f", "1 / z + 1 / y"))
    assert warnings(other) == [("FT301", "f", "division_by_zero in 3 bins, first in bin 0")]
    numbers = run(expr("f", "1 / 0 + 1"))
    assert values(numbers, "f") == [1] * 4
    assert warnings(numbers) == [("FT301", "f", "division_by_zero in 4 bins, first in bin 0")]
    group = run(const("z", 1, 0, 0, 2), expr("u", "SHIFT(v, 1) + 1"), expr("v", "u / z"))
    assert warnings(group) == [("FT301", "v", "division_by_zero in 2 bins, first in bin 1")]


def test_a_branch_not_taken_does_not_warn() -> None:
    nodes = const("a", 1, 2, 3, 4), const("z", 1, 0, 0, 2)
    assert warnings(run(*nodes, expr("f", "IF(z > 0, a / z, 0)"))) == []
    assert warnings(run(*nodes, expr("f", "IF(z == 0, 0, a / z)"))) == []
    taken = run(*nodes, expr("f", "IF(a > 2, a / z, 0)"))
    assert warnings(taken) == [("FT301", "f", "division_by_zero in 1 bin, first in bin 2")]
    later = run(*nodes, expr("f", "a + IF(z > 1, 0, a / z)"))
    assert warnings(later) == [("FT301", "f", "division_by_zero in 2 bins, first in bin 1")]


def test_a_branch_not_taken_does_not_warn_in_feedback() -> None:
    nodes = const("a", 1, 2, 3, 4), const("z", 1, 0, 0, 2)
    quiet = run(*nodes, expr("f", "IF(z > 0, (a + SHIFT(f, 1)) / z, 0)"))
    assert warnings(quiet) == []
    assert values(quiet, "f") == [1, 0, 0, 2]
    loud = run(*nodes, expr("f", "IF(SHIFT(f, 1) > -1, (a + SHIFT(f, 1)) / z, 0)"))
    assert warnings(loud) == [("FT301", "f", "division_by_zero in 2 bins, first in bin 1")]
    hoisted = run(*nodes, expr("f", "IF(SHIFT(f, 1) > 99, a / z, 1)"))
    assert warnings(hoisted) == []


def test_non_finite_results_become_missing_and_warn_where_they_arise_only() -> None:
    result = run(const("x", *X), expr("f", "LOG(x)"), expr("g", "f + 1"), expr("h", "CUMSUM(EXP(x))"))
    np.testing.assert_array_equal(values(result, "g"), [nan, nan, math.log(4) + 1, math.log(1000) + 1])
    assert warnings(result) == [
        ("FT302", "f", "non_finite in 2 bins, first in bin 0"),
        ("FT302", "h", "non_finite in 1 bin, first in bin 3"),
    ]


def test_what_is_missing_because_of_an_input_is_told_from_what_is_computed() -> None:
    nodes = const("x", *X), expr("f", "LOG(x)"), expr("sum", "CUMSUM(f)"), expr("log", "LOG(f - 2)")
    result = run(*nodes)
    np.testing.assert_array_equal(values(result, "sum"), [nan] * 4)
    np.testing.assert_array_equal(values(result, "log"), [nan, nan, nan, math.log(math.log(1000) - 2)])
    assert warnings(result) == [
        ("FT302", "f", "non_finite in 2 bins, first in bin 0"),
        ("FT302", "log", "non_finite in 1 bin, first in bin 2"),
    ]


def test_a_pulse_within_a_formula_takes_its_own_operand_only() -> None:
    assert of("x + PULSE(2, 1, 10) * 2") == [-4, 20, 4, 1020]
    assert of("10 * x - PULSE(2, 0, odd)") == [-41, 0, 39, 10000]


def test_a_missing_value_that_feeds_back_warns_where_it_arises_only() -> None:
    result = run(const("x", 1, -1, 1, 1), expr("f", "LOG(x) + SHIFT(f, 1)"), expr("g", "f * 2 + SHIFT(g, 1)"))
    np.testing.assert_array_equal(values(result, "f"), [0, nan, nan, nan])
    np.testing.assert_array_equal(values(result, "g"), [0, nan, nan, nan])
    assert warnings(result) == [("FT302", "f", "non_finite in 1 bin, first in bin 1")]
    overflow = run(expr("f", "SHIFT(f, 1, 1e200) * 1e100"))
    assert values(overflow, "f")[0] == pytest.approx(1e300)
    assert warnings(overflow) == [("FT302", "f", "non_finite in 1 bin, first in bin 1")]


def test_equal_loops_keep_their_own_warnings_and_values() -> None:
    nodes: list[Node] = []
    for index in range(12):
        nodes += [
            const(f"a{index}", *(float(index),) * 4),
            expr(f"f{index}", f"SHIFT(f{index}, 1) / (a{index} - 5) + {index}"),
        ]
    result = run(*nodes)
    for index in range(12):
        f, expected = 0.0, []
        for _ in range(4):
            f = (f / (index - 5) if index != 5 else 0.0) + index
            expected.append(f)
        assert values(result, f"f{index}") == expected
    assert warnings(result) == [("FT301", "f5", "division_by_zero in 4 bins, first in bin 0")]


@pytest.mark.parametrize(
    "formula",
    [
        "x + 0.5 * EMA(SHIFT({0}, 1), 0.3)",
        "x - 0.1 * CUMSUM(SHIFT({0}, 1))",
        "x + PULSE(3, 1, 0.5 * SHIFT({0}, 1))",
        "x + 0.5 * SHIFT({0}, 2, 7)",
        "x + 0.5 * SHIFT(SHIFT({0} + 1, 1), 2)",
        "x + CONV({0}, [0, 0.25, 0, 0.5])",
        "x + CONV(0.5 * SHIFT({0}, 1), [0.5, 0.25])",
        "SHIFT(x + 0.5 * {0}, 1)",
    ],
)
def test_many_equal_loops_have_the_values_of_each_alone(formula: str) -> None:
    x = const("x", *(float(bin % 5 - 1) for bin in range(24)))
    nodes = [expr(id, formula.format(id)) for id in (f"a{index}" for index in range(LOOPS))]
    together = run(x, *nodes, bins=24).series.values
    alone = run(x, nodes[0], bins=24).series.values
    assert np.unique(alone[1]).size > 5
    for row in together[1:]:
        assert same_bits(row, alone[1])


def test_many_equal_loops_clean_and_warn_as_each_alone() -> None:
    x = const("x", -1, 0, 1, 2)
    ids = [f"a{index}" for index in range(LOOPS)]
    nodes = [expr(id, f"0.5 * (SHIFT({id}, 1) > 0) - LOG(x)") for id in ids]
    together = run(x, *nodes)
    expected = np.array([nan, nan, 0.0, -math.log(2.0)])
    for id in ids:
        assert same_bits(together.series[SeriesKey(id, "value")], expected)
    assert warnings(together) == [("FT302", id, "non_finite in 2 bins, first in bin 0") for id in ids]


def test_a_warning_shows_the_time_of_its_first_bin() -> None:
    grid = Grid(4, start=parse_instant("2025-01-01T00:00:00Z"))
    model = Model((const("a", 1, 1, 0, 0), expr("f", "1 / a")), grid)
    (warning,) = evaluate(compile(model)).warnings
    assert warning.message == 'node "f": division_by_zero in 2 bins, first in bin 2 (2025-01-01T02:00:00Z)'


def test_pmf_nodes_hold_their_expectation_times_the_profile() -> None:
    pmf = Pmf((100.0, 150.0, 200.0), (0.3, 0.5, 0.2))
    result = run(PmfNode(id="a", pmf=pmf), PmfNode(id="b", pmf=pmf, profile=(0.0, 0.5, 1.0, 2.0)))
    assert values(result, "a") == [145.0] * 4
    assert values(result, "b") == [0.0, 72.5, 145.0, 290.0]
    shaped = run(PmfNode(id="a", pmf=pmf, profile="rush-hour"), bins=24)
    assert math.fsum(values(shaped, "a")) == 145.0 * 24


@pytest.mark.parametrize("sampled", [True, False])
def test_a_profile_that_makes_a_distribution_overflow_leaves_missing_values(sampled: bool) -> None:
    huge = PmfNode(id="a", pmf=Pmf((1e308,), (1.0,)), profile=(1.0, 10.0, 1.0, 1.0), sampled=sampled)
    result = run(huge, seed=1)
    np.testing.assert_array_equal(values(result, "a"), [1e308, nan, 1e308, 1e308])
    assert warnings(result) == [("FT302", "a", "non_finite in 1 bin, first in bin 1")]


def sampled(id: str) -> PmfNode:
    return PmfNode(id=id, pmf=Pmf((80.0, 100.0, 140.0), (0.2, 0.6, 0.2)), sampled=True)


def test_a_sampled_node_needs_a_seed() -> None:
    plan = compile(Model((sampled("demand"),), Grid(4)))
    with pytest.raises(InvalidInput, match="demand") as error:
        evaluate(plan)
    assert error.value.code == "FT214"
    assert evaluate(plan, seed=0).series.values.shape == (1, 4)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "7", True])
def test_a_seed_is_a_whole_number_within_its_bounds(seed: Any) -> None:
    plan = compile(Model((sampled("demand"),), Grid(4)))
    with pytest.raises(InvalidInput, match="0 to 9,223,372,036,854,775,807") as error:
        evaluate(plan, seed=seed)
    assert error.value.code == "FT205"
    assert evaluate(plan, seed=2**63 - 1).series.rows == 4


def test_draws_depend_on_seed_and_node_only() -> None:
    alone = run(sampled("demand"), bins=50, seed=42)
    with_others = run(sampled("other"), sampled("demand"), bins=50, seed=42)
    assert values(alone, "demand") == values(with_others, "demand")
    assert values(with_others, "demand") != values(with_others, "other")
    plan = compile(Model((sampled("demand"),), Grid(50), seed=42))
    assert values(evaluate(plan, seed=7), "demand") != values(alone, "demand")
    assert values(evaluate(plan), "demand") == values(alone, "demand")


def test_inputs_take_the_place_of_any_node() -> None:
    plan = compile(Model((*BACKLOG, sampled("demand")), Grid(6)))
    given = {
        "arrivals": np.array([1.0, nan, 1.0, 1.0, 1.0, -0.0]),
        "backlog": np.full(6, 5.0),
        "demand": np.ones(6),
    }
    result = evaluate(plan, inputs=given)
    np.testing.assert_array_equal(values(result, "served"), [1, nan, 6, 6, 6, 5])
    assert values(result, "backlog") == [5.0] * 6
    assert not np.signbit(result.series[SeriesKey("arrivals", "value")]).any()
    assert given["arrivals"].tobytes() == np.array([1.0, nan, 1.0, 1.0, 1.0, -0.0]).tobytes()
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"arrivals": np.ones(5)}, "arrivals"),
        ({"arrivals": np.ones((1, 6))}, "shape"),
        ({"arrivals": np.ones(6, dtype=np.int64)}, "int64"),
        ({"arrivals": np.full(6, np.inf)}, "infinity"),
        ({"nobody": np.ones(6)}, "nobody"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(inputs: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as error:
        evaluate(compile(Model(BACKLOG, Grid(6))), inputs=inputs)
    assert error.value.code == "FT303"
    bound = compile(Model(BACKLOG, Grid(6)), inputs=inputs)
    with pytest.raises(InvalidInput, match=words) as error:
        evaluate(bound, inputs=inputs)
    assert error.value.code == "FT303"


def test_a_misspelled_input_is_told_before_the_cycle_that_it_leaves() -> None:
    plan = compile(Model((expr("a", "b + 1"), expr("b", "a + 1")), Grid(2)), inputs=["a"])
    with pytest.raises(InvalidInput, match="aa") as error:
        evaluate(plan, inputs={"aa": np.ones(2)})
    assert error.value.code == "FT303"


def test_samples_warn_of_what_is_drawn_in_each_of_them() -> None:
    pmf, profile = Pmf((1e308, 1.0), (0.5, 0.5)), (1.0, 10.0, 1.0, 1.0)
    drawn = PmfNode(id="drawn", pmf=pmf, profile=profile, sampled=True)
    model = Model((drawn, expr("twice", "drawn * 2")), Grid(4))
    points, found = Points(sources(compile(model), seed=1)), np.empty((40, 2, 4))
    points.evaluate(
        0, 40, lambda first, rows: found[first : first + len(rows)].__setitem__(..., rows), lambda: None
    )
    missing = np.isnan(found[:, 0, 1])
    assert 0 < missing.sum() < 40
    same, other = points.notes().warnings(model, samples=40)
    assert (
        same.message == f'node "drawn": non_finite in 1 bin, first in bin 1; in {missing.sum()} of 40 samples'
    )
    times = (np.isnan(found[:, 1]) & ~np.isnan(found[:, 0])).any(axis=1).sum()
    assert other.message == f'node "twice": non_finite in 3 bins, first in bin 0; in {times} of 40 samples'


def test_recorded_series_come_in_order_with_units() -> None:
    topology = Topology(
        (TopologyNode("Shop", semantics={"arrivals": "a"}), TopologyNode("Till", semantics={"arrivals": "a"}))
    )
    nodes = (
        expr("late", "SHIFT(a, 1) + 1"),
        ConstNode(id="a", values=(1.0, 2.0), unit="orders"),
        expr("hidden", "a * 2"),
        expr("declared", "hidden", unit="parcels"),
    )
    outputs = (Output("*", exclude=("hidden",)),)
    series = run(*nodes, bins=2, topology=topology, outputs=outputs).series
    assert [str(key) for key in series.keys] == [
        "late.value",
        "Shop.arrivals",
        "Till.arrivals",
        "declared.value",
    ]
    assert series.units == ("orders", "orders", "orders", "parcels")
    np.testing.assert_array_equal(series.values, [[1, 2], [1, 2], [1, 2], [2, 4]])
    assert series.values.flags.c_contiguous


def test_a_plan_may_be_evaluated_again_without_touching_the_first_result() -> None:
    plan = compile(Model(BACKLOG, Grid(6)))
    first = evaluate(plan).series
    copy = first.values.copy()
    second = evaluate(plan, inputs={"arrivals": np.zeros(6)}).series
    assert first.values.tobytes() == copy.tobytes()
    assert second[SeriesKey("served", "value")].tolist() == [0.0] * 6
    assert evaluate(plan).series.equals(first)


def test_a_grid_of_one_bin() -> None:
    texts = [
        "a + 1",
        "SHIFT(a, 1)",
        "CONV(a, [0, 1])",
        "EMA(a, 0.5)",
        "CUMSUM(a)",
        "PULSE(3)",
        "SHIFT(f6, 1) + a",
    ]
    result = run(const("a", 2.0), *(expr(f"f{i}", text) for i, text in enumerate(texts)), bins=1)
    assert [values(result, f"f{i}") for i in range(7)] == [[3], [0], [0], [2], [2], [1], [2]]


def test_a_chain_of_10_000_nodes() -> None:
    chain = [expr(f"n{i}", f"n{i - 1} + 1") for i in range(1, 10_000)]
    result = run(*reversed(chain), const("n0", *(0.0,) * 288), bins=288, outputs=(Output("n9999"),))
    assert values(result, "n9999") == [9999.0] * 288


def test_a_feedback_group_of_10_000_nodes() -> None:
    chain = [expr(f"n{i}", f"n{i - 1} + 1") for i in range(1, 10_000)]
    result = run(expr("n0", "SHIFT(n9999, 1) + 1"), *chain, bins=20, outputs=(Output("n9999"),))
    assert values(result, "n9999") == [10_000.0 * (t + 1) for t in range(20)]


def test_a_million_bins() -> None:
    bins = 1_000_000
    nodes: list[Node] = [const("one", 1.0), expr("t", "CUMSUM(one) - 1")]
    nodes += [expr(f"n{i}", f"MAX(t, {i}) * 2 - SHIFT(t, {i})") for i in range(16)]
    nodes += [expr("level", "SHIFT(level, 1) * 0.5 + one"), expr("mean", "EMA(t, 0.5)")]
    result = run(*nodes, bins=bins)
    assert values(result, "n3")[:5] == [6.0, 6.0, 6.0, 6.0, 7.0]
    assert values(result, "n3")[-1] == (bins - 1) * 2 - (bins - 4)
    assert values(result, "level")[-1] == 2.0
    assert result.warnings == ()


PROGRAM = """
import hashlib, json
from flowtime.core.expression import parse
from flowtime.core.grid import Grid
from flowtime.core.pmf import Pmf
from flowtime.engine import compile, evaluate
from flowtime.model.spec import ExprNode, Model, PmfNode

texts = {
    "s": "MIN(d + SHIFT(b, 1), 110)",
    "b": "MAX(0, d - s + SHIFT(b, 1)) / 0",
    "z": "q + s * b + LOG(d)",
    "q": "EXP(d / 50) + POW(d, 1.7) + z2",
    "z2": "SHIFT(z, 2)",
}
nodes = [ExprNode(id=id, expr=text, tree=parse(text)) for id, text in texts.items()]
pmf = Pmf((80.0, 140.0), (0.5, 0.5))
nodes.append(PmfNode(id="d", pmf=pmf, sampled=True, profile="rush-hour"))
plan = compile(Model(tuple(nodes), Grid(48, start=0), seed=3))
result = evaluate(plan)
print(hashlib.sha256(result.series.values.tobytes()).hexdigest())
print(plan.describe(), json.dumps(plan.to_json()), *result.warnings)
"""


def test_values_without_number_are_refused_before_they_take_memory() -> None:
    nodes = tuple(ExprNode(id=f"n{number}", expr="1", tree=parse("1")) for number in range(101))
    with pytest.raises(InvalidInput) as caught:
        evaluate(compile(Model(nodes, Grid(1_000_000))))
    assert caught.value.code == "FT309"
    assert "101 nodes in 1,000,000 bins" in caught.value.message


def test_hash_seed_locale_and_time_zone_do_not_matter() -> None:
    outputs = set()
    for seed, zone, locale in (
        ("0", "UTC", "C"),
        ("1", "Asia/Kolkata", "de_DE.UTF-8"),
        ("77", "America/Lima", "tr"),
    ):
        env = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
        )
        outputs.add(done.stdout)
    (output,) = outputs
    assert "division_by_zero" in output
