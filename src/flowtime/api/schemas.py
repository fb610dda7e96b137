"""The shapes of requests and responses, as OpenAPI describes them.

Requests are checked against these. Responses are not made of them, for the service gives plain JSON that is
sent as it is; the tests hold real responses against what stands here.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from flowtime.api import problems
from flowtime.api.responses import unheld
from flowtime.errors import InvalidInput

Named = Annotated[str, AfterValidator(unheld)]
"""A part of an address that names something, with the slashes in it."""
Kind = Literal["model", "run", "telemetry"]
Visibility = Literal["private", "team", "public"]
Around = Annotated[str | None, Query(description="Only what lies around this component or node")]
Depth = Annotated[int, Query(ge=0, le=100, description="With around: how many edges away")]
To = Annotated[int | None, Query(ge=1, description="The bin before which to stop")]
Points = Annotated[int | None, Query(ge=2, le=100_000, description="At most so many points a series")]

MODEL_DOCUMENT: dict[str, Any] = {
    "grid": {"bins": 4, "binSize": 1, "binUnit": "hours"},
    "nodes": [
        {"id": "arrivals", "kind": "const", "values": [10, 20, 30, 20]},
        {"id": "served", "kind": "expr", "expr": "MIN(arrivals, 25)"},
    ],
}
MODEL_TEXT = """grid: {bins: 4, binSize: 1, binUnit: hours}
nodes:
  - {id: arrivals, kind: const, values: [10, 20, 30, 20]}
  - {id: served, kind: expr, expr: "MIN(arrivals, 25)"}
"""

Responses = dict[int | str, dict[str, Any]]


def words(text: str) -> tuple[str, ...]:
    """The words of a field that takes several, separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


class _Request(BaseModel):
    """What a caller sends: fields that are not known are refused."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        """Refuses half of a surrogate pair, which JSON can spell and nothing can store."""
        try:
            msgspec.json.encode(value)
        except UnicodeEncodeError:
            raise ValueError("a text has half of a surrogate pair (\\ud800 to \\udfff)") from None
        return value


class _Response(BaseModel):
    """What a caller gets: fields may be added in later versions."""

    model_config = ConfigDict(extra="allow")


# -- requests ----------------------------------------------------------------------------------------------


class _Labelled(_Request):
    name: str | None = Field(None, examples=["baseline"])
    description: str | None = None
    tags: list[str] = []
    visibility: Visibility | None = None

    def label(self) -> dict[str, Any]:
        """What people say of what is made."""
        return {
            "name": self.name,
            "description": self.description,
            "tags": tuple(self.tags),
            "visibility": self.visibility,
        }


class Change(_Request):
    """What is to change of an artifact; what is left out stays as it is."""

    name: str = Field("", min_length=1, examples=["baseline"])
    description: str = ""
    owner: str = ""
    team: str = ""
    visibility: Visibility = "private"
    star: bool = False
    tags: list[str] = Field([], description="All tags, in place of those it has")
    add_tags: list[str] = []
    remove_tags: list[str] = []


class _Parameters(_Labelled):
    parameters: dict[str, JsonValue] = Field({}, examples=[{}])
    scenario: str | None = None

    def to_service(self) -> dict[str, Any]:
        """What is asked for as `Flowtime.create_model` and `Flowtime.derive_model` take it."""
        given = self.model_dump(exclude={"parameters"})
        return {**given, "params": self.parameters or None, "tags": tuple(self.tags)}


class Fill(_Parameters):
    """A template's parameters."""

    update: str | None = Field(None, description="The model that gets it as its next version")


class Derive(_Parameters):
    """Changes to a model: parameters of its template, or contents of its nodes."""

    update: bool = Field(False, description="Make it the next version of the same model")


class Run(_Labelled):
    """What to run, and how."""

    model_id: str | None = Field(None, description="The id or name of a model; `ID@v2` is a version")
    model: str | dict[str, JsonValue] | None = Field(None, description="A model as text or as a document")
    telemetry_id: str | None = Field(None, description="Telemetry whose series take the place of the inputs")
    bind: list[str] = Field([], description="component.measure=node, where names alone do not tell")
    require: list[str] = Field([], description="Nodes and series of the model that telemetry has to measure")
    seed: int | None = Field(None, ge=0, lt=2**63)
    samples: int | None = Field(None, ge=1, description="Sample every distribution so many times")
    scenario: str | None = None
    deterministic: bool = Field(False, description="The same inputs again are the same run")
    parameters: dict[str, float] = Field({}, description="Values for parameters of the model, by name")
    metrics: dict[str, str | dict[str, JsonValue]] = Field(
        {}, description="Metrics beside the model's own: a formula, or what a model document has, by name"
    )

    def text(self) -> bytes:
        """The model that came with the request, as text."""
        return (self.model if isinstance(self.model, str) else json.dumps(self.model)).encode()


class LoopRequest(_Request):
    """Which model's loop to verify, through which formats."""

    model_id: str
    formats: list[str] = Field(["all"], min_length=1)
    seed: int | None = Field(None, ge=0, lt=2**63)


class ExportRequest(_Request):
    """Which run to export."""

    run_id: str | None = Field(None, alias="runId")
    format: str | None = Field(
        None, description="csv, ndjson, parquet, bundle or xlsx; all of them without it"
    )


class ImportOptions(_Request):
    """How to read a file that flowtime did not write, and what to call what comes of it."""

    name: str | None = None
    description: str | None = None
    tags: str = Field("", description="separated by commas")
    visibility: Visibility | None = None
    model: str | None = Field(None, description="The model that the data belongs to")
    run: str | None = Field(None, description="The run whose export it is, where several have its series")
    format: str | None = Field(
        None, description="gold, ndjson, parquet or bundle, where the content does not tell"
    )
    grid: str | None = Field(None, description="bins=N,size=N,unit=U[,start=T]")
    missing: Literal["error", "null", "zero"] = "error"
    duplicates: Literal["error", "first", "last", "sum"] = "error"
    align: Literal["floor"] | None = None
    map: list[str] = Field([], description="THEIRS=OURS, a column under another name; repeatable")
    wide: bool = False
    component: str | None = Field(None, description="Whose measures the columns of a wide table are")
    delimiter: str | None = None
    decimal_comma: bool = False
    time_format: str | None = Field(None, description="for strptime, or unix, or unix-ms")
    timezone: str | None = Field(None, description="of times without an offset")
    ignore_extra: bool = False
    ignore_metadata: bool = False
    validate_schema: bool = Field(False, description="Fill and convert nothing; times must state their grid")
    dry_run: bool = Field(False, description="Only check; store nothing")

    def over(self, form: dict[str, list[str]]) -> ImportOptions:
        """These options with what the fields of a form say; raises InvalidInput (FT822)."""
        fields: dict[str, Any] = {name: texts if name == "map" else texts[-1] for name, texts in form.items()}
        try:
            return ImportOptions.model_validate({**self.model_dump(exclude_unset=True), **fields})
        except ValidationError as error:
            raise problems.wrong(error.errors(), "form") from None

    def to_service(self) -> dict[str, Any]:
        """The options as `Flowtime.import_data` takes them; raises InvalidInput (FT822)."""
        given = self.model_dump()
        wrong = [pair for pair in self.map if "=" not in pair]
        if wrong:
            raise InvalidInput("FT822", f'map takes THEIRS=OURS, not "{wrong[0]}"')
        given["rename"] = dict(pair.split("=", 1) for pair in given.pop("map"))
        given["strict"] = given.pop("validate_schema")
        given["tags"] = words(self.tags)
        return given


# -- responses ---------------------------------------------------------------------------------------------


class Diagnostic(_Response):
    """One problem, with where it is."""

    code: str
    message: str
    severity: Literal["error", "warning"]
    source: str | None = None
    line: int | None = None
    column: int | None = None
    position: int | None = None
    node: str | None = None
    excerpt: str | None = None
    hint: str | None = None


class Problem(_Response):
    """An error: RFC 9457, with the fields that the command line prints."""

    type: str = Field(examples=["/v1/errors/FT501"])
    title: str
    status: int
    detail: str
    kind: Literal["invalid", "not_found", "conflict", "denied", "unavailable", "internal"]
    code: str = Field(pattern=r"^FT\d{3}$")
    message: str
    where: str | None
    hint: str | None
    errors: list[Diagnostic]
    count: int = Field(description="How many problems there are; `errors` may hold only the first")


class Item(_Response):
    """What a list shows of an artifact."""

    id: str
    kind: Kind
    name: str
    created_utc: str
    tags: list[str]
    owner: str
    visibility: str
    description: str
    star: bool
    model_version: int | None = None
    columns: dict[str, float | None] | None = None
    files: dict[str, str]


class Page(_Response):
    """A page of artifacts, and how many there are on all pages; where there is none, perhaps a hint."""

    artifacts: list[Item]
    total: int
    page: int
    size: int
    hint: str | None = None


class Relative(_Response):
    """An artifact that another one was made from, or that was made from it."""

    id: str
    kind: str | None
    name: str | None
    created_utc: str | None
    depth: int
    version: int | None = Field(description="Of a model, the version that was used or made; its is the time")
    reference: str = Field(description="What names exactly this: an id, or `ID@v2`")
    made_from: str | None = Field(None, description="Of children: the reference that it was made from")


class Lineage(_Response):
    """What an artifact was made from, and what was made from it, near ones first."""

    parents: list[Relative]
    children: list[Relative]


class Artifact(_Response):
    """A catalog with lineage and links to files; docs/reference/catalog.schema.json has all its fields."""

    id: str
    kind: Kind
    name: str
    created_utc: str
    schema_version: str
    tags: list[str]
    owner: str
    visibility: str
    description: str
    reference: str = Field(description="What names exactly what is shown: an id, of a model `ID@v2`")
    notes: list[str] = Field(description="How it was found or made, such as which one of several it is")
    files: dict[str, str]
    lineage: Lineage


class Imported(_Response):
    """The telemetry that came of an import, or with `dry_run` what there would be."""

    grid: dict[str, Any]
    data: dict[str, Any]
    recognised: dict[str, Any]
    rebuilt: bool
    restores: str | None
    conformance: dict[str, Any] | None
    warnings: list[Any]


class Deleted(_Response):
    """What became of a deletion."""

    id: str
    deleted: bool
    dependants: list[str]


class Trash(_Response):
    """What is in the trash, all on one page."""

    artifacts: list[dict[str, Any]]
    total: int
    page: int
    size: int


class Purged(_Response):
    """What was removed for good."""

    purged: list[str]


class Rebuilt(_Response):
    """A rebuilt index."""

    artifacts: int
    seconds: float
    broken: list[dict[str, Any]]
    foreign: list[dict[str, Any]]


class Verified(_Response):
    """What hashing everything again found."""

    artifacts: int
    files: int
    bytes: int
    seconds: float
    ok: bool
    findings: list[dict[str, Any]]


class IndexStatus(_Response):
    """The registry and its index in numbers."""

    registry: str | None
    artifacts: dict[str, int]
    trash: int
    broken: list[dict[str, Any]]
    foreign: list[dict[str, Any]]


class Validated(_Response):
    """A sound model."""

    kind: str
    nodes: int
    model_hash: str
    warnings: list[Diagnostic]


class Plan(_Response):
    """How a model is computed."""

    plan: Any
    text: str


class Program(_Response):
    """A program and the description of its memory; addresses are in bytes, numbers little-endian."""

    id: str
    module: str = Field(
        description="The WebAssembly module in base64; it imports its memory: flowtime.memory"
    )
    bins: int
    pages: int = Field(description="The size of the memory, in pages of 64 KiB")
    given: list[dict[str, Any]] = Field(
        description="float64 rows to write before the first point: `node`, `at` and `values`, null for NaN"
    )
    since: list[dict[str, int]] = Field(description="uint32 to write before the first point: `at`, `value`")
    drawn: dict[str, Any] = Field(
        description="float64 rows to write before each point, one after another: `at`, `nodes`, `rows`"
    )
    passes: list[str] = Field(
        description="After `begin()`, call each with the first bin and the one after the last"
    )
    recorded: dict[str, Any] = Field(
        description="Where the rows of the `series` lie then; of each pair of `repeated`, the first row is "
        "a copy of the second"
    )
    notes: dict[str, Any] = Field(
        description="`of`: codes and nodes; from `marks` on a byte for each note and bin, 1 where it was met"
    )


class Graph(_Response):
    """A graph with positions."""

    id: str
    noun: Literal["component", "node"]
    total: int = Field(description="How many boxes the whole graph has")
    width: float
    height: float
    down: bool
    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]


class Template(_Response):
    """A template with what it takes to fill it in."""

    id: str
    title: str
    category: str
    description: str
    question: str
    parameters: list[dict[str, Any]]
    scenarios: list[dict[str, Any]]


class Templates(_Response):
    """All templates."""

    templates: list[Template]


class Series(_Response):
    """The values of one series; null where missing."""

    index: int
    component: str
    measure: str
    unit: str | None
    values: list[float | None]


class Chart(_Response):
    """Series over some bins."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    ids: list[str] = Field(description="The artifacts whose series they are")
    grid: dict[str, Any]
    first: int = Field(alias="from")
    to: int
    decimated: bool
    bins: list[int]
    series: list[Series]


class Metadata(_Response):
    """A data package that describes an exported file (Frictionless Data Package, with a flowtime part)."""

    resources: list[dict[str, Any]]
    flowtime: dict[str, Any]


class Exported(_Response):
    """Where the files of a run are to be had."""

    run_id: str = Field(alias="runId")
    files: dict[str, str]


class Comparison(_Response):
    """Two artifacts side by side; with a threshold for series, `gate` tells what was judged and broke it."""

    baseline: str
    comparison: str
    within_threshold: bool | None


class Loop(_Response):
    """Whether the loop of a model closes, through each format."""

    model_id: str | None
    run_id: str
    kept: bool
    ok: bool
    formats: dict[str, Any]


class Job(_Response):
    """Long work: how far it is, and what came of it."""

    id: str
    kind: str
    status: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    owner: str
    created_utc: str
    finished_utc: str | None
    progress: dict[str, float | None]
    result: dict[str, Any] | None
    error: dict[str, Any] | None


class JobList(_Response):
    """Jobs, newest first."""

    jobs: list[Job]


class Health(_Response):
    """That the server is alive, and with which registry."""

    status: Literal["ok"]
    version: str
    registry: str | None


class ErrorCode(_Response):
    """What an error code means; warnings have no kind."""

    code: str
    kind: str | None
    title: str
    explanation: str


# -- how addresses declare their responses -----------------------------------------------------------------

_ERRORS: Responses = {status: {"description": "What went wrong"} for status in ("4XX", "5XX")}
"""Described in `flowtime.api.openapi`, once for all."""
_UNCHANGED: Responses = {304: {"description": "The caller has this already (If-None-Match)"}}


def ok(model: type[BaseModel]) -> Responses:
    """200 with this model; errors as problems."""
    return {200: {"model": model}, **_UNCHANGED, **_ERRORS}


def made(model: type[BaseModel]) -> Responses:
    """201 with this model and a Location."""
    location = {"Location": {"description": "Its address", "schema": {"type": "string"}}}
    return {201: {"model": model, "headers": location}, **_ERRORS}


def _job() -> Responses:
    return {202: {"model": Job, "description": "A job, with `Prefer: respond-async`"}}


def work(model: type[BaseModel]) -> Responses:
    """200 with this model, or 202 with a job."""
    return {200: {"model": model}, **_job(), **_ERRORS}


def made_or_work(model: type[BaseModel]) -> Responses:
    """201 with this model, 200 where nothing was to be made, or 202 with a job."""
    return {200: {"model": model}, **made(model), **_job()}


def file(description: str, *kinds: str) -> Responses:
    """200 with bytes of one of these media types, or 206 with some of them."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return {
        200: {"description": description, "content": content},
        206: {"description": "Some of the bytes", "content": content},
        **_UNCHANGED,
        **_ERRORS,
    }


def text(description: str, kind: str) -> Responses:
    """200 with text of this media type."""
    return {200: {"description": description, "content": {kind: {"schema": {"type": "string"}}}}, **_ERRORS}


EXPORTED = (
    "text/csv",
    "application/x-ndjson",
    "application/vnd.apache.parquet",
    "application/zip",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
)
"""The media types of exports."""
STORED = ("text/csv", "application/json", "application/yaml", "image/svg+xml", "application/octet-stream")
"""The media types of the files of artifacts."""


def chart() -> Responses:
    """200 with a chart, as JSON or packed."""
    packed = {"application/vnd.flowtime.chart": {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"model": Chart, "content": packed}, **_UNCHANGED, **_ERRORS}


UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "metadata": {"type": "string", "format": "binary"},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""The body of an import: a form with a file and perhaps its metadata, or the file itself."""
