"""Plans: what is computed in which order. A plan is data and may be evaluated many times."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowtime.core.expression import Call, Expression, Name, children, format
from flowtime.core.graph import components, first_cycle, is_cyclic, levels, topological_order
from flowtime.core.grid import Grid
from flowtime.core.parameters import Parameter
from flowtime.core.pmf import Pmf
from flowtime.core.profiles import daily_profile
from flowtime.core.semantics import PmfOf, References, is_delay, references, unit_of
from flowtime.core.series import FloatArray
from flowtime.engine.expansion import OwnNode, ParameterNode, WaitNode, WaitsNode, expand
from flowtime.engine.formula import Formula, flatten
from flowtime.errors import InvalidInput
from flowtime.model.parameters import set_values
from flowtime.model.spec import ConstNode, ExprNode, Model, Node, PmfNode
from flowtime.texts import count

SEMANTICS_VERSION = 2
"""Goes up when the same model, data and seed would give other values than before."""


@dataclass(frozen=True, slots=True)
class Source:
    """A step whose series comes from outside the formulas.

    `values` is the `(bins,)` series of a const or pmf node, or None for a bound input. Where the node is
    sampled, `pmf` is set and its draws are multiplied by `values`; `parameter` is one that is drawn once.
    """

    node: str
    values: FloatArray | None = field(default=None, repr=False, compare=False)
    pmf: Pmf | None = None
    parameter: Parameter | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether each sample has other values."""
        return self.pmf is not None or self.parameter is not None

    @property
    def constant(self) -> float | None:
        """The value of every bin, where it is one finite number; None where it is not."""
        values = self.values
        if values is None or self.pmf is not None or values.strides != (0,) or not np.isfinite(values[0]):
            return None
        return float(values[0])


@dataclass(frozen=True, slots=True)
class Single:
    """A step that evaluates one formula."""

    formula: Formula

    @property
    def members(self) -> tuple[Formula, ...]:
        """The formulas of the step."""
        return (self.formula,)


@dataclass(frozen=True, slots=True)
class Feedback:
    """A step that evaluates the formulas of a feedback group bin by bin, in the order inside a bin."""

    members: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Waits:
    """A step that computes the waits of a queue."""

    node: WaitsNode

    @property
    def members(self) -> tuple[Formula, ...]:
        """It has no formulas."""
        return ()


_WAITS = 100
"""How many operations the waits of a queue are worth in a bin, about."""

Step = Source | Single | Feedback | Waits


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a model in order, each after what it needs.

    `inputs` are the nodes whose series are given at evaluation. `units` holds each node's declared unit, or
    the one that its formula implies. Nodes in `late` read the waits of those who join a queue; they are
    computed when all bins of the others are. The last recorded series are those of `extra` formulas.
    """

    model: Model
    steps: tuple[Step, ...]
    inputs: frozenset[str]
    units: Mapping[str, str | None]
    late: frozenset[str] = frozenset()
    extra: tuple[str, ...] = ()

    @property
    def has_feedback(self) -> bool:
        """Whether any nodes of the document depend on each other through a delay."""
        owners = {node.id: node.owner for node in self.model.nodes if isinstance(node, OwnNode)}

        def is_of_one_queue(group: Feedback) -> bool:
            found = {owners.get(formula.node) for formula in group.members}
            return len(found) == 1 and None not in found

        return any(isinstance(step, Feedback) and not is_of_one_queue(step) for step in self.steps)

    @property
    def formulas(self) -> Iterator[Formula]:
        """All formulas in the order of the steps."""
        for step in self.steps:
            if not isinstance(step, Source):
                yield from step.members

    @property
    def operations(self) -> int:
        """How many operations a bin takes, about."""
        waits = sum(isinstance(step, Waits) for step in self.steps)
        return sum(1 + len(formula.operations) for formula in self.formulas) + _WAITS * waits

    @property
    def sources(self) -> Iterator[Source]:
        """All steps whose series come from outside the formulas."""
        return (step for step in self.steps if isinstance(step, Source))

    @property
    def drawn(self) -> tuple[Source, ...]:
        """The sources that are drawn."""
        return tuple(source for source in self.sources if source.is_drawn)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON: steps with formulas and dependencies, and the recorded series."""
        nodes = {node.id: node for node in self.model.nodes}
        return {
            "grid": self.model.grid.to_json(),
            "steps": [_step_to_json(nodes, step) for step in self.steps],
            "recorded": [
                {
                    "component": key.component,
                    "measure": key.measure,
                    "node": node.id,
                    "unit": self.units[node.id],
                }
                for key, node in self.model.recorded()
            ],
        }

    def describe(self) -> str:
        """The plan as text for people: numbered steps with formulas, dependencies and feedback groups."""
        return "\n".join(_description(self))


def pmfs(nodes: Iterable[Node]) -> PmfOf:
    """The distributions of a model's pmf nodes, as the function table asks for them."""
    known: dict[str, Pmf] = {node.id: node.pmf for node in nodes if isinstance(node, PmfNode)}
    return known.get


def compile(
    model: Model,
    inputs: Collection[str] = (),
    *,
    parameters: Mapping[str, float] | None = None,
    extra: Mapping[str, Expression] | None = None,
    drawn: Collection[str] = (),
) -> Plan:
    """The plan of a checked model, in which the series of the nodes in `inputs` are given at evaluation.

    `parameters` are values for some of its parameters; `extra` formulas are recorded after its own series,
    under the ids that they have here. Parameters in `drawn` are drawn for each sample.
    Raises InvalidInput on a cycle without a delay (FT213), and on values
    that their parameters or what is made of them do not take (FT221).
    """
    model = expand(model, set_values(model.parameters, parameters or {}), extra, drawn)
    pmf_of = pmfs(model.nodes)
    bound = frozenset(inputs)
    trees = {n.id: n.tree for n in model.nodes if isinstance(n, ExprNode) and n.id not in bound}
    read = {node.id: reads(node, pmf_of) for node in model.nodes if node.id not in bound}
    cycle = first_cycle({id: _ordered(refs.now, read) for id, refs in read.items()})
    if cycle is not None:
        raise InvalidInput(
            "FT213",
            f"cycle without a delay: {' -> '.join(cycle)} (each needs the next in the same bin)",
            where=model.metadata.id,
            hint="break it with SHIFT(x, 1), or a CONV kernel that starts with 0",
        )
    nodes = {node.id: node for node in model.nodes}
    order = {id: index for index, id in enumerate(nodes)}
    dependencies = {
        id: sorted(read[id].now | read[id].delayed, key=order.__getitem__) if id in read else []
        for id in order
    }
    found = components(dependencies)
    steps: list[Step] = []

    def formula(id: str) -> Formula:
        node = nodes[id]
        quiet = isinstance(node, OwnNode) and node.quiet
        return flatten(id, trees[id], read[id], pmf_of, quiet=quiet)

    for cyclic, component in _by_level(found, dependencies):
        if cyclic:
            members = {id: read[id] for id in component}
            inside = {id: _ordered(refs.now, members) for id, refs in members.items()}
            order_inside = topological_order(inside)
            steps.append(Feedback(tuple(formula(id) for id in order_inside)))
        elif component[0] in trees:
            steps.append(Single(formula(component[0])))
        elif isinstance(node := nodes[component[0]], WaitsNode):
            steps.append(Waits(node))
        elif not isinstance(node, WaitNode):
            steps.append(_source(node, model.grid, bound))
    joining = [node.measures["wait_joining"] for node in _waits(model) if "wait_joining" in node.measures]
    units = _units(model, trees, [id for component in found for id in component])
    return Plan(model, tuple(steps), bound, units, _late(joining, dependencies), tuple(extra or ()))


def reads(node: Node, pmf_of: PmfOf) -> References:
    """What a node of an expanded model reads."""
    none: frozenset[str] = frozenset()
    match node:
        case ExprNode(tree=tree):
            return references(tree, pmf_of)
        case WaitsNode():
            return References(frozenset(node.reads), none, none)
        case WaitNode(of=of):
            return References(frozenset((of,)), none, none)
    return References(none, none, none)


def _waits(model: Model) -> Iterator[WaitsNode]:
    return (node for node in model.nodes if isinstance(node, WaitsNode))


def _late(joining: Sequence[str], dependencies: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The nodes that read one of the series that are known when all bins are done, directly or not."""
    readers: dict[str, list[str]] = {}
    for id, needed in dependencies.items() if joining else ():
        for other in needed:
            readers.setdefault(other, []).append(id)
    late: set[str] = set()
    stack = list(joining)
    while stack:
        new = [id for id in readers.get(stack.pop(), []) if id not in late]
        late.update(new)
        stack += new
    return frozenset(late)


def _source(node: Node, grid: Grid, bound: Collection[str]) -> Source:
    if node.id in bound:
        return Source(node.id)
    if isinstance(node, ParameterNode):
        return Source(node.id, parameter=node.parameter)
    if isinstance(node, ConstNode):
        return Source(node.id, np.broadcast_to(np.array(node.values) + 0.0, grid.bins))
    if not isinstance(node, PmfNode):
        raise TypeError(f"no source: {node}")
    weights: FloatArray | float = 1.0
    if isinstance(node.profile, str):
        weights = daily_profile(node.profile, grid)
    elif node.profile is not None:
        weights = np.array(node.profile)
    with np.errstate(over="ignore"):
        values = np.broadcast_to(weights if node.sampled else weights * node.pmf.expectation + 0.0, grid.bins)
    return Source(node.id, values, node.pmf if node.sampled else None)


def _by_level(
    found: list[tuple[str, ...]], dependencies: Mapping[str, list[str]]
) -> list[tuple[bool, tuple[str, ...]]]:
    """Components as (is a group, members), by level, groups last; those of a level do not need each other."""
    cyclic = {component: is_cyclic(component, dependencies) for component in found}
    level = levels(dependencies, lambda component: int(cyclic[component]))
    ordered = sorted(found, key=lambda component: (level[component[0]], cyclic[component]))
    return [(cyclic[component], component) for component in ordered]


def _ordered(ids: Collection[str], known: Mapping[str, Any]) -> list[str]:
    return sorted(id for id in ids if id in known)


def _units(model: Model, trees: Mapping[str, Expression], order: list[str]) -> dict[str, str | None]:
    units = {node.id: node.unit for node in model.nodes}
    if not any(units.values()):
        return units
    nodes = {node.id: node for node in model.nodes}
    for id in order:
        if units[id] is not None or id not in trees:
            continue
        node = nodes[id]
        like = node.unit_of if isinstance(node, OwnNode) else None
        unit = unit_of(trees[id] if like is None else like, units)
        units[id] = unit.removesuffix("/bin") if unit and isinstance(node, OwnNode) and node.stock else unit
    return units


def _delays(nodes: Mapping[str, Node], group: Feedback) -> list[tuple[str, str]]:
    """What lets a group run: (member, delay in its formula) for each delay of a member of the group."""
    pmf_of = pmfs(nodes.values())
    inside = {formula.node for formula in group.members}
    found: list[tuple[str, str]] = []
    for formula in group.members:
        node = nodes[formula.node]
        if not isinstance(node, ExprNode):
            continue
        stack = [node.tree]
        while stack:
            part = stack.pop()
            if isinstance(part, Call) and is_delay(part, pmf_of) and inside & _named(part):
                text = format(part) if isinstance(node, OwnNode) else _one_line(node.expr[slice(*part.span)])
                found.append((node.id, text))
            else:
                stack += reversed(children(part))
    return found


def _named(tree: Expression) -> set[str]:
    found: set[str] = set()
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, Name):
            found.add(part.id)
        stack += children(part)
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _definition(node: Node) -> str:
    """What a node is, in a few words: its formula, or its kind."""
    match node:
        case ExprNode(expr=expr):
            return _one_line(expr)
        case ConstNode(values=values):
            return f"const {values[0]!r} in every bin" if len(values) == 1 else f"const, {len(values)} values"
        case PmfNode(sampled=sampled, profile=profile):
            shape = (
                "" if profile is None else f", profile {profile if isinstance(profile, str) else 'by bin'}"
            )
            return f"pmf, {'one draw per bin' if sampled else 'expectation'}{shape}"
    raise AssertionError(f"no such kind of node: {node}")


def _formula_to_json(nodes: Mapping[str, Node], formula: Formula) -> dict[str, Any]:
    return {
        "node": formula.node,
        "formula": _definition(nodes[formula.node]),
        "needs": list(formula.now),
        "needsEarlier": list(formula.delayed),
    }


def _step_to_json(nodes: Mapping[str, Node], step: Step) -> dict[str, Any]:
    match step:
        case Source(node):
            return {
                "kind": "source",
                "node": node,
                "definition": "given series" if step.values is None else _definition(nodes[node]),
            }
        case Single(formula):
            return {"kind": "formula", **_formula_to_json(nodes, formula)}
        case Waits(node):
            return {"kind": "waits", "node": node.owner, "measures": list(node.measures.values())}
        case Feedback(members):
            return {
                "kind": "feedback",
                "members": [_formula_to_json(nodes, formula) for formula in members],
                "delays": [{"node": node, "delay": text} for node, text in _delays(nodes, step)],
            }


def _description(plan: Plan) -> Iterator[str]:
    nodes = {node.id: node for node in plan.model.nodes}
    recorded = {node.id for _, node in plan.model.recorded()}

    def title(id: str) -> str:
        unit = f" [{plan.units[id]}]" if plan.units[id] else ""
        definition = "given series" if id in plan.inputs else _definition(nodes[id])
        return f"{id}{unit} = {definition}{'' if id in recorded else '  (not recorded)'}"

    def needs(formula: Formula, indent: str) -> Iterator[str]:
        if formula.now:
            yield f"{indent}needs {', '.join(formula.now)}"
        if formula.delayed:
            yield f"{indent}needs earlier bins of {', '.join(formula.delayed)}"

    steps, kept = count(len(plan.steps), "step"), count(len(recorded), "node")
    yield f"{count(len(nodes), 'node')} over {plan.model.grid}, {steps}, {kept} recorded"
    width = len(str(len(plan.steps))) + 2
    for number, step in enumerate(plan.steps, 1):
        head = f"{number}.".ljust(width)
        match step:
            case Source(node):
                yield head + title(node)
            case Single(formula):
                yield head + title(formula.node)
                yield from needs(formula, " " * width)
            case Waits(node):
                yield f"{head}waits of queue {node.owner}: {', '.join(node.measures.values())}"
            case Feedback(members):
                nodes_in_it = count(len(members), "node")
                yield f"{head}feedback group of {nodes_in_it}, bin by bin in this order:"
                for formula in members:
                    yield " " * width + "- " + title(formula.node)
                    yield from needs(formula, " " * (width + 2))
                delays = " and ".join(f"{text} in {node}" for node, text in _delays(nodes, step))
                yield " " * width + f"the cycle is broken by {delays}"
