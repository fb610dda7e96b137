"""What the pages of all artifacts have in common: header, loop bar, lineage, files, exports."""

from __future__ import annotations

from typing import Any

from flowtime.api.responses import base
from flowtime.api.server import Call
from flowtime.errors import NotFound
from flowtime.texts import ago

JSON = dict[str, Any]

_FORMATS = (
    ("gold", "csv", "Spreadsheet", "Gold CSV: opens in every spreadsheet, one value a row"),
    ("xlsx", "xlsx", "Workbook", "Excel: one sheet a component, with the metadata"),
    ("ndjson", "ndjson", "Stream or API", "NDJSON: one JSON object a line"),
    ("parquet", "parquet", "Analysis", "Parquet: typed columns for pandas, R, DuckDB"),
    ("bundle", "zip", "Share or archive", "Bundle: series, model and catalog in one file"),
)
"""Formats by use: name, suffix, use, what it is."""
_DESCRIBED = ("gold", "ndjson")
"""Those whose metadata is a file beside them."""


def frame(call: Call, shown: JSON) -> JSON:
    """The context that the templates in parts/ need, for an artifact as `Flowtime.show` gives it."""
    request = call.request
    lineage = shown["lineage"]
    return {
        "artifact": shown,
        "editable": may_change(call, shown["id"]),
        "stamp": call.service.stamp(shown["id"]),
        # The farthest first; of equally far ones the one that was made first, as a model before its run.
        "ancestors": sorted(
            lineage["parents"], key=lambda each: (-each["depth"], each.get("created_utc") or "")
        ),
        "descendants": lineage["children"],
        # The version of the model that this is, or was made from.
        "of_model": _model_of(shown),
        "steps": _steps(call, shown),
        "formats": [] if shown["kind"] == "model" else _exports(base(request), shown),
        "export_now": request.query_params.get("export"),
    }


def may_change(call: Call, id: str) -> bool:
    """Whether the caller may change or delete the artifact."""
    reads_only = call.caller is not None and call.caller.role == "reader"
    return not reads_only and call.service.may_change(id)


def _exports(root: str, shown: JSON) -> list[JSON]:
    place = f"{root}/v1/{'runs' if shown['kind'] == 'run' else 'telemetry'}/{shown['id']}/export"
    return [
        {
            "name": name,
            "use": use,
            "text": text,
            "href": f"{place}/{name}",
            "file": f"{shown['id']}.{suffix}",
            "metadata": f"{place}/{name}/metadata" if name in _DESCRIBED else None,
        }
        for name, suffix, use, text in _FORMATS
    ]


def _steps(call: Call, shown: JSON) -> list[JSON]:
    """The loop as far as it has come: each step with the artifact that shows it, or with what makes it."""
    kind, id = shown["kind"], shown["id"]
    # What was made from another version of a model is another loop.
    children = call.service.lineage(shown["reference"])["children"]
    family = [*shown["lineage"]["parents"], *reversed(children)]
    model = shown if kind == "model" else _catalog(call, _model_of(shown))
    run = shown if kind == "run" else _newest(call, family, "run")
    # What a replay took came from elsewhere; only what came of a run was exported and imported.
    came = [each for each in shown["lineage"]["children"] if each["kind"] == "telemetry"]
    telemetry = shown if kind == "telemetry" else _newest(call, came, "telemetry")
    came_back = (
        run is not None
        and telemetry is not None
        and telemetry["data"] is not None
        and telemetry["data"] == run["data"]
        and telemetry["model_hash"] == run["model_hash"]
    )
    formats = list((model or {}).get("loop") or {})
    verified = f"through {', '.join(formats)}" if formats else "values, digest, model" if came_back else ""
    # Models are parents with a version; any other parent of telemetry is the artifact whose export it was.
    exported = telemetry is not None and any(each["version"] is None for each in telemetry["parents"])
    return [
        _step("model", "Model", model, id),
        _step("run", "Run", run, id, todo="run" if model else ""),
        {
            **_step("export", "Export", None, id, todo="export" if run or telemetry else ""),
            "done": exported,
            "text": "exported" if exported else "",
            "id": run["id"] if run else None,
        },
        _step("import", "Import", telemetry, id, todo="import"),
        {
            **_step("verified", "Verified", None, id, todo="verify" if model and not verified else ""),
            "done": bool(verified),
            "text": verified,
            "model": model and model["reference"],
        },
    ]


def _step(name: str, label: str, found: JSON | None, id: str, todo: str = "") -> JSON:
    return {
        "name": name,
        "label": label,
        "done": found is not None,
        "here": found is not None and found["id"] == id,
        "text": _called(found) if found else "",
        "id": found["reference"] if found else None,
        "action": "" if found else todo,
    }


def _called(shown: JSON) -> str:
    """An artifact by its name, a model with its version and when that was made."""
    version = f" v{shown['model_version']}, {ago(shown['created_utc'])}" if shown["kind"] == "model" else ""
    return f"{shown['name']}{version}"


def _model_of(shown: JSON) -> str | None:
    """The version of a model that an artifact is, or was made from: `ID@v2`."""
    id, version = shown.get("model_id"), shown.get("model_version")
    return f"{id}@v{version}" if id and version else id


def _newest(call: Call, family: list[JSON], kind: str) -> JSON | None:
    """The nearest artifact of the kind above or below, the newest where several are equally near."""
    found = [each for each in family if each["kind"] == kind]
    if not found:
        return None
    nearest = min(each["depth"] for each in found)
    near = max((each for each in found if each["depth"] == nearest), key=lambda each: each["created_utc"])
    return _catalog(call, near["id"])


def _catalog(call: Call, id: str | None) -> JSON | None:
    """The catalog, None where the artifact is no longer there or may not be seen."""
    if not id:
        return None
    try:
        return call.service.show(id)
    except NotFound:
        return None
