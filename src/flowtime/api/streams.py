"""Responses that are sent piece by piece, and stop when nobody reads them any more."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

import anyio
from fastapi import Response
from starlette.types import Receive, Scope, Send

from flowtime.api.responses import asked
from flowtime.errors import FlowtimeError

_log = logging.getLogger("flowtime.api")

Push = Callable[[bytes], Awaitable[None]]
"""Sends a piece, once there is room for it."""


class Stream(Response):
    """A response whose body `produce` pushes. An error before the first piece becomes a problem; one after
    it breaks the connection, so that nobody takes a part for the whole.
    """

    def __init__(
        self, produce: Callable[[Push], Awaitable[None]], status: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(status_code=status, headers=dict(headers))
        if "content-length" not in {name.lower() for name in headers}:
            # The empty body of the class below would count.
            del self.headers["content-length"]
        self._produce = produce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        began = ended = False

        async def push(piece: bytes) -> None:
            nonlocal began
            if not began:
                began = True
                head = {"status": self.status_code, "headers": self.raw_headers}
                await send({"type": "http.response.start", **head})
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                """Nothing else comes after the request."""
            sending.cancel_scope.cancel()

        failed: FlowtimeError | None = None
        async with anyio.create_task_group() as sending:
            sending.start_soon(watch)
            try:
                await self._produce(push)
                ended = True
            except FlowtimeError as error:
                # Raised below: here it would come out in a group of errors.
                failed = error
            sending.cancel_scope.cancel()
        if failed is not None and not began:
            raise failed
        if failed is not None:
            _log.error("%s broke off: %s", asked(scope), failed)
        elif ended:
            if not began:
                await push(b"")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
