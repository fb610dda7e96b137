"""Series out of the registry and into it: export, import, the model rebuilt from a file alone."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from flowtime.analysis.compare import Difference, difference
from flowtime.core import canonical, statistics
from flowtime.core.canonical import JSON
from flowtime.core.grid import Grid
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.engine import SEMANTICS_VERSION, compile, evaluate
from flowtime.engine.sampling import prepare
from flowtime.errors import Diagnostic, InvalidInput, NotFound, Unavailable
from flowtime.formats import BUNDLE, GOLD, XLSX, Format, Progress, half
from flowtime.formats.export import Exported, Streamed, export_file, export_into, export_stream
from flowtime.formats.files import translated
from flowtime.formats.metadata import (
    FORMAT_VERSION,
    Recorded,
    describe,
    descriptor,
    table_resource,
    write_sidecar,
)
from flowtime.formats.stretches import Stored
from flowtime.formats.telemetry import Imported, import_file, read_recorded
from flowtime.formats.text import Writable, ndjson_pieces
from flowtime.loop import models
from flowtime.loop.models import MODEL_FILE, PREVIEW_FILE, Label, StoredModel, topology
from flowtime.loop.replay import Replay, bind, bound_nodes, on_grid
from flowtime.loop.runs import DATA_FILE, measures, write_series
from flowtime.model import from_document, load
from flowtime.model.drawing import preview
from flowtime.model.identity import graph_hash, model_hash
from flowtime.model.spec import ExprNode, Model, Node
from flowtime.model.writer import dump, to_document
from flowtime.registry import Registry
from flowtime.registry.catalog import Catalog, Data, Parent, Topology
from flowtime.version import ENGINE_VERSION

_STREAMED_ROWS = 1 << 15
"""Rows of a piece of a stream: a server sends many streams at once."""


def read_series(registry: Registry, id: str, progress: Progress | None = None) -> SeriesSet:
    """The series of a run or telemetry, bit for bit.

    Raises NotFound (FT501) or Unavailable (FT805) where the artifact was damaged.
    """
    catalog = registry.catalog(id)
    expected = Recorded(*_table_of(catalog), catalog["data"]["digest"])
    with _as_published(id):
        return read_recorded(registry.path(id, DATA_FILE), expected, progress)


def _table_of(catalog: JSON) -> tuple[Grid, tuple[SeriesKey, ...], tuple[str | None, ...]]:
    """The grid, the names and the units of the series."""
    return (
        Grid.from_json(catalog["grid"]),
        tuple(SeriesKey(m["component"], m["measure"]) for m in catalog["measures"]),
        tuple(m["unit"] for m in catalog["measures"]),
    )


@contextmanager
def _as_published(id: str, *only: str) -> Iterator[None]:
    """Says of data that is not as it should be whose it is; raises Unavailable (FT805).

    `only` are the codes that tell of it, where other ones may be raised, too.
    """
    try:
        yield
    except InvalidInput as error:
        if only and error.code not in only:
            raise
        raise Unavailable(
            "FT805",
            f"{id}: {DATA_FILE} is not what was published: {error.message}",
            where=error.where,
            hint="restore it from a backup, or delete the artifact and run again",
        ) from error


def stored(registry: Registry, id: str) -> Stored:
    """The series of a run or telemetry, to be read while they are written elsewhere."""
    catalog = registry.catalog(id)
    content = next((entry for entry in catalog["contents"] if entry["name"] == DATA_FILE), None)
    if content is None:
        hint = "restore it from a backup, or delete the artifact and run again"
        raise Unavailable("FT805", f"{id}: its catalog names no {DATA_FILE}", hint=hint)
    where = f"{registry.folder(id)}/{DATA_FILE}"
    return Stored(*_table_of(catalog), lambda: registry.stream(id, DATA_FILE), content["sha256"], where)


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
    optional = {key: catalog[key] for key in ("bound", "samples") if catalog.get(key)}
    return {
        **{key: catalog[key] for key in copied},
        **optional,
        "model": None if model is None else to_document(model),
    }


def export(
    registry: Registry,
    id: str,
    format: Format,
    path: Path,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Exported:
    """A run or telemetry as a file. `options` are those of `formats.export.export_file`.

    Raises as `read_series` and `export_file` do.
    """
    described, files, table_digest = _beside_series(registry, id, format)
    series = read_series(registry, id, half(progress, 0.0))
    options |= {"table_digest": table_digest, "files": files, "progress": half(progress, 0.5)}
    return export_file(series, described, format, path, **options)


def export_to(
    registry: Registry,
    id: str,
    format: Format,
    stream: Writable,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Streamed:
    """A run or telemetry as bytes of a stream, as `export` and `formats.export.export_stream` do it."""
    described, files, table_digest = _beside_series(registry, id, format)
    series = read_series(registry, id, half(progress, 0.0))
    options |= {"table_digest": table_digest, "files": files, "progress": half(progress, 0.5)}
    return export_stream(series, described, format, stream, **options)


def plain_pieces(registry: Registry, id: str, format: Format) -> Generator[bytes | memoryview, None, None]:
    """A run or telemetry as plain gold CSV or NDJSON, piece by piece, read while it is taken.

    Raises Unavailable (FT805) before the last piece where the artifact was damaged.
    """
    table = stored(registry, id)
    held: bytes | memoryview = b""
    with _as_published(id):
        for piece in (
            table.pieces() if format is GOLD else (piece for _, piece in ndjson_pieces(table, _STREAMED_ROWS))
        ):
            # The last piece stays here until the hash is right: a damaged table never looks complete.
            if held:
                yield held
            held = piece
    yield held


def write_into(
    registry: Registry,
    id: str,
    format: Format,
    handle: BinaryIO,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """A run or telemetry with its metadata, written into an empty file by `formats.export.export_into`.

    Tables that need not be in memory are read while they are written. Raises as `read_series` does.
    """
    described, files, table_digest = _beside_series(registry, id, format)
    table = read_series(registry, id) if format is XLSX else stored(registry, id)
    options |= {"table_digest": table_digest, "files": files, "progress": progress}
    options["name"] = id + format.extension
    with _as_published(id, "FT410"), translated("a temporary file"):
        export_into(table, described, format, handle, **options)


def sidecar(registry: Registry, id: str, format: Format) -> JSON:
    """What stands beside an export under the artifact's own name, without the export itself.

    Raises InvalidInput (FT418) for a format that holds its metadata itself, Unavailable (FT805).
    """
    if not format.sidecar:
        hint = "export it; the metadata is in the file"
        raise InvalidInput("FT418", f"{format.title} has no metadata beside it", hint=hint)
    size, whole = 0, hashlib.sha256()
    for piece in plain_pieces(registry, id, format):
        size += len(piece)
        whole.update(piece)
    described = describe(stored(registry, id), *_described(registry, id))
    resource = table_resource(
        described, format, id + format.extension, size=size, sha256=f"sha256:{whole.hexdigest()}"
    )
    document: JSON = canonical.load(write_sidecar(descriptor(described, [resource])))
    return document


def _described(registry: Registry, id: str) -> tuple[JSON, str]:
    return description(registry, id), registry.catalog(id)["data"]["digest"]


def _beside_series(registry: Registry, id: str, format: Format) -> tuple[JSON, dict[str, bytes], str]:
    """What an export says beside the series: description, files of a bundle, digest of the table."""
    catalog = registry.catalog(id)
    described = description(registry, id)
    files = {}
    if format in (BUNDLE, XLSX):
        model = read_model(registry, id)
        files["catalog.json"] = canonical.dump(catalog) + b"\n"
        if model is not None:
            with registry.stream(id, MODEL_FILE) as file:
                files[MODEL_FILE] = file.read()
            files[PREVIEW_FILE] = preview(model).encode()
            described["model_artifact"] = _model_artifact(registry, catalog)
    return described, files, catalog["data"]["digest"]


def _model_artifact(registry: Registry, catalog: JSON) -> JSON | None:
    """What people say of the model that a run was made from, where that is still here."""
    try:
        model = registry.catalog(f"{catalog['model_id']}@v{catalog['model_version']}")
    except (NotFound, InvalidInput):
        return None
    return {key: model[key] for key in ("name", "description", "tags")}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A model that came back with its data: what it was called, how it was seeded and sampled.

    `bound` are the ids of the nodes whose values were bound and not computed; `text` is the model's own
    text, where a bundle brought it.
    """

    model: Model = field(repr=False)
    seed: int | None
    samples: int | None
    model_id: str | None
    model_version: int | None
    bound: tuple[str, ...] = ()
    text: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Conformance:
    """How the derived series compare with the model computed again from the file's inputs.

    Differences are the data minus the model. `absent` are derived series of the model that the data does
    not have; `units` says which series have another unit than the model.
    """

    series: tuple[Difference, ...]
    absent: tuple[SeriesKey, ...]
    units: tuple[Diagnostic, ...] = ()

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
            "units": [warning.message for warning in self.units],
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
        model,
        found.get("seed"),
        found.get("samples"),
        found.get("model_id"),
        found.get("model_version"),
        bound_nodes(found),
    )


def read_telemetry(registry: Registry, id: str) -> StoredModel:
    """The model that came back with telemetry, under its own id where the registry has it.

    Raises InvalidInput (FT812) where none did.
    """
    model = read_model(registry, id)
    if model is None:
        raise InvalidInput(
            "FT812", f"{id} came without a model", hint="name one with --model, and its inputs with --bind"
        )
    catalog = registry.catalog(id)
    reference = f"{catalog['model_id']}@v{catalog['model_version']}"
    try:
        known = registry.catalog(reference)["model_hash"] == model_hash(model)
    except (NotFound, InvalidInput):
        known = False
    return StoredModel(
        catalog["model_id"] if known else None,
        catalog["model_version"] if known else None,
        catalog["name"],
        dump(to_document(model)),
        model,
    )


def replay(
    registry: Registry, id: str, model: StoredModel | None, bindings: Iterable[str]
) -> tuple[StoredModel, Replay]:
    """The telemetry `id` bound to a model, by default to the one that came back with it.

    Raises InvalidInput: FT807 and FT811 as `bind` does, FT812 where there is no model.
    """
    catalog = registry.catalog(id)
    telemetry = Parent(id=id, digest=catalog["data"]["digest"])
    replaced = bound_nodes(catalog) if model is None else ()
    stored = read_telemetry(registry, id) if model is None else model
    return stored, bind(stored.model, read_series(registry, id), telemetry, bindings, replaced)


def _with_files(found: Rebuilt | None, imported: Imported) -> Rebuilt | None:
    """The model with the text that a bundle has of it.

    Raises InvalidInput (FT806) where a file of the bundle says otherwise than its description.
    """
    files, described = imported.files, imported.description or {}
    if not files:
        return found
    try:
        catalog = canonical.load(files["catalog.json"])
        same = [catalog.get(key) == described.get(key) for key in ("id", "kind", "model_hash", "graph_hash")]
        agree = all(same) and catalog["data"]["digest"] == described["digest"]
        text = files[MODEL_FILE].decode() if MODEL_FILE in files else None
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise _contradiction("catalog.json") from error
    if not agree or (text is None) != (found is None):
        raise _contradiction("catalog.json")
    if found is None or text is None:
        return found
    if model_hash(load(text, MODEL_FILE)) != model_hash(found.model):
        raise _contradiction(MODEL_FILE)
    return replace(found, text=text)


def _contradiction(name: str) -> InvalidInput:
    return InvalidInput("FT806", f"{name} in the bundle is not of the run that the bundle describes")


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


def conformance(found: Rebuilt, series: SeriesSet) -> Conformance:
    """The model computed again with the inputs that the data gives, against the data's derived series.

    Nodes that were bound count as inputs whatever they are. Statistics of samples do not tell what each
    sample was given: there the series that no distribution reaches are compared, and no others. A missing
    value equals a missing value and nothing else. Raises InvalidInput (FT807) where components, measures
    or grid are not the model's; series that the model derives may be absent.
    """
    wanted = names(found.model, found.samples)
    given = dict(zip(series.keys, series.values, strict=True))
    inputs = {
        k: node for k, node in wanted.items() if not isinstance(node, ExprNode) or node.id in found.bound
    }
    missing = [key for key in inputs if key not in given]
    extra = [key for key in given if key not in wanted]
    if missing or extra:
        raise _misfit(missing, extra)
    on = on_grid(found.model, series.grid)
    plan = compile(on)
    if found.samples is None:
        # A node that is recorded under several names takes the first; the others have to be equal to it.
        first = {node.id: key for key, node in reversed(inputs.items())}
        taken = set(first.values())
        again = evaluate(plan, seed=found.seed, inputs={id: given[key] for id, key in first.items()}).series
        computed = {key: row for key, _, row in again if key not in taken}
        derived = list(computed)
    else:
        certain = prepare(on).certain
        computed = {key: certain[node.id] for key, node in wanted.items() if node.id in certain}
        derived = list(wanted)
    units = {key: plan.units[node.id] for key, node in wanted.items()}
    stated = dict(zip(series.keys, series.units, strict=True))
    return Conformance(
        tuple(
            difference(key, units[key], row, given[key], series.grid, 0)
            for key, row in computed.items()
            if key in given
        ),
        tuple(key for key in derived if key not in given),
        tuple(
            Diagnostic("FT851", f"{key} is in {stated[key]}, in the model in {unit}", severity="warning")
            for key, unit in units.items()
            if unit is not None and stated.get(key) not in {None, unit}
        ),
    )


def _misfit(missing: Sequence[SeriesKey], extra: Sequence[SeriesKey]) -> InvalidInput:
    errors = [Diagnostic("FT807", f"missing: {key}, an input of the model") for key in missing]
    errors += [Diagnostic("FT807", f"extra: {key}, which the model does not have") for key in extra]
    return InvalidInput("FT807", "the data does not fit the model", errors=errors)


_SEEN_BINS, _SEEN_SERIES = 8, 6


@dataclass(frozen=True, slots=True)
class Brought:
    """An import that passed every check and may be stored."""

    imported: Imported = field(repr=False)
    rebuilt: Rebuilt | None
    conformance: Conformance | None

    @property
    def restores(self) -> bool:
        """Whether a model artifact comes with it, which may be new to the registry."""
        found = self.rebuilt
        return found is not None and found.text is not None and bool(found.model_id and found.model_version)

    def to_json(self) -> JSON:
        """What the file held and what became of it, as every face shows it."""
        series, found = self.imported.series, self.imported.description or {}
        return {
            "grid": series.grid.to_json(),
            "data": {"rows": series.rows, "series": len(series), "digest": self.imported.digest},
            "rebuilt": self.rebuilt is not None,
            "restores": f"{found['model_id']}@v{found['model_version']}" if self.restores else None,
            "conformance": None if self.conformance is None else self.conformance.to_json(),
            "import": {"format": self.imported.format.name, **self.imported.notes.to_json()},
            "warnings": found.get("warnings") or [],
        }

    def sight(self) -> JSON:
        """What a person wants to see before the data is stored: by what the file was recognised and as which
        artifact's, and the first bins of the first series.
        """
        series, found = self.imported.series, self.imported.description or {}
        bins = min(_SEEN_BINS, series.grid.bins)
        return {
            "recognised": {
                "by": self.imported.recognised_by,
                "id": found.get("id"),
                "model_id": None if self.rebuilt is None else self.rebuilt.model_id,
            },
            "first": {
                "bins": [series.grid.label(index) for index in range(bins)],
                "series": [
                    {
                        **asdict(key),
                        "unit": unit,
                        "values": [None if np.isnan(v) else float(v) for v in row[:bins]],
                    }
                    for key, unit, row in islice(series, _SEEN_SERIES)
                ],
            },
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
    found = _with_files(rebuild(imported.description) if imported.description else None, imported)
    if model is not None:
        samples = (imported.description or {}).get("samples")
        found = Rebuilt(model.model, None, samples, model.id, model.version)
    if found is None:
        return Brought(imported, None, None)
    report = conformance(found, imported.series)
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
    if brought.restores and rebuilt is not None:
        artifact = _restore_model(registry, brought, rebuilt, label)
        rebuilt = replace(rebuilt, model_id=artifact["id"], model_version=artifact["model_version"])
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
            text = rebuilt.text if rebuilt and rebuilt.text else dump(to_document(model))
            (staging.path / MODEL_FILE).write_text(text, encoding="utf-8")
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
            bound=found.get("bound") or [],
            data=Data(rows=series.rows, series=len(series), digest=imported.digest),
            topology=Topology() if model is None else topology(model),
            nodes=[] if model is None else [node.id for node in model.nodes],
            measures=measures(series),
            warnings=found.get("warnings") or [],
            stats={"import": {"format": imported.format.name, **imported.notes.to_json()}},
            provenance={} if model is None else dict(model.provenance),
        )
        return staging.publish(catalog)


def _restore_model(registry: Registry, brought: Brought, rebuilt: Rebuilt, label: Label) -> JSON:
    """The model artifact that a bundle's run was made from, labelled as it was, for the importer."""
    said = (brought.imported.description or {}).get("model_artifact") or {}
    assert rebuilt.text and rebuilt.model_id and rebuilt.model_version
    own = replace(
        label,
        name=str(said.get("name") or rebuilt.model_id),
        description=str(said.get("description") or ""),
        tags=tuple(map(str, said.get("tags") or ())),
    )
    return models.restore(registry, rebuilt.text, rebuilt.model, own, rebuilt.model_id)
