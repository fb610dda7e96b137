"""The application: all addresses of the HTTP API over one registry."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import FrameType

from fastapi import APIRouter, Depends, FastAPI
from fastapi import params as parameters
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from flowtime.api import artifacts, imports, login, models, openapi, problems, runs, system
from flowtime.api.access import Access
from flowtime.api.compression import Compression
from flowtime.api.connections import SHORTAGE
from flowtime.api.doors import Doors
from flowtime.api.guard import Guard
from flowtime.api.jobs import Jobs
from flowtime.api.metrics import Metrics
from flowtime.api.presence import Presence
from flowtime.api.server import Config, Server, known_query
from flowtime.service import Flowtime
from flowtime.version import __version__

_DESCRIPTION = """\
Everything that the `flowtime` command does, over HTTP. JSON responses are what the command prints as JSON,
with links in place of paths. Errors are problems (RFC 9457) of one shape.
"""


def create(config: Config) -> FastAPI:
    """The application for this configuration."""
    service, cache = Flowtime(config.settings, takes_files=False), config.settings.cache
    # Servers of one user share the cache folder, and neither each other's jobs nor each other's sessions.
    folder = cache / f"server-{_key(service.place)}"
    auth = "" if config.auth is None else str(config.auth.resolve())
    presence = Presence(folder / "processes")
    places = config.places()
    jobs = Jobs(folder / "jobs", presence, places)
    server = Server(
        config,
        service=service,
        access=Access(config.auth, cache / "sessions" / _key(auth)),
        jobs=jobs,
        metrics=Metrics(lambda: jobs.running),
        presence=presence,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_exception_handler(SHORTAGE.handle)
        presence.enter()
        with _told_of_the_end(server):
            yield
        await run_in_threadpool(server.jobs.stop, config.limits.patience)
        presence.leave()
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
        # An address with a slash at its end is taken without it by the guard: a proxy would not know where
        # the framework leads, nor a client send a body again.
        redirect_slashes=False,
        generate_unique_id_function=openapi.operation_id,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.server = server
    app.state.places = places
    app.state.doors = Doors()
    for part in (artifacts, models, runs, imports, system):
        include(app, part.router, dependencies=[Depends(known_query)])
    include(app, login.router)  # issuers may send more back than they were asked for
    app.openapi = lambda: openapi.describe(app)  # type: ignore[method-assign]
    problems.install(app)
    app.add_middleware(Compression, places=server.threads.pieces)
    app.add_middleware(Guard, server=server, doors=app.state.doors)
    return app


def include(
    app: FastAPI,
    router: APIRouter,
    *,
    described: bool = True,
    dependencies: Sequence[parameters.Depends] = (),
) -> None:
    """Puts the addresses of a router into the application, answering HEAD wherever there is a GET."""
    for route in router.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")
    app.include_router(router, include_in_schema=described, dependencies=list(dependencies))
    app.state.doors.add(router)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def _told_of_the_end(server: Server) -> Iterator[None]:
    """Work under way is told to stop some seconds after a signal has asked, within the block, for the end.

    The web server stops listening at the signal, and tells the application only when all requests have
    ended, of which some may take long. Jobs get what is left of these seconds then.
    """
    timer = threading.Timer(server.config.limits.patience, server.jobs.stopping.set)
    timer.daemon = True
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            timer.start()
        before = handlers[signal.Signals(number)]
        if callable(before):
            before(number, frame)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in handlers:
        signal.signal(number, ask)
    try:
        yield
    finally:
        if not asked:
            timer.cancel()
        for number, handler in handlers.items():
            signal.signal(number, handler)
