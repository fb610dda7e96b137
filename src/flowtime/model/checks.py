"""Plain values to a checked Model: every problem is found, with its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from flowtime.core.grid import (
    BIN_UNITS,
    LONGEST,
    MAX_BINS,
    MAX_INSTANT,
    MICROSECONDS,
    BinUnit,
    Grid,
    parse_instant,
)
from flowtime.core.labels import MAX_TAGS, description_rule, name_rule, tag_rule
from flowtime.errors import did_you_mean
from flowtime.model.metrics import read_metrics
from flowtime.model.nodes import NodeChecks
from flowtime.model.parameters import read_parameters
from flowtime.model.reading import Reader, TooManyProblems, shown
from flowtime.model.references import FormulaChecks
from flowtime.model.source import Path
from flowtime.model.spec import (
    MAX_SEED,
    SCHEMA_VERSIONS,
    Edge,
    Metadata,
    Metric,
    Model,
    Node,
    Output,
    QueueNode,
    Topology,
    TopologyNode,
)

_KEYS = (
    *("schemaVersion", "metadata", "grid", "parameters", "nodes", "outputs", "topology", "metrics", "rng"),
    "provenance",
)


@dataclass(frozen=True, slots=True)
class Checker:
    """Reads a whole document through a Reader; `folder` is where csv sources are read from."""

    read: Reader
    folder: FilePath | None = None

    def model(self, value: Any) -> Model | None:
        """The model, or None when there are errors among `problems`."""
        model = None
        with suppress(TooManyProblems):
            model = self.whole(value)
        self.read.problems.sort(key=lambda p: (p.line or 0, p.column or 0, p.position or 0))
        if any(problem.severity == "error" for problem in self.read.problems):
            return None
        return model

    def whole(self, value: Any) -> Model | None:
        """The model as far as it can be read; problems are not in order yet."""
        if not isinstance(value, dict):
            self.read.problem("FT204", (), f"a model is a mapping, not {shown(value)}")
            return None
        self.read.known_keys((), value, _KEYS, "the model")
        grid = self.grid(value)
        reading = NodeChecks(self.read, grid, self.folder)
        nodes, paths = reading.nodes(value)
        for key in ("parameters", "metrics"):
            if value.get(key) is not None:
                self.read.second((key,), f"the section {key}", key=True)
        parameters = read_parameters(self.read, value.get("parameters"), nodes, reading.pmf_of)
        formulas = FormulaChecks(self.read, nodes, paths, parameters)
        formulas.check()
        series = self.series(nodes)
        model = Model(
            nodes=tuple(nodes.values()),
            grid=grid or Grid(),
            metadata=self.metadata(value),
            outputs=self.outputs(value, series),
            topology=self.topology(value, series),
            seed=self.seed(value),
            parameters=parameters,
            metrics=read_metrics(self.read, value.get("metrics"), parameters, formulas.formula),
            version=self.version(value),
            provenance=self.provenance(value),
        )
        self.recorded(model)
        return model

    def metrics(self, model: Model, value: Any) -> tuple[Metric, ...]:
        """Metrics beside those of the document that a model came from, as a document has them."""
        nodes = {node.id: node for node in model.nodes}
        formulas = FormulaChecks(self.read, nodes, {}, model.parameters)
        return read_metrics(self.read, value, model.parameters, formulas.formula)

    def series(self, nodes: Mapping[str, Node]) -> dict[str, Node]:
        """All that `outputs` and `topology` may name: nodes, and measures of queues by `queue.measure`."""
        measures = {
            f"{node.id}.{measure}": node
            for node in nodes.values()
            if isinstance(node, QueueNode)
            for measure in node.measures
        }
        return {**nodes, **measures}

    def version(self, value: dict[str, Any]) -> int:
        """The version of the language that the document is in; called when all else is read."""
        version = value.get("schemaVersion")
        if version is not None and (type(version) is not int or version not in SCHEMA_VERSIONS):
            self.read.problem(
                "FT217",
                ("schemaVersion",),
                f"schemaVersion {shown(version)} is not supported; "
                f"supported: {', '.join(map(str, SCHEMA_VERSIONS))}",
            )
            return SCHEMA_VERSIONS[-1]
        second = self.read.of_second
        if version == 1:
            for path, key, what in second:
                self.read.problem(
                    "FT220",
                    path,
                    f"{what} belongs to version 2 of the language, and the document says schemaVersion: 1",
                    hint="write schemaVersion: 2",
                    key=key,
                )
        elif version is None and second:
            path, key, what = second[0]
            self.read.problem(
                "FT253",
                path,
                f"the document is read as version 2 of the language, to which {what} belongs",
                hint="write schemaVersion: 2 to say so",
                key=key,
                warning=True,
            )
        found: int = version or (2 if second else 1)
        if found > 1:
            for path, key, message in self.read.reserved:
                self.read.problem("FT206", path, message, key=key)
        return found

    def metadata(self, value: dict[str, Any]) -> Metadata:
        """What the model says of itself."""
        section = self.read.mapping(("metadata",), value.get("metadata")) or {}
        keys = ("id", "title", "description", "version", "tags")
        self.read.known_keys(("metadata",), section, keys, "metadata")
        texts = {k: self.read.text(("metadata", k), section.get(k), "metadata") for k in keys[:4]}
        tags = self.read.texts(("metadata", "tags"), section.get("tags"), "metadata")
        for key, rule in (("id", name_rule), ("description", description_rule)):
            if texts[key] and (takes := rule(texts[key])):
                self.read.problem("FT205", ("metadata", key), f"metadata: {key} {takes}")
        for i, tag in enumerate(tags):
            if takes := tag_rule(tag):
                message = f"metadata: tag {shown(tag)} is not allowed; it {takes}"
                self.read.problem("FT205", ("metadata", "tags", i), message)
        if len(tags) > MAX_TAGS:
            message = f"metadata: {len(tags)} tags; an artifact takes {MAX_TAGS}"
            self.read.problem("FT205", ("metadata", "tags"), message)
        return Metadata(**texts, tags=tags)

    def provenance(self, value: dict[str, Any]) -> dict[str, Any]:
        """Where the model came from, which may be anything that JSON can say."""
        section = self.read.mapping(("provenance",), value.get("provenance")) or {}
        stack: list[tuple[Path, Any]] = [(("provenance",), section)]
        while stack:
            path, part = stack.pop()
            if isinstance(part, dict):
                stack += [((*path, key), item) for key, item in part.items()]
            elif isinstance(part, list):
                stack += [((*path, i), item) for i, item in enumerate(part)]
            elif isinstance(part, float) and not math.isfinite(part):
                self.read.problem("FT204", path, f"provenance: numbers must be finite, not {shown(part)}")
        return section

    def grid(self, value: dict[str, Any]) -> Grid | None:
        """The grid, or None when it is wrong, so that lengths are not held against it."""
        section = self.read.mapping(("grid",), value.get("grid"))
        if section is None:
            if value.get("grid") is not None:
                return None
            self.read.problem("FT251", (), "no grid: 24 bins of 1 hour are taken", warning=True)
            return Grid()
        self.read.known_keys(
            ("grid",), section, ("bins", "binSize", "binUnit", "start", "binMinutes"), "grid"
        )
        bins = self.read.integer(("grid", "bins"), section.get("bins"), 1, MAX_BINS, "grid")
        if section.get("bins") is None:
            self.read.problem("FT203", ("grid",), "grid: bins is missing", key=True)
        size, unit = section.get("binSize"), section.get("binUnit")
        size_path: Path = ("grid", "binSize")
        if "binMinutes" in section:
            size_path = ("grid", "binMinutes")
            if size is not None or unit is not None:
                self.read.problem(
                    "FT202", size_path, "grid: binMinutes stands beside binSize or binUnit", key=True
                )
            size, unit = section["binMinutes"], "minutes"
            hint = "write binSize and binUnit: minutes"
            self.read.problem(
                "FT252", size_path, "grid: binMinutes is an older spelling", hint=hint, key=True, warning=True
            )
        if unit is not None and unit not in BIN_UNITS:
            allowed = ", ".join(BIN_UNITS)
            message = f"grid: binUnit is {shown(unit)}; {allowed} are allowed"
            self.read.problem("FT205", ("grid", "binUnit"), message, hint=did_you_mean(str(unit), BIN_UNITS))
            return None
        bin_unit: BinUnit = unit or "hours"
        longest = LONGEST // MICROSECONDS[bin_unit] // (bins or 1)
        if not longest:
            message = f"grid: {bins:,} {bin_unit} are more than lie between the years 1 and 9999"
            self.read.problem("FT205", ("grid", "bins"), message)
            return None
        bin_size = 1 if size is None else self.read.integer(size_path, size, 1, longest, "grid")
        start = self.start(section.get("start"))
        if bins is None or bin_size is None:
            return None
        grid = Grid(bins, bin_size, bin_unit, start)
        if grid.end is not None and grid.end > MAX_INSTANT + 1:
            self.read.problem("FT205", ("grid", "start"), "grid: the last bin ends after the year 9999")
        return grid

    def start(self, value: Any) -> int | None:
        """The instant of the first bin, in microseconds since 1970."""
        text = self.read.text(("grid", "start"), value, "grid")
        if text is None:
            return None
        try:
            return parse_instant(text)
        except (ValueError, OverflowError):
            message = f"grid: start {text!r} is no ISO 8601 instant such as 2025-01-01T00:00:00Z"
            self.read.problem("FT205", ("grid", "start"), message)
            return None

    def seed(self, value: dict[str, Any]) -> int | None:
        """The seed of sampled nodes."""
        section = self.read.mapping(("rng",), value.get("rng")) or {}
        self.read.known_keys(("rng",), section, ("kind", "seed"), "rng")
        kind = section.get("kind", "pcg64")
        if kind == "pcg32":
            self.read.problem("FT252", ("rng", "kind"), "rng: kind pcg32 is read as pcg64", warning=True)
        elif kind != "pcg64":
            self.read.problem("FT205", ("rng", "kind"), f"rng: kind is {shown(kind)}; pcg64 is allowed")
        return self.read.integer(("rng", "seed"), section.get("seed"), 0, MAX_SEED, "rng")

    def outputs(self, value: dict[str, Any], nodes: Mapping[str, Node]) -> tuple[Output, ...]:
        """The rules of what is recorded."""
        listed = self.read.typed(("outputs",), value.get("outputs"), list, "the model")
        if listed == []:
            self.read.problem(
                "FT205", ("outputs",), "outputs is empty", hint="leave it out to record every series"
            )
        outputs = []
        for i, item in enumerate(listed or []):
            path: Path = ("outputs", i)
            entry = self.read.mapping(path, item, "outputs")
            if entry is None:
                continue
            self.read.known_keys(path, entry, ("series", "exclude", "as"), "outputs")
            series = self.read.text((*path, "series"), entry.get("series"), "outputs")
            if series is None:
                if entry.get("series") is None:
                    self.read.problem("FT203", path, "outputs: series is missing (an id, or * for all)")
                continue
            if series != "*":
                self.read.known_node((*path, "series"), series, nodes, "outputs")
            exclude = self.read.texts((*path, "exclude"), entry.get("exclude"), "outputs")
            for k, id in enumerate(exclude):
                self.read.known_node((*path, "exclude", k), id, nodes, "outputs")
            outputs.append(Output(series, exclude, self.read.text((*path, "as"), entry.get("as"), "outputs")))
        return tuple(outputs)

    def topology(self, value: dict[str, Any], nodes: Mapping[str, Node]) -> Topology | None:
        """The declared components, None where nothing is declared; entries with problems are left out."""
        section = self.read.mapping(("topology",), value.get("topology"))
        if section is None:
            return None
        self.read.known_keys(("topology",), section, ("nodes", "edges"), "topology")
        entries: dict[str, TopologyNode] = {}
        listed = self.read.typed(("topology", "nodes"), section.get("nodes"), list, "topology") or []
        for i, item in enumerate(listed):
            path: Path = ("topology", "nodes", i)
            entry = self.read.mapping(path, item, "topology")
            if entry is None:
                continue
            self.read.known_keys(path, entry, ("id", "kind", "title", "semantics"), "topology")
            if entry.get("id") is None:
                self.read.problem("FT203", path, "topology: an entry has no id")
                continue
            id = self.read.name((*path, "id"), entry["id"], "topology")
            if id is None:
                continue
            owner = f'topology "{id}"'
            if id in entries:
                self.read.problem("FT207", (*path, "id"), f"{owner}: duplicate id")
                continue
            semantics: dict[str, str] = {}
            for measure, target in (
                self.read.mapping((*path, "semantics"), entry.get("semantics"), owner) or {}
            ).items():
                at: Path = (*path, "semantics", measure)
                node_id = self.read.text(at, target, owner)
                if target is None:
                    self.read.problem("FT203", at, f"{owner}: measure {measure!r} names no node", key=True)
                if (
                    self.read.name(at, measure, owner)
                    and node_id
                    and self.read.known_node(at, node_id, nodes, owner)
                ):
                    semantics[measure] = node_id
            entries[id] = TopologyNode(
                id,
                self.read.text((*path, "kind"), entry.get("kind"), owner),
                self.read.text((*path, "title"), entry.get("title"), owner),
                semantics,
            )
        topology = Topology(tuple(entries.values()), self.edges(section, entries))
        return None if topology == Topology() else topology

    def edges(self, section: dict[str, Any], entries: Mapping[str, TopologyNode]) -> tuple[Edge, ...]:
        """The declared flows between entries."""
        edges = []
        listed = self.read.typed(("topology", "edges"), section.get("edges"), list, "topology") or []
        for i, item in enumerate(listed):
            path: Path = ("topology", "edges", i)
            entry = self.read.mapping(path, item, "topology edge")
            if entry is None:
                continue
            self.read.known_keys(path, entry, ("from", "to"), "topology edge")
            ends = []
            for key in ("from", "to"):
                end = self.read.text((*path, key), entry.get(key), "topology edge")
                if entry.get(key) is None:
                    self.read.problem("FT203", path, f"topology edge: {key} is missing")
                elif end is not None and end not in entries:
                    hint = self.read.guess(end, entries)
                    self.read.problem(
                        "FT201", (*path, key), f'topology edge: unknown entry "{end}"', hint=hint
                    )
                elif end is not None:
                    ends.append(end)
            if len(ends) == 2:
                edges.append(Edge(*ends))
        return tuple(edges)

    def recorded(self, model: Model) -> None:
        """Two recorded series may not have the same component and measure."""
        first: dict[Any, str] = {}
        index = {node.id: i for i, node in enumerate(model.nodes)}
        for key, node in model.recorded():
            if key in first and first[key] != node.id:
                self.read.problem(
                    "FT207",
                    ("nodes", index[node.id]),
                    f'node "{node.id}": duplicate component and measure {key}, as in "{first[key]}"',
                    node=node.id,
                )
            first.setdefault(key, node.id)
        if not any(problem.severity == "error" for problem in self.read.problems) and not first:
            self.read.problem("FT205", ("outputs",), "outputs leave no series to record")
