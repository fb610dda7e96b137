"""Work that may take long: done before the answer, or as a job where the caller prefers that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

from anyio import CapacityLimiter
from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from flowtime.api.jobs import Tell
from flowtime.api.responses import answer, base
from flowtime.api.server import Call
from flowtime.api.threads import run_in
from flowtime.errors import Conflict, Unavailable
from flowtime.wanted import wanted_while

JSON = dict[str, Any]
T = TypeVar("T")


async def perform(
    call: Call,
    kind: str,
    work: Callable[[Tell], JSON],
    *,
    show: Callable[[Request, JSON], Response] = answer,
    places: CapacityLimiter | None = None,
    after: Callable[[], object] = lambda: None,
) -> Response:
    """The result of `work`, shown by `show`; with `Prefer: respond-async` (RFC 7240) a job that will have it.

    `work` tells of its progress, and is stopped there when the caller goes away or the server ends. `after`
    is called at the end, also where the work did not even begin.
    """
    if prefers_job(call.request):
        job = await run_in_threadpool(call.server.jobs.begin, kind, call.owner, work, after)
        place = f"{base(call.request)}/v1/jobs/{job['id']}"
        return answer(
            call.request, job, status=202, headers={"Location": place, "Preference-Applied": "respond-async"}
        )
    try:
        result = await attend(call, work, places=places or call.server.threads.work)
    finally:
        await run_in_threadpool(after)
    return show(call.request, result)


async def attend(call: Call, work: Callable[[Tell], T], *, places: CapacityLimiter | None = None) -> T:
    """What `work` returns, done in a thread once one of the `places` (those for looks) is free.

    It is stopped where it tells of its progress, or asks whether it is `still_wanted`, once the caller has
    gone or the server ends.
    """
    gone = threading.Event()

    def tell(*_: object) -> None:
        if gone.is_set():
            raise Conflict("FT834", "the caller has gone", hint="nothing was kept")
        if call.server.jobs.stopping.is_set():
            raise Unavailable("FT839", "the server is stopping; nothing was kept", hint="ask again later")

    def wanted() -> T:
        with wanted_while(tell):
            return work(tell)

    watching = asyncio.create_task(_watch(call.request, gone))
    try:
        return await run_in(places or call.server.threads.looks, wanted)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def look(call: Call, at: Callable[[], JSON]) -> Response:
    """What `at` returns, which takes more than a look at the index, done by `attend`."""
    return answer(call.request, await attend(call, lambda _: at()))


def attended(handler: Callable[..., T]) -> Callable[..., Coroutine[Any, Any, T]]:
    """A handler that waits for one of the places for looks, and is stopped when its caller has gone; what it
    is called with comes by name, the request as `call`.
    """

    @wraps(handler)
    async def attending(call: Call, **given: Any) -> T:
        return await attend(call, lambda _: handler(call=call, **given))

    return attending


def prefers_job(request: Request) -> bool:
    """Whether the caller wants to hear of the result later."""
    preferred = ",".join(request.headers.getlist("prefer")).lower().split(",")
    return "respond-async" in (word.partition(";")[0].strip() for word in preferred)


async def _watch(request: Request, gone: threading.Event) -> None:
    """Notes when the caller has gone, so that what is under way stops. Its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        """Nothing else comes after the request."""
    gone.set()
