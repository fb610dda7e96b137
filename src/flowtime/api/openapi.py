"""The description of the API: what the framework finds out, and what it does not."""

from __future__ import annotations

import json
import shlex
import warnings
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from flowtime.api import schemas
from flowtime.api.examples import EXAMPLES, Example

JSON = dict[str, Any]

ADDRESS = "http://127.0.0.1:8765"
"""Where a server listens unless told otherwise; the examples speak to it."""


_PROGRAMS = ("/v1/", "/export", "/healthz", "/metrics")
"""Where the addresses for programs begin; the others are those of the pages."""


def operation_id(route: APIRoute) -> str:
    """The name of an operation: that of its function, said of telemetry where it serves that too."""
    return f"{route.name}_of_telemetry" if route.path.startswith("/v1/telemetry/") else route.name


def describe(app: FastAPI) -> JSON:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        with warnings.catch_warnings():
            # HEAD has the name of its GET, and is taken out below.
            warnings.filterwarnings("ignore", "Duplicate Operation ID")
            document = get_openapi(
                title=app.title,
                version=app.version,
                openapi_version=app.openapi_version,
                description=app.description,
                routes=app.routes,
            )
        document["paths"] = {
            path: operations for path, operations in document["paths"].items() if path.startswith(_PROGRAMS)
        }
        for path, operations in document["paths"].items():
            operations.pop("head", None)
            for method, operation in operations.items():
                _complete(path, method, operation)
        _share_problem(document["components"])
        app.openapi_schema = document
    return app.openapi_schema


def _complete(path: str, method: str, operation: JSON) -> None:
    for status in ("4XX", "5XX"):
        operation["responses"][status] = {"$ref": "#/components/responses/Problem"}
    for response in operation["responses"].values():
        content = response.get("content", {})
        if len(content) > 1 and content.get("application/json") == {"schema": {}}:
            # The framework takes every response for JSON.
            del content["application/json"]
    example = EXAMPLES.get(operation["operationId"])
    if example is None:
        return
    for parameter in operation.get("parameters", ()):
        given = {**example.path, **example.query}
        if parameter["name"] in given:
            parameter["example"] = given[parameter["name"]]
    if example.body is not None:
        content = operation["requestBody"]["content"][example.kind]
        content["example"] = example.body
    operation["x-codeSamples"] = [{"lang": "Shell", "label": "curl", "source": curl(path, method, example)}]


def curl(path: str, method: str, example: Example) -> str:
    """The command that sends an example to a server on this machine."""
    place = path.format(**{name: quote(value) for name, value in example.path.items()})
    query = f"?{urlencode(example.query, doseq=True)}" if example.query else ""
    words = ["curl", "--fail-with-body"]
    if method != "get":
        words += ["-X", method.upper()]
    for name, value in example.headers.items():
        words += ["-H", f"{name}: {value}"]
    for part in example.form:
        words += ["-F", part]
    if example.body is not None:
        body = example.body if isinstance(example.body, str) else json.dumps(example.body)
        words += ["-H", f"Content-Type: {example.kind}", "--data-binary", body]
    if example.output:
        words += ["-o", example.output]
    return " ".join(shlex.quote(word) for word in [*words, f"{ADDRESS}{place}{query}"])


def _share_problem(components: JSON) -> None:
    """One shape of errors for all operations."""
    problem = schemas.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= problem.pop("$defs", {}) | {"Problem": problem}
    components["responses"] = {
        "Problem": {
            "description": "What went wrong, as RFC 9457 has it",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    }
