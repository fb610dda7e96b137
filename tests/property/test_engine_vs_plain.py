"""The reference and compiled programs against a plain evaluator of the tests' own: one value at a time, by
recursion, straight from the definitions. All of them give the same bits, missing values and warnings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowtime.core import elementary
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
from flowtime.core.series import FloatArray, same_bits
from flowtime.engine import layout, machine, program, reference
from flowtime.engine.evaluate import evaluate
from flowtime.engine.notes import Notes
from flowtime.engine.plan import Feedback, Plan, Single, compile
from flowtime.engine.points import Points
from flowtime.engine.sources import Sources, sources
from flowtime.model.spec import ConstNode, ExprNode, Model, Node, Output, PmfNode


def array(*values: float) -> Array:
    return Array(tuple(Negative(Number(-value)) if value < 0 else Number(value) for value in values))


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
            return elementary.mod(*x)
        if name == "STEP":
            return float(x[0] >= x[1])
        if name == "ROUND":
            return half_away(x[0])
        if name == "POW":
            return elementary.pow(*x)
        return {
            "FLOOR": np.floor,
            "CEIL": np.ceil,
            "ABS": np.abs,
            "SQRT": np.sqrt,
            "EXP": elementary.exp,
            "LOG": elementary.log,
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

    choice = draw(st.integers(0, 12)) if depth > 0 else draw(st.integers(0, 1))
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
        kernel = Name(draw(st.sampled_from(kernels))) if draw(st.booleans()) else array(0.0, *weights)
        return Call("CONV", (sub(later), kernel))
    if choice == 9:
        branches = [Binary("/", sub(), sub()), sub()]
        return Call("IF", (sub(), *draw(st.permutations(branches))))
    name = draw(st.sampled_from(sorted(TABLE)))
    match name:
        case "SHIFT":
            return Call(name, (sub(), Number(0.0)))
        case "CONV":
            return Call(name, (sub(), array(draw(st.sampled_from([0.5, 1.0])), 0.0, 0.25)))
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
def models(draw: st.DrawFn) -> Model:
    """Consts, a pmf and formulas, shuffled."""
    bins = draw(st.sampled_from([1, 2, BINS, BINS + 1]))
    sources = [f"k{index}" for index in range(draw(st.integers(1, 3)))]
    exprs = [f"e{index}" for index in range(draw(st.integers(1, 5)))]
    everything = [*sources, *exprs, "lags"]
    trees = {
        id: draw(formula([*sources, *exprs[:index], "lags"], everything, ["lags"], 3))
        for index, id in enumerate(exprs)
    }
    nodes: list[Node] = [PmfNode(id="lags", pmf=Pmf((2.0, 1.0, 4.0), (0.5, 0.25, 0.25)))]
    for id in sources:
        values = draw(st.lists(VALUES, min_size=bins, max_size=bins))
        nodes.append(ConstNode(id=id, values=tuple(values) if draw(st.booleans()) else tuple(values[:1])))
    nodes += [ExprNode(id=id, expr=format(tree), tree=parse(format(tree))) for id, tree in trees.items()]
    recorded = draw(st.sets(st.sampled_from(everything), min_size=1))
    outputs = tuple(Output(id) for id in sorted(recorded)) if draw(st.booleans()) else ()
    return Model(tuple(draw(st.permutations(nodes))), Grid(bins), outputs=outputs, seed=1)


def by_program(found: Sources) -> tuple[FloatArray, Notes]:
    """The values and notes of a compiled program, which went through the bins block by block."""
    run = machine.Machine(machine.Module(program.compile(found.plan)), found)
    run.draws[:] = found.draw()
    run.all_bins(lambda: None)
    return run.values(), run.notes()


def alike(a: tuple[FloatArray, Notes], b: tuple[FloatArray, Notes], plan: Plan) -> None:
    for (key, _), row, other in zip(plan.model.recorded(), a[0], b[0], strict=True):
        assert same_bits(row, other), (key, row, other, plan.describe())
        assert not np.signbit(row[row == 0]).any()
    assert a[1].times == b[1].times, plan.describe()
    for note, bins in a[1].bins.items():
        assert bins.tolist() == b[1].bins[note].tolist(), (note, plan.describe())


def both(plan: Plan, inputs: dict[str, FloatArray]) -> tuple[FloatArray, Notes]:
    """What the reference gives, and programs of functions and blocks of any size too."""
    found = sources(plan, inputs=inputs)
    expected = reference.evaluate(plan, found.fixed, found.draw(), lambda: None)
    sizes = layout.FUNCTION_LINES, layout.BLOCK
    try:
        for layout.FUNCTION_LINES, layout.BLOCK in (sizes, (3, 4)):
            alike(by_program(found), expected, plan)
    finally:
        layout.FUNCTION_LINES, layout.BLOCK = sizes
    return expected


def check(model: Model) -> None:
    pmf_of = {node.id: node.pmf for node in model.nodes if isinstance(node, PmfNode)}.get
    exprs = [node for node in model.nodes if isinstance(node, ExprNode)]
    assert [p for node in exprs for p in problems(node.tree, pmf_of)] == []
    plan = compile(model)
    values, notes = both(plan, {})
    with np.errstate(all="ignore"):
        plain = Plain(model)
        for (_, node), row in zip(model.recorded(), values, strict=True):
            expected = np.array([plain.value(node.id, t) for t in range(model.grid.bins)])
            assert same_bits(row, expected), (node.id, row, expected, plan.describe())
        zeros = {
            ("FT301", node.id): bins
            for node in exprs
            if (bins := [t for t in range(model.grid.bins) if plain.divisions(node.tree, t, True)])
        }
    noted = {note: np.flatnonzero(where).tolist() for note, where in notes.bins.items() if note[0] == "FT301"}
    assert noted == zeros, plan.describe()
    assert evaluate(plan).series.values.tobytes() == values.tobytes()


FEW = settings().max_examples
EXAMPLES = settings(max_examples=2 * FEW, deadline=None, suppress_health_check=list(HealthCheck))


@EXAMPLES
@given(models())
def test_any_model_has_the_values_and_warnings_of_the_plain_evaluator(model: Model) -> None:
    check(model)


@EXAMPLES
@given(models(), st.data())
def test_all_forms_agree_where_inputs_are_given_and_nodes_drawn(model: Model, data: st.DataObject) -> None:
    bins = model.grid.bins
    ids = data.draw(st.sets(st.sampled_from([node.id for node in model.nodes]), min_size=1, max_size=3))
    row = st.lists(st.one_of(VALUES, st.just(math.nan)), min_size=bins, max_size=bins)
    given = {id: np.array(data.draw(row)) for id in sorted(ids)}
    weights = tuple(data.draw(st.lists(VALUES, min_size=bins, max_size=bins)))
    drawn = Pmf((1e300, 0.0, -1.0), (0.25, 0.5, 0.25))
    nodes = tuple(
        PmfNode(id=node.id, pmf=drawn, sampled=True, profile=weights) if node.id == "k0" else node
        for node in model.nodes
    )
    plan = compile(replace(model, nodes=nodes), given)
    both(plan, given)
    points = Points(sources(plan, inputs=given))
    found: dict[int, FloatArray] = {}
    points.evaluate(0, 5, lambda first, rows: found.update(enumerate(rows.copy(), first)), lambda: None)
    notes = Notes()
    for number in range(5):
        one = reference.evaluate(plan, points.sources.fixed, points.sources.draw(number), lambda: None)
        assert same_bits(found[number], one[0])
        notes.merge(one[1])
    assert points.notes().times == notes.times
    for note, where in notes.bins.items():
        assert points.notes().bins[note].tolist() == where.tolist()


def test_the_strategies_reach_every_kind_of_step() -> None:
    """A guard against the tests above becoming empty."""
    seen: set[str] = set()

    @settings(EXAMPLES, max_examples=200, database=None, derandomize=True)
    @given(models())
    def look(model: Model) -> None:
        plan = compile(model)
        for step in plan.steps:
            if isinstance(step, Feedback):
                seen.add("group of several" if len(step.members) > 1 else "group of one")
            elif isinstance(step, Single):
                seen.add("formula")
        for formula in plan.formulas:
            for operation in formula.operations:
                seen.update(
                    [operation.function, *["late"] * operation.late, *["guard"] * len(operation.guards)]
                )

    look()
    rewritten = {name for name, function in TABLE.items() if function.rewrite}
    assert seen >= {*TABLE, "group of several", "group of one", "formula", "late", "guard"} - rewritten


def expr(id: str, text: str) -> ExprNode:
    return ExprNode(id=id, expr=text, tree=parse(text))


def wave(id: str, bins: int) -> ConstNode:
    return ConstNode(id=id, values=tuple(math.sin(0.1 * bin) for bin in range(bins)))


@pytest.mark.parametrize("bins", [1, 2, 255, 256, 257, 1000, 100_000])
def test_grids_of_any_length(bins: int) -> None:
    """Long lags and kernels, states across blocks, and what is missing from some bin on. A kernel of ten taps
    is long already; a hundred in 100,000 bins would take the reference half a minute.
    """
    kernel = ", ".join(["0", *(f"{0.5 / (lag + 1)}" for lag in range(99 if bins < 10_000 else 10))])
    texts = {
        "a": "SHIFT(k, 1) + SHIFT(k, 2, 7) * SHIFT(k, 999) - SHIFT(k * 2, 255, 3) + SHIFT(k, 256)",
        "b": f"CONV(k, [{kernel}]) + CONV(k + 1, [1, {kernel}]) + CONV(k, [0, 0.5, 0.25])",
        "c": "EMA(k, 0.1) + CUMSUM(b) / 0.3 + PULSE(7, 3, k) + PULSE(900, 2)",
        "d": "MIN(a + SHIFT(d, 1) * 0.5, c) + 0.1 * SHIFT(e, 2) + CONV(d, [0, 0.1, 0.2])",
        "e": f"d * 0.5 - CONV(e, [0, {kernel.replace('0.5,', '0.005,')}]) * 0.0001 + EMA(SHIFT(d, 1), 0.5)",
        "f": "LOG(k) + CUMSUM(LOG(k + 0.99)) + IF(k > 0, 1 / (k > 0.5), 2)",
        "g": "f + SHIFT(f, 1) + SHIFT(g, 3) * 0.1",
    }
    nodes = (wave("k", bins), *(expr(id, text) for id, text in texts.items()))
    both(compile(Model(nodes, Grid(bins))), {})


@pytest.mark.parametrize("feedback", [False, True])
def test_models_of_10_000_nodes(feedback: bool) -> None:
    nodes: list[Node] = [wave("n0", 24)]
    nodes += [
        expr(f"n{i}", f"n{i - 1} * 0.5 + {'SHIFT(' * (i % 7 == 0)}n{i // 2}{', 1) / n0' * (i % 7 == 0)}")
        for i in range(1, 10_000)
    ]
    if feedback:
        nodes[0] = expr("n0", "SHIFT(n9999, 1) * 0.5 + LOG(SHIFT(n5000, 2))")
    found = sources(compile(Model(tuple(nodes), Grid(24))))
    expected = reference.evaluate(found.plan, found.fixed, found.draw(), lambda: None)
    alike(by_program(found), expected, found.plan)
