"""Addresses by which browsers log in and out. The pages around them are made elsewhere."""

from __future__ import annotations

import base64
import secrets
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Form, Query, Request, Response

from flowtime.api.responses import base, local
from flowtime.api.server import server_of
from flowtime.api.session import COOKIE, LIFETIME
from flowtime.errors import Denied, FlowtimeError

JSON = dict[str, Any]

router = APIRouter(tags=["login"])

_UNDER_WAY = "flowtime_login"
"""The cookie of a browser that is at the issuer: what has to come back with it."""
_PATIENCE = 600
"""Seconds that a login at the issuer may take."""
_Next = Annotated[str | None, Query(description="The path where the browser goes then")]
_GOES_ON: dict[int | str, dict[str, Any]] = {303: {"description": "The browser goes on", "content": {}}}


@router.post("/login", status_code=303, responses=_GOES_ON, summary="Log a browser in with a token")
def login(
    request: Request,
    token: Annotated[str, Form(max_length=4096)],
    next_: Annotated[str | None, Form(alias="next")] = None,
) -> Response:
    """Sets the cookie of a session, and sends the browser on to the path `next`. With a wrong token a
    browser comes back to the page `/login` with `error`, the code; other clients get the problem.
    """
    access = server_of(request).access
    place = _next(request, next_)
    if access.is_open:
        return _go(place)
    try:
        return _begun(request, access.login(request, token), place)
    except FlowtimeError as error:
        return _back(request, error, place)


@router.post("/logout", status_code=303, responses=_GOES_ON, summary="Log a browser out")
def logout(request: Request) -> Response:
    """Ends the session, and sends the browser to the page `/login`."""
    server_of(request).access.logout(request)
    answer = _go(f"{base(request)}/login")
    answer.delete_cookie(COOKIE, path=base(request) or "/")
    return answer


@router.get("/login/oidc", status_code=303, responses=_GOES_ON, summary="Log a browser in at the issuer")
def depart(request: Request, next_: Annotated[_Next, Query(alias="next")] = None) -> Response:
    """Sends the browser to the login of the OIDC issuer (authorization code flow with PKCE)."""
    place = _next(request, next_)
    try:
        departure = server_of(request).access.provider().depart(_callback(request))
    except FlowtimeError as error:
        return _back(request, error, place)
    kept = [departure.state, departure.nonce, departure.verifier, place]
    answer = _go(departure.address)
    _set(request, answer, _UNDER_WAY, base64.urlsafe_b64encode(msgspec.json.encode(kept)).decode(), _PATIENCE)
    return answer


@router.get("/login/callback", status_code=303, responses=_GOES_ON, summary="Return from the issuer")
def arrive(
    request: Request, code: str | None = None, state: str | None = None, error: str | None = None
) -> Response:
    """Where the issuer sends the browser back to: begins its session, and sends it on."""
    place = _next(request, None)
    try:
        expected, nonce, verifier, place = _kept(request)
        if state is None or not secrets.compare_digest(state.encode(), expected.encode()):
            raise Denied("FT828", "the login was begun by another browser", hint="begin it again")
        if code is None:
            raise Denied("FT828", f'the issuer ended the login: "{error}"', hint="begin it again")
        access, back = server_of(request).access, _callback(request)
        secret = access.login_oidc(request, code, verifier, nonce, back)
        answer = _begun(request, secret, _next(request, place))
    except FlowtimeError as wrong:
        answer = _back(request, wrong, _next(request, place))
    answer.delete_cookie(_UNDER_WAY, path=base(request) or "/")
    return answer


def _next(request: Request, place: str | None) -> str:
    """A path of this server: elsewhere nobody is sent."""
    return local(place) or f"{base(request)}/"


def _callback(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{base(request)}/login/callback"


def _kept(request: Request) -> tuple[str, str, str, str]:
    try:
        data = base64.urlsafe_b64decode(request.cookies.get(_UNDER_WAY, ""))
        return msgspec.json.decode(data, type=tuple[str, str, str, str])
    except (ValueError, msgspec.DecodeError) as error:
        raise Denied("FT828", "no login is under way in this browser", hint="begin it again") from error


def _begun(request: Request, secret: str, place: str) -> Response:
    answer = _go(place)
    _set(request, answer, COOKIE, secret, LIFETIME)
    return answer


def _set(request: Request, answer: Response, name: str, value: str, seconds: int) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=seconds,
        path=base(request) or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def _go(place: str) -> Response:
    return Response(status_code=303, headers={"Location": place, "Cache-Control": "no-store"})


def _back(request: Request, error: FlowtimeError, place: str) -> Response:
    """A browser back at the page where it can try again; anybody else gets the error."""
    if "text/html" not in request.headers.get("accept", ""):
        raise error
    return _go(f"{base(request)}/login?{urlencode({'error': error.code, 'next': place})}")
