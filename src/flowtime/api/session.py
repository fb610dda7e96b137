"""Sessions of browsers: a random cookie, and a file with its hash that says who logged in.

Every worker of a server reads the same files, so a login counts for all of them, and so does a logout.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

JSON = dict[str, Any]

COOKIE = "flowtime_session"
LIFETIME = 12 * 3600
"""Seconds after which a browser logs in again."""

_MOST = 16
"""Sessions of one user at a time; the one that began first makes way for another."""
_COOKIE = re.compile(r"([0-9a-f]{32})-([0-9]{1,2})-([\w-]{43})", re.ASCII)


class Sessions:
    """The sessions of one server. Threads and processes may share the folder.

    Each user has a few places, which are files with names that follow from the user's. A cookie names its
    place, so nobody looks through all sessions, and the folder stays as small as the number of users.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is made, for this user alone, with the first session."""
        self._folder = folder

    def begin(self, user: str, who: JSON) -> str:
        """Notes that the user logged in, as `who` has it, and returns the value of the cookie."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key, secret = hashlib.sha256(user.encode()).hexdigest()[:32], secrets.token_urlsafe(32)
        until = time.time() + LIFETIME
        noted = msgspec.json.encode({"secret": _hash(secret), "until": until, "who": who})
        beside = self._folder / f"{secrets.token_hex(8)}.tmp"
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(noted)
        place = self._take(key, beside)
        return f"{key}-{place}-{secret}"

    def _take(self, key: str, noted: Path) -> int:
        """Puts a session into a free place, else into that of the oldest one."""
        oldest, ends = 0, float("inf")
        for place in range(_MOST):
            path = self._path(key, place)
            there, session = path.exists(), _read(path)
            if session is not None and time.time() < session["until"]:
                if session["until"] < ends:
                    oldest, ends = place, session["until"]
                continue
            if there and not _clear(path, self._folder / f"{secrets.token_hex(8)}.tmp"):
                continue
            # Of two who find the same place free, one gets it.
            with suppress(FileExistsError):
                os.link(noted, path)
                noted.unlink()
                return place
        noted.replace(self._path(key, oldest))
        return oldest

    def get(self, cookie: str) -> JSON | None:
        """Who logged in with this cookie; None where that is over, or never was."""
        found = self._find(cookie)
        who: JSON | None = None if found is None else found[1]["who"]
        return who

    def end(self, cookie: str) -> None:
        """Ends a session."""
        found = self._find(cookie)
        if found is not None:
            found[0].unlink(missing_ok=True)

    def _find(self, cookie: str) -> tuple[Path, JSON] | None:
        parts = _COOKIE.fullmatch(cookie)
        if parts is None:
            return None
        path = self._path(parts[1], int(parts[2]))
        session = _read(path)
        if session is None or time.time() >= session["until"]:
            return None
        return (path, session) if secrets.compare_digest(session["secret"], _hash(parts[3])) else None

    def _path(self, key: str, place: int) -> Path:
        return self._folder / f"{key}-{place}.json"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _clear(path: Path, aside: Path) -> bool:
    """Removes a session that has ended; False where somebody put a new one there meanwhile, which stays."""
    with suppress(FileNotFoundError):
        path.rename(aside)
        session = _read(aside)
        if session is not None and time.time() < session["until"]:
            with suppress(FileExistsError):
                os.link(aside, path)
            aside.unlink()
            return False
        aside.unlink()
    return True


def _read(path: Path) -> JSON | None:
    try:
        session: JSON = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError):
        return None
    return session
