from __future__ import annotations

import pytest

from flowtime.core.graph import components, cycle_through, first_cycle, levels, topological_order

DIAMOND = {"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []}


def test_components_come_after_what_they_depend_on() -> None:
    graph = {"x": ["loop1"], "loop1": ["loop2", "a"], "loop2": ["loop1"], "a": []}
    assert components(graph) == [("a",), ("loop1", "loop2"), ("x",)]


def test_topological_order_respects_dependencies() -> None:
    assert topological_order(DIAMOND) == ["a", "b", "c", "d"]


def test_topological_order_of_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        topological_order({"a": ["b"], "b": ["a"]})


def test_the_shortest_cycle_is_a_closed_path() -> None:
    graph = {"a": ["b", "c"], "b": ["c"], "c": ["d", "a"], "d": ["b"]}
    assert cycle_through("a", graph) == ["a", "c", "a"]
    assert cycle_through("d", graph) == ["d", "b", "c", "d"]
    assert first_cycle(graph) == ["a", "c", "a"]


def test_a_node_that_needs_itself_is_a_cycle() -> None:
    assert first_cycle({"b": [], "a": ["b", "a"]}) == ["a", "a"]


def test_no_cycle_is_none() -> None:
    assert first_cycle(DIAMOND) is None
    assert cycle_through("a", DIAMOND) is None


def test_levels_are_the_longest_way() -> None:
    assert levels(DIAMOND) == {"a": 0, "b": 1, "c": 1, "d": 2}
    assert levels({"a": ["b"], "b": ["a", "c"], "c": []}) == {"c": 0, "a": 1, "b": 1}


def test_levels_count_what_is_asked_for() -> None:
    assert levels(DIAMOND, lambda component: int(component == ("b",))) == {"a": 0, "b": 0, "c": 0, "d": 1}


def test_long_chains_and_cycles_do_not_exhaust_the_stack() -> None:
    count = 10_000
    chain = {index: [index - 1] if index else [] for index in range(count)}
    assert topological_order(chain) == list(range(count))
    assert levels(chain)[count - 1] == count - 1
    ring = {index: [(index + 1) % count] for index in range(count)}
    assert len(components(ring)) == 1
    assert len(first_cycle(ring) or []) == count + 1
