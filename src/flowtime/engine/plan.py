"""Plans: what is computed in which order. A plan is data and may be evaluated many times."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from flowtime.core.expression import Call, Expression, Name, children
from flowtime.core.functions import divide
from flowtime.core.graph import components, first_cycle, is_cyclic, levels, topological_order
from flowtime.core.grid import Grid
from flowtime.core.pmf import Pmf
from flowtime.core.profiles import daily_profile
from flowtime.core.semantics import PmfOf, References, is_delay, references, unit_of
from flowtime.core.series import FloatArray
from flowtime.engine.formula import Formula, Operand, flatten
from flowtime.engine.loops import Group, build
from flowtime.errors import InvalidInput
from flowtime.model.spec import ConstNode, ExprNode, Model, Node, PmfNode
from flowtime.texts import count

SEMANTICS_VERSION = 1
"""Goes up when the same model, data and seed would give other values than before."""


@dataclass(frozen=True, slots=True)
class Source:
    """A step whose series comes from outside the formulas.

    `values` is the `(bins,)` series of a const or pmf node, or None for a bound input. Where the node is
    sampled, `pmf` is set and its draws are multiplied by `values`.
    """

    node: str
    values: FloatArray | None = field(default=None, repr=False, compare=False)
    pmf: Pmf | None = None

    @property
    def writes(self) -> tuple[str, ...]:
        """The nodes whose series the step gives."""
        return (self.node,)

    @property
    def reads(self) -> tuple[str, ...]:
        """The nodes whose series the step reads."""
        return ()


@dataclass(frozen=True, slots=True)
class Vector:
    """A step that evaluates one formula for all bins at once."""

    formula: Formula

    @property
    def writes(self) -> tuple[str, ...]:
        """The nodes whose series the step gives."""
        return (self.formula.node,)

    @property
    def reads(self) -> tuple[str, ...]:
        """The nodes whose series the step reads."""
        return self.formula.now + self.formula.delayed


@dataclass(frozen=True, slots=True)
class Feedback:
    """A step that evaluates feedback groups bin by bin: one, or several with equal bodies at once."""

    groups: tuple[Group, ...]

    @property
    def writes(self) -> tuple[str, ...]:
        """The nodes whose series the step gives."""
        return tuple(formula.node for group in self.groups for formula in group.members)

    @property
    def reads(self) -> tuple[str, ...]:
        """The nodes whose series the step reads, its own among them."""
        members = [formula for group in self.groups for formula in group.members]
        return tuple(id for formula in members for id in formula.now + formula.delayed)


Step = Source | Vector | Feedback

Placed = tuple[Callable[..., object], tuple[int, ...], int]
"""A kernel, the cells of what it is called with, and the cell of the row that it writes."""


@dataclass(frozen=True, slots=True)
class Division:
    """Where a division by zero is noted: at `node`, in bins where all branches that it stands in are taken.

    `guards` are the cells of their conditions, and whether each must be true.
    """

    node: str
    guards: tuple[tuple[int, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """The cells of the memory that a plan runs in, and the calls of its formulas over them.

    The cells are, in this order: the rows of the recorded series; `given` places for series that come from
    outside; `buffers` rows that all others share, and parts of formulas; and `constants`, which are numbers,
    literals of kernels and divisions, and are counted from the end: -1, -2, ... `cells` says where the series
    of each node and hoisted formula is. `copies` are recorded series that repeat another one, as (row, row of
    the other). `calls` are those of each step; a division of series has its Division as last operand.
    """

    given: int
    buffers: int
    constants: tuple[Any, ...]
    cells: Mapping[str, int]
    copies: tuple[tuple[int, int], ...]
    calls: tuple[tuple[Placed, ...], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a model in order, each after what it needs.

    `placement` says where in memory their series are. `inputs` are the nodes whose series are given at
    evaluation. `units` holds each node's declared unit, or the one that its formula implies.
    """

    model: Model
    steps: tuple[Step, ...]
    placement: Placement = field(repr=False)
    inputs: frozenset[str]
    units: Mapping[str, str | None]

    @property
    def has_feedback(self) -> bool:
        """Whether any nodes depend on each other through a delay."""
        return any(isinstance(step, Feedback) for step in self.steps)

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


def compile(model: Model, inputs: Collection[str] = ()) -> Plan:
    """The plan of a checked model, in which the series of the nodes in `inputs` are given at evaluation.

    Raises InvalidInput (FT213) on a cycle without a delay.
    """
    pmf_of = pmfs(model.nodes)
    bound = frozenset(inputs)
    trees = {n.id: n.tree for n in model.nodes if isinstance(n, ExprNode) and n.id not in bound}
    read = {id: references(tree, pmf_of) for id, tree in trees.items()}
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
    none = References(frozenset(), frozenset(), frozenset())
    dependencies = {
        id: sorted(read.get(id, none).now | read.get(id, none).delayed, key=order.__getitem__) for id in order
    }
    found = components(dependencies)
    steps: list[Step] = []
    by_level = _by_level(found, dependencies)
    for (_, cyclic), members in groupby(by_level, key=lambda item: (item[0], item[1])):
        if cyclic:
            steps += _feedback([component for _, _, component in members], trees, read, pmf_of)
        else:
            steps += [
                Vector(flatten(id, trees[id], read[id], pmf_of))
                if id in trees
                else _source(nodes[id], model.grid, bound)
                for _, _, (id,) in members
            ]
    units = _units(model, trees, [id for component in found for id in component])
    return Plan(model, tuple(steps), _Placer(model, steps).place(), bound, units)


def _source(node: Node, grid: Grid, bound: Collection[str]) -> Source:
    if node.id in bound:
        return Source(node.id)
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
) -> list[tuple[int, bool, tuple[str, ...]]]:
    """Components as (level, is a group, members); groups of one level do not need each other."""
    cyclic = {component: is_cyclic(component, dependencies) for component in found}
    level = levels(dependencies, lambda component: int(cyclic[component]))
    return sorted(
        ((level[component[0]], cyclic[component], component) for component in found),
        key=lambda item: item[:2],
    )


def _feedback(
    found: list[tuple[str, ...]],
    trees: Mapping[str, Expression],
    read: Mapping[str, References],
    pmf_of: PmfOf,
) -> Iterator[Feedback]:
    """One step for all groups with equal bodies."""
    alike: dict[Any, list[Group]] = {}
    for component in found:
        members = {id: read[id] for id in component}
        inside = {id: _ordered(refs.now, members) for id, refs in members.items()}
        group = build([flatten(id, trees[id], read[id], pmf_of) for id in topological_order(inside)])
        alike.setdefault(group.body, []).append(group)
    for groups in alike.values():
        yield Feedback(tuple(groups))


class _Placer:
    """Gives each series a row of memory: in the result, else one whose series no later step uses."""

    def __init__(self, model: Model, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.home: dict[str, int] = {}
        self.copies: list[tuple[int, int]] = []
        recorded = model.recorded()
        for row, (_, node) in enumerate(recorded):
            if node.id in self.home:
                self.copies.append((row, self.home[node.id]))
            else:
                self.home[node.id] = row
        self.given = len(recorded)
        self.scratch = self.given + sum(isinstance(step, Source) and step.pmf is None for step in steps)
        formulas = [formula for step in steps for formula in _whole(step)]
        self.first_shared = self.scratch + max((formula.scratch for formula in formulas), default=0)
        self.end = self.first_shared
        self.spare: list[int] = []
        self.cells: dict[str, int] = {}
        self.constants: list[Any] = []

    def place(self) -> Placement:
        """The placement of the steps."""
        given = iter(range(self.given, self.scratch))
        calls: list[tuple[Placed, ...]] = []
        for step, last in zip(self.steps, _last_uses(self.steps), strict=True):
            found: list[Placed] = []
            if isinstance(step, Source) and step.pmf is None:
                self.cells[step.node] = self.home.get(step.node, next(given))
            else:
                for id in step.writes:
                    self.give(id)
            if isinstance(step, Vector):
                self.add(step.formula, found)
                if step.formula.negative_zero:
                    cell = self.cells[step.formula.node]
                    found.append((np.add, (cell, self.constant(0.0)), cell))
            hoisted = (
                [item for group in step.groups for item in group.hoisted]
                if isinstance(step, Feedback)
                else []
            )
            for id, formula in hoisted:
                self.give(id)
                self.add(formula, found, id)
            calls.append(tuple(found))
            ids = [*(id for id, _ in hoisted), *last]
            self.spare += [cell for cell in (self.cells[id] for id in ids) if cell >= self.first_shared]
        return Placement(
            given=self.scratch - self.given,
            buffers=self.end - self.scratch,
            constants=tuple(reversed(self.constants)),
            cells=self.cells,
            copies=tuple(self.copies),
            calls=tuple(calls),
        )

    def give(self, id: str) -> None:
        """Give a series its row. Rows freed last are taken first, as they are in cache."""
        if id in self.home:
            self.cells[id] = self.home[id]
        elif self.spare:
            self.cells[id] = self.spare.pop()
        else:
            self.cells[id], self.end = self.end, self.end + 1

    def constant(self, value: object) -> int:
        """The cell of a constant."""
        self.constants.append(value)
        return -len(self.constants)

    def add(self, formula: Formula, calls: list[Placed], id: str | None = None) -> None:
        """The calls of a formula; the last one writes the row of its series."""
        values: list[int] = []

        def cell(operand: Operand) -> int:
            if isinstance(operand, str):
                return self.cells[operand]
            return values[operand] if isinstance(operand, int) else self.constant(operand)

        for operation in formula.operations:
            operands = [cell(operand) for operand in operation.operands]
            operands += [self.constant(value) for value in operation.literals]
            if operation.kernel is divide:
                guards = tuple((cell(condition), taken) for condition, taken in operation.guards)
                operands.append(self.constant(Division(formula.node, guards)))
            out = self.cells[id or formula.node] if operation.slot < 0 else self.scratch + operation.slot
            calls.append((operation.kernel, tuple(operands), out))
            values.append(out)


def _whole(step: Step) -> list[Formula]:
    """The formulas of a step that are evaluated for all bins at once."""
    match step:
        case Vector(formula):
            return [formula]
        case Feedback(groups):
            return [formula for group in groups for _, formula in group.hoisted]
    return []


def _last_uses(steps: Sequence[Step]) -> list[list[str]]:
    """For each step the nodes whose series no later step uses."""
    last = {id: index for index, step in enumerate(steps) for id in step.writes + step.reads}
    uses: list[list[str]] = [[] for _ in steps]
    for id, index in last.items():
        uses[index].append(id)
    return uses


def _ordered(ids: Collection[str], known: Mapping[str, Any]) -> list[str]:
    return sorted(id for id in ids if id in known)


def _units(model: Model, trees: Mapping[str, Expression], order: list[str]) -> dict[str, str | None]:
    units = {node.id: node.unit for node in model.nodes}
    if not any(units.values()):
        return units
    for id in order:
        if units[id] is None and id in trees:
            units[id] = unit_of(trees[id], units)
    return units


def _delays(nodes: Mapping[str, Node], group: Group) -> list[tuple[str, str]]:
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
                found.append((node.id, _one_line(node.expr[slice(*part.span)])))
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
        case Vector(formula):
            return {"kind": "vector", **_formula_to_json(nodes, formula)}
        case Feedback(groups):
            return {
                "kind": "feedback",
                "groups": [
                    {
                        "members": [_formula_to_json(nodes, formula) for formula in group.members],
                        "delays": [{"node": node, "delay": text} for node, text in _delays(nodes, group)],
                    }
                    for group in groups
                ],
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
            case Vector(formula):
                yield head + title(formula.node)
                yield from needs(formula, " " * width)
            case Feedback(groups):
                for group in groups:
                    members = count(len(group.members), "node")
                    yield f"{head}feedback group of {members}, bin by bin in this order:"
                    for formula in group.members:
                        yield " " * width + "- " + title(formula.node)
                        yield from needs(formula, " " * (width + 2))
                    delays = " and ".join(f"{text} in {node}" for node, text in _delays(nodes, group))
                    yield " " * width + f"the cycle is broken by {delays}"
                    head = " " * width
