"""Tables as bytes: the file formats by name. Light to import; the table library comes with the modules."""

from __future__ import annotations

from dataclasses import dataclass

from flowtime.errors import InvalidInput, did_you_mean


@dataclass(frozen=True, slots=True)
class Format:
    """A spelling of the one table. `sidecar` says whether its metadata lies beside it or inside."""

    name: str
    title: str
    extension: str
    media_type: str
    sidecar: bool


GOLD = Format("gold", "Gold CSV", ".csv", "text/csv", sidecar=True)
NDJSON = Format("ndjson", "NDJSON", ".ndjson", "application/x-ndjson", sidecar=True)
PARQUET = Format("parquet", "Parquet", ".parquet", "application/vnd.apache.parquet", sidecar=False)

FORMATS: dict[str, Format] = {format.name: format for format in (GOLD, NDJSON, PARQUET)}
"""Every format by its name."""

ALIASES: dict[str, Format] = {"csv": GOLD}
"""Other names that people use for a format."""


def format_named(text: str) -> Format:
    """The format called `text`, in any case; raises InvalidInput with the nearest known name."""
    known = FORMATS | ALIASES
    try:
        return known[text.lower()]
    except KeyError:
        raise InvalidInput(
            "FT401",
            f'there is no format "{text}"; there are {", ".join(sorted(known))}',
            hint=did_you_mean(text, known),
        ) from None
