"""Every error code has its place in the reference, with an example that produces it."""

from __future__ import annotations

import pytest
from scripts.error_reference import TARGET, Example, examples, page, produce, shown_in

from flowtime.errors import CODES

EXAMPLES = examples()


def test_every_code_has_its_place() -> None:
    assert set(EXAMPLES) == set(CODES)
    assert list(EXAMPLES) == sorted(EXAMPLES)


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_code_has_an_example_and_a_way_to_fix_it(code: str) -> None:
    example = EXAMPLES[code]
    assert example.fix.endswith(".")
    assert bool(example.run) != bool(example.python)


@pytest.mark.needs("bash", "curl")
@pytest.mark.parametrize("code", EXAMPLES)
def test_the_example_prints_what_the_reference_shows(code: str, unavailable: object) -> None:
    printed = produce(code, EXAMPLES[code])
    assert printed == shown_in(TARGET.read_text(encoding="utf-8"), code), (
        "run: python scripts/error_reference.py"
    )


def test_the_reference_is_the_one_of_the_table() -> None:
    text = TARGET.read_text(encoding="utf-8")
    shown = {code: shown_in(text, code) for code in EXAMPLES}
    assert text == page(shown), "run: python scripts/error_reference.py"


def test_a_wrong_example_is_noticed() -> None:
    with pytest.raises(Exception, match="ended with 0"):
        produce("FT101", Example(fix="None.", run="flowtime sim validate shop.yaml"))
