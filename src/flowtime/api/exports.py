"""Exports as streams: in little memory, from the first row on, and only while somebody reads."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import quote

import anyio
from fastapi import Response
from starlette.concurrency import run_in_threadpool

from flowtime.api.files import stream_file
from flowtime.api.responses import base, names_etag
from flowtime.api.server import Call
from flowtime.api.streams import Push, Stream
from flowtime.api.threads import run_in
from flowtime.errors import Conflict, FlowtimeError

_PIECE = 1 << 18


async def stream_export(call: Call, reference: str, format: str, *, embed: bool) -> Response:
    """The response that streams an export; raises as `Flowtime.describe_export` does.

    Plain CSV is what the artifact keeps: its bytes are sent as they are, with their number, and ranges of
    them. NDJSON is made while it is read. A Parquet file is sent while it is written; it, bundles and
    workbooks wait in a temporary file.
    """
    described = await run_in_threadpool(call.service.describe_export, reference, format, embed=embed)
    id, place = described["id"], "telemetry" if described["kind"] == "telemetry" else "runs"
    plain = described["sidecar"] and not embed
    etag = f'"{described["etag"]}{"-embedded" if embed else ""}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Content-Type": _media_type(described["media_type"]),
        "Content-Disposition": f'attachment; filename="{id}{described["extension"]}"',
        "X-Flowtime-Rows": str(described["rows"]),
        "X-Flowtime-Digest": described["digest"],
    }
    if plain:
        path = f"{base(call.request)}/v1/{place}/{quote(id)}/export/{described['format']}/metadata"
        headers["Link"] = f'<{path}>; rel="describedby"; type="application/json"'
    if names_etag(call.request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if plain and described["bytes"] is not None:
        if call.request.headers.get("range") is not None:
            stream, content = await run_in_threadpool(call.service.file, id, described["file"])
            return stream_file(call, stream, content["bytes"], headers)
        headers |= {"Content-Length": str(described["bytes"]), "Accept-Ranges": "bytes"}
    if call.request.method == "HEAD":
        response = Response(headers=headers)
        if "Content-Length" not in headers:
            del response.headers["content-length"]
        return response
    if plain:
        return Stream(lambda push: _pulled(call, id, described["format"], push), 200, headers)
    options: dict[str, Any] = {"embed": True} if embed else {}
    return Stream(lambda push: _written(call, id, described["format"], options, push), 200, headers)


def _media_type(plain: str) -> str:
    return f"{plain}; charset=utf-8" if plain.startswith("text/") else plain


async def _pulled(call: Call, id: str, format: str, push: Push) -> None:
    """Pieces made one after the other, each when the one before has left."""
    pieces = call.service.export_pieces(id, format)
    try:
        while (piece := await run_in(call.server.threads.pieces, partial(_next, pieces))) is not None:
            await push(piece)
    finally:
        pieces.close()


def _next(pieces: Iterator[bytes | memoryview]) -> bytes | None:
    piece = next(pieces, None)
    return None if piece is None else bytes(piece)


async def _written(call: Call, id: str, format: str, options: dict[str, Any], push: Push) -> None:
    """A file that one thread writes; what of it does not change any more is sent meanwhile."""
    state, loop = _Writing(), asyncio.get_running_loop()
    with call.server.threads.exports.one(_name(call)), tempfile.TemporaryFile() as file:

        def told(*_: object) -> None:
            if state.gone:
                raise Conflict("FT834", "the caller has gone", hint="nothing was kept")
            if format == "parquet" and hasattr(os, "pread"):
                # The table library calls this from a thread of its own.
                loop.call_soon_threadsafe(state.tell, os.fstat(file.fileno()).st_size, False)

        def write() -> int:
            call.service.export_into(id, format, file, progress=told, **options)
            return file.seek(0, 2)

        async def writing() -> None:
            try:
                state.tell(await run_in(call.server.threads.files, write), True)
            except FlowtimeError as error:
                state.failed = error
                state.tell(0, True)

        async with anyio.create_task_group() as group:
            group.start_soon(writing)
            try:
                sent = 0
                while not state.done or sent < state.settled:
                    news = state.news
                    while sent < state.settled:
                        size = min(_PIECE, state.settled - sent)
                        piece = await run_in(call.server.threads.pieces, partial(_read, file, size, sent))
                        sent += size
                        await push(piece)
                    if not state.done:
                        await news.wait()
            finally:
                state.gone = True
    if state.failed is not None:
        raise state.failed


def _name(call: Call) -> str:
    """Whose an export is: the caller's, on an open server that of the address."""
    client = call.request.client
    return f"user {call.caller.user}" if call.caller else f"address {client.host if client else ''}"


@dataclass(slots=True)
class _Writing:
    """How far a file is. Only `gone` is looked at by the thread that writes it."""

    settled: int = 0
    done: bool = False
    gone: bool = False
    failed: FlowtimeError | None = None
    news: anyio.Event = field(default_factory=anyio.Event)

    def tell(self, settled: int, done: bool) -> None:
        """Notes how many bytes do not change any more, and wakes who waits for more."""
        self.settled, self.done = max(settled, self.settled), done
        news, self.news = self.news, anyio.Event()
        news.set()


def _read(file: BinaryIO, size: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        # The thread that writes goes on where it is.
        return os.pread(file.fileno(), size, start)
    file.seek(start)
    return file.read(size)
