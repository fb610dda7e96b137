"""The pages that draw: run, telemetry, model, comparison."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response

from flowtime.api.server import Call, Reading
from flowtime.web.rendering import page

JSON = dict[str, Any]

router = APIRouter()


def run_page(call: Call, shown: JSON, frame: JSON) -> Response:
    """The page of a run, or of telemetry."""
    held = {content["name"] for content in shown["contents"]}
    place = "runs" if shown["kind"] == "run" else "telemetry"
    view = {
        "path": f"/v1/{place}/{quote(shown['id'])}",
        "page": f"/artifacts/{quote(shown['id'])}",
        "name": shown["name"],
        "grid": shown["grid"],
        "series": [[entry["component"], entry["measure"], entry["unit"]] for entry in shown["measures"]],
        "graph": "model.yaml" in held,
        "topology": bool((shown.get("topology") or {}).get("nodes")),
    }
    return page(call, "run.html", view=view, **frame)


@router.get("/artifacts/{id}/series.csv")
def series_table(
    call: Reading,
    id: str,
    index: Annotated[list[int], Query()] = [],  # noqa: B006
    from_: Annotated[int, Query(alias="from", ge=0)] = 0,
    to: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """The numbers that the table of a run's page shows, one row a bin and one column a series."""
    chart = call.service.series(id, picked=index, start=from_, stop=to)
    told = chart.to_json()
    label = chart.series.grid.label
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [f"{series['component']}.{series['measure']}" for series in told["series"]]
    table.writerow(["bin", "time_bin", *names])
    columns = zip(*(series["values"] for series in told["series"]), strict=True)
    for bin, values in zip(told["bins"], columns, strict=True):
        table.writerow([bin, label(bin), *values])
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(id)}-series.csv",
        "Cache-Control": "no-cache",
    }
    return Response(text.getvalue(), headers=headers, media_type="text/csv; charset=utf-8")


def model_page(call: Call, shown: JSON, frame: JSON) -> Response:
    """The page of a model."""
    return page(call, "model.html", **frame)


PAGES: dict[str, Callable[[Call, JSON, JSON], Response]] = {
    "run": run_page,
    "telemetry": run_page,
    "model": model_page,
}
"""What shows an artifact, by kind: given its catalog and what its frame needs."""
