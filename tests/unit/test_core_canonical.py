"""Canonical JSON: the same meaning has the same bytes, and these bytes stay as they are."""

from __future__ import annotations

import math

import pytest

from flowtime.core.canonical import dump, hash_of, load, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": {"ß": None, "Z": (True, "é")}}, '{"a":{"Z":[true,"é"],"ß":null},"b":1}'),
        ([1.0, -0.0, 0.1, 1e300, 2.5], "[1,0,0.1,1e300,2.5]"),
        ([2.0**53 - 1, -(2.0**53 - 1)], "[9007199254740991,-9007199254740991]"),
        ([2.0**53, -(2.0**53)], "[9007199254740992.0,-9007199254740992.0]"),
        ([2**70], "[1180591620717411303424]"),
    ],
)
def test_bytes(value: object, text: str) -> None:
    assert dump(value) == text.encode()


def test_the_order_of_keys_makes_no_difference() -> None:
    assert hash_of({"a": 1, "b": 2.0}) == hash_of({"b": 2, "a": 1.0})
    assert (
        hash_of({"a": 1, "b": 2}) == "sha256:43258cff783fe7036d8a43033f830adfc60ec037382473548ac742b888292777"
    )


def test_what_was_written_is_read() -> None:
    assert load(b'{"a": [1, 2.5, 1180591620717411303424]}') == {"a": [1, 2.5, 2**70]}
    assert math.copysign(1, number(-0.0)) == 1
