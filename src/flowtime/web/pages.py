"""The addresses of pages, and of what they load: start, errors' frame, static files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from flowtime.api.responses import linked
from flowtime.api.schemas import Named
from flowtime.api.server import Reading, server_of
from flowtime.api.work import attended
from flowtime.errors import CODES, NotFound
from flowtime.web import viewing
from flowtime.web.assets import assets, fingerprint
from flowtime.web.frame import frame
from flowtime.web.rendering import address, page, picture

router = APIRouter()

_FOR_GOOD = "public, max-age=31536000, immutable"


@router.get("/static/{version}/{path:path}")
def static(version: str, path: str) -> Response:
    """A file that pages load. Its address changes with its content, so browsers keep it."""
    asset = assets().get(path) if version == fingerprint() else None
    if asset is None:
        raise NotFound(
            "FT820",
            f'there is no file "{path}"',
            hint="load the page again: it names the files that there are",
        )
    return Response(asset.data, headers={"Cache-Control": _FOR_GOOD}, media_type=asset.media)


@router.get("/")
def home(call: Reading) -> Response:
    """What happened lately, what is starred, and the ways in."""
    service = call.service
    found = service.find(size=6)
    return page(
        call,
        "home.html",
        recent=found["artifacts"],
        total=found["total"],
        absent="" if found["total"] else service.absent(),
        starred=service.find(size=6, starred=True)["artifacts"],
        # They are read from their files, which only a start without artifacts is worth.
        templates=[] if found["total"] else service.templates()[:6],
    )


@router.get("/login")
def login(request: Request, next_: Annotated[str, Query(alias="next")] = "", error: str = "") -> Response:
    """Where a browser logs in; on an open server there is nothing to log in to."""
    ways = server_of(request).access.logs_in
    if not ways:
        return Response(status_code=303, headers={"Location": address(request, "/")})
    return page(
        request,
        "login.html",
        ways=ways,
        onward=next_ or address(request, "/"),
        problem=CODES.get(error),
    )


@router.get("/artifacts/{id}")
@attended
def artifact(call: Reading, id: Named) -> Response:
    """The page of an artifact, by its kind."""
    shown = linked(call.request, call.service.show(id))
    show = viewing.PAGES[shown["kind"]]
    return show(call, shown, frame(call, shown))


@router.get("/artifacts/{id}/preview.svg")
@attended
def preview(call: Reading, id: Named) -> Response:
    """The picture of an artifact's model, for cards; an empty one where there is no model."""
    try:
        return picture(call.service.preview(id))
    except NotFound as error:
        if error.code != "FT509":
            raise
        return picture('<svg xmlns="http://www.w3.org/2000/svg" width="2" height="1"/>')
