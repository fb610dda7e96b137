"""What every request passes first: its host, its origin, the size and pace of its body; and every response
last: security headers, the access log, the numbers for monitoring.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowtime.api import problems
from flowtime.api.server import Server
from flowtime.api.session import COOKIE
from flowtime.errors import Denied, FlowtimeError, InvalidInput
from flowtime.wording import action

_log = logging.getLogger("flowtime.access")

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"x-frame-options": b"DENY",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}
"""Of responses that say nothing else."""
_POLICY = b"default-src 'none'; frame-ancestors 'none'"
_POLICY_OF_PAGES = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Pages run the scripts that flowtime ships, from files, and nothing else."""
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = _LOOKING | {"POST", "PUT", "PATCH", "DELETE"}
_OWN = frozenset({"same-origin", "none"})
"""What a browser says in Sec-Fetch-Site of requests that come from our own pages, or from its user."""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self._app = app
        self._server = server
        self._hosts = _THIS_MACHINE | {_host(name) for name in server.config.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        leaving = _Leaving(send)
        headers = Headers(scope=scope)
        scope["path"] = _plain(scope["path"], scope.get("root_path", ""))
        arriving = _Arriving(receive, leaving, self._server, _limit(self._server, scope))
        try:
            try:
                self._check(scope, headers)
                arriving.expect(headers.get("content-length"))
            except FlowtimeError as error:
                leaving.refused = error
            else:
                await self._app(scope, arriving, leaving)
            if leaving.refused is not None and not leaving.status:
                await _respond(leaving.refused, scope, receive, leaving)
        except Exception as error:
            if leaving.refused is not None and not leaving.status:
                await _respond(leaving.refused, scope, receive, leaving)
                return
            if leaving.status:
                raise  # the answer breaks off, which the web server tells by closing the connection
            await problems.defect(Request(scope), error)(scope, receive, leaving)
        finally:
            self._note(scope, leaving.status, time.perf_counter() - began)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raises Denied (FT830, FT831)."""
        host = headers.get("host", "")
        # A page of another site cannot have the number at which this machine was reached as its name.
        here = (scope.get("server") or ("",))[0]
        if not _host(host) or _host(host) not in {*self._hosts, here}:
            raise Denied(
                "FT831",
                f'the server is not known as "{host[:100]}"',
                hint="whoever runs the server can let it be reached under this name",
            )
        if not _is_own(scope["method"], headers, host):
            raise Denied(
                "FT830",
                f"{scope['method']} {scope['path'][:100]} came from a page of another site",
                hint="programs send a token, or neither Origin nor Sec-Fetch-Site",
            )

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        path = getattr(route, "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._server.metrics.count(method, path, status, seconds)
        client = scope.get("client")
        said = {
            "client": client[0] if client else None,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        _log.info(json.dumps(said))


class _Leaving:
    """Sends a response with the headers that all have; of a refused request, only the refusal."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.refused: FlowtimeError | None = None
        self.telling = False

    async def __call__(self, message: Message) -> None:
        """Sends on."""
        if self.refused is not None and not self.telling and not self.status:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            said = {name.lower(): value for name, value in message["headers"]}
            is_page = said.get(b"content-type", b"").startswith(b"text/html")
            policy = {b"content-security-policy": _POLICY_OF_PAGES if is_page else _POLICY}
            more = [(name, value) for name, value in {**_HEADERS, **policy}.items() if name not in said]
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)


class _Arriving:
    """Receives a body, as long and as slow as it may be."""

    def __init__(self, receive: Receive, leaving: _Leaving, server: Server, limit: int) -> None:
        self._receive = receive
        self._leaving = leaving
        self._limits = server.config.limits
        self._limit = limit
        self._began = time.monotonic()
        self._size = 0
        self._ended = False

    def expect(self, length: str | None) -> None:
        """Raises InvalidInput (FT824) where the body is announced as too large."""
        if length is not None and length.isdecimal() and int(length) > self._limit:
            raise self._too_large()

    async def __call__(self) -> Message:
        """The next piece; raises InvalidInput (FT824, FT827)."""
        if self._ended:
            return await self._receive()
        left = self._limits.upload - (time.monotonic() - self._began)
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(self._limits.silence, left)))
        except TimeoutError:
            raise self._refused(
                InvalidInput(
                    "FT827",
                    f"the body stopped after {self._size:,} bytes",
                    hint=f"a pause may last {self._limits.silence:g} s, all of it {self._limits.upload:g} s",
                )
            ) from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._size > self._limit:
                raise self._refused(self._too_large())
        return message

    def _too_large(self) -> InvalidInput:
        return InvalidInput(
            "FT824",
            f"the body has more than {self._limit:,} bytes",
            hint=f"{action('import')} takes the largest ones",
        )

    def _refused(self, error: InvalidInput) -> InvalidInput:
        """Keeps the error, whatever the application makes of its being raised."""
        self._leaving.refused = error
        return error


async def _respond(error: FlowtimeError, scope: Scope, receive: Receive, leaving: _Leaving) -> None:
    response = problems.respond(error, Request(scope))
    # What may still come of the body is not waited for.
    response.headers["Connection"] = "close"
    leaving.telling = True
    await response(scope, receive, leaving)


def _plain(path: str, root: str) -> str:
    """The path without a slash at its end; that of the root alone has one."""
    if path in (root, f"{root}/"):
        return f"{root}/"
    return path.removesuffix("/") or "/"


def _limit(server: Server, scope: Scope) -> int:
    """The largest body at an address, in bytes."""
    limits = server.config.limits
    return limits.body if scope["path"].endswith("/import") else limits.document


def _host(name: str) -> str:
    """The host in a Host header or an option, without its port; empty where it is none."""
    try:
        return (urlsplit(f"//{name}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_own(method: str, headers: Headers, host: str) -> bool:
    """Whether a request comes from our own pages, from the user of a browser, or from no browser at all."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if method in _LOOKING:
        # Another site may lead here with a link. What its pages load by themselves, nobody asked for.
        return site in {*_OWN, None} or headers.get("sec-fetch-mode") == "navigate"
    if headers.get("authorization", "").lower().startswith("bearer "):
        # A browser sends this header to another site only after asking, and is never answered.
        return True
    if site is not None:
        return site in _OWN
    if origin is not None:
        return _is_same(origin, host)
    return not _has_session(headers)


def _is_same(origin: str, host: str) -> bool:
    try:
        ours, theirs = urlsplit(f"//{host}"), urlsplit(origin)
        default = {"http": 80, "https": 443}[theirs.scheme]
        ports = ours.port or default, theirs.port or default
    except (KeyError, ValueError):
        return False
    return ours.hostname == theirs.hostname and ports[0] == ports[1]


def _has_session(headers: Headers) -> bool:
    try:
        return COOKIE in SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return True
