"""A model as values: what a checked document means. Nothing here reads text or computes series."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flowtime.core.expression import Expression
from flowtime.core.grid import Grid
from flowtime.core.parameters import Parameter
from flowtime.core.pmf import Pmf
from flowtime.core.series import SeriesKey
from flowtime.errors import Diagnostic

SCHEMA_VERSIONS = (1, 2)
DEFAULT_MEASURE = "value"
MAX_SEED = 2**63 - 1

ProfileName = Literal["weekday-office", "three-shift", "rush-hour"]
WaitUnit = Literal["seconds", "minutes", "hours", "days", "bins"]

FLOWS = ("arrivals", "served", "lost", "abandoned", "depth", "capacity", "utilization")
"""The measures of a queue that are known in the bin itself, so that feedback may read them."""
WAITS = ("wait_mean", "wait_p50", "wait_p95", "wait_p99", "within_slo", "wait_joining")
"""Those that are known after the run only, because they ask what happens later or earlier in between."""
CHANCES = ("wait_random", "latency")
"""Those that a queue with `workers` has besides."""
MEASURES = (*FLOWS, *WAITS, *CHANCES)


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
class Formula:
    """A formula where a document takes one: its text as written, which decides equality, and its tree."""

    text: str
    tree: Expression = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueNode(Node):
    """Those who arrive wait until capacity serves them, first in, first out.

    Of `arrivals`, `capacity` (or `workers` and `service_seconds`) and `abandon` there is a value in each bin;
    `initial`, `limit`, `patience`, `slo` and `variability` are constant formulas. `record` names the measures
    that leave the engine, `overflow` the queue that takes what does not fit.
    """

    arrivals: Formula
    capacity: Formula | None = None
    workers: Formula | None = None
    service_seconds: Formula | None = None
    initial: Formula | None = None
    limit: Formula | None = None
    patience: Formula | None = None
    abandon: Formula | None = None
    slo: Formula | None = None
    variability: Formula | None = None
    wait_unit: WaitUnit = "minutes"
    overflow: str | None = None
    record: tuple[str, ...] | None = None

    @property
    def formulas(self) -> dict[str, Formula]:
        """Its formulas with a value in each bin, by key of the document."""
        found = {
            "arrivals": self.arrivals,
            "capacity": self.capacity,
            "workers": self.workers,
            "serviceSeconds": self.service_seconds,
            "abandon": self.abandon,
        }
        return {key: formula for key, formula in found.items() if formula is not None}

    @property
    def constants(self) -> dict[str, Formula]:
        """Its constant formulas, by key of the document."""
        found = {
            "initial": self.initial,
            "limit": self.limit,
            "patience": self.patience,
            "slo": self.slo,
            "variability": self.variability,
        }
        return {key: formula for key, formula in found.items() if formula is not None}

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that it has."""
        absent = set()
        if self.slo is None:
            absent.add("within_slo")
        if self.patience is not None or self.abandon is not None:
            absent.add("wait_joining")
        if self.workers is None:
            absent.update(CHANCES)
        return tuple(measure for measure in MEASURES if measure not in absent)

    @property
    def recorded(self) -> tuple[str, ...]:
        """The measures that leave the engine: those of `record`, or the usual ones."""
        if self.record is not None:
            return tuple(measure for measure in MEASURES if measure in self.record)
        usual = {
            "arrivals",
            "served",
            "depth",
            "utilization",
            "wait_mean",
            "wait_p95",
            "within_slo",
            "latency",
        }
        if self.limit is not None:
            usual.add("lost")
        if self.patience is not None or self.abandon is not None:
            usual.add("abandoned")
        return tuple(measure for measure in self.measures if measure in usual)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Node):
    """One measure of a node that has several; its id is `node.measure`."""

    of: str


@dataclass(frozen=True, slots=True)
class Goal:
    """What a metric is held to: an operator, and a constant formula on its right."""

    operator: Literal["<", "<=", ">", ">=", "==", "!="]
    bound: Formula

    def __str__(self) -> str:
        return f"{self.operator} {self.bound.text}"


@dataclass(frozen=True, slots=True)
class Metric:
    """What a run says in one number: reducers of series formulas, and constant formulas around them.

    `title` and `description` do not change its meaning, and metrics do not change what a model computes.
    """

    name: str
    formula: Formula
    unit: str | None = None
    goal: Goal | None = None
    title: str | None = None
    description: str | None = None


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
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    version: int = 1
    provenance: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = field(default=(), compare=False)

    def spread(self, given: Collection[str] = ()) -> tuple[str, ...]:
        """The parameters that samples draw: those that have a spread and are not `given`."""
        return tuple(
            id for id, each in self.parameters.items() if each.spread is not None and id not in given
        )

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
        for node in self.series():
            if node.id in chosen:
                own = [SeriesKey(node.component or node.id, node.measure or DEFAULT_MEASURE)]
                rows += [(key, node) for key in claims.get(node.id, own)]
        return tuple(rows)

    def series(self) -> tuple[Node, ...]:
        """All that may be recorded, in order: nodes, and in the place of a queue those of its measures."""
        return tuple(series for node in self.nodes for series in measured(node))

    def _chosen(self) -> set[str]:
        every = {series.id: owner(series) for series in self.series()}
        if not self.outputs:
            return set(every)

        def named(ids: Iterable[str]) -> set[str]:
            """The series with these ids, and those of queues with these ids."""
            wanted = set(ids)
            return {id for id, of in every.items() if id in wanted or of in wanted}

        chosen: set[str] = set()
        for output in self.outputs:
            chosen |= (set(every) if output.series == "*" else named([output.series])) - named(output.exclude)
        return chosen


def owner(series: Node) -> str:
    """The id of the document's node that a series is of."""
    return series.of if isinstance(series, Measured) else series.id


def is_source(node: Node) -> bool:
    """Whether a document gives the values of a node, so that telemetry can take their place."""
    return isinstance(node, ConstNode | PmfNode)


def measured(node: Node) -> tuple[Node, ...]:
    """The node itself, or in the place of a queue those of its measures that leave the engine."""
    if not isinstance(node, QueueNode):
        return (node,)
    return tuple(
        Measured(id=f"{node.id}.{measure}", component=node.component or node.id, measure=measure, of=node.id)
        for measure in node.recorded
    )
