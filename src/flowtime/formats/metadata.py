"""The metadata of a data file: a Data Package with everything that a lone file needs to be a model again.

The document is a Data Package descriptor (https://datapackage.org/standard/data-package/, version 2).
Its key `flowtime` holds what the standard has no words for: a plain JSON object, the description, in
which the model is opaque here. It lies beside CSV and NDJSON as `<file>.datapackage.json`, and inside
Parquet as the footer entry `flowtime`.

A CSV file may instead begin with it: lines `# key: value` for people, then the descriptor as one line of
JSON, `# {...}`. A bundle (see flowtime.formats.bundle) has it as `datapackage.json`.

Seals make every changed byte known. A sidecar's `flowtime.seal` is the SHA-256 of the canonical JSON of
the descriptor without it; its text must be exactly the layout written here, so that white space counts
too; it records size and SHA-256 of the data file. So is the header of a CSV file, all of whose lines
follow from the descriptor; it records the SHA-256 of everything below it. Parquet and bundles seal
themselves.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Protocol

import msgspec

from flowtime.core import canonical
from flowtime.core.canonical import JSON
from flowtime.core.grid import Grid
from flowtime.core.series import SeriesKey, name_problem
from flowtime.errors import InvalidInput
from flowtime.formats import GOLD, PARQUET, Format
from flowtime.wording import option

FORMAT_VERSION = 1
SCHEMA_VERSION = "treehouse.binned.v0"
COLUMNS = ("time_bin", "component_id", "measure", "value")
"""The columns of the table, in the order in which they are written."""

MAX_METADATA = 1 << 26
"""Largest metadata in bytes that are read."""
_FREE_LISTS, _BYTES_PER_LIST = 100_000, 16
"""Metadata may have so many lists and objects, and one for so many of its bytes: each takes a hundred."""

COMMENT = b"# flowtime: "
"""How a CSV file begins that carries its metadata."""

OPEN_HASH = "sha256:" + "0" * 64
"""Stands for a hash that is not known yet, and is as long."""

IGNORE = (
    f"if the data was changed on purpose, {option('ignore_metadata', True)} takes it as external telemetry, "
    "without the model that its metadata describes"
)
"""The hint of every error about data that is not what its metadata says."""

_SEPARATORS = {"\x85".encode(): rb"\u0085", "\u2028".encode(): rb"\u2028", "\u2029".encode(): rb"\u2029"}
"""What some programs take for the end of a line, and how JSON spells it otherwise."""

_NUMBERS = re.compile(rb'\[\n\s+([^\[\]{}"]*?)\n\s*\]')


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar says: the description, and size and hash (`sha256:...`) of the data file's bytes."""

    description: JSON
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """The table that a description describes: grid, series in their recorded order, digest."""

    grid: Grid
    keys: tuple[SeriesKey, ...]
    units: tuple[str | None, ...]
    digest: str

    @property
    def rows(self) -> int:
        """Rows of the table: series times bins."""
        return len(self.keys) * self.grid.bins


class Named(Protocol):
    """A table that can say what it is."""

    @property
    def grid(self) -> Grid: ...  # noqa: D102 (as SeriesSet has them)

    @property
    def keys(self) -> tuple[SeriesKey, ...]: ...  # noqa: D102

    @property
    def units(self) -> tuple[str | None, ...]: ...  # noqa: D102

    @property
    def rows(self) -> int: ...  # noqa: D102


def describe(series: Named, description: Mapping[str, Any], digest: str) -> JSON:
    """`description` with what the table itself says: versions, grid, series, rows and digest."""
    return {
        **description,
        "format_version": FORMAT_VERSION,
        "schema_version": SCHEMA_VERSION,
        "grid": series.grid.to_json(),
        "series": [
            {"component": key.component, "measure": key.measure, "unit": unit}
            for key, unit in zip(series.keys, series.units, strict=True)
        ],
        "rows": series.rows,
        "digest": digest,
    }


def descriptor(description: Mapping[str, Any], resources: Sequence[JSON]) -> JSON:
    """The Data Package descriptor of data files; `description` is what `describe` returns."""
    document: JSON = {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": re.sub(r"[^a-z0-9._-]+", "-", str(description.get("id") or "table").lower()),
        "title": description.get("name"),
        "created": description.get("created_utc"),
        "resources": list(resources),
        "flowtime": dict(description),
    }
    return {key: value for key, value in document.items() if value is not None}


def table_resource(
    description: Mapping[str, Any],
    format: Format,
    file_name: str,
    *,
    name: str = "series",
    size: int | None = None,
    sha256: str | None = None,
) -> JSON:
    """The descriptor's entry for the table in one format.

    `size` and `sha256` are those of the file's bytes; a file that carries its own descriptor cannot state
    them.
    """
    resource: JSON = {
        "name": name,
        "type": "table",
        "path": file_name,
        "format": format.extension.removeprefix("."),
        "mediatype": format.media_type,
        "encoding": "utf-8",
        # The reference validator takes the number of bytes of a Parquet file for an error.
        "bytes": None if format is PARQUET else size,
        "hash": sha256,
        "schema": {
            "fields": [
                {"name": "time_bin", "type": "datetime" if "start" in description["grid"] else "integer"},
                {"name": "component_id", "type": "string"},
                {"name": "measure", "type": "string"},
                {"name": "value", "type": "number"},
            ],
            "primaryKey": ["component_id", "measure", "time_bin"],
            "missingValues": [""],
        },
    }
    return {key: value for key, value in resource.items() if value is not None}


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of the data file `path` lies."""
    return path.with_name(path.name + ".datapackage.json")


def write_sidecar(document: JSON) -> bytes:
    """A descriptor, sealed, as the text of a sidecar."""
    sealed = {**document, "flowtime": {**document["flowtime"], "seal": canonical.hash_of(document)}}
    return _layout(sealed)


def read_sidecar(text: bytes, source: str) -> Sidecar:
    """What the sidecar `text` says; `source` names it in errors.

    Raises InvalidInput where it is no sidecar that flowtime wrote, or differs from it by any byte.
    """
    description, resources = read_sealed(text, source)
    try:
        resource = resources[0]
        path, size, sha256 = str(resource["path"]), int(resource["bytes"]), str(resource["hash"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise _unusable(source, "it does not give the path, bytes and hash of its data file") from error
    if path in {"", ".", ".."} or PurePath(path).name != path or "\\" in path:
        raise _unusable(source, f'its data file is "{path}", which is not a file beside it')
    return Sidecar(description, size, sha256)


def read_sealed(text: bytes, source: str) -> tuple[JSON, list[JSON]]:
    """The description and the resources of a sealed descriptor.

    Raises InvalidInput where it is none that flowtime wrote, or differs from it by any byte.
    """
    try:
        document = _decoded(text)
        description = dict(document["flowtime"])
        seal = description.pop("seal")
        untouched = _layout(document) == text
        sealed = canonical.hash_of({**document, "flowtime": description})
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InvalidInput(
            "FT411",
            "this is not the metadata that flowtime wrote for the file beside it",
            where=source,
            hint=IGNORE,
        ) from error
    if not untouched or seal != sealed:
        raise InvalidInput(
            "FT410",
            "the metadata was changed after flowtime wrote it: its seal is broken",
            where=source,
            hint=IGNORE,
        )
    return description, list(document.get("resources") or ())


def header(description: Mapping[str, Any], file_name: str, sha256: str = OPEN_HASH) -> bytes:
    """The lines that a CSV file with embedded metadata begins with.

    `sha256` is that of everything below them; the header is as long while it is open.
    """
    resource = {**table_resource(description, GOLD, file_name), "dialect": {"commentChar": "#"}}
    document = descriptor({**description, "table_sha256": sha256}, [resource])
    seal = OPEN_HASH if sha256 == OPEN_HASH else canonical.hash_of(document)
    return _header({**document, "flowtime": {**document["flowtime"], "seal": seal}})


def _header(document: JSON) -> bytes:
    found = document["flowtime"]
    units = dict.fromkeys(entry["unit"] for entry in found["series"] if entry["unit"])
    facts = {
        "flowtime": f"format {found['format_version']}, {found['schema_version']}",
        "name": found.get("name"),
        "id": found.get("id"),
        "kind": found.get("kind"),
        "description": found.get("description"),
        "tags": ", ".join(map(str, found.get("tags") or ())),
        "created": found.get("created_utc"),
        "engine": found.get("engine_version"),
        "model": found.get("model_id"),
        "model version": found.get("model_version"),
        "model hash": found.get("model_hash"),
        "inputs hash": found.get("inputs_hash"),
        "seed": found.get("seed"),
        "grid": str(Grid.from_json(found["grid"])),
        "series": len(found["series"]),
        "rows": found["rows"],
        "units": ", ".join(map(str, units)),
        "missing": "an empty value",
        "digest": found["digest"],
    }
    lines = [f"# {key}: {_one_line(str(value))}\n" for key, value in facts.items() if value not in {None, ""}]
    line = msgspec.json.encode(document)
    for separator, escaped in _SEPARATORS.items():
        line = line.replace(separator, escaped)
    return "".join(lines).encode() + b"# " + line + b"\n"


def _one_line(text: str) -> str:
    return "".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"} else c for c in text)


def skip_header(handle: BinaryIO, source: str) -> tuple[bytes, int]:
    """The last line of the header that a CSV file begins with, and how many lines it has.

    `handle` stands behind it then. Raises InvalidInput where it does not end.
    """
    handle.seek(0)
    lines = 0
    while handle.tell() <= MAX_METADATA:
        line = handle.readline(MAX_METADATA)
        lines += 1
        if line.startswith(b"# {") and line.endswith(b"\n"):
            return line, lines
        if not line.startswith(b"# "):
            break
    raise _unusable(source, "the header lines, which begin with #, lack the line of JSON that ends them")


def read_header(handle: BinaryIO, source: str) -> tuple[JSON, str]:
    """The description in the header of a CSV file, and the SHA-256 (`sha256:...`) of all below it.

    `handle` stands there then. Raises InvalidInput where the header is not, to the byte, what flowtime
    wrote.
    """
    line, _ = skip_header(handle, source)
    end = handle.tell()
    try:
        document = _decoded(line[2:])
        description = dict(document["flowtime"])
        seal = description.pop("seal")
        sealed = canonical.hash_of({**document, "flowtime": description})
        text = _header(document)
        table = str(description.pop("table_sha256"))
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise _unusable(source, "the last line of the header is not the descriptor") from error
    handle.seek(0)
    if handle.read(end) != text or seal != sealed:
        raise InvalidInput(
            "FT410",
            "the header was changed after flowtime wrote it: its seal is broken",
            where=source,
            hint=IGNORE,
        )
    return description, table


def write_footer(document: JSON) -> str:
    """A descriptor as the text of Parquet's footer entry `flowtime`."""
    return canonical.dump(document).decode()


def read_footer(text: str, source: str) -> JSON:
    """The description in Parquet's footer entry `flowtime`; raises InvalidInput where there is none."""
    try:
        return dict(_decoded(text.encode())["flowtime"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unusable(source, "the footer entry flowtime is not a descriptor") from error


def recorded(description: Mapping[str, Any], source: str) -> Recorded:
    """The table that `description` describes.

    Raises InvalidInput where a key is missing or wrong, or a newer flowtime wrote it.
    """
    version = description.get("format_version")
    if version != FORMAT_VERSION:
        raise InvalidInput(
            "FT411",
            f"the metadata has format version {version!r}; this flowtime reads version {FORMAT_VERSION}",
            where=source,
            hint="import it with the flowtime that wrote it, or a newer one",
        )
    try:
        grid = Grid.from_json(description["grid"])
        keys = tuple(SeriesKey(entry["component"], entry["measure"]) for entry in description["series"])
        units = tuple(entry["unit"] for entry in description["series"])
        problems = [name_problem(name) for key in keys for name in (key.component, key.measure)]
        found = Recorded(grid, keys, units, str(description["digest"]))
        rows = int(description["rows"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _unusable(source, f"it lacks or misspells what describes the table ({error!r})") from error
    if any(problems):
        raise _unusable(source, f"a component or measure {next(filter(None, problems))}")
    if not keys or len(set(keys)) != len(keys) or rows != found.rows:
        raise _unusable(source, f"{rows:,} rows do not fit {len(set(keys)):,} different series of {grid}")
    return found


def _decoded(text: bytes) -> Any:
    """The JSON; raises ValueError where it is none, or has far more lists than metadata has."""
    if text.count(b"[") + text.count(b"{") > _FREE_LISTS + len(text) // _BYTES_PER_LIST:
        raise ValueError("too many lists and objects")
    return msgspec.json.decode(text)


def _unusable(source: str, why: str) -> InvalidInput:
    return InvalidInput("FT411", f"the metadata cannot be used: {why}", where=source, hint=IGNORE)


def _layout(document: JSON) -> bytes:
    """Indented for people, lists of plain numbers on one line; the same bytes for the same document."""
    text = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    return _NUMBERS.sub(lambda match: b"[" + re.sub(rb",\s+", b", ", match[1]) + b"]", text)
