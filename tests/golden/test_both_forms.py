"""Vectors and templates by compiled programs: the bits, missing values and notes of the reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.golden.test_templates import CASES, TEMPLATES
from tests.golden.test_vectors import FLOWS, LATER, VALID

from flowtime.core.series import same_bits
from flowtime.engine import compile, machine, program, reference
from flowtime.engine.metrics import series_formulas
from flowtime.engine.sources import sources
from flowtime.model import load
from flowtime.model.writer import dump


def texts() -> Iterator[Any]:
    for case in (*VALID, *FLOWS):
        if case["name"] not in LATER:
            yield pytest.param(json.dumps(case["model"]), id=case["name"])
    for id, scenario in CASES:
        yield pytest.param(dump(TEMPLATES[id].fill(scenario=scenario)), id=f"{id}-{scenario}")


@pytest.mark.parametrize("text", list(texts()))
def test_a_program_gives_what_the_reference_gives(text: str) -> None:
    model = load(text)
    plan = compile(model, extra=series_formulas(model.metrics))
    found = sources(plan)
    values, notes = reference.evaluate(plan, found.fixed, found.draw(), lambda: None)
    run = machine.Machine(machine.Module(program.compile(plan)), found)
    run.draws[:] = found.draw()
    run.all_bins(lambda: None)
    for (key, _), row, other in zip(plan.model.recorded(), run.values(), values, strict=True):
        assert same_bits(row, other), key
    met = run.notes()
    assert met.times == notes.times
    for note, bins in notes.bins.items():
        assert np.array_equal(met.bins[note], bins), note
