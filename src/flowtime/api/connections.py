"""Connections: given up where no request comes of them; and what the log says when there are no more."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_HEAD = 10.0
"""Seconds in which the head of a request arrives, from its first byte or from the connection on."""
_OFTEN = 60.0
_EXHAUSTED = {errno.EMFILE, errno.ENFILE}

_log = logging.getLogger("flowtime.api")


class Connection(H11Protocol):
    """A connection that is closed where the head of a request takes too long."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._late = self.loop.call_later(_HEAD, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._be_patient()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what came; what is not yet a whole head has so long to become one."""
        super().data_received(data)
        # There is none before the first request.
        answering = self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]
        if answering or not self.conn.trailing_data[0]:
            self._be_patient()
        elif self._late is None:
            self._late = self.loop.call_later(_HEAD, self.transport.close)

    def _be_patient(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Shortage:
    """Tells of a lack of descriptors once a minute, however often it is met."""

    def __init__(self) -> None:
        self._told = -float("inf")

    def is_met(self, error: object) -> bool:
        """Whether the error is one of that kind; then it has been told of."""
        if not isinstance(error, OSError) or error.errno not in _EXHAUSTED:
            return False
        now = time.monotonic()
        if now - self._told >= _OFTEN:
            self._told = now
            _log.error("no connection and no file can be opened: %s (ulimit -n)", error.strerror)
        return True

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handles what goes wrong in an event loop outside of requests."""
        if not self.is_met(context.get("exception")):
            loop.default_exception_handler(context)


SHORTAGE = Shortage()
"""That of this process."""
