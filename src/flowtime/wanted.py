"""Whether somebody still waits for what is made: long work asks now and then, and stops where nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ask: ContextVar[Callable[[], object] | None] = ContextVar("flowtime_wanted", default=None)


@contextmanager
def wanted_while(ask: Callable[[], object]) -> Iterator[None]:
    """Within the block, in this thread, `ask` is called by what works long; it raises to stop that."""
    token = _ask.set(ask)
    try:
        yield
    finally:
        _ask.reset(token)


def still_wanted() -> None:
    """Raises what whoever waits raises to stop the work; does nothing where nobody said how to ask."""
    ask = _ask.get()
    if ask is not None:
        ask()
