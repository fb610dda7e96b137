"""Files as responses: whole, or the range of bytes that was asked for (RFC 9110 section 14)."""

from __future__ import annotations

from functools import partial
from typing import BinaryIO

from fastapi import Response

from flowtime.api.responses import names_etag
from flowtime.api.server import Call
from flowtime.api.streams import Push, Stream
from flowtime.api.threads import run_in
from flowtime.errors import InvalidInput

_PIECE = 1 << 18


def stream_file(call: Call, file: BinaryIO, size: int, headers: dict[str, str]) -> Response:
    """The response with an open file of so many bytes, which is closed then. `headers` name its ETag, if any.

    Raises InvalidInput (FT825) where no byte is in the range.
    """
    try:
        first, last = _range(call, size, headers.get("ETag"))
    except InvalidInput:
        file.close()
        raise
    partial_ = (first, last) != (0, size - 1)
    headers |= {"Accept-Ranges": "bytes", "Content-Length": str(last - first + 1)}
    if partial_:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    status = 206 if partial_ else 200
    if call.request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers)
    return Stream(lambda push: _send(call, file, first, last + 1, push), status, headers)


def _range(call: Call, size: int, etag: str | None) -> tuple[int, int]:
    """The first and last byte that are asked for; all, where that cannot be understood or has no effect."""
    header = call.request.headers.get("range", "")
    condition = call.request.headers.get("if-range")
    whole = (0, size - 1)
    unit, _, spec = header.partition("=")
    if unit.strip().lower() != "bytes" or "," in spec or (condition is not None and condition != etag):
        return whole
    begin, _, end = (part.strip() for part in spec.partition("-"))
    if not (begin + end).isdecimal() or not (begin + end).isascii() or len(begin + end) > 40:
        return whole
    if begin:
        first, last = int(begin), min(int(end), size - 1) if end else size - 1
        if end and int(end) < first:
            return whole
    else:
        first, last = max(size - int(end), 0), size - 1
    if first >= size or first > last:
        call.request.state.size = size
        message = f"{header} is outside the {size:,} bytes of the file"
        raise InvalidInput("FT825", message, hint="they count from 0; without Range the whole file comes")
    return first, last


async def _send(call: Call, file: BinaryIO, start: int, stop: int, push: Push) -> None:
    try:
        file.seek(start)
        while start < stop:
            piece = await run_in(call.server.threads.pieces, partial(file.read, min(_PIECE, stop - start)))
            if not piece:
                return
            start += len(piece)
            await push(piece)
    finally:
        file.close()


def is_unchanged(call: Call, etag: str | None) -> bool:
    """Whether the caller has the file with this ETag already."""
    return etag is not None and names_etag(call.request.headers.get("if-none-match"), etag)
