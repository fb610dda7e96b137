"""Threads of their own for what takes long, so that a short request always finds one.

The framework runs handlers on threads of a pool that all requests share. What may take longer than a look
at the index waits for one of a few places here instead, first come, first served.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

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
        self.imports = CapacityLimiter(max(1, cores // 2))
        self.questions = CapacityLimiter(8)
        """Searches of the index; so many read at once."""
        self.looks = CapacityLimiter(max(4, cores))
        """Comparisons, pages, looks at whole series, models as they are made and checked."""
        self.work = CapacityLimiter(max(4, cores))
        """Runs and loops: who looks does not wait for them."""


async def run_in(places: CapacityLimiter, function: Callable[[], T]) -> T:
    """What the function returns, run in a thread once there is a place. Waiting can be cancelled, the
    function itself not.
    """
    return await to_thread.run_sync(function, limiter=places)
