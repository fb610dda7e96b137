"""Every error code has its place in the reference, with an example that produces it."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.error_reference import TARGET, Example, examples, page, produce, shown_in

from flowtime.errors import CODES

ROOT = Path(__file__).parents[2]
EXAMPLES = examples()
WITHOUT = {"FT900"}
"""A defect has no example."""
RUN = {code: example for code, example in EXAMPLES.items() if example.run or example.python}


def test_every_code_has_its_place() -> None:
    assert set(EXAMPLES) == set(CODES)
    assert list(EXAMPLES) == sorted(EXAMPLES)


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_code_is_produced_or_tested(code: str) -> None:
    example = EXAMPLES[code]
    assert example.fix.endswith(".")
    if example.proof:
        assert f'"{code}"' in (ROOT / example.proof).read_text(encoding="utf-8")
    elif code not in WITHOUT:
        assert code in RUN


@pytest.mark.needs("bash", "curl")
@pytest.mark.parametrize("code", RUN)
def test_the_example_prints_what_the_reference_shows(code: str, unavailable: object) -> None:
    printed = produce(code, RUN[code])
    assert printed == shown_in(TARGET.read_text(encoding="utf-8"), code), (
        "run: python scripts/error_reference.py"
    )


def test_the_reference_is_the_one_of_the_table() -> None:
    text = TARGET.read_text(encoding="utf-8")
    shown = {code: shown_in(text, code) for code in RUN}
    assert text == page(shown), "run: python scripts/error_reference.py"


def test_a_wrong_example_is_noticed() -> None:
    with pytest.raises(Exception, match="ended with 0"):
        produce("FT101", Example(fix="None.", run="flowtime sim validate shop.yaml"))
