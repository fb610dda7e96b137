"""Threads of their own for what takes long, so that a short request always finds one.

The framework runs handlers on threads of a pool that all requests share. What may take longer than a look
at the index waits for one of a few places here instead, first come, first served.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from flowtime.errors import Unavailable

T = TypeVar("T")


class Threads:
    """How many may do the same long thing at once."""

    def __init__(self) -> None:
        cores = os.cpu_count() or 1
        self.callers = CapacityLimiter(32)
        """Finding out who calls."""
        self.pieces = CapacityLimiter(max(2, cores))
        """Making the next piece of an export, and compressing one."""
        self.files = CapacityLimiter(max(1, cores // 2))
        """Writing a whole file before, or while, it is sent."""
        self.exports = Turns(8)
        """Exports that wait in temporary files: a slow reader keeps one on the disk."""
        self.imports = CapacityLimiter(max(1, cores // 2))
        self.questions = CapacityLimiter(8)
        """Searches of the index; so many read at once."""
        self.looks = CapacityLimiter(max(4, cores))
        """Comparisons, pages, looks at whole series, models as they are made and checked."""
        self.work = CapacityLimiter(max(4, cores))
        """Runs and loops: who looks does not wait for them."""


class Turns:
    """How many long things each caller does at once, by a name of the caller. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """One more within the block; raises Unavailable (FT838) where the caller has too many under way."""
        if self._under_way[caller] >= self._most:
            raise Unavailable(
                "FT838",
                f"{self._most} exports of yours are under way",
                hint="wait until one has ended, and ask again",
            )
        self._under_way[caller] += 1
        try:
            yield
        finally:
            self._under_way[caller] -= 1
            if not self._under_way[caller]:
                del self._under_way[caller]


async def run_in(places: CapacityLimiter, function: Callable[[], T]) -> T:
    """What the function returns, run in a thread once there is a place. Waiting can be cancelled, the
    function itself not.
    """
    return await to_thread.run_sync(function, limiter=places)
