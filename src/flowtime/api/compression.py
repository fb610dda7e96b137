"""Responses compressed as the caller can read them (RFC 9110 section 12.5.3): Zstandard, else gzip.

What is compressed already, small, or a range of bytes is sent as it is. A compressed response is another
representation: its ETag ends in the name of the coding, which is taken off again where it comes back.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from anyio import CapacityLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowtime.api.threads import run_in

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdCompressor
else:
    from backports.zstd import ZstdCompressor

_SMALLEST = 1024
_AT_ONCE = 1 << 15
"""Pieces up to this size are compressed where they are; a thread would take longer to come by."""
_TEXTS = ("text/", "application/json", "application/problem+json", "application/x-ndjson", "application/yaml")
_MORE = ("image/svg+xml", "application/javascript", "application/manifest+json")
_GZIP_LEVEL = 5
_ZSTD_LEVEL = 3


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def coding(header: str | None) -> str | None:
    """The coding for an Accept-Encoding header, None for none."""
    wanted: dict[str, float] = {}
    for part in (header or "").lower().split(","):
        name, _, weight = (word.strip() for word in part.partition(";"))
        try:
            wanted[name] = float(weight.removeprefix("q=").strip()) if weight else 1.0
        except ValueError:
            return None
    rest = wanted.get("*", 0.0)
    best = max(("zstd", "gzip"), key=lambda name: wanted.get(name, rest))
    weight_of_best = wanted.get(best, rest)
    return best if weight_of_best > 0 and weight_of_best >= wanted.get("identity", 0.0) else None


class Compression:
    """ASGI middleware that compresses what is worth it."""

    def __init__(self, app: ASGIApp, places: CapacityLimiter) -> None:
        """Large pieces are compressed in threads, of which there are so many `places`."""
        self._app = app
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, with the response compressed where the caller can read that."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        known = headers.get("if-none-match", "")
        # The same scope: what the application notes in it is for those outside, too.
        scope["headers"] = [_plain(name, value) for name, value in scope["headers"]]
        response = _Response(send, coding(headers.get("accept-encoding")), known, self._places)
        await self._app(scope, receive, response.send)


def _plain(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A header of the request, its ETags without the name of a coding."""
    if name in (b"if-none-match", b"if-match"):
        value = value.replace(b'+zstd"', b'"').replace(b'+gzip"', b'"')
    return name, value


class _Response:
    """One response on its way."""

    def __init__(self, send: Send, coding: str | None, known: str, places: CapacityLimiter) -> None:
        self._send = send
        self._coding = coding
        self._known = known
        self._places = places
        self._start: Message | None = None
        self._compressor: _Compressor | None = None

    async def send(self, message: Message) -> None:
        """Sends the start together with the first piece of the body, which decides."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        start, self._start = self._start, None
        if start is not None:
            headers = MutableHeaders(raw=list(start["headers"]))
            if self._is_worth_it(start["status"], headers, None if more else len(body)):
                self._begin(headers)
            elif start["status"] == 304:
                self._name_known(headers)
            start = {**start, "headers": headers.raw}
        if self._compressor is not None:
            body = await self._compressed(body, more)
            if start is not None and not more:
                MutableHeaders(raw=start["headers"])["content-length"] = str(len(body))
        if start is not None:
            await self._send(start)
        if body or not more or start is not None:
            await self._send({**message, "body": body})

    def _is_worth_it(self, status: int, headers: Mapping[str, str], size: int | None) -> bool:
        kind = headers.get("content-type", "")
        if not kind.startswith((*_TEXTS, *_MORE)) or "content-encoding" in headers:
            return False
        assert isinstance(headers, MutableHeaders)
        headers.add_vary_header("Accept-Encoding")
        worth = size is None or size >= _SMALLEST
        return self._coding is not None and worth and status not in (204, 206, 304)

    def _begin(self, headers: MutableHeaders) -> None:
        assert self._coding is not None
        self._compressor = (
            ZstdCompressor(_ZSTD_LEVEL) if self._coding == "zstd" else zlib.compressobj(_GZIP_LEVEL, wbits=31)
        )
        headers["content-encoding"] = self._coding
        for name in ("content-length", "accept-ranges"):
            if name in headers:
                del headers[name]
        if "etag" in headers:
            headers["etag"] = f'{headers["etag"][:-1]}+{self._coding}"'

    def _name_known(self, headers: MutableHeaders) -> None:
        """Gives the ETag back as the caller knows it."""
        etag = headers.get("etag", "")
        named = [f'{etag[:-1]}+{name}"' for name in ("zstd", "gzip")]
        headers["etag"] = next((name for name in named if name in self._known), etag)

    async def _compressed(self, body: bytes, more: bool) -> bytes:
        assert self._compressor is not None
        work = partial(_compress, self._compressor, body, more)
        return work() if len(body) <= _AT_ONCE else await run_in(self._places, work)


def _compress(compressor: Any, body: bytes, more: bool) -> bytes:
    compressed: bytes = compressor.compress(body)
    return compressed if more else compressed + compressor.flush()
