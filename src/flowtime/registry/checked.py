"""Files compared with what their catalog says of them, once as long as they do not change."""

from __future__ import annotations

import hashlib
import os
from typing import Any, BinaryIO

from flowtime.errors import Unavailable
from flowtime.registry.document import JSON

_REMEMBERED = 10_000


class Checked:
    """Remembers which files had their hash when they were read last. Threads share one."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], None] = {}

    def held(self, stream: BinaryIO, id: str, said: JSON) -> BinaryIO:
        """The open file, at its beginning, if it is what the catalog says of it; else it is closed.

        Raises Unavailable (FT805).
        """
        try:
            if why := self._differs(stream, said):
                raise Unavailable(
                    "FT805",
                    f"{id}: {said['name']} is not what was published: {why}",
                    hint="restore the file from a backup, or delete the artifact",
                )
        except BaseException:
            stream.close()
            raise
        return stream

    def _differs(self, stream: BinaryIO, said: JSON) -> str | None:
        found = os.fstat(stream.fileno())
        if found.st_size != said["bytes"]:
            return f"it has {found.st_size:,} bytes, published were {said['bytes']:,}"
        seen = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, said["sha256"])
        if seen in self._known:
            return None
        digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        stream.seek(0)
        if f"sha256:{digest}" != said["sha256"]:
            return "it has another hash"
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[seen] = None
        return None
