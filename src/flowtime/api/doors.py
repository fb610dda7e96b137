"""Who may come through each address, and with how large a body: known before a body is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from flowtime.api.access import Caller
from flowtime.api.server import Limits, administering, reading, writing
from flowtime.errors import Denied

Who = Literal["anyone", "reader", "writer", "admin"]
Size = Literal["little", "fields", "document", "body"]
"""The limit of a body: a field of Limits."""

_Handler = TypeVar("_Handler", bound=Callable[..., object])
_NEEDS: tuple[tuple[Callable[..., object], Who], ...] = (
    (administering, "admin"),
    (writing, "writer"),
    (reading, "reader"),
)


def takes(size: Size) -> Callable[[_Handler], _Handler]:
    """Says how large a body a handler takes, where that is more than a little."""

    def noted(handler: _Handler) -> _Handler:
        handler.__dict__["takes"] = size
        return handler

    return noted


@dataclass(frozen=True, slots=True)
class Door:
    """An address: `who` has to call at least, and how large the body may be."""

    route: APIRoute
    who: Who
    size: Size

    def limit(self, limits: Limits) -> int:
        """The largest body in bytes."""
        return int(getattr(limits, self.size))

    def admit(self, caller: Caller | None) -> None:
        """Raises Denied (FT829) where the caller's role is not enough; None is the user of an open server."""
        if caller is None:
            return
        if self.who == "admin" and caller.role != "admin":
            raise Denied(
                "FT829",
                f"{caller.user} is not an admin, and this takes in what belongs to others",
                hint="ask an admin to do it",
            )
        if self.who == "writer" and caller.role == "reader":
            raise Denied("FT829", f"{caller.user} may read, not change", hint="ask for the role of a writer")


class Doors:
    """The doors of an application, in the order in which its routes are tried."""

    def __init__(self) -> None:
        self._all: list[Door] = []

    def __iter__(self) -> Iterator[Door]:
        return iter(self._all)

    def add(self, router: APIRouter) -> None:
        """Adds those of a router."""
        self._all += [_door(route) for route in router.routes if isinstance(route, APIRoute)]

    def find(self, scope: Scope) -> Door | None:
        """The door that a request comes to; None where there is no such address, or not for its method."""
        found = (door for door in self._all if door.route.matches(scope)[0] is Match.FULL)
        return next(found, None)

    def methods(self, path: str) -> list[str]:
        """The methods that an address takes."""
        routes = [door.route for door in self._all if door.route.path_regex.match(path)]
        return sorted({name for route in routes for name in route.methods or ()})


def _door(route: APIRoute) -> Door:
    called = set(_called(route.dependant))
    who: Who = next((who for dependency, who in _NEEDS if dependency in called), "anyone")
    return Door(route, who, getattr(route.endpoint, "takes", "little"))


def _called(dependant: Dependant) -> Iterator[object]:
    for each in dependant.dependencies:
        yield each.call
        yield from _called(each)
