"""What turns one model into another."""

from __future__ import annotations

from typing import Any

from flowtime.analysis.difference import difference
from flowtime.model import load
from flowtime.model.spec import Model

SHOP = """
metadata: {title: Shop}
grid: {bins: 3, binSize: 1, binUnit: hours}
nodes:
  - {id: demand, kind: const, values: [1, 2, 3], unit: orders/bin}
  - {id: basket, kind: pmf, pmf: {"1": 0.5, "2": 0.5}}
  - {id: sales, kind: expr, expr: "demand * basket"}
  - {id: lost, kind: expr, expr: "demand * 0.1"}
topology:
  nodes: [{id: A, semantics: {orders: demand}}, {id: B, semantics: {sales: sales}}]
  edges: [{from: A, to: B}]
provenance: {template: shop, parameters: {lost: 0.1, staff: 3}}
"""


def shop(*changes: tuple[str, str]) -> Model:
    text = SHOP
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return load(text, "shop.yaml")


def report(*changes: tuple[str, str]) -> dict[str, Any]:
    return difference(shop(), shop(*changes)).to_json()


def empty(found: dict[str, Any], *but: str) -> bool:
    parts = {**found, **found["nodes"], **found["topology"]}
    return not any(parts[key] for key in parts if key not in (*but, "equal", "nodes", "topology"))


def test_a_model_does_not_differ_from_itself() -> None:
    found = report()
    assert found["equal"]
    assert empty(found)


def test_nodes_are_added_removed_and_changed() -> None:
    found = report(
        (
            '  - {id: lost, kind: expr, expr: "demand * 0.1"}',
            '  - {id: won, kind: expr, expr: "demand * 0.9"}',
        ),
        ("demand * basket", "demand * basket / 2"),
    )
    assert not found["equal"]
    assert [(node["id"], node["expr"]) for node in found["nodes"]["added"]] == [("won", "demand * 0.9")]
    assert [node["id"] for node in found["nodes"]["removed"]] == ["lost"]
    (changed,) = found["nodes"]["changed"]
    assert changed["id"] == "sales"
    assert changed["changes"] == [
        {"what": "expr", "baseline": "demand * basket", "comparison": "demand * basket / 2"}
    ]
    assert not changed["respelled"]


def test_what_changed_in_a_node_is_named() -> None:
    found = report(("[1, 2, 3]", "[1, 2, 4]"), ("orders/bin", "baskets/bin"), ('"2": 0.5', '"3": 0.5'))
    changes = {
        node["id"]: {change["what"]: (change["baseline"], change["comparison"]) for change in node["changes"]}
        for node in found["nodes"]["changed"]
    }
    assert changes == {
        "demand": {"values": ([1, 2, 3], [1, 2, 4]), "unit": ("orders/bin", "baskets/bin")},
        "basket": {
            "pmf": (
                {"values": [1, 2], "probabilities": [0.5, 0.5]},
                {"values": [1, 3], "probabilities": [0.5, 0.5]},
            )
        },
    }


def test_a_formula_written_in_another_way_is_the_same_formula() -> None:
    (changed,) = report(("demand * basket", "demand*(basket)"))["nodes"]["changed"]
    assert changed["respelled"]
    (changed,) = report(("demand * basket", "basket * demand"))["nodes"]["changed"]
    assert not changed["respelled"]


def test_long_lists_are_told_by_their_first_difference() -> None:
    numbers = list(range(60))
    bins = ("bins: 3", "bins: 60")
    one = shop(bins, ("[1, 2, 3]", str(numbers)))
    other = shop(bins, ("[1, 2, 3]", str([*numbers[:7], 70, 80, *numbers[9:]])))
    (changed,) = difference(one, other).to_json()["nodes"]["changed"]
    assert changed["changes"] == [
        {"what": "values", "baseline": 7, "comparison": 70, "differing": 2, "first": 7}
    ]


def test_grid_seed_and_outputs_are_settings() -> None:
    found = report(
        ("binSize: 1, binUnit: hours", "binSize: 30, binUnit: minutes, start: 2025-01-01T00:00:00Z"),
        ("topology:", "rng: {seed: 4}\noutputs: [{series: sales}]\ntopology:"),
    )
    changes = {change["what"]: (change["baseline"], change["comparison"]) for change in found["settings"]}
    assert changes == {
        "grid.binSize": (1, 30),
        "grid.binUnit": ("hours", "minutes"),
        "grid.start": (None, "2025-01-01T00:00:00Z"),
        "outputs": (None, [{"series": "sales"}]),
        "rng": (None, {"kind": "pcg64", "seed": 4}),
    }
    assert empty(found, "settings")


def test_the_drawing_counts_and_the_title_does_not() -> None:
    found = report(
        ("edges: [{from: A, to: B}]", "edges: [{from: B, to: A}]"), ("{id: B, s", "{id: B, kind: sink, s")
    )
    assert not found["equal"]
    assert found["topology"]["edges_added"] == [{"from": "B", "to": "A"}]
    assert found["topology"]["edges_removed"] == [{"from": "A", "to": "B"}]
    assert [change["what"] for change in found["topology"]["components"]] == ["B"]

    found = report(("title: Shop", "title: Store"))
    assert found["equal"]
    assert found["metadata"] == [{"what": "title", "baseline": "Shop", "comparison": "Store"}]


def test_parameters_of_one_template_are_compared() -> None:
    found = report(("staff: 3", "staff: 4"))
    assert found["parameters"] == [{"what": "staff", "baseline": 3, "comparison": 4}]
    assert report(("staff: 3", "staff: 4"), ("template: shop", "template: store"))["parameters"] == []


def test_bins_of_the_same_length_are_the_same() -> None:
    found = report(("binSize: 1, binUnit: hours", "binSize: 60, binUnit: minutes"))
    assert found["equal"]
    assert empty(found)
    longer = report(("binSize: 1, binUnit: hours", "binSize: 120, binUnit: minutes"))
    assert not longer["equal"]
    assert {change["what"] for change in longer["settings"]} == {"grid.binSize", "grid.binUnit"}
