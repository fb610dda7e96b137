"""The pages that draw: run, telemetry, model, comparison."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response

from flowtime.api.doors import takes
from flowtime.api.models import text_in
from flowtime.api.responses import answer
from flowtime.api.schemas import Named
from flowtime.api.server import Call, Reading
from flowtime.api.work import attend, attended
from flowtime.errors import InvalidInput, NotFound
from flowtime.texts import apart, count, number
from flowtime.web.frame import may_change
from flowtime.web.rendering import page
from flowtime.wording import PAGE

if TYPE_CHECKING:
    from flowtime.analysis.chart import Chart

JSON = dict[str, Any]

router = APIRouter()

_SAID = 8
"""So many values of a distribution are said in words."""
_VERSIONS = 30
"""So many versions are listed."""
_ROWS = 200
"""So many series are in a table at first."""
_FIGURES = (
    "component", "measure", "unit", "unit_comparison", "bins", "bins_only_in_baseline",
    "bins_only_in_comparison", "mean_baseline", "mean_comparison", "own_mean_baseline", "own_mean_comparison",
    "mean_difference", "change_of_mean", "max_difference", "rmse", "mean_deviation", "first_bin",
    "first_time_bin",
)  # fmt: skip
"""What the CSV of a comparison tells of each series."""


def run_page(call: Call, shown: JSON, frame: JSON) -> Response:
    """The page of a run, or of telemetry."""
    if not shown["grid"]:
        call.service.series(shown["id"])  # which says why there is nothing to draw
    held = {content["name"] for content in shown["contents"]}
    topology = bool((shown.get("topology") or {}).get("nodes"))
    view = {
        "path": _place_of(shown),
        "page": f"/artifacts/{quote(shown['id'])}",
        "name": shown["name"],
        "grid": shown["grid"],
        "series": [[entry["component"], entry["measure"], entry["unit"]] for entry in shown["measures"]],
        "graph": "model.yaml" in held,
        "topology": topology,
    }
    query = call.request.query_params
    drawn = "" if topology and query.get("view") != "nodes" else "?nodes=true"
    return page(
        call,
        "run.html",
        view=view,
        # What the page asks for first: the whole graph, unless its address wants a part.
        picture=f"{view['path']}/graph{drawn}" if view["graph"] and "depth" not in query else None,
        replay=_replay(shown),
        metrics=_metrics(shown),
        values=shown.get("parameters") or {},
        **frame,
    )


def _metrics(shown: JSON) -> list[JSON]:
    """The metrics as the page shows them: where a value was found, and how samples spread."""
    found = []
    for metric in (*shown.get("metrics", ()), *shown.get("other_metrics", ())):
        place = metric.get("bin")
        when = metric.get("time") or (None if place is None else f"bin {place:,}")
        spread = None
        if "p50" in metric:
            spread = f"p05 to p95: {number(metric.get('p05'))} to {number(metric.get('p95'))}"
        share = metric.get("met_share")
        met = None if share is None else f"met in {share:.0%} of the samples"
        missing = f"{metric['missing']:,} missing left out" if metric.get("missing") else None
        notes = [note for note in (when, spread, met, missing) if note]
        found.append({"unit": None, "goal": None, "met": None, "title": None, **metric, "notes": notes})
    return found


def _replay(shown: JSON) -> list[JSON]:
    """What a replay took, kept, compared and left of its telemetry, each group with its first series."""
    groups = {
        "Bound": [
            (each, each["node"], f"{count(each['missing'], 'bin')} missing" if each["missing"] else "")
            for each in shown["bound"]
        ],
        "Kept": [(each, each["node"], "the model's values") for each in shown.get("kept", ())],
        "Compared": [
            (each, "", "equal" if each["equal"] else f"measured {apart(each)}")
            for each in shown.get("compared", ())
        ],
        # Runs of older versions have what the model computes among what was not used.
        "Not used": [
            (each, "", "" if each.get("derived") else "not in the model") for each in shown["unbound"]
        ],
    }
    if shown["kind"] != "run" or not any(groups.values()):
        return []
    return [
        {
            "what": what,
            "count": len(rows),
            "rows": [
                {
                    "series": each["component"] and f"{each['component']}.{each['measure']}",
                    "node": node,
                    "text": text,
                }
                for each, node, text in rows[:_ROWS]
            ],
        }
        for what, rows in groups.items()
    ]


def _place_of(shown: JSON) -> str:
    """The address of a run or telemetry in the API, without the prefix."""
    return f"/v1/{'runs' if shown['kind'] == 'run' else 'telemetry'}/{quote(shown['id'])}"


@router.get("/artifacts/{id}/series.csv")
@attended
def series_table(
    call: Reading,
    id: Named,
    index: Annotated[list[int], Query()] = [],  # noqa: B006
    from_: Annotated[int, Query(alias="from", ge=0)] = 0,
    to: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """The numbers that the table of a run's page shows, one row a bin and one column a series."""
    chart = call.service.series(id, picked=index, start=from_, stop=to)
    columns = [f"{series['component']}.{series['measure']}" for series in chart.head()["series"]]
    return _table(chart, f"{id}-series.csv", columns)


def model_page(call: Call, shown: JSON, frame: JSON) -> Response:
    """The page of a model, or of one version of it."""
    service, query = call.service, call.request.query_params
    versions = service.versions(shown["id"])
    reference = shown["reference"]
    nodes = service.graph(reference, nodes=True)["nodes"]
    plan = service.explain(reference)
    settable = service.parameters(reference)
    parameters, scenarios = _parameters(call, shown["provenance"], settable)
    context = {
        "reference": reference,
        "nodes": _described(nodes, shown),
        "topology": bool((shown.get("topology") or {}).get("nodes")),
        "versions": _versions(call, shown["id"], versions),
        "changes": _changes(call, shown["id"], query.get("before"), query.get("after"), versions),
        "parameters": parameters,
        "settable": settable,
        "scenarios": scenarios,
        "provenance": {"template": None, **shown["provenance"]},
        "planned": len(plan["plan"]["steps"]),
        "plan": plan["text"],
    }
    return page(call, "model.html", **context, **frame)


@router.get("/artifacts/{id}/edit")
@attended
def edit_model(call: Reading, id: Named) -> Response:
    """The text of a model, to be saved as its next version; raises NotFound (FT501)."""
    service = call.service
    shown = service.show(id)
    return page(
        call,
        "editor.html",
        artifact=shown,
        editable=may_change(call, shown["id"]),
        text=service.model_text(id),
        newest=service.versions(id)[-1],
    )


@router.post("/models/check")
@takes("document")
async def check_model(call: Reading) -> Response:
    """What is wrong with the text of a model, for sheets that are being written: `{nodes, warnings, errors}`,
    where the API would refuse a wrong one.
    """
    text = await text_in(call.request)

    def check(_: object) -> JSON:
        try:
            found = call.service.validate_text(text)
        except InvalidInput as error:
            told = error.worded(PAGE).to_json()
            return {"nodes": 0, "warnings": [], **told, "errors": told["errors"] or [told]}
        return {"nodes": found["nodes"], "warnings": found["warnings"], "errors": [], "count": 0}

    return answer(call.request, await attend(call, check))


_SORT = "mean_deviation"
_COLUMNS = (
    ("", "Baseline"),
    ("", "Comparison"),
    ("mean_difference", "Difference"),
    ("change_of_mean", "Change"),
    ("max_difference", "Largest"),
    ("rmse", "RMSE"),
    (_SORT, "Mean deviation"),
    ("first_bin", "First bin"),
)
"""What the table of a comparison says of each series; it can be sorted by those with a key."""


@router.get("/compare")
@attended
def compare_page(
    call: Reading, a: str = "", b: str = "", sort: str = _SORT, series: str = "", all: bool = False
) -> Response:
    """Two artifacts side by side, or a way to choose them."""
    named = [_side(call, "a", "Baseline", a), _side(call, "b", "Comparison", b)]
    sides = [side["shown"] for side in named]
    compared, problem = None, None
    if None not in sides:
        try:
            compared = call.service.compare(a, b)
        except (InvalidInput, NotFound) as error:
            problem = error.worded(PAGE)
    if sort not in dict(_COLUMNS):
        sort = _SORT
    context: JSON = {"a": a, "b": b, "sort": sort, "asked_sort": "" if sort == _SORT else sort}
    context |= {
        "sides": sides,
        "sides_named": named,
        "problem": problem,
        "compared": compared,
        "model": None if compared is None else compared.get("model"),
        "series": series,
        "columns": _COLUMNS,
    }
    if compared is not None and "series" in compared:
        rows = _sorted(compared["series"], sort)
        context |= {
            "rows": rows if all else rows[:_ROWS],
            "total": len(rows),
            "noted": [row for row in rows if row["notes"]],
            "differing": sum(not row["equal"] for row in rows),
            "view": _overlay(sides, compared),
        }
    return page(call, "compare.html", **context)


def _side(call: Call, key: str, title: str, reference: str) -> JSON:
    """One side of a comparison: what it shows, or why it cannot, or neither where nothing was chosen."""
    side: JSON = {"key": key, "title": title, "reference": reference, "shown": None, "problem": None}
    try:
        side["shown"] = call.service.show(reference) if reference else None
    except (InvalidInput, NotFound) as error:
        side["problem"] = error.worded(PAGE)
    return side


def _sorted(rows: list[JSON], sort: str) -> list[JSON]:
    """The series by how much they differ; those that are the same come last."""

    def weight(row: JSON) -> tuple[bool, float]:
        value = row.get(sort)
        if sort == "first_bin":
            return row["equal"], math.inf if value is None else value
        # Where the baseline is all zero no share can be told: more than any.
        return row["equal"], -(math.inf if value is None else abs(value))

    return sorted(rows, key=weight)


def _overlay(sides: list[JSON | None], compared: JSON) -> JSON:
    """What the charts and the graph of a comparison start from."""
    both = [side or {} for side in sides]
    held = {content["name"] for content in both[0]["contents"]}
    aligned = compared["aligned"]
    return {
        "a": compared["baseline"],
        "b": compared["comparison"],
        "names": [side["name"] for side in both],
        "graph": "model.yaml" in held,
        "places": [_place_of(side) for side in both],
        "grids": [side["grid"] for side in both],
        "firsts": [aligned["baseline_first"], aligned["comparison_first"]],
        "bins": aligned["bins"],
        "series": [
            [
                *(row[name] for name in ("component", "measure", "unit", "units_differ", "equal")),
                *(
                    row[name]
                    for name in ("change_of_mean", "mean_baseline", "mean_difference", "max_difference")
                ),
            ]
            for row in compared["series"]
        ],
    }


@router.get("/compare.csv")
@attended
def compare_table(call: Reading, a: str, b: str) -> Response:
    """The table of a comparison, one row a series."""
    rows = call.service.compare(a, b).get("series")
    if rows is None:
        raise InvalidInput(
            "FT822",
            "two models have no table of series",
            hint="the page of the comparison shows what differs",
        )
    return _csv([list(_FIGURES), *([row[name] for name in _FIGURES] for row in rows)], "comparison.csv")


@router.get("/compare/series.csv")
@attended
def overlay_table(
    call: Reading,
    a: str,
    b: str,
    component: str,
    measure: str,
    from_: Annotated[int, Query(alias="from", ge=0)] = 0,
    to: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """The numbers of an overlay, one row a bin."""
    chart = call.service.overlay(a, b, component=component, measure=measure, start=from_, stop=to)
    return _table(
        chart, f"{component}.{measure}-comparison.csv", [m["measure"] for m in chart.head()["series"]]
    )


def _table(chart: Chart, name: str, columns: list[str]) -> Response:
    """A chart as CSV: one row a bin, one column a series, every value in full."""
    told = chart.to_json()
    label = chart.series.grid.label
    values = zip(*(series["values"] for series in told["series"]), strict=True)
    rows = ([bin, label(bin), *row] for bin, row in zip(told["bins"], values, strict=True))
    return _csv([["bin", "time_bin", *columns], *rows], name)


def _csv(rows: list[list[Any]], name: str) -> Response:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Cache-Control": "no-cache",
    }
    return Response(text.getvalue(), headers=headers, media_type="text/csv; charset=utf-8")


def _described(nodes: list[JSON], shown: JSON) -> list[JSON]:
    """The nodes as the page shows them: formulas in parts, distributions as bars, who reads them."""
    readers: dict[str, list[str]] = {node["id"]: [] for node in nodes}
    claims: dict[str, list[tuple[str, str]]] = {}
    for node in nodes:
        for source in node["reads"]:
            readers[source].append(node["id"])
    for component in (shown.get("topology") or {}).get("nodes", []):
        for measure, id in (component.get("semantics") or {}).items():
            # A measure of a queue is named by the queue.
            claims.setdefault(id.partition(".")[0], []).append((component["id"], measure))
    described = []
    for node in nodes:
        named = claims.get(node["id"], [])
        words = [
            node["id"],
            node["title_text"] or "",
            node["unit"] or "",
            *(".".join(pair) for pair in named),
        ]
        more: JSON = {
            "readers": readers[node["id"]],
            "components": [component for component, _ in named],
            "components_named": named,
            "find": " ".join(words).lower(),
        }
        if "formulas" in node:
            more["formulas"] = list(node["formulas"].items())
        elif "formula" in node:
            more["parts"] = _parts(node["formula"], node["references"])
        elif "pmf" in node:
            more["bars"] = _bars(node)
        described.append({**node, **more})
    return described


def _parts(formula: str, references: list[list[int]]) -> list[JSON]:
    """A formula in pieces, those that name a node apart."""
    parts, done = [], 0
    for begin, end in sorted(references):
        parts.append({"text": formula[done:begin], "node": False})
        parts.append({"text": formula[begin:end], "node": True})
        done = end
    return [*parts, {"text": formula[done:], "node": False}]


def _bars(node: JSON) -> JSON:
    """A distribution as bars at their values, with the mean: sizes for a small picture."""
    width, height, base = 200.0, 66.0, 48.0
    values = [value for value, _ in node["pmf"]]
    low, high = min(values), max(values)
    span = high - low or 1.0
    gaps = [(b - a) / span for a, b in pairwise(sorted(values))]
    thick = min(16.0, max(1.5, 0.8 * width * min(gaps, default=1.0)))
    most = max(weight for _, weight in node["pmf"])

    def along(value: float) -> float:
        return thick / 2 + (width - thick) * ((value - low) / span if high > low else 0.5)

    bars = [
        {
            "x": round(along(value) - thick / 2, 1),
            "y": round(base - 44.0 * weight / most, 1),
            "width": round(thick, 1),
            "height": round(44.0 * weight / most, 1),
        }
        for value, weight in node["pmf"]
    ]
    said = [f"{number(value)} with {weight:.4g}" for value, weight in node["pmf"][:_SAID]]
    more = f" and {len(values) - _SAID} more" if len(values) > _SAID else ""
    return {
        "width": width,
        "height": height,
        "base": base,
        "bars": bars,
        "mean": round(along(node["mean"]), 1),
        "first": low,
        "last": high,
        "label": f"Distribution of {node['id']}: {', '.join(said)}{more}; mean {number(node['mean'])}",
    }


def _versions(call: Call, id: str, versions: list[int]) -> list[JSON]:
    """The newest versions of a model, each with the one before it."""
    pairs = list(zip(versions, [None, *versions[:-1]], strict=True))
    return [
        {
            "number": number,
            "before": before,
            "created_utc": call.service.show(f"{id}@v{number}")["created_utc"],
        }
        for number, before in pairs[: -_VERSIONS - 1 : -1]
    ]


def _changes(call: Call, id: str, before: str | None, after: str | None, versions: list[int]) -> JSON | None:
    """What changed between two versions, where the address asks for it; raises NotFound (FT501)."""
    if before is None and after is None:
        return None
    sides = [before or str(versions[0]), after or str(versions[-1])]
    compared = call.service.compare(f"{id}@v{sides[0]}", f"{id}@v{sides[1]}")
    return {"before": sides[0], "after": sides[1], "model": compared["model"]}


def _parameters(call: Call, provenance: JSON, settable: list[JSON]) -> tuple[list[JSON], list[JSON]]:
    """The parameters that a model was made with, with what the template says of them, and its scenarios; of a
    model that no template made, its own parameters.
    """
    said: dict[str, JSON] = {}
    scenarios: list[JSON] = []
    if isinstance(provenance.get("template"), str):
        with suppress(NotFound):
            template = call.service.template(provenance["template"])
            said = {parameter["name"]: parameter for parameter in template["parameters"]}
            scenarios = template["scenarios"]
    parameters = [
        {
            "unit": None,
            "description": None,
            **said.get(name, {}),
            "name": name,
            "text": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
            "number": isinstance(value, int | float) and not isinstance(value, bool),
        }
        for name, value in (provenance.get("parameters") or {}).items()
    ]
    return parameters or _own_parameters(settable), scenarios


def _own_parameters(settable: list[JSON]) -> list[JSON]:
    """The parameters of a model that no template made."""
    return [
        {
            "name": each["id"],
            "text": each["text"],
            "number": True,
            "unit": each.get("unit"),
            "description": each.get("description") or each.get("title"),
        }
        for each in settable
    ]


PAGES: dict[str, Callable[[Call, JSON, JSON], Response]] = {
    "run": run_page,
    "telemetry": run_page,
    "model": model_page,
}
"""What shows an artifact, by kind: given its catalog and what its frame needs."""
