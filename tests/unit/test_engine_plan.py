from __future__ import annotations

import json

import pytest

from flowtime.core.expression import parse
from flowtime.core.grid import Grid
from flowtime.core.pmf import Pmf
from flowtime.engine.plan import Feedback, Single, Source, compile
from flowtime.errors import InvalidInput
from flowtime.model.spec import ConstNode, ExprNode, Model, Node, Output, PmfNode


def expr(id: str, text: str) -> ExprNode:
    return ExprNode(id=id, expr=text, tree=parse(text))


def plan_of(*nodes: Node, **model: object) -> object:
    return compile(Model(nodes, Grid(24), **model))


SHOP = (
    expr("utilisation", "served / capacity"),
    ConstNode(id="arrivals", values=(5.0,) * 24, unit="orders"),
    ConstNode(id="capacity", values=(12.0,)),
    expr("served", "MIN(arrivals +\n  SHIFT(backlog, 1), capacity)"),
    expr("backlog", "MAX(0, arrivals - served + SHIFT(backlog, 1))"),
    PmfNode(id="noise", pmf=Pmf((1.0,), (1.0,)), sampled=True, profile="rush-hour"),
)


def test_describe_shows_steps_formulas_needs_and_what_breaks_a_cycle() -> None:
    text = compile(Model(SHOP, Grid(24), outputs=(Output("*", exclude=("noise",)),))).describe()
    assert text == "\n".join(
        [
            "6 nodes over 24 bins of 1 hour, 5 steps, 5 nodes recorded",
            "1. capacity = const 12.0 in every bin",
            "2. arrivals [orders] = const, 24 values",
            "3. noise = pmf, one draw per bin, profile rush-hour  (not recorded)",
            "4. feedback group of 2 nodes, bin by bin in this order:",
            "   - served = MIN(arrivals + SHIFT(backlog, 1), capacity)",
            "     needs arrivals, capacity",
            "     needs earlier bins of backlog",
            "   - backlog = MAX(0, arrivals - served + SHIFT(backlog, 1))",
            "     needs arrivals, served",
            "     needs earlier bins of backlog",
            "   the cycle is broken by SHIFT(backlog, 1) in served and SHIFT(backlog, 1) in backlog",
            "5. utilisation = served / capacity",
            "   needs capacity, served",
        ]
    )


def test_describe_counts_one_as_one() -> None:
    one = compile(Model((ConstNode(id="visits", values=(5.0,)),), Grid(1)))
    assert one.describe().splitlines()[0] == "1 node over 1 bin of 1 hour, 1 step, 1 node recorded"


def test_the_plan_is_json() -> None:
    document = json.loads(json.dumps(compile(Model(SHOP, Grid(24))).to_json()))
    assert document["grid"] == {"bins": 24, "binSize": 1, "binUnit": "hours"}
    assert document["steps"][0] == {
        "kind": "source",
        "node": "capacity",
        "definition": "const 12.0 in every bin",
    }
    assert document["steps"][4] == {
        "kind": "formula",
        "node": "utilisation",
        "formula": "served / capacity",
        "needs": ["capacity", "served"],
        "needsEarlier": [],
    }
    assert [step["kind"] for step in document["steps"]] == [
        "source",
        "source",
        "source",
        "feedback",
        "formula",
    ]
    group = document["steps"][3]
    assert [member["node"] for member in group["members"]] == ["served", "backlog"]
    assert group["delays"][0] == {"node": "served", "delay": "SHIFT(backlog, 1)"}
    assert document["recorded"][0] == {
        "component": "utilisation",
        "measure": "value",
        "node": "utilisation",
        "unit": None,
    }


@pytest.mark.parametrize(
    ("formulas", "path"),
    [
        ({"b": "d + 1", "d": "b * 2"}, "b -> d -> b"),
        ({"a": "SHIFT(a, 0) + 1"}, "a -> a"),
        ({"a": "b + SHIFT(b, 1)", "b": "a / 2"}, "a -> b -> a"),
        ({"a": "CONV(a, [0.5, 0.5])"}, "a -> a"),
        ({"a": "EMA(b, 0.5)", "b": "c", "c": "a + b2", "b2": "b"}, "a -> b -> c -> a"),
    ],
)
def test_a_cycle_without_a_delay_is_refused_with_its_path(formulas: dict[str, str], path: str) -> None:
    with pytest.raises(InvalidInput, match="cycle") as error:
        plan_of(*(expr(id, text) for id, text in formulas.items()))
    assert error.value.code == "FT213"
    assert f"cycle without a delay: {path} " in error.value.message


def test_describe_tells_equal_groups_apart_and_distributions_by_their_shape() -> None:
    half = Pmf((0.0, 1.0), (0.5, 0.5))
    plan = plan_of(
        PmfNode(id="drawn", pmf=half, sampled=True),
        PmfNode(id="lag", pmf=Pmf((1.0, 2.0), (0.5, 0.5))),
        PmfNode(id="shaped", pmf=half, profile=(1.0,) * 24),
        expr("a", "CONV(a, lag) + drawn"),
        expr("b", "CONV(b, lag) + SHIFT(shaped, 1)"),
    )
    assert plan.describe().splitlines()[1:] == [
        "1. drawn = pmf, one draw per bin",
        "2. lag = pmf, expectation",
        "3. shaped = pmf, expectation, profile by bin",
        "4. feedback group of 1 node, bin by bin in this order:",
        "   - a = CONV(a, lag) + drawn",
        "     needs drawn",
        "     needs earlier bins of a",
        "   the cycle is broken by CONV(a, lag) in a",
        "5. feedback group of 1 node, bin by bin in this order:",
        "   - b = CONV(b, lag) + SHIFT(shaped, 1)",
        "     needs earlier bins of b, shaped",
        "   the cycle is broken by CONV(b, lag) in b",
    ]


def test_a_bound_input_breaks_up_its_feedback_group() -> None:
    plan = compile(Model(SHOP, Grid(24)), inputs=["backlog"])
    assert compile(Model(SHOP, Grid(24))).has_feedback
    assert not plan.has_feedback
    assert "backlog = given series" in plan.describe()


def test_groups_of_one_level_come_after_its_other_nodes() -> None:
    nodes: list[Node] = [ConstNode(id="x", values=(1.0,)), ConstNode(id="y", values=(2.0,))]
    nodes += [expr("a", "SHIFT(a, 1) * 0.5 + x"), expr("b", "SHIFT(b, 1) * 0.25 + y"), expr("c", "a + b")]
    nodes += [expr("d", "SHIFT(d, 1) * 0.5 + c"), expr("e", "x + y")]
    steps = [step for step in plan_of(*nodes).steps if not isinstance(step, Source)]
    assert [[formula.node for formula in step.members] for step in steps] == [
        ["e"],
        ["a"],
        ["b"],
        ["c"],
        ["d"],
    ]
    assert [isinstance(step, Feedback) for step in steps] == [False, True, True, False, True]


def test_literals_are_folded_and_kernels_are_not_dependencies() -> None:
    plan = plan_of(
        PmfNode(id="lag", pmf=Pmf((1.0, 2.0), (0.5, 0.5))),
        ConstNode(id="x", values=(1.0,)),
        expr("f", "x * (2 + 3 * 4) + CONV(x, lag)"),
    )
    step = plan.steps[-1]
    assert isinstance(step, Single)
    assert [operation.function for operation in step.formula.operations] == ["*", "CONV", "+"]
    assert step.formula.operations[0].operands == ("x", 14.0)
    assert step.formula.now + step.formula.delayed == ("x",)
