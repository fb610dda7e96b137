"""What makes two models the same: hashes of their meaning and of their graph."""

from __future__ import annotations

from flowtime.core import canonical, semantics
from flowtime.core.pmf import Pmf
from flowtime.model.spec import ExprNode, Model, PmfNode
from flowtime.model.writer import to_document, topology_document


def model_hash(model: Model) -> str:
    """`sha256:...` of the canonical model without metadata and provenance.

    Comments, key order, number spelling and defaults left out or written make no difference.
    """
    document = to_document(model)
    document.pop("metadata", None)
    document.pop("provenance", None)
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
    return {
        node.id: semantics.references(node.tree, pmf_of) if isinstance(node, ExprNode) else nothing
        for node in model.nodes
    }
