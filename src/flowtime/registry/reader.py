"""Who asks, and what they may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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

    def may_read(self, catalog: Mapping[str, Any]) -> bool:
        """Whether this reader may read the artifact with this catalog."""
        visibility = catalog.get("visibility")
        return (
            self.admin
            or visibility == "public"
            or bool(self.user and catalog.get("owner") == self.user)
            or (visibility == "team" and catalog.get("team") in self.teams)
        )
