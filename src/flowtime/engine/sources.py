"""What comes from outside the formulas: the series of const, pmf and bound nodes, and draws."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

import numpy as np

from flowtime.core.series import FloatArray
from flowtime.engine.notes import Notes
from flowtime.engine.plan import Plan
from flowtime.errors import InvalidInput
from flowtime.model.spec import MAX_SEED, Model

MAX_VALUES = 100_000_000
"""Nodes times bins of one evaluation: 800 MB where all of them are recorded."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of a plan for one seed and one set of inputs.

    `fixed` are the `(bins,)` series of nodes that are not drawn, cleaned, and `notes` what was cleaned.
    `given` are `(points,)` values of parameters that are not drawn but told for each point. `moved` counts
    for each parameter the draws so far that had to be moved into its bounds.
    """

    plan: Plan
    seed: int
    fixed: Mapping[str, FloatArray]
    notes: Notes = field(default_factory=Notes)
    given: Mapping[str, FloatArray] = field(default_factory=dict)
    moved: Counter[str] = field(default_factory=Counter)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def draw(self, sample: int | None = None) -> FloatArray:
        """`(drawn, bins)` draws times their profiles, not cleaned, in the order of `Plan.drawn`."""
        bins = self.plan.model.grid.bins
        rows = np.empty((len(self.plan.drawn), bins))
        with np.errstate(over="ignore"):
            for row, source in zip(rows, self.plan.drawn, strict=True):
                if source.node in self.given:
                    row[:] = self.given[source.node][sample or 0]
                    continue
                if source.parameter is not None:
                    row[:], moved = source.parameter.draw(self.seed, sample or 0)
                    if moved:
                        with self._turn:
                            self.moved[source.node] += 1
                    continue
                assert source.pmf is not None and source.values is not None
                np.multiply(source.pmf.draw(bins, self.seed, source.node, sample), source.values, out=row)
        return rows


def sources(
    plan: Plan,
    seed: int | None = None,
    inputs: Mapping[str, FloatArray] | None = None,
    points: Mapping[str, FloatArray] | None = None,
) -> Sources:
    """The sources of a plan, the series of its inputs given, and the `(points,)` values of parameters.

    Raises InvalidInput where a sampled node has no seed (FT214), the seed is none (FT205), an input does
    not fit (FT303) or there would be too many values (FT309).
    """
    model, given = plan.model, inputs or {}
    check_inputs(model, given)
    if len(model.nodes) * model.grid.bins > MAX_VALUES:
        raise InvalidInput(
            "FT309",
            f"{len(model.nodes):,} nodes in {model.grid.bins:,} bins are over {MAX_VALUES:,} values",
            hint="take fewer or larger bins, or divide the model",
        )
    fixed, notes = {}, Notes()
    for source in plan.sources:
        if not source.is_drawn:
            values = given[source.node] if source.values is None else source.values
            if source.values is None or not np.isfinite(values).all():
                values = values + 0.0
                missing = ~np.isfinite(values)
                values[missing] = np.nan
                if source.values is not None:
                    notes.add(("FT302", source.node), missing)
            fixed[source.node] = values
    told = points or {}
    return Sources(plan, _seed(plan, seed, told), fixed, notes, told)


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


def _seed(plan: Plan, seed: int | None, told: Container[str]) -> int:
    if seed is not None and not (type(seed) is int and 0 <= seed <= MAX_SEED):
        raise InvalidInput("FT205", f"the seed is {seed!r}; a whole number from 0 to {MAX_SEED:,} is allowed")
    chosen = plan.model.seed if seed is None else seed
    drawn = [source.node for source in plan.drawn if source.node not in told]
    if chosen is None and drawn:
        raise InvalidInput(
            "FT214",
            f'node "{drawn[0]}" is sampled and there is no seed',
            hint="add `rng: {kind: pcg64, seed: 42}` to the model, or give a seed for this run",
        )
    return 0 if chosen is None else chosen
