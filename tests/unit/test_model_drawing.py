from __future__ import annotations

import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from flowtime.model import drawing, from_document, load
from flowtime.sim import templates

SVG = "{http://www.w3.org/2000/svg}"

LOOP = """
nodes:
  - {id: demand, kind: const, values: 3}
  - {id: size, kind: pmf, pmf: {"1": 0.5, "2": 0.5}}
  - {id: served, kind: expr, expr: "MIN(5, demand * size + SHIFT(backlog, 1))"}
  - {id: backlog, kind: expr, title: "Waiting <here> & there", expr: "SHIFT(backlog, 1) + demand - served"}
"""


def test_a_model_without_topology_shows_its_nodes() -> None:
    root = ElementTree.fromstring(drawing.preview(load(LOOP, "loop")))
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "Model"
    description = root.findtext(f"{SVG}desc") or ""
    assert description.startswith("4 nodes, 6 references: ")
    assert "backlog to backlog (feedback)" in description
    labels = [group.findtext(f"{SVG}title") for group in root.iter(f"{SVG}g")]
    assert labels == [
        "demand (const)",
        "size (pmf)",
        "served (expr)",
        "backlog (expr): Waiting <here> & there",
    ]
    kinds = [group.get("class") for group in root.iter(f"{SVG}g")]
    assert kinds == ["const", "pmf", "expr", "expr"]


def test_a_topology_is_drawn_when_there_is_one() -> None:
    model = load(f"{LOOP}topology:\n  nodes: [{{id: A & B, kind: source}}, {{id: C, kind: odd}}]\n"
                 "  edges: [{from: A & B, to: C}]\n", "loop")  # fmt: skip
    root = ElementTree.fromstring(drawing.preview(model))
    assert root.findtext(f"{SVG}desc") == "2 components, 1 flow: A & B to C"
    assert [group.findtext(f"{SVG}text") for group in root.iter(f"{SVG}g")] == ["A & B", "C"]
    assert [group.get("class") for group in root.iter(f"{SVG}g")] == ["source", "component"]


@pytest.mark.parametrize("template", templates.templates(), ids=lambda template: template.id)
def test_every_kind_has_its_own_shape_and_both_themes(template: templates.Template) -> None:
    text = drawing.preview(from_document(template.fill()))
    root = ElementTree.fromstring(text)
    shapes: dict[str, set[tuple[str, ...]]] = {}
    for group in root.iter(f"{SVG}g"):
        outline = tuple(child.tag for child in group if child.tag in (f"{SVG}rect", f"{SVG}path"))
        radius = tuple((child.get("rx") or "0") for child in group if child.tag == f"{SVG}rect")
        shapes.setdefault(str(group.get("class")), set()).add((*outline, *radius))
    assert all(len(outlines) == 1 for outlines in shapes.values())
    assert len({next(iter(outlines)) for outlines in shapes.values()}) == len(shapes)
    assert "prefers-color-scheme:dark" in text
    assert "light-dark(" in text
    assert not any(word in text for word in ("<script", " id=", "href"))


def test_hostile_names_stay_text() -> None:
    nodes = '"<script>alert(1)</script>", kind: "x\\" onload=\\"y"'
    model = load(
        f'{LOOP}metadata: {{title: "a\\u0007 <b>\\n]]>"}}\ntopology: {{nodes: [{{id: {nodes}}}]}}\n', "loop"
    )
    root = ElementTree.fromstring(drawing.preview(model))
    assert root.findtext(f"{SVG}title") == "a <b> ]]>"
    assert root.find(f".//{SVG}script") is None
    assert [group.attrib for group in root.iter(f"{SVG}g")] == [{"class": "component"}]


def test_the_same_bytes_in_another_process() -> None:
    program = (
        "import sys; from flowtime.model import drawing, from_document; from flowtime.sim import templates;"
        "m = from_document(templates.template('e-commerce').fill());"
        "sys.stdout.write(drawing.preview(m))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().startswith(b"<svg ")


def test_layers_say_in_words_what_the_picture_draws() -> None:
    edges = "{from: A, to: B}, {from: B, to: C}, {from: C, to: A}, {from: B, to: B}"
    nodes = "{id: C}, {id: A, kind: source}, {id: B, title: Bee}"
    model = load(f"{LOOP}topology:\n  nodes: [{nodes}]\n  edges: [{edges}]\n", "loop")
    found = drawing.layers(model)
    assert [[entry["id"] for entry in layer] for layer in found] in (
        [["A"], ["B"], ["C"]],
        [["C"], ["A"], ["B"]],
    )
    entries = {entry["id"]: entry for layer in found for entry in layer}
    assert entries["B"]["title"] == "Bee"
    assert entries["B"]["back"][-1] == "B"
    leads = {(id, to) for id, entry in entries.items() for to in entry["to"] + entry["back"]}
    assert leads == {("A", "B"), ("B", "C"), ("C", "A"), ("B", "B")}
    layer_of = {entry["id"]: i for i, layer in enumerate(found) for entry in layer}
    assert all(layer_of[id] < layer_of[to] for id, entry in entries.items() for to in entry["to"])
    assert all(layer_of[id] >= layer_of[to] for id, entry in entries.items() for to in entry["back"])


def test_the_part_around_a_node_is_placed_by_itself() -> None:
    model = load(LOOP)
    whole = drawing.picture(model)
    assert whole["total"] == len(whole["nodes"]) == 4
    near = drawing.picture(model, around="size", depth=1)
    assert near["total"] == 4
    assert [node["id"] for node in near["nodes"]] == ["size", "served"]
    assert [(edge["from"], edge["to"]) for edge in near["edges"]] == [("size", "served")]
    assert near["width"] * near["height"] < whole["width"] * whole["height"]
    assert drawing.picture(model, around="size", depth=9) == whole
    with pytest.raises(KeyError):
        drawing.picture(model, around="sizes")
