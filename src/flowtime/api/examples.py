"""An example of every operation, which the description of the API shows and the tests run.

They speak of a registry with a model `baseline-v1` from the checkout template, runs `monday` and `tuesday`
of it, and a file `monday.csv` with one of them exported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flowtime.api.schemas import MODEL_TEXT

JOB = "job_0123456789abcdef01234567"
"""Stands for the id of a job, which nobody knows before."""


@dataclass(frozen=True, slots=True)
class Example:
    """What is sent: values of the path and the query, headers, a body of some media type or parts of a form.

    `output` is the file that gets the answer, where that is not text.
    """

    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    kind: str = "application/json"
    form: tuple[str, ...] = ()
    output: str = ""


_ASYNC = {"Prefer": "respond-async"}

EXAMPLES: dict[str, Example] = {
    "health": Example(),
    "metrics": Example(),
    "list_artifacts": Example(
        query={"kind": "run", "query": "monday", "from": "2025-09-01", "page": "1", "size": "20"}
    ),
    "show_artifact": Example({"id": "baseline-v1"}),
    "artifact_file": Example({"id": "monday", "name": "binned_v0.csv"}, headers={"Range": "bytes=0-99"}),
    "edit_artifact": Example(
        {"id": "monday"}, body={"description": "before the sale", "star": True, "add_tags": ["weekly"]}
    ),
    "list_templates": Example(),
    "show_template": Example({"id": "checkout"}),
    "fill_template": Example({"id": "checkout"}, body={"name": "baseline-v2", "tags": ["orders"]}),
    "make_model": Example(
        query={"name": "desk", "tags": "orders,baseline"}, body=MODEL_TEXT, kind="application/yaml"
    ),
    "validate_model": Example(body=MODEL_TEXT, kind="application/yaml"),
    "derive_model": Example(
        {"id": "baseline-v1"}, body={"name": "busy-day", "scenario": "black-friday", "tags": ["what-if"]}
    ),
    "explain_model": Example({"id": "baseline-v1"}),
    "model_program": Example({"id": "baseline-v1"}),
    "model_graph": Example({"id": "baseline-v1"}),
    "make_run": Example(
        body={"model_id": "baseline-v1", "name": "wednesday", "tags": ["orders", "baseline"]}
    ),
    "series": Example({"id": "monday"}, {"points": "100"}),
    "graph": Example({"id": "monday"}),
    "export": Example({"id": "monday", "format": "parquet"}, output="monday.parquet"),
    "export_metadata": Example({"id": "monday", "format": "gold"}),
    "import_data": Example(query={"name": "monday-back"}, form=("file=@monday.csv", "tags=validation")),
    "series_of_telemetry": Example({"id": "monday-back"}, {"from": "0", "to": "12"}),
    "graph_of_telemetry": Example({"id": "monday-back"}, {"nodes": "true"}),
    "export_of_telemetry": Example({"id": "monday-back", "format": "ndjson"}, output="monday.ndjson"),
    "export_metadata_of_telemetry": Example({"id": "monday-back", "format": "ndjson"}),
    "compare": Example(query={"baseline": "monday", "comparison": "tuesday", "threshold": "0.05"}),
    "overlay": Example(
        query={"baseline": "monday", "comparison": "tuesday", "component": "Customers", "measure": "demand"}
    ),
    "verify_loop": Example(body={"model_id": "baseline-v1", "formats": ["gold", "parquet"]}),
    "export_newest": Example(body={"format": "csv"}),
    "export_newest_as": Example({"format": "csv"}, output="newest.csv"),
    "index_status": Example(),
    "rebuild_index": Example(headers=_ASYNC),
    "verify_index": Example(headers=_ASYNC),
    "list_jobs": Example(),
    "show_job": Example({"id": JOB}),
    "cancel_job": Example({"id": JOB}),
    "delete_artifact": Example({"id": "baseline-v1_77192a23"}, {"confirm": "true", "force": "true"}),
    "list_trash": Example(),
    "restore_artifact": Example({"id": "baseline-v1_77192a23"}),
    "purge_trash": Example(query={"confirm": "true"}),
    "error_code": Example({"code": "FT501"}),
}
"""By operation, in an order in which each can be done after the others."""
