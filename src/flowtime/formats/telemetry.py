"""A data file back into series: recognise, verify, validate, align. Nothing is believed, nothing guessed.

A file that carries metadata must be exactly what its metadata says, to the byte. Every other file is
external telemetry: its rows are put onto a grid, and its digest may still tell whose export it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import polars as pl

from flowtime.core.canonical import JSON
from flowtime.core.grid import Grid
from flowtime.core.series import SeriesKey, SeriesSet, name_problem
from flowtime.errors import InvalidInput, NotFound
from flowtime.formats import BUNDLE, GOLD, NDJSON, PARQUET, Format, Progress
from flowtime.formats.align import Policy, Rows, infer_grid, onto_grid
from flowtime.formats.bounds import check_series, check_stored, stored_size
from flowtime.formats.bundle import read_bundle
from flowtime.formats.clock import Clock
from flowtime.formats.digest import digest
from flowtime.formats.files import translated, unfinished
from flowtime.formats.layout import Layout, Reading
from flowtime.formats.metadata import (
    COMMENT,
    IGNORE,
    MAX_METADATA,
    Recorded,
    read_header,
    read_sidecar,
    recorded,
    skip_header,
)
from flowtime.formats.opening import PIECE, Source, format_of, opened
from flowtime.formats.parquet import is_sealed, read_metadata, read_parquet
from flowtime.formats.readers import read_csv, read_ndjson
from flowtime.formats.rows import Block, Checker, finite
from flowtime.formats.text import labels
from flowtime.wording import option, options

Lookup = Callable[[str], JSON | None]
"""Finds the description of an export by its digest."""

_Metadata = tuple[Literal["sidecar", "header", "footer"], JSON] | tuple[None, None]


@dataclass(frozen=True, slots=True)
class Notes:
    """What import had to infer, fill in, merge, move or leave out; what a catalog records about it.

    `read` is what was said about columns, component, numbers and times of the file.
    """

    grid: Literal["metadata", "given", "inferred"]
    missing: str = "error"
    filled: int = 0
    duplicates: str = "error"
    merged: int = 0
    align: str | None = None
    moved: int = 0
    read: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> JSON:
        """The notes as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Imported:
    """A file that passed every check. `description` is its metadata, None for external telemetry.

    `files` are what a bundle holds besides its series, by name.
    """

    series: SeriesSet
    description: JSON | None
    format: Format
    digest: str
    notes: Notes
    recognised_by: Literal["sidecar", "header", "footer", "bundle", "digest"] | None
    files: Mapping[str, bytes] = field(default_factory=dict)


def import_file(
    source: Path | BinaryIO,
    *,
    format: Format | None = None,
    grid: Grid | None = None,
    rename: Mapping[str, str] | None = None,
    wide: bool = False,
    component: str | None = None,
    delimiter: str | None = None,
    decimal_comma: bool = False,
    time_format: str | None = None,
    timezone: str | None = None,
    missing: Literal["error", "null", "zero"] = "error",
    duplicates: Literal["error", "first", "last", "sum"] = "error",
    align: Literal["floor"] | None = None,
    ignore_extra: bool = False,
    ignore_metadata: bool = False,
    strict: bool = False,
    lookup: Lookup | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Read and check a data file, plain or compressed with gzip or Zstandard.

    `format`, where given, must be what the content is. What follows is for files without metadata, which
    are external telemetry: they go onto `grid`, or onto the one inferred from their times. `rename` maps
    their columns to those of the table. A `wide` table has a column for the time and one for each measure
    of `component`. `delimiter` and `decimal_comma` are those of a CSV file. `time_format` is one for
    `datetime.strptime`, or `unix` or `unix-ms`; `timezone` is that of times without an offset, by name
    or as `+01:00`. `missing`, `duplicates` and `align` say what becomes of rows that do not fill the grid
    once each. `ignore_metadata` takes any file as external. `strict` fills and converts nothing, and takes
    only a grid that the times state: each bin has its time.
    `lookup` recognises a file without metadata by its digest.

    Raises NotFound, Denied, Unavailable, or InvalidInput with every bad row (the first 1,000 listed).
    """
    policy = Policy(missing, duplicates, align)
    said: dict[str, Any] = {
        "map": dict(rename or {}),
        "component": component,
        "delimiter": delimiter,
        "decimal_comma": decimal_comma,
        "time_format": time_format,
        "timezone": timezone,
        "ignore_extra": ignore_extra,
    }
    said = {key: value for key, value in said.items() if value}
    if strict and (policy != Policy() or said):
        raise InvalidInput(
            "FT412",
            "strict import fills, moves, renames, converts and leaves out nothing",
            hint=f"leave out {option('validate_schema')}",
        )
    _check_wide(wide, component)
    clock = Clock.of(time_format, timezone)
    reading = Reading(rename or {}, ignore_extra, strict, component, delimiter or ",", decimal_comma, clock)
    with opened(source) as file, ExitStack() as stack:
        actual = format_of(file, format)
        if actual is BUNDLE:
            if ignore_metadata:
                hint = "unzip it, and import series.csv from it"
                raise InvalidInput("FT418", "a bundle is its metadata", where=file.name, hint=hint)
            return _from_bundle(file, grid, progress)
        by, description = (None, None) if ignore_metadata else _metadata(file, actual)
        if description is not None:
            expected = _expected(description, grid, file.name)
            series = _read_recorded(_blocks(file, actual, Reading()), expected, file, progress)
            return Imported(series, description, actual, expected.digest, Notes("metadata"), by)
        if actual is not GOLD and (delimiter or decimal_comma):
            raise InvalidInput(
                "FT418",
                f"{option('delimiter')} and {option('decimal_comma')} are for CSV; this is {actual.title}",
                where=file.name,
            )
        if strict:
            stack.enter_context(_strictly())
        checker = Checker(file.name, reading)
        found = _read_external(_blocks(file, actual, reading), checker, stack, file, progress)
        if found.layout.names is None:
            said["map"] = {found.layout.time: "time_bin", **said.get("map", {})}
        if found.open_end:
            said["open_end"] = True
        if checker.assumed_utc:
            said["assumed_utc"] = True
        known = None if ignore_metadata else lookup
        return _settle(found.rows, actual, grid, policy, known, said, strict=strict)


_LOOSE = frozenset(
    (
        "align",
        "component",
        "decimal_comma",
        "delimiter",
        "duplicates",
        "ignore_extra",
        "map",
        "missing",
        "time_format",
        "timezone",
        "wide",
    )
)
"""Options that strict import refuses."""


@contextmanager
def _strictly() -> Iterator[None]:
    """Says of options that a hint names, and strict import refuses, how they are allowed."""

    def allowed(hint: str | None) -> str | None:
        if hint is not None and options(hint) & _LOOSE:
            return f"leave out {option('validate_schema')}; then {hint}"
        return hint

    try:
        yield
    except InvalidInput as error:
        if error.code == "FT404":
            looser = f"without {option('validate_schema')} times may be spelled otherwise"
            raise error.hinted(lambda hint: allowed(hint) or looser) from error
        raise error.hinted(allowed) from error


def _check_wide(wide: bool, component: str | None) -> None:
    if wide != (component is not None):
        component_of = f"{option('component', 'NAME')}, whose measures the columns are"
        missing = component_of if wide else option("wide", True)
        together = f"{option('wide')} and {option('component')} go together"
        raise InvalidInput("FT418", f"{together}; {missing}, is not given")
    problem = None if component is None else name_problem(component)
    if problem is not None:
        raise InvalidInput("FT418", f"{option('component', component)} {problem}")


def _expected(description: JSON, grid: Grid | None, source: str) -> Recorded:
    expected = recorded(description, source)
    if grid not in {None, expected.grid}:
        raise InvalidInput(
            "FT405", "the grid given is not the one in the metadata", where=source, hint=IGNORE
        )
    return expected


def _from_bundle(file: Source, grid: Grid | None, progress: Progress | None) -> Imported:
    with read_bundle(file.handle, file.name) as bundle:
        expected = _expected(bundle.description, grid, file.name)
        blocks = read_parquet(bundle.parquet, file.name, Reading())
        series = _read_recorded(blocks, expected, file, progress)
        bundle.check_csv(series)
        return Imported(
            series,
            bundle.description,
            BUNDLE,
            expected.digest,
            Notes("metadata"),
            "bundle",
            bundle.files,
        )


def _settle(
    rows: Rows,
    format: Format,
    grid: Grid | None,
    policy: Policy,
    lookup: Lookup | None,
    said: Mapping[str, Any],
    *,
    strict: bool,
) -> Imported:
    """External rows onto their grid, or back to the export that has the same content."""
    on = infer_grid(rows) if grid is None else grid
    aligned = onto_grid(rows, on, policy)
    keys = tuple(rows.keys)
    series = SeriesSet(on, keys, (None,) * len(keys), aligned.values)
    content = digest(series)
    description = lookup(content) if lookup else None
    if description is not None:
        series = _reordered(series, recorded(description, rows.source), rows.source)
        return Imported(series, description, format, content, Notes("metadata"), "digest")
    if grid is None and rows.on_the_clock and on.bins == 1:
        raise InvalidInput(
            "FT405",
            "all rows have the same time, which does not tell how long a bin is",
            where=rows.source,
            hint=f"give the grid, such as {option('grid', f'bins=1,size=1,unit=hours,start={on.label(0)}')}",
        )
    if grid is None and strict and not rows.on_the_clock:
        raise InvalidInput(
            "FT412",
            "strict import infers no grid, and the index of a bin does not tell how long it is",
            where=rows.source,
            hint=f"give the grid, {option('grid', f'bins={on.bins},size=1,unit=hours')} for bins of one hour",
        )
    notes = Notes(
        grid="inferred" if grid is None else "given",
        missing=policy.missing,
        filled=aligned.filled,
        duplicates=policy.duplicates,
        merged=aligned.merged,
        align=policy.align,
        moved=aligned.moved,
        read=said,
    )
    return Imported(series, None, format, content, notes, None)


def _reordered(series: SeriesSet, expected: Recorded, source: str) -> SeriesSet:
    """`series` in the order, on the grid and with the units that an equal table was recorded with."""
    found = SeriesSet(expected.grid, expected.keys, expected.units, series.values)
    if set(expected.keys) != set(series.keys) or not np.array_equal(found.time_bins(), series.time_bins()):
        raise InvalidInput("FT411", "the metadata recorded for this digest is another table's", where=source)
    place = {key: row for row, key in enumerate(series.keys)}
    order = [place[key] for key in expected.keys]
    if order != sorted(order):
        # Some bins at a time: a second matrix may be more than there is room for.
        for start in range(0, expected.grid.bins, 1 << 14):
            bins = slice(start, start + (1 << 14))
            series.values[:, bins] = series.values[order, bins]
    return found


def _metadata(file: Source, format: Format) -> _Metadata:
    """The description that the file carries, once its bytes are known to be those it was written with."""
    if format is PARQUET:
        if is_sealed(file.handle, file.name):
            return "footer", read_metadata(file.handle, file.name)
        return None, None
    if _has_header(file, format):
        description, sha256 = read_header(file.handle, file.name)
        if _size_and_hash(file.handle)[1] != sha256:
            raise _changed(file, "the bytes below its header differ")
        return "header", description
    wrong: InvalidInput | None = None
    for there in [path for path in file.beside if path.is_file()][:1]:
        try:
            return "sidecar", _described(file, there)
        except InvalidInput as error:
            wrong = error
    # An export that was killed between its two files has the second one ready.
    for ready in (each for path in file.beside for each in unfinished(path)):
        with suppress(InvalidInput, NotFound):
            return "sidecar", _described(file, ready)
    if wrong is not None:
        raise wrong
    return None, None


def _described(file: Source, beside: Path) -> JSON:
    """What a sidecar says of the file; raises InvalidInput unless it is this file's."""
    with translated(beside):
        if beside.stat().st_size > MAX_METADATA:
            raise InvalidInput(
                "FT411", f"the metadata is larger than {MAX_METADATA:,} bytes", where=str(beside), hint=IGNORE
            )
        sidecar = read_sidecar(beside.read_bytes(), str(beside))
    file.handle.seek(0)
    size, found = _size_and_hash(file.handle)
    if size != sidecar.bytes:
        raise _changed(file, f"it has {size:,} bytes instead of {sidecar.bytes:,}")
    if found != sidecar.sha256:
        raise _changed(file, "its bytes differ")
    return sidecar.description


def _has_header(file: Source, format: Format) -> bool:
    file.handle.seek(0)
    return format is GOLD and file.handle.read(len(COMMENT)) == COMMENT


def _changed(file: Source, why: str) -> InvalidInput:
    return InvalidInput(
        "FT410", f"the file was changed after flowtime wrote it: {why}", where=file.name, hint=IGNORE
    )


def _size_and_hash(handle: BinaryIO) -> tuple[int, str]:
    """The rest of a file: its end, and the SHA-256 from where `handle` stands."""
    whole = hashlib.sha256()
    while piece := handle.read(PIECE):
        whole.update(piece)
    return handle.tell(), "sha256:" + whole.hexdigest()


def _blocks(file: Source, format: Format, reading: Reading) -> Iterator[Block]:
    if format is PARQUET:
        return read_parquet(file.handle, file.name, reading)
    lines = skip_header(file.handle, file.name)[1] if _has_header(file, format) else 0
    if not lines:
        file.handle.seek(0)
    if format is NDJSON:
        return read_ndjson(file.handle, file.name, reading)
    return read_csv(file.handle, file.name, reading, lines + 1)


def _read_recorded(
    blocks: Iterable[Block], expected: Recorded, file: Source, progress: Progress | None
) -> SeriesSet:
    """Rows that must be those recorded, one after the other, in the recorded order."""
    source = file.name
    check_stored(stored_size(expected.grid, expected.keys), file.size, source)
    values = np.empty((len(expected.keys), expected.grid.bins))
    series = SeriesSet(expected.grid, expected.keys, expected.units, values)
    flat, bins, at = values.reshape(-1), expected.grid.bins, 0
    instants = pl.Series(series.time_bins())
    times = {
        pl.String: labels(series),
        pl.Int64: instants,
        pl.Datetime: instants.cast(pl.Datetime("us", "UTC")),
    }
    components = pl.Series([key.component for key in expected.keys], dtype=pl.String)
    measures = pl.Series([key.measure for key in expected.keys], dtype=pl.String)
    for block in blocks:
        frame = block.frame()
        found = None if frame is None else finite(frame["value"])
        if frame is None or found is None or at + frame.height > expected.rows:
            raise _not_recorded(source, at)
        row = np.arange(at, at + frame.height)
        of_series, of_bin = pl.Series(row // bins), pl.Series(row % bins)
        if not (
            frame["time_bin"].equals(times[frame["time_bin"].dtype.base_type()].gather(of_bin))
            and frame["component_id"].equals(components.gather(of_series))
            and frame["measure"].equals(measures.gather(of_series))
        ):
            raise _not_recorded(source, at)
        flat[at : at + frame.height] = found
        at += frame.height
        if progress is not None:
            progress(at, at / expected.rows)
    if at != expected.rows or digest(series) != expected.digest:
        raise _not_recorded(source, 0)
    return series


def _not_recorded(source: str, after: int) -> InvalidInput:
    return InvalidInput(
        "FT410",
        f"the rows after row {after:,} are not those that the metadata records",
        where=source,
        hint=IGNORE,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """All rows of a table of unknown origin, and in which columns they were found.

    `open_end` says that the last line had no line break.
    """

    rows: Rows
    layout: Layout
    open_end: bool = False


def _read_external(
    blocks: Iterable[Block], checker: Checker, stack: ExitStack, file: Source, progress: Progress | None
) -> _Found:
    """Raises InvalidInput where a row breaks a rule, or there is none."""
    found: _Found | None = None
    whole = file.size
    for block in blocks:
        if found is None:
            rows = Rows(checker.source, whole, block.first, len(block.layout.values), checker.clock, stack)
            found = _Found(rows, block.layout)
        found = replace(found, open_end=block.open_end)
        columns = checker.check(block)
        if checker.count:
            continue
        names = pl.DataFrame({"component": columns.component, "measure": columns.measure})
        pairs = names.unique(maintain_order=True)
        code = [rows.keys.setdefault(SeriesKey(*pair), len(rows.keys)) for pair in pairs.iter_rows()]
        check_series(len(rows.keys), whole, checker.source)
        known = pairs.with_columns(code=pl.Series(code, dtype=pl.Int32))
        joined = names.join(known, on=["component", "measure"], how="left", maintain_order="left")
        rows.add(joined["code"].to_numpy(), columns.time, columns.value)
        if progress is not None:
            progress(rows.count, min(1.0, file.handle.tell() / whole) if whole else None)
    checker.raise_bad_rows()
    if found is None or not found.rows.count:
        raise InvalidInput("FT402", "the file has no rows", where=checker.source)
    found.rows.on_the_clock = checker.on_the_clock is True
    return found
