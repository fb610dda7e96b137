"""The canonical document and its YAML text read back as the same model; the hashes say what is the same."""

from __future__ import annotations

import pytest

from flowtime.model import from_document, load
from flowtime.model.identity import graph_hash, model_hash
from flowtime.model.source import parse
from flowtime.model.writer import dump, to_document

RICH = """
metadata: {id: shop, title: "Shop: a 'test'", version: "1.0", tags: [no, "2024", "1e3"]}
grid: {bins: 2, binSize: 5, binUnit: minutes, start: 2025-01-01T00:00:00.5Z}
nodes:
- {id: a, kind: const, values: [1, 2.5e-310], unit: requests/bin}
- {id: "no", kind: const, values: 5e-324}
- {id: p, kind: pmf, pmf: {"100": 0.3, "150": 0.5, "200": 0.2}, mode: sample, profile: [0.5, 1.5]}
- {id: b, kind: expr, expr: "MAX(0, a - SHIFT(b, 1, -2)) / no", component: Küche, measure: "a, b"}
outputs: [{series: "*", exclude: [a], as: out.csv}]
topology: {nodes: [{id: Shop, kind: service, semantics: {served: b}}, {id: X}], edges: [{from: Shop, to: X}]}
rng: {seed: 42}
provenance: {template: t, parameters: {x: [1, 2.0], y: null}}
"""


def test_document_and_text_read_back_as_the_same_model() -> None:
    model = load(RICH)
    assert from_document(to_document(model)) == model
    assert load(dump(to_document(model))) == model
    assert to_document(load(dump(to_document(model)))) == to_document(model)


@pytest.mark.parametrize("text", ["no", "1e3", "0x1F", "", "~", "true", "a: b", "- x", "é\n\ttab", "#c", "'"])
def test_text_stays_text(text: str) -> None:
    assert parse(dump({"x": text})).value == {"x": text}


def test_spelling_makes_no_difference_to_the_hash() -> None:
    plain = load("nodes: [{id: a, kind: const, values: 2.0}, {id: b, kind: expr, expr: a+1}]")
    spelled = load(
        "metadata: {title: other}\n"
        "grid: {binUnit: hours, binSize: 1, bins: 24}  # the default\n"
        "nodes:\n- {kind: const, id: a, values: 2e0, component: a, measure: value}\n"
        "- id: b\n  kind: expr\n  expr: a+1\nprovenance: {x: 1}\n"
    )
    assert model_hash(plain) == model_hash(spelled)


@pytest.mark.parametrize(
    "other",
    [
        "nodes: [{id: a, kind: const, values: 2.5}, {id: b, kind: expr, expr: a+1}]",
        "nodes: [{id: a, kind: const, values: 2}, {id: b, kind: expr, expr: a+2}]",
        "nodes: [{id: a, kind: const, values: 2, unit: x}, {id: b, kind: expr, expr: a+1}]",
        "grid: {bins: 25}\nnodes: [{id: a, kind: const, values: 2}, {id: b, kind: expr, expr: a+1}]",
        "nodes: [{id: b, kind: expr, expr: a+1}, {id: a, kind: const, values: 2}]",
    ],
)
def test_meaning_makes_a_difference_to_the_hash(other: str) -> None:
    model = load("nodes: [{id: a, kind: const, values: 2}, {id: b, kind: expr, expr: a+1}]")
    assert model_hash(load(other)) != model_hash(model)


def test_the_graph_hash_is_of_the_graph_alone() -> None:
    def hashed(expr: str, value: float = 2) -> str:
        return graph_hash(
            load(f"nodes: [{{id: a, kind: const, values: {value}}}, {{id: b, kind: expr, expr: '{expr}'}}]")
        )

    assert hashed("a + 1") == hashed("a * 7", 3)
    assert hashed("a + 1") != hashed("SHIFT(a, 1)")
    assert hashed("a + 1") != hashed("1")


def test_what_declares_nothing_is_the_same_as_nothing() -> None:
    nothing = "nodes: [{id: a, kind: const, values: 2}]"
    model = load(
        f"{nothing}\nmetadata: {{}}\ntopology: {{nodes: [], edges: []}}\nrng: {{}}\nprovenance: {{}}\n"
    )
    assert model == load(nothing)
    assert from_document(to_document(model)) == model
