"""Models to documents: the canonical JSON form, and YAML text for people."""

from __future__ import annotations

from typing import Any

import yaml

from flowtime.core.canonical import JSON, number
from flowtime.model.source import resolve
from flowtime.model.spec import (
    DEFAULT_MEASURE,
    SCHEMA_VERSION,
    ConstNode,
    ExprNode,
    Model,
    Node,
    Output,
    PmfNode,
    Topology,
)


def to_document(model: Model) -> JSON:
    """The canonical document: self-contained, defaults filled, absent things left out.

    Reading it gives an equal model.
    """
    meta = model.metadata
    document: JSON = {
        "schemaVersion": SCHEMA_VERSION,
        "metadata": _present(
            id=meta.id,
            title=meta.title,
            description=meta.description,
            version=meta.version,
            tags=list(meta.tags),
        ),
        "grid": model.grid.to_json(),
        "nodes": [_node(node) for node in model.nodes],
        "outputs": [_output(output) for output in model.outputs],
        "topology": topology_document(model.topology),
        "rng": None if model.seed is None else {"kind": "pcg64", "seed": model.seed},
        "provenance": dict(model.provenance),
    }
    return {key: value for key, value in document.items() if value not in (None, {}, [])}


def _present(**fields: Any) -> JSON:
    return {key: value for key, value in fields.items() if value not in (None, [], {})}


def _numbers(values: tuple[float, ...]) -> list[int | float]:
    return [number(value) for value in values]


def _node(node: Node) -> JSON:
    kind = ""
    own: JSON = {}
    match node:
        case ConstNode(values=values):
            kind, own = "const", {"values": _numbers(values) if len(values) > 1 else number(values[0])}
        case ExprNode(expr=expr):
            kind, own = "expr", {"expr": expr}
        case PmfNode(pmf=pmf, sampled=sampled, profile=profile):
            own = {"pmf": {"values": _numbers(pmf.values), "probabilities": _numbers(pmf.probabilities)}}
            own["mode"] = "sample" if sampled else "expected"
            if profile is not None:
                own["profile"] = profile if isinstance(profile, str) else _numbers(profile)
            kind = "pmf"
    common = _present(title=node.title, unit=node.unit, tags=list(node.tags))
    names = {"component": node.component or node.id, "measure": node.measure or DEFAULT_MEASURE}
    return {"id": node.id, "kind": kind, **own, **common, **names}


def _output(output: Output) -> JSON:
    return {
        "series": output.series,
        **_present(exclude=list(output.exclude)),
        **_present(**{"as": output.file}),
    }


def topology_document(topology: Topology | None) -> JSON:
    """The topology as the canonical document has it; empty where there is none."""
    if topology is None:
        return {}
    nodes = [
        {"id": entry.id, **_present(kind=entry.kind, title=entry.title, semantics=dict(entry.semantics))}
        for entry in topology.nodes
    ]
    return _present(nodes=nodes, edges=[{"from": edge.source, "to": edge.target} for edge in topology.edges])


class _Dumper(yaml.CSafeDumper):
    """PyYAML's emitter, quoting what YAML 1.2 would not read as text, short lists on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> yaml.Node:
    quoted = not isinstance(resolve(value), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if quoted else None)


def _list(dumper: _Dumper, value: list[Any]) -> yaml.Node:
    flat = not any(isinstance(item, (list, dict)) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


def _mapping(dumper: _Dumper, value: JSON) -> yaml.Node:
    flat = len(value) == 2 and value.keys() == {"from", "to"}
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=flat)


def _float(dumper: _Dumper, value: float) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:float", repr(value))


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(float, _float)


def dump(document: JSON) -> str:
    """A plain document as YAML 1.2 text for people, keys in the order given."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text
