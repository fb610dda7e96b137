"""Catalogs that other hands wrote, with the keys of the first requirements alone: what they lack is added."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowtime.registry.document import CATALOG, JSON, version_of
from flowtime.storage import Store

Describe = Callable[[Path], JSON]
"""What a table says of itself: `grid`, `data` and `measures`, or `warnings` of why it cannot be read."""

TABLE = "binned_v0.csv"
_DEFAULTS: JSON = {
    "description": "", "tags": [], "owner": "", "team": None, "visibility": "private", "star": False,
    "source": "import", "engine_version": "", "model_id": None, "model_version": None, "model_hash": None,
    "graph_hash": None, "inputs_hash": None, "seed": None, "samples": None, "grid": None, "capabilities": [],
    "parents": [], "bound": [], "unbound": [], "data": None, "topology": {}, "nodes": [], "measures": [],
    "warnings": [], "stats": {}, "provenance": {}, "loop": {}, "contents": [],
}  # fmt: skip


def completed(store: Store, prefix: str, catalog: JSON, describe: Describe | None) -> JSON:
    """The catalog with every field that readers take for granted; one of flowtime's own is left as it is.

    The files are those that lie beside it, and of a run or telemetry the table itself says what it holds.
    """
    if all(field in catalog for field in _DEFAULTS):
        return catalog
    whole = {**_DEFAULTS, **catalog}
    if whole["kind"] == "model":
        whole["model_id"] = whole["model_id"] or whole.get("id")
        whole["model_version"] = whole["model_version"] or version_of(prefix.rpartition("/")[2])
    whole["topology"] = _graph(whole["topology"])
    if "contents" not in catalog:
        whole["contents"] = [
            _content(store, prefix, name) for name in store.list(prefix).files if name != CATALOG
        ]
    holds = any(isinstance(each, dict) and each.get("name") == TABLE for each in whole["contents"])
    if describe is not None and holds and not (whole["grid"] and whole["data"]):
        with store.file(f"{prefix}/{TABLE}") as table:
            whole |= describe(table)
    return whole


def _content(store: Store, prefix: str, name: str) -> JSON:
    data = store.get(f"{prefix}/{name}")
    return {"name": name, "bytes": len(data), "sha256": f"sha256:{hashlib.sha256(data).hexdigest()}"}


def _graph(topology: Any) -> Any:
    """Nodes as objects with an id and edges as objects with both ends, where they are names and pairs."""
    if not isinstance(topology, dict):
        return topology
    graph = {"nodes": [], "edges": [], **topology}
    if isinstance(graph["nodes"], list):
        graph["nodes"] = [{"id": each} if isinstance(each, str) else each for each in graph["nodes"]]
    if isinstance(graph["edges"], list):
        graph["edges"] = [
            {"from": each[0], "to": each[1]} if isinstance(each, list) and len(each) == 2 else each
            for each in graph["edges"]
        ]
    return graph
