"""Addresses of runs and telemetry: make, look at, export, import, compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator
from starlette.concurrency import run_in_threadpool

from flowtime.api import schemas
from flowtime.api.doors import takes
from flowtime.api.exports import stream_export
from flowtime.api.jobs import Tell
from flowtime.api.responses import answer, base, created, linked
from flowtime.api.server import Call, Reading, Writing
from flowtime.api.work import attend, attended, look, perform
from flowtime.errors import InvalidInput
from flowtime.service import Flowtime
from flowtime.service.options import Charts, Stretch

if TYPE_CHECKING:
    from flowtime.analysis.chart import Chart

JSON = dict[str, Any]

router = APIRouter()

FORMATS = ("gold", "ndjson", "parquet", "bundle", "xlsx")
BINARY = "application/vnd.flowtime.chart"


def _threshold(given: list[str]) -> list[str]:
    """Thresholds that can be read; raises ValueError."""
    try:
        Flowtime.check_threshold(given)
    except InvalidInput as error:
        raise ValueError(error.message) from None
    return given


Threshold = Annotated[
    list[str],
    Query(
        description="How far off a series may be: 5% or 0.05 of the baseline, abs:5 in its unit, "
        "web.*=10% for the series that a pattern matches; repeatable"
    ),
    AfterValidator(_threshold),
]


@router.post(
    "/v1/runs",
    status_code=201,
    responses=schemas.made_or_work(schemas.Artifact),
    summary="Run",
    tags=["runs"],
)
@takes("fields")
async def make_run(call: Writing, wanted: schemas.Run) -> Response:
    """Runs a model, by its id or as text (which becomes a model artifact first); telemetry together with it
    takes the place of its inputs, and alone runs the model that came with it.
    """
    if wanted.model is not None and wanted.model_id is not None:
        raise InvalidInput("FT822", "model_id and model are both given", hint="give one of them")

    def work(tell: Tell) -> JSON:
        model, notes = wanted.model_id, []
        if wanted.model is not None:
            published = call.service.publish_model(wanted.text())
            model, notes = published["reference"], published["notes"]
        shown = call.service.run(
            model,
            telemetry=wanted.telemetry_id,
            bind=wanted.bind,
            require=wanted.require,
            seed=wanted.seed,
            samples=wanted.samples,
            scenario=wanted.scenario,
            deterministic=wanted.deterministic,
            parameters=wanted.parameters,
            metrics=wanted.metrics,
            workers=1,
            progress=tell,
            **wanted.label(),
        )
        return linked(call.request, {**shown, "notes": [*notes, *shown["notes"]]})

    return await perform(call, "run", work, show=created)


@router.get("/v1/runs/{id}/series", responses=schemas.chart(), summary="Series for charts", tags=["runs"])
@router.get(
    "/v1/telemetry/{id}/series", responses=schemas.chart(), summary="Series for charts", tags=["runs"]
)
async def series(
    call: Reading,
    id: schemas.Named,
    component: Annotated[list[str], Query(description="Of these components only; repeatable")] = [],  # noqa: B006
    measure: Annotated[list[str], Query(description="Of these measures only; repeatable")] = [],  # noqa: B006
    index: Annotated[
        list[int], Query(description="Only those at these places in the catalog's measures; repeatable")
    ] = [],  # noqa: B006
    from_: Annotated[int, Query(alias="from", ge=0, description="The first bin")] = 0,
    to: schemas.To = None,
    points: schemas.Points = None,
) -> Response:
    """Values by series. With more bins than `points`, every two points are the minimum and maximum of their
    bins, and `decimated` says so. Accept `application/vnd.flowtime.chart` for float32: the length of a JSON
    head as 4 bytes, the head, then the values, little-endian.
    """
    wanted = Charts(components=component, measures=measure, picked=index, start=from_, stop=to, points=points)
    return await _charted(call, lambda: call.service.series(id, **wanted))


async def _charted(call: Call, make: Callable[[], Chart]) -> Response:
    """A chart as the caller accepts it."""
    chart = await attend(call, lambda _: make())
    if BINARY in call.request.headers.get("accept", ""):
        return Response(
            chart.to_bytes(), media_type=BINARY, headers={"Cache-Control": "no-cache", "Vary": "Accept"}
        )
    return answer(call.request, chart.to_json(), headers={"Vary": "Accept"})


@router.get(
    "/v1/runs/{id}/graph", responses=schemas.ok(schemas.Graph), summary="Graph of a run", tags=["runs"]
)
@router.get(
    "/v1/telemetry/{id}/graph",
    responses=schemas.ok(schemas.Graph),
    summary="Graph of telemetry",
    tags=["runs"],
)
async def graph(
    call: Reading,
    id: schemas.Named,
    nodes: bool = False,
    around: schemas.Around = None,
    depth: schemas.Depth = 1,
) -> Response:
    """The components and flows of its model, or with `nodes` the nodes and what they read, placed for a
    picture, each with the places of its series in the catalog.
    """
    return await look(call, lambda: call.service.graph(id, nodes=nodes, around=around, depth=depth))


@router.get(
    "/v1/runs/{id}/export/{format}",
    responses=schemas.file("The file", *schemas.EXPORTED),
    summary="Export a run",
    tags=["exports"],
)
@router.get(
    "/v1/telemetry/{id}/export/{format}",
    responses=schemas.file("The file", *schemas.EXPORTED),
    summary="Export telemetry",
    tags=["exports"],
)
async def export(call: Reading, id: schemas.Named, format: str, embed_metadata: bool = False) -> Response:
    """The series as a file: gold (csv), ndjson, parquet, bundle or xlsx. It has the digest of the series as
    its ETag, and names its metadata in a Link with rel="describedby" where that is not inside.
    """
    return await stream_export(call, id, format, embed=embed_metadata)


@router.get(
    "/v1/runs/{id}/export/{format}/metadata",
    responses=schemas.ok(schemas.Metadata),
    summary="The metadata beside an export of a run",
    tags=["exports"],
)
@router.get(
    "/v1/telemetry/{id}/export/{format}/metadata",
    responses=schemas.ok(schemas.Metadata),
    summary="The metadata beside an export of telemetry",
    tags=["exports"],
)
async def export_metadata(call: Reading, id: schemas.Named, format: str) -> Response:
    """What stands beside an exported CSV or NDJSON file: enough to bring the model back with it."""
    return await look(call, lambda: call.service.export_metadata(id, format))


@router.post(
    "/export",
    responses=schemas.ok(schemas.Exported),
    summary="Export the newest run (first milestone)",
    tags=["exports"],
)
@attended
def export_newest(call: Reading, wanted: schemas.ExportRequest | None = None) -> Response:
    """Where the file of the newest run, or of `runId`, is to be had in a format, or in all of them. Kept for
    callers of the first export milestone; `GET /v1/runs/{id}/export/{format}` is the address for new ones.
    """
    id = (wanted.run_id if wanted else None) or call.service.newest("run")
    chosen = wanted.format if wanted else None
    described = call.service.describe_export(id, chosen or "gold")
    place = f"{base(call.request)}/v1/runs/{described['id']}/export"
    links = {name: f"{place}/{name}" for name in ([described["format"]] if chosen else FORMATS)}
    headers = {"Location": f"{place}/{described['format']}"}
    return answer(call.request, {"runId": described["id"], "files": links}, headers=headers)


@router.get(
    "/export/{format}",
    responses=schemas.file("The file", *schemas.EXPORTED),
    summary="Export the newest run in a format (first milestone)",
    tags=["exports"],
)
async def export_newest_as(
    call: Reading, format: str, run: Annotated[str | None, Query(alias="runId")] = None
) -> Response:
    """The newest run, or `runId`, as csv, ndjson or parquet. Kept for callers of the first milestone."""
    if run is None:
        run = await run_in_threadpool(call.service.newest, "run")
    return await stream_export(call, run, format, embed=False)


@router.get(
    "/v1/compare",
    responses=schemas.ok(schemas.Comparison),
    summary="Compare two artifacts",
    tags=["comparison"],
)
async def compare(
    call: Reading,
    baseline: str,
    comparison: str,
    threshold: Threshold = [],  # noqa: B006
    by: Annotated[
        Literal["bin", "mean", "peak"] | None,
        Query(description="What a series is judged by: its furthest bin (the default), its mean or its peak"),
    ] = None,
    allow_missing: Annotated[
        bool, Query(description="Whether bins and series that only one side has are left out")
    ] = False,
) -> Response:
    """Runs or telemetry series by series, models node by node."""
    compare = call.service.compare
    return await look(
        call, lambda: compare(baseline, comparison, threshold, by=by, allow_missing=allow_missing)
    )


@router.get(
    "/v1/compare/series",
    responses=schemas.chart(),
    summary="One series of two artifacts, for charts",
    tags=["comparison"],
)
async def overlay(
    call: Reading,
    baseline: str,
    comparison: str,
    component: str,
    measure: str,
    from_: Annotated[int, Query(alias="from", ge=0, description="The first bin that both have")] = 0,
    to: schemas.To = None,
    points: schemas.Points = None,
) -> Response:
    """A series of both over the bins that both have, and comparison minus baseline, in the shapes of a
    run's series: the measures are `baseline`, `comparison` and `difference`.
    """
    wanted = Stretch(start=from_, stop=to, points=points)
    return await _charted(
        call,
        lambda: call.service.overlay(baseline, comparison, component=component, measure=measure, **wanted),
    )


@router.post(
    "/v1/loops",
    responses=schemas.work(schemas.Loop),
    summary="Verify the loop of a model",
    tags=["comparison"],
)
async def verify_loop(call: Writing, wanted: schemas.LoopRequest) -> Response:
    """Runs a model, exports it in each format, imports that again and compares.
    What it makes on the way is not kept; the verdict stands in the model's catalog.
    """

    def work(tell: Tell) -> JSON:
        return call.service.test_loop(
            wanted.model_id, formats=wanted.formats, seed=wanted.seed, progress=tell
        )

    return await perform(call, "loop", work)
