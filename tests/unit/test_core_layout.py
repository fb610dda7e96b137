"""Layouts: any graph lies apart and inside, and small ones at places that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtime.core import graph
from flowtime.core.layout import Box, Layout, Line, layers, layout


def overlaps(a: Box, b: Box) -> bool:
    return abs(a.x - b.x) < (a.width + b.width) / 2 and abs(a.y - b.y) < (a.height + b.height) / 2


def places(picture: Layout) -> dict[str, tuple[float, float]]:
    return {box.id: (box.x, box.y) for box in picture.boxes}


def turns(picture: Layout) -> list[tuple[str, str]]:
    """The edges from one strip to the next, in a picture of boxes of one width that runs to the right."""
    at = places(picture)
    return [(line.source, line.target) for line in picture.lines if at[line.source][0] == at[line.target][0]]


def crossings(picture: Layout) -> int:
    """How many pairs of edges cross between two layers, in a picture without edges over several layers."""
    edges = []
    for line in picture.lines:
        source, target = (places(picture)[id] for id in (line.source, line.target))
        if source[picture.down] != target[picture.down]:  # else it turns into the next strip
            edges.append((source[picture.down], source[not picture.down], target[not picture.down]))
    return sum(
        one[0] == other[0] and (one[1] - other[1]) * (one[2] - other[2]) < 0
        for i, one in enumerate(edges)
        for other in edges[:i]
    )


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
        assert all(round(number, 1) == number for point in line.points for number in point)
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


# Places worked out by hand: boxes 38 high, a margin of 16, gaps of 46 between layers and 24 between rows


def test_two_boxes_there_and_back() -> None:
    picture = layout({"a": 60.0, "b": 80.0}, [("a", "b"), ("b", "a")])
    assert picture == Layout(
        boxes=(Box("a", 46, 35, 60, 38), Box("b", 162, 35, 80, 38)),
        lines=(
            Line("a", "b", ((76, 35), (99, 35), (99, 35), (122, 35)), back=False),
            Line("b", "a", ((122, 46), (99, 46), (99, 46), (76, 46)), back=True),  # beside the other
        ),
        width=218,
        height=70,
        down=False,
    )


def test_an_edge_to_its_own_node_bulges_beside_the_box() -> None:
    picture = layout({"a": 60.0, "b": 60.0}, [("a", "a"), ("a", "b")])
    loop, _ = picture.lines
    assert (picture.down, loop.back) == (False, True)
    assert list(loop.points) == [(57, 54), (68, 72), (24, 72), (35, 54)]
    assert (picture.width, picture.height) == (198, 81)  # 11 more than without
    [loop] = layout({"a": 60.0}, [("a", "a")]).lines  # down the page, where a box is 38 deep
    assert list(loop.points) == [(76, 44.5), (94, 54), (94, 16), (76, 25.5)]


def test_an_edge_passes_beside_the_boxes_between_its_ends() -> None:
    picture = layout(
        dict.fromkeys("abcd", 60.0), [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d")]
    )
    assert not picture.down
    (ax, ay), b, c, (dx, dy) = places(picture).values()
    assert (b, c) == ((152, 35), (152, 97))
    assert ay == dy == pytest.approx(66.7)  # amid b and c, hardly drawn to the edge that passes
    line = picture.lines[-1].points
    assert line[:4] == ((ax + 30, ay), (99, ay), (99, 135), (122, 135))  # a lane of 14, half a gap below c
    assert line[3:7] == ((122, 135), (122, 135), (182, 135), (182, 135))
    assert line[6:] == ((182, 135), (205, 135), (205, dy), (dx - 30, dy))
    assert (picture.width, picture.height) == (304, 158)


def test_two_edges_that_pass_one_layer_lie_half_a_gap_apart() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d"), ("b", "d")]
    picture = layout(dict.fromkeys("abcd", 60.0), edges)
    lanes = [line.points[3] for line in picture.lines if len(line.points) > 4]
    assert [x for x, _ in lanes] == [122, 122]
    assert abs(lanes[0][1] - lanes[1][1]) >= 14 + 12


def test_a_chain_of_six_turns_once() -> None:
    ids = [f"n{i}" for i in range(6)]
    picture = layout(dict.fromkeys(ids, 80.0), pairwise(ids))
    assert list(places(picture).values()) == [(56, 35), (182, 35), (308, 35), (308, 99), (182, 99), (56, 99)]
    assert list(picture.lines[1].points) == [(222, 35), (245, 35), (245, 35), (268, 35)]
    assert list(picture.lines[2].points) == [(348, 35), (380, 35), (380, 99), (348, 99)]  # half the way down
    assert list(picture.lines[3].points) == [(268, 99), (245, 99), (245, 99), (222, 99)]
    assert (picture.width, picture.height) == (424, 134)  # the turn takes 60, the rows lie 26 apart


def test_a_chain_of_fourteen_turns_at_both_ends() -> None:
    ids = [f"n{i}" for i in range(14)]
    picture = layout(dict.fromkeys(ids, 80.0), pairwise(ids))
    turns = [line.points for line in picture.lines if line.points[0][1] != line.points[-1][1]]
    assert len(turns) == len({box.y for box in picture.boxes}) - 1 == 3
    assert [round(turn[1][0] - turn[0][0]) for turn in turns] == [32, -32, 32]
    assert all(0 <= x <= picture.width for turn in turns for x, _ in turn)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_no_more_than_four_edges_turn(count: int) -> None:
    """Chains of twelve boxes side by side; five would be better shaped in two strips, too."""
    chains = [[f"{chain}.{i}" for i in range(12)] for chain in range(count)]
    edges = [edge for chain in chains for edge in pairwise(chain)]
    picture = layout({id: 80.0 for chain in chains for id in chain}, edges)
    assert picture.down == (count == 5)
    assert picture.down or turns(picture) == [(chain[5], chain[6]) for chain in chains]


def test_a_flow_is_folded_where_few_edges_pass() -> None:
    """Of twelve stages of five boxes, each to the next of its own, the fifth and sixth are joined by one."""
    stages = [[f"{stage}{i}" for i in range(5)] for stage in "abcdefghijkl"]
    edges = [
        (left, right)
        for before, after in pairwise(stages)
        for left, right in zip(before, after, strict=True)
        if before[0] != "e0" or left == "e0"
    ]
    edges += [("f0", f"g{i}") for i in range(1, 5)]
    picture = layout({id: 80.0 for stage in stages for id in stage}, edges)
    assert (picture.down, turns(picture)) == (False, [("e0", "f0")])


@pytest.mark.parametrize("wide", range(8))
def test_no_strip_has_a_single_layer(wide: int) -> None:
    ids = [f"n{i}" for i in range(8)]
    picture = layout({id: 380.0 if i == wide else 80.0 for i, id in enumerate(ids)}, pairwise(ids))
    rows = [box.y for box in picture.boxes]
    assert picture.down == (wide in (3, 4))  # in the middle it would lie alone
    assert picture.down or sorted(map(rows.count, set(rows))) == [3, 5]


def test_an_edge_turns_beside_the_widest_box_of_its_layer() -> None:
    ids = [f"n{i}" for i in range(6)]
    picture = layout({**dict.fromkeys(ids, 80.0), "wide": 160.0}, [*pairwise(ids), ("n1", "wide")])
    turn = picture.lines[2]
    assert (turn.source, turn.points[0][1] != turn.points[-1][1]) == ("n2", True)
    beyond = max(box.x + box.width / 2 for box in picture.boxes)
    assert beyond + 22 <= turn.points[1][0] <= beyond + 60


@pytest.mark.parametrize("count", [16, 24, 32])
def test_strips_of_a_comb_lie_apart(count: int) -> None:
    """A chain with a tooth at each fourth node, so that its strips lie askew."""
    ids = [f"n{i}" for i in range(count)]
    teeth = [(id, f"tooth of {id}") for id in ids[::4]]
    picture = layout(dict.fromkeys([*ids, *(tooth for _, tooth in teeth)], 80.0), [*pairwise(ids), *teeth])
    assert len(turns(picture)) >= 2
    assert not any(overlaps(a, b) for i, a in enumerate(picture.boxes) for b in picture.boxes[:i])
    assert min(box.y for box in picture.boxes) == 16 + 19
    assert max(box.y for box in picture.boxes) == pytest.approx(picture.height - 16 - 19)


def test_what_spreads_wide_runs_down() -> None:
    leaves = [f"n{i}" for i in range(16)]
    picture = layout(dict.fromkeys(["s", *leaves], 40.0), [("s", leaf) for leaf in leaves])
    assert picture.down
    assert places(picture)["s"] == (516, 35)  # amid its sixteen, which are 40 wide and 24 apart
    assert [places(picture)[leaf] for leaf in leaves] == [(36 + 64 * i, 107) for i in range(16)]  # 34 below
    assert (picture.width, picture.height) == (1032, 142)


def test_a_picture_is_wide_rather_than_high() -> None:
    assert not layout(dict.fromkeys("abc", 60.0), pairwise("abc")).down
    side_by_side = layout(dict.fromkeys("ab", 60.0), [])
    assert list(places(side_by_side).values()) == [(46, 35), (130, 35)]
    assert layout({}, []).boxes == ()


@settings(max_examples=60)
@given(parents=st.lists(st.integers(0, 100), min_size=1, max_size=14))
def test_trees_are_drawn_without_crossings(parents: list[int]) -> None:
    edges = [(f"n{parent % (i + 1)}", f"n{i + 1}") for i, parent in enumerate(parents)]
    assert crossings(layout({f"n{i}": 60.0 for i in range(len(parents) + 1)}, edges)) == 0


@pytest.mark.parametrize(
    ("ids", "edges"),
    [
        ("b1 a0 a1 b0", "a1-b0 a0-b0 a1-b1"),
        ("b2 b1 a2 a1 a3 b0 a0", "a3-b0 a0-b1 a2-b1 a3-b1 a0-b2"),
        ("a2 b0 a1 a3 b1 a0 b2", "a1-b0 a0-b1 a1-b2 a2-b2"),
    ],
)
def test_a_tangle_is_drawn_without_crossings(ids: str, edges: str) -> None:
    """Such as need their neighbours' means, or sweeps in both directions."""
    pairs = [(edge[:2], edge[3:]) for edge in edges.split()]
    assert crossings(layout(dict.fromkeys(ids.split(), 60.0), pairs)) == 0


@pytest.mark.parametrize("count", [2, 3, 4])
def test_everything_to_everything_crosses_as_often_as_it_must(count: int) -> None:
    edges = [(f"a{i}", f"b{j}") for i in range(count) for j in range(count)]
    picture = layout({f"{side}{i}": 60.0 for side in "ab" for i in range(count)}, edges)
    assert crossings(picture) == (count * (count - 1) // 2) ** 2


def test_boxes_stand_amid_their_neighbours() -> None:
    """A row of pairs that meet: each meeting lies in the middle of its two."""
    ends = [f"a{i}" for i in range(6)]
    widths = dict.fromkeys([*ends, "b0", "b1", "b2"], 60.0)
    picture = layout(widths, [(end, f"b{i // 2}") for i, end in enumerate(ends)])
    middle = {id: place[not picture.down] for id, place in places(picture).items()}
    assert [middle[f"b{i}"] for i in range(3)] == [
        (middle[f"a{2 * i}"] + middle[f"a{2 * i + 1}"]) / 2 for i in range(3)
    ]


# What runs back


@pytest.mark.parametrize(
    ("ids", "edges", "back"),
    [
        ("abc", ["ab", "bc", "ca"], ["ca"]),  # the one that closes the cycle
        ("bca", ["ab", "bc", "ca"], ["ab"]),  # as seen from the first node
        ("abcd", ["ab", "bc", "cb", "da", "cd"], ["cb", "da"]),
        ("abcde", ["ab", "cb", "cd", "dc", "ed", "ea"], ["dc"]),
        ("abx", ["xa", "ab", "bb"], ["bb"]),
    ],
)
def test_the_edges_that_run_back(ids: str, edges: list[str], back: list[str]) -> None:
    def pairs(texts: Iterable[str]) -> list[tuple[str, str]]:
        return [(text[0], text[1]) for text in texts]

    picture = layout(dict.fromkeys(ids, 60.0), pairs(edges))
    assert [(line.source, line.target) for line in picture.lines if line.back] == pairs(back)
    assert layers(ids, pairs(edges))[1] == set(pairs(back))


def test_layers_follow_the_longest_path_and_what_has_no_source_stands_next_to_its_target() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("late", "c"), ("c", "c"), ("c", "a")]
    assert layers(["late", "a", "b", "c", "alone"], edges, [("c", "a")]) == (
        [["a", "alone"], ["late", "b"], ["c"]],
        {("c", "c"), ("c", "a")},
    )


def test_the_shortest_edges_get_their_places_and_the_longest_run_straight() -> None:
    """A chain of 100 whose nodes all have an edge to the last, which would take 4,851 places in layers."""
    ids = [f"n{i}" for i in range(100)]
    picture = layout(dict.fromkeys(ids, 60.0), [*((id, ids[-1]) for id in ids[:-2]), *pairwise(ids)])
    bends = {line.source: (len(line.points) - 1) // 6 for line in picture.lines if line.target == ids[-1]}
    assert [bends[id] for id in ids[22:99]] == list(range(76, -1, -1))  # 76 * 77 / 2 is 2,926
    assert [bends[id] for id in ids[:22]] == [0] * 22
