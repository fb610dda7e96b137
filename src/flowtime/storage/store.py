"""The interface of every store, and the rule of its keys."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flowtime.errors import InvalidInput, NotFound, Unavailable

_BAD_SEGMENT = re.compile(r"[\x00-\x1f\x7f\\]|^\.{0,2}$")
MAX_KEY = 900
"""Longest key in characters; object stores take 1,024 bytes including the prefix of the root."""

Bytes = bytes | NotFound | Unavailable
"""What one of many keys held, or why it could not be read."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The names directly under a prefix, each sorted: those that hold further keys, and the keys.

    Where folders exist by themselves, as on disks and in ADLS, one that is empty is among the former.
    """

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.folders or self.files)


class Store(ABC):
    """Bytes under keys such as `runs/a/catalog.json`: relative, `/` between the segments.

    A write is whole and durable when its method returns, and readers see the bytes before it or those
    after it, never a part. Every method raises InvalidInput (FT603) on a malformed key and Unavailable
    (FT604 full, FT605 not allowed, FT606 anything else) when the store does not do what it was asked.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """The one spelling of this store's address, equal for two ways of naming the same store."""

    @abstractmethod
    def location(self, key: str) -> str:
        """The key as a person finds it: a path or a URL."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """All bytes of the key; raises NotFound (FT601)."""

    @abstractmethod
    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Up to `length` bytes from byte `start`, fewer where the key ends; raises NotFound (FT601)."""

    @abstractmethod
    def get_many(self, keys: Iterable[str]) -> Iterator[Bytes]:
        """What `get` returns or raises for each key, in order."""

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """A readable, seekable stream of the key's bytes; raises NotFound (FT601)."""

    @abstractmethod
    def file(self, key: str) -> AbstractContextManager[Path]:
        """A local file with the key's bytes, not to be written to, while the block lasts.

        Raises NotFound (FT601).
        """

    @abstractmethod
    def size(self, key: str) -> int | None:
        """The number of bytes under the key, or None where it does not exist."""

    @abstractmethod
    def list(self, prefix: str) -> Listing:
        """The names directly under the prefix (`""` is the root); empty where nothing is."""

    @abstractmethod
    def list_many(self, prefixes: Iterable[str]) -> Iterator[Listing]:
        """What `list` returns for each prefix, in order."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Sets the key to `data`."""

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Sets the key unless it exists; of several callers exactly one is told True."""

    @abstractmethod
    def update(self, key: str, change: Callable[[bytes], bytes]) -> bytes:
        """Sets the key to `change(its bytes)` and returns that; raises NotFound (FT601).

        No other update is lost in between; `change` may be called more than once. Where it returns the
        bytes it was given, nothing is written.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes the key, or the log with all its lines; one that does not exist is no error."""

    @abstractmethod
    def append(self, log: str, record: str) -> None:
        """Adds a line to a log; lines of several writers never mix. Of a long log, the oldest lines go."""

    def note(self, log: str, record: str) -> None:
        """As `append`, for a line that a power cut may take."""
        self.append(log, record)

    @abstractmethod
    def records(self, log: str, after: str) -> tuple[Sequence[str], str] | None:
        """The lines added after position `after` (empty: from the beginning), and the position now.

        A position knows the line before it. None where that is not in the log, which is another one or has
        been cut short at its beginning, or where so many follow that looking at everything anew is quicker.
        """

    @abstractmethod
    def tail(self, log: str, count: int) -> tuple[Sequence[str], str]:
        """The last lines of a log, at most `count`, and the position after them, empty where it has none."""

    @abstractmethod
    def marks(self, keys: Sequence[str], logs: Sequence[str], prefixes: Sequence[str]) -> tuple[str, ...]:
        """A mark for each key, each log and each prefix, in this order.

        A key's changes when it is written, a log's when a line is added, a prefix's when a name directly
        under it comes or goes; where a store cannot tell, always the same, and a log must say what has
        changed. A mark is empty while the next change could bear the same one.
        """

    def stamp(self, prefix: str) -> int | None:
        """A number that grows when a name directly under the prefix comes or goes, unless the clock is set
        back or has not ticked since the last time; None where the store has none.
        """
        return None

    def stamps(self, keys: Sequence[str]) -> Sequence[str] | None:
        """A text for each key, a file or a folder, that changes when it is written, by whomever; None where
        that cannot be told at little cost.

        A stamp is empty while the next change could bear the same one.
        """
        return None

    @abstractmethod
    def turn(self, prefix: str) -> AbstractContextManager[None]:
        """Keeps all others out who take the turn of this prefix, in any process, while the block lasts.

        The turn of a process that dies ends with it, in a bucket 20 seconds later. A thread takes one at a
        time. Raises Unavailable (FT606) where somebody else does not end.
        """

    @abstractmethod
    def stage(self, room: int = 0) -> AbstractContextManager[Path]:
        """An empty local folder for files to publish; gone when the block ends, however it ends.

        Raises Unavailable (FT604) where its disk has no `room` for so many bytes. An OSError that leaves the
        block because of the disk under the folder is raised as Unavailable.
        """

    @abstractmethod
    def publish(self, folder: Path, prefix: str, last: str) -> bool:
        """Makes the files of a staged folder appear under the prefix, all or nothing.

        `last` names the file without which the others count as absent. False, with everything as it
        was, where the prefix is taken; of several callers exactly one is told True.
        """

    @abstractmethod
    def move(self, prefix: str, target: str, last: str) -> bool:
        """Moves everything under a prefix; False where the target is taken. Raises NotFound (FT601).

        `last` is as in `publish`: it comes last at the target, and goes first at the source once the target
        is complete. Of several files of this name the one highest up, of these the first, is the very last
        and first.
        """

    @abstractmethod
    def remove(self, prefix: str, last: str) -> None:
        """Removes everything under a prefix; a prefix that does not exist is no error.

        Files named `last` go first, so that what an interruption leaves counts as absent.
        """

    @abstractmethod
    def sweep(self, older: float, into: str) -> Sequence[str]:
        """Moves what writers have left unfinished for more than `older` seconds under the prefix `into`, a
        bounded number at a time. Of a move that left both places whole, the one outside the topmost folder
        of `into`, the trash, stays.

        Returns the prefixes where something may have changed; who knows a log tells it of them next.
        """


def position_after(number: int, line: str | None) -> str:
    """The position in a log at this number, after this line; empty at the beginning."""
    if line is None:
        return ""
    return f"{number}:{hashlib.sha256(line.encode()).hexdigest()[:16]}"


def number_in(position: str) -> int:
    """The number in a position; 0 at the beginning."""
    return int(position.partition(":")[0] or 0)


def check_key(key: str, *, root: bool = False) -> str:
    """`key` itself; raises InvalidInput (FT603) unless it is relative and well-formed.

    Refused: empty segments, `.` and `..`, backslashes, control characters, more than 900 characters;
    the empty key too, unless `root` says that it stands for the root.
    """
    if root and not key:
        return key
    if len(key) > MAX_KEY or any(_BAD_SEGMENT.search(segment) for segment in key.split("/")):
        raise InvalidInput(
            "FT603",
            f"not a storage key: {key[:200]!r}",
            hint="keys are relative, names joined by /, without .., backslashes and control characters",
        )
    return key
