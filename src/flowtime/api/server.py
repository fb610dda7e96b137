"""What all requests share: the service, who calls, the jobs, the limits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from flowtime.api.access import Access, Caller
from flowtime.api.jobs import Jobs
from flowtime.api.metrics import Metrics
from flowtime.api.presence import Presence
from flowtime.api.shared import SharedFiles
from flowtime.api.threads import Threads
from flowtime.errors import Diagnostic, InvalidInput, did_you_mean
from flowtime.service import Flowtime
from flowtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost. Sizes are in bytes, times in seconds."""

    body: int = 2 << 30
    """A file to import."""
    document: int = 16 << 20
    """A model as text, which is read in steps."""
    fields: int = 1 << 20
    """JSON and forms, which are read in one go."""
    parts: int = 50_000
    """Lists and objects in these, each of which takes some hundred nanoseconds of everybody's time."""
    little: int = 1 << 14
    """The body at every other address."""
    silence: float = 30.0
    """How long a body may pause."""
    upload: float = 3600.0
    patience: float = 10.0
    """How long requests and jobs under way may go on when the server stops."""


@dataclass(frozen=True, slots=True)
class Config:
    """How a server was started. `auth` is the file of tokens and issuers, None for an open server;
    `hosts` are the names under which it is known, besides those of this machine; `proxies` the addresses
    from which it believes who the caller is (X-Forwarded-For) and how they came (X-Forwarded-Proto).
    """

    settings: Settings
    auth: Path | None = None
    root_path: str = ""
    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    access_log: bool = False
    """Whether every request is a line of JSON on stderr."""
    limits: Limits = field(default_factory=Limits)

    def places(self) -> tuple[str, ...]:
        """Where the server keeps things, which answers do not name: the longest first."""
        settings = self.settings
        root = settings.artifacts if "://" in settings.artifacts else str(Path(settings.artifacts).absolute())
        paths = [settings.cache, settings.templates, self.auth, Path(tempfile.gettempdir())]
        found = {root, *(str(path.absolute()) for path in paths if path is not None)}
        return tuple(sorted((place for place in found if len(place) > 1), key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of a running server."""

    config: Config
    service: Flowtime
    access: Access
    jobs: Jobs
    metrics: Metrics
    presence: Presence
    threads: Threads = field(default_factory=Threads)
    shared: SharedFiles = field(default_factory=SharedFiles)


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the use cases as its caller may have them. `caller` is None on an open server."""

    request: Request
    server: Server
    caller: Caller | None

    @property
    def service(self) -> Flowtime:
        """The use cases, of what the caller may read."""
        caller = self.caller
        if caller is None:
            return self.server.service
        return self.server.service.seen_by(caller.user, caller.teams, admin=caller.role == "admin")

    @property
    def owner(self) -> str:
        """Whose the jobs of this request are."""
        return self.server.config.settings.owner if self.caller is None else self.caller.user

    @property
    def oversees(self) -> str | None:
        """Whose jobs the caller may see: their own; None, all jobs, for an admin and on an open server."""
        return None if self.caller is None or self.caller.role == "admin" else self.caller.user


def server_of(request: Request) -> Server:
    """The server that a request is sent to."""
    server: Server = request.app.state.server
    return server


def known_query(request: Request) -> None:
    """Raises InvalidInput (FT822) where the query has a parameter that the address does not take."""
    route = request.scope["route"]
    known = tuple(dict.fromkeys(_query_of(route.dependant)))
    errors = []
    for name in dict.fromkeys(request.query_params):
        if name not in known:
            takes = f"known: {', '.join(known)}" if known else "this address takes no parameters"
            hint = did_you_mean(name, known) or takes
            errors.append(
                Diagnostic("FT822", f'"{name}" is not known here', source=f"query.{name}", hint=hint)
            )
    if errors:
        message = (
            f"query: {errors[0].message}"
            if len(errors) == 1
            else f"the query has {len(errors)} unknown names"
        )
        raise InvalidInput("FT822", message, hint=errors[0].hint, errors=errors)


def _query_of(dependant: Any) -> Iterator[str]:
    """The names of the query parameters of a route and of all that it depends on; of a model its fields."""
    for each in dependant.query_params:
        fields = getattr(each.field_info.annotation, "model_fields", None)
        if fields is None:
            yield each.alias
        else:
            yield from (field.alias or name for name, field in fields.items())
    for other in dependant.dependencies:
        yield from _query_of(other)


_BEARER = HTTPBearer(
    auto_error=False, description="A token that whoever runs the server made, or one of an OIDC issuer."
)


def reading(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)] = None
) -> Call:
    """A request that may look. The guard has found out who calls, before the body was read."""
    return Call(request, server_of(request), request.state.caller)


def writing(call: Annotated[Call, Depends(reading)]) -> Call:
    """A request that may change something: the guard lets no reader through to who asks for it."""
    return call


def administering(call: Annotated[Call, Depends(reading)]) -> Call:
    """A request that takes in what belongs to all: the guard lets only admins through to who asks for it."""
    return call


Reading = Annotated[Call, Depends(reading)]
Writing = Annotated[Call, Depends(writing)]
Administering = Annotated[Call, Depends(administering)]
