"""Evaluation: a plan becomes series.

Each series is one row of a float64 matrix: recorded nodes have their row in the result, the others share
rows that are freed after their last use. A formula is a flat list of calls bound to rows and scratch
buffers; a node's result is cleaned once, at the end, and only looked at closely where it is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowtime.core.functions import divide
from flowtime.core.series import FloatArray, SeriesSet
from flowtime.engine.formula import Formula, Operand
from flowtime.engine.loops import Group, compiled
from flowtime.engine.plan import Feedback, Plan, Source, Step, Vector
from flowtime.engine.plan import compile as compile_plan
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.model.spec import Model

BoolArray = NDArray[np.bool_]

ROW_GROUPS = 8
"""From this many equal feedback groups on, one NumPy row per bin is faster than a Python scan for each."""
ROW_BINS = 100_000
"""Up to this many bins; beyond, the views of the rows take more memory than the series."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The recorded series of a model, and what there was to say about them."""

    series: SeriesSet
    warnings: tuple[Diagnostic, ...]


def evaluate(
    plan: Plan, *, seed: int | None = None, inputs: Mapping[str, FloatArray] | None = None
) -> Evaluation:
    """The series of a plan.

    `seed` takes the place of the model's. `inputs` are `(bins,)` float64 series (NaN: missing) that take
    the place of nodes, by node id. Warnings: `division_by_zero` (FT301) and `non_finite` (FT302), at most
    one of each per node. Raises InvalidInput where a sampled node has no seed (FT214) or an input does not
    fit (FT303).
    """
    given = _checked_inputs(plan.model, inputs or {})
    if given.keys() != plan.inputs:
        plan = compile_plan(plan.model, given.keys())
    seed = plan.model.seed if seed is None else seed
    if seed is None:
        sampled = [step.node for step in plan.steps if isinstance(step, Source) and step.pmf is not None]
        if sampled:
            raise InvalidInput(
                "FT214",
                f'node "{sampled[0]}" is sampled and there is no seed',
                hint="add `rng: {kind: pcg64, seed: 42}` to the model, or give a seed for this run",
            )
    run = _Run(plan, 0 if seed is None else seed, given)
    with np.errstate(all="ignore"):
        for step, last in zip(plan.steps, plan.last_uses, strict=True):
            run.step(step, last)
    return Evaluation(run.series(), run.warnings())


def _checked_inputs(model: Model, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    known = {node.id for node in model.nodes}
    checked: dict[str, FloatArray] = {}
    for id, values in inputs.items():
        if id not in known:
            raise InvalidInput("FT303", f'there is no node "{id}" to bind a series to')
        array = np.asarray(values)
        if array.dtype != np.float64 or array.shape != (model.grid.bins,):
            raise InvalidInput(
                "FT303",
                f'the series for node "{id}" is {array.dtype} of shape {array.shape}; '
                f"the grid needs float64 of shape ({model.grid.bins},)",
            )
        if np.isinf(array).any():
            raise InvalidInput(
                "FT303", f'the series for node "{id}" holds an infinity; a missing value is NaN'
            )
        checked[id] = array
    return checked


class _Run:
    """The rows, buffers and notes of one evaluation."""

    def __init__(self, plan: Plan, seed: int, inputs: Mapping[str, FloatArray]) -> None:
        self.model = plan.model
        self.units = plan.units
        self.bins = plan.model.grid.bins
        self.seed = seed
        self.inputs = inputs
        self.recorded = plan.model.recorded()
        self.values = np.empty((len(self.recorded), self.bins))
        self.home: dict[str, FloatArray] = {}
        self.copies: list[tuple[FloatArray, FloatArray]] = []
        for row, (_, node) in zip(self.values, self.recorded, strict=True):
            if node.id in self.home:
                self.copies.append((row, self.home[node.id]))
            else:
                self.home[node.id] = row
        self.rows: dict[str, FloatArray] = {}
        self.spare: list[FloatArray] = []
        self.scratch: list[FloatArray] = []
        self.zero: dict[str, BoolArray] = {}
        self.non_finite: dict[str, BoolArray] = {}

    def step(self, step: Step, last: Sequence[str]) -> None:
        """Evaluate one step and free the rows that it is the last to use."""
        for id in step.writes:
            self.rows[id] = self.home[id] if id in self.home else self.take()
        match step:
            case Source():
                self.source(step)
            case Vector(formula):
                self.vector(formula)
            case Feedback(groups):
                self.feedback(groups)
        for id in last:
            row = self.rows.pop(id)
            if id not in self.home:
                self.spare.append(row)

    def take(self) -> FloatArray:
        return self.spare.pop() if self.spare else np.empty(self.bins)

    def source(self, step: Source) -> None:
        row = self.rows[step.node]
        if step.values is None:
            np.add(self.inputs[step.node], 0.0, out=row)
            return
        if step.pmf is None:
            np.copyto(row, step.values)
        else:
            np.multiply(step.pmf.draw(self.bins, self.seed, step.node), step.values, out=row)
            np.add(row, 0.0, out=row)
        if not row.dot(row) < math.inf:
            self.settle(step.node, row, np.zeros(self.bins, dtype=bool))

    def vector(self, formula: Formula) -> None:
        row = self.rows[formula.node]
        for call in self.bind(formula, row):
            call()
        if formula.negative_zero:
            np.add(row, 0.0, out=row)
        # the dot product is the cheapest pass that shows whether all values are finite
        if not row.dot(row) < math.inf:
            self.settle(formula.node, row, self.missing_before(formula))

    def bind(self, formula: Formula, row: FloatArray) -> list[Callable[[], object]]:
        """The operations of a formula as calls without arguments; the last one writes `row`."""
        while len(self.scratch) < formula.scratch:
            self.scratch.append(np.empty(self.bins))
        rows, scratch = self.rows, self.scratch
        values: list[FloatArray] = []

        def value(operand: Operand) -> FloatArray | float:
            if isinstance(operand, str):
                return rows[operand]
            return values[operand] if isinstance(operand, int) else operand

        calls: list[Callable[[], object]] = []
        for operation in formula.operations:
            out = row if operation.slot < 0 else scratch[operation.slot]
            values.append(out)
            kernel = operation.kernel
            if kernel is divide:
                guards = [(value(condition), taken) for condition, taken in operation.guards]
                kernel = partial(kernel, zero=partial(self.divided_by_zero, formula.node, guards))
            calls.append(partial(kernel, *map(value, operation.operands), *operation.literals, out=out))
        return calls

    def divided_by_zero(
        self, node: str, guards: Sequence[tuple[FloatArray | float, bool]], where: BoolArray
    ) -> None:
        """Note a division by zero in the bins `where`, as far as the branches that it stands in are taken."""
        for condition, taken in guards:
            chosen = (
                np.not_equal(condition, 0.0) & ~np.isnan(condition) if taken else np.equal(condition, 0.0)
            )
            where = where & chosen
        if where.any():
            self.zero[node] = self.zero[node] | where if node in self.zero else where.copy()

    def missing_before(self, formula: Formula) -> BoolArray:
        """`(bins,)` bool: where a missing value of an input can be why the formula's value is missing."""
        missing = np.zeros(self.bins, dtype=bool)
        for id in formula.now:
            missing |= np.isnan(self.rows[id])
        for id in formula.delayed:
            missing[1:] |= np.isnan(self.rows[id][:-1])
        return np.logical_or.accumulate(missing) if formula.memory else missing

    def settle(
        self, node: str, row: FloatArray, excused: BoolArray, infinite: BoolArray | None = None
    ) -> None:
        """Make what is not finite missing, and note it: infinities, and missing values without an excuse."""
        infinite = np.isinf(row) if infinite is None else infinite
        missing = np.isnan(row)
        new = infinite | (missing & ~excused)
        # also the missing ones: a NaN has many bit patterns
        row[infinite | missing] = np.nan
        if new.any():
            self.non_finite[node] = new

    def feedback(self, groups: tuple[Group, ...]) -> None:
        hoisted: list[str] = []
        for group in groups:
            for id, formula in group.hoisted:
                self.rows[id] = self.take()
                hoisted.append(id)
                for call in self.bind(formula, self.rows[id]):
                    call()
        body = groups[0].body
        if len(groups) < ROW_GROUPS or self.bins > ROW_BINS or not body.as_rows or not self.scan_rows(groups):
            for group in groups:
                if body.always_careful or not self.scan_quickly(group):
                    self.scan_carefully(group)
        for id in hoisted:
            self.spare.append(self.rows.pop(id))

    def scan_rows(self, groups: tuple[Group, ...]) -> bool:
        """Evaluate groups with equal bodies at once; False where a division by zero or an overflow is met."""
        body, size = groups[0].body, len(groups)
        inputs = [
            list(np.stack([self.rows[group.inputs[index]] for group in groups], axis=1))
            for index in range(body.inputs)
        ]
        constants = list(np.array([group.constants for group in groups]).T.copy())
        results = [np.empty((self.bins, size)) for _ in range(body.members)]
        try:
            with np.errstate(divide="raise", over="raise", invalid="raise"):
                compiled(body, "rows")(
                    self.bins, inputs, constants, [list(result) for result in results], size
                )
        except FloatingPointError:
            return False
        for column, group in enumerate(groups):
            for formula, result in zip(group.members, results, strict=True):
                np.add(result[:, column], 0.0, out=self.rows[formula.node])
            if not self.all_finite(group):
                self.scan_carefully(group)
        return True

    def scan_quickly(self, group: Group) -> bool:
        """Evaluate a group in Python floats; False where it needs the careful scan."""
        results = [[0.0] * self.bins for _ in group.members]
        try:
            compiled(group.body, "quick")(self.bins, self.lists(group), group.constants, results)
        except ZeroDivisionError:
            return False
        for formula, result in zip(group.members, results, strict=True):
            np.add(np.array(result), 0.0, out=self.rows[formula.node])
        return self.all_finite(group)

    def scan_carefully(self, group: Group) -> None:
        results = [[0.0] * self.bins for _ in group.members]
        zeros: list[list[int]] = [[] for _ in group.members]
        infinities: list[list[int]] = [[] for _ in group.members]
        compiled(group.body, "careful")(
            self.bins, self.lists(group), group.constants, results, zeros, infinities
        )
        for formula, result in zip(group.members, results, strict=True):
            self.rows[formula.node][:] = result
        for formula, at_zero, at_infinity in zip(group.members, zeros, infinities, strict=True):
            if at_zero:
                self.divided_by_zero(formula.node, (), self.mask(at_zero))
            row = self.rows[formula.node]
            self.settle(formula.node, row, self.missing_before(formula), self.mask(at_infinity))

    def lists(self, group: Group) -> list[list[float]]:
        return [self.rows[id].tolist() for id in group.inputs]

    def all_finite(self, group: Group) -> bool:
        rows = (self.rows[formula.node] for formula in group.members)
        return all(row.dot(row) < math.inf for row in rows)

    def mask(self, bins: list[int]) -> BoolArray:
        mask = np.zeros(self.bins, dtype=bool)
        mask[bins] = True
        return mask

    def series(self) -> SeriesSet:
        """The recorded series; a node recorded again has copies of its row."""
        for copy, row in self.copies:
            np.copyto(copy, row)
        keys = tuple(key for key, _ in self.recorded)
        return SeriesSet(
            self.model.grid, keys, tuple(self.units[node.id] for _, node in self.recorded), self.values
        )

    def warnings(self) -> tuple[Diagnostic, ...]:
        """What happened, in the order of the model's nodes."""
        kinds: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
            ("FT301", "division_by_zero", self.zero),
            ("FT302", "non_finite", self.non_finite),
        )
        return tuple(
            Diagnostic(code, self.message(node.id, kind, noted[node.id]), severity="warning", node=node.id)
            for node in self.model.nodes
            for code, kind, noted in kinds
            if node.id in noted
        )

    def message(self, node: str, kind: str, where: BoolArray) -> str:
        count, first = int(where.sum()), int(where.argmax())
        label = "" if self.model.grid.start is None else f" ({self.model.grid.label(first)})"
        return f'node "{node}": {kind} in {count} bin{"s" * (count != 1)}, first in bin {first}{label}'
