"""Evaluation: a plan becomes series.

Each series is one row of a float64 matrix: recorded nodes have their row in the result, the others share
rows that are freed after their last use. A plan is bound to this memory as a sequence of calls, made while
it runs, or made once and kept where it runs many times. A node's result is cleaned once, at its end, and
only looked at closely where it is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from flowtime.core.functions import divide
from flowtime.core.grid import Grid
from flowtime.core.pmf import Pmf
from flowtime.core.series import FloatArray, SeriesSet
from flowtime.engine.formula import Formula, Operand
from flowtime.engine.loops import Group, compiled
from flowtime.engine.plan import Plan, Source, Step, Vector
from flowtime.engine.plan import compile as compile_plan
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.model.spec import Model

BoolArray = NDArray[np.bool_]
Call = tuple[Callable[..., object], tuple[object, ...], dict[str, FloatArray]]
"""A function, what it is called with, and the row for its keyword `out`: cheaper to make than a partial."""

ROW_GROUPS = 8
"""From this many equal feedback groups on, one NumPy row per bin is faster than a Python scan for each."""
ROW_BINS = 100_000
"""Up to this many bins; beyond, the views of the rows take more memory than the series."""

KINDS = {"FT301": "division_by_zero", "FT302": "non_finite"}
"""What an evaluation warns of, by code."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The recorded series of a model, and what there was to say about them."""

    series: SeriesSet
    warnings: tuple[Diagnostic, ...]


@dataclass(slots=True)
class Notes:
    """What evaluations met: by code and node a `(bins,)` bool mask, and in how many evaluations."""

    bins: dict[tuple[str, str], BoolArray] = field(default_factory=dict)
    times: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, code: str, node: str, where: BoolArray, times: int = 1) -> None:
        """Notes the bins `where`; within one evaluation `times` stays 1."""
        key = (code, node)
        self.bins[key] = self.bins[key] | where if key in self.bins else where.copy()
        self.times[key] = times

    def merge(self, other: Notes) -> None:
        """Takes in the notes of other evaluations."""
        for (code, node), where in other.bins.items():
            times = self.times.get((code, node), 0) + other.times[code, node]
            self.add(code, node, where, times)

    def warnings(self, model: Model, samples: int | None = None) -> tuple[Diagnostic, ...]:
        """The notes as warnings, in the order of the model's nodes; `samples`: out of how many."""
        return tuple(
            Diagnostic(code, self._message(model, code, node.id, samples), severity="warning", node=node.id)
            for node in model.nodes
            for code in KINDS
            if (code, node.id) in self.bins
        )

    def _message(self, model: Model, code: str, node: str, samples: int | None) -> str:
        bins = spelled_bins(model.grid, self.bins[code, node])
        sampled = "" if samples is None else f"; in {self.times[code, node]:,} of {samples:,} samples"
        return f'node "{node}": {KINDS[code]} in {bins}{sampled}'


def spelled_bins(grid: Grid, where: BoolArray) -> str:
    """The bins of a `(bins,)` bool mask as a message says them: how many, and the first."""
    count, first = int(where.sum()), int(where.argmax())
    label = "" if grid.start is None else f" ({grid.label(first)})"
    return f"{count} bin{'s' * (count != 1)}, first in bin {first}{label}"


def evaluate(
    plan: Plan, *, seed: int | None = None, inputs: Mapping[str, FloatArray] | None = None
) -> Evaluation:
    """The series of a plan.

    `seed` takes the place of the model's. `inputs` are `(bins,)` float64 series (NaN: missing) that take
    the place of nodes, by node id. Warnings: `division_by_zero` (FT301) and `non_finite` (FT302), at most
    one of each per node. Raises InvalidInput where a sampled node has no seed (FT214) or an input does not
    fit (FT303).
    """
    given = inputs or {}
    if given.keys() != plan.inputs:
        check_inputs(plan.model, given)
        plan = compile_plan(plan.model, given.keys())
    run = _Run(plan, seed, given)
    with np.errstate(all="ignore"):
        for function, arguments, out in run.calls():
            function(*arguments, **out)
    keys = tuple(key for key, _ in run.recorded)
    units = tuple(plan.units[node.id] for _, node in run.recorded)
    return Evaluation(SeriesSet(plan.model.grid, keys, units, run.values), run.notes.warnings(plan.model))


def check_inputs(model: Model, inputs: Mapping[str, FloatArray]) -> None:
    """Raises InvalidInput (FT303) where a series names no node or does not fit the grid."""
    known = {node.id for node in model.nodes}
    for id, values in inputs.items():
        if id not in known:
            raise InvalidInput("FT303", f'there is no node "{id}" to bind a series to')
        if values.dtype != np.float64 or values.shape != (model.grid.bins,):
            raise InvalidInput(
                "FT303",
                f'the series for node "{id}" is {values.dtype} of shape {values.shape}; '
                f"the grid needs float64 of shape ({model.grid.bins},)",
            )
        if np.isinf(values).any():
            raise InvalidInput(
                "FT303", f'the series for node "{id}" holds an infinity; a missing value is NaN'
            )


class Program:
    """A plan bound to memory for many evaluations. Raises as `evaluate` does."""

    def __init__(
        self, plan: Plan, seed: int | None = None, inputs: Mapping[str, FloatArray] | None = None
    ) -> None:
        self._run = _Run(plan, seed, inputs or {})
        with np.errstate(all="ignore"):
            self._calls = list(self._run.calls())
        # what is the same in every run was evaluated, and noted, while binding
        self._fixed = self._run.notes

    @property
    def values(self) -> FloatArray:
        """The `(recorded, bins)` result of the last run, which the next one writes over."""
        return self._run.values

    def run(self, sample: int) -> Notes:
        """Evaluates all series with the draws of sample number `sample`."""
        run = self._run
        run.sample, run.notes = sample, Notes()
        run.notes.merge(self._fixed)
        with np.errstate(all="ignore"):
            for function, arguments, out in self._calls:
                function(*arguments, **out)
        return run.notes


class _Run:
    """The rows, buffers and notes that a plan's calls work on.

    A series that is the same in every run is computed when its step is bound; all else is left to calls.
    """

    def __init__(self, plan: Plan, seed: int | None, inputs: Mapping[str, FloatArray]) -> None:
        check_inputs(plan.model, inputs)
        self.plan = plan
        self.bins = plan.model.grid.bins
        self.seed = _seed(plan, seed)
        self.inputs = inputs
        self.recorded = plan.model.recorded()
        self.values = np.empty((len(self.recorded), self.bins))
        self.sample: int | None = None
        self.notes = Notes()
        self.home: dict[str, FloatArray] = {}
        self.copies: list[Call] = []
        for row, (_, node) in zip(self.values, self.recorded, strict=True):
            if node.id in self.home:
                self.copies.append((np.copyto, (row, self.home[node.id]), {}))
            else:
                self.home[node.id] = row
        # ids are unique, so what stands here holds for every run, also where rows are taken again
        self.rows: dict[str, FloatArray] = {}
        self.pooled: set[str] = set()
        self.spare: list[FloatArray] = []
        self.scratch: list[FloatArray] = []

    def calls(self) -> Iterator[Call]:
        """The calls of the plan in order. Rows are freed as they are made, so this is done once."""
        for step, last in zip(self.plan.steps, self.plan.last_uses, strict=True):
            yield from self.bind(step)
            self.spare += [self.rows[id] for id in last if id in self.pooled]
        yield from self.copies

    def bind(self, step: Step) -> Iterable[Call]:
        """The calls of one step."""
        if isinstance(step, Source):
            if step.values is None or step.pmf is None:
                self.rows[step.node] = self.given(step.node, step.values)
                return ()
            self.place(step.writes)
            return ((self.draw, (step.node, step.pmf, step.values, self.rows[step.node]), {}),)
        self.place(step.writes)
        return self.vector(step.formula) if isinstance(step, Vector) else self.feedback(step.groups)

    def place(self, ids: Sequence[str]) -> None:
        """Give each series its row: in the result, else one that is free."""
        for id in ids:
            if id in self.home:
                self.rows[id] = self.home[id]
            else:
                self.rows[id] = self.spare.pop() if self.spare else np.empty(self.bins)
                self.pooled.add(id)

    def given(self, node: str, values: FloatArray | None) -> FloatArray:
        """The row of a series that is the same in every run; no other series ever takes it over."""
        given = self.inputs[node] if values is None else values
        finite = given.dot(given) < math.inf or bool(np.isfinite(given).all())
        if finite and values is not None and node not in self.home:
            return values
        row = self.home[node] if node in self.home else np.empty(self.bins)
        np.add(given, 0.0, out=row)
        if not finite:
            self.settle(node, row, np.isnan(row) if values is None else None)
        return row

    def draw(self, node: str, pmf: Pmf, weights: FloatArray, row: FloatArray) -> None:
        """Draw a series, each bin multiplied by its weight."""
        np.multiply(pmf.draw(self.bins, self.seed, node, self.sample), weights, out=row)
        np.add(row, 0.0, out=row)
        if not row.dot(row) < math.inf:
            self.settle(node, row)

    def vector(self, formula: Formula) -> list[Call]:
        """The calls of a formula."""
        row = self.rows[formula.node]
        calls = self.operations(formula, row)
        if formula.negative_zero:
            calls.append((np.add, (row, 0.0), {"out": row}))
        calls.append((self.check, (formula, row), {}))
        return calls

    def operations(self, formula: Formula, row: FloatArray) -> list[Call]:
        """The operations of a formula as calls; the last one writes `row`."""
        while len(self.scratch) < formula.scratch:
            self.scratch.append(np.empty(self.bins))
        rows, scratch = self.rows, self.scratch
        values: list[FloatArray] = []
        calls: list[Call] = []
        for operation in formula.operations:
            kernel, slot = operation.kernel, operation.slot
            out = row if slot < 0 else scratch[slot]
            if kernel is divide:
                conditions = _given([condition for condition, _ in operation.guards], rows, values)
                guards = [(c, taken) for c, (_, taken) in zip(conditions, operation.guards, strict=True)]
                kernel = partial(divide, zero=partial(self.divided_by_zero, formula.node, guards))
            operands = _given(operation.operands, rows, values)
            calls.append((kernel, (*operands, *operation.literals), {"out": out}))
            values.append(out)
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
            self.notes.add("FT301", node, where)

    def check(self, formula: Formula, row: FloatArray) -> None:
        """Settle a formula's result where it needs that."""
        # the dot product is the cheapest pass that shows whether all values are finite
        if not row.dot(row) < math.inf:
            self.settle(formula.node, row, self.missing_before(formula))

    def missing_before(self, formula: Formula) -> BoolArray:
        """`(bins,)` bool: where a missing value of an input can be why the formula's value is missing."""
        missing = np.zeros(self.bins, dtype=bool)
        for id in formula.now:
            missing |= np.isnan(self.rows[id])
        for id in formula.delayed:
            missing[1:] |= np.isnan(self.rows[id][:-1])
        return np.logical_or.accumulate(missing) if formula.memory else missing

    def settle(
        self, node: str, row: FloatArray, excused: BoolArray | None = None, infinite: BoolArray | None = None
    ) -> None:
        """Make what is not finite missing, and note it: infinities, and missing values without an excuse."""
        infinite = np.isinf(row) if infinite is None else infinite
        missing = np.isnan(row)
        new = infinite | (missing if excused is None else missing & ~excused)
        # also the missing ones: a NaN has many bit patterns
        row[infinite | missing] = np.nan
        if new.any():
            self.notes.add("FT302", node, new)

    def feedback(self, groups: tuple[Group, ...]) -> list[Call]:
        """The calls of feedback groups with equal bodies."""
        calls: list[Call] = []
        hoisted = [item for group in groups for item in group.hoisted]
        for id, formula in hoisted:
            self.place((id,))
            calls += self.operations(formula, self.rows[id])
        calls.append((self.scan, (groups,), {}))
        self.spare += [self.rows[id] for id, _ in hoisted]
        return calls

    def scan(self, groups: tuple[Group, ...]) -> None:
        """Evaluate feedback groups with equal bodies."""
        body = groups[0].body
        if len(groups) < ROW_GROUPS or self.bins > ROW_BINS or not body.as_rows or not self.scan_rows(groups):
            for group in groups:
                if body.always_careful or not self.scan_quickly(group):
                    self.scan_carefully(group)

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
        """Evaluate a group in Python floats, cleaning and noting every value."""
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
        """The inputs of a group as lists of one value for each bin."""
        return [self.rows[id].tolist() for id in group.inputs]

    def all_finite(self, group: Group) -> bool:
        """Whether all values of a group's members are finite."""
        rows = (self.rows[formula.node] for formula in group.members)
        return all(row.dot(row) < math.inf for row in rows)

    def mask(self, bins: list[int]) -> BoolArray:
        """`(bins,)` bool: true in these bins."""
        mask = np.zeros(self.bins, dtype=bool)
        mask[bins] = True
        return mask


def _given(
    operands: Iterable[Operand], rows: Mapping[str, FloatArray], values: Sequence[FloatArray]
) -> list[FloatArray | float]:
    """What operands stand for: nodes their rows, earlier operations their buffers, numbers themselves."""
    return [rows[o] if isinstance(o, str) else values[o] if isinstance(o, int) else o for o in operands]


def _seed(plan: Plan, seed: int | None) -> int:
    """The seed to draw with; raises InvalidInput (FT214) where one is needed and there is none."""
    chosen = plan.model.seed if seed is None else seed
    if chosen is None:
        sampled = [step.node for step in plan.steps if isinstance(step, Source) and step.pmf is not None]
        if sampled:
            raise InvalidInput(
                "FT214",
                f'node "{sampled[0]}" is sampled and there is no seed',
                hint="add `rng: {kind: pcg64, seed: 42}` to the model, or give a seed for this run",
            )
    return 0 if chosen is None else chosen
