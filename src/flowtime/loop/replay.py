"""Replay: telemetry's series in the place of a model's inputs.

Inputs are what a model does not compute: const and pmf nodes. They are found by the component and measure
under which the model records them. Other names, and formulas that measured series are to replace, have to
be bound one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from flowtime.core.canonical import JSON
from flowtime.core.grid import Grid
from flowtime.core.series import FloatArray, SeriesKey, SeriesSet, same_bits
from flowtime.errors import Diagnostic, InvalidInput, did_you_mean
from flowtime.formats.digest import digest
from flowtime.loop.models import StoredModel, read_from
from flowtime.loop.series import read_series
from flowtime.model.spec import ExprNode, Model, Node
from flowtime.registry import Registry
from flowtime.registry.catalog import Parent


@dataclass(frozen=True, slots=True)
class Bound:
    """One binding: the telemetry's series that a node takes, and in how many bins that has no value."""

    component: str
    measure: str
    node: str
    missing: int


@dataclass(frozen=True, slots=True)
class Unbound:
    """A series of the telemetry that no node takes; `derived` where the model computes it itself."""

    component: str
    measure: str
    derived: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """A model with telemetry bound to its inputs.

    `model` stands on the telemetry's start where it has none of its own. `inputs` are `(bins,)` float64
    by node id, NaN where missing; `digests` are those of the bound series.
    """

    telemetry: Parent
    model: Model = field(repr=False)
    bound: tuple[Bound, ...]
    unbound: tuple[Unbound, ...]
    inputs: Mapping[str, FloatArray] = field(repr=False)
    digests: Mapping[str, str]
    warnings: tuple[Diagnostic, ...]


def replay(
    registry: Registry, id: str, model: StoredModel | None, bindings: Iterable[str]
) -> tuple[StoredModel, Replay]:
    """The telemetry `id` bound to a model, by default to the one that came back with it.

    Raises InvalidInput: FT807 and FT811 as `bind` does, FT812 where there is no model.
    """
    catalog = registry.catalog(id)
    telemetry = Parent(id=id, digest=catalog["data"]["digest"])
    replaced = bound_nodes(catalog) if model is None else ()
    stored = read_from(registry, id) if model is None else model
    return stored, bind(stored.model, read_series(registry, id), telemetry, bindings, replaced)


def bind(
    model: Model,
    series: SeriesSet,
    telemetry: Parent,
    bindings: Iterable[str] = (),
    replaced: Collection[str] = (),
) -> Replay:
    """The model with the telemetry's `series` bound to its inputs.

    `bindings` are `component.measure=node` and come before names; `replaced` are ids of nodes that count
    as inputs whatever they are. Raises InvalidInput: FT811 for bindings that fit nothing, FT807 with every
    input that has no series, or where the grids differ.
    """
    on = on_grid(model, series.grid)
    chosen = _said(model, series, bindings)
    rows = dict(zip(series.keys, series.values, strict=True))
    problems = []
    for node, keys in _inputs(model, replaced).items():
        if node in chosen:
            continue
        there = [key for key in keys if key in rows]
        if not there:
            named = " or ".join(map(str, keys))
            problems.append(Diagnostic("FT807", f'missing: {named}, for the input "{node}"', node=node))
        elif not all(same_bits(rows[there[0]], rows[key]) for key in there[1:]):
            named = " and ".join(map(str, there))
            problems.append(Diagnostic("FT807", f'"{node}" is one input, but {named} differ', node=node))
        else:
            chosen[node] = there[0]
    if problems:
        free = [str(key) for key in series.keys if key not in chosen.values()]
        raise InvalidInput(
            "FT807",
            f"{telemetry.id} does not have what the model's inputs need",
            errors=problems,
            hint=f"--bind {free[0]}={problems[0].node} binds a series of another name" if free else None,
        )
    order = [node.id for node in model.nodes if node.id in chosen]
    taken = set(chosen.values())
    derived = {key for key, node in model.recorded() if node.id not in chosen}
    return Replay(
        telemetry,
        on,
        tuple(
            Bound(key.component, key.measure, node, int(np.isnan(rows[key]).sum()))
            for node, key in ((node, chosen[node]) for node in order)
        ),
        tuple(
            Unbound(key.component, key.measure, derived=key in derived)
            for key in series.keys
            if key not in taken
        ),
        {node: rows[chosen[node]] for node in order},
        {node: _digest(series.grid, chosen[node], rows[chosen[node]]) for node in order},
        tuple(_unit_warnings(model, series, chosen)),
    )


def on_grid(model: Model, grid: Grid) -> Model:
    """The model on the data's grid: itself, or with the data's start where it has none.

    Raises InvalidInput (FT807) where the bins differ, or both have a start and these differ.
    """
    mine = model.grid
    if (mine.bins, mine.step) != (grid.bins, grid.step):
        raise InvalidInput(
            "FT807",
            f"the data has {grid}, the model {mine}",
            hint="import the data again with --grid, or give the model the grid of the data",
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
            hint="import it as external data with --ignore-metadata",
        ) from error


def _inputs(model: Model, replaced: Collection[str]) -> dict[str, list[SeriesKey]]:
    """The names of every recorded input, by node id."""
    inputs: dict[str, list[SeriesKey]] = {}
    for key, node in model.recorded():
        if not isinstance(node, ExprNode) or node.id in replaced:
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
            problems.append(Diagnostic("FT811", f"--bind {text}: {why}", hint=hint))
    if problems:
        raise InvalidInput(
            "FT811", "what was to be bound does not fit; write --bind component.measure=node", errors=problems
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
    if node not in recorded:
        return (
            f'the model does not record "{node}", so that nobody could tell later what was bound to it',
            "Add it to the model's outputs.",
        )
    return None, None


def _digest(grid: Grid, key: SeriesKey, values: FloatArray) -> str:
    return digest(SeriesSet(grid, (key,), (None,), values[np.newaxis]))


def _unit_warnings(model: Model, series: SeriesSet, chosen: Mapping[str, SeriesKey]) -> Iterable[Diagnostic]:
    units = dict(zip(series.keys, series.units, strict=True))
    for node in model.nodes:
        key = chosen.get(node.id)
        theirs = None if key is None else units[key]
        if theirs is not None and node.unit is not None and theirs != node.unit:
            message = f'{key} is in {theirs}, the node "{node.id}" in {node.unit}; values are not converted'
            yield Diagnostic("FT851", message, severity="warning", node=node.id)
