"""What pages show of artifacts: charts, graphs with what they mean, overlays, and what is kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowtime.errors import FlowtimeError
from flowtime.loop.views import Recent
from flowtime.service import Flowtime
from flowtime.settings import load

SHOP = b"""
metadata: {id: shop}
grid: {bins: 6, binSize: 1, binUnit: hours, start: 2025-01-06T00:00:00Z}
nodes:
  - {id: arrivals, kind: const, values: [1, 2, 3, 4, 5, 6], unit: orders/bin}
  - {id: size, kind: pmf, pmf: {"1": 0.5, "2": 0.5}}
  - {id: offered, kind: expr, expr: "arrivals * size + SHIFT(backlog, 1)"}
  - {id: served, kind: expr, expr: "MIN( 5 , offered)"}
  - {id: backlog, kind: expr, expr: "offered - served", title: Waiting}
topology:
  nodes:
    - {id: Door, kind: source, semantics: {arrivals: arrivals}}
    - {id: Till, kind: service, title: The till, semantics: {served: served, backlog: backlog}}
    - {id: Street, kind: sink}
  edges: [{from: Door, to: Till}, {from: Till, to: Street}]
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Flowtime]:
    opened = Flowtime(load({"artifacts": str(tmp_path / "artifacts"), "cache": str(tmp_path / "cache")}))
    opened.publish_model(SHOP)
    opened.run("shop", name="first")
    yield opened
    opened.registry.close()


def test_series_are_found_by_component_by_measure_and_by_place(service: Flowtime) -> None:
    keys = [(m["component"], m["measure"]) for m in service.show("first")["measures"]]

    def found(**wanted: object) -> list[tuple[str, str]]:
        head = service.series("first", **wanted).head()
        assert [keys[entry["index"]] for entry in head["series"]] == [
            (entry["component"], entry["measure"]) for entry in head["series"]
        ]
        return [(entry["component"], entry["measure"]) for entry in head["series"]]

    assert found() == keys
    assert found(components=["Till"]) == [("Till", "served"), ("Till", "backlog")]
    assert found(components=["Till", "Door"], measures=["arrivals", "backlog"]) == [
        ("Door", "arrivals"),
        ("Till", "backlog"),
    ]
    assert found(picked=[keys.index(("Till", "served"))]) == [("Till", "served")]
    with pytest.raises(FlowtimeError, match="has no such series") as caught:
        found(components=["Till"], measures=["arrivals"])
    assert caught.value.code == "FT813"


def test_a_graph_of_components_leads_to_their_series_and_nodes(service: Flowtime) -> None:
    catalog = service.show("first")
    graph = service.graph("first")
    assert (graph["noun"], graph["total"]) == ("component", 3)
    assert [(edge["from"], edge["to"]) for edge in graph["edges"]] == [("Door", "Till"), ("Till", "Street")]
    boxes = {box["id"]: box for box in graph["nodes"]}
    assert boxes["Till"]["title"] == "The till"
    assert boxes["Till"]["semantics"] == {"served": "served", "backlog": "backlog"}
    assert boxes["Street"]["series"] == {}
    for box in boxes.values():
        for measure, place in box["series"].items():
            told = catalog["measures"][place]
            assert (told["component"], told["measure"]) == (box["id"], measure)


def test_the_graph_of_a_sampled_run_leads_to_the_statistics_of_each_series(service: Flowtime) -> None:
    drawn = SHOP.replace(b"pmf: {", b"mode: sample, pmf: {")
    service.run(service.publish_model(drawn, name="drawn")["id"], name="many", samples=3, seed=1, workers=1)
    measures = service.show("many")["measures"]
    for nodes, id in ((False, "Till"), (True, "served")):
        (box,) = (box for box in service.graph("many", nodes=nodes)["nodes"] if box["id"] == id)
        told = [
            (measures[place]["component"], measures[place]["measure"]) for place in box["series"].values()
        ]
        assert told[:4] == [("Till", f"served.{name}") for name in ("mean", "p05", "p50", "p95")]


def test_a_graph_of_nodes_says_what_each_node_is(service: Flowtime) -> None:
    nodes = {node["id"]: node for node in service.graph("shop", nodes=True)["nodes"]}
    assert nodes["arrivals"]["values"] == [1, 2, 3, 4, 5, 6]
    assert (nodes["arrivals"]["count"], nodes["arrivals"]["unit"]) == (6, "orders/bin")
    assert nodes["size"]["pmf"] == [[1, 0.5], [2, 0.5]]
    assert (nodes["size"]["mean"], nodes["size"]["sampled"]) == (1.5, False)
    offered = nodes["offered"]
    assert offered["reads"] == ["arrivals", "backlog", "size"]
    assert [offered["formula"][a:b] for a, b in offered["references"]] == ["arrivals", "size", "backlog"]
    # The formula is shown as it was written, and so are the places in it.
    assert nodes["served"]["formula"] == "MIN( 5 , offered)"
    assert [nodes["served"]["formula"][a:b] for a, b in nodes["served"]["references"]] == ["offered"]
    assert nodes["backlog"]["title_text"] == "Waiting"


def test_a_graph_can_be_the_part_around_a_node(service: Flowtime) -> None:
    def ids(**wanted: object) -> set[str]:
        graph = service.graph("shop", nodes=True, **wanted)
        assert graph["total"] == 5
        kept = {node["id"] for node in graph["nodes"]}
        assert all({edge["from"], edge["to"]} <= kept for edge in graph["edges"])
        return kept

    assert ids(around="size", depth=0) == {"size"}
    assert ids(around="size", depth=1) == {"size", "offered"}
    assert ids(around="size", depth=2) == {"size", "offered", "arrivals", "backlog", "served"}
    assert len(service.graph("shop", nodes=True)["nodes"]) == 5
    with pytest.raises(FlowtimeError, match='has no "till"') as caught:
        ids(around="till")
    assert caught.value.code == "FT813"


def test_an_overlay_has_both_sides_and_their_difference(service: Flowtime) -> None:
    slower = SHOP.replace(b"MIN( 5 ,", b"MIN( 4 ,")
    service.run(service.publish_model(slower, name="slow")["id"], name="second")
    chart = service.overlay("first", "second", component="Till", measure="served").to_json()
    first, second, gap = (entry["values"] for entry in chart["series"])
    assert [entry["measure"] for entry in chart["series"]] == ["baseline", "comparison", "difference"]
    assert first == [1.5, 3, 4.5, 5, 5, 5]
    assert second == [1.5, 3, 4, 4, 4, 4]
    assert gap == [b - a for a, b in zip(first, second, strict=True)]
    window = service.overlay("first", "second", component="Till", measure="served", start=2, stop=4)
    assert window.to_json()["series"][2]["values"] == [-0.5, -1]
    with pytest.raises(FlowtimeError, match=r"has no series Till\.lost"):
        service.overlay("first", "second", component="Till", measure="lost")


def test_an_overlay_of_other_times_keeps_to_the_bins_that_both_have(
    service: Flowtime, tmp_path: Path
) -> None:
    later = SHOP.replace(b"2025-01-06T00:00:00Z", b"2025-01-06T02:00:00Z")
    service.run(service.publish_model(later, name="late")["id"], name="late")
    chart = service.overlay("first", "late", component="Door", measure="arrivals").to_json()
    assert chart["grid"] == {"bins": 4, "binSize": 1, "binUnit": "hours", "start": "2025-01-06T02:00:00Z"}
    assert [entry["values"] for entry in chart["series"]] == [[3, 4, 5, 6], [1, 2, 3, 4], [-2, -2, -2, -2]]
    odd = SHOP.replace(b"2025-01-06T00:00:00Z", b"2025-01-06T00:30:00Z")
    service.run(service.publish_model(odd, name="odd")["id"], name="odd")
    with pytest.raises(FlowtimeError, match="their bins begin at different times"):
        service.overlay("first", "odd", component="Door", measure="arrivals")


def test_a_missing_value_of_one_side_is_missing_in_the_difference(service: Flowtime, tmp_path: Path) -> None:
    file = tmp_path / "gaps.csv"
    rows = [f"2025-01-06T0{hour}:00:00Z,Door,arrivals,{'' if hour == 2 else hour}" for hour in range(6)]
    file.write_text("\n".join(["time_bin,component_id,measure,value", *rows]) + "\n", encoding="utf-8")
    service.import_data(file, name="gaps", missing="null")
    chart = service.overlay("first", "gaps", component="Door", measure="arrivals").to_json()
    assert chart["series"][2]["values"] == [-1, -1, None, -1, -1, -1]


def test_a_graph_needs_a_model(service: Flowtime, tmp_path: Path) -> None:
    file = tmp_path / "bare.csv"
    service.export("first", "gold", str(file))
    service.import_data(file, name="bare", ignore_metadata=True)
    with pytest.raises(FlowtimeError) as caught:
        service.graph("bare")
    assert caught.value.code == "FT509"
    assert len(service.series("bare").rows) == len(service.series("first").rows)


def test_what_was_looked_at_is_kept_up_to_its_weight() -> None:
    recent = Recent(limit=100)
    made: list[str] = []

    def get(key: str, weight: int) -> str:
        def make() -> str:
            made.append(key)
            return key.upper()

        return recent.get(key, make, lambda _: weight)

    assert [get("a", 40), get("b", 40), get("a", 40)] == ["A", "B", "A"]
    assert made == ["a", "b"]
    get("c", 40)  # b was not looked at for longest, and has to go
    assert made == ["a", "b", "c"]
    get("a", 40)
    get("b", 40)
    assert made == ["a", "b", "c", "b"]
    assert get("whale", 1000) == "WHALE"  # what was asked for last is kept, whatever it weighs
    get("whale", 1000)
    assert made.count("whale") == 1


def test_threads_may_look_at_the_same(service: Flowtime) -> None:
    seen: list[object] = []

    def look() -> None:
        for _ in range(20):
            seen.append(service.graph("first", nodes=True)["width"])
            seen.append(service.series("first").values.sum())

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 160
    assert len(set(seen)) == 2


def test_what_many_ask_for_at_once_is_made_once() -> None:
    recent, made, results = Recent(), list[int](), list[int]()
    begun, go = threading.Event(), threading.Event()

    def make() -> int:
        begun.set()
        assert go.wait(10)
        made.append(1)
        return len(made)

    threads = [
        threading.Thread(target=lambda: results.append(recent.get("x", make, lambda _: 1))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go.set()
    for thread in threads:
        thread.join(10)
    assert results == [1] * 8
    assert made == [1]


def test_where_the_one_who_makes_it_fails_the_next_does() -> None:
    recent = Recent()
    begun, go = threading.Event(), threading.Event()
    failed: list[OSError] = []

    def fail() -> int:
        begun.set()
        assert go.wait(10)
        raise OSError

    def first() -> None:
        try:
            recent.get("x", fail, lambda _: 1)
        except OSError as error:
            failed.append(error)

    results: list[int] = []
    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert begun.wait(10)
    threads.append(threading.Thread(target=lambda: results.append(recent.get("x", lambda: 7, lambda _: 1))))
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert (len(failed), results) == (1, [7])
