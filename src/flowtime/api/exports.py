"""Exports as streams: in little memory, from the first row on, and only while somebody reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import quote

from fastapi import Response
from starlette.concurrency import run_in_threadpool

from flowtime.api.files import stream_file
from flowtime.api.responses import base, names_etag
from flowtime.api.server import Call
from flowtime.api.streams import Push, Stream
from flowtime.api.threads import run_in


async def stream_export(call: Call, reference: str, format: str, *, embed: bool) -> Response:
    """The response that streams an export; raises as `Flowtime.describe_export` does.

    Plain CSV is what the artifact keeps: its bytes are sent as they are, with their number, and ranges of
    them. NDJSON is made while it is read. A Parquet file is sent while it is written; it, bundles and
    workbooks wait in a temporary file, one for all who ask for the same.
    """
    described = await run_in_threadpool(call.service.describe_export, reference, format, embed=embed)
    id, place = described["id"], "telemetry" if described["kind"] == "telemetry" else "runs"
    plain = described["sidecar"] and not embed
    etag = f'"{described["etag"]}"'
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
    return Stream(lambda push: _shared(call, described, embed, push), 200, headers)


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


async def _shared(call: Call, described: dict[str, Any], embed: bool, push: Push) -> None:
    """A file that one thread writes for all who ask for it; of Parquet, what does not change any more is sent
    meanwhile.
    """
    threads, format = call.server.threads, described["format"]
    options: dict[str, Any] = {"embed": True} if embed else {}

    def write(file: BinaryIO, told: Callable[..., object]) -> None:
        call.service.export_into(described["id"], format, file, progress=told, **options)

    key = " ".join((described["id"], format, described["etag"]))
    with threads.exports.one(_name(call)):
        async with call.server.shared.reading(key, write, threads.files, early=format == "parquet") as file:
            async for piece in file.pieces(threads.pieces):
                await push(piece)


def _name(call: Call) -> str:
    """Whose an export is: the caller's, on an open server that of the address."""
    client = call.request.client
    return f"user {call.caller.user}" if call.caller else f"address {client.host if client else ''}"
