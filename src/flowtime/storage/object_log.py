"""A log in a bucket: an object a line, numbered from 1 without a gap, of which the newest are kept.

`end` holds the number of a late line, from which the last one is found in a few steps.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Protocol

from flowtime.errors import NotFound, Unavailable
from flowtime.storage.store import Bytes, number_in, position_after

_BATCH = 256
_KEPT = 10_000
"""Lines that stay at least; for a reader who is further behind, looking at everything anew is quicker."""
_CLEARED = 1_000
"""After so many lines the oldest are cleared away."""
_RECENT = 10.0
"""Seconds in which nobody adds as many lines as stay."""


class Objects(Protocol):
    """What the log needs of a store."""

    def put(self, key: str, data: bytes) -> None:
        """Sets the object to `data`."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Makes the object; of several callers exactly one is told True."""

    def size(self, key: str) -> int | None:
        """The size of the object, None where there is none."""

    def get(self, key: str) -> bytes:
        """The bytes of the object; raises NotFound."""

    def get_many(self, keys: Iterable[str]) -> Iterator[Bytes]:
        """The bytes of each object, or why it cannot be read."""

    def names(self, prefix: str) -> Sequence[str]:
        """The names of all objects under the prefix."""

    def drop(self, keys: Sequence[str]) -> None:
        """Deletes objects, of which some may have gone."""


class ObjectLog:
    """The logs of a store. Of each, the last line that was seen is remembered, and when."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._ends: dict[str, tuple[int, float]] = {}

    def append(self, log: str, record: str) -> None:
        """Adds a line."""
        number = self.end(log) + 1
        while not self._objects.put_if_absent(_line(log, number), record.encode()):
            time.sleep(random.uniform(0, 0.02))
            number = self.end(log) + 1
        self._saw(log, max(number, self._seen(log)))
        self._objects.put(f"{log}/end", b"%d" % number)
        if number % _CLEARED == 0:
            old = [each for each in self._numbers(log) if each <= number - _KEPT]
            self._objects.drop([_line(log, each) for each in old])

    def records(self, log: str, after: str) -> tuple[Sequence[str], str] | None:
        """As `Store.records`."""
        start = number_in(after)
        if start and position_after(start, self._text(log, start)) != after:
            self.forget(log)
            return None
        known = (start and self._seen(log)) or self.end(log)
        lines: list[str] = []
        size = 1
        while True:
            first = start + len(lines) + 1
            found = list(self._objects.get_many(_line(log, number) for number in range(first, first + size)))
            for each in found:
                if isinstance(each, Unavailable):
                    raise each
            # Of two lines added while these were asked for, only the later one may have been seen.
            new = list(takewhile(lambda each: isinstance(each, bytes), found))
            lines += [line.decode("utf-8", "replace") for line in new if isinstance(line, bytes)]
            if len(new) < size:
                break
            if len(lines) > _KEPT:
                return None
            size = min(2 * size, _BATCH)
        if start + len(lines) < known:
            # The lines between were cleared away meanwhile, or the log is another one now.
            self.forget(log)
            return None
        return tuple(lines), position_after(start + len(lines), lines[-1]) if lines else after

    def tail(self, log: str, count: int) -> tuple[Sequence[str], str]:
        """As `Store.tail`."""
        while True:
            start = max(self.end(log) - count, 0)
            before = self._text(log, start) if start else None
            if start and before is None:  # cleared away
                start = min(self._numbers(log), default=0)
                before = self._text(log, start)
            found = self.records(log, position_after(start, before))
            if found is not None:
                return found

    def end(self, log: str) -> int:
        """The number of the last line, 0 where there is none."""
        number, then = self._ends.get(log, (0, 0.0))
        if time.monotonic() - then > _RECENT and not self._is_there(log, number):
            # The line that was seen last may have been cleared away, and many after it.
            hint = self._read(f"{log}/end") or b""
            number = int(hint) if hint.isdigit() else 0
            if not self._is_there(log, number):
                number = max(self._numbers(log), default=0)
        # Strides that double find a line that is not there, halved ones the last that is.
        step = 1
        while self._is_there(log, number + step):
            number += step
            step *= 2
        while step > 1:
            step //= 2
            if self._is_there(log, number + step):
                number += step
        self._saw(log, number)
        return number

    def lines(self, log: str) -> list[str]:
        """The keys of the log's objects; what points at the end comes first."""
        return [f"{log}/end", *(_line(log, number) for number in sorted(self._numbers(log), reverse=True))]

    def forget(self, log: str) -> None:
        """Forgets how far the log went."""
        self._ends.pop(log, None)

    def _numbers(self, log: str) -> list[int]:
        return [int(name) for name in self._objects.names(log) if len(name) == 12 and name.isdigit()]

    def _seen(self, log: str) -> int:
        return self._ends.get(log, (0, 0.0))[0]

    def _saw(self, log: str, number: int) -> None:
        self._ends[log] = (number, time.monotonic())

    def _is_there(self, log: str, number: int) -> bool:
        return number > 0 and self._objects.size(_line(log, number)) is not None

    def _text(self, log: str, number: int) -> str | None:
        found = self._read(_line(log, number))
        return None if found is None else found.decode("utf-8", "replace")

    def _read(self, key: str) -> bytes | None:
        # One by one: many threads that follow logs must not wait for each other in a pool.
        try:
            return self._objects.get(key)
        except NotFound:
            return None


def _line(log: str, number: int) -> str:
    return f"{log}/{number:012d}"
