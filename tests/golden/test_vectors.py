"""The conformance vectors: models with their series, and documents that must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowtime.core.expression import parse
from flowtime.engine import compile, evaluate, machine, program, reference
from flowtime.engine.metrics import reduce, series_formulas
from flowtime.engine.sources import sources
from flowtime.errors import InvalidInput
from flowtime.model import from_document, load
from flowtime.model.parameters import set_values
from flowtime.model.writer import dump

HERE = Path(__file__).parent
VALID: list[dict[str, Any]] = json.loads((HERE / "valid.json").read_text(encoding="utf-8"))
FLOWS: list[dict[str, Any]] = json.loads((HERE / "flows.json").read_text(encoding="utf-8"))
LATER = ("pool-priority", "pool-weights", "split", "functions-2")
"""Cases of the language that flowtime does not read yet."""
INVALID: list[dict[str, Any]] = json.loads((HERE / "invalid.json").read_text(encoding="utf-8"))


def test_the_vectors_are_all_here() -> None:
    assert (len(VALID), len(FLOWS), len(INVALID)) == (19, 15, 94)


@pytest.mark.parametrize("way", ["reference", "program"])
@pytest.mark.parametrize(
    "case", [case for case in FLOWS if case["name"] not in LATER], ids=lambda case: case["name"]
)
def test_flows(case: dict[str, Any], way: str) -> None:
    """Queues, parameters and metrics: every measure that a case names, in both forms."""
    model = load(json.dumps(case["model"]))
    values = set_values(model.parameters, case.get("set", {}))
    wanted = {f"case:{id}": parse(id) for id in case["series"]}
    plan = compile(model, parameters=values, extra={**wanted, **series_formulas(model.metrics)})
    found = sources(plan)
    if way == "reference":
        rows, _ = reference.evaluate(plan, found.fixed, found.draw(), lambda: None)
    else:
        run = machine.Machine(machine.Module(program.compile(plan)), found)
        run.all_bins(lambda: None)
        rows = run.values()
    ids = [node.id for _, node in plan.model.recorded()]
    got = dict(zip(ids, rows, strict=True))
    for id, expected in case["series"].items():
        row = np.array([np.nan if value is None else value for value in expected], dtype=np.float64)
        np.testing.assert_allclose(got[f"case:{id}"], row, rtol=case["tolerance"], atol=1e-15, equal_nan=True)
    results = {result.metric.name: result for result in reduce(model.metrics, got, values)}
    for name, value in case.get("metrics", {}).items():
        wanted_value = np.nan if value is None else value
        np.testing.assert_allclose(results[name].value, wanted_value, rtol=case["tolerance"], equal_nan=True)
    for name, met in case.get("met", {}).items():
        assert results[name].met is met


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
