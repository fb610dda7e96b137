"""Keys and bytes: one Store, opened by URL. Nothing here knows what a model or an artifact is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flowtime.errors import InvalidInput
from flowtime.storage.local import LocalStore
from flowtime.storage.store import Bytes, Listing, Stat, Store, check_key

__all__ = ["Bytes", "Listing", "LocalStore", "Stat", "Store", "check_key", "open_store"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_store(url: str | os.PathLike[str]) -> Store:
    """The store at a folder path or a `file://` URL; nothing is read or made yet.

    Raises InvalidInput (FT602) on any other URL.
    """
    text = os.fspath(url)
    scheme = _SCHEME.match(text)
    if scheme is None and text and "\0" not in text:
        return LocalStore(Path(text).expanduser())
    if scheme is not None and scheme[1].lower() == "file":
        parts = urlsplit(text)
        if parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            return LocalStore(Path(unquote(parts.path)))
    raise InvalidInput(
        "FT602",
        f"{text!r} names no store that can be opened",
        hint="give a folder (artifacts, /srv/artifacts) or a file URL (file:///srv/artifacts)",
    )
