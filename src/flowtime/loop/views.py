"""Artifacts as pages show them: charts of their series, the graph of their model with positions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from flowtime.analysis.chart import Chart, chart
from flowtime.analysis.compare import align
from flowtime.core import canonical
from flowtime.core.canonical import JSON
from flowtime.core.expression import names
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.core.statistics import keys
from flowtime.errors import InvalidInput
from flowtime.loop.models import KINDS, MODEL_FILE, PREVIEW_FILE, model_text
from flowtime.loop.series import read_series, table_of
from flowtime.model import load
from flowtime.model.drawing import picture, preview
from flowtime.model.identity import dependencies
from flowtime.model.spec import ExprNode, Model, Node, PmfNode, QueueNode, owner
from flowtime.registry import Registry
from flowtime.wanted import still_wanted

_RECENT_BYTES = 256 << 20
"""What the values of the series in memory may weigh; the one asked for last is kept whatever it weighs."""
_PICTURE_BYTES = 1 << 20
_PATIENCE = 0.25
"""Seconds after which who waits for another's work asks whether it is still wanted."""
_MODEL_WEIGHT = 25
"""Bytes that a model takes in memory for each byte of its text, about."""


@dataclass(slots=True)
class Recent:
    """What was looked at lately and cannot change, up to a weight in bytes. Threads may share it: of many who
    ask for the same at once one makes it, and the others wait.
    """

    limit: int = _RECENT_BYTES
    _held: OrderedDict[Hashable, tuple[Any, int]] = field(default_factory=OrderedDict)
    _making: dict[Hashable, threading.Event] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Hashable, make: Callable[[], Any], weigh: Callable[[Any], int]) -> Any:
        """What is held under the key, made where it is not.

        Where the one who makes it fails, or is no longer wanted, the next of those who wait makes it.
        """
        while True:
            with self._lock:
                if key in self._held:
                    self._held.move_to_end(key)
                    return self._held[key][0]
                under_way = self._making.get(key)
                if under_way is None:
                    made = self._making[key] = threading.Event()
                    break
            while not under_way.wait(_PATIENCE):
                still_wanted()
        try:
            value = make()
            with self._lock:
                self._held[key] = (value, weigh(value))
                while len(self._held) > 1 and sum(weight for _, weight in self._held.values()) > self.limit:
                    self._held.popitem(last=False)
        finally:
            with self._lock:
                del self._making[key]
            made.set()
        return value


def chart_of(
    registry: Registry,
    id: str,
    recent: Recent,
    *,
    components: Collection[str] = (),
    measures: Collection[str] = (),
    picked: Collection[int] = (),
    start: int = 0,
    stop: int | None = None,
    points: int | None = None,
) -> Chart:
    """Series of a run or telemetry: those of all `components` and `measures` named, or the `picked` ones by
    their place in the catalog.

    Raises NotFound (FT501), InvalidInput (FT813) where nothing fits, as `read_series` and `chart` do.
    """
    series = _series(registry, id, recent)
    rows = [
        row
        for row, key in enumerate(series.keys)
        if (not components or key.component in components)
        and (not measures or key.measure in measures)
        and (not picked or row in picked)
    ]
    if not rows:
        raise InvalidInput("FT813", f"{id} has no such series", hint="its catalog lists them under measures")
    return replace(chart(series, rows, start, stop, points), ids=(id,))


def overlay_of(
    registry: Registry,
    baseline: str,
    comparison: str,
    recent: Recent,
    *,
    component: str,
    measure: str,
    start: int = 0,
    stop: int | None = None,
    points: int | None = None,
) -> Chart:
    """One series of two artifacts over the bins that both have, with the measures `baseline`, `comparison`
    and `difference`, which is comparison minus baseline and missing where one of them is.

    Raises NotFound (FT501), InvalidInput FT801 where the grids cannot be aligned, FT813 where one of them
    has no such series, as `chart` does.
    """
    key = SeriesKey(component, measure)
    sides = [_series(registry, id, recent) for id in (baseline, comparison)]
    for id, side in zip((baseline, comparison), sides, strict=True):
        if key not in side.keys:
            raise InvalidInput("FT813", f"{id} has no series {key}", hint="a comparison lists what both have")
    aligned = align(sides[0].grid, sides[1].grid)
    grid = sides[0].grid
    if grid.start is not None:
        grid = replace(grid, start=grid.time_bin(aligned.baseline_first))
    firsts = (aligned.baseline_first, aligned.comparison_first)
    a, b = (side[key][first : first + aligned.bins] for side, first in zip(sides, firsts, strict=True))
    with np.errstate(over="ignore"):
        gap = b - a
    gap[np.isinf(gap)] = np.nan
    unit = sides[0].units[sides[0].keys.index(key)]
    both = SeriesSet(
        replace(grid, bins=aligned.bins),
        tuple(SeriesKey(component, name) for name in ("baseline", "comparison", "difference")),
        (unit, unit, unit),
        np.stack((a, b, gap)),
    )
    return replace(chart(both, range(3), start, stop, points), ids=(baseline, comparison))


def _series(registry: Registry, id: str, recent: Recent) -> SeriesSet:
    """The series of an artifact, kept for the next look."""
    digest = table_of(registry, id)["data"]["digest"]  # also the check that the reader may read it
    series: SeriesSet = recent.get(
        ("series", id, digest), lambda: read_series(registry, id), lambda held: int(held.values.nbytes)
    )
    return series


def graph_of(
    registry: Registry, id: str, recent: Recent, *, nodes: bool, around: str | None = None, depth: int = 1
) -> JSON:
    """The graph of an artifact's model with positions, and with what each box means.

    It is `flowtime.model.drawing.picture` with, for each component or node, `series`: the places in the
    catalog of the series that it has, by measure; nodes also have their `formula` (with the `references` in
    it as `[begin, end]`), `pmf` or `values`, their `unit` and what they `read`. Raises NotFound (FT501, and
    FT509 where no model is known), InvalidInput FT813 where `around` is not in it.
    """
    catalog = registry.catalog(id)
    with registry.stream(id, MODEL_FILE) as file:
        text = file.read()
    hash = canonical.sha256(text)
    model: Model = recent.get(
        ("model", hash), lambda: load(text, MODEL_FILE), lambda _: _MODEL_WEIGHT * len(text)
    )
    try:
        drawn: JSON = recent.get(
            ("graph", hash, nodes, around, depth if around else 0),
            lambda: picture(model, nodes=nodes, around=around, depth=depth),
            lambda held: _PICTURE_BYTES,
        )
    except KeyError:
        raise InvalidInput(
            "FT813", f'the graph of {id} has no "{around}"', hint="leave out around to see them all"
        ) from None
    places = {(m["component"], m["measure"]): place for place, m in enumerate(catalog.get("measures") or [])}
    told = _nodes(model, places) if drawn["noun"] == "node" else _components(model, places)
    entries = [{**entry, **told[entry["id"]]} for entry in drawn["nodes"]]
    return {"id": catalog["id"], "model_hash": catalog["model_hash"], **drawn, "nodes": entries}


def _components(model: Model, places: dict[tuple[str, str], int]) -> dict[str, JSON]:
    components: dict[str, JSON] = {}
    for entry in model.topology.nodes if model.topology else ():
        series = [_recorded(SeriesKey(entry.id, measure), places) for measure in entry.semantics]
        components[entry.id] = {
            "series": {name: place for found in series for name, place in found.items()},
            "semantics": dict(entry.semantics),
        }
    return components


def _recorded(key: SeriesKey, places: dict[tuple[str, str], int]) -> dict[str, int]:
    """The measures under which a series was recorded: its own, or its statistics over samples."""
    found = (key, *keys(key))
    return {
        one.measure: places[one.component, one.measure]
        for one in found
        if (one.component, one.measure) in places
    }


def _nodes(model: Model, places: dict[tuple[str, str], int]) -> dict[str, JSON]:
    nodes: dict[str, JSON] = {node.id: {"series": {}, **_content(node)} for node in model.nodes}
    for key, node in model.recorded():
        nodes[owner(node)]["series"] |= _recorded(key, places)
    for id, needed in dependencies(model).items():
        nodes[id]["reads"] = sorted(needed.now | needed.delayed | needed.kernels)
    return nodes


def _content(node: Node) -> JSON:
    """What a node is: its formula, its distribution, or its numbers (the first hundred)."""
    said: JSON = {"unit": node.unit, "title_text": node.title, "kind": KINDS[type(node)]}
    if isinstance(node, ExprNode):
        references = [list(name.span) for name in names(node.tree)]
        return {**said, "formula": node.expr, "references": references}
    if isinstance(node, PmfNode):
        pairs = [[value, weight] for value, weight in zip(node.pmf.values, node.pmf.weights, strict=True)]
        return {**said, "pmf": pairs, "mean": node.pmf.expectation, "sampled": node.sampled}
    if isinstance(node, QueueNode):
        given = {**node.formulas, **node.constants}
        return {**said, "formulas": {key: formula.text for key, formula in given.items()}}
    values = list(getattr(node, "values", ()))
    return {**said, "values": values[:100], "count": len(values)}


def preview_of(registry: Registry, id: str, recent: Recent) -> str:
    """The picture of an artifact's model as an SVG document; raises NotFound (FT501, and FT509 where no model
    is known).
    """
    if registry.catalog(id)["kind"] == "model":
        with registry.stream(id, PREVIEW_FILE) as file:
            return file.read().decode("utf-8")
    text = model_text(registry, id)
    picture: str = recent.get(
        ("preview", canonical.sha256(text.encode())), lambda: preview(load(text, MODEL_FILE)), len
    )
    return picture
