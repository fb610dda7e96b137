"""The HTTP API and the pages as one application, which `flowtime serve` runs."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from flowtime.api import app as api
from flowtime.api import problems
from flowtime.api.responses import asked, local
from flowtime.api.server import Config
from flowtime.api.serving import configured
from flowtime.errors import FlowtimeError
from flowtime.web import lists, making, pages, viewing, working
from flowtime.web.rendering import address, page


def create(config: Config) -> FastAPI:
    """The application for this configuration."""
    app = api.create(config)
    for part in (lists, making, pages, viewing, working):
        api.include(app, part.router, described=False)
    app.state.show_error = _show
    return app


def application() -> FastAPI:
    """The application of a worker process, as the process that started it configured it."""
    return create(configured())


def _show(error: FlowtimeError, request: Request) -> Response | None:
    """An error as a page, for a browser that opens one."""
    if "text/html" not in request.headers.get("accept", "") or "hx-request" in request.headers:
        return None
    status = problems.status_of(error)
    if error.code == "FT828":
        onward = asked(request.scope) + (f"?{request.url.query}" if request.url.query else "")
        return Response(status_code=303, headers={"Location": address(request, "/login", next=local(onward))})
    return page(request, "error.html", status=status, error=problems.problem(error))
