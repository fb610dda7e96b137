"""What every request passes first: its host, its origin, the size and pace of its body; and every response
last: security headers, the access log, the numbers for monitoring.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from functools import partial
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowtime.api import problems
from flowtime.api.doors import Door, Doors
from flowtime.api.responses import SLASH, asked
from flowtime.api.server import Limits, Server
from flowtime.api.session import COOKIE
from flowtime.api.threads import run_in
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
_WINDOW = "document"
_HOST = re.compile(
    r"(?:(?P<name>[\w.-]+)|\[(?P<address>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)
_LAST_PORT = 65_535
_SOON = 1.0
"""Seconds in which a short body of a refused request arrives, or the connection is closed."""
_HINTS: dict[str, str] = {
    "fields": "publish a larger model as a text of its own, and name it by its id",
    "document": f"{action('import')} takes larger files, of series",
}
"""Where larger bodies go, by the size that an address takes."""
_OWN = frozenset({"same-origin", "none"})
"""What a browser says in Sec-Fetch-Site of requests that come from our own pages, or from its user."""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, server: Server, doors: Doors) -> None:
        self._app = app
        self._server = server
        self._doors = doors
        self._hosts = _THIS_MACHINE | {_host(name) for name in server.config.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        leaving = _Leaving(send)
        headers = Headers(scope=scope)
        scope["path"] = _plain(_unquoted(scope), scope.get("root_path", ""))
        door = self._doors.find(scope)
        arriving = _Arriving(receive, leaving, self._server.config.limits, door)
        try:
            try:
                self._check(scope, headers)
                await self._admit(scope, door)
                arriving.expect(headers)
            except FlowtimeError as error:
                leaving.refused = error
            else:
                await self._app(scope, arriving, leaving)
            if leaving.refused is not None and not leaving.status:
                await _respond(leaving.refused, scope, arriving, leaving)
        except Exception as error:
            if leaving.refused is not None and not leaving.status:
                await _respond(leaving.refused, scope, arriving, leaving)
                return
            if leaving.status:
                raise  # the answer breaks off, which the web server tells by closing the connection
            await problems.defect(Request(scope), error)(scope, receive, leaving)
        finally:
            self._note(scope, door, leaving.status, time.perf_counter() - began)

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
        if not _is_own(scope["method"], HTTPConnection(scope), host):
            raise Denied(
                "FT830",
                f"{scope['method']} {asked(scope)[:100]} came from a page of another site",
                hint="programs send a token, or neither Origin nor Sec-Fetch-Site",
            )

    async def _admit(self, scope: Scope, door: Door | None) -> None:
        """Finds out who calls, for the dependencies of the handlers; raises Denied (FT828, FT829, FT832),
        InvalidInput (FT835), Unavailable (FT837).
        """
        if door is None or door.who == "anyone":
            return
        access, places = self._server.access, self._server.threads.callers
        caller = None
        if not access.is_open:
            caller = await run_in(places, partial(access.caller, Request(scope)))
        door.admit(caller)
        scope.setdefault("state", {})["caller"] = caller

    def _note(self, scope: Scope, door: Door | None, status: int, seconds: float) -> None:
        path = "none" if door is None else door.route.path
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._server.metrics.count(method, path, status, seconds)
        client = scope.get("client")
        said = {
            "client": client[0] if client else None,
            "method": scope["method"],
            "path": asked(scope),
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

    def __init__(self, receive: Receive, leaving: _Leaving, limits: Limits, door: Door | None) -> None:
        self._receive = receive
        self._leaving = leaving
        self._limits = limits
        self._limit = limits.little if door is None else door.limit(limits)
        self._hint = _HINTS.get("little" if door is None else door.size)
        self._began = time.monotonic()
        self._size = 0
        self._parts = 0
        self._counts = door is not None and door.size == "fields"
        self._ended = False

    def expect(self, headers: Headers) -> None:
        """Raises InvalidInput (FT824) where the body is announced as too large."""
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limit:
            raise self._too_large()

    async def pass_over(self, headers: Headers) -> bool:
        """Whether the body is at its end, which a short one soon is: then the connection can go on."""
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal() or int(length) > self._limits.little:
            return self._ended
        ends = time.monotonic() + _SOON
        while not self._ended:
            try:
                message = await asyncio.wait_for(self._receive(), max(0.0, ends - time.monotonic()))
            except TimeoutError:
                return False
            self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        return True

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
            body = message.get("body", b"")
            self._size += len(body)
            self._ended = not message.get("more_body", False)
            if self._size > self._limit:
                raise self._refused(self._too_large())
            if self._counts:
                self._parts += body.count(b"[") + body.count(b"{")
                if self._parts > self._limits.parts:
                    what = f"the body has more than {self._limits.parts:,} lists and objects"
                    raise self._refused(InvalidInput("FT824", what, hint=self._hint))
        return message

    def _too_large(self) -> InvalidInput:
        return InvalidInput("FT824", f"the body has more than {self._limit:,} bytes", hint=self._hint)

    def _refused(self, error: InvalidInput) -> InvalidInput:
        """Keeps the error, whatever the application makes of its being raised."""
        self._leaving.refused = error
        return error


async def _respond(error: FlowtimeError, scope: Scope, arriving: _Arriving, leaving: _Leaving) -> None:
    request = Request(scope)
    response = problems.respond(error, request)
    if not await arriving.pass_over(request.headers):
        # What may still come of the body is not waited for.
        response.headers["Connection"] = "close"
    leaving.telling = True
    await response(scope, arriving, leaving)


def _unquoted(scope: Scope) -> str:
    """The path as routes match it: a slash that belongs to a name, sent as `%2F`, stands there as SLASH."""
    parts = re.split("%2f", scope.get("raw_path", b"").decode("ascii", "replace"), flags=re.IGNORECASE)
    return str(scope["path"]) if len(parts) == 1 else SLASH.join(map(unquote, parts))


def _plain(path: str, root: str) -> str:
    """The path without a slash at its end; that of the root alone has one."""
    if path in (root, f"{root}/"):
        return f"{root}/"
    return path.removesuffix("/") or "/"


def _host(name: str) -> str:
    """The host in a Host header or an option, without its port; empty where it is none."""
    found = _HOST.fullmatch(name)
    if found is None or int(found["port"] or 0) > _LAST_PORT:
        return ""
    return (found["name"] or found["address"]).lower().rstrip(".")


def _is_own(method: str, asked: HTTPConnection, host: str) -> bool:
    """Whether a request comes from our own pages, from the user of a browser, or from no browser at all."""
    headers = asked.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if method in _LOOKING:
        # Another site may lead here with a link. What its pages load by themselves, nobody asked for; a frame
        # or an object of them navigates too, and says so.
        leads = headers.get("sec-fetch-mode") == "navigate"
        return site in {*_OWN, None} or (leads and headers.get("sec-fetch-dest", _WINDOW) == _WINDOW)
    if headers.get("authorization", "").lower().startswith("bearer "):
        # A browser sends this header to another site only after asking, and is never answered.
        return True
    if site is not None:
        return site in _OWN
    if origin is not None:
        return _is_same(origin, host)
    # By the parser that tells who a session is of: what it does not see lets nobody in.
    return COOKIE not in asked.cookies


def _is_same(origin: str, host: str) -> bool:
    try:
        ours, theirs = urlsplit(f"//{host}"), urlsplit(origin)
        default = {"http": 80, "https": 443}[theirs.scheme]
        ports = ours.port or default, theirs.port or default
    except (KeyError, ValueError):
        return False
    return ours.hostname == theirs.hostname and ports[0] == ports[1]
