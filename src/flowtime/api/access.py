"""Who calls: tokens of the access file, or an OIDC issuer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastapi import Request

Role = Literal["reader", "writer", "admin"]


@dataclass(frozen=True, slots=True)
class Caller:
    """A known user: a reader looks, a writer also makes and changes, an admin may see and do everything."""

    user: str
    teams: tuple[str, ...]
    role: Role


class Access:
    """Tells who calls."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def caller(self, request: Request) -> Caller | None:
        """The caller, None on an open server; raises Denied (FT828)."""
        return None
