"""Expansion: a model with parameters and queues becomes one of sources, formulas and waits.

Parameters become numbers, and arguments that are constant formulas become literals. A queue becomes the
formulas of its recurrence (docs/reference/model.md, Queues), one for each measure that something reads, and a
step that computes its waits. Formulas of our own have ids with a colon, which no document can have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from flowtime.core.constants import constant, substitute
from flowtime.core.expression import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    children,
    format,
    literal,
    names,
    number,
    spine,
)
from flowtime.core.functions import KNOWN
from flowtime.core.grid import MICROSECONDS, Grid
from flowtime.core.parameters import Parameter
from flowtime.core.semantics import begins_with_first
from flowtime.engine.waits import MEAN, ORDER, P50, P95, P99, WITHIN
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.model.queues import constant_of, queue_problems
from flowtime.model.spec import (
    CHANCES,
    WAITS,
    ExprNode,
    Formula,
    Model,
    Node,
    Output,
    QueueNode,
    WaitUnit,
)

METRIC = "metric:"
"""What the ids of series begin with that metrics reduce."""

BUSIEST = 0.99
"""The utilization at which the approximation of random waits stops growing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNode(ExprNode):
    """A formula of ours. One that is `quiet` may be missing without a word; `owner` is the node of the
    document that it belongs to. `unit_of` is a formula that has its unit, of which `stock` takes "/bin".
    """

    owner: str
    quiet: bool = False
    unit_of: Expression | None = field(default=None, compare=False, repr=False)
    stock: bool = False

    @property
    def called(self) -> str:
        """What a message calls it."""
        if self.is_metric:
            return f'metric "{self.id.split(":")[1]}"'
        return f'node "{self.owner}": {self.id.removeprefix(self.owner)[1:]}'

    @property
    def is_metric(self) -> bool:
        """Whether a metric asks for it, and no node of the document."""
        return self.id.startswith(METRIC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterNode(Node):
    """A parameter that is drawn once for each sample."""

    parameter: Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitNode(Node):
    """A measure that the waits of a queue give."""

    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitsNode(Node):
    """The waits of a queue: from the series named here to those of `measures`, by id.

    `left` is the share that abandons, `lost` and `expired` are as in `engine.waits`; None where nobody does.
    Of the constants `slo` is in bins, and `scale` is the length of a bin in the queue's unit of waits; one
    that is drawn in every sample is the id of a series.
    """

    owner: str
    arrivals: str
    capacity: str
    served: str
    depth: str
    lost: str | None
    left: str | None
    expired: str | None
    initial: float | str
    limit: float | str
    slo: float | str
    scale: float
    measures: Mapping[str, str]

    @property
    def wanted(self) -> int:
        """The measures of those who are served, as `engine.waits` takes it."""
        bits = dict(zip(ORDER[1:], (MEAN, P50, P95, P99, WITHIN), strict=True))
        return sum(bits.get(measure, 0) for measure in self.measures)

    @property
    def series(self) -> tuple[str | None, ...]:
        """The series that it reads, in the order of `engine.waits`; None is a row of zeros."""
        return (
            *(self.arrivals, self.capacity, self.served),
            *(self.lost, self.left, self.expired, self.depth),
        )

    @property
    def reads(self) -> tuple[str, ...]:
        """The series that it reads."""
        constants = (self.initial, self.limit, self.slo)
        return tuple(id for id in (*self.series, *constants) if isinstance(id, str))


def expand(
    model: Model,
    values: Mapping[str, float],
    extra: Mapping[str, Expression] | None = None,
    drawn: Collection[str] = (),
) -> Model:
    """The model at these values of all its parameters, with nodes that the engine computes.

    Its recorded series are those of the model, in their order, and after them `extra` formulas by the id that
    they get. Parameters in `drawn` become sources of their own, drawn once for each sample. Raises
    InvalidInput (FT221) where an argument or a queue does not take the values.
    """
    return _Expansion(model, values, dict(extra or {}), frozenset(drawn)).model_of()


class _Expansion:
    def __init__(
        self,
        model: Model,
        values: Mapping[str, float],
        extra: dict[str, Expression],
        drawn: frozenset[str],
    ) -> None:
        self.model, self.values, self.extra, self.drawn = model, values, extra, drawn
        self.numbers = {id: number(value) for id, value in values.items() if id not in drawn}
        self.problems: list[Diagnostic] = []
        self.named = 0
        self.nodes: dict[str, Node] = {}
        self.queues = {node.id: node for node in model.nodes if isinstance(node, QueueNode)}
        self.wanted = {series.id for series in model.series() if "." in series.id}

    def model_of(self) -> Model:
        recorded = [node.id for _, node in self.model.recorded()]
        if not self.queues and not self.values and not self.extra:
            return self.model
        plain = {node.id: self.bound(node) for node in self.model.nodes if isinstance(node, ExprNode)}
        extra = {id: self.bind(id, "formula", tree) for id, tree in self.extra.items()}
        formulas = {
            (queue.id, key): self.bind(queue.id, key, formula.tree)
            for queue in self.queues.values()
            for key, formula in queue.formulas.items()
        }
        for tree in (*(node.tree for node in plain.values()), *extra.values(), *formulas.values()):
            self.wanted |= {name.id for name in names(tree) if "." in name.id}
        self.wanted |= {f"{queue.id}.lost" for queue in self.queues.values() if queue.overflow is not None}
        hidden = self.nodes
        self.nodes = {}
        for node in self.model.nodes:
            if isinstance(node, QueueNode):
                self.nodes |= _Queue(self, node, formulas).nodes()
            else:
                self.nodes[node.id] = plain.get(node.id, node)
        self.nodes |= hidden
        self.nodes |= {
            id: ParameterNode(id=id, parameter=self.model.parameters[id]) for id in sorted(self.drawn)
        }
        self.nodes |= {
            id: OwnNode(id=id, owner=id, expr=format(tree), tree=tree, quiet=True)
            for id, tree in extra.items()
        }
        if self.problems:
            first = self.problems[0]
            raise InvalidInput("FT221", first.message, hint=first.hint, errors=self.problems)
        return replace(
            self.model,
            nodes=tuple(self.nodes.values()),
            outputs=tuple(Output(id) for id in (*recorded, *extra)),
            parameters={},
            metrics=(),
        )

    def bound(self, node: ExprNode) -> ExprNode:
        """The node with literals in the place of parameters."""
        tree = self.bind(node.id, "expr", node.tree)
        return node if tree is node.tree else replace(node, tree=tree)

    def problem(self, owner: str, message: str) -> None:
        used = ", ".join(f"{id} = {value:g}" for id, value in self.values.items())
        self.problems.append(Diagnostic("FT221", f'node "{owner}": {message}', hint=f"parameters: {used}"))

    def bind(self, owner: str, key: str, tree: Expression) -> Expression:
        """The formula with numbers in the place of parameters and constant formulas."""
        if not any(
            name.id in self.values or name.id == "FIRST" for name in names(tree)
        ) and not _has_formulas(tree):
            return tree
        return self.folded(owner, substitute(tree, self.numbers))

    def folded(self, owner: str, tree: Expression) -> Expression:
        match tree:
            case Negative(operand, span):
                return Negative(self.folded(owner, operand), span)
            case Binary():
                changed, steps = spine(tree)
                changed = self.folded(owner, changed)
                for step in steps:
                    changed = Binary(step.operator, changed, self.folded(owner, step.right), step.span)
                return changed
            case Call():
                return self.call(owner, tree)
        return tree

    def call(self, owner: str, tree: Call) -> Expression:
        """A call with literals in the place of constant formulas. Those that are drawn in every sample become
        formulas of ours instead, with the same arithmetic.
        """
        function = KNOWN[tree.function]
        kinds = [function.parameter(index).kind for index in range(len(tree.arguments))]
        given = [
            self.folded(owner, argument) if kind == "series" else argument
            for kind, argument in zip(kinds, tree.arguments, strict=True)
        ]
        if begins_with_first(tree):
            return self.first(owner, given[0], self.literal(owner, tree, 1))
        drawn = [kind != "series" and self.is_drawn(each) for kind, each in zip(kinds, given, strict=True)]
        if not any(drawn):
            for index, kind in enumerate(kinds):
                if kind == "kernel":
                    given[index] = self.kernel(given[index])
                elif kind != "series":
                    given[index] = self.literal(owner, tree, index)
            return Call(tree.function, tuple(given), tree.span)
        match tree.function:
            case "SHIFT" if not drawn[1]:
                lag = self.literal(owner, tree, 1)
                return _choice(Call("SHIFT", (Number(1.0), lag)), Call("SHIFT", (given[0], lag)), given[2])
            case "EMA":
                return self.average(owner, given[0], given[1])
            case "CONV" if isinstance(given[1], Array):
                return self.convolution(owner, given[0], given[1])
        names_drawn = sorted({name.id for each in given for name in names(each)} & self.drawn)
        self.problem(
            owner,
            f"{tree.function} takes whole numbers that are the same in every sample; "
            f"leave out the spread of {', '.join(names_drawn)}",
        )
        return tree

    def is_drawn(self, tree: Expression) -> bool:
        """Whether a constant formula has another value in every sample."""
        return any(name.id in self.drawn for name in names(tree))

    def literal(self, owner: str, call: Call, index: int) -> Expression:
        """The value of an argument, which is checked."""
        argument = KNOWN[call.function].parameter(index)
        if self.is_drawn(call.arguments[index]):
            return Number(1.0)
        value = constant(call.arguments[index], {})
        if not argument.accepts(value):
            what = f"{call.function}: argument {argument.name}"
            self.problem(owner, f"{what} must be {argument.allowed}, not {value:g}")
        return number(value)

    def own(self, owner: str, part: str, tree: Callable[[Name], Expression]) -> Name:
        """A formula of ours, which may read itself."""
        self.named += 1
        name = Name(f"{owner}:{part}{self.named}")
        self.nodes[name.id] = _own(name.id, owner, Number(0.0))
        self.nodes[name.id] = _own(name.id, owner, tree(name))
        return name

    def first(self, owner: str, x: Expression, lag: Expression) -> Expression:
        """SHIFT(x, k, FIRST): x[0] in the first k bins, which a formula of ours keeps."""
        kept = self.own(owner, "first", lambda own: _choice(_BEGIN, x, _before(own.id, 0.0)))
        return _choice(Call("SHIFT", (Number(1.0), lag)), Call("SHIFT", (x, lag)), kept)

    def average(self, owner: str, x: Expression, alpha: Expression) -> Expression:
        """EMA with a drawn alpha."""
        value = self.own(owner, "x", lambda _: x)

        def average(own: Name) -> Expression:
            rest = Binary("*", Binary("-", Number(1.0), alpha), _before(own.id, 0.0))
            return _choice(_BEGIN, value, _sum(Binary("*", alpha, value), rest))

        return self.own(owner, "average", average)

    def convolution(self, owner: str, x: Expression, kernel: Array) -> Expression:
        """CONV with drawn taps."""
        value = self.own(owner, "x", lambda _: x)
        total: Expression = Number(0.0)
        for lag, tap in enumerate(kernel.items):
            weight = tap if self.is_drawn(tap) else number(constant(tap, {}))
            if literal(weight) == 0.0:
                continue
            product = Binary("*", weight, Call("SHIFT", (value, number(float(lag)))))
            total = _sum(total, _choice(weight, product, Number(0.0)))
        return total

    def kernel(self, argument: Expression) -> Expression:
        if not isinstance(argument, Array):
            return argument
        return Array(tuple(number(constant(item, {})) for item in argument.items), argument.span)


class _Queue:
    """The nodes that a queue becomes."""

    def __init__(
        self, expansion: _Expansion, queue: QueueNode, formulas: Mapping[tuple[str, str], Expression]
    ) -> None:
        self.all, self.queue, self.formulas = expansion, queue, formulas
        self.id = queue.id
        self.grid = expansion.model.grid
        for _, message, _ in queue_problems(queue, expansion.model.parameters, expansion.values):
            expansion.problem(queue.id, message)
        self.initial = self.value("initial", queue.initial, 0.0)
        self.limit = self.value("limit", queue.limit, math.inf)
        self.found: dict[str, Node] = {}

    def constant(self, formula: Formula | None, default: float) -> float:
        return constant_of(formula, self.all.values, default)

    def value(self, key: str, formula: Formula | None, default: float) -> Expression:
        """A constant formula: its value, or a formula of ours where it is drawn in every sample."""
        if formula is None or not self.all.is_drawn(formula.tree):
            return number(self.constant(formula, default))
        if key == "patience":
            self.all.problem(self.id, "patience takes a number that is the same in every sample")
            return Number(1.0)
        id = f"{self.id}:{key}"
        self.all.nodes[id] = _own(
            id, self.id, self.all.folded(self.id, substitute(formula.tree, self.all.numbers))
        )
        return Name(id)

    def add(self, part: str, tree: Expression, *, quiet: bool = True, unit: str | None = None) -> Name:
        """A node for a part of the queue; `.name` is a measure, `:name` our own."""
        id = f"{self.id}{part}"
        like, stock = (
            (self.formulas[self.id, "arrivals"], part == ".depth") if part in _AMOUNTS else (None, False)
        )
        if part in _AMOUNTS and self.queue.unit is not None:
            unit, like = f"{self.queue.unit}{'' if stock else '/bin'}", None
        measure = part[1:] if part.startswith(".") else None
        component = self.queue.component or self.id
        self.found[id] = OwnNode(
            id=id,
            owner=self.id,
            expr=format(tree),
            tree=tree,
            component=component,
            measure=measure,
            quiet=quiet,
            unit=unit,
            unit_of=like,
            stock=stock,
        )
        return Name(id)

    def wants(self, measure: str) -> bool:
        return f"{self.id}.{measure}" in self.all.wanted

    def nodes(self) -> dict[str, Node]:
        queue = self.queue
        before = self.before()
        capacity = self.add(":capacity", Call("FLOW", (self.rate(),)), quiet=False)
        come = self.formulas[self.id, "arrivals"]
        for other in self.all.queues.values():
            if other.overflow == self.id:
                come = _sum(come, Name(f"{other.id}.lost"))
        arrivals = self.add(".arrivals", _known(Call("FLOW", (come,)), _sum(before, capacity)), quiet=False)
        left: Expression | None = None
        share = None
        waiting: Expression = before
        if queue.abandon is not None:
            share = self.add(":abandon", Call("PART", (self.formulas[self.id, "abandon"],)), quiet=False)
            left = self.add(":left", Binary("*", share, before))
            waiting = Binary("-", before, left)
        there = self.add(":there", _sum(waiting, arrivals))
        served = self.add(".served", Call("MIN", (there, capacity)))
        rest: Expression = Binary("-", there, served)
        lost: Name | None = None
        expired: Name | None = None
        if queue.limit is not None:
            rest = self.add(":rest", rest)
            kept = self.add(":kept", Call("MIN", (rest, self.limit)))
            lost = self.add(".lost", Binary("-", rest, kept))
            rest = kept
        if queue.patience is not None:
            expired = self.expired(arrivals, lost, rest)
            rest = Binary("-", rest, expired)
        depth = self.add(".depth", rest)
        self.others(capacity, arrivals, served, lost, left, expired)
        self.waits(capacity, arrivals, served, depth, lost, share, expired)
        order = [f"{self.id}.{measure}" for measure in queue.measures]
        first = {id: self.found[id] for id in order if id in self.found}
        return {**first, **self.found}

    def before(self) -> Expression:
        """The depth at the end of the bin before."""
        number = literal(self.initial)
        if number is not None:
            return _before(f"{self.id}.depth", number)
        began = Call("SHIFT", (Number(1.0), Number(1.0)))
        return _choice(began, _before(f"{self.id}.depth", 0.0), self.initial)

    def rate(self) -> Expression:
        """How much can be served in a bin."""
        if self.queue.workers is None:
            return self.formulas[self.id, "capacity"]
        workers = self.add(":workers", self.formulas[self.id, "workers"], quiet=False)
        service = self.add(
            ":serviceSeconds", Call("POSITIVE", (self.formulas[self.id, "serviceSeconds"],)), quiet=False
        )
        seconds = self.grid.step / MICROSECONDS["seconds"]
        return Binary("/", Binary("*", workers, number(seconds)), service)

    def expired(self, arrivals: Name, lost: Name | None, kept: Expression) -> Name:
        """Who leaves at the end of the bin: who was not admitted in the last bins, this one included."""
        patience = int(literal(self.value("patience", self.queue.patience, 1.0)) or 1.0)
        admitted: Expression = (
            arrivals if lost is None else self.add(":admitted", Binary("-", arrivals, lost))
        )
        recent: Expression = Call("CONV", (admitted, Array((Number(1.0),) * patience)))
        if literal(self.initial) != 0.0 and patience > 1:
            late = Call("SHIFT", (Number(1.0), number(patience - 1.0)))
            recent = _sum(recent, Binary("*", self.initial, Binary("-", Number(1.0), late)))
        return self.add(":expired", Call("MAX", (Number(0.0), Binary("-", kept, recent))))

    def others(
        self,
        capacity: Name,
        arrivals: Name,
        served: Name,
        lost: Name | None,
        left: Expression | None,
        expired: Name | None,
    ) -> None:
        """The measures that the recurrence does not need."""
        nothing = Binary("*", Number(0.0), served)
        if self.wants("capacity"):
            self.add(".capacity", _known(capacity, arrivals))
        if lost is None and self.wants("lost"):
            self.add(".lost", nothing)
        if self.wants("abandoned"):
            self.add(".abandoned", expired or left or nothing)
        if self.wants("utilization") or any(self.wants(measure) for measure in CHANCES):
            self.add(".utilization", Call("RATIO", (served, capacity)))
        if any(self.wants(measure) for measure in CHANCES):
            self.chance()

    def chance(self) -> None:
        """Sakasegawa's approximation of the wait in G/G/c (1977), and the latency with it."""
        workers, service = Name(f"{self.id}:workers"), Name(f"{self.id}:serviceSeconds")
        busy = Call("MIN", (Name(f"{self.id}.utilization"), number(BUSIEST)))
        unit = self.queue.wait_unit
        own = Binary("/", service, number(_seconds(unit, self.grid)))
        power = Binary(
            "-", Call("SQRT", (Binary("*", Number(2.0), _sum(workers, Number(1.0))),)), Number(1.0)
        )
        idle = Binary("*", workers, Binary("-", Number(1.0), busy))
        wait = Binary("/", Binary("*", own, Call("POW", (busy, power))), idle)
        scaled = Binary("*", wait, self.value("variability", self.queue.variability, 1.0))
        random = self.add(".wait_random", scaled, unit=unit)
        if self.wants("latency"):
            self.add(".latency", _sum(_sum(Name(f"{self.id}.wait_mean"), random), own), unit=unit)

    def waits(
        self,
        capacity: Name,
        arrivals: Name,
        served: Name,
        depth: Name,
        lost: Name | None,
        share: Name | None,
        expired: Name | None,
    ) -> None:
        wanted = {measure for measure in WAITS if self.wants(measure)}
        if self.wants("latency"):
            wanted.add("wait_mean")
        if not wanted:
            return
        scale = self.grid.step / MICROSECONDS["seconds"] / _seconds(self.queue.wait_unit, self.grid)
        measures = {measure: f"{self.id}.{measure}" for measure in WAITS if measure in wanted}
        for measure, id in measures.items():
            self.found[id] = WaitNode(
                id=id,
                of=f"{self.id}:waits",
                component=self.queue.component or self.id,
                measure=measure,
                unit=None if measure == "within_slo" else self.queue.wait_unit,
            )
        self.found[f"{self.id}:waits"] = WaitsNode(
            id=f"{self.id}:waits",
            owner=self.id,
            arrivals=arrivals.id,
            capacity=capacity.id,
            served=served.id,
            depth=depth.id,
            lost=None if lost is None else lost.id,
            left=None if share is None else share.id,
            expired=None if expired is None else expired.id,
            initial=self.known(self.initial),
            limit=self.known(self.limit),
            slo=self.known(self.slo(scale)),
            scale=scale,
            measures=measures,
        )

    def slo(self, scale: float) -> Expression:
        """The wait that is still good, in bins."""
        slo = self.value("slo", self.queue.slo, 0.0)
        value = literal(slo)
        if value is not None:
            return number(value / scale)
        return self.add(":good", Binary("/", slo, number(scale)))

    def known(self, value: Expression) -> float | str:
        """A number, or the id of the series that holds it."""
        return value.id if isinstance(value, Name) else literal(value) or 0.0


_AMOUNTS = frozenset((".arrivals", ".capacity", ".served", ".lost", ".abandoned", ".depth"))


def _seconds(unit: WaitUnit, grid: Grid) -> float:
    """The length of a unit of waits in seconds."""
    length = grid.step if unit == "bins" else MICROSECONDS[unit]
    return length / MICROSECONDS["seconds"]


def _sum(a: Expression, b: Expression) -> Expression:
    return Binary("+", a, b)


def _known(value: Expression, needs: Expression) -> Expression:
    """The value where the others are known, else missing."""
    return _sum(value, Binary("*", Number(0.0), needs))


def _before(id: str, initial: float) -> Expression:
    return Call("SHIFT", (Name(id), Number(1.0), number(initial)))


_BEGIN = Call("PULSE", (Number(1_000_000.0),))
"""1 in bin 0, as no grid has more bins."""


def _choice(condition: Expression, a: Expression, b: Expression) -> Expression:
    return Call("IF", (condition, a, b))


def _own(id: str, owner: str, tree: Expression) -> OwnNode:
    return OwnNode(id=id, owner=owner, expr=format(tree), tree=tree, quiet=True)


def _has_formulas(tree: Expression) -> bool:
    """Whether a literal argument or an entry of a kernel is a formula."""
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, Call) and part.function in KNOWN:
            function = KNOWN[part.function]
            for index, argument in enumerate(part.arguments):
                kind = function.parameter(index).kind
                items = argument.items if isinstance(argument, Array) else (argument,)
                if (
                    kind != "series"
                    and not isinstance(argument, Name)
                    and any(not isinstance(item, Number) and not isinstance(item, Negative) for item in items)
                ):
                    return True
        stack += children(part)
    return False
