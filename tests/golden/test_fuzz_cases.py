"""Every reader against what fuzzing has found in it, and against its own seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.targets import TARGETS, fuzz

CASES = sorted(path for path in Path(__file__).with_name("fuzz").glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_stays_mended(path: Path) -> None:
    fuzz(TARGETS[path.parent.name], path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_to_begin_with_are_read_or_refused(name: str) -> None:
    taken = [fuzz(TARGETS[name], seed) for seed in TARGETS[name].seeds()]
    assert any(taken)
