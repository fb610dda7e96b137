"""Two models side by side: what was added, removed and changed, and in what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from flowtime.core.canonical import JSON
from flowtime.model.identity import model_hash
from flowtime.model.spec import ExprNode, Model, Node
from flowtime.model.writer import to_document

_LISTED = 50
"""Lists of more numbers are compared bin by bin and not shown whole."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs: what it is called, and what both sides hold; None where a side has none.

    Of long lists of numbers `differing` says how many differ, and the two values are those at `first`.
    """

    what: str
    baseline: Any
    comparison: Any
    differing: int | None = None
    first: int | None = None

    def to_json(self) -> JSON:
        """The change, with `differing` and `first` only where they say something."""
        places = {} if self.first is None else {"differing": self.differing, "first": self.first}
        return {"what": self.what, "baseline": self.baseline, "comparison": self.comparison, **places}


@dataclass(frozen=True, slots=True)
class ChangedNode:
    """A node that both models have, with what is not the same in it.

    `respelled` tells that its formula alone differs, and only in how it is written.
    """

    id: str
    changes: tuple[Change, ...]
    respelled: bool = False

    def to_json(self) -> JSON:
        """The node as every face shows it."""
        changes = [change.to_json() for change in self.changes]
        return {"id": self.id, "changes": changes, "respelled": self.respelled}


@dataclass(frozen=True, slots=True)
class ModelDifference:
    """What turns one model into the other. Nodes are in the order of their model, added and removed ones as
    canonical documents; components are of the topology; `parameters` those of the template that made both,
    and of the models themselves.

    `equal` tells whether both mean the same: metadata, metrics and what a template was filled with do not
    count.
    """

    equal: bool
    added: tuple[JSON, ...]
    removed: tuple[JSON, ...]
    changed: tuple[ChangedNode, ...]
    settings: tuple[Change, ...]
    components: tuple[Change, ...]
    edges_added: tuple[tuple[str, str], ...]
    edges_removed: tuple[tuple[str, str], ...]
    parameters: tuple[Change, ...]
    metrics: tuple[Change, ...]
    metadata: tuple[Change, ...]

    def to_json(self) -> JSON:
        """The difference as every face shows it."""
        return {
            "equal": self.equal,
            "nodes": {
                "added": list(self.added),
                "removed": list(self.removed),
                "changed": [node.to_json() for node in self.changed],
            },
            "settings": [change.to_json() for change in self.settings],
            "topology": {
                "components": [change.to_json() for change in self.components],
                "edges_added": [{"from": source, "to": target} for source, target in self.edges_added],
                "edges_removed": [{"from": source, "to": target} for source, target in self.edges_removed],
            },
            "parameters": [change.to_json() for change in self.parameters],
            "metrics": [change.to_json() for change in self.metrics],
            "metadata": [change.to_json() for change in self.metadata],
        }


def difference(baseline: Model, comparison: Model) -> ModelDifference:
    """What differs between two models; nodes go together by their ids, bins by their length."""
    if baseline.grid.step == comparison.grid.step:
        # 60 minutes and 1 hour are the same length.
        spelled = baseline.grid
        grid = replace(comparison.grid, bin_size=spelled.bin_size, bin_unit=spelled.bin_unit)
        comparison = replace(comparison, grid=grid)
    a, b = to_document(baseline), to_document(comparison)
    mine, theirs = _by_id(a["nodes"]), _by_id(b["nodes"])
    nodes, others = ({node.id: node for node in model.nodes} for model in (baseline, comparison))
    changed = [
        ChangedNode(id, changes, _respelled(nodes[id], others[id], changes))
        for id in mine
        if id in theirs and (changes := changes_of(mine[id], theirs[id]))
    ]
    drawn, redrawn = a.get("topology", {}), b.get("topology", {})
    edges, other_edges = _edges(drawn), _edges(redrawn)
    return ModelDifference(
        equal=model_hash(baseline) == model_hash(comparison),
        added=tuple(node for id, node in theirs.items() if id not in mine),
        removed=tuple(node for id, node in mine.items() if id not in theirs),
        changed=tuple(changed),
        settings=tuple(
            change for key in ("grid", "outputs", "rng") for change in _nested(key, a.get(key), b.get(key))
        ),
        components=changes_of(_by_id(drawn.get("nodes", [])), _by_id(redrawn.get("nodes", []))),
        edges_added=tuple(edge for edge in other_edges if edge not in edges),
        edges_removed=tuple(edge for edge in edges if edge not in other_edges),
        parameters=_parameters(baseline.provenance, comparison.provenance, _entries("parameters", a, b)),
        metrics=_entries("metrics", a, b),
        metadata=changes_of(a.get("metadata", {}), b.get("metadata", {})),
    )


def changes_of(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    """Every key of two mappings whose values differ, the baseline's keys first."""
    keys = dict.fromkeys((*a, *b))
    return tuple(_change(key, a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key))


def _change(what: str, a: Any, b: Any) -> Change:
    if not (isinstance(a, list) and isinstance(b, list)) or max(len(a), len(b)) <= _LISTED:
        return Change(what, a, b)
    differing = [i for i, (x, y) in enumerate(zip_longest(a, b)) if x != y]
    at = differing[0]
    x, y = (side[at] if at < len(side) else None for side in (a, b))
    return Change(what, x, y, len(differing), at)


def _nested(key: str, a: Any, b: Any) -> tuple[Change, ...]:
    """The changes of a section: entry by entry where both sides have it as a mapping."""
    if isinstance(a, dict) and isinstance(b, dict):
        return tuple(
            Change(f"{key}.{change.what}", change.baseline, change.comparison) for change in changes_of(a, b)
        )
    return () if a == b else (Change(key, a, b),)


def _entries(section: str, a: JSON, b: JSON) -> tuple[Change, ...]:
    """The changes of a section that holds entries by their names, key by key where both models have one."""
    mine, theirs = a.get(section, {}), b.get(section, {})
    return tuple(
        change
        for name in dict.fromkeys((*mine, *theirs))
        for change in _nested(name, mine.get(name), theirs.get(name))
    )


def _by_id(entries: Sequence[JSON]) -> dict[str, JSON]:
    return {entry["id"]: entry for entry in entries}


def _edges(topology: JSON) -> list[tuple[str, str]]:
    return [(edge["from"], edge["to"]) for edge in topology.get("edges", [])]


def _respelled(a: Node, b: Node, changes: Sequence[Change]) -> bool:
    only_formula = [change.what for change in changes] == ["expr"]
    return only_formula and isinstance(a, ExprNode) and isinstance(b, ExprNode) and a.tree == b.tree


def _parameters(a: Mapping[str, Any], b: Mapping[str, Any], own: Sequence[Change]) -> tuple[Change, ...]:
    """The template parameters that differ, where one template made both models, and those of the models'
    `own` changes that do not follow from them.
    """
    values, others = a.get("parameters"), b.get("parameters")
    same = a.get("template") == b.get("template") is not None
    if not same or not isinstance(values, dict) or not isinstance(others, dict):
        return tuple(own)
    filled = changes_of(values, others)
    said = [replace(change, what=f"{change.what}.value") for change in filled]
    return (*filled, *(change for change in own if change not in said))
