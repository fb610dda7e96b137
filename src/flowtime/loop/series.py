"""The table of a run or telemetry: written once, summed up for the catalog, read back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from flowtime.core.canonical import JSON
from flowtime.core.grid import Grid
from flowtime.core.series import FloatArray, SeriesKey, SeriesSet, sparkline
from flowtime.errors import InvalidInput, Unavailable
from flowtime.formats import GOLD, Progress
from flowtime.formats.export import export_stream
from flowtime.formats.stretches import Stored
from flowtime.registry import Registry
from flowtime.registry.catalog import Measure, Summary
from flowtime.wanted import still_wanted

DATA_FILE = "binned_v0.csv"
_RESTORE = "restore it from a backup, or delete the artifact and run again"


def write_series(series: SeriesSet, path: Path) -> str:
    """Writes the artifact's table, which is exactly the gold CSV; returns the file's SHA-256.

    All the while it asks whether it is `still_wanted`.
    """
    with path.open("wb") as file:
        return export_stream(series, None, GOLD, file, progress=lambda *_: still_wanted()).sha256


def measures(series: SeriesSet) -> list[Measure]:
    """Each series in a line: unit, min, mean, max, missing bins, the bin of the largest value, sparkline."""
    entries = []
    for key, unit, values in series:
        still_wanted()
        absent = np.isnan(values)
        missing = int(np.count_nonzero(absent))
        present = values[~absent] if missing else values
        low, high = (float(present.min()), float(present.max())) if present.size else (None, None)
        mean = None if low is None or high is None else _mean(present, max(-low, high))
        at = None if high is None else int(np.nanargmax(values))
        summary = Summary(min=low, mean=mean, max=high, missing=missing, max_bin=at)
        entries.append(
            Measure(
                component=key.component,
                measure=key.measure,
                unit=unit,
                summary=summary,
                spark=sparkline(values),
            )
        )
    return entries


def table_of(registry: Registry, id: str) -> JSON:
    """The catalog of a run or telemetry with a table; raises NotFound (FT501), Unavailable (FT805)."""
    catalog = registry.catalog(id)
    if catalog["grid"] and catalog["data"]:
        return catalog
    why = next((str(each.get("message")) for each in catalog["warnings"]), f"there is no {DATA_FILE}")
    raise Unavailable("FT805", f"{id}: its table cannot be read: {why}", hint=_RESTORE)


def _mean(values: FloatArray, largest: float) -> float:
    """The mean, also of values whose sum overflows; `largest` is their largest magnitude."""
    scale = max(largest / 1e300, 1.0)
    return float((values / scale).mean() * scale) if scale > 1.0 else float(values.mean())


def read_series(registry: Registry, id: str, progress: Progress | None = None) -> SeriesSet:
    """The series of a run or telemetry, bit for bit.

    Raises NotFound (FT501) or Unavailable (FT805) where the artifact was damaged.
    """
    with as_published(id):
        return stored(registry, id).series(progress)


def stored(registry: Registry, id: str) -> Stored:
    """The series of a run or telemetry, to be read while they are written elsewhere.

    Raises NotFound (FT501) or Unavailable (FT805) where the catalog does not name them; who reads them says
    `as_published` around it.
    """
    catalog = table_of(registry, id)
    content = next((entry for entry in catalog["contents"] if entry["name"] == DATA_FILE), None)
    if content is None:
        raise Unavailable("FT805", f"{id}: its catalog names no {DATA_FILE}", hint=_RESTORE)
    return Stored(
        Grid.from_json(catalog["grid"]),
        tuple(SeriesKey(m["component"], m["measure"]) for m in catalog["measures"]),
        tuple(m["unit"] for m in catalog["measures"]),
        lambda: registry.unchecked(id, DATA_FILE),
        content["bytes"],
        content["sha256"],
        f"{registry.folder(id)}/{DATA_FILE}",
    )


@contextmanager
def as_published(id: str) -> Iterator[None]:
    """Says of a file that is not the one published (FT410) whose it is; raises Unavailable (FT805)."""
    try:
        yield
    except InvalidInput as error:
        if error.code != "FT410":
            raise
        raise Unavailable(
            "FT805",
            f"{id}: {DATA_FILE} is not what was published: {error.message}",
            where=error.where,
            hint=_RESTORE,
        ) from error
