"""That a server process is here: a folder of its own, with a lock that ends with the process.

Other processes of the same registry see by the lock whether a job's process still works at it. A number of
a process would not tell: the system gives it to another one. What a killed process left lies in its folder,
and goes with it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_NAME = re.compile(r"process_[0-9a-f]{16}")


class Presence:
    """One process among those of a registry."""

    def __init__(self, folder: Path) -> None:
        """`folder` is shared by the processes; it is made when this one enters."""
        self._all = folder
        self.name = f"process_{secrets.token_hex(8)}"
        self._folder = folder / self.name
        self._lock: int | None = None

    def enter(self) -> None:
        """Takes the lock, and removes what processes left that have gone."""
        # Under another name until it is locked: others remove what seems abandoned.
        fresh = self._all / f"new_{secrets.token_hex(8)}"
        fresh.mkdir(parents=True)
        self._lock = os.open(fresh / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try_lock(self._lock)
        fresh.rename(self._folder)
        for other in self._all.glob("process_*"):
            if not self.is_alive(other.name):
                shutil.rmtree(other, ignore_errors=True)

    def leave(self) -> None:
        """Gives the lock back, and removes the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def is_alive(self, name: str) -> bool:
        """Whether the process of this name is still here."""
        if name == self.name:
            return self._lock is not None
        if not _NAME.fullmatch(name):
            return False
        try:
            lock = os.open(self._all / name / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not try_lock(lock)
        finally:
            os.close(lock)

    def scratch(self) -> Path:
        """A new folder for one request, which that one removes."""
        folder = self._folder / secrets.token_hex(8)
        folder.mkdir(parents=True)
        return folder


def try_lock(file: int) -> bool:
    """Whether nobody else holds the lock; then it is held here until the file is closed."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
