"""Errors as RFC 9457 problem details: one shape on every path, with the code that the other faces show."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from flowtime.api.connections import SHORTAGE
from flowtime.api.responses import asked, unheld
from flowtime.errors import (
    CODES,
    Diagnostic,
    FlowtimeError,
    InternalError,
    InvalidInput,
    Kind,
    NotFound,
    Unavailable,
)
from flowtime.wording import HTTP, PAGE, Face, action

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

_STORAGE = (
    "FT415", "FT511", "FT512", "FT601", "FT602", "FT603", "FT604", "FT605", "FT606", "FT607", "FT608",
    "FT609",
)  # fmt: skip
"""Codes of what the server stands on, which speak of its disk, its bucket and its settings."""
_OF_ARTIFACTS = ("FT510", "FT513", "FT805")
"""Codes of the registry whose messages callers need, without the place."""
_PLACE = re.compile(r"""[a-z][a-z0-9+.-]*://[^\s'"]+|(['"])/.*?\1|(?<![\w<>])/[^\s'":,]+""")

_LATER = ("FT609", "FT832", "FT838", "FT839")
"""What a caller may try again after a minute."""

_ALLOWED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "an object",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt:,}",
    "greater_than_equal": "{ge:,} or more",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of 64 bits",
    "int_type": "a whole number",
    "less_than": "less than {lt:,}",
    "less_than_equal": "{le:,} or less",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_attributes_type": "an object",
    "model_type": "an object",
    "string_too_long": "a text of at most {max_length:,} characters",
    "string_too_short": "a text of at least {min_length:,} characters",
    "string_type": "a text",
}
"""What is allowed where the framework finds something else, by the type of its error."""
_SHAPES = {dict: "an object", list: "a list", bytes: "bytes", type(None): "null"}
"""How values are shown that are not shown whole."""
_SHOWN = 100

Show = Callable[[FlowtimeError, Request], Response | None]
"""Makes a response of an error for callers who want no problem, None for all others."""

_log = logging.getLogger("flowtime.api")


def face_of(request: Request) -> Face:
    """In whose words a request is answered: a page that asks by a script says so, or says that it is htmx."""
    headers = request.headers
    pages = "hx-request" in headers or "text/html" in headers.get("accept", "")
    return PAGE if pages or headers.get("x-flowtime-face") == "page" else HTTP


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


def outward(error: FlowtimeError, places: Sequence[str] = ()) -> FlowtimeError:
    """The error as callers may see it: it names no path, endpoint or bucket of the server, whose log has it.

    What storage says in its own words is left out. Where only the place tells, it alone is. In all others the
    `places` of the server are left out, should one of them be there.
    """
    if error.code not in (*_STORAGE, *_OF_ARTIFACTS):
        names = any(place in text for text in _texts(error) for place in places)
        return error.revised(lambda text: _without(text, places)) if names else error
    _log.warning("%s at %s: %s", error.code, error.where, error.message)
    kind = type(error)
    if error.code in _STORAGE:
        return kind(error.code, CODES[error.code].explanation, hint="the log of the server says more")
    found = error.revised(lambda text: _PLACE.sub("...", _without(text, places)))
    return kind(error.code, found.message, hint=found.hint, count=found.count)


def _texts(error: FlowtimeError) -> Iterator[str]:
    yield from filter(None, (error.message, error.where, error.hint))
    for each in error.errors:
        yield from filter(None, (each.message, each.source, each.hint))


def _without(text: str, places: Sequence[str]) -> str:
    for place in places:
        text = text.replace(place, "...")
    return text


def respond(error: FlowtimeError, request: Request) -> Response:
    """The response that tells of an error: a problem, or what the application's `show_error` makes of it."""
    error = outward(error, getattr(request.app.state, "places", ())).worded(face_of(request))
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
    """Makes every error of the application a problem of this shape; defects are the guard's."""
    app.add_exception_handler(FlowtimeError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(ClientDisconnect, _gone)


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
    return respond(wrong(error.errors()), request)


def wrong(found: Sequence[Any], where: str = "") -> InvalidInput:
    """The error (FT822) for what the framework finds wrong: each of `found` with its `type`, its place `loc`,
    the `input` and the context `ctx` of pydantic's errors. `where` is the place of all of them.
    """
    errors = []
    for each in found:
        place = ".".join(map(str, (*filter(None, [where]), *each["loc"])))
        errors.append(Diagnostic("FT822", _said(each), source=place))
    message = errors[0].message if len(errors) == 1 else f"the request has {len(errors):,} problems"
    return InvalidInput("FT822", message, errors=errors, hint=action("described"))


def _said(found: Any) -> str:
    """One thing that the framework finds wrong, in our words."""
    kind, context = found["type"], found.get("ctx", {})
    inside = found["loc"] if found["loc"][:1] not in (("query",), ("body",)) else found["loc"][1:]
    name = ".".join(map(str, inside)) or "the body"
    if kind == "missing":
        return f"{name} is missing"
    if kind == "json_invalid":
        return f"the body is not JSON: {context['error']} (character {found['loc'][-1]})"
    if kind == "extra_forbidden":
        return f"{name} is not known here"
    if kind == "value_error":
        return f"{name}: {context['error']}"
    allowed = _ALLOWED.get(kind)
    if allowed is None:
        return f"{name}: {found['msg']}"
    given = found["input"]
    shown = _SHAPES.get(type(given)) or json.dumps(given, ensure_ascii=False)
    allowed = allowed.format(**context).replace("'", "")
    return f"{name} is {shown[:_SHOWN]}; {allowed} is allowed"


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, root = request.scope["path"], request.scope.get("root_path", "")
    known: FlowtimeError
    if error.status_code == 404:
        known = NotFound(
            "FT820",
            f"there is no address {unheld(path)}",
            hint=f"{action('start')} leads to all that there is",
        )
    elif error.status_code == 405:
        # The framework names the methods of the first function at the address alone.
        allowed = ", ".join(request.app.state.doors.methods(path.removeprefix(root)))
        known = InvalidInput("FT821", f"{unheld(path)} takes no {request.method}", hint=f"allowed: {allowed}")
    else:
        code = "FT825" if error.status_code == 416 else "FT822"
        known = InvalidInput(code, f"{request.method} {unheld(path)}: {error.detail}")
    response = respond(known, request)
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = allowed
    return response


def _gone(_: Request, error: Exception) -> Response:
    """Nobody reads this; the log tells of it by a status of its own, as other servers do."""
    assert isinstance(error, ClientDisconnect)
    return Response(status_code=499)


def defect(request: Request, error: Exception) -> Response:
    """The response to a request in which flowtime itself failed."""
    # The server logs the traceback; the caller gets nothing that could tell of the inside.
    if SHORTAGE.is_met(error):
        return respond(Unavailable("FT609", CODES["FT609"].explanation, hint="try again later"), request)
    _log.error("%s %s failed", request.method, asked(request.scope), exc_info=error)
    hint = "the server's log has the details; please report it"
    return respond(InternalError("FT900", type(error).__name__, hint=hint), request)
