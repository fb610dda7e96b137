from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtime.core import graph
from flowtime.core.layout import Box, layout


def overlaps(a: Box, b: Box) -> bool:
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
    picture = layout({f"n{i}": 60.0 + 10 * i for i in range(count)}, edges)
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
    picture = layout(dict.fromkeys("abc", 80.0), pairwise("abc"))
    assert len({box.x if picture.down else box.y for box in picture.boxes}) == 1


@pytest.mark.parametrize("count", [6, 9, 14])
def test_a_long_chain_is_folded_into_rows_there_and_back(count: int) -> None:
    ids = [f"n{i}" for i in range(count)]
    picture = layout(dict.fromkeys(ids, 80.0), pairwise(ids))
    assert not picture.down
    assert 0.6 < picture.width / picture.height < 4
    rows: dict[float, list[Box]] = {}
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
    picture = layout(dict.fromkeys(ids, 80.0), edges)
    places = [box.y if picture.down else box.x for box in picture.boxes]
    assert places == sorted(places)


def test_a_ladder_is_drawn_without_crossings() -> None:
    """Three chains in an order that crosses, as given."""
    edges = [(f"{chain}{i}", f"{chain}{i + 1}") for i in range(3) for chain in ("abc" if i % 2 else "cab")]
    ids = [f"{chain}{i}" for i in range(4) for chain in ("abc", "bca", "cab", "acb")[i]]
    picture = layout(dict.fromkeys(ids, 60.0), edges)
    places = {box.id: box.x if picture.down else box.y for box in picture.boxes}
    orders = {tuple(sorted("abc", key=lambda chain: places[f"{chain}{i}"])) for i in range(4)}
    assert len(orders) == 1


def test_feedback_is_turned_round_before_anything_else() -> None:
    edges = [("a", "b"), ("b", "c"), ("c", "a")]
    picture = layout(dict.fromkeys("abc", 60.0), edges, [("a", "b")])
    assert [(line.source, line.target) for line in picture.lines if line.back] == [("a", "b")]


def test_feedback_outside_a_cycle_runs_forward() -> None:
    picture = layout(dict.fromkeys("ab", 60.0), [("a", "b")], [("a", "b")])
    assert [line.back for line in picture.lines] == [False]


def test_long_edges_in_a_large_graph_do_not_cost_a_place_in_every_layer() -> None:
    ids = [f"n{i}" for i in range(1000)]
    edges = [*pairwise(ids), *((ids[i // 2], ids[i]) for i in range(3, 1000))]
    picture = layout(dict.fromkeys(ids, 60.0), edges)
    assert sum(len(line.points) for line in picture.lines) < 60_000
    assert len(picture.lines) == len(edges)
