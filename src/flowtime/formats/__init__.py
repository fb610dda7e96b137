"""Tables as bytes: the file formats by name. Light to import; the table library comes with the modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flowtime.errors import InvalidInput, did_you_mean
from flowtime.wording import option

Progress = Callable[[int, float | None], object]
"""Is told from time to time how many rows are done, and which share of the whole that is, if known."""


def half(progress: Progress | None, before: float) -> Progress | None:
    """Tells `progress` of one of two passes over the rows: the first (`before` 0) or the second (0.5)."""
    return progress and (lambda rows, share: progress(rows, None if share is None else before + share / 2))


@dataclass(frozen=True, slots=True)
class Format:
    """A form in which series leave flowtime. `sidecar`: its metadata lies beside it, not inside."""

    name: str
    title: str
    extension: str
    media_type: str
    sidecar: bool


GOLD = Format("gold", "Gold CSV", ".csv", "text/csv", sidecar=True)
NDJSON = Format("ndjson", "NDJSON", ".ndjson", "application/x-ndjson", sidecar=True)
PARQUET = Format("parquet", "Parquet", ".parquet", "application/vnd.apache.parquet", sidecar=False)
BUNDLE = Format("bundle", "Bundle", ".zip", "application/zip", sidecar=False)
XLSX = Format(
    "xlsx",
    "Excel workbook",
    ".xlsx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    sidecar=False,
)

TABLES = (GOLD, NDJSON, PARQUET)
"""The spellings of the one table; a bundle holds two of them, a workbook is for looking at."""

FORMATS: dict[str, Format] = {format.name: format for format in (*TABLES, BUNDLE)}
"""Every format that import reads, by its name."""

EXPORTS: dict[str, Format] = {**FORMATS, XLSX.name: XLSX}
"""Every format that export writes, by its name."""

ALIASES: dict[str, Format] = {"csv": GOLD}
"""Other names that people use for a format."""


def format_of(path: str) -> Format:
    """The format that the end of a file's name tells; raises InvalidInput (FT401) where it tells none."""
    for format in EXPORTS.values():
        if path.lower().endswith(format.extension):
            return format
    endings = ", ".join(f"{format.extension} ({format.name})" for format in EXPORTS.values())
    raise InvalidInput(
        "FT401", f'the name "{path}" tells no format', hint=f"name a format, or end the name with {endings}"
    )


def check_name(path: str, format: Format) -> None:
    """Raises InvalidInput (FT418) where the end of a file's name says another format."""
    said = next((each for each in EXPORTS.values() if path.lower().endswith(each.extension)), format)
    if said is not format:
        raise InvalidInput(
            "FT418",
            f'"{path}" is the name of a file in {said.title}, and {option("format", format.name)} asks for '
            f"{format.title}",
            hint=f"say which is meant: {option('format', said.name)}, or a name with {format.extension}",
        )


def format_named(text: str, among: Mapping[str, Format] = EXPORTS) -> Format:
    """The format of `among` called `text`, in any case; raises InvalidInput with the nearest known name."""
    known = {**among, **ALIASES}
    try:
        return known[text.lower()]
    except KeyError:
        raise InvalidInput(
            "FT401",
            f'there is no format "{text}"; there are {", ".join(sorted(known))}',
            hint=did_you_mean(text, known),
        ) from None
