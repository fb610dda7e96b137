"""Errors as RFC 9457 problem details: one shape on every path, with the code that the other faces show."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from flowtime.errors import (
    CODES,
    Diagnostic,
    FlowtimeError,
    InternalError,
    InvalidInput,
    Kind,
    NotFound,
)

MEDIA_TYPE = "application/problem+json"

_STATUS: dict[Kind, int] = {
    "invalid": 422,
    "not_found": 404,
    "conflict": 409,
    "denied": 403,
    "unavailable": 503,
    "internal": 500,
}
_STATUS_OF_CODE = {
    "FT821": 405,
    "FT822": 400,
    "FT823": 412,
    "FT824": 413,
    "FT825": 416,
    "FT826": 415,
    "FT827": 408,
    "FT828": 401,
    "FT831": 421,
    "FT832": 429,
    "FT835": 503,
}
"""Codes of the HTTP layer whose status is not that of their kind."""

_LATER = ("FT832", "FT838", "FT839")
"""What a caller may try again after a minute."""

_FRAMEWORK = {404: ("FT820", NotFound), 405: ("FT821", InvalidInput), 416: ("FT825", InvalidInput)}
"""What the framework raises by itself, by status; anything else is a bad request."""

Show = Callable[[FlowtimeError, Request], Response | None]
"""Makes a response of an error for callers who want no problem, None for all others."""

_log = logging.getLogger("flowtime.api")


def status_of(error: FlowtimeError) -> int:
    """The HTTP status of an error."""
    return _STATUS_OF_CODE.get(error.code, _STATUS[error.kind])


def problem(error: FlowtimeError, root_path: str = "") -> dict[str, Any]:
    """An error as the members of RFC 9457, with the fields that the other faces print."""
    return {
        "type": f"{root_path}/v1/errors/{error.code}",
        "title": CODES[error.code].title,
        "status": status_of(error),
        "detail": error.message,
        **error.to_json(),
    }


def respond(error: FlowtimeError, request: Request) -> Response:
    """The response that tells of an error: a problem, or what the application's `show_error` makes of it."""
    show: Show | None = getattr(request.app.state, "show_error", None)
    shown = None if show is None else show(error, request)
    return _problem(error, request) if shown is None else shown


def _problem(error: FlowtimeError, request: Request) -> Response:
    headers = {"Cache-Control": "no-store"}
    if error.code == "FT828":
        headers["WWW-Authenticate"] = 'Bearer realm="flowtime"'
    if error.code in _LATER:
        headers["Retry-After"] = "60"
    if error.code == "FT825":
        headers["Content-Range"] = f"bytes */{request.state.size}"
    body = msgspec.json.encode(problem(error, request.scope.get("root_path", "")))
    return Response(body, status_of(error), headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem of this shape."""
    app.add_exception_handler(FlowtimeError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, defect)


def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, FlowtimeError)
    return respond(error, request)


def _invalid(request: Request, error: Exception) -> Response:
    """What the framework finds wrong in parameters and bodies, each with where it stands."""
    assert isinstance(error, RequestValidationError)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.endswith("json") and error.errors()[0]["type"] == "model_attributes_type":
        # curl calls every body a form unless told otherwise.
        message = f"the body is sent as {kind}" if kind else "the body has no Content-Type"
        return respond(InvalidInput("FT826", message, hint="send Content-Type: application/json"), request)
    errors = [
        Diagnostic("FT822", str(found["msg"]), source=".".join(map(str, found["loc"])))
        for found in error.errors()
    ]
    first = errors[0]
    return respond(
        InvalidInput("FT822", f"{first.source}: {first.message}", errors=errors, hint="see /openapi.json"),
        request,
    )


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, kind = _FRAMEWORK.get(error.status_code, ("FT822", InvalidInput))
    response = respond(kind(code, f"{request.method} {request.url.path}: {error.detail}"), request)
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        # The framework names the methods of the first function at the address alone.
        routes = [route for route in request.app.state.routes if route.path_regex.match(path)]
        response.headers["Allow"] = ", ".join(sorted({name for route in routes for name in route.methods}))
    return response


def _gone(_: Request, error: Exception) -> Response:
    """Nobody reads this; the log tells of it by a status of its own, as other servers do."""
    assert isinstance(error, ClientDisconnect)
    return Response(status_code=499)


def defect(request: Request, error: Exception) -> Response:
    """The response to a request in which flowtime itself failed."""
    # The server logs the traceback; the caller gets nothing that could tell of the inside.
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    hint = "the server's log has the details; please report it"
    return respond(InternalError("FT900", type(error).__name__, hint=hint), request)
