"""The conformance vectors: models with their series, and documents that must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowtime.engine import compile, evaluate
from flowtime.errors import InvalidInput
from flowtime.model import from_document, load
from flowtime.model.writer import dump

HERE = Path(__file__).parent
VALID: list[dict[str, Any]] = json.loads((HERE / "valid.json").read_text(encoding="utf-8"))
INVALID: list[dict[str, Any]] = json.loads((HERE / "invalid.json").read_text(encoding="utf-8"))


def test_the_vectors_are_all_here() -> None:
    assert (len(VALID), len(INVALID)) == (19, 26)


@pytest.mark.parametrize("spelling", ["json", "yaml", "document"])
@pytest.mark.parametrize("case", VALID, ids=lambda case: case["name"])
def test_valid(case: dict[str, Any], spelling: str) -> None:
    document = case["model"]
    match spelling:
        case "json":
            model = load(json.dumps(document))
        case "yaml":
            model = load(dump(document))
        case _:
            model = from_document(document)
    series = evaluate(compile(model)).series
    got = {key.component: values for key, _, values in series}
    assert list(got) == [node["id"] for node in document["nodes"]]
    for node_id, expected in case["series"].items():
        wanted = np.array([np.nan if value is None else value for value in expected], dtype=np.float64)
        if case["tolerance"] == 0:
            assert np.array_equal(got[node_id].view(np.int64), wanted.view(np.int64)), node_id
        else:
            np.testing.assert_allclose(got[node_id], wanted, rtol=case["tolerance"], atol=0, equal_nan=True)


@pytest.mark.parametrize("case", INVALID, ids=lambda case: case["name"])
def test_invalid(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as raised:
        load(json.dumps(case["model"], indent=1), "case.json")
    text = str(raised.value)
    assert case["says"].lower() in text.lower()
    assert case["names"] in text
    for problem in raised.value.errors:
        assert problem.source == "case.json"
        assert problem.line is not None and problem.column is not None
        assert problem.excerpt is not None and "^" in problem.excerpt
