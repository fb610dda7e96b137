"""The pages of jobs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from flowtime.api.responses import local
from flowtime.api.schemas import Named
from flowtime.api.server import Reading
from flowtime.web.rendering import page
from flowtime.wording import PAGE

JSON = dict[str, Any]

router = APIRouter()

_NAMES = {
    "run": "Run",
    "import": "Import",
    "loop": "Verification of the loop",
    "index rebuild": "Rebuild of the index",
    "index verify": "Check of every artifact",
}


@router.get("/jobs")
def jobs(call: Reading) -> Response:
    """The caller's jobs, newest first."""
    found = call.server.jobs.all(call.oversees, PAGE)
    running = any(job["finished_utc"] is None for job in found)
    return page(call, "jobs.html", part="parts/job_list.html", jobs=found, running=running, names=_NAMES)


@router.get("/jobs/{id}")
def job(call: Reading, id: Named, follow: str = "") -> Response:
    """One job: how far it is, what came of it. `follow` is where to go when it is done: the path of a page,
    or `result` for the artifact that it made.
    """
    found = call.server.jobs.get(id, call.oversees, PAGE)
    made = (found["result"] or {}).get("id")
    onward = f"/artifacts/{made}" if made else ""
    if follow.startswith("/artifacts/"):
        onward = local(follow) or onward
    headers = {}
    if found["status"] == "done" and follow and onward:
        headers["HX-Redirect"] = call.request.scope.get("root_path", "") + onward
    return page(
        call,
        "job.html",
        part="parts/job.html",
        headers=headers,
        job=found,
        name=_NAMES.get(found["kind"], found["kind"]),
        onward=onward,
        follow=follow,
    )
