"""Telemetry in the place of a model's inputs: what is bound, what is refused, and whether it verifies."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from flowtime.errors import InvalidInput
from flowtime.formats import FORMATS
from flowtime.loop import verify
from flowtime.loop.models import Label
from flowtime.service import Flowtime
from flowtime.settings import load
from flowtime.wording import COMMAND

MODEL = """
metadata: {id: desk, title: Desk}
grid: {bins: 4, binSize: 6, binUnit: hours}
nodes:
  - {id: demand, kind: pmf, pmf: {"10": 0.5, "20": 0.5}, unit: calls}
  - {id: staff, kind: const, values: [1, 2, 3, 4]}
  - {id: capacity, kind: expr, expr: staff * 8}
  - {id: served, kind: expr, expr: "MIN(demand + SHIFT(left, 1), capacity)"}
  - {id: left, kind: expr, expr: "demand + SHIFT(left, 1) - served"}
topology:
  nodes: [{id: Desk, kind: service, semantics: {arrivals: demand, served: served}}]
"""
Table = dict[tuple[str, str], list[float | None]]

DEMAND: list[float | None] = [30.0, 1 / 3, None, 7.0]
STAFF: list[float | None] = [2.0, 2.0, 0.5, 1.0]


@pytest.fixture
def service(tmp_path: Path) -> Flowtime:
    return Flowtime(load({"artifacts": str(tmp_path / "artifacts")}))


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "desk.yaml"
    path.write_text(MODEL, encoding="utf-8")
    return str(path)


def table(series: Table, start: str | None = "2025-03-01") -> io.BytesIO:
    lines = ["time_bin,component_id,measure,value"]
    for (component, measure), values in series.items():
        for bin, value in enumerate(values):
            time = bin if start is None else f"{start}T{6 * bin:02}:00:00Z"
            lines.append(f"{time},{component},{measure},{'' if value is None else repr(value)}")
    return io.BytesIO("\n".join([*lines, ""]).encode())


def measured(start: str | None = "2025-03-01", **more: list[float | None]) -> io.BytesIO:
    extra = {(name, "value"): values for name, values in more.items()}
    return table({("Desk", "arrivals"): list(DEMAND), ("staff", "value"): list(STAFF), **extra}, start)


def rows(catalog: dict[str, Any]) -> Table:
    found: Table = {}
    with Path(catalog["files"]["data"]).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            value = float(row["value"]) if row["value"] else None
            found.setdefault((row["component_id"], row["measure"]), []).append(value)
    return found


def test_inputs_take_the_telemetrys_values_by_component_and_measure(service: Flowtime, model: str) -> None:
    telemetry = service.import_data(measured(weather=[9.0] * 4, capacity=[1.0] * 4))
    run = service.run(model, telemetry=telemetry["id"])
    assert run["bound"] == [
        {"component": "Desk", "measure": "arrivals", "node": "demand", "missing": 1},
        {"component": "staff", "measure": "value", "node": "staff", "missing": 0},
    ]
    assert (run["kept"], run["unbound"]) == ([], [{"component": "weather", "measure": "value"}])
    assert run["compared"] == [
        {
            "component": "capacity",
            "measure": "value",
            "equal": False,
            "differing_bins": 4,
            "missing_on_one_side": 0,
            "max_difference": -15.0,
            "first_time_bin": "2025-03-01T00:00:00Z",
        }
    ]
    found = rows(run)
    assert found["Desk", "arrivals"] == DEMAND
    assert found["staff", "value"] == STAFF
    assert found["capacity", "value"] == [16.0, 16.0, 4.0, 8.0]
    assert found["Desk", "served"] == [16.0, 14 + 1 / 3, None, None]
    assert run["grid"]["start"] == "2025-03-01T00:00:00Z"
    assert "replay" in run["capabilities"]
    assert run["name"] == "desk_replay"


def test_a_replay_knows_both_its_parents(service: Flowtime, model: str) -> None:
    telemetry = service.import_data(measured())
    run = service.run(model, telemetry=telemetry["id"])
    of_model, of_telemetry = run["parents"]
    assert of_model["id"] == run["model_id"]
    assert of_model["digest"] == service.show(run["model_id"])["model_hash"]
    assert of_telemetry == {"id": telemetry["id"], "digest": telemetry["data"]["digest"], "version": None}
    assert {parent["id"] for parent in run["lineage"]["parents"]} == {run["model_id"], telemetry["id"]}
    assert [child["id"] for child in service.show(telemetry["id"])["lineage"]["children"]] == [run["id"]]


def test_the_same_inputs_are_the_same_run_where_asked_and_others_are_not(
    service: Flowtime, model: str
) -> None:
    first, again = (service.import_data(measured())["id"] for _ in range(2))
    other = service.import_data(measured(start="2025-03-02"))["id"]
    runs = [service.run(model, telemetry=id, deterministic=True) for id in (first, first, again, other)]
    assert [run["id"] == runs[0]["id"] for run in runs] == [True, True, True, False]
    plain = service.run(model, name="desk_replay", deterministic=True)
    assert plain["inputs_hash"] not in {run["inputs_hash"] for run in runs}


@pytest.mark.parametrize("format", FORMATS)
def test_an_exported_replay_verifies(service: Flowtime, model: str, format: str, tmp_path: Path) -> None:
    telemetry = service.import_data(measured(calls=[5.0, 6.0, 7.0, 8.0]))
    bind = ["calls.value=capacity"]
    run = service.run(model, telemetry=telemetry["id"], bind=bind)
    export = service.export(run["id"], format, f"{tmp_path}/out/")
    back = service.import_data(Path(export["path"]))
    assert back["rebuilt"] is True
    assert back["conformance"]["ok"] is True
    assert [entry["measure"] for entry in back["conformance"]["series"]] == ["served", "value"]
    assert "replay" in back["capabilities"]
    (verdict,) = verify.verify(service.registry, run["id"], [FORMATS[format]], tmp_path, Label("v", "me"))
    assert (verdict.ok, verdict.problems) == (True, [])


def test_telemetry_alone_runs_the_model_that_came_back_with_it(
    service: Flowtime, model: str, tmp_path: Path
) -> None:
    telemetry = service.import_data(measured(calls=[5.0, 6.0, 7.0, 8.0]))
    run = service.run(model, telemetry=telemetry["id"], bind=["calls.value=capacity"])
    back = service.import_data(Path(service.export(run["id"], "gold", f"{tmp_path}/out/")["path"]))
    again = service.run(None, telemetry=back["id"])
    assert again["data"]["digest"] == run["data"]["digest"]
    assert [entry["node"] for entry in again["bound"]] == ["demand", "staff", "capacity"]
    assert [parent["id"] for parent in again["parents"]] == [back["id"]]
    elsewhere = service.at(str(tmp_path / "elsewhere"))
    moved = elsewhere.import_data(Path(f"{tmp_path}/out/{run['id']}.csv"))
    there = elsewhere.run(None, telemetry=moved["id"])
    assert there["data"]["digest"] == run["data"]["digest"]


def test_a_plain_runs_telemetry_alone_keeps_the_model_as_a_parent(
    service: Flowtime, model: str, tmp_path: Path
) -> None:
    run = service.run(model)
    back = service.import_data(Path(service.export(run["id"], "gold", f"{tmp_path}/out/")["path"]))
    again = service.run(None, telemetry=back["id"])
    assert [parent["id"] for parent in again["parents"]] == [run["model_id"], back["id"]]
    assert again["data"]["digest"] == run["data"]["digest"]
    assert again["model_hash"] == run["model_hash"]


def test_what_the_telemetry_does_not_measure_keeps_the_models_values(service: Flowtime, model: str) -> None:
    telemetry = service.import_data(table({("Desk", "arrivals"): list(DEMAND)}))
    run = service.run(model, telemetry=telemetry["id"])
    assert [entry["node"] for entry in run["bound"]] == ["demand"]
    assert run["kept"] == [{"node": "staff", "component": "staff", "measure": "value"}]
    found = rows(run)
    assert found["staff", "value"] == [1.0, 2.0, 3.0, 4.0]
    assert found["capacity", "value"] == [8.0, 16.0, 24.0, 32.0]
    assert found["Desk", "served"] == [8.0, 16.0, None, None]
    other = service.import_data(table({("staff", "value"): list(STAFF)}))
    run = service.run(model, telemetry=other["id"])
    assert [entry["node"] for entry in run["kept"]] == ["demand"]
    assert rows(run)["Desk", "arrivals"] == [15.0] * 4


@pytest.mark.parametrize("format", FORMATS)
def test_an_exported_replay_with_kept_inputs_verifies(
    service: Flowtime, model: str, format: str, tmp_path: Path
) -> None:
    telemetry = service.import_data(table({("Desk", "arrivals"): list(DEMAND)}))
    run = service.run(model, telemetry=telemetry["id"])
    (verdict,) = verify.verify(service.registry, run["id"], [FORMATS[format]], tmp_path, Label("v", "me"))
    assert (verdict.ok, verdict.problems) == (True, [])


def test_an_input_that_is_not_recorded_is_kept_under_no_name(service: Flowtime, tmp_path: Path) -> None:
    path = tmp_path / "hidden.yaml"
    path.write_text(f'{MODEL}outputs: [{{series: "*", exclude: [staff]}}]\n', encoding="utf-8")
    run = service.run(str(path), telemetry=service.import_data(measured())["id"])
    assert run["kept"] == [{"node": "staff", "component": None, "measure": None}]
    assert run["unbound"] == [{"component": "staff", "measure": "value"}]
    assert rows(run)["capacity", "value"] == [8.0, 16.0, 24.0, 32.0]


def test_what_the_model_computes_is_compared_and_not_bound(service: Flowtime, model: str) -> None:
    equal: list[float | None] = [16.0, 14 + 1 / 3, None, None]
    more: Table = {("Desk", "served"): equal, ("left", "value"): [14.0, 0.0, 1.0, None]}
    telemetry = service.import_data(table({**INPUTS, **more}))
    run = service.run(model, telemetry=telemetry["id"], bind=["left.value=capacity"])
    assert [(entry["component"], entry["equal"]) for entry in run["compared"]] == [
        ("Desk", False),  # capacity is what was left there
        ("left", False),  # bound to another node, and computed all the same
    ]
    run = service.run(model, telemetry=telemetry["id"])
    served, left = run["compared"]
    assert (served["equal"], served["differing_bins"]) == (True, 0)
    assert (left["differing_bins"], left["missing_on_one_side"]) == (1, 1)
    assert left["first_time_bin"] == "2025-03-01T12:00:00Z"


def test_other_measurements_to_compare_are_another_run(service: Flowtime, model: str) -> None:
    served = ("Desk", "served")
    ids = [
        service.import_data(table({**INPUTS, served: [value, 14 + 1 / 3, None, None]}))["id"]
        for value in (16.0, 17.0, 16.0)
    ]
    first, other, again = (service.run(model, telemetry=id, deterministic=True) for id in ids)
    assert (again["id"] == first["id"], other["id"] == first["id"]) == (True, False)
    assert other["compared"][0]["max_difference"] == 1.0


def test_telemetry_of_which_the_model_knows_nothing_is_refused(service: Flowtime, model: str) -> None:
    telemetry = service.import_data(table({("Calls", "count"): list(DEMAND)}))
    with pytest.raises(InvalidInput) as caught:
        service.run(model, telemetry=telemetry["id"])
    assert caught.value.code == "FT807"
    assert "has no series that the model takes or computes" in str(caught.value)
    assert "the telemetry has Calls.count" in str(caught.value.hint)
    assert "the model takes Desk.arrivals for demand, staff.value for staff" in str(caught.value.hint)
    run = service.run(model, telemetry=telemetry["id"], bind=["Calls.count=demand"])
    assert [entry["node"] for entry in run["bound"]] == ["demand"]


def test_what_is_required_has_to_be_measured(service: Flowtime, model: str) -> None:
    telemetry = service.import_data(
        table({("Desk", "arrivals"): list(DEMAND), ("roster", "value"): list(STAFF)})
    )
    with pytest.raises(InvalidInput) as caught:
        service.run(
            model,
            telemetry=telemetry["id"],
            require=["demand", "staff", "Desk.served", "Desk.arrivals", "stuff"],
        )
    assert caught.value.code == "FT807"
    assert [error.message for error in caught.value.errors] == [
        '"staff" is required, and the telemetry has no staff.value',
        '"Desk.served" is required, and the telemetry has no Desk.served',
        'the model has no node or series "stuff"',
    ]
    assert "Desk.arrivals, roster.value" in str(caught.value.hint)
    with pytest.raises(InvalidInput) as caught:
        service.run(model, require=["demand"])
    assert caught.value.code == "FT803"
    assert service.find(kinds=("run",))["total"] == 0
    service.run(
        model, telemetry=telemetry["id"], bind=["roster.value=staff"], require=["staff", "staff.value"]
    )
    served = service.import_data(table({**INPUTS, ("Desk", "served"): list(STAFF)}))
    service.run(model, telemetry=served["id"], require=["served"])


@pytest.mark.parametrize(
    ("binding", "says"),
    [
        ("Desk.arivals=demand", 'the telemetry has no series "Desk.arivals"; did you mean "Desk.arrivals"?'),
        ("Desk.arrivals=demnd", 'the model has no node "demnd"; did you mean "demand"?'),
        ("Desk.arrivals", 'the telemetry has no series ""'),
        ("Desk.arrivals=secret", 'the model does not record "secret"'),
        ("a.b.c=demand", '"a.b.c" is the name of 2 series'),
    ],
)
def test_a_binding_that_fits_nothing_is_refused(
    service: Flowtime, tmp_path: Path, binding: str, says: str
) -> None:
    path = tmp_path / "hidden.yaml"
    text = MODEL.replace("topology:", "  - {id: secret, kind: const, values: 1}\ntopology:")
    path.write_text(f'{text}outputs: [{{series: "*", exclude: [secret]}}]\n', encoding="utf-8")
    series: Table = {("Desk", "arrivals"): list(DEMAND), ("staff", "value"): list(STAFF)}
    twins: Table = {("a", "b.c"): list(STAFF), ("a.b", "c"): list(STAFF)}
    telemetry = service.import_data(table({**series, **twins}))
    with pytest.raises(InvalidInput) as caught:
        service.run(str(path), telemetry=telemetry["id"], bind=[binding])
    assert caught.value.code == "FT811"
    assert says in str(caught.value)


def test_a_node_bound_twice_is_refused(service: Flowtime, model: str) -> None:
    telemetry = service.import_data(measured())
    with pytest.raises(InvalidInput, match="fit") as caught:
        service.run(model, telemetry=telemetry["id"], bind=["staff.value=demand", "Desk.arrivals=demand"])
    assert '"demand" is bound twice' in str(caught.value)


def test_an_input_recorded_under_two_names_needs_one_meaning(service: Flowtime, tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    entry = "{id: Door, semantics: {entered: demand}}"
    path.write_text(MODEL.replace("nodes: [{id: Desk", f"nodes: [{entry}, {{id: Desk"), encoding="utf-8")
    entered: Table = {("Door", "entered"): [30.0, 1 / 3, None, 7.5]}
    known: Table = {("Desk", "arrivals"): list(DEMAND), ("staff", "value"): list(STAFF)}
    telemetry = service.import_data(table({**known, **entered}))
    with pytest.raises(InvalidInput) as caught:
        service.run(str(path), telemetry=telemetry["id"])
    assert '"demand" is one input, but Door.entered and Desk.arrivals differ' in str(caught.value)
    assert "--bind Door.entered=demand or --bind Desk.arrivals=demand" in str(caught.value.worded(COMMAND))
    run = service.run(str(path), telemetry=telemetry["id"], bind=["Desk.arrivals=demand"])
    assert rows(run)["Door", "entered"] == DEMAND


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ("{bins: 4, binSize: 1, binUnit: hours}", "the data has 4 bins of 6 hours from 2025-03-01"),
        ("{bins: 5, binSize: 6, binUnit: hours}", "the model 5 bins of 6 hours"),
        (
            "{bins: 4, binSize: 6, binUnit: hours, start: 2025-01-01T00:00:00Z}",
            "the data starts at 2025-03-01T00:00:00Z, the model at 2025-01-01T00:00:00Z",
        ),
    ],
)
def test_another_grid_is_explained(service: Flowtime, tmp_path: Path, grid: str, says: str) -> None:
    path = tmp_path / "other.yaml"
    text = MODEL.replace("{bins: 4, binSize: 6, binUnit: hours}", grid)
    text = text.replace("values: [1, 2, 3, 4]", "values: 1")
    path.write_text(text, encoding="utf-8")
    telemetry = service.import_data(measured())
    with pytest.raises(InvalidInput) as caught:
        service.run(str(path), telemetry=telemetry["id"])
    assert caught.value.code == "FT807"
    assert says in str(caught.value)


def test_another_spelling_of_the_grid_is_the_same_grid(service: Flowtime, tmp_path: Path) -> None:
    path = tmp_path / "minutes.yaml"
    path.write_text(MODEL.replace("binSize: 6, binUnit: hours", "binSize: 360, binUnit: minutes"))
    assert service.run(str(path), telemetry=service.import_data(measured())["id"])["bound"] != []


def test_telemetry_without_times_replays_on_the_models_start(service: Flowtime, tmp_path: Path) -> None:
    path = tmp_path / "started.yaml"
    started = "binUnit: hours, start: 2025-01-01T00:00:00Z}\nnodes"
    path.write_text(MODEL.replace("binUnit: hours}\nnodes", started))
    source = measured(start=None)
    telemetry = service.import_data(source, grid="bins=4,size=6,unit=hours")
    run = service.run(str(path), telemetry=telemetry["id"])
    assert run["grid"]["start"] == "2025-01-01T00:00:00Z"


def test_telemetry_without_a_model_asks_for_one(service: Flowtime) -> None:
    telemetry = service.import_data(measured())
    with pytest.raises(InvalidInput) as caught:
        service.run(None, telemetry=telemetry["id"])
    assert caught.value.code == "FT812"
    with pytest.raises(InvalidInput) as caught:
        service.run(None)
    assert caught.value.code == "FT803"


def test_a_sampled_input_that_is_bound_needs_no_seed(service: Flowtime, tmp_path: Path) -> None:
    path = tmp_path / "sampled.yaml"
    path.write_text(MODEL.replace("kind: pmf,", "kind: pmf, mode: sample,"))
    telemetry = service.import_data(measured())
    run = service.run(str(path), telemetry=telemetry["id"])
    assert (run["seed"], "sampled" in run["capabilities"]) == (None, False)


def test_capabilities_say_what_model_and_run_can_tell(service: Flowtime, model: str, tmp_path: Path) -> None:
    run = service.run(model)
    assert "feedback" in service.show(run["model_id"])["capabilities"]
    path = tmp_path / "plain.yaml"
    nodes = '[{id: x, kind: pmf, pmf: {"1": 0.5, "2": 0.5}, component: web, measure: latency_ms}]'
    path.write_text(f"grid: {{bins: 2}}\nnodes: {nodes}\n", encoding="utf-8")
    run = service.run(str(path), samples=3, seed=1)
    assert service.show(run["model_id"])["capabilities"] == ["counts"]
    assert {"latency.quantiles", "latency_ms.quantiles"} <= set(run["capabilities"])
    assert "latency.quantiles" not in service.run(str(path))["capabilities"]


# Conformance


def conformance(service: Flowtime, model: str, source: io.BytesIO, **options: Any) -> dict[str, Any]:
    return service.import_data(source, model=model, **options)["conformance"]


DERIVED: Table = {
    ("Desk", "served"): [16.0, 14 + 1 / 3, None, None],
    ("capacity", "value"): [16.0, 16.0, 4.0, 8.0],
    ("left", "value"): [14.0, 0.0, None, None],
}
INPUTS: Table = {
    ("Desk", "arrivals"): list(DEMAND),
    ("staff", "value"): list(STAFF),
}


def test_data_that_follows_the_model_is_equal(service: Flowtime, model: str) -> None:
    report = conformance(service, model, table({**INPUTS, **DERIVED}))
    assert report["ok"] is True
    assert [(e["component"], e["measure"], e["equal"]) for e in report["series"]] == [
        ("capacity", "value", True),
        ("Desk", "served", True),
        ("left", "value", True),
    ]


def test_conformance_says_how_far_off_and_where_first(service: Flowtime, model: str) -> None:
    off: Table = {**DERIVED, ("capacity", "value"): [16.0, 17.0, 1.0, 8.0]}
    report = conformance(service, model, table({**INPUTS, **off}))
    assert report["ok"] is False
    found = next(entry for entry in report["series"] if entry["component"] == "capacity")
    assert (found["equal"], found["differing_bins"], found["max_difference"]) == (False, 2, -3.0)
    assert (found["first_bin"], found["first_time_bin"]) == (1, "2025-03-01T06:00:00Z")
    assert (found["first_baseline"], found["first_comparison"]) == (16.0, 17.0)


def test_missing_equals_missing_and_no_number(service: Flowtime, model: str) -> None:
    gone: Table = {**DERIVED, ("Desk", "served"): [16.0, None, 0.0, None]}
    report = conformance(service, model, table({**INPUTS, **gone}))
    found = next(entry for entry in report["series"] if entry["measure"] == "served")
    assert (found["missing_on_one_side"], found["first_bin"]) == (2, 1)
    assert (found["first_baseline"], found["first_comparison"]) == (14 + 1 / 3, None)


def test_a_series_with_rows_for_some_bins_only_is_partly_compared(service: Flowtime, model: str) -> None:
    partial: Table = {**DERIVED, ("capacity", "value"): [16.0, 16.0]}
    report = conformance(service, model, table({**INPUTS, **partial}), missing="null")
    found = next(entry for entry in report["series"] if entry["component"] == "capacity")
    assert (found["equal"], found["missing_on_one_side"], found["first_bin"]) == (False, 2, 2)
    assert found["max_difference"] == 0.0


def test_derived_series_may_be_absent_and_are_listed(service: Flowtime, model: str) -> None:
    report = conformance(service, model, table(INPUTS))
    assert report["ok"] is False
    assert report["series"] == []
    assert [f"{key['component']}.{key['measure']}" for key in report["absent"]] == [
        "capacity.value",
        "Desk.served",
        "left.value",
    ]


def test_missing_inputs_and_unknown_series_are_refused(service: Flowtime, model: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        conformance(service, model, table({("staff", "value"): list(STAFF), ("x", "y"): list(STAFF)}))
    assert [error.message for error in caught.value.errors] == [
        "missing: Desk.arrivals, an input of the model",
        "extra: x.y, which the model does not have",
    ]


def test_another_unit_is_told_and_not_converted(service: Flowtime, model: str, tmp_path: Path) -> None:
    path = tmp_path / "tickets.yaml"
    path.write_text(MODEL.replace("unit: calls", "unit: tickets"), encoding="utf-8")
    exported = service.export(service.run(str(path))["id"], "gold", f"{tmp_path}/out/")
    found = service.import_data(Path(exported["path"]), model=model)
    assert "Desk.arrivals is in tickets, in the model in calls" in found["conformance"]["units"]
    assert found["conformance"]["ok"] is True
    run = service.run(model, telemetry=found["id"])
    assert [warning["code"] for warning in run["warnings"]] == ["FT851"]


def test_the_largest_numbers_are_compared_too(service: Flowtime, tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    nodes = "nodes:\n  - {id: x, kind: const, values: 1}\n  - {id: y, kind: expr, expr: x}\n"
    path.write_text("grid: {bins: 2, binSize: 6, binUnit: hours}\n" + nodes, encoding="utf-8")
    largest: list[float | None] = [1.7976931348623157e308] * 2
    least: list[float | None] = [-1.7976931348623157e308] * 2
    report = conformance(service, str(path), table({("x", "value"): largest, ("y", "value"): least}))
    (found,) = report["series"]
    assert (found["equal"], found["differing_bins"], found["first_bin"]) == (False, 2, 0)
