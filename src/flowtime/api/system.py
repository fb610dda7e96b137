"""Addresses of the server itself: health, jobs, error codes, numbers for monitoring."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from flowtime.api import schemas
from flowtime.api.problems import face_of
from flowtime.api.responses import answer
from flowtime.api.server import Reading, Writing, server_of
from flowtime.errors import CODES, NotFound, Unavailable
from flowtime.version import __version__

router = APIRouter()


@router.get("/healthz", responses=schemas.ok(schemas.Health), summary="Is the server alive", tags=["system"])
def health(request: Request) -> Response:
    """Whether the registry answers, which one it is (its UUID), and the version of the server."""
    server = server_of(request)
    try:
        registry = server.service.registry_id()
    except Unavailable as error:
        if server.config.auth is None:
            raise
        # Whoever asks need not be known here: where the storage is stays inside.
        hint = "whoever runs the server finds the reason in the log of the storage"
        raise Unavailable(error.code, "the storage of the registry does not answer", hint=hint) from error
    return answer(request, {"status": "ok", "version": __version__, "registry": registry})


@router.get(
    "/metrics",
    responses=schemas.text("Numbers in the text format of Prometheus", "text/plain"),
    summary="Numbers for monitoring",
    tags=["system"],
    response_class=PlainTextResponse,
)
def metrics(call: Reading) -> Response:
    """Requests by route and status, their times, running jobs: in the text format of Prometheus. Any known
    caller may ask; a token of a reader is enough.
    """
    return Response(call.server.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/v1/index", responses=schemas.ok(schemas.IndexStatus), summary="The registry in numbers", tags=["system"]
)
def index_status(call: Reading) -> Response:
    """How many artifacts there are, and what storage holds that cannot be read. Where it lies is for those
    who run the server.
    """
    status = call.service.index_status()
    if call.caller is not None and call.caller.role != "admin":
        status = {key: value for key, value in status.items() if key not in ("root", "index")}
    return answer(call.request, status)


@router.get(
    "/v1/errors/{code}",
    responses=schemas.ok(schemas.ErrorCode),
    summary="What an error means",
    tags=["system"],
)
def error_code(request: Request, code: str) -> Response:
    """The title and explanation of an error code; the `type` of every problem leads here."""
    declared = CODES.get(code)
    if declared is None:
        raise NotFound("FT820", f'there is no error code "{code}"', hint="codes are FT and three digits")
    return answer(request, {"code": code, **asdict(declared)})


@router.get("/v1/jobs", responses=schemas.ok(schemas.JobList), summary="All jobs", tags=["jobs"])
def list_jobs(call: Reading) -> Response:
    """The caller's jobs, newest first; they are kept for a week after their end."""
    return answer(call.request, {"jobs": call.server.jobs.all(call.oversees, face_of(call.request))})


@router.get("/v1/jobs/{id}", responses=schemas.ok(schemas.Job), summary="One job", tags=["jobs"])
def show_job(call: Reading, id: schemas.Named) -> Response:
    """How far a job is; when it is done its result, when it failed its error."""
    return answer(call.request, call.server.jobs.get(id, call.oversees, face_of(call.request)))


@router.delete("/v1/jobs/{id}", responses=schemas.ok(schemas.Job), summary="Cancel a job", tags=["jobs"])
def cancel_job(call: Writing, id: schemas.Named) -> Response:
    """Asks a job to stop at its next step; nothing of it is kept then."""
    return answer(call.request, call.server.jobs.cancel(id, call.oversees, face_of(call.request)))
