"""Templates to responses: one environment, and what every page is given."""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from flowtime import texts
from flowtime.api.responses import asked, base
from flowtime.api.server import Call, server_of
from flowtime.version import __version__
from flowtime.web.assets import fingerprint

THEMES = ("light", "dark")
_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "img-src 'self' data:; object-src 'none'"
)


def page(
    asked: Call | Request,
    template: str,
    /,
    *,
    part: str | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **context: Any,
) -> Response:
    """A template as a response, with everything that base.html needs.

    Where htmx asks for a fragment, `part` is rendered alone, with the same context: it is a template that
    the page includes. Templates have `url`, `here`, `caller`, `open`, `theme` and the filters of `texts`.
    """
    call = asked if isinstance(asked, Call) else None
    request = asked.request if isinstance(asked, Call) else asked
    wanted = template
    if part is not None and "hx-request" in request.headers and "hx-boosted" not in request.headers:
        restores = "hx-history-restore-request" in request.headers
        wanted = template if restores else part
    body = _environment().get_template(wanted).render(**_shared(request, call), **context).encode()
    sent = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",
        "Vary": "HX-Request, Cookie",
        **(headers or {}),
    }
    return Response(body, status, sent, "text/html; charset=utf-8")


def picture(svg: str) -> Response:
    """An SVG document as a response; a browser runs nothing of it."""
    headers = {
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
        "Cache-Control": "private, max-age=300",
        # Of two who log in one after the other in a browser, the second may not see it.
        "Vary": "Cookie, Authorization",
    }
    return Response(svg, headers=headers, media_type="image/svg+xml")


def address(request: Request, path: str, /, **query: Any) -> str:
    """The address of a path of the application, under its prefix; `query` without what is None or empty."""
    pairs = [
        (name.rstrip("_"), text)
        for name, value in query.items()
        for text in (value if isinstance(value, (list, tuple)) else [value])
        if text not in (None, "", False)
    ]
    found = base(request) + quote(path, safe="/@")
    return f"{found}?{urlencode(pairs)}" if pairs else found


def _shared(request: Request, call: Call | None) -> dict[str, Any]:
    """What every template is given."""
    root = base(request)
    path = asked(request.scope).removeprefix(root)
    theme = request.cookies.get("flowtime-theme")

    def url(path: str, /, **query: Any) -> str:
        return address(request, path, **query)

    return {
        "root": root,
        "url": url,
        "static": f"{root}/static/{fingerprint()}",
        "path": path,
        "here": root + path + (f"?{request.url.query}" if request.url.query else ""),
        "caller": call.caller if call else None,
        "writes": call is None or call.caller is None or call.caller.role != "reader",
        "open": server_of(request).config.auth is None,
        "version": __version__,
        "theme": theme if theme in THEMES else None,
    }


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("flowtime.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        ago=texts.ago,
        change=texts.change,
        count=texts.count,
        json=_json,
        number=texts.number,
        of_baseline=texts.of_baseline,
        percent=texts.percent,
        signed=texts.signed,
        size=texts.size,
        when=texts.when,
    )
    return made


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
