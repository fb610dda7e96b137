"""`catalog.json`: what an artifact says of itself. Imported by those who write one or need its schema."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from flowtime.registry.document import Kind, Visibility

SCHEMA_VERSION = "treehouse.binned.v0"
"""Version of the table in `binned_v0.csv`, as the catalog names it."""

Source = Literal["sim", "engine", "import"]


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """The graph: nodes as objects with at least an `id`, edges as objects with `from` and `to`.

    In a `catalog.json` beyond 8 KB, the numbers of both and the hash of the lists in `details.json`.
    """

    nodes: list[dict[str, Any]] | int = []
    edges: list[dict[str, Any]] | int = []
    sha256: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A series in five numbers; all but `missing` are None where every bin is missing.

    `max_bin` is the first bin that holds the largest value, counted from 0; None also in older catalogs.
    """

    min: float | None
    mean: float | None
    max: float | None
    missing: int = 0
    max_bin: int | None = None


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded series: its key, its unit, its summary and its shape as a line of block characters."""

    component: str
    measure: str
    unit: str | None = None
    summary: Summary
    spark: str = ""

    def to_json(self) -> dict[str, Any]:
        """The series as catalogs write it."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A metric of a run: its formula, its value (None where it is missing) and how it stands to its goal.

    `missing` counts the values that it leaves out. `bin` is the one that it was found in, where it is of one
    bin, and `time` when that begins, where the grid has a start. With samples `value` is the mean, `missing`
    counts samples, and `met_share` is the share of samples that meet the goal. What a metric does not have is
    left out.
    """

    name: str
    formula: str
    value: float | None
    unit: str | None = None
    goal: str | None = None
    met: bool | None = None
    title: str | None = None
    missing: int = 0
    bin: int | None = None
    time: str | None = None
    p05: float | None = None
    p50: float | None = None
    p95: float | None = None
    met_share: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The metric as catalogs write it."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


class Abridged(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a `catalog.json` beyond 8 KB for a list in `details.json`: its length and hash."""

    count: int
    sha256: str


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the artifact other than `catalog.json`: its name, size in bytes and SHA-256."""

    name: str
    bytes: int
    sha256: str


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """The table: its rows, its series, and the digest that is the same in every format."""

    rows: int
    series: int
    digest: str


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact that this one was made from; `digest` is its model hash or data digest at that time."""

    id: str
    digest: str | None = None
    version: int | None = None


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """A closed loop: the digest that came back, and when that was seen."""

    digest: str
    verified_utc: str


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """What an artifact says of itself.

    `id`, `created_utc`, `model_version` of a model, `contents` and `seal` are filled in by publication. Only
    `name`, `description`, `tags`, `owner`, `team`, `visibility`, `star` and `loop` change afterwards; `seal`
    is a hash of all other fields. `parameters` are the values of a run's parameters, of a model those that
    hold unless a run sets others; `metrics` are the first of a run's, `other_metrics` those that lists do not
    know. `samples` is how many samples the statistics of a run are of, None where
    it is a single evaluation. Of a model, `document_hash` is a hash of the whole document, comments and the
    order of keys aside, and `source_path` the file that it was published from, None where there was none.
    `nodes` are the ids of the model's nodes; `data`, `measures` are None and empty for a model. `bound`
    says which node of a replay took which series, `kept` which inputs have the model's values, `compared` how
    far what was measured is from the run's series of the same names, `unbound` which series of its telemetry
    the model does not have. Fields that a newer flowtime has written are kept by edits.
    """

    kind: Kind
    id: str = ""
    name: str
    created_utc: str = ""
    schema_version: str = SCHEMA_VERSION
    description: str = ""
    tags: list[str] = []
    owner: str
    team: str | None = None
    visibility: Visibility = "private"
    star: bool = False
    source: Source
    engine_version: str
    model_id: str | None = None
    model_version: int | None = None
    model_hash: str | None = None
    document_hash: str | None = None
    source_path: str | None = None
    graph_hash: str | None = None
    inputs_hash: str | None = None
    seed: int | None = None
    samples: int | None = None
    parameters: dict[str, float] = {}
    metrics: list[Figure] = []
    other_metrics: list[Figure] | Abridged = []
    grid: dict[str, Any] | None = None
    capabilities: list[str] = []
    parents: list[Parent] = []
    bound: list[dict[str, Any]] | Abridged = []
    kept: list[dict[str, Any]] | Abridged = []
    compared: list[dict[str, Any]] | Abridged = []
    unbound: list[dict[str, Any]] | Abridged = []
    data: Data | None = None
    topology: Topology = Topology()
    nodes: list[str] | Abridged = []
    measures: list[Measure] | Abridged = []
    warnings: list[dict[str, Any]] | Abridged = []
    stats: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    loop: dict[str, Verification] = {}
    contents: list[Content] = []
    seal: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The catalog as JSON, every field in this order; the topology without `sha256` while inline."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        if document["topology"]["sha256"] is None:
            del document["topology"]["sha256"]
        return document


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `catalog.json` as publication writes it; further fields are allowed."""
    document = msgspec.json.schema(Catalog)
    catalog = document["$defs"]["Catalog"]
    catalog["required"] = list(catalog["properties"])
    for name in ("id", "created_utc"):
        catalog["properties"][name] |= {"minLength": 1}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "catalog.json of a flowtime artifact",
        **document,
    }
