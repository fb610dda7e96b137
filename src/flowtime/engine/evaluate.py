"""Evaluation: a plan becomes series, by the reference or by a compiled program, with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from flowtime.core.series import FloatArray, SeriesSet
from flowtime.engine import machine, program, reference
from flowtime.engine.notes import Notes
from flowtime.engine.plan import Plan
from flowtime.engine.plan import compile as compile_plan
from flowtime.engine.sources import Sources, check_inputs, sources
from flowtime.engine.waiting import interruptible
from flowtime.errors import Diagnostic
from flowtime.wanted import still_wanted

SMALL = 100_000
"""Operations times bins up to which the reference is done before wasmtime is loaded."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The recorded series of a model, and what there was to say about them; the `(bins,)` series of a plan's
    extra formulas by their ids.
    """

    series: SeriesSet
    warnings: tuple[Diagnostic, ...]
    extra: Mapping[str, FloatArray] = field(default_factory=dict, repr=False)


def evaluate(
    plan: Plan,
    *,
    seed: int | None = None,
    inputs: Mapping[str, FloatArray] | None = None,
) -> Evaluation:
    """The series of a plan.

    `seed` takes the place of the model's. `inputs` are `(bins,)` float64 series (NaN: missing) that take
    the place of nodes, by node id. Every few milliseconds it asks whether it is `still_wanted`. Warnings:
    `division_by_zero` (FT301) and `non_finite` (FT302), at most one of each per node. Raises InvalidInput
    where a sampled node has no seed (FT214), the seed is none (FT205), an input does not fit (FT303),
    there would be too many values (FT309) or the service time of a queue is 0 or less (FT312).
    """
    given = inputs or {}
    if given.keys() != plan.inputs:
        check_inputs(plan.model, given)
        plan = replace(compile_plan(plan.model, given.keys()), extra=plan.extra)
    found = sources(plan, seed, given)
    if plan.operations * plan.model.grid.bins <= SMALL or not machine.available():
        values, notes = reference.evaluate(plan, found.fixed, found.draw(), still_wanted)
    else:
        values, notes = interruptible(lambda stop: _run(found, stop))
    notes.merge(found.notes)
    notes.hold(plan.model)
    recorded = plan.model.recorded()
    own = len(recorded) - len(plan.extra)
    keys = tuple(key for key, _ in recorded[:own])
    units = tuple(plan.units[node.id] for _, node in recorded[:own])
    series = SeriesSet(plan.model.grid, keys, units, values[:own])
    extra = dict(zip(plan.extra, values[own:], strict=True))
    return Evaluation(series, notes.warnings(plan.model), extra)


def _run(found: Sources, stop: Callable[[], object]) -> tuple[FloatArray, Notes]:
    module = machine.Module(program.compile(found.plan))
    stop()
    run = machine.Machine(module, found)
    run.draws[:] = found.draw()
    run.all_bins(stop)
    return run.values(), run.notes()
