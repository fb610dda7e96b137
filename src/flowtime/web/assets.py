"""The files that pages load: read once, kept by browsers for good.

Their addresses hold a hash over all of them, so that a new version of the package has new addresses. Modules
import each other by relative paths, which keeps that hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file: its bytes, and what they are."""

    data: bytes
    media: str


@cache
def assets() -> dict[str, Asset]:
    """All files by their path under `static`."""
    found = {}
    for path, entry in _walk(files("flowtime.web") / "static", ""):
        found[path] = Asset(entry.read_bytes(), _MEDIA["." + path.rpartition(".")[2]])
    return found


@cache
def fingerprint() -> str:
    """A hash over all files, as it stands in their addresses."""
    hashed = hashlib.sha256()
    for path, asset in sorted(assets().items()):
        hashed.update(path.encode() + b"\0" + hashlib.sha256(asset.data).digest())
    return hashed.hexdigest()[:16]


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    entries: list[tuple[str, Traversable]] = []
    for entry in folder.iterdir():
        path = prefix + entry.name
        entries += _walk(entry, path + "/") if entry.is_dir() else [(path, entry)]
    return entries
