"""Turns in a bucket: an object says who changes something now, and is renewed while its holder lives."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from flowtime.errors import FlowtimeError, Unavailable

Version = dict[str, str]
"""What a conditional write names of the object that it replaces."""

_RENEWED = 4.0
"""Seconds between two renewals."""
_DEAD = 20.0
"""Seconds without a renewal after which a holder counts as dead, and stops believing in its turn."""
_PATIENCE = 90.0
_PAUSE = 0.02
_LONGEST_PAUSE = 0.5


class Objects(Protocol):
    """What turns need of a store."""

    def write_once(self, key: str, data: bytes, version: Version | None) -> bool:
        """Writes where the object has this version, or is not there for None; False where that is not so."""

    def read_version(self, key: str) -> tuple[bytes, Version] | None:
        """The bytes and their version, None where there is no object."""

    def drop(self, keys: Sequence[str]) -> None:
        """Deletes the objects."""


class Turn:
    """The turn of one holder, renewed by a thread until it ends."""

    def __init__(self, objects: Objects, key: str, where: str) -> None:
        """`key` is that of the turn's object, `where` says to people what is changed."""
        self._objects = objects
        self._key = key
        self._where = where
        self._token = os.urandom(16)
        self._renewed = 0.0
        self._over = threading.Event()

    def hold(self) -> None:
        """Raises Unavailable (FT606) where this turn may have passed to somebody else."""
        if time.monotonic() - self._renewed > _DEAD / 2:
            raise Unavailable(
                "FT606",
                "the turn to change this was lost, for the store could not be reached for too long",
                where=self._where,
                hint="try again",
            )

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Waits for the turn, and holds it while the block lasts."""
        self._wait()
        heart = threading.Thread(target=self._renew, name="flowtime-turn", daemon=True)
        heart.start()
        try:
            yield
        finally:
            self._over.set()
            heart.join()
            read = self._objects.read_version(self._key)
            if read is not None and read[0].startswith(self._token):
                self._objects.drop([self._key])

    def _wait(self) -> None:
        began = time.monotonic()
        seen, since, pause = b"", began, _PAUSE
        while True:
            now = time.monotonic()
            if self._objects.write_once(self._key, self._body(), None):
                self._renewed = now
                return
            read = self._objects.read_version(self._key)
            if read is not None and read[0] != seen:
                seen, since = read[0], time.monotonic()
            elif read is not None and time.monotonic() - since > _DEAD:
                # The holder has died: of several who wait, one replaces what it left.
                now = time.monotonic()
                if self._objects.write_once(self._key, self._body(), read[1]):
                    self._renewed = now
                    return
            if time.monotonic() - began > _PATIENCE:
                raise Unavailable(
                    "FT606",
                    f"somebody else has been changing this for {_PATIENCE:.0f} seconds",
                    where=self._where,
                    hint="try again when that is done",
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _renew(self) -> None:
        while not self._over.wait(_RENEWED):
            now = time.monotonic()
            try:
                read = self._objects.read_version(self._key)
                if read is None or not read[0].startswith(self._token):
                    return
                if self._objects.write_once(self._key, self._body(), read[1]):
                    self._renewed = now
            except FlowtimeError:
                continue  # `hold` tells the holder if that goes on for too long

    def _body(self) -> bytes:
        return self._token + os.urandom(8)
