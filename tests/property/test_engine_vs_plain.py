"""The engine against a plain evaluator: one value at a time, by recursion, straight from the definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowtime.core.expression import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    format,
    parse,
)
from flowtime.core.functions import TABLE
from flowtime.core.grid import Grid
from flowtime.core.pmf import Pmf
from flowtime.core.semantics import problems
from flowtime.core.series import same_bits
from flowtime.engine.evaluate import ROW_GROUPS, evaluate
from flowtime.engine.plan import Feedback, compile
from flowtime.model.spec import ConstNode, ExprNode, Model, Node, PmfNode


def number(tree: Expression) -> float:
    return -tree.operand.value if isinstance(tree, Negative) else tree.value


def half_away(x: float) -> float:
    if not math.isfinite(x):
        return x
    whole = math.trunc(x)
    return math.copysign(abs(whole) + (abs(x - whole) >= 0.5), x)


COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a < b or a > b,
}


class Plain:
    """Values on demand. `watch` collects divisions by zero once all values are known."""

    def __init__(self, model: Model) -> None:
        self.nodes = {node.id: node for node in model.nodes}
        self.bins = model.grid.bins
        self.values: dict[tuple[str, int], float] = {}
        self.raw: dict[tuple[int, int], float] = {}
        self.zeros: dict[str, set[int]] = {}
        self.watching: str | None = None

    def value(self, id: str, t: int) -> float:
        if (id, t) not in self.values:
            node = self.nodes[id]
            if isinstance(node, ExprNode):
                raw = self.at(node.tree, t)
            elif isinstance(node, PmfNode):
                raw = node.pmf.expectation
            else:
                raw = node.values[t % len(node.values)]
            self.values[id, t] = raw + 0.0 if math.isfinite(raw) else math.nan
        return self.values[id, t]

    def at(self, tree: Expression, t: int) -> float:
        key = (id(tree), t)
        if key not in self.raw:
            self.raw[key] = float(self.compute(tree, t))
        return self.raw[key]

    def kernel(self, tree: Expression) -> list[tuple[int, float]]:
        if isinstance(tree, Array):
            return list(enumerate(tree.values))
        pmf = self.nodes[tree.id].pmf
        return sorted((int(v), w) for v, w in zip(pmf.values, pmf.weights, strict=True))

    def compute(self, tree: Expression, t: int) -> float:  # noqa: C901 - one case for each thing that has its own rule
        match tree:
            case Number(value):
                return value
            case Name(name):
                return self.value(name, t)
            case Negative(operand):
                return -self.at(operand, t)
            case Binary(operator, left, right):
                a, b = self.at(left, t), self.at(right, t)
                if operator in COMPARE:
                    return float(COMPARE[operator](a, b))
                if operator == "/":
                    return a / b if b != 0 else (math.nan if math.isnan(a) else 0.0)
                return {"+": a + b, "-": a - b, "*": a * b}[operator]
            case Call("SHIFT", (x, k, *rest)):
                lag = int(number(k))
                return self.at(x, t - lag) if t >= lag else (number(rest[0]) if rest else 0.0) + 0.0
            case Call("CONV", (x, kernel)):
                total = 0.0
                for lag, weight in self.kernel(kernel):
                    if weight != 0 and lag <= t:
                        total += weight * self.at(x, t - lag)
                return total
            case Call("EMA", (x, alpha)):
                if t == 0:
                    return self.at(x, 0)
                return number(alpha) * self.at(x, t) + (1.0 - number(alpha)) * self.at(tree, t - 1)
            case Call("CUMSUM", (x,)):
                return self.at(x, 0) if t == 0 else self.at(tree, t - 1) + self.at(x, t)
            case Call("PULSE", (period, *rest)):
                phase = int(number(rest[0])) if rest else 0
                on = t >= phase and (t - phase) % int(number(period)) == 0
                return (self.at(rest[1], t) if len(rest) > 1 else 1.0) if on else 0.0
            case Call("IF", (condition, a, b)):
                chosen = self.at(condition, t)
                return math.nan if math.isnan(chosen) else self.at(a if chosen != 0 else b, t)
            case Call(name, arguments):
                return self.elementwise(name, [self.at(argument, t) for argument in arguments])
        raise AssertionError(tree)

    def elementwise(self, name: str, x: list[float]) -> float:
        if name in ("MIN", "MAX"):
            return math.nan if any(map(math.isnan, x)) else {"MIN": min, "MAX": max}[name](x) + 0.0
        if name == "CLAMP":
            return self.elementwise("MAX", [x[1], self.elementwise("MIN", [x[0], x[2]])])
        if name == "MOD":
            return float(np.mod(*x)) if x[1] != 0 else (math.nan if math.isnan(x[0]) else 0.0)
        if name == "STEP":
            return float(x[0] >= x[1])
        if name == "ROUND":
            return half_away(x[0])
        if name == "POW":
            return math.nan if any(map(math.isnan, x)) else float(np.power(*x))
        return {
            "FLOOR": np.floor,
            "CEIL": np.ceil,
            "ABS": np.abs,
            "SQRT": np.sqrt,
            "EXP": np.exp,
            "LOG": np.log,
        }[name](*x)

    def divisions(self, tree: Expression, t: int, taken: bool) -> bool:
        """Whether a division in the tree divides by zero at t; what memory reads always counts."""
        match tree:
            case Binary(operator, left, right):
                a, b = self.at(left, t), self.at(right, t)
                own = taken and operator == "/" and b == 0 and not math.isnan(a)
                return own | self.divisions(left, t, taken) | self.divisions(right, t, taken)
            case Negative(operand):
                return self.divisions(operand, t, taken)
            case Call("IF", (condition, a, b)):
                chosen = self.at(condition, t)
                known = not math.isnan(chosen)
                return (
                    self.divisions(condition, t, taken)
                    | self.divisions(a, t, taken and known and chosen != 0)
                    | self.divisions(b, t, taken and known and chosen == 0)
                )
            case Call(name, arguments):
                own = taken or TABLE[name].memory
                return any(self.divisions(a, t, own) for a in arguments)
        return False


LITERALS = st.sampled_from([0.0, 1.0, 2.0, 0.5, 0.1, 3.0, 7.25, 1e-310, 1e200, 0.49999999999999994])
SIGNED = st.builds(
    lambda value, sign: Negative(Number(value)) if sign else Number(value), LITERALS, st.booleans()
)
BINS = 9


@st.composite
def formula(draw: st.DrawFn, now: list[str], later: list[str], kernels: list[str], depth: int) -> Expression:
    """A formula that reads `now` in the same bin, and `later` only through a delay."""

    def sub(names: list[str] = now) -> Expression:
        return draw(formula(names, later, kernels, depth - 1))

    choice = draw(st.integers(0, 11)) if depth > 0 else draw(st.integers(0, 1))
    if choice == 0 and now:
        return Name(draw(st.sampled_from(now)))
    if choice <= 1:
        return draw(SIGNED)
    if choice == 2:
        return Negative(sub())
    if choice <= 5:
        return Binary(
            draw(st.sampled_from(["+", "-", "*", "/", "/", "<", "<=", ">", ">=", "==", "!="])), sub(), sub()
        )
    if choice <= 7:
        lag = draw(st.integers(1, 3))
        rest = (draw(SIGNED),) if draw(st.booleans()) else ()
        return Call("SHIFT", (sub(later), Number(float(lag)), *rest))
    if choice == 8:
        weights = tuple(draw(st.lists(st.sampled_from([0.0, 0.6, 0.3, -0.5, 1.0]), max_size=11)))
        kernel = Name(draw(st.sampled_from(kernels))) if draw(st.booleans()) else Array((0.0, *weights))
        return Call("CONV", (sub(later), kernel))
    name = draw(st.sampled_from(sorted(TABLE)))
    match name:
        case "SHIFT":
            return Call(name, (sub(), Number(0.0)))
        case "CONV":
            return Call(name, (sub(), Array((draw(st.sampled_from([0.5, 1.0])), 0.0, 0.25))))
        case "EMA":
            return Call(name, (sub(), Number(draw(st.sampled_from([0.2, 0.5, 1.0])))))
        case "PULSE":
            return Call(
                name, (Number(float(draw(st.integers(1, 3)))), Number(float(draw(st.integers(0, 3)))), sub())
            )
        case "MIN" | "MAX":
            return Call(name, tuple(sub() for _ in range(draw(st.integers(2, 3)))))
    return Call(name, tuple(sub() for _ in TABLE[name].parameters))


VALUES = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.5, -2.5, 1e300, 1e-300, 5e-324]), st.integers(-20, 20).map(float)
)


@st.composite
def models(draw: st.DrawFn, copies: int = 1) -> Model:
    """Consts, a pmf and formulas, shuffled; with copies, each copy has its own consts."""
    sources = [f"k{index}" for index in range(draw(st.integers(1, 3)))]
    exprs = [f"e{index}" for index in range(draw(st.integers(1, 5)))]
    everything = [*sources, *exprs, "lags"]
    trees = {
        id: draw(formula([*sources, *exprs[:index], "lags"], everything, ["lags"], 3))
        for index, id in enumerate(exprs)
    }
    nodes: list[Node] = [PmfNode(id="lags", pmf=Pmf((2.0, 1.0, 4.0), (0.5, 0.25, 0.25)))]
    for copy in range(copies):
        suffix = f"_{copy}" if copies > 1 else ""
        for id in sources:
            values = draw(st.lists(VALUES, min_size=BINS, max_size=BINS))
            nodes.append(ConstNode(id=id + suffix, values=tuple(values)))
        for id, tree in trees.items():
            text = format(renamed(tree, suffix))
            nodes.append(ExprNode(id=id + suffix, expr=text, tree=parse(text)))
    return Model(tuple(draw(st.permutations(nodes)) if copies == 1 else nodes), Grid(BINS))


def renamed(tree: Expression, suffix: str) -> Expression:
    match tree:
        case Name(id):
            return tree if id == "lags" else Name(id + suffix)
        case Negative(operand):
            return Negative(renamed(operand, suffix))
        case Binary(operator, left, right):
            return Binary(operator, renamed(left, suffix), renamed(right, suffix))
        case Call(function, arguments):
            return Call(function, tuple(renamed(argument, suffix) for argument in arguments))
    return tree


def check(model: Model) -> None:
    pmf_of = {node.id: node.pmf for node in model.nodes if isinstance(node, PmfNode)}.get
    exprs = [node for node in model.nodes if isinstance(node, ExprNode)]
    assert [p for node in exprs for p in problems(node.tree, pmf_of)] == []
    plan = compile(model)
    result = evaluate(plan)
    with np.errstate(all="ignore"):
        plain = Plain(model)
        for key, _, row in result.series:
            expected = np.array([plain.value(key.component, t) for t in range(BINS)])
            assert same_bits(row, expected), (key.component, row, expected, plan.describe())
        assert not np.signbit(result.series.values[result.series.values == 0]).any()
        zeros = {
            node.id: bins
            for node in exprs
            if (bins := [t for t in range(BINS) if plain.divisions(node.tree, t, True)])
        }
    noted = {w.node: w.message for w in result.warnings if w.code == "FT301"}
    assert noted.keys() == zeros.keys(), plan.describe()
    for id, bins in zeros.items():
        assert f"in {len(bins)} bin" in noted[id] and noted[id].endswith(f"first in bin {bins[0]}")


FEW = settings().max_examples
EXAMPLES = settings(max_examples=2 * FEW, deadline=None, suppress_health_check=list(HealthCheck))


@EXAMPLES
@given(models())
def test_any_model_has_the_values_and_warnings_of_the_plain_evaluator(model: Model) -> None:
    check(model)


@settings(EXAMPLES, max_examples=FEW * 3 // 5)
@given(models(copies=ROW_GROUPS))
def test_equal_groups_evaluated_together_have_the_same_values(model: Model) -> None:
    check(model)


def test_the_strategies_reach_feedback_in_every_form() -> None:
    """A guard against the two tests above becoming empty."""
    seen: set[str] = set()

    @settings(EXAMPLES, max_examples=100, database=None, derandomize=True)
    @given(st.one_of(models(), models(copies=ROW_GROUPS)))
    def look(model: Model) -> None:
        for step in compile(model).steps:
            if isinstance(step, Feedback):
                body = step.groups[0].body
                seen.add("rows" if len(step.groups) >= ROW_GROUPS and body.as_rows else "scan")

    look()
    assert seen == {"rows", "scan"}
