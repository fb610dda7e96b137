"""The pages that draw: run, telemetry, model, comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response

from flowtime.api.server import Call
from flowtime.web.rendering import page

JSON = dict[str, Any]

router = APIRouter()


def run_page(call: Call, shown: JSON, frame: JSON) -> Response:
    """The page of a run, or of telemetry."""
    return page(call, "run.html", **frame)


def model_page(call: Call, shown: JSON, frame: JSON) -> Response:
    """The page of a model."""
    return page(call, "model.html", **frame)


PAGES: dict[str, Callable[[Call, JSON, JSON], Response]] = {
    "run": run_page,
    "telemetry": run_page,
    "model": model_page,
}
"""What shows an artifact, by kind: given its catalog and what its frame needs."""
