"""Work that may take long: done before the answer, or as a job where the caller prefers that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Response

from flowtime.api.jobs import Tell
from flowtime.api.responses import answer, base
from flowtime.api.server import Call

JSON = dict[str, Any]


def perform(
    call: Call,
    kind: str,
    work: Callable[[Call, Tell], JSON],
    *,
    status: int = 200,
    headers: Callable[[JSON], dict[str, str]] = lambda result: {},
) -> Response:
    """The result of `work`; with `Prefer: respond-async` (RFC 7240) a job that will have it, as 202."""
    preferred = call.request.headers.get("prefer", "").lower()
    if "respond-async" not in (word.strip() for word in preferred.split(",")):
        result = work(call, _nobody)
        return answer(call.request, result, status=status, headers=headers(result))
    job = call.server.jobs.begin(kind, call.owner, lambda tell: work(call, tell))
    place = f"{base(call.request)}/v1/jobs/{job['id']}"
    return answer(
        call.request, job, status=202, headers={"Location": place, "Preference-Applied": "respond-async"}
    )


def _nobody(done: int, total: float | None) -> None:
    """Tells nobody."""
