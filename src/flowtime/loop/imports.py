"""Files into the registry: read, checked against their model, stored as telemetry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from flowtime.core import canonical
from flowtime.core.canonical import JSON
from flowtime.core.grid import Grid
from flowtime.engine import SEMANTICS_VERSION
from flowtime.errors import Diagnostic, FlowtimeError, InvalidInput
from flowtime.formats.bounds import stored_size
from flowtime.formats.telemetry import Imported, import_file
from flowtime.loop import models
from flowtime.loop.models import MODEL_FILE, Label, StoredModel, topology
from flowtime.loop.rebuilt import Conformance, Rebuilt, conformance, parameters_of, rebuild, with_units
from flowtime.loop.recognition import Recognition
from flowtime.loop.series import DATA_FILE, measures, write_series
from flowtime.model.identity import graph_hash, model_hash
from flowtime.model.writer import dump, to_document
from flowtime.registry import Registry
from flowtime.registry.catalog import Catalog, Data, Parent, Topology
from flowtime.version import ENGINE_VERSION
from flowtime.wording import option


def read_grid(text: str) -> Grid:
    """The grid in `bins=24,size=1,unit=hours,start=2025-01-01T00:00:00Z`; the start may be left out.

    Raises InvalidInput (FT808).
    """
    example = "bins=24,size=1,unit=hours,start=2025-01-01T00:00:00Z"
    pairs = dict(part.strip().partition("=")[::2] for part in text.split(","))
    names = {"bins": "bins", "size": "binSize", "unit": "binUnit", "start": "start"}
    try:
        if not names.keys() - {"start"} <= pairs.keys() <= names.keys():
            raise ValueError("it takes bins, size and unit, and start where bins have times")
        document: JSON = {names[name]: value for name, value in pairs.items()}
        counts = {name: _whole(document[name]) for name in ("bins", "binSize")}
        return Grid.from_json({**document, **counts})
    except ValueError as error:
        hint = f"write it as {example}"
        raise InvalidInput("FT808", f"{text!r} is no grid: {error}", hint=hint) from None


def _whole(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


_SEEN_BINS, _SEEN_SERIES = 8, 6


@dataclass(frozen=True, slots=True)
class Brought:
    """An import that passed every check and may be stored."""

    imported: Imported = field(repr=False)
    rebuilt: Rebuilt | None
    conformance: Conformance | None
    recognised: JSON

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
            "recognised": self.recognised,
            "rebuilt": self.rebuilt is not None,
            "restores": f"{found['model_id']}@v{found['model_version']}" if self.restores else None,
            "conformance": None if self.conformance is None else self.conformance.to_json(),
            "import": {"format": self.imported.format.name, **self.imported.notes.to_json()},
            "warnings": found.get("warnings") or [],
        }

    def sight(self) -> JSON:
        """What a person wants to see before the data is stored: the first bins of the first series."""
        series = self.imported.series
        bins = min(_SEEN_BINS, series.grid.bins)
        return {
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
    registry: Registry,
    source: Path | BinaryIO,
    model: StoredModel | None,
    options: Mapping[str, Any],
    run: str | None = None,
) -> Brought:
    """Reads and checks a file; nothing is stored.

    `model` is the model that the data is said to belong to; without it the file's own is rebuilt. A plain
    file with the series of artifacts here is taken as their export; `run` is the id of the one that is meant.
    Raises InvalidInput: FT816 where it is not the export of `run`, and as `import_file` and `rebuild` do.
    """
    if run is not None and options.get("ignore_metadata"):
        raise InvalidInput(
            "FT418",
            f"{option('run')} names whose export the file is, {option('ignore_metadata')} says of nobody",
        )
    recognition = Recognition(registry, run)
    imported = import_file(source, lookup=recognition.lookup, **options)
    recognition.check(imported)
    described, found, report = imported.description or {}, None, None
    if model is not None:
        found = Rebuilt(
            model.model,
            None,
            described.get("samples"),
            model.id,
            model.version,
            parameters_of(model.model, described),
        )
    elif described and recognition.models < 2:
        found = rebuild(described, imported.files)
    if found is not None:
        report = conformance(found, imported.series)
        imported = replace(imported, series=with_units(imported.series, found))
        found = recognition.model(found) if model is None else found
    imported = recognition.described(imported)
    return Brought(imported, found, report, recognition.to_json(imported, found))


def publish_telemetry(registry: Registry, brought: Brought, label: Label) -> JSON:
    """The catalog of the telemetry artifact."""
    imported, rebuilt = brought.imported, brought.rebuilt
    series, found = imported.series, imported.description or {}
    with registry.stage("telemetry", stored_size(series.grid, series.keys)) as staging:
        staging.hashes[DATA_FILE] = write_series(series, staging.path / DATA_FILE)
        if brought.restores and rebuilt is not None:
            artifact = _restore_model(registry, brought, rebuilt, label)
            rebuilt = replace(rebuilt, model_id=artifact["id"], model_version=artifact["model_version"])
        parents = [Parent(id=found["id"], digest=imported.digest)] if found.get("id") else []
        if rebuilt is not None and rebuilt.model_id and not found.get("id"):
            parents.append(
                Parent(id=rebuilt.model_id, version=rebuilt.model_version, digest=model_hash(rebuilt.model))
            )
        model = None if rebuilt is None else rebuilt.model
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
            parameters={} if rebuilt is None else dict(rebuilt.parameters),
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


def described(table: Path) -> JSON:
    """What a catalog says of a table, read from the table alone: `{grid, data, measures}`, or `{warnings}`
    where it cannot be read.
    """
    try:
        found = import_file(table, ignore_metadata=True)
    except FlowtimeError as error:
        return {"warnings": [Diagnostic(error.code, f"{DATA_FILE}: {error.message}", "warning").to_json()]}
    return {
        "grid": found.series.grid.to_json(),
        "data": {"rows": found.series.rows, "series": len(found.series.keys), "digest": found.digest},
        "measures": [measure.to_json() for measure in measures(found.series)],
    }
