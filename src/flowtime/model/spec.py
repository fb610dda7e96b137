"""A model as values: what a checked document means. Nothing here reads text or computes series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flowtime.core.expression import Expression
from flowtime.core.grid import Grid
from flowtime.core.pmf import Pmf
from flowtime.core.series import SeriesKey
from flowtime.errors import Diagnostic

SCHEMA_VERSION = 1
DEFAULT_MEASURE = "value"
MAX_SEED = 2**63 - 1

ProfileName = Literal["weekday-office", "three-shift", "rush-hour"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What all kinds of nodes have. `component` None means: the node's id."""

    id: str
    title: str | None = None
    unit: str | None = None
    component: str | None = None
    measure: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstNode(Node):
    """Given numbers: one per bin, or a single one that holds for every bin."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExprNode(Node):
    """A formula over other nodes: its text as written, which decides equality, and its tree."""

    expr: str
    tree: Expression = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PmfNode(Node):
    """A distribution: its expectation in every bin, or one draw per bin where `sampled`.

    `profile` multiplies the series: one weight per bin, or the name of a built-in daily profile.
    """

    pmf: Pmf
    sampled: bool = False
    profile: tuple[float, ...] | ProfileName | None = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a model says of itself; no part of its meaning."""

    id: str | None = None
    title: str | None = None
    description: str | None = None
    version: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """One rule of which series are recorded: an id or `*`, without those in `exclude`."""

    series: str
    exclude: tuple[str, ...] = ()
    file: str | None = None


@dataclass(frozen=True, slots=True)
class TopologyNode:
    """A component of the drawn system; `semantics` maps its measures to node ids."""

    id: str
    kind: str | None = None
    title: str | None = None
    semantics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edge:
    """A flow from one component to another."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Topology:
    """The system as a person draws it."""

    nodes: tuple[TopologyNode, ...] = ()
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A checked model: every id resolves, every length fits, every cycle has a delay.

    `warnings` are what reading the document had to say; they take no part in equality.
    """

    nodes: tuple[Node, ...]
    grid: Grid = Grid()
    metadata: Metadata = Metadata()
    outputs: tuple[Output, ...] = ()
    topology: Topology | None = None
    seed: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = field(default=(), compare=False)

    def node(self, id: str) -> Node:
        """The node with this id; raises KeyError."""
        for node in self.nodes:
            if node.id == id:
                return node
        raise KeyError(id)

    def recorded(self) -> tuple[tuple[SeriesKey, Node], ...]:
        """The series that leave the engine, in order: nodes in document order, claims by topology
        entries replacing a node's own component and measure. A node claimed by several entries is
        recorded once for each.
        """
        claims: dict[str, list[SeriesKey]] = {}
        for entry in self.topology.nodes if self.topology else ():
            for measure, node_id in entry.semantics.items():
                claims.setdefault(node_id, []).append(SeriesKey(entry.id, measure))
        chosen = self._chosen()
        rows: list[tuple[SeriesKey, Node]] = []
        for node in self.nodes:
            if node.id in chosen:
                own = [SeriesKey(node.component or node.id, node.measure or DEFAULT_MEASURE)]
                rows += [(key, node) for key in claims.get(node.id, own)]
        return tuple(rows)

    def _chosen(self) -> set[str]:
        if not self.outputs:
            return {node.id for node in self.nodes}
        chosen: set[str] = set()
        for output in self.outputs:
            ids = {node.id for node in self.nodes} if output.series == "*" else {output.series}
            chosen |= ids - set(output.exclude)
        return chosen
