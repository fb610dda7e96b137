"""What somebody means who removes something or brings it back: a full id, or a name that only one has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from flowtime.core.labels import normal
from flowtime.errors import Conflict, InvalidInput, NotFound
from flowtime.registry.artifacts import split_version
from flowtime.registry.view import View
from flowtime.wording import option

_LISTED = 10


def meant(view: View, reference: str) -> str | None:
    """The full id of the artifact that is meant, None where there is none.

    Raises InvalidInput: FT502 for one version of a model, FT503 with the candidates.
    """
    base, version = split_version(reference)
    if version is not None and view.get(base) is not None:
        hint = "only all of them can be deleted"
        raise InvalidInput("FT502", f"{reference} is one version of a model", hint=hint)
    if view.get(reference) is not None:
        return reference
    named = view.all_named(normal(reference))
    return only(reference, named) if named else None


def only(name: str, ids: Sequence[str]) -> str:
    """The one of `ids`; raises InvalidInput (FT503) with the candidates where there are several."""
    if len(ids) == 1:
        return ids[0]
    more = ", ..." if len(ids) > _LISTED else ""
    hint = f"one of: {', '.join(ids[:_LISTED])}{more}"
    raise InvalidInput("FT503", f'several artifacts are named "{name}"', hint=hint)


def refuse(reference: str, id: str) -> NoReturn:
    """Raises NotFound (FT501) for the beginning of an id, which is enough to look and not to delete."""
    raise NotFound("FT501", f'no artifact has the id or the name "{reference}"', hint=f"the full id is {id}")


def holds(parent: Mapping[str, Any], child: Mapping[str, Any]) -> bool:
    """Whether a child keeps its parent from being deleted, by whose they are: the parent's owner or team
    made it.
    """
    team = parent.get("team") if parent.get("visibility") == "team" else None
    return child.get("owner") == parent.get("owner") or (team is not None and child.get("team") == team)


def used(id: str, children: Sequence[str]) -> Conflict:
    """The error (FT505) that others were made from what is to go."""
    more = f" and {len(children) - _LISTED} more" if len(children) > _LISTED else ""
    return Conflict(
        "FT505",
        f'"{id}" has others made from it: {", ".join(children[:_LISTED])}{more}',
        hint=f"{option('force', True)} deletes it all the same",
    )
