"""Errors as RFC 9457 problem details: one shape on every path, with the code that the other faces show."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

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
}
"""Codes of the HTTP layer whose status is not that of their kind."""

_FRAMEWORK = {404: ("FT820", NotFound), 405: ("FT821", InvalidInput), 416: ("FT825", InvalidInput)}
"""What the framework raises by itself, by status; anything else is a bad request."""

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
    """The response that tells of an error."""
    headers = {"Cache-Control": "no-store"}
    if error.code == "FT828":
        headers["WWW-Authenticate"] = 'Bearer realm="flowtime"'
    if error.code == "FT832":
        headers["Retry-After"] = "60"
    body = msgspec.json.encode(problem(error, request.scope.get("root_path", "")))
    return Response(body, status_of(error), headers, MEDIA_TYPE)


def install(app: FastAPI, tell: Callable[[FlowtimeError, Request], Response] = respond) -> None:
    """Makes every error of the application a FlowtimeError, and a response by `tell`."""

    def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, FlowtimeError)
        return tell(error, request)

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return tell(_invalid(error), request)

    def defect(request: Request, error: Exception) -> Response:
        return tell(_defect(request, error), request)

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = tell(_refused(request, error), request)
        response.headers.update(error.headers or {})
        return response

    app.add_exception_handler(FlowtimeError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, defect)


def _invalid(error: RequestValidationError) -> FlowtimeError:
    """What the framework finds wrong in parameters and bodies, each with where it stands."""
    errors = [
        Diagnostic("FT822", str(found["msg"]), source=".".join(map(str, found["loc"])))
        for found in error.errors()
    ]
    first = errors[0]
    return InvalidInput("FT822", f"{first.source}: {first.message}", errors=errors, hint="see /docs")


def _refused(request: Request, error: HTTPException) -> FlowtimeError:
    code, kind = _FRAMEWORK.get(error.status_code, ("FT822", InvalidInput))
    return kind(code, f"{request.method} {request.url.path}: {error.detail}")


def _defect(request: Request, error: Exception) -> FlowtimeError:
    # The server logs the traceback; the caller gets nothing that could tell of the inside.
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    hint = "the server's log has the details; please report it"
    return InternalError("FT900", type(error).__name__, hint=hint)
