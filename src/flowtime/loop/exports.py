"""Series out of the registry: files and streams of every format, and what they say of themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from flowtime.core import canonical
from flowtime.core.canonical import JSON
from flowtime.errors import InvalidInput, NotFound
from flowtime.formats import BUNDLE, GOLD, XLSX, Format, Progress
from flowtime.formats.export import (
    Exported,
    WriteWorkbook,
    check_size,
    export_file,
    export_into,
    export_stream,
)
from flowtime.formats.files import translated
from flowtime.formats.metadata import describe, descriptor, table_resource, write_sidecar
from flowtime.formats.stretches import Stored, Table
from flowtime.formats.text import Writable, csv_pieces, ndjson_pieces
from flowtime.loop.models import MODEL_FILE, PREVIEW_FILE, model_in, model_text
from flowtime.loop.series import as_published, read_series, stored, table_of
from flowtime.model.drawing import preview
from flowtime.model.writer import to_document
from flowtime.registry import Registry

_STREAMED_ROWS = 1 << 15
"""Rows of a piece of a stream: a server sends many streams at once."""


def description(registry: Registry, id: str) -> JSON:
    """What an exported file says of itself: enough to rebuild the model without the registry."""
    catalog = registry.catalog(id)
    model = model_in(registry, id)
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
    optional = {key: catalog[key] for key in ("bound", "samples", "parameters") if catalog.get(key)}
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
    embed: bool = False,
    workbook: WriteWorkbook | None = None,
    progress: Progress | None = None,
) -> Exported:
    """A run or telemetry as a file; the options are those of `formats.export.export_file`.

    Raises NotFound (FT501), Unavailable (FT805) where the artifact was damaged, and as `export_file` does.
    """
    table, described, beside = _ready(registry, id, format)
    with as_published(id):
        return export_file(
            table, described, format, path, **beside, embed=embed, workbook=workbook, progress=progress
        )


def export_to(
    registry: Registry,
    id: str,
    format: Format,
    stream: Writable,
    *,
    embed: bool = False,
    workbook: WriteWorkbook | None = None,
    progress: Progress | None = None,
) -> None:
    """A run or telemetry as bytes of a stream, CSV and NDJSON plain unless they `embed`; `options` and errors
    as of `export`.

    Nothing is written of an artifact that was damaged: who reads the stream could not tell.
    """
    table, described, beside = _ready(registry, id, format)
    with as_published(id):
        if isinstance(table, Stored):
            table.check()
        export_stream(
            table, described, format, stream, **beside, embed=embed, workbook=workbook, progress=progress
        )


def plain_pieces(registry: Registry, id: str, format: Format) -> Generator[bytes | memoryview, None, None]:
    """A run or telemetry as plain gold CSV or NDJSON, piece by piece, read while it is taken.

    Raises Unavailable (FT805) before the last piece where the artifact was damaged.
    """
    table = stored(registry, id)
    pieces = csv_pieces(table) if format is GOLD else ndjson_pieces(table, _STREAMED_ROWS)
    held: bytes | memoryview = b""
    with as_published(id):
        for _, piece in pieces:
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
    embed: bool = False,
    workbook: WriteWorkbook | None = None,
    progress: Progress | None = None,
) -> None:
    """A run or telemetry with its metadata, written into an empty file by `formats.export.export_into`;
    `options` and errors as of `export`.
    """
    table, described, beside = _ready(registry, id, format)
    with as_published(id), translated("a temporary file"):
        export_into(
            table,
            described,
            format,
            handle,
            name=id + format.extension,
            **beside,
            embed=embed,
            workbook=workbook,
            progress=progress,
        )


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
    table_digest = table_of(registry, id)["data"]["digest"]
    described = describe(stored(registry, id), description(registry, id), table_digest)
    resource = table_resource(
        described, format, id + format.extension, size=size, sha256=f"sha256:{whole.hexdigest()}"
    )
    document: JSON = canonical.load(write_sidecar(descriptor(described, [resource])))
    return document


def state(registry: Registry, id: str, format: Format, *, embed: bool) -> str:
    """A text that is another one wherever the bytes of an export are: of a table without metadata its digest,
    of others also what is said of the artifact, and of its model as far as the reader may see that.
    """
    catalog = table_of(registry, id)
    parts = [str(catalog["data"]["digest"])]
    if embed or not format.sidecar:
        parts.append(registry.stamp(id))
    if format in (BUNDLE, XLSX) and catalog.get("model_id"):
        with suppress(NotFound, InvalidInput):
            parts.append(registry.stamp(f"{catalog['model_id']}@v{catalog['model_version']}"))
    return "-".join(parts)


def _ready(registry: Registry, id: str, format: Format) -> tuple[Table, JSON, dict[str, Any]]:
    """What is written: the table, read while it is written unless its format needs it whole, what the file
    says of it, and what else `formats.export` wants to know.
    """
    catalog = table_of(registry, id)
    check_size(format, catalog["grid"]["bins"], len(catalog["measures"]))
    table = read_series(registry, id) if format is XLSX else stored(registry, id)
    described, files = described_with_files(registry, id, format)
    return table, described, {"table_digest": catalog["data"]["digest"], "files": files}


def described_with_files(registry: Registry, id: str, format: Format) -> tuple[JSON, dict[str, bytes]]:
    """The description, and the files that a bundle has beside the tables."""
    catalog, described = registry.catalog(id), description(registry, id)
    files = {}
    if format in (BUNDLE, XLSX):
        model = model_in(registry, id)
        files["catalog.json"] = canonical.dump(catalog) + b"\n"
        if model is not None:
            files[MODEL_FILE] = model_text(registry, id).encode()
            files[PREVIEW_FILE] = preview(model).encode()
            described["model_artifact"] = _model_artifact(registry, catalog)
    return described, files


def _model_artifact(registry: Registry, catalog: JSON) -> JSON | None:
    """What people say of the model that a run was made from, where that is still here."""
    try:
        model = registry.catalog(f"{catalog['model_id']}@v{catalog['model_version']}")
    except (NotFound, InvalidInput):
        return None
    return {key: model[key] for key in ("name", "description", "tags")}
