"""Series out of the registry and into it: export, import, the model rebuilt from a file alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from flowtime.analysis.compare import Difference, difference
from flowtime.core import canonical, statistics
from flowtime.core.canonical import JSON
from flowtime.core.grid import Grid
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.engine import SEMANTICS_VERSION, compile, evaluate
from flowtime.engine.sampling import prepare
from flowtime.errors import Diagnostic, InvalidInput, Unavailable
from flowtime.formats.metadata import FORMAT_VERSION
from flowtime.formats.telemetry import Imported, import_file
from flowtime.loop.models import MODEL_FILE, Label, StoredModel, topology
from flowtime.loop.runs import DATA_FILE, measures, write_series
from flowtime.model import from_document, load
from flowtime.model.identity import graph_hash, model_hash
from flowtime.model.spec import ExprNode, Model, Node
from flowtime.model.writer import dump, to_document
from flowtime.registry import Registry
from flowtime.registry.catalog import Catalog, Data, Parent, Topology
from flowtime.version import ENGINE_VERSION


def read_series(registry: Registry, id: str) -> SeriesSet:
    """The series of a run or telemetry, bit for bit.

    Raises NotFound (FT501), InvalidInput (FT4xx) or Unavailable (FT805) where the artifact was damaged.
    """
    catalog = registry.catalog(id)
    imported = import_file(
        registry.path(id, DATA_FILE), grid=Grid.from_json(catalog["grid"]), ignore_metadata=True
    )
    series = imported.series
    if imported.digest != catalog["data"]["digest"]:
        raise Unavailable(
            "FT805",
            f"{id}: {DATA_FILE} is not what was published: its digest is {imported.digest}",
            hint="restore it from a backup, or delete the artifact and run again",
        )
    units = {(m["component"], m["measure"]): m["unit"] for m in catalog["measures"]}
    return replace(series, units=tuple(units[key.component, key.measure] for key in series.keys))


def read_model(registry: Registry, id: str) -> Model | None:
    """The model that a run or telemetry was made from, or None where it is not known."""
    if not any(content["name"] == MODEL_FILE for content in registry.catalog(id)["contents"]):
        return None
    with registry.stream(id, MODEL_FILE) as file:
        return load(file.read(), f"{id}/{MODEL_FILE}")


def description(registry: Registry, id: str) -> JSON:
    """What an exported file says of itself: enough to rebuild the model without the registry."""
    catalog = registry.catalog(id)
    model = read_model(registry, id)
    copied = (
        "kind",
        "id",
        "name",
        "description",
        "tags",
        "created_utc",
        "engine_version",
        "model_id",
        "model_version",
        "model_hash",
        "graph_hash",
        "inputs_hash",
        "seed",
        "capabilities",
        "warnings",
    )
    samples = catalog.get("samples")
    return {
        **{key: catalog[key] for key in copied},
        **({} if samples is None else {"samples": samples}),
        "model": None if model is None else to_document(model),
    }


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A model that came back with its data: what it was called, how it was seeded and sampled."""

    model: Model = field(repr=False)
    seed: int | None
    samples: int | None
    model_id: str | None
    model_version: int | None


@dataclass(frozen=True, slots=True)
class Conformance:
    """How the derived series compare with the model computed again from the file's inputs.

    `absent` are derived series of the model that the data does not have.
    """

    series: tuple[Difference, ...]
    absent: tuple[SeriesKey, ...]

    @property
    def ok(self) -> bool:
        """Whether every derived series is there, equal to the last bit."""
        return not self.absent and all(entry.equal for entry in self.series)

    def to_json(self) -> JSON:
        """The report as every face shows it."""
        return {
            "ok": self.ok,
            "series": [asdict(entry) for entry in self.series],
            "absent": [asdict(key) for key in self.absent],
        }


def rebuild(found: JSON) -> Rebuilt | None:
    """The model in a file's description, or None where it has none.

    Raises InvalidInput (FT806) where it is not the model that the description says.
    """
    document = found.get("model")
    if document is None:
        return None
    model = from_document(document, "the model in the file's metadata")
    for name, value in (("model_hash", model_hash(model)), ("graph_hash", graph_hash(model))):
        if found.get(name) != value:
            raise InvalidInput(
                "FT806",
                f"the rebuilt model has {name} {value}, the file says {found.get(name)}",
                hint="import it as external data with --ignore-metadata",
            )
    return Rebuilt(
        model, found.get("seed"), found.get("samples"), found.get("model_id"), found.get("model_version")
    )


def read_grid(text: str) -> Grid:
    """The grid in `bins=24,size=1,unit=hours,start=2025-01-01T00:00:00Z`; the start may be left out.

    Raises InvalidInput (FT808).
    """
    example = "bins=24,size=1,unit=hours,start=2025-01-01T00:00:00Z"
    pairs = dict(part.strip().partition("=")[::2] for part in text.split(","))
    names = {"bins": "bins", "size": "binSize", "unit": "binUnit", "start": "start"}
    try:
        document: JSON = {names[name]: value for name, value in pairs.items()}
        counts = {name: int(document[name]) for name in ("bins", "binSize")}
        return Grid.from_json({**document, **counts})
    except (KeyError, ValueError):
        raise InvalidInput("FT808", f"{text!r} is no grid", hint=f"write it as {example}") from None


def names(model: Model, samples: int | None) -> dict[SeriesKey, Node]:
    """The series that a run records, in order, each with its node: of `samples`, their statistics."""
    recorded = model.recorded()
    if samples is None:
        return dict(recorded)
    return {name: node for key, node in recorded for name in statistics.keys(key)}


def conformance(model: Model, seed: int | None, series: SeriesSet, samples: int | None = None) -> Conformance:
    """The model computed again with the inputs that the data gives, against the data's derived series.

    Statistics of `samples` do not tell what each sample was given: there the series that no distribution
    reaches are compared, and no others. Raises InvalidInput (FT807) where components, measures or grid
    are not the model's; series that the model derives may be absent.
    """
    wanted = names(model, samples)
    given = set(series.keys)
    inputs = {key: node for key, node in wanted.items() if not isinstance(node, ExprNode)}
    missing = [key for key in inputs if key not in given]
    extra = [key for key in series.keys if key not in wanted]
    if missing or extra:
        raise _misfit(missing, extra)
    grid = model.grid
    if (grid.bins, grid.step) != (series.grid.bins, series.grid.step):
        raise InvalidInput("FT807", f"the data has {series.grid}, the model {grid}")
    plan = compile(model)
    if samples is None:
        bound = {node.id: series[key] for key, node in inputs.items()}
        again = evaluate(plan, seed=seed, inputs=bound).series
        computed = {key: row for key, _, row in again if key not in inputs}
    else:
        certain = prepare(model).certain
        computed = {key: certain[node.id] for key, node in wanted.items() if node.id in certain}
    return Conformance(
        tuple(
            difference(key, plan.units[wanted[key].id], row, series[key], series.grid, 0)
            for key, row in computed.items()
            if key in given
        ),
        tuple(key for key in wanted if key not in given),
    )


def _misfit(missing: Sequence[SeriesKey], extra: Sequence[SeriesKey]) -> InvalidInput:
    errors = [Diagnostic("FT807", f"missing: {key}, an input of the model") for key in missing]
    errors += [Diagnostic("FT807", f"extra: {key}, which the model does not have") for key in extra]
    return InvalidInput("FT807", "the data does not fit the model", errors=errors)


@dataclass(frozen=True, slots=True)
class Brought:
    """An import that passed every check and may be stored."""

    imported: Imported = field(repr=False)
    rebuilt: Rebuilt | None
    conformance: Conformance | None

    def to_json(self) -> JSON:
        """What the file held and what became of it, as every face shows it."""
        series, found = self.imported.series, self.imported.description or {}
        return {
            "grid": series.grid.to_json(),
            "data": {"rows": series.rows, "series": len(series), "digest": self.imported.digest},
            "rebuilt": self.rebuilt is not None,
            "conformance": None if self.conformance is None else self.conformance.to_json(),
            "import": {"format": self.imported.format.name, **self.imported.notes.to_json()},
            "warnings": found.get("warnings") or [],
        }


def bring(
    registry: Registry, source: Path | BinaryIO, model: StoredModel | None, options: Mapping[str, Any]
) -> Brought:
    """Reads and checks a file; nothing is stored.

    `model` is the model that the data is said to belong to; without it the file's own is rebuilt. A plain
    file whose digest the registry knows is taken as that artifact's export.
    """

    def known(table_digest: str) -> JSON | None:
        id = registry.find_digest(table_digest)
        return None if id is None else {**description(registry, id), **_table(registry, id)}

    imported = import_file(source, lookup=known, **options)
    found = rebuild(imported.description) if model is None and imported.description else None
    if model is not None:
        samples = (imported.description or {}).get("samples")
        found = Rebuilt(model.model, None, samples, model.id, model.version)
    if found is None:
        return Brought(imported, None, None)
    report = conformance(found.model, found.seed, imported.series, found.samples)
    return Brought(replace(imported, series=_with_units(imported.series, found)), found, report)


def _with_units(series: SeriesSet, found: Rebuilt) -> SeriesSet:
    """The series with the model's units where the file states none."""
    units = compile(found.model).units
    known = {key: units[node.id] for key, node in names(found.model, found.samples).items()}
    pairs = zip(series.units, series.keys, strict=True)
    return replace(series, units=tuple(known[key] if unit is None else unit for unit, key in pairs))


def _table(registry: Registry, id: str) -> JSON:
    catalog = registry.catalog(id)
    series = [{key: m[key] for key in ("component", "measure", "unit")} for m in catalog["measures"]]
    return {**catalog["data"], "format_version": FORMAT_VERSION, "grid": catalog["grid"], "series": series}


def publish_telemetry(registry: Registry, brought: Brought, label: Label) -> JSON:
    """The catalog of the telemetry artifact."""
    imported, rebuilt = brought.imported, brought.rebuilt
    series, found = imported.series, imported.description or {}
    parents = [Parent(id=found["id"], digest=imported.digest)] if found.get("id") else []
    if rebuilt is not None and rebuilt.model_id and not found.get("id"):
        parents.append(
            Parent(id=rebuilt.model_id, version=rebuilt.model_version, digest=model_hash(rebuilt.model))
        )
    model = None if rebuilt is None else rebuilt.model
    with registry.stage("telemetry") as staging:
        staging.hashes[DATA_FILE] = write_series(series, staging.path / DATA_FILE)
        if model is not None:
            (staging.path / MODEL_FILE).write_text(dump(to_document(model)), encoding="utf-8")
        catalog = Catalog(
            kind="telemetry",
            name=label.name,
            description=label.description,
            tags=list(dict.fromkeys(label.tags)),
            owner=label.owner,
            visibility=label.visibility,
            source="import",
            engine_version=ENGINE_VERSION,
            model_id=None if rebuilt is None else rebuilt.model_id,
            model_version=None if rebuilt is None else rebuilt.model_version,
            model_hash=None if model is None else model_hash(model),
            graph_hash=None if model is None else graph_hash(model),
            inputs_hash=canonical.hash_of({"telemetry": imported.digest, "engine": SEMANTICS_VERSION}),
            seed=None if rebuilt is None else rebuilt.seed,
            samples=None if rebuilt is None else rebuilt.samples,
            grid=series.grid.to_json(),
            capabilities=found.get("capabilities") or ["counts"],
            parents=parents,
            data=Data(rows=series.rows, series=len(series), digest=imported.digest),
            topology=Topology() if model is None else topology(model),
            nodes=[] if model is None else [node.id for node in model.nodes],
            measures=measures(series),
            warnings=found.get("warnings") or [],
            stats={"import": {"format": imported.format.name, **imported.notes.to_json()}},
            provenance={} if model is None else dict(model.provenance),
        )
        return staging.publish(catalog)
