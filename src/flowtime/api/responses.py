"""How results leave: JSON with an ETag, links instead of paths, nothing sent that the caller has already."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from fastapi import Request, Response

JSON = dict[str, Any]

LONGEST = 2_000
"""Letters of what a header repeats of a request: proxies take headers of 4 or 8 KB."""
_LOCAL = re.compile(r"/(?![/\\])[^\x00-\x20\\\x7f]*")
_KEPT = "!#$%&'()*+,/:;=?@[]~"
"""What stands in an address as it is; what was percent-encoded stays so."""

SLASH = "\x1f"
"""Stands for a slash inside a name while an address is looked up; names have no control characters."""


def unheld(text: str) -> str:
    """A part of an address with its slashes, as the name that it is."""
    return text.replace(SLASH, "/")


def asked(scope: Mapping[str, Any]) -> str:
    """The path of a request, quoted as in an address."""
    return quote(scope["path"], safe="/@:").replace(quote(SLASH), "%2F")


def answer(
    request: Request,
    value: object,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    stamp: str = "",
) -> Response:
    """A JSON response; for a GET it has an ETag, and is 304 where If-None-Match names that.

    `stamp` is the state of the artifact that the value shows, for later changes with If-Match.
    """
    body = msgspec.json.encode(value)
    sent = dict(headers or {})
    if request.method in ("GET", "HEAD"):
        etag = f'"{stamp}-{hashlib.sha256(body).hexdigest()[:24]}"'
        sent |= {"ETag": etag, "Cache-Control": "no-cache"}
        if names_etag(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=sent)
    return Response(body, status, sent, "application/json")


def created(request: Request, shown: JSON) -> Response:
    """The response that shows a new artifact, with its address."""
    return answer(request, shown, status=201, headers={"Location": address(request, shown["reference"])})


def names_etag(header: str | None, etag: str) -> bool:
    """Whether If-None-Match names this ETag; weak ones count, as RFC 9110 section 13.1.2 has it."""
    if header is None:
        return False
    named = (tag.strip().removeprefix("W/") for tag in header.split(","))
    return any(tag in ("*", etag) for tag in named)


def stamp_in(header: str | None) -> str | None:
    """The state of an artifact in the ETag that If-Match names; None for `*` or no header."""
    if header is None or header.strip() == "*":
        return None
    return header.strip().strip('"').partition("-")[0]


def base(request: Request) -> str:
    """The path under which the application is reached, without a slash at the end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def address(request: Request, id: str) -> str:
    """The address of an artifact."""
    return f"{base(request)}/v1/artifacts/{quote(id, safe='@')}"


def linked(request: Request, shown: JSON) -> JSON:
    """What the service shows of an artifact, with links in place of paths on the server's disk."""
    if "files" not in shown:
        return shown
    place = address(request, versioned(shown))
    links = {
        role: f"{place}/files/{quote(str(path).rpartition('/')[2])}" for role, path in shown["files"].items()
    }
    return {key: value for key, value in shown.items() if key != "folder"} | {"files": links}


def versioned(shown: JSON) -> str:
    """The full id of what is shown, with the version where it is a model."""
    version = shown.get("model_version")
    return f"{shown['id']}@v{version}" if shown["kind"] == "model" and version else str(shown["id"])


def local(place: str | None) -> str | None:
    """A path of this server as headers hold it; None where it leads elsewhere, or is longer than LONGEST."""
    if place is None or not _LOCAL.fullmatch(place):
        return None
    path = quote(place, safe=_KEPT, errors="replace")
    return path if len(path) <= LONGEST else None


def paging(request: Request, total: int, page: int, size: int) -> Mapping[str, str]:
    """The Link header with the first, previous, next and last page (RFC 8288); none where the query is so
    long that the header would be longer than LONGEST.
    """
    if 4 * len(request.url.query) > LONGEST:
        return {}
    last = max(1, -(-total // size))
    pages = {"first": 1, "prev": page - 1, "next": page + 1, "last": last}
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "page"]
    here = f"{base(request)}{asked(request.scope).removeprefix(base(request))}"
    links = ", ".join(
        f'<{here}?{urlencode([*query, ("page", number)])}>; rel="{name}"'
        for name, number in pages.items()
        if 1 <= number <= last
    )
    return {"Link": links} if len(links) <= LONGEST else {}
