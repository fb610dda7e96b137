"""The reference: all series of a plan in plain Python, one bin after another, as the specification says.

It is read beside docs/reference/model.md, evaluates small models, and is what the compiled program is held
to, bit for bit. Nothing here is done for speed but that what a formula consists of is looked up once.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from flowtime.core.arithmetic import ARITHMETIC, NOTED
from flowtime.core.series import FloatArray
from flowtime.engine.expansion import WaitsNode
from flowtime.engine.formula import MEMORY, Formula, Operand, Operation
from flowtime.engine.notes import Note, Notes
from flowtime.engine.plan import Plan, Source, Waits
from flowtime.engine.waits import ORDER, waits

Value = Callable[[int], float]
"""The value of something in bin t, asked for bin after bin."""


def evaluate(
    plan: Plan, given: Mapping[str, FloatArray], draws: FloatArray, check: Callable[[], object]
) -> tuple[FloatArray, Notes]:
    """The `(recorded, bins)` values of a plan and what there is to note, from the series of its sources.

    `given` are the `(bins,)` series of nodes that are not drawn, `draws` the `(drawn, bins)` others; `check`
    is called at every bin, and may raise.
    """
    run = _Run(plan, given, draws)
    for bin in range(plan.model.grid.bins):
        check()
        run.step(bin)
    for bin in range(plan.model.grid.bins if run.late else 0):
        check()
        run.compute(run.late, bin)
    return np.array([run.series[node.id] for _, node in plan.model.recorded()], dtype=np.float64), run.noted()


class _Run:
    def __init__(self, plan: Plan, given: Mapping[str, FloatArray], draws: FloatArray) -> None:
        self.bins = plan.model.grid.bins
        self.series = {id: array("d", row.tolist()) for id, row in given.items()}
        self.missing_since = {
            id: int(np.isnan(row).argmax()) for id, row in given.items() if np.isnan(row).any()
        }
        self.notes: dict[Note, set[int]] = {}
        self.drawn = {source.node: row.tolist() for source, row in zip(plan.drawn, draws, strict=True)}
        queues = [step.node for step in plan.steps if isinstance(step, Waits)]
        measures = [id for queue in queues for id in queue.measures.values()]
        for id in [*self.drawn, *(formula.node for formula in plan.formulas), *measures]:
            self.series[id] = array("d", bytes(8 * self.bins))
        self.formulas = {formula.node: _Formula(self, formula) for formula in plan.formulas}
        self.steps: list[_Formula | _Waits] = []
        self.late: list[_Formula | _Waits] = []
        for step in plan.steps:
            if isinstance(step, Waits):
                (self.late if step.node.id in plan.late else self.steps).append(_Waits(self, step.node))
            elif not isinstance(step, Source):
                for formula in step.members:
                    place = self.late if formula.node in plan.late else self.steps
                    place.append(self.formulas[formula.node])

    def step(self, t: int) -> None:
        """Computes the series in bin t that need no later bins."""
        for node, row in self.drawn.items():
            self.series[node][t] = self.settled(node, t, row[t], lambda: False)
        self.compute(self.steps, t)

    def compute(self, steps: Sequence[_Formula | _Waits], t: int) -> None:
        """Computes some steps in bin t; what is read in later bins only comes last."""
        for step in steps:
            step.compute(t)
        for step in steps:
            step.compute_late(t)

    def settled(
        self, node: str, t: int, value: float, excused: Callable[[], bool], quiet: bool = False
    ) -> float:
        """A node's value cleaned: what is not finite is missing, and noted unless an input is missing."""
        if math.isfinite(value):
            return value + 0.0
        if not quiet and (math.isinf(value) or not excused()):
            self.note("FT302", node, t)
        self.missing_since.setdefault(node, t)
        return math.nan

    def note(self, code: str, node: str, t: int) -> None:
        self.notes.setdefault((code, node), set()).add(t)

    def noted(self) -> Notes:
        notes = Notes()
        for note, bins in self.notes.items():
            where = np.zeros(self.bins, dtype=bool)
            where[list(bins)] = True
            notes.add(note, where)
        return notes


class _Waits:
    """The waits of a queue, bin by bin."""

    def __init__(self, run: _Run, node: WaitsNode) -> None:
        self.run, self.node, bins = run, node, run.bins
        nothing = array("d", bytes(8 * bins))

        def series(id: str | None) -> array[float]:
            return nothing if id is None else run.series[id]

        def room(count: int) -> array[float]:
            return array("d", bytes(8 * count))

        found = [node.measures.get(measure) for measure in ORDER]
        self.rows = (
            *map(series, node.series),
            *(room(2 * bins + 1), room(bins), room(2 * bins + 2), room(2 * bins + 2), room(2 * bins + 2)),
            room(3),
            *(room(bins) if id is None else run.series[id] for id in found),
        )

    def compute(self, t: int) -> None:
        node, series = self.node, self.run.series
        initial, limit, slo = (
            series[value][t] if isinstance(value, str) else value
            for value in (node.initial, node.limit, node.slo)
        )
        waits(t, t + 1, node.wanted, initial, limit, slo, node.scale, *self.rows)
        for id in self.node.measures.values():
            if math.isnan(self.run.series[id][t]):
                self.run.missing_since.setdefault(id, t)

    def compute_late(self, t: int) -> None:
        """Nothing comes late."""


class _Formula:
    """The operations of a node. `now` are their values in this bin, `past` all those that a delay reads."""

    def __init__(self, run: _Run, formula: Formula) -> None:
        self.run, self.formula, self.node = run, formula, formula.node
        self.column = run.series[formula.node]
        self.now = [math.nan] * len(formula.operations)
        self.past = {
            operation.operands[0]: array("d", bytes(8 * run.bins))
            for operation in formula.operations
            if operation.function in ("SHIFT", "CONV") and isinstance(operation.operands[0], int)
        }
        steps = [(index, self.value(index)) for index in range(len(formula.operations))]
        self.early = [step for step in steps if not formula.operations[step[0]].late]
        self.late = [step for step in steps if formula.operations[step[0]].late]

    def compute(self, t: int) -> None:
        for index, value in self.early:
            self.now[index] = value(t)
        self.column[t] = self.run.settled(
            self.node, t, self.now[-1], lambda: self.excused(t), self.formula.quiet
        )

    def compute_late(self, t: int) -> None:
        for index, value in self.late:
            self.now[index] = value(t)

    def excused(self, t: int) -> bool:
        """Whether a missing value of an input can be why the value in bin t is missing."""
        if not self.formula.memory:
            return any(math.isnan(self.run.series[id][t]) for id in self.formula.now)
        since = self.run.missing_since
        return any(since.get(id, self.run.bins) <= t for id in self.formula.now) or any(
            since.get(id, self.run.bins) < t for id in self.formula.delayed
        )

    def operand(self, operand: Operand) -> Value:
        """What gives the value of an operand in this bin."""
        if isinstance(operand, float):
            return lambda t: operand
        if isinstance(operand, int):
            now = self.now
            return lambda t: now[operand]
        return self.run.series[operand].__getitem__

    def value(self, index: int) -> Value:
        """What gives the value of an operation, and keeps it where a delay will ask for it."""
        operation = self.formula.operations[index]
        value = self.remembering(index, operation) if operation.function in MEMORY else self.plain(operation)
        if index not in self.past:
            return value
        past = self.past[index]

        def kept(t: int) -> float:
            past[t] = found = value(t)
            return found

        return kept

    def plain(self, operation: Operation) -> Value:
        """The value of an operation that reads this bin only."""
        operands = [self.operand(operand) for operand in operation.operands]
        if operation.function == "PULSE":
            (amplitude,), (period, phase) = operands, operation.literals
            return lambda t: amplitude(t) if t >= phase and (t - phase) % period == 0 else 0.0
        if operation.may_divide_by_zero:
            return self.division(operation)
        if operation.function in NOTED:
            return self.noted(operation, operands[0])
        compute = ARITHMETIC[operation.function]
        if len(operands) == 1:
            (a,) = operands
            return lambda t: compute(a(t))
        if len(operands) == 2:
            a, b = operands
            return lambda t: compute(a(t), b(t))
        return lambda t: compute(*[operand(t) for operand in operands])

    def noted(self, operation: Operation, x: Value) -> Value:
        """A function that notes some values of its operand."""
        compute, (code, worth) = ARITHMETIC[operation.function], NOTED[operation.function]

        def value(t: int) -> float:
            given = x(t)
            if worth(given):
                self.run.note(code, self.node, t)
            return compute(given)

        return value

    def division(self, operation: Operation) -> Value:
        """A division, which notes that it is by zero where the branches that it stands in are taken."""
        a, b = [self.operand(operand) for operand in operation.operands]
        guards = [(self.operand(condition), taken) for condition, taken in operation.guards]
        divide = ARITHMETIC["/"]

        def value(t: int) -> float:
            dividend, divisor = a(t), b(t)
            if divisor == 0.0 and not math.isnan(dividend):
                conditions = [(condition(t), taken) for condition, taken in guards]
                if all(not math.isnan(c) and (c != 0.0) == taken for c, taken in conditions):
                    self.run.note("FT301", self.node, t)
            return divide(dividend, divisor)

        return value

    def remembering(self, index: int, operation: Operation) -> Value:
        """The value of an operation that reads earlier bins: of its operand, or its own."""
        x, now = operation.operands[0], self.now
        if operation.function == "EMA":
            (alpha,), value = operation.literals, self.operand(x)
            rest = 1.0 - alpha
            return lambda t: value(t) if t == 0 else alpha * value(t) + rest * now[index]
        if operation.function == "CUMSUM":
            value = self.operand(x)
            return lambda t: (-0.0 if t == 0 else now[index]) + value(t)
        past = self.past[x] if isinstance(x, int) else self.run.series[str(x)]
        if operation.function == "SHIFT":
            lag, initial = operation.literals
            return lambda t: past[t - lag] if t >= lag else initial
        (taps,) = operation.literals

        def convolved(t: int) -> float:
            total = 0.0
            for lag, weight in taps:
                if lag > t:
                    break
                total += weight * past[t - lag]
            return total

        return convolved
