"""Replay: telemetry's series in the place of a model's inputs.

Inputs are what a model does not compute: const and pmf nodes. The telemetry's series with the component and
measure under which the model records an input take its place; inputs that the telemetry does not measure keep
the model's values. Series of other names, and formulas that measured series are to replace, have to be bound
one by one. What the telemetry measures and the run has too is compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from flowtime.analysis.compare import align, difference
from flowtime.core.canonical import JSON
from flowtime.core.grid import Grid
from flowtime.core.series import FloatArray, SeriesKey, SeriesSet, same_bits
from flowtime.errors import Diagnostic, InvalidInput, did_you_mean
from flowtime.formats.digest import digest
from flowtime.loop.models import StoredModel, read_from
from flowtime.loop.series import read_series
from flowtime.model.spec import Model, Node, QueueNode, is_source
from flowtime.registry import Registry
from flowtime.registry.catalog import Parent
from flowtime.wording import option

_NAMED = 20
"""So many names an error lists."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One binding: the telemetry's series that a node takes, and in how many bins that has no value."""

    component: str
    measure: str
    node: str
    missing: int


@dataclass(frozen=True, slots=True)
class Kept:
    """An input that keeps the model's values, and the series that records it; None where none does."""

    node: str
    component: str | None
    measure: str | None


@dataclass(frozen=True, slots=True)
class Compared:
    """A series that the telemetry measures and the run has too, and how far the two are apart.

    `max_difference` is the measured value minus that of the run where they are furthest apart, None where no
    bin has both. `first_time_bin` is the first bin whose values are not the same.
    """

    component: str
    measure: str
    equal: bool
    differing_bins: int
    missing_on_one_side: int
    max_difference: float | None
    first_time_bin: str | None


@dataclass(frozen=True, slots=True)
class Unbound:
    """A series of the telemetry that the model neither takes nor records."""

    component: str
    measure: str


@dataclass(frozen=True, slots=True)
class Replay:
    """A model with telemetry bound to its inputs.

    `model` stands on the telemetry's start where it has none of its own. `inputs` are `(bins,)` float64
    by node id, NaN where missing; `digests` are those of the bound series. `measured` are the series to
    compare with those of the run.
    """

    telemetry: Parent
    model: Model = field(repr=False)
    bound: tuple[Bound, ...]
    kept: tuple[Kept, ...]
    unbound: tuple[Unbound, ...]
    inputs: Mapping[str, FloatArray] = field(repr=False)
    digests: Mapping[str, str]
    measured: SeriesSet = field(repr=False)
    warnings: tuple[Diagnostic, ...]

    @property
    def measured_digest(self) -> str | None:
        """The digest of the series to compare, None where there are none."""
        return digest(self.measured) if len(self.measured) else None

    def compared(self, run: SeriesSet) -> tuple[Compared, ...]:
        """What was measured against the series of the `run`."""
        computed = dict(zip(run.keys, run.values, strict=True))
        whole = align(run.grid, run.grid)
        found = (
            difference(key, (None, None), computed[key], row, run.grid, whole)
            for key, _, row in self.measured
        )
        return tuple(
            Compared(
                each.component,
                each.measure,
                each.equal,
                each.differing_bins,
                each.missing_on_one_side,
                each.max_difference,
                each.first_time_bin,
            )
            for each in found
        )


def replay(
    registry: Registry,
    id: str,
    model: StoredModel | None,
    bindings: Iterable[str],
    required: Iterable[str],
) -> tuple[StoredModel, Replay]:
    """The telemetry `id` bound to a model, by default to the one that came back with it.

    Raises InvalidInput: FT807 and FT811 as `bind` does, FT812 where there is no model.
    """
    catalog = registry.catalog(id)
    telemetry = Parent(id=id, digest=catalog["data"]["digest"])
    replaced = bound_nodes(catalog) if model is None else ()
    stored = read_from(registry, id) if model is None else model
    return stored, bind(stored.model, read_series(registry, id), telemetry, bindings, required, replaced)


def bind(
    model: Model,
    series: SeriesSet,
    telemetry: Parent,
    bindings: Iterable[str] = (),
    required: Iterable[str] = (),
    replaced: Collection[str] = (),
) -> Replay:
    """The model with the telemetry's `series` bound to its inputs.

    `bindings` are `component.measure=node` and come before names; `required` are nodes and recorded series
    of the model that the telemetry has to measure; `replaced` are ids of nodes that count as inputs whatever
    they are. Raises InvalidInput: FT811 for bindings that fit nothing; FT807 where the telemetry lacks
    something required, has two meanings for one input or nothing that the model knows, or the grids differ.
    """
    on = on_grid(model, series.grid)
    chosen = _said(model, series, bindings)
    rows = dict(zip(series.keys, series.values, strict=True))
    inputs = _inputs(model, replaced)
    problems = []
    for node, keys in inputs.items():
        there = [key for key in keys if key in rows]
        if node in chosen or not there:
            continue
        if all(same_bits(rows[there[0]], rows[key]) for key in there[1:]):
            chosen[node] = there[0]
        else:
            named = " and ".join(map(str, there))
            hint = " or ".join(option("bind", f"{key}={node}") for key in there)
            problems.append(
                Diagnostic("FT807", f'"{node}" is one input, but {named} differ', node=node, hint=hint)
            )
    if problems:
        raise InvalidInput(
            "FT807", f"{telemetry.id} has two meanings for an input of the model", errors=problems
        )
    recorded = {key: node.id for key, node in model.recorded()}
    measured = [
        place for place, key in enumerate(series.keys) if key in recorded and chosen.get(recorded[key]) != key
    ]
    _check_required(model, series, chosen, required, telemetry)
    if not chosen and not measured:
        raise _strangers(series, inputs, telemetry)
    order = [node.id for node in model.nodes if node.id in chosen]
    taken = set(chosen.values()) | recorded.keys()
    return Replay(
        telemetry,
        on,
        tuple(
            Bound(key.component, key.measure, node, int(np.isnan(rows[key]).sum()))
            for node, key in ((node, chosen[node]) for node in order)
        ),
        tuple(_kept(model, chosen, inputs)),
        tuple(Unbound(key.component, key.measure) for key in series.keys if key not in taken),
        {node: rows[chosen[node]] for node in order},
        {node: _digest(series.grid, chosen[node], rows[chosen[node]]) for node in order},
        SeriesSet(
            on.grid,
            tuple(series.keys[place] for place in measured),
            tuple(series.units[place] for place in measured),
            series.values[measured],
        ),
        tuple(_unit_warnings(model, series, [*((chosen[node], node) for node in order), *recorded.items()])),
    )


def _kept(model: Model, chosen: Collection[str], inputs: Mapping[str, list[SeriesKey]]) -> Iterable[Kept]:
    for node in model.nodes:
        if node.id not in chosen and is_source(node):
            name = next(iter(inputs.get(node.id, ())), None)
            yield Kept(node.id, *((None, None) if name is None else (name.component, name.measure)))


def _check_required(
    model: Model,
    series: SeriesSet,
    chosen: Collection[str],
    required: Iterable[str],
    telemetry: Parent,
) -> None:
    """Raises InvalidInput (FT807) with every name in `required` that the telemetry does not measure."""
    names: dict[str, list[SeriesKey]] = {node.id: [] for node in model.nodes}
    of: dict[str, str] = {node.id: node.id for node in model.nodes}
    for key, node in model.recorded():
        names.setdefault(node.id, []).append(key)
        of[node.id] = node.id
        if str(key) not in of:
            names[str(key)], of[str(key)] = [key], node.id
    measured = set(series.keys)
    problems = []
    for name in dict.fromkeys(required):
        if name not in of:
            why, hint = f'the model has no node or series "{name}"', did_you_mean(name, of)
        elif of[name] in chosen or measured.intersection(names[name]):
            continue
        elif not names[name]:
            why = f'the model does not record "{name}", so that nothing can take its place'
            hint = "Add it to the model's outputs."
        else:
            why = f'"{name}" is required, and the telemetry has no {" or ".join(map(str, names[name]))}'
            hint = did_you_mean(str(names[name][0]), map(str, series.keys))
        problems.append(Diagnostic("FT807", why, hint=hint))
    if problems:
        raise InvalidInput(
            "FT807",
            f"{telemetry.id} does not have what is required",
            errors=problems,
            hint=f"the telemetry has {_listed(map(str, series.keys))}; {_BIND}",
        )


_BIND = f"{option('bind', 'COMPONENT.MEASURE=NODE')} binds a series of another name"


def _strangers(series: SeriesSet, inputs: Mapping[str, list[SeriesKey]], telemetry: Parent) -> InvalidInput:
    """The error about telemetry of which the model knows nothing."""
    takes = _listed(f"{keys[0]} for {node}" for node, keys in inputs.items()) or "no recorded input"
    return InvalidInput(
        "FT807",
        f"{telemetry.id} has no series that the model takes or computes",
        hint=f"the telemetry has {_listed(map(str, series.keys))}; the model takes {takes}; {_BIND}",
    )


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:_NAMED]) + (f" and {len(every) - _NAMED:,} more" if len(every) > _NAMED else "")


def on_grid(model: Model, grid: Grid) -> Model:
    """The model on the data's grid: itself, or with the data's start where it has none.

    Raises InvalidInput (FT807) where the bins differ, or both have a start and these differ.
    """
    mine = model.grid
    if (mine.bins, mine.step) != (grid.bins, grid.step):
        raise InvalidInput(
            "FT807",
            f"the data has {grid}, the model {mine}",
            hint=f"import the data again with {option('grid')}, or give the model the grid of the data",
        )
    if mine.start is None:
        return replace(model, grid=replace(mine, start=grid.start))
    if grid.start not in {None, mine.start}:
        raise InvalidInput(
            "FT807",
            f"the data starts at {grid.label(0)}, the model at {mine.label(0)}",
            hint="a model without a start takes the data's: leave out `start` in its grid",
        )
    return model


def recorded_inputs(model: Model, bound: Collection[str], series: SeriesSet) -> dict[str, FloatArray]:
    """What an earlier replay bound, out of the series that it recorded: `(bins,)` float64 by node id."""
    rows = dict(zip(series.keys, series.values, strict=True))
    return {node.id: rows[key] for key, node in model.recorded() if node.id in bound}


def bound_nodes(found: JSON) -> tuple[str, ...]:
    """The ids of the nodes that were bound, from a catalog or a file's description.

    Raises InvalidInput (FT806) where it does not say so as flowtime writes it.
    """
    entries = found.get("bound") or []
    try:
        return tuple(str(entry["node"]) for entry in entries)
    except (KeyError, TypeError) as error:
        raise InvalidInput(
            "FT806",
            "the file does not say which nodes were bound",
            hint=f"import it as external data with {option('ignore_metadata', True)}",
        ) from error


def _inputs(model: Model, replaced: Collection[str]) -> dict[str, list[SeriesKey]]:
    """The names of every recorded input, by node id."""
    inputs: dict[str, list[SeriesKey]] = {}
    for key, node in model.recorded():
        if is_source(node) or node.id in replaced:
            inputs.setdefault(node.id, []).append(key)
    return inputs


def _said(model: Model, series: SeriesSet, bindings: Iterable[str]) -> dict[str, SeriesKey]:
    """What the bindings say, by node id."""
    by_name: dict[str, list[SeriesKey]] = {}
    for key in series.keys:
        by_name.setdefault(str(key), []).append(key)
    nodes = {node.id: node for node in model.nodes}
    recorded = {node.id for _, node in model.recorded()}
    said: dict[str, SeriesKey] = {}
    problems: list[Diagnostic] = []
    for text in bindings:
        name, _, node = text.rpartition("=")
        why, hint = _wrong(name, node, by_name, nodes, recorded)
        if why is None and node in said:
            why = f'"{node}" is bound twice'
        if why is None:
            said[node] = by_name[name][0]
        else:
            problems.append(Diagnostic("FT811", f"{option('bind', text)}: {why}", hint=hint))
    if problems:
        raise InvalidInput(
            "FT811",
            f"what was to be bound does not fit; write {option('bind', 'component.measure=node')}",
            errors=problems,
        )
    return said


def _wrong(
    name: str,
    node: str,
    series: Mapping[str, list[SeriesKey]],
    nodes: Mapping[str, Node],
    recorded: Collection[str],
) -> tuple[str | None, str | None]:
    """Why a binding cannot be, and a hint."""
    if name not in series:
        return f'the telemetry has no series "{name}"', did_you_mean(name, series)
    if len(series[name]) > 1:
        return f'"{name}" is the name of {len(series[name])} series', None
    if node not in nodes:
        return f'the model has no node "{node}"', did_you_mean(node, nodes)
    if isinstance(nodes[node], QueueNode):
        return (
            f'"{node}" is a queue, which computes all of its series',
            "Give its arrivals or its capacity a node of their own, and bind the series to that.",
        )
    if node not in recorded:
        return (
            f'the model does not record "{node}", so that nobody could tell later what was bound to it',
            "Add it to the model's outputs.",
        )
    return None, None


def _digest(grid: Grid, key: SeriesKey, values: FloatArray) -> str:
    return digest(SeriesSet(grid, (key,), (None,), values[np.newaxis]))


def _unit_warnings(
    model: Model, series: SeriesSet, pairs: Iterable[tuple[SeriesKey, str]]
) -> Iterable[Diagnostic]:
    """A warning for each pair of a series and a node whose units differ."""
    units = dict(zip(series.keys, series.units, strict=True))
    nodes = {node.id: node for node in (*model.nodes, *model.series())}
    for key, id in dict.fromkeys(pairs):
        theirs, ours = units.get(key), nodes[id].unit
        if theirs is not None and ours is not None and theirs != ours:
            message = f'{key} is in {theirs}, the node "{id}" in {ours}; values are not converted'
            yield Diagnostic("FT851", message, severity="warning", node=id)
