"""What makes two models the same: hashes of their meaning and of their graph."""

from __future__ import annotations

from flowtime.core import canonical, semantics
from flowtime.core.pmf import Pmf
from flowtime.model.spec import ExprNode, Model, Node, PmfNode, QueueNode
from flowtime.model.writer import to_document, topology_document


def model_hash(model: Model) -> str:
    """`sha256:...` of the canonical model without metadata, metrics and provenance.

    Comments, key order, number spelling and defaults left out or written make no difference, and of
    parameters neither do titles and descriptions.
    """
    document = to_document(model)
    for key in ("metadata", "metrics", "provenance"):
        document.pop(key, None)
    for parameter in document.get("parameters", {}).values():
        parameter.pop("title", None)
        parameter.pop("description", None)
    return canonical.hash_of(document)


def graph_hash(model: Model) -> str:
    """`sha256:...` of the graph alone: nodes with their kinds and dependencies, recorded names, topology."""
    references = dependencies(model)
    nodes = {}
    for node in model.nodes:
        refs = references[node.id]
        nodes[node.id] = [type(node).__name__, *map(sorted, (refs.now, refs.delayed, refs.kernels))]
    recorded = sorted([key.component, key.measure, node.id] for key, node in model.recorded())
    topology = topology_document(model.topology)
    return canonical.hash_of({"nodes": nodes, "recorded": recorded, "topology": topology or None})


def dependencies(model: Model) -> dict[str, semantics.References]:
    """What each node refers to, in document order."""
    pmfs = {node.id: node.pmf for node in model.nodes if isinstance(node, PmfNode)}

    def pmf_of(id: str) -> Pmf | None:
        return pmfs.get(id)

    nothing = semantics.References(frozenset(), frozenset(), frozenset())

    def read(node: Node) -> semantics.References:
        if isinstance(node, ExprNode):
            return semantics.references(node.tree, pmf_of, model.parameters)
        if not isinstance(node, QueueNode):
            return nothing
        parts = [
            semantics.references(formula.tree, pmf_of, model.parameters) for formula in node.formulas.values()
        ]
        fed = [
            other.id for other in model.nodes if isinstance(other, QueueNode) and other.overflow == node.id
        ]
        return semantics.References(
            frozenset(id for part in parts for id in part.now) | frozenset(fed),
            frozenset(id for part in parts for id in part.delayed),
            frozenset(id for part in parts for id in part.kernels),
        )

    def of_nodes(names: frozenset[str]) -> frozenset[str]:
        return frozenset(name.partition(".")[0] for name in names)

    found = {}
    for node in model.nodes:
        refs = read(node)
        now = of_nodes(refs.now)
        found[node.id] = semantics.References(now, of_nodes(refs.delayed) - now, refs.kernels)
    return found
