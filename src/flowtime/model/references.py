"""What formulas refer to: names, functions, arguments, cycles, checked when all nodes are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flowtime.core import expression, graph, semantics
from flowtime.core.expression import Array, Call, Expression, Name, children, literal
from flowtime.core.functions import TABLE
from flowtime.core.parameters import Parameter
from flowtime.core.pmf import Pmf
from flowtime.errors import did_you_mean
from flowtime.model.metrics import REDUCERS
from flowtime.model.queues import queue_problems, why_absent
from flowtime.model.reading import Reader
from flowtime.model.source import Path
from flowtime.model.spec import FLOWS, MEASURES, ExprNode, Formula, Node, PmfNode, QueueNode

_AFTER = ":waits"
"""What stands behind a queue's id for all that is known of it after the run only; no id has a colon."""


@dataclass(frozen=True, slots=True)
class FormulaChecks:
    """Checks the formulas of a document's nodes against each other, through a Reader."""

    read: Reader
    nodes: Mapping[str, Node]
    paths: Mapping[str, Path]
    parameters: Mapping[str, Parameter]

    def formulas(self) -> Iterator[tuple[str, Path, Formula]]:
        """Every formula with a value in each bin: the node, the place, the formula."""
        for id, node in self.nodes.items():
            if isinstance(node, ExprNode):
                yield id, (*self.paths[id], "expr"), Formula(node.expr, node.tree)
            elif isinstance(node, QueueNode):
                for key, formula in node.formulas.items():
                    yield id, (*self.paths[id], key), formula

    def check(self) -> None:
        """Reports everything that is wrong with formulas and with what queues refer to."""
        faulty: set[str] = set()
        for id, path, formula in self.formulas():
            if not self.formula(f'node "{id}"', path, formula, formula.tree, id):
                faulty.add(id)
        for id, node in self.nodes.items():
            if isinstance(node, QueueNode) and not self.queue(node):
                faulty.add(id)
        self.cycles([id for id in self.nodes if id not in faulty])

    def formula(self, owner: str, path: Path, formula: Formula, part: Expression, node: str) -> bool:
        """Whether (a part of) a formula is sound; reports one problem for each place."""
        self._second(path, part)
        found = [*self._names(part), *semantics.problems(part, self._pmf, self.parameters)]
        # Nobody knows what a node would be that could not be read, a kernel for example.
        unread = {name.span for name in expression.names(part) if type(self.nodes.get(name.id)) is Node}
        problems = {problem.span: problem for problem in reversed(found) if problem.span not in unread}
        for problem in sorted(problems.values(), key=lambda problem: problem.span):
            message, hint = f"{owner}: {problem.message}", problem.hint
            function = formula.text[slice(*problem.span)]
            if problem.code == "FT211" and function in REDUCERS:
                hint = f"{function} makes one number of a series; it belongs in the section metrics"
            self.read.in_formula(problem.code, path, formula.text, problem.span[0], message, node, hint)
        return not problems and not unread

    def queue(self, queue: QueueNode) -> bool:
        """Whether the constants of a queue and its overflow are sound."""
        path, owner = self.paths[queue.id], f'node "{queue.id}"'
        values = {id: parameter.value for id, parameter in self.parameters.items()}
        found = queue_problems(queue, self.parameters, values)
        for key, message, position in found:
            formula = {**queue.constants, **queue.formulas}[key]
            self.read.in_formula(
                "FT205", (*path, key), formula.text, position, f"{owner}: {message}", queue.id
            )
        other = None if queue.overflow is None else self.nodes.get(queue.overflow)
        if queue.overflow is not None and not isinstance(other, QueueNode) and type(other) is not Node:
            what = "unknown queue" if other is None else "overflow goes to a queue, and this is none:"
            known = [id for id, node in self.nodes.items() if isinstance(node, QueueNode) and id != queue.id]
            self.read.problem(
                "FT201",
                (*path, "overflow"),
                f'{owner}: {what} "{queue.overflow}"',
                hint=did_you_mean(queue.overflow, known),
                node=queue.id,
            )
            return False
        return not found

    def cycles(self, sound: Sequence[str]) -> None:
        """Reports groups of nodes that need each other within one bin, and waits in loops."""
        now: dict[str, set[str]] = {id: set() for id in sound}
        ever: dict[str, set[str]] = {id: set() for id in sound}
        for id, _, formula in self.formulas():
            if id in sound:
                read = semantics.references(formula.tree, self._pmf, self.parameters)
                now[id] |= {_source(name) for name in read.now}
                ever[id] |= {_source(name) for name in read.now | read.delayed}
        for id in sound:
            node = self.nodes[id]
            if isinstance(node, QueueNode):
                now[f"{id}{_AFTER}"] = ever[f"{id}{_AFTER}"] = {id}
                if node.overflow is not None and node.overflow in sound:
                    now[node.overflow].add(id)
                    ever[node.overflow].add(id)
        self._same_bin({id: sorted(read & now.keys()) for id, read in now.items()})
        self._waits_in_loops({id: sorted(read & ever.keys()) for id, read in ever.items()})

    def _same_bin(self, reads: Mapping[str, list[str]]) -> None:
        for component in graph.components(reads):
            # a search from every node would make a long chain quadratic
            cycle = graph.is_cyclic(component, reads) and graph.cycle_through(component[0], reads)
            if not cycle or any(id.endswith(_AFTER) for id in cycle):
                continue
            self.read.problem(
                "FT213",
                self._place(cycle[0], cycle[1]),
                f"cycle without a delay: {' -> '.join(cycle)}",
                hint=self._way_out(cycle),
                node=cycle[0],
            )

    def _waits_in_loops(self, reads: Mapping[str, list[str]]) -> None:
        for component in graph.components(reads):
            after = next((id for id in component if id.endswith(_AFTER)), None)
            cycle = (
                after is not None and graph.is_cyclic(component, reads) and graph.cycle_through(after, reads)
            )
            if not cycle or after is None:
                continue
            queue = after.removesuffix(_AFTER)
            reader = next(id for id in component if after in reads[id])
            loop = " -> ".join(f"the waits of {queue}" if id == after else id for id in cycle)
            self.read.problem(
                "FT219",
                self._place(reader, after),
                f'node "{reader}": the waits of queue "{queue}" are known only after the run, '
                f"so a loop cannot read them: {loop}",
                hint=f"read {queue}.depth, which is known in the bin itself",
                node=reader,
            )

    def _place(self, id: str, read: str) -> Path:
        """Where a node reads another."""
        for owner, path, formula in self.formulas():
            found = semantics.references(formula.tree, self._pmf, self.parameters) if owner == id else None
            if found is not None and read in {_source(name) for name in found.now | found.delayed}:
                return path
        key = "expr" if isinstance(self.nodes[id], ExprNode) else "id"
        return (*self.paths[id], key)

    def _way_out(self, cycle: list[str]) -> str:
        """How a cycle can be broken; where a lag may be 0, why it does not do so."""
        hint = "break it with SHIFT(x, 1), or a CONV kernel that starts with 0"
        for id, _, formula in self.formulas():
            if id not in cycle:
                continue
            for part in _calls(formula.tree, "SHIFT"):
                lag = part.arguments[1] if len(part.arguments) > 1 else None
                if isinstance(lag, Name) and lag.id in self.parameters:
                    return (
                        f"{hint}; a lag that is a parameter needs min: 1, so that it can never be 0: {lag.id}"
                    )
        return hint

    def _pmf(self, id: str) -> Pmf | None:
        node = self.nodes.get(id)
        return node.pmf if isinstance(node, PmfNode) else None

    def _names(self, tree: Expression) -> Iterator[semantics.Problem]:
        for name in expression.names(tree):
            if name.id in self.parameters or (name.id == "FIRST" and _is_keyword(tree, name)):
                continue
            node = self.nodes.get(name.id)
            if isinstance(node, QueueNode):
                hint = f"name one of its measures, such as {node.id}.served or {node.id}.depth"
                yield semantics.Problem("FT201", f'"{node.id}" is a queue, not a series', name.span, hint)
            elif node is None and not self._is_measure(name.id):
                yield self._unknown(name)

    def _is_measure(self, name: str) -> bool:
        id, _, measure = name.partition(".")
        queue = self.nodes.get(id)
        return isinstance(queue, QueueNode) and measure in queue.measures

    def _unknown(self, name: Name) -> semantics.Problem:
        id, _, measure = name.id.partition(".")
        queue = self.nodes.get(id)
        if isinstance(queue, QueueNode) and measure in MEASURES:
            return semantics.Problem("FT201", f'"{id}" has no {measure}: {why_absent(measure)}', name.span)
        if isinstance(queue, QueueNode):
            hint = did_you_mean(measure, queue.measures)
            text = f'queue "{id}" has no measure "{measure}"; it has {", ".join(queue.measures)}'
            return semantics.Problem("FT201", text, name.span, hint)
        if measure and id in self.nodes:
            text = f'"{id}" is not a queue, so "{name.id}" is not a series'
            return semantics.Problem("FT201", text, name.span)
        known = [*self.nodes, *self.parameters] if not measure else self._dotted()
        return semantics.Problem(
            "FT201", f'unknown series "{name.id}"', name.span, self.read.guess(name.id, known)
        )

    def _dotted(self) -> list[str]:
        return [
            f"{id}.{measure}"
            for id, node in self.nodes.items()
            if isinstance(node, QueueNode)
            for measure in node.measures
        ]

    def _second(self, path: Path, tree: Expression) -> None:
        """Notes what only version 2 of the language has."""
        stack = [tree]
        while stack:
            part = stack.pop()
            if isinstance(part, Name) and "." in part.id:
                self.read.second(path, f'"{part.id}"')
                return
            if isinstance(part, Call) and part.function in TABLE:
                function = TABLE[part.function]
                for index, given in enumerate(part.arguments):
                    kind = function.parameter(index).kind
                    items = given.items if isinstance(given, Array) else (given,)
                    literals = all(literal(item) is not None for item in items)
                    if kind in ("integer", "number") and not literals:
                        self.read.second(path, f"a formula as argument of {part.function}")
                        return
                    if kind == "kernel" and isinstance(given, Array) and not literals:
                        self.read.second(path, f"formulas in the kernel of {part.function}")
                        return
            stack += children(part)


def _source(name: str) -> str:
    """What a name reads: a node, or of a queue what is known in the bin or after the run."""
    id, _, measure = name.partition(".")
    return id if not measure or measure in FLOWS else f"{id}{_AFTER}"


def _is_keyword(tree: Expression, name: Name) -> bool:
    return any(
        semantics.begins_with_first(call) and call.arguments[2].span == name.span
        for call in _calls(tree, "SHIFT")
    )


def _calls(tree: Expression, function: str) -> Iterator[Call]:
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, Call) and part.function == function:
            yield part
        stack += children(part)
