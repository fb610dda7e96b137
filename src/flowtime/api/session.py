"""Sessions of browsers: a random cookie, and a file under its hash that says who logged in.

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

_SECRET = re.compile(r"[\w-]{43}", re.ASCII)


class Sessions:
    """The sessions of one server. Threads and processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made, for this user alone, with the first session."""
        self._folder = folder

    def begin(self, who: JSON) -> str:
        """Notes who logged in, and returns the value of the cookie. Sessions that ended are forgotten."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = time.time()
        for path in self._folder.glob("*.json"):
            with suppress(OSError):
                if now - path.stat().st_mtime > LIFETIME:
                    path.unlink()
        secret = secrets.token_urlsafe(32)
        path = self._path(secret)
        beside = path.with_suffix(".tmp")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode({"until": now + LIFETIME, "who": who}))
        beside.replace(path)
        return secret

    def get(self, secret: str) -> JSON | None:
        """Who logged in with this cookie; None where that is over, or never was."""
        if not _SECRET.fullmatch(secret):
            return None
        try:
            session: JSON = msgspec.json.decode(self._path(secret).read_bytes())
        except (OSError, ValueError):
            return None
        who: JSON | None = session["who"] if time.time() < session["until"] else None
        return who

    def end(self, secret: str) -> None:
        """Ends a session."""
        if _SECRET.fullmatch(secret):
            self._path(secret).unlink(missing_ok=True)

    def _path(self, secret: str) -> Path:
        return self._folder / f"{hashlib.sha256(secret.encode()).hexdigest()}.json"
