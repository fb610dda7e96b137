"""Import over HTTP: an upload goes to a temporary file, is checked as a whole, and stored or not at all."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from flowtime.api import schemas
from flowtime.api.jobs import Tell
from flowtime.api.responses import address, linked
from flowtime.api.server import Call, Writing
from flowtime.api.work import perform
from flowtime.errors import Conflict, FlowtimeError, InvalidInput
from flowtime.service import Flowtime

JSON = dict[str, Any]

router = APIRouter(prefix="/v1", tags=["imports"])

_WATCH = 0.5
"""Seconds between two looks whether the caller is still there."""


@router.post(
    "/import",
    status_code=201,
    responses=schemas.made_or_work(schemas.Imported),
    openapi_extra=schemas.UPLOAD,
    summary="Import data as telemetry",
)
async def import_data(call: Writing, options: Annotated[schemas.ImportOptions, Query()]) -> Response:
    """A telemetry artifact from CSV, NDJSON, Parquet or a bundle: as the body itself, or as the part `file`
    of multipart/form-data, where `metadata` is the file that lay beside it and other parts are options.

    With `dry_run` everything is checked and nothing stored. Of a file with wrong rows the answer, 422, lists
    up to 1,000 of them with their true number.
    """
    folder = Path(tempfile.mkdtemp(prefix="flowtime-upload-"))
    try:
        path, said = await _receive(call.request, folder)
        wanted = options.over(said)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    gone = threading.Event()

    def work(call: Call, tell: Tell) -> JSON:
        def told(rows: int, share: float | None) -> None:
            if gone.is_set():
                raise Conflict("FT834", "the caller has gone", hint="nothing was kept")
            tell(rows, None if not share else rows / share)

        try:
            catalog = call.service.import_data(path, progress=told, **wanted.to_service())
        except FlowtimeError as error:
            raise _without(error, folder) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return catalog if wanted.dry_run else linked(call.request, catalog)

    def run() -> Response:
        status = 200 if wanted.dry_run else 201
        return perform(call, "import", work, status=status, headers=lambda made: _location(call, made))

    watching = asyncio.create_task(_watch(call.request, gone))
    try:
        return await run_in_threadpool(run)
    finally:
        watching.cancel()


def _location(call: Call, made: JSON) -> dict[str, str]:
    return {"Location": address(call.request, made["id"])} if "id" in made else {}


async def _watch(request: Request, gone: threading.Event) -> None:
    """Notes when the caller has gone, so that what is under way stops."""
    while not await request.is_disconnected():
        await asyncio.sleep(_WATCH)
    gone.set()


async def _receive(request: Request, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The uploaded file in the folder, and what the form says besides."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        path = folder / "data"
        with path.open("wb") as file:
            async for piece in request.stream():
                await run_in_threadpool(file.write, piece)
        return path, {}
    try:
        form = await request.form(max_files=2, max_fields=64)
    except MultiPartException as error:
        raise InvalidInput("FT822", f"the form cannot be read: {error.message}") from error
    try:
        data, metadata = form.get("file"), form.get("metadata")
        if not isinstance(data, UploadFile):
            raise InvalidInput("FT822", "the form has no part named file", hint="send the data as `file`")
        path = folder / _name(data.filename)
        await run_in_threadpool(_copy, data, path)
        if isinstance(metadata, UploadFile):
            await run_in_threadpool(_copy, metadata, Flowtime.sidecar_of(path))
        fields: dict[str, Any] = {}
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields.setdefault(name, []).append(value)
        return path, fields
    finally:
        await form.close()


def _copy(upload: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file, 1 << 20)


def _name(filename: str | None) -> str:
    """A file name that is safe here, and says to its user which file is meant."""
    last = re.split(r"[/\\]", filename or "")[-1]
    return re.sub(r"[^\w .+-]", "_", last)[-100:].strip(". ") or "data"


def _without(error: FlowtimeError, folder: Path) -> FlowtimeError:
    """The error without the folder in which the server keeps uploads."""
    prefix = f"{folder}/"

    def clean(text: str | None) -> str | None:
        return text and text.replace(prefix, "")

    errors = [
        replace(each, message=clean(each.message) or "", source=clean(each.source), hint=clean(each.hint))
        for each in error.errors
    ]
    return type(error)(
        error.code,
        clean(error.message) or "",
        where=clean(error.where),
        hint=clean(error.hint),
        errors=errors,
        count=error.count,
    )
