"""Options of use cases that several methods share, declared once: every face gives these, under these names.

What is left out has the default of the function that the class names. A test holds that both have the same
options.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict

from flowtime.errors import did_you_mean

Rows = Callable[[int, float | None], object]
"""Told of the rows done, and of the share of the whole where it is known. It may raise to end the work."""


class Labels(TypedDict, total=False):
    """What people say of an artifact when they make it, its name apart: `loop.models.Label`. None means that
    nothing was said.
    """

    description: str | None
    owner: str | None
    tags: tuple[str, ...]
    visibility: str | None


class Edits(TypedDict, total=False):
    """What can be changed of an artifact: `registry.Registry.edit`."""

    name: str
    description: str
    owner: str
    team: str | None
    visibility: str
    star: bool
    tags: Iterable[str]


class Finds(TypedDict, total=False):
    """What to list, conditions apart: `registry.Query`."""

    kinds: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    owner: str | None
    text: str | None
    columns: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    starred: bool
    sort: str
    ranked: bool
    page: int
    size: int


class Exports(TypedDict, total=False):
    """How an export is written: `formats.export.export_file`."""

    embed: bool
    progress: Rows | None


class Imports(TypedDict, total=False):
    """How a file of other programs is read: `formats.telemetry.import_file`."""

    rename: Mapping[str, str] | None
    wide: bool
    component: str | None
    delimiter: str | None
    decimal_comma: bool
    time_format: str | None
    timezone: str | None
    missing: str
    duplicates: str
    align: str | None
    ignore_extra: bool
    ignore_metadata: bool
    strict: bool
    progress: Rows | None


class Charts(TypedDict, total=False):
    """Which series are drawn, and where: `loop.views.chart_of`."""

    components: Collection[str]
    measures: Collection[str]
    picked: Collection[int]
    start: int
    stop: int | None
    points: int | None


class Stretch(TypedDict, total=False):
    """Which bins are drawn, and of how many points: `loop.views.overlay_of`."""

    start: int
    stop: int | None
    points: int | None


def hold_known(what: str, given: Mapping[str, Any], options: type) -> None:
    """Raises TypeError with the nearest name where an option is not one of `options`, a class of here."""
    known = options.__annotations__
    for name in given:
        if name not in known:
            nearest = did_you_mean(name, known) or f"it takes {', '.join(known)}"
            raise TypeError(f"{what} has no option {name!r}: {nearest}")
