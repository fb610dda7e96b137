"""Evaluation: a plan becomes series.

Each series is one row of a float64 matrix: recorded nodes have their row in the result, the others share
rows with those that are not needed at the same time; the plan says where each one is. A node's result is
cleaned once, at its end, and only looked at closely where it is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowtime.core.functions import Operand, divide
from flowtime.core.grid import Grid
from flowtime.core.pmf import Pmf
from flowtime.core.series import FloatArray, SeriesSet
from flowtime.engine.formula import Formula
from flowtime.engine.loops import Group, compiled
from flowtime.engine.plan import Division, Feedback, Plan, Source, Vector
from flowtime.engine.plan import compile as compile_plan
from flowtime.errors import Diagnostic, InvalidInput
from flowtime.model.spec import MAX_SEED, Model

BoolArray = NDArray[np.bool_]
MAX_VALUES = 100_000_000
"""Nodes times bins of one evaluation: 800 MB where all of them are recorded, less where rows are shared."""
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
    one of each per node. Raises InvalidInput where a sampled node has no seed (FT214), the seed is none
    (FT205), an input does not fit (FT303) or there would be too many values (FT309).
    """
    given = inputs or {}
    if given.keys() != plan.inputs:
        check_inputs(plan.model, given)
        plan = compile_plan(plan.model, given.keys())
    with np.errstate(all="ignore"):
        run = _Run(plan, seed, given)
        run.evaluate()
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
    """A plan with its memory, for many evaluations. Raises as `evaluate` does."""

    def __init__(
        self, plan: Plan, seed: int | None = None, inputs: Mapping[str, FloatArray] | None = None
    ) -> None:
        with np.errstate(all="ignore"):
            self._run = _Run(plan, seed, inputs or {})
        # what is the same in every run was noted when the memory was made
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
            run.evaluate()
        return run.notes


class _Run:
    """The memory of a plan, and the notes of its last evaluation.

    Series that are the same in every evaluation are there from the beginning.
    """

    def __init__(self, plan: Plan, seed: int | None, inputs: Mapping[str, FloatArray]) -> None:
        check_inputs(plan.model, inputs)
        self.plan = plan
        self.bins = plan.model.grid.bins
        if len(plan.model.nodes) * self.bins > MAX_VALUES:
            raise InvalidInput(
                "FT309",
                f"{len(plan.model.nodes):,} nodes in {self.bins:,} bins are over {MAX_VALUES:,} values",
                hint="take fewer or larger bins, or divide the model",
            )
        self.seed = _seed(plan, seed)
        self.inputs = inputs
        self.recorded = plan.model.recorded()
        self.values = np.empty((len(self.recorded), self.bins))
        self.sample: int | None = None
        self.notes = Notes()
        place = plan.placement
        buffers = (np.empty(self.bins) for _ in range(place.buffers))
        self.cells: list[Any] = [*self.values, *[None] * place.given, *buffers, *place.constants]
        for step in plan.steps:
            if isinstance(step, Source) and step.pmf is None:
                self.cells[place.cells[step.node]] = self.given(step.node, step.values)

    def row(self, id: str) -> FloatArray:
        """The row of a node or a hoisted formula."""
        row: FloatArray = self.cells[self.plan.placement.cells[id]]
        return row

    def evaluate(self) -> None:
        """Compute all series, step by step."""
        cells, place = self.cells, self.plan.placement
        for step, calls in zip(self.plan.steps, place.calls, strict=True):
            for kernel, operands, out in calls:
                if len(operands) == 2:
                    # most calls are of this kind, and take 3 µs at 8,760 bins: unpacking lists would be felt
                    a, b = operands
                    kernel(cells[a], cells[b], out=cells[out])
                elif kernel is divide:
                    self.divide(*[cells[operand] for operand in operands], out=cells[out])
                else:
                    kernel(*[cells[operand] for operand in operands], out=cells[out])
            if isinstance(step, Vector):
                row = cells[out]
                # the dot product is the cheapest pass that shows whether all values are finite
                if not row.dot(row) < math.inf:
                    self.settle(step.formula.node, row, self.missing_before(step.formula))
            elif isinstance(step, Feedback):
                self.scan(step.groups)
            elif step.pmf is not None and step.values is not None:
                self.draw(step.node, step.pmf, step.values, self.row(step.node))
        for copy, row in place.copies:
            np.copyto(cells[copy], cells[row])

    def given(self, node: str, values: FloatArray | None) -> FloatArray:
        """The row of a series that is the same in every run; no other series ever takes it over."""
        given = self.inputs[node] if values is None else values
        finite = given.dot(given) < math.inf or bool(np.isfinite(given).all())
        place = self.cells[self.plan.placement.cells[node]]
        if finite and values is not None and place is None:
            return values
        row = np.empty(self.bins) if place is None else place
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

    def divide(self, a: Operand, b: Operand, division: Division, *, out: FloatArray) -> None:
        """Divide, and note divisions by zero."""
        np.divide(a, b, out=out)
        if not out.dot(out) < math.inf:
            divide(a, b, out=out, zero=partial(self.divided_by_zero, division))

    def divided_by_zero(self, division: Division, where: BoolArray) -> None:
        """Note a division by zero in the bins `where`, as far as the branches that it stands in are taken."""
        for cell, taken in division.guards:
            condition = self.cells[cell]
            chosen = (
                np.not_equal(condition, 0.0) & ~np.isnan(condition) if taken else np.equal(condition, 0.0)
            )
            where = where & chosen
        if where.any():
            self.notes.add("FT301", division.node, where)

    def missing_before(self, formula: Formula) -> BoolArray:
        """`(bins,)` bool: where a missing value of an input can be why the formula's value is missing."""
        missing = np.zeros(self.bins, dtype=bool)
        for id in formula.now:
            missing |= np.isnan(self.row(id))
        for id in formula.delayed:
            missing[1:] |= np.isnan(self.row(id)[:-1])
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
            list(np.stack([self.row(group.inputs[index]) for group in groups], axis=1))
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
                np.add(result[:, column], 0.0, out=self.row(formula.node))
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
            np.add(np.array(result), 0.0, out=self.row(formula.node))
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
            self.row(formula.node)[:] = result
        for formula, at_zero, at_infinity in zip(group.members, zeros, infinities, strict=True):
            if at_zero:
                self.divided_by_zero(Division(formula.node), self.mask(at_zero))
            row = self.row(formula.node)
            self.settle(formula.node, row, self.missing_before(formula), self.mask(at_infinity))

    def lists(self, group: Group) -> list[list[float]]:
        """The inputs of a group as lists of one value for each bin."""
        return [self.row(id).tolist() for id in group.inputs]

    def all_finite(self, group: Group) -> bool:
        """Whether all values of a group's members are finite."""
        rows = (self.row(formula.node) for formula in group.members)
        return all(row.dot(row) < math.inf for row in rows)

    def mask(self, bins: list[int]) -> BoolArray:
        """`(bins,)` bool: true in these bins."""
        mask = np.zeros(self.bins, dtype=bool)
        mask[bins] = True
        return mask


def _seed(plan: Plan, seed: int | None) -> int:
    """The seed to draw with.

    Raises InvalidInput where one is needed and there is none (FT214), or what was given is none (FT205).
    """
    if seed is not None and not (type(seed) is int and 0 <= seed <= MAX_SEED):
        raise InvalidInput("FT205", f"the seed is {seed!r}; a whole number from 0 to {MAX_SEED:,} is allowed")
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
