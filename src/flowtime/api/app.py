"""The application: all addresses of the HTTP API over one registry."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from flowtime.api import artifacts, imports, login, models, problems, runs, system
from flowtime.api.access import Access
from flowtime.api.guard import Guard
from flowtime.api.jobs import Jobs
from flowtime.api.metrics import Metrics
from flowtime.api.server import Config, Server
from flowtime.service import Flowtime
from flowtime.version import __version__

_DESCRIPTION = """\
Everything that the `flowtime` command does, over HTTP. JSON responses are what the command prints with
`--json`, with links in place of paths. Errors are problems (RFC 9457) of one shape.
"""
_PATIENCE = 10.0
"""Seconds that running jobs get to end when the server stops."""


def create(config: Config) -> FastAPI:
    """The application for this configuration."""
    service, cache = Flowtime(config.settings, takes_files=False), config.settings.cache
    # Servers of one user share the cache folder, and neither each other's jobs nor each other's sessions.
    auth = "" if config.auth is None else str(config.auth.resolve())
    server = Server(
        config,
        service=service,
        access=Access(config.auth, cache / "sessions" / _key(auth)),
        jobs=Jobs(cache / "jobs" / _key(service.registry.store.url)),
        metrics=Metrics(),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        server.jobs.recover()
        yield
        server.jobs.stop(_PATIENCE)
        server.service.registry.close()

    app = FastAPI(
        title="flowtime",
        version=__version__,
        description=_DESCRIPTION,
        root_path=config.root_path,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.server = server
    for part in (artifacts, models, runs, imports, system, login):
        app.include_router(part.router)
    problems.install(app)
    app.add_middleware(Guard, server=server)
    return app


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
