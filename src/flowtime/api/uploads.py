"""Uploads: a body goes to a folder as it comes, and is never in memory as a whole."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from flowtime.errors import InvalidInput
from flowtime.service import Flowtime

_BLOCK = 1 << 20
_FIELDS = 64
_FIELD_BYTES = 1 << 16
_NAME_BYTES = 200
_FILES = ("file", "metadata")

Fields = dict[str, list[str]]


async def receive(request: Request, folder: Path) -> tuple[Path, Fields]:
    """The uploaded file in the folder, its metadata beside it, and what the form says besides.

    The body is the file itself, or a form (RFC 7578) with the part `file`, perhaps the part `metadata`, and
    fields. Raises InvalidInput (FT822) for a form that cannot be read.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        path = folder / "data"
        with path.open("wb") as file:
            async for block in _blocks(request):
                await run_in_threadpool(file.write, block)
        return path, {}
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidInput("FT822", "the Content-Type of the form names no boundary")
    with _Form(folder) as form:
        parser = MultipartParser(boundary, form.callbacks())
        try:
            async for block in _blocks(request):
                await run_in_threadpool(parser.write, block)
            await run_in_threadpool(parser.finalize)
        except (FormParserError, UnicodeDecodeError) as error:
            raise InvalidInput("FT822", f"the form cannot be read: {error}") from error
    return form.result()


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    """The body in blocks that are worth a thread's time."""
    held = bytearray()
    async for piece in request.stream():
        held += piece
        if len(held) >= _BLOCK:
            yield bytes(held)
            held.clear()
    yield bytes(held)


class _Form:
    """Takes the parts of a form as the parser finds them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fields: Fields = {}
        self._files: dict[str, Path] = {}
        self._filename = ""
        self._headers: dict[bytes, bytes] = {}
        self._header = (b"", b"")
        self._name = ""
        self._open: BinaryIO | None = None
        self._value = bytearray()
        self._ended = False

    def __enter__(self) -> _Form:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open.close()

    def callbacks(self) -> Any:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._spell(data[start:end], b""),
            "on_header_value": lambda data, start, end: self._spell(b"", data[start:end]),
            "on_header_end": self._note,
            "on_headers_finished": self._start,
            "on_part_data": lambda data, start, end: self._take(data[start:end]),
            "on_part_end": self._finish,
            "on_end": self._end,
        }

    def result(self) -> tuple[Path, Fields]:
        """The file, with its metadata beside it, and the fields."""
        if not self._ended:
            raise InvalidInput("FT822", "the form is cut off: its last boundary is missing")
        if "file" not in self._files:
            raise InvalidInput("FT822", "the form has no part named file", hint="send the data as `file`")
        path = self._files["file"].rename(self._folder / _safe(self._filename))
        if "metadata" in self._files:
            self._files["metadata"].rename(Flowtime.sidecar_of(path))
        return path, self._fields

    def _begin(self) -> None:
        self._headers, self._header, self._value = {}, (b"", b""), bytearray()

    def _spell(self, name: bytes, value: bytes) -> None:
        self._header = (self._header[0] + name, self._header[1] + value)

    def _note(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = (b"", b"")

    def _start(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode()
        if self._name not in _FILES:
            if b"filename" in options:
                raise InvalidInput(
                    "FT822",
                    f'the form has a file named "{self._shown}"',
                    hint="it may have file and metadata",
                )
            return
        if self._name in self._files:
            raise InvalidInput("FT822", f"the form has the part {self._name} twice")
        if self._name == "file":
            self._filename = options.get(b"filename", b"").decode(errors="replace")
        self._files[self._name] = self._folder / f"{self._name}.part"
        self._open = self._files[self._name].open("wb")

    @property
    def _shown(self) -> str:
        return self._name[:100]

    def _take(self, data: bytes) -> None:
        if self._open is not None:
            self._open.write(data)
        elif len(self._value) + len(data) > _FIELD_BYTES:
            raise InvalidInput("FT822", f'the field "{self._shown}" has more than {_FIELD_BYTES:,} bytes')
        else:
            self._value += data

    def _finish(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
            return
        if sum(map(len, self._fields.values())) >= _FIELDS:
            raise InvalidInput("FT822", f"the form has more than {_FIELDS} fields")
        self._fields.setdefault(self._name, []).append(self._value.decode())

    def _end(self) -> None:
        self._ended = True


def _safe(filename: str) -> str:
    """A file name that is safe here, and says to its user which file is meant."""
    last = re.sub(r"[^\w .+-]", "_", re.split(r"[/\\]", filename)[-1])
    # Disks count bytes, and the name of the metadata beside it is longer.
    return last.encode()[-_NAME_BYTES:].decode(errors="ignore").strip(". ") or "data"
