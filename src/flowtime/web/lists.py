"""The pages of many artifacts: the list with its filters, what a deletion takes, the trash."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from flowtime.api.responses import LONGEST
from flowtime.api.schemas import words
from flowtime.api.server import Reading
from flowtime.api.work import attended
from flowtime.errors import FlowtimeError, InvalidInput
from flowtime.service import SORTS, moment
from flowtime.web.rendering import address, page
from flowtime.wording import PAGE

JSON = dict[str, Any]

router = APIRouter()

_SIZE = 24
_SORTED = {
    "created_desc": "Newest first",
    "created_asc": "Oldest first",
    "name_asc": "Name, A to Z",
    "name_desc": "Name, Z to A",
    "kind_asc": "Kind",
    "owner_asc": "Owner",
}
_VIEWS = ("cards", "table")
_TYPED = ("q", "tag", "owner", "where", "columns")


@router.get("/artifacts")
@attended
def artifacts(
    call: Reading,
    q: str = "",
    kind: str = "",
    tag: str = "",
    owner: str = "",
    from_: Annotated[str, Query(alias="from")] = "",
    to: str = "",
    where: Annotated[list[str], Query()] = [],  # noqa: B006
    columns: Annotated[list[str], Query()] = [],  # noqa: B006
    sort: str = "created_desc",
    starred: bool = False,
    view: str = "cards",
    page_number: Annotated[int, Query(alias="page", ge=1)] = 1,
) -> Response:
    """All artifacts, or those that the filters leave; every state of it is an address."""
    wanted = {
        "q": q.strip(), "kind": kind, "tag": tag.strip(), "owner": owner.strip(), "from": from_, "to": to,
        "where": ", ".join(words(",".join(where))), "columns": ", ".join(words(",".join(columns))),
        "sort": sort if sort != "created_desc" else "", "starred": "true" if starred else "",
        "view": view if view in _VIEWS[1:] else "",
    }  # fmt: skip
    asked: JSON = {
        "kinds": (kind,) if kind else (),
        "text": wanted["q"] or None,
        "tags": tuple((word,) for word in words(tag)),
        "owner": wanted["owner"] or None,
        "since": moment(from_) if from_ else None,
        "until": moment(to, end=True) if to else None,
        "starred": starred,
        "columns": words(wanted["columns"]),
        "sort": sort,
        "page": page_number,
        "size": _SIZE,
    }
    found: JSON = {"artifacts": [], "total": 0}
    wrong: FlowtimeError | None = None
    try:
        call.service.check_figures(words(wanted["where"]), asked["columns"])
    except InvalidInput as error:
        wrong = error.worded(PAGE)
    else:
        found = call.service.find(where=words(wanted["where"]), **asked)
    here = address(call.request, "/artifacts", **wanted, page=page_number if page_number > 1 else None)
    # What is typed replaces the address, everything else is a step that Back takes back.
    typed = call.request.headers.get("hx-trigger-name") in _TYPED
    return page(
        call,
        "artifacts.html",
        part="parts/artifact_list.html",
        # A page with a longer address can be looked at, and has none to come back to.
        headers={"HX-Replace-Url" if typed else "HX-Push-Url": here} if len(here) <= LONGEST else {},
        wanted=wanted,
        filtered=any(value for name, value in wanted.items() if name not in ("sort", "view", "columns")),
        sort=sort if sort in SORTS else "created_desc",
        sorts=_SORTED,
        view=view if view in _VIEWS else "cards",
        items=found["artifacts"],
        total=found["total"],
        hint=found.get("hint"),
        wrong=wrong,
        shown_columns=words(wanted["columns"]),
        fragment="hx-request" in call.request.headers,
        status=422 if wrong and "hx-request" not in call.request.headers else 200,
        absent="" if found["total"] else call.service.absent(),
        number=page_number,
        pages=max(1, -(-found["total"] // _SIZE)),
        first=(page_number - 1) * _SIZE + 1,
    )


@router.get("/deletion")
@attended
def deletion(call: Reading, id: Annotated[list[str], Query()]) -> Response:
    """What a deletion of these artifacts would take, and what was made from them."""
    going = []
    for each in id:
        shown = call.service.show(each)
        children = [child for child in call.service.dependants(each) if child["id"] not in id]
        going.append({"id": each, "name": shown["name"], "kind": shown["kind"], "children": children})
    return page(call, "parts/deletion.html", going=going, left=sum(len(each["children"]) for each in going))


@router.get("/trash")
def trash(call: Reading) -> Response:
    """What was deleted and can be brought back."""
    return page(call, "trash.html", **call.service.trash())
