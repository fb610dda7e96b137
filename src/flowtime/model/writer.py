"""Models to documents: the canonical JSON form, and YAML text for people."""

from __future__ import annotations

import math
from typing import Any

import yaml

from flowtime.core.canonical import JSON, number
from flowtime.core.parameters import Normal, Parameter, Spread, Triangular, Uniform
from flowtime.core.pmf import Pmf
from flowtime.model.source import resolve
from flowtime.model.spec import (
    DEFAULT_MEASURE,
    ConstNode,
    ExprNode,
    Metric,
    Model,
    Node,
    Output,
    PmfNode,
    QueueNode,
    Topology,
)


def to_document(model: Model) -> JSON:
    """The canonical document: self-contained, defaults filled, absent things left out.

    Reading it gives an equal model.
    """
    meta = model.metadata
    document: JSON = {
        "schemaVersion": model.version,
        "metadata": _present(
            id=meta.id,
            title=meta.title,
            description=meta.description,
            version=meta.version,
            tags=list(meta.tags),
        ),
        "grid": model.grid.to_json(),
        "parameters": {id: parameter_document(parameter) for id, parameter in model.parameters.items()},
        "nodes": [_node(node) for node in model.nodes],
        "outputs": [_output(output) for output in model.outputs],
        "topology": topology_document(model.topology),
        "metrics": {metric.name: _metric(metric) for metric in model.metrics},
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
        case QueueNode():
            return _queue(node)
    common = _present(title=node.title, unit=node.unit, tags=list(node.tags))
    names = {"component": node.component or node.id, "measure": node.measure or DEFAULT_MEASURE}
    return {"id": node.id, "kind": kind, **own, **common, **names}


def _queue(queue: QueueNode) -> JSON:
    formulas = {key: formula.text for key, formula in {**queue.formulas, **queue.constants}.items()}
    own = _present(**formulas, overflow=queue.overflow, record=list(queue.record or ()))
    common = _present(title=queue.title, unit=queue.unit, tags=list(queue.tags))
    names = {"waitUnit": queue.wait_unit, "component": queue.component or queue.id}
    return {"id": queue.id, "kind": "queue", **own, **common, **names}


def parameter_document(parameter: Parameter) -> JSON:
    """A parameter as a document has it."""
    low, high = parameter.minimum, parameter.maximum
    return {
        "value": number(parameter.value),
        **({} if low == -math.inf else {"min": number(low)}),
        **({} if high == math.inf else {"max": number(high)}),
        **({"integer": True} if parameter.integer else {}),
        **_present(unit=parameter.unit, title=parameter.title, description=parameter.description),
        **({} if parameter.spread is None else {"spread": _spread(parameter.spread)}),
    }


def _spread(spread: Spread) -> JSON:
    match spread:
        case Uniform(low, high):
            return {"uniform": _numbers((low, high))}
        case Triangular(low, mode, high):
            return {"triangular": _numbers((low, mode, high))}
        case Normal(mean, deviation):
            return {"normal": _numbers((mean, deviation))}
        case Pmf(values, probabilities):
            return {"pmf": {"values": _numbers(values), "probabilities": _numbers(probabilities)}}


def _metric(metric: Metric) -> JSON:
    goal = None if metric.goal is None else str(metric.goal)
    return {
        "formula": metric.formula.text,
        **_present(unit=metric.unit, goal=goal, title=metric.title, description=metric.description),
    }


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
