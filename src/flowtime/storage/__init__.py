"""Keys and bytes: one Store, opened by URL. Nothing here knows what a model or an artifact is."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flowtime.errors import InvalidInput
from flowtime.storage.local import LocalStore
from flowtime.storage.store import Bytes, Listing, Store, check_key
from flowtime.wording import action

__all__ = ["Bytes", "Listing", "LocalStore", "Store", "check_key", "open_store"]

OBJECTS = ("s3", "az", "abfs", "abfss", "memory")
"""The schemes of stores in buckets, whose modules and library are imported when one is opened."""

_FILE = re.compile(r".+\.(csv|tsv|ndjson|jsonl|json|parquet|xlsx|zip|ya?ml)(\.gz|\.zst)?", re.IGNORECASE)
"""Names of files of data and models, which nobody means for a folder of artifacts."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def open_store(url: str | os.PathLike[str]) -> Store:
    """The store at a folder path, a `file://` URL or the URL of a bucket; nothing is read or made yet.

    Buckets are `s3://bucket/prefix`, `az://container/prefix` and
    `abfss://container@account.dfs.core.windows.net/prefix`; `memory://name` lasts as long as the process.
    Raises InvalidInput (FT602) on any other URL, (FT608) where the settings of the cloud do not fit.
    """
    text = os.fspath(url)
    scheme = _SCHEME.match(text)
    if scheme is None and text and "\0" not in text:
        return LocalStore(_folder(Path(text).expanduser()))
    if scheme is not None and scheme[1].lower() == "file":
        parts = urlsplit(text)
        if parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            return LocalStore(_folder(Path(unquote(parts.path))))
    if scheme is not None and scheme[1].lower() in OBJECTS:
        store: Store = import_module("flowtime.storage.clouds").open_objects(text)
        return store
    raise InvalidInput(
        "FT602",
        f"{text!r} names no store that can be opened",
        hint="give a folder (artifacts, /srv/artifacts) or a bucket (s3://bucket/prefix, "
        "az://container/prefix, abfss://container@account.dfs.core.windows.net/prefix)",
    )


def _folder(path: Path) -> Path:
    """The path itself; raises InvalidInput (FT602) where it is the name of a file, and no folder has it."""
    if _FILE.fullmatch(path.name) and not path.is_dir():
        raise InvalidInput(
            "FT602",
            f'"{path}" is the name of a file, and a registry is a folder or a bucket',
            hint=f"{action('export', str(path))} writes the series of a run to a file",
        )
    return path
