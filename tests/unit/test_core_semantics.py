from __future__ import annotations

import pytest

from flowtime.core.expression import parse
from flowtime.core.functions import TABLE, Function
from flowtime.core.pmf import Pmf
from flowtime.core.semantics import References, kernel_of, problems, references, unit_of

PMFS = {
    "lag": Pmf((1.0, 2.0, 3.0), (0.6, 0.3, 0.1)),
    "now_and_later": Pmf((0.0, 2.0), (0.5, 0.5)),
    "fractions": Pmf((1.0, 1.5), (0.5, 0.5)),
    "negative": Pmf((-1.0, 1.0), (0.5, 0.5)),
    "farthest": Pmf((1e6,), (1.0,)),
    "too_far": Pmf((1e6 + 1,), (1.0,)),
}


def found(formula: str) -> list[tuple[str, str, tuple[int, int]]]:
    return [(p.code, p.message, p.span) for p in problems(parse(formula), PMFS.get)]


@pytest.mark.parametrize(
    "formula",
    [
        "a + b * 2",
        "shift(a, 0)",
        "SHIFT(a, 3, -1.5)",
        "CONV(a, [0, -0.5])",
        "CONV(a, lag)",
        "CONV(a, now_and_later)",
        "CONV(a, farthest)",
        "EMA(a, 1)",
        "MIN(a, b, c, 1)",
        "PULSE(4)",
        "PULSE(4, 0, a)",
        "PULSE(4, 1, -2)",
        "IF(a > 1, b, -b)",
    ],
)
def test_valid_calls_have_no_problems(formula: str) -> None:
    assert found(formula) == []


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("CLAMP(a, 1)", ["CLAMP takes 3 arguments, not 2", "CLAMP(x, lo, hi)"]),
        ("MIN(a)", ["MIN takes 2 or more arguments, not 1"]),
        ("SQRT()", ["SQRT takes 1 argument, not 0"]),
        ("SHIFT(a)", ["SHIFT takes 2 to 3 arguments", "SHIFT(x, k[, initial])"]),
        ("PULSE(1, 2, 3, 4)", ["PULSE takes 1 to 3 arguments", "PULSE(period[, phase[, amplitude]])"]),
        ("SHIFT(a, -1)", ["argument k must be a whole number >= 0, not -1"]),
        ("SHIFT(a, 1.5)", ["SHIFT", "1.5"]),
        ("SHIFT(a, b)", ["SHIFT", "known before the run", '"b" is not a parameter']),
        ("SHIFT(a, 1 / 2)", ["SHIFT", "argument k must be a whole number >= 0, not 0.5"]),
        ("SHIFT(a, 1, b)", ["SHIFT", "initial"]),
        ("PULSE(0)", ["PULSE", "period", ">= 1", "0"]),
        ("PULSE(2, -1)", ["PULSE", "phase"]),
        ("EMA(a, 0)", ["EMA", "alpha", "> 0 and <= 1"]),
        ("EMA(a, 1.1)", ["EMA", "1.1"]),
        ("SQRT([1, 2])", ["SQRT", "array"]),
        ("MIN(a, a, [1, 2])", ["MIN", "array"]),
        ("SHIFT(a, [1])", ["SHIFT", "whole number", "an array is not a number"]),
        ("CONV(a, 3)", ["CONV", "kernel", "array"]),
        ("CONV(a, other)", ["CONV", '"other" is not a pmf node']),
        ("CONV(a, fractions)", ["CONV", '"fractions" has 1.5']),
        ("CONV(a, negative)", ["CONV", '"negative" has -1']),
        ("CONV(a, too_far)", ["0 to 1,000,000", '"too_far" has 1000001']),
    ],
)
def test_a_bad_call_names_the_function_and_what_it_takes(formula: str, words: list[str]) -> None:
    ((code, message, _),) = found(formula)
    assert code == "FT212"
    for word in words:
        assert word in message


def test_an_unknown_function_is_named_with_the_nearest_one() -> None:
    (problem,) = problems(parse("1 + SHFT(a, 1)"), PMFS.get)
    assert (problem.code, problem.message, problem.span) == ("FT211", "unknown function SHFT", (4, 8))
    assert problem.hint == 'did you mean "SHIFT"?'


def test_all_problems_are_found_in_the_order_of_the_text() -> None:
    text = "SHFT(EMA(a, 2), 1) + MIN(SHIFT(a, -1)) + PULSE(0, -1)"
    spans = [text[slice(*span)] for _, _, span in found(text)]
    assert spans == ["SHFT", "2", "MIN(SHIFT(a, -1))", "-1", "0", "-1"]


@pytest.mark.parametrize(
    ("formula", "now", "delayed", "kernels"),
    [
        ("a + b", {"a", "b"}, set(), set()),
        ("SHIFT(a, 1) + b", {"b"}, {"a"}, set()),
        ("SHIFT(a, 0)", {"a"}, set(), set()),
        ("a + SHIFT(a, 1)", {"a"}, set(), set()),
        ("SHIFT(SHIFT(a, 0) + EMA(b, 0.5), 2)", set(), {"a", "b"}, set()),
        ("EMA(a, 0.5) + CUMSUM(b)", {"a", "b"}, set(), set()),
        ("CONV(a, [0, 1])", set(), {"a"}, set()),
        ("CONV(a, [1, 1])", {"a"}, set(), set()),
        ("CONV(a, lag)", set(), {"a"}, {"lag"}),
        ("CONV(a, now_and_later) + lag", {"a", "lag"}, set(), {"now_and_later"}),
    ],
)
def test_references(formula: str, now: set[str], delayed: set[str], kernels: set[str]) -> None:
    expected = References(frozenset(now), frozenset(delayed), frozenset(kernels))
    assert references(parse(formula), PMFS.get) == expected


def test_a_kernel_has_the_pmf_weights_at_its_lags() -> None:
    call = parse("CONV(a, lag)")
    assert kernel_of(call.arguments[1], PMFS.get) == (0.0, *PMFS["lag"].weights)


@pytest.mark.parametrize(
    ("formula", "unit"),
    [
        ("a", "req"),
        ("a + a2", "req"),
        ("a + cost", None),
        ("a + 1", "req"),
        ("-a * 2", "req"),
        ("2 * a / 3", "req"),
        ("a * a2", None),
        ("a / a2", None),
        ("a > a2", None),
        ("SHIFT(EMA(a, 0.5), 1)", "req"),
        ("CONV(a, [0, 1])", "req"),
        ("MAX(0, a - a2)", "req"),
        ("CLAMP(a, 0, cost)", None),
        ("IF(cost > 3, a, 0)", "req"),
        ("MOD(a, cost)", "req"),
        ("PULSE(4, 0, a)", "req"),
        ("EXP(a)", None),
        ("a + unknown", None),
        ("1 + 2", None),
    ],
)
def test_units_are_inferred_where_they_are_unambiguous(formula: str, unit: str | None) -> None:
    assert unit_of(parse(formula), {"a": "req", "a2": "req", "cost": "eur", "unknown": None}) == unit


def test_a_formula_of_many_terms_does_not_exhaust_the_stack() -> None:
    tree = parse(" + ".join(["a"] * 20_000))
    assert found(" + ".join(["a"] * 20_000)) == []
    assert references(tree, PMFS.get).now == {"a"}
    assert unit_of(tree, {"a": "req"}) == "req"


@pytest.mark.parametrize("function", TABLE.values(), ids=lambda function: function.name)
def test_every_example_is_a_valid_formula_that_calls_its_function(function: Function) -> None:
    assert found(function.example) == []
    assert function.name + "(" in function.example
    assert function.doc.endswith(".")
    assert set(function.unit_from) <= {parameter.name for parameter in function.parameters}
