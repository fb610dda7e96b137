"""Import over HTTP: an upload goes to a temporary file, is checked as a whole, and stored or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from starlette.concurrency import run_in_threadpool

from flowtime.api import schemas
from flowtime.api.doors import takes
from flowtime.api.jobs import Tell
from flowtime.api.responses import answer, created, linked
from flowtime.api.server import Writing
from flowtime.api.uploads import receive
from flowtime.api.work import perform
from flowtime.errors import FlowtimeError

JSON = dict[str, Any]

router = APIRouter(prefix="/v1", tags=["imports"])


@router.post(
    "/import",
    status_code=201,
    responses=schemas.made_or_work(schemas.Imported),
    openapi_extra=schemas.UPLOAD,
    summary="Import data as telemetry",
)
@takes("body")
async def import_data(call: Writing, options: Annotated[schemas.ImportOptions, Query()]) -> Response:
    """A telemetry artifact from CSV, NDJSON, Parquet or a bundle: as the body itself, or as the part `file`
    of multipart/form-data, where `metadata` is the file that lay beside it and other parts are options.

    With `dry_run` everything is checked and nothing stored. Of a file with wrong rows the answer, 422, lists
    up to 1,000 of them with their true number.
    """
    folder = await run_in_threadpool(call.server.presence.scratch)
    try:
        path, said = await receive(call.request, folder)
        wanted = options.over(said)
        to_service = wanted.to_service()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise

    def work(tell: Tell) -> JSON:
        def told(rows: int, share: float | None) -> None:
            tell(rows, None if not share else rows / share)

        try:
            catalog = call.service.import_data(path, progress=told, **to_service)
        except FlowtimeError as error:
            raise _without(error, folder) from None
        return catalog if wanted.dry_run else linked(call.request, catalog)

    return await perform(
        call,
        "import",
        work,
        show=answer if wanted.dry_run else created,
        places=call.server.threads.imports,
        after=lambda: shutil.rmtree(folder, ignore_errors=True),
    )


def _without(error: FlowtimeError, folder: Path) -> FlowtimeError:
    """The error without the folder in which the server keeps uploads."""
    return error.revised(lambda text: text.replace(f"{folder}/", ""))
