"""Addresses of artifacts: list, show, files, edit, delete, trash, index."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from flowtime.api import schemas
from flowtime.api.doors import takes
from flowtime.api.files import is_unchanged, stream_file
from flowtime.api.responses import answer, linked, paging, stamp_in
from flowtime.api.schemas import words
from flowtime.api.server import Administering, Reading, Writing
from flowtime.api.work import attend, perform
from flowtime.service import moment

JSON = dict[str, Any]

router = APIRouter(prefix="/v1", tags=["artifacts"])

_SHOWN_IN_PAGES = {"text/csv; charset=utf-8", "application/json", "application/yaml", "image/svg+xml"}
_MEDIA = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".svg": "image/svg+xml",
}


@router.get("/artifacts", responses=schemas.ok(schemas.Page), summary="List and search artifacts")
async def list_artifacts(
    call: Reading,
    kind: Annotated[
        list[str],
        Query(description="model, run or telemetry; several, as `run,model` or repeated: any of them"),
    ] = [],  # noqa: B006
    query: Annotated[
        str | None, Query(description="Words, each the beginning of a word that is searched")
    ] = None,
    tag: Annotated[list[str], Query(description="`a,b`: any of them; repeated: all of them")] = [],  # noqa: B006
    owner: str | None = None,
    from_: Annotated[str | None, Query(alias="from", description="ISO 8601 date or instant")] = None,
    to: Annotated[str | None, Query(description="ISO 8601; a date includes its whole day")] = None,
    starred: bool = False,
    where: Annotated[
        list[str],
        Query(description="On a parameter or metric, such as `peak_wait<=10`; repeated: all of them"),
    ] = [],  # noqa: B006
    columns: Annotated[
        list[str], Query(description="Parameters and metrics whose values the artifacts have as `columns`")
    ] = [],  # noqa: B006
    page: Annotated[int, Query(ge=1, le=10**9)] = 1,
    size: Annotated[int, Query(ge=1, le=1000)] = 20,
    sort: Annotated[str, Query(description="such as created_desc, name_asc")] = "created_desc",
    ranked: Annotated[bool, Query(description="Best match first, where there is a query")] = False,
) -> Response:
    """A page of artifacts, newest first, and how many there are on all pages."""
    kinds = words(",".join(kind).replace("|", ","))
    wanted: JSON = {
        "kinds": () if "all" in kinds else kinds,
        "text": query,
        "tags": tuple(group for text in tag if (group := words(text))),
        "owner": owner or None,
        "since": moment(from_) if from_ else None,
        "until": moment(to, end=True) if to else None,
        "starred": starred,
        "where": where,
        "columns": words(",".join(columns)),
        "page": page,
        "size": size,
        "sort": sort,
        "ranked": ranked,
    }
    places = call.server.threads.questions
    found = await attend(call, lambda _: call.service.find(**wanted), places=places)
    found["artifacts"] = [linked(call.request, item) for item in found["artifacts"]]
    links = paging(call.request, found["total"], found["page"], found["size"])
    return answer(call.request, found, headers=links)


@router.get("/artifacts/{id}", responses=schemas.ok(schemas.Artifact), summary="One artifact")
def show_artifact(call: Reading, id: schemas.Named) -> Response:
    """The catalog of an artifact, links to its files, and its lineage. `ID@v2` is a version of a model."""
    shown = linked(call.request, call.service.show(id))
    return answer(call.request, shown, stamp=call.service.stamp(shown["reference"]))


@router.get(
    "/artifacts/{id}/files/{name}",
    responses=schemas.file("The file", *schemas.STORED),
    summary="A file of an artifact",
)
async def artifact_file(call: Reading, id: schemas.Named, name: schemas.Named) -> Response:
    """A file that the catalog names under `contents`, or the catalog itself; its ETag is its hash. Ranges of
    bytes are served.
    """
    file, content = await run_in_threadpool(call.service.file, id, name)
    media = _MEDIA.get("." + name.rpartition(".")[2], "application/octet-stream")
    headers = {
        "Cache-Control": "private, no-cache",
        "Content-Type": media,
        # Whatever a file holds, a browser runs nothing of it.
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
        "Content-Disposition": f'{"inline" if media in _SHOWN_IN_PAGES else "attachment"}; filename="{name}"',
    }
    if content["sha256"]:
        headers["ETag"] = f'"{content["sha256"]}"'
    if is_unchanged(call, headers.get("ETag")):
        file.close()
        return Response(status_code=304, headers=headers)
    return stream_file(call, file, content["bytes"], headers)


@router.patch(
    "/artifacts/{id}", responses=schemas.ok(schemas.Artifact), summary="Change what people say of it"
)
@takes("fields")
def edit_artifact(
    call: Writing,
    id: schemas.Named,
    change: schemas.Change,
    if_match: Annotated[str | None, Header(description="The ETag of the state that is changed")] = None,
) -> Response:
    """Sets name, description, owner, visibility, star or tags, or adds and removes tags.

    With If-Match only where nobody changed the artifact meanwhile; else the answer is 412.
    """
    fields = change.model_dump(exclude_unset=True, exclude={"add_tags", "remove_tags"})
    shown = call.service.edit(id, change.add_tags, change.remove_tags, seen=stamp_in(if_match), **fields)
    return answer(call.request, linked(call.request, shown))


@router.delete("/artifacts/{id}", responses=schemas.ok(schemas.Deleted), summary="Delete, into the trash")
def delete_artifact(call: Writing, id: schemas.Named, confirm: bool = False, force: bool = False) -> Response:
    """Moves an artifact to the trash. Without `confirm` nothing happens and the answer, 409, says what
    depends on it; where something does, `force` deletes it all the same. Takes a full id,
    or a name that only one artifact has.
    """
    return answer(call.request, call.service.delete(id, confirm=confirm, force=force))


@router.post(
    "/artifacts/{id}/restore", responses=schemas.ok(schemas.Artifact), summary="Bring back from the trash"
)
def restore_artifact(call: Writing, id: schemas.Named) -> Response:
    """Brings an artifact back from the trash, by its full id or a name that means one."""
    return answer(call.request, linked(call.request, call.service.restore(id)))


@router.get("/trash", responses=schemas.ok(schemas.Trash), summary="What is in the trash")
def list_trash(call: Reading) -> Response:
    """What was deleted and can be brought back, newest first."""
    return answer(call.request, call.service.trash())


@router.post("/trash/purge", responses=schemas.ok(schemas.Purged), summary="Empty the trash")
def purge_trash(call: Writing, id: str | None = None, confirm: bool = False) -> Response:
    """Removes one artifact, or everything, from the trash for good; 409 without `confirm`."""
    return answer(call.request, call.service.purge(id, confirm=confirm))


@router.post("/artifacts/index", responses=schemas.work(schemas.Rebuilt), summary="Rebuild the index")
async def rebuild_index(call: Administering) -> Response:
    """Makes the index anew from storage: the counts, and what could not be read."""
    return await perform(call, "index rebuild", lambda tell: call.service.telling(tell).rebuild_index())


@router.post(
    "/artifacts/verify", responses=schemas.work(schemas.Verified), summary="Hash every artifact again"
)
async def verify_index(call: Administering) -> Response:
    """Compares every file with the hash in its catalog, and tells of what differs, lacks or is left over."""
    return await perform(call, "index verify", lambda tell: call.service.telling(tell).verify_index())
