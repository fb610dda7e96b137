"""Whose export a file without metadata is: one run's, several runs' of one model, or of several models."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from flowtime.errors import InvalidInput
from flowtime.service import Flowtime
from flowtime.settings import load

MODEL = """\
metadata: {id: desk, title: Desk}
grid: {bins: 3, binSize: 1, binUnit: hours, start: 2025-03-03T08:00:00Z}
nodes:
  - {id: calls, kind: const, values: [2, 4, 6], unit: calls}
  - {id: done, kind: expr, expr: "MIN(calls, 5)"}
"""


@pytest.fixture
def service(tmp_path: Path) -> Flowtime:
    return Flowtime(load({"artifacts": str(tmp_path / "artifacts")}))


def model(tmp_path: Path, name: str = "desk", text: str = MODEL) -> str:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def lone(service: Flowtime, id: str, format: str = "gold") -> io.BytesIO:
    """An export of the run without any metadata."""
    stream = io.BytesIO()
    service.export_to(id, format, stream)
    stream.seek(0)
    return stream


def parents(found: dict[str, Any]) -> list[str]:
    return [each["id"] for each in found["parents"]]


@pytest.mark.parametrize("format", ["gold", "ndjson"])
def test_the_export_of_one_run_is_its(service: Flowtime, tmp_path: Path, format: str) -> None:
    run = service.run(model(tmp_path))
    back = service.import_data(lone(service, run["id"], format))
    found = back["recognised"]
    assert (found["by"], found["id"], found["model_id"]) == ("digest", run["id"], run["model_id"])
    assert [each["id"] for each in found["matches"]] == [run["id"]]
    assert parents(back) == [run["id"]]


@pytest.mark.parametrize("format", ["gold", "ndjson"])
def test_of_several_runs_of_a_model_none_is_taken(service: Flowtime, tmp_path: Path, format: str) -> None:
    path = model(tmp_path)
    ids = [service.run(path, name=name)["id"] for name in ("monday", "tuesday", "wednesday")]
    back = service.import_data(lone(service, ids[0], format))
    found = back["recognised"]
    assert (found["by"], found["id"]) == ("digest", None)
    assert sorted(each["id"] for each in found["matches"]) == sorted(ids)
    assert {each["name"] for each in found["matches"]} == {"monday", "tuesday", "wednesday"}
    assert back["rebuilt"] is True
    assert back["conformance"]["ok"] is True
    assert parents(back) == [back["model_id"]] == [service.show("desk")["id"]]
    assert [entry["unit"] for entry in back["measures"]] == ["calls", "calls"]
    assert service.run(None, telemetry=back["id"])["data"]["digest"] == back["data"]["digest"]


def test_a_person_says_which_run_it_is(service: Flowtime, tmp_path: Path) -> None:
    path = model(tmp_path)
    first = service.run(path, name="monday")["id"]
    service.run(path, name="tuesday")
    back = service.import_data(lone(service, first), run="monday")
    assert (back["recognised"]["id"], len(back["recognised"]["matches"])) == (first, 2)
    assert parents(back) == [first]


def test_a_run_and_its_replay_are_of_one_model(service: Flowtime, tmp_path: Path) -> None:
    run = service.run(model(tmp_path))
    telemetry = service.import_data(lone(service, run["id"]))
    service.run(None, telemetry=telemetry["id"])
    back = service.import_data(lone(service, run["id"]))
    assert (len(back["recognised"]["matches"]), back["rebuilt"], back["bound"]) == (2, True, [])
    assert back["conformance"]["ok"] is True
    assert parents(back) == [run["model_id"]]


def test_no_model_is_guessed_among_several(service: Flowtime, tmp_path: Path) -> None:
    one = service.run(model(tmp_path))["id"]
    other = MODEL.replace("MIN(calls, 5)", "calls - MAX(calls - 5, 0)").replace(
        "unit: calls", "unit: tickets"
    )
    two = service.run(model(tmp_path, "other", other))["id"]
    back = service.import_data(lone(service, one))
    assert {each["id"] for each in back["recognised"]["matches"]} == {one, two}
    assert (back["rebuilt"], back["conformance"], back["model_id"], parents(back)) == (False, None, None, [])
    assert [entry["unit"] for entry in back["measures"]] == [None, None]
    assert back["grid"] == service.show(one)["grid"]
    back = service.import_data(lone(service, one), run=two)
    assert (back["rebuilt"], parents(back)) == (True, [two])
    assert [entry["unit"] for entry in back["measures"]] == ["tickets", "tickets"]


def test_one_model_under_two_names_is_rebuilt_without_a_name(service: Flowtime, tmp_path: Path) -> None:
    one = service.run(model(tmp_path))
    two = service.run(model(tmp_path, "other", MODEL.replace("id: desk, title: Desk", "id: counter")))
    assert one["model_hash"] == two["model_hash"]
    back = service.import_data(lone(service, one["id"]))
    assert (back["rebuilt"], back["model_id"], parents(back)) == (True, None, [])
    assert back["model_hash"] == one["model_hash"]
    text = service.model_text(back["id"])
    assert "Desk" not in text
    assert "counter" not in text


def test_bins_of_which_only_one_is_there_may_have_two_lengths(service: Flowtime, tmp_path: Path) -> None:
    text = MODEL.replace("bins: 3", "bins: 1").replace("[2, 4, 6]", "2")
    ids = [
        service.run(model(tmp_path, unit, text.replace("hours", unit)))["id"] for unit in ("hours", "days")
    ]
    with pytest.raises(InvalidInput) as caught:
        service.import_data(lone(service, ids[0]))
    assert caught.value.code == "FT405"
    back = service.import_data(lone(service, ids[0]), run=ids[1])
    assert (back["grid"]["binUnit"], parents(back)) == ("days", [ids[1]])


def test_a_run_whose_series_these_are_not_is_refused(service: Flowtime, tmp_path: Path) -> None:
    run = service.run(model(tmp_path), name="monday")["id"]
    other = service.run(model(tmp_path, "other", MODEL.replace("6]", "7]")), name="other")["id"]
    with pytest.raises(InvalidInput, match=f"the series are those of {run}") as caught:
        service.import_data(lone(service, run), run="other")
    assert caught.value.code == "FT816"
    path = tmp_path / "monday.csv"
    service.export(run, "gold", str(path))
    with pytest.raises(InvalidInput, match=f"it says that it is the export of {run}"):
        service.import_data(path, run=other)
    with pytest.raises(InvalidInput, match="says of nobody"):
        service.import_data(path, run=run, ignore_metadata=True)
    assert service.import_data(path, run=run)["recognised"] == {
        "by": "sidecar",
        "id": run,
        "model_id": service.show(run)["model_id"],
        "matches": [],
    }


def test_another_programs_file_is_of_nobody(service: Flowtime, tmp_path: Path) -> None:
    back = service.import_data(io.BytesIO(b"time_bin,component_id,measure,value\n0,a,m,1\n1,a,m,2\n"))
    assert back["recognised"] == {"by": None, "id": None, "model_id": None, "matches": []}
    assert back["rebuilt"] is False
