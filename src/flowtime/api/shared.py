"""Files that are written once for all who read them at the same time, and go with the last of these.

An export that waits in a temporary file is the same for everybody who asks for it. The first who does has it
written, in a thread; whoever comes while somebody reads it takes the same file, and waits without a thread
for what is not written yet. Who leaves lets go of their share; the last one ends the writing.
"""

from __future__ import annotations

import os
import tempfile
import threading
from asyncio import Task, create_task, get_running_loop
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import BinaryIO

import anyio
from anyio import CapacityLimiter

from flowtime.api.threads import run_in
from flowtime.errors import Conflict

_PIECE = 1 << 18

Write = Callable[[BinaryIO, Callable[..., object]], object]
"""Writes a file from its beginning, and calls what it is given whenever the bytes so far do not change any
more; that raises where nobody reads them.
"""


class SharedFile:
    """A temporary file that is written and read at the same time. For one event loop."""

    def __init__(self, write: Write, places: CapacityLimiter, *, early: bool) -> None:
        """`write` is called in one of the `places`; `early` lets readers have what does not change while the
        rest is written.
        """
        self.readers = 0
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `end`)
        self._turn = threading.Lock()
        self._settled = 0
        self._done = False
        self._gone = threading.Event()
        self._failed: Exception | None = None
        self._news = anyio.Event()
        self._waiting = anyio.CancelScope()
        self._writing: Task[None] = create_task(self._written(write, places, early=early))

    @property
    def failed(self) -> bool:
        """Whether making it failed."""
        return self._failed is not None

    async def pieces(self, places: CapacityLimiter) -> AsyncIterator[bytes]:
        """The bytes, read in the `places` as they come; raises what the writing raised."""
        sent = 0
        while not self._done or sent < self._settled:
            news = self._news
            while sent < self._settled:
                piece = await run_in(places, partial(self._read, min(_PIECE, self._settled - sent), sent))
                sent += len(piece)
                yield piece
            if not self._done:
                await news.wait()
        if self._failed is not None:
            raise self._failed

    async def end(self) -> None:
        """Stops the writing, and deletes the file."""
        self._gone.set()
        self._waiting.cancel()
        with anyio.CancelScope(shield=True):
            await self._writing
        self._file.close()

    async def _written(self, write: Write, places: CapacityLimiter, *, early: bool) -> None:
        def told(*_: object) -> None:
            if self._gone.is_set():
                raise Conflict("FT834", "the caller has gone", hint="nothing was kept")
            if early and hasattr(os, "pread"):
                # The table library calls this from a thread of its own.
                loop.call_soon_threadsafe(self._tell, os.fstat(self._file.fileno()).st_size, False)

        def whole() -> int:
            write(self._file, told)
            return self._file.seek(0, 2)

        loop = get_running_loop()
        try:
            with self._waiting:
                self._tell(await run_in(places, whole), True)
        except Exception as error:  # noqa: BLE001 (whoever reads raises it)
            self._failed = error
            self._tell(self._settled, True)

    def _tell(self, settled: int, done: bool) -> None:
        self._settled, self._done = max(settled, self._settled), done or self._done
        news, self._news = self._news, anyio.Event()
        news.set()

    def _read(self, size: int, start: int) -> bytes:
        if hasattr(os, "pread"):
            # The thread that writes goes on where it is.
            return os.pread(self._file.fileno(), size, start)
        with self._turn:
            self._file.seek(start)
            return self._file.read(size)


class SharedFiles:
    """The files that are read at the moment, by what they are. For one event loop."""

    def __init__(self) -> None:
        self._files: dict[str, SharedFile] = {}

    @asynccontextmanager
    async def reading(
        self, key: str, write: Write, places: CapacityLimiter, *, early: bool
    ) -> AsyncIterator[SharedFile]:
        """The file of this key, which is there while the block lasts; `write`, `places` and `early` make it
        where nobody reads it yet.
        """
        file = self._files.get(key)
        if file is None or file.failed:
            file = self._files[key] = SharedFile(write, places, early=early)
        file.readers += 1
        try:
            yield file
        finally:
            file.readers -= 1
            if not file.readers:
                if self._files.get(key) is file:
                    del self._files[key]
                await file.end()
