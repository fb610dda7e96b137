from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtime.core import graph
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


def overlaps(a: drawing.Box, b: drawing.Box) -> bool:
    return abs(a.x - b.x) < (a.width + b.width) / 2 and abs(a.y - b.y) < (a.height + b.height) / 2


@settings(max_examples=60)
@given(
    count=st.integers(1, 14),
    pairs=st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13)), max_size=30),
)
def test_any_graph_is_drawn_without_overlaps_inside_the_picture(
    count: int, pairs: list[tuple[int, int]]
) -> None:
    edges = [(f"n{a % count}", f"n{b % count}") for a, b in pairs]
    picture = drawing.layout({f"n{i}": 60.0 + 10 * i for i in range(count)}, edges)
    assert [box.id for box in picture.boxes] == [f"n{i}" for i in range(count)]
    assert {(line.source, line.target) for line in picture.lines} == set(edges)
    assert not any(overlaps(a, b) for i, a in enumerate(picture.boxes) for b in picture.boxes[:i])
    for box in picture.boxes:
        assert box.width / 2 <= box.x <= picture.width - box.width / 2
        assert box.height / 2 <= box.y <= picture.height - box.height / 2
    forward: dict[str, list[str]] = {box.id: [] for box in picture.boxes}
    for line in picture.lines:
        assert len(line.points) % 3 == 1
        assert all(0 <= x <= picture.width and 0 <= y <= picture.height for x, y in line.points[::3])
        if not line.back:
            forward[line.source].append(line.target)
    graph.topological_order(forward)  # raises where the edges that are not back ones leave a cycle
    boxes = {box.id: box for box in picture.boxes}
    for line in picture.lines:
        for box, (x, y) in ((boxes[line.source], line.points[0]), (boxes[line.target], line.points[-1])):
            assert abs(abs(x - box.x) - box.width / 2) < 0.2 or abs(abs(y - box.y) - box.height / 2) < 0.2


def test_a_short_chain_is_straight() -> None:
    picture = drawing.layout(dict.fromkeys("abc", 80.0), pairwise("abc"))
    assert len({box.x if picture.down else box.y for box in picture.boxes}) == 1


@pytest.mark.parametrize("count", [6, 9, 14])
def test_a_long_chain_is_folded_into_rows_there_and_back(count: int) -> None:
    ids = [f"n{i}" for i in range(count)]
    picture = drawing.layout(dict.fromkeys(ids, 80.0), pairwise(ids))
    assert not picture.down
    assert 0.6 < picture.width / picture.height < 4
    rows: dict[float, list[drawing.Box]] = {}
    for box in picture.boxes:
        rows.setdefault(box.y, []).append(box)
    assert 2 <= len(rows) <= 4
    for number, row in enumerate(rows.values()):
        places = [box.x for box in row]
        assert places == sorted(places, reverse=number % 2 == 1)
    ends = [(row[-1].x, after[0].x) for row, after in pairwise(rows.values())]
    assert all(abs(last - first) < 1 for last, first in ends)


def test_a_chain_with_many_edges_past_every_layer_is_not_folded() -> None:
    """Each of twelve boxes goes to the next four."""
    ids = [f"n{i}" for i in range(12)]
    edges = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 : i + 5]]
    picture = drawing.layout(dict.fromkeys(ids, 80.0), edges)
    places = [box.y if picture.down else box.x for box in picture.boxes]
    assert places == sorted(places)


def test_a_ladder_is_drawn_without_crossings() -> None:
    """Three chains in an order that crosses, as given."""
    edges = [(f"{chain}{i}", f"{chain}{i + 1}") for i in range(3) for chain in ("abc" if i % 2 else "cab")]
    ids = [f"{chain}{i}" for i in range(4) for chain in ("abc", "bca", "cab", "acb")[i]]
    picture = drawing.layout(dict.fromkeys(ids, 60.0), edges)
    places = {box.id: box.x if picture.down else box.y for box in picture.boxes}
    orders = {tuple(sorted("abc", key=lambda chain: places[f"{chain}{i}"])) for i in range(4)}
    assert len(orders) == 1


def test_feedback_is_turned_round_before_anything_else() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "a")]
    picture = drawing.layout(dict.fromkeys("abc", 60.0), edges, [("a", "b")])
    assert [(line.source, line.target) for line in picture.lines if line.back] == [("a", "b")]


def test_feedback_outside_a_cycle_runs_forward() -> None:
    picture = drawing.layout(dict.fromkeys("ab", 60.0), [("a", "b")], [("a", "b")])
    assert [line.back for line in picture.lines] == [False]


def test_long_edges_in_a_large_graph_do_not_cost_a_place_in_every_layer() -> None:
    ids = [f"n{i}" for i in range(1000)]
    edges = [*pairwise(ids), *((ids[i // 2], ids[i]) for i in range(3, 1000))]
    picture = drawing.layout(dict.fromkeys(ids, 60.0), edges)
    assert sum(len(line.points) for line in picture.lines) < 60_000
    assert len(picture.lines) == len(edges)


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
