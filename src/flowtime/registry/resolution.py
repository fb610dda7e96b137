"""Resolution: the one artifact that an id, a name or the beginning of an id stands for."""

from __future__ import annotations

from collections.abc import Sequence

from flowtime.errors import InvalidInput
from flowtime.registry.artifacts import split_version
from flowtime.registry.document import FOLDERS, JSON, a_kind
from flowtime.registry.follower import suggestions, unknown
from flowtime.registry.view import View

LISTED = 10
"""How many ids an error lists."""


def resolve(view: View, reference: str, kinds: Sequence[str]) -> tuple[str, int | None]:
    """The id that is meant, and the version where one is named."""
    base, version = split_version(reference)
    # A version of an id is never anything else; a name may end as versions do.
    if version is not None and view.get(base) is None and view.named(reference, tuple(FOLDERS)) is not None:
        base, version = reference, None
    if version is not None and "model" in kinds:
        kinds = ("model",)  # which alone has versions
    return _one(view, base, kinds), version


def _one(view: View, reference: str, kinds: Sequence[str]) -> str:
    row = view.get(reference)
    if row is not None and row["kind"] in kinds:
        return reference
    named = view.named(reference, kinds)
    if named is not None:
        return str(named["id"])
    if row is not None:
        raise _of_another_kind(reference, row, kinds)
    candidates = view.beginning(reference, kinds, LISTED + 1) if reference else []
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        more = ", ..." if len(candidates) > LISTED else ""
        listed = ", ".join(candidates[:LISTED])
        raise InvalidInput("FT503", f'several ids begin with "{reference}"', hint=f"one of: {listed}{more}")
    other = view.named(reference, tuple(FOLDERS))
    if other is not None:
        raise _of_another_kind(reference, other, kinds)
    raise unknown(reference, suggestions(view, kinds))


def _of_another_kind(reference: str, row: JSON, kinds: Sequence[str]) -> InvalidInput:
    hint = f"wanted: {' or '.join(kinds)}"
    return InvalidInput("FT507", f'"{reference}" is {a_kind(row["kind"])}', hint=hint)
