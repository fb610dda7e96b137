"""What errors tell over HTTP: nothing of where the server keeps things."""

from __future__ import annotations

import errno
import json

import pytest
from fastapi import FastAPI, Request

from flowtime.api.problems import defect, outward, problem
from flowtime.errors import (
    CODES,
    Conflict,
    Denied,
    Diagnostic,
    FlowtimeError,
    InternalError,
    InvalidInput,
    NotFound,
    Unavailable,
)

KINDS: dict[str, type[FlowtimeError]] = {
    "invalid": InvalidInput,
    "not_found": NotFound,
    "conflict": Conflict,
    "denied": Denied,
    "unavailable": Unavailable,
    "internal": InternalError,
}
TELLING = [code for code in CODES if code[:4] in ("FT51", "FT60") or code in ("FT415", "FT805")]
PLACES = ("/srv/flow/artifacts/runs/a", "s3://bucket/flow", "http://10.0.0.7:9000/bucket?X=1", "'/srv/a b/c'")


@pytest.mark.parametrize("code", TELLING)
def test_errors_of_storage_name_no_place_of_the_server(code: str) -> None:
    error = KINDS[str(CODES[code].kind)](
        code,
        f"cannot be read: {PLACES[0]}: refused by {PLACES[1]}, {PLACES[2]} and {PLACES[3]}",
        where=PLACES[0],
        hint=f"restore {PLACES[0]}",
    )
    said = json.dumps(problem(outward(error)))
    for secret in ("/srv", "s3:", "bucket/", "10.0.0.7", "b/c"):
        assert secret not in said
    assert json.loads(said)["code"] == code


@pytest.mark.parametrize("code", [code for code, declared in CODES.items() if declared.kind])
def test_no_error_names_a_place_of_the_server(code: str) -> None:
    root, bucket = "/srv/flow artifacts", "s3://bucket/flow"
    error = KINDS[str(CODES[code].kind)](
        code,
        f"{root}/runs/a is not what it was, nor is {bucket}/b; runs/c is of the caller",
        where=f"{root}/x",
        hint=f"look at {bucket}",
        errors=[Diagnostic(code, f"{root}/y", source=f"{bucket}/z", hint=f"{root}/h")],
    )
    said = json.dumps(problem(outward(error, (root, bucket))))
    for secret in ("/srv", "flow artifacts", "s3:", "bucket/"):
        assert secret not in said
    assert json.loads(said)["code"] == code


def test_a_lack_of_descriptors_is_no_defect() -> None:
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "app": FastAPI()})
    answer = defect(request, OSError(errno.EMFILE, "Too many open files", "/srv/flow/x"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert json.loads(bytes(answer.body))["code"] == "FT609"
    assert b"/srv" not in bytes(answer.body)
