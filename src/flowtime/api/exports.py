"""Exports as streams: what the writer writes goes out at once, and the writer waits for a slow reader."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import StreamingResponse

from flowtime.api.responses import base, names_etag
from flowtime.api.server import Call
from flowtime.errors import FlowtimeError

_AHEAD = 4
"""How many pieces the writer may be ahead of the reader."""
_PIECE = 1 << 18


def stream_export(call: Call, reference: str, format: str, *, embed: bool) -> Response:
    """The response that streams an export; raises as `Flowtime.export_to` does, before the first byte."""
    described = call.service.describe_export(reference, format)
    id, place = described["id"], "telemetry" if described["kind"] == "telemetry" else "runs"
    etag = f'"{described["etag"]}{"-embedded" if embed else ""}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "X-Flowtime-Rows": str(described["rows"])}
    headers["Content-Disposition"] = f'attachment; filename="{id}{described["extension"]}"'
    if described["sidecar"] and not embed:
        path = f"{base(call.request)}/v1/{place}/{quote(id)}/export/{described['format']}/metadata"
        headers["Link"] = f'<{path}>; rel="describedby"; type="application/json"'
    if names_etag(call.request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    if call.request.method == "HEAD":
        return Response(headers=headers, media_type=described["media_type"])
    options: dict[str, Any] = {"embed": True} if embed else {}
    pieces = _Pipe(lambda pipe: call.service.export_to(id, format, pipe, **options))
    return StreamingResponse(pieces.started(), headers=headers, media_type=described["media_type"])


class _Pipe:
    """A stream that one thread writes and another one reads, with a bounded number of pieces between."""

    def __init__(self, write: Any) -> None:
        self._write = write
        self._pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self._gone = threading.Event()
        self._held = bytearray()

    def write(self, data: Any) -> int:
        """Takes bytes; raises BrokenPipeError when nobody reads any more."""
        self._held += data
        if len(self._held) >= _PIECE:
            self._put(bytes(self._held))
            self._held.clear()
        return len(data)

    def flush(self) -> None:
        """Does nothing: pieces leave when they are large enough."""

    def started(self) -> Iterator[bytes]:
        """The pieces, once there is a first one; raises what stopped the writer before that."""
        thread = threading.Thread(target=self._run, name="export", daemon=True)
        thread.start()
        first = self._pieces.get()
        if isinstance(first, FlowtimeError):
            raise first
        return self._rest(first)

    def _rest(self, piece: bytes | BaseException | None) -> Iterator[bytes]:
        try:
            while piece is not None:
                if isinstance(piece, BaseException):
                    # The status is sent already: the connection breaks, so that nobody takes a part for all.
                    raise piece
                yield piece
                piece = self._pieces.get()
        finally:
            self._gone.set()

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            self._write(self)
            if self._held:
                self._put(bytes(self._held))
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001 - raised again in the thread that reads
            end = error
        with suppress(BrokenPipeError):
            self._put(end)

    def _put(self, piece: bytes | BaseException | None) -> None:
        while True:
            if self._gone.is_set():
                raise BrokenPipeError
            try:
                return self._pieces.put(piece, timeout=0.5)
            except queue.Full:
                continue
