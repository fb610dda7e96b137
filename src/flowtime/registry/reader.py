"""Who asks, and what they may read and change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flowtime.core.labels import normal
from flowtime.errors import Denied

_OWNERS = frozenset({"owner", "team", "visibility"})
"""What says whose an artifact is and who may read it."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A user and their teams; an admin may read everything.

    An artifact may be read by its owner, when it is `public` by everybody, when it is `team` by its
    `team`. Every other visibility, such as one of a newer flowtime, counts as `private`. Without a user
    name, only public artifacts are there.
    """

    user: str
    teams: tuple[str, ...] = ()
    admin: bool = False

    def __post_init__(self) -> None:
        """Gives the names their one spelling."""
        object.__setattr__(self, "user", normal(self.user))
        object.__setattr__(self, "teams", tuple(map(normal, self.teams)))

    def may_read(self, catalog: Mapping[str, Any]) -> bool:
        """Whether this reader may read the artifact with this catalog."""
        visibility = catalog.get("visibility")
        return (
            self.admin
            or visibility == "public"
            or self._made(catalog)
            or (visibility == "team" and _spelled(catalog, "team") in self.teams)
        )

    def may_change(self, catalog: Mapping[str, Any]) -> bool:
        """Whether this reader may change or delete the artifact: their own, or their team's where its
        visibility is `team`.
        """
        return self.owns(catalog) or (
            catalog.get("visibility") == "team" and _spelled(catalog, "team") in self.teams
        )

    def owns(self, catalog: Mapping[str, Any]) -> bool:
        """Whether the artifact is this reader's own, as every one is an admin's."""
        return self.admin or self._made(catalog)

    def _made(self, catalog: Mapping[str, Any]) -> bool:
        return bool(self.user and _spelled(catalog, "owner") == self.user)

    def hold(self, id: str, catalog: Mapping[str, Any], fields: Iterable[str] = ()) -> None:
        """Raises Denied (FT829) where this reader may not change these fields of the artifact, or the whole
        of it. Owner, team and visibility are its owner's to change.
        """
        if not self.may_change(catalog):
            raise Denied(
                "FT829",
                f'"{id}" is {catalog.get("owner")}\'s',
                hint="only its owner, an admin, and with visibility team its team may change it",
            )
        kept = sorted(_OWNERS.intersection(fields))
        if kept and not self.owns(catalog):
            raise Denied(
                "FT829",
                f'{", ".join(kept)} of "{id}" cannot be changed by {self.user}',
                hint=f"{catalog.get('owner')}, its owner, or an admin may",
            )


def _spelled(catalog: Mapping[str, Any], field: str) -> str | None:
    """A name of the catalog in its one spelling; None where it has none."""
    text = catalog.get(field)
    return normal(text) if isinstance(text, str) else None
