"""The Python face: public names, tables, libraries that are missing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import polars as pl
import pytest

import flowtime as ft

DESK = """\
metadata: {id: desk}
grid: {bins: 4, binSize: 15, binUnit: minutes, start: 2025-01-01T00:00:00Z}
nodes:
  - {id: calls, kind: const, values: [4, 8, 6, 2], unit: calls/bin}
  - {id: answered, kind: expr, expr: "MIN(calls, 5)", unit: calls/bin}
  - {id: share, kind: expr, expr: "LOG(answered - 5)"}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    path = tmp_path / "desk.yaml"
    path.write_text(DESK, encoding="utf-8")
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ft.Registry]:
    with ft.Registry(tmp_path / "artifacts", owner="ada") as opened:
        yield opened


def test_the_public_names() -> None:
    assert ft.__all__ == [
        "Artifact",
        "Evaluation",
        "FlowtimeError",
        "Model",
        "Registry",
        "Run",
        "Telemetry",
        "__version__",
        "evaluate",
        "load_model",
    ]
    assert sorted(ft.__all__) == ft.__all__ == dir(ft)
    assert all(getattr(ft, name) is not None for name in ft.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Runs'"):
        _ = ft.Runs
    stub = ast.parse(Path(ft.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    typed = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(ft.__all__)


def test_importing_the_package_imports_nothing_heavy() -> None:
    said = "import sys, flowtime; print([m for m in sys.modules if m.startswith('flowtime') or m == 'numpy'])"
    ran = subprocess.run([sys.executable, "-c", said], capture_output=True, check=True, text=True)
    assert ran.stdout == "['flowtime.version', 'flowtime']\n"


def test_a_run_as_tables(registry: ft.Registry, desk: Path) -> None:
    run = registry.run(ft.load_model(desk), name="monday", tags=["weekday"])
    frame = run.to_polars()
    assert frame.columns == ["time_bin", "component_id", "measure", "value"]
    assert frame.schema["time_bin"] == pl.Datetime("us", "UTC")
    exported = run.export(desk.with_name("monday.csv"))
    assert frame["value"].to_list() == pl.read_csv(exported["path"])["value"].to_list()
    assert frame.filter(component_id="share")["value"].to_list()[1:3] == [None, None]

    table = run.to_pandas()
    assert str(table["time_bin"].dtype) == "datetime64[us, UTC]"
    assert table.equals(frame.to_pandas())
    wide = run.to_pandas(wide=True).set_index("time_bin")
    assert list(wide) == ["calls.value", "answered.value", "share.value"]
    assert wide.loc[pd.Timestamp("2025-01-01 00:15", tz="UTC"), "answered.value"] == 5
    arrow = run.to_arrow()
    assert arrow.column_names == frame.columns
    assert arrow["value"].to_pylist() == frame["value"].to_list()


def test_without_a_start_times_are_bins(registry: ft.Registry, desk: Path) -> None:
    desk.write_text(DESK.replace(", start: 2025-01-01T00:00:00Z", ""), encoding="utf-8")
    assert ft.evaluate(ft.load_model(desk)).to_pandas(wide=True)["time_bin"].tolist() == [0, 1, 2, 3]


def test_evaluation_needs_no_registry(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = ft.load_model(desk)
    assert (model.name, model.nodes) == ("desk", ["calls", "answered", "share"])
    assert model.text == DESK
    plain = ft.evaluate(model)
    assert [warning["code"] for warning in plain.warnings] == ["FT302"]
    bound = ft.evaluate(model, inputs={"calls": [1, None, 9, 2]})
    assert bound.to_polars(wide=True)["answered.value"].to_list() == [1.0, None, 5.0, 2.0]
    assert list(tmp_path.iterdir()) == [desk]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"calls": [1, 2]}, r"shape \(2,\)"),
        ({"call": [1] * 4}, "no node"),
        ({"calls": "abcd"}, "numbers"),
        ({"calls": [10**400] * 4}, "numbers"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(desk: Path, inputs: dict[str, Any], said: str) -> None:
    with pytest.raises(ft.FlowtimeError, match=said) as caught:
        ft.evaluate(ft.load_model(desk), inputs=inputs)
    assert caught.value.code == "FT303"


def test_the_loop(registry: ft.Registry, desk: Path) -> None:
    run = registry.run(desk, name="monday")
    report = run.export(desk.with_name("monday.parquet"))
    telemetry = registry.import_file(report["path"], name="came back")
    assert report["format"] == "parquet"
    assert telemetry.report is not None and telemetry.report["rebuilt"]
    assert all(series["equal"] for series in registry.compare(run, telemetry)["series"])
    assert telemetry.model().nodes == ft.load_model(desk).nodes
    again = registry.run(telemetry=telemetry)
    assert again.to_polars().equals(run.to_polars())
    assert [artifact.kind for artifact in registry.list()] == ["run", "telemetry", "run", "model"]
    assert registry.test_loop(desk, formats=("parquet",))["ok"]


def test_finding(registry: ft.Registry, desk: Path) -> None:
    run = registry.run(desk, name="monday", tags=["weekday"])
    other = registry.run(desk, name="sunday")
    assert isinstance(registry.get("monday"), ft.Run)
    assert registry.get(run.id) == run != other
    assert registry.list("run") == [other, run]
    assert registry.list("run", limit=1) == [other]
    assert registry.list(query="mond") == registry.list(tags=["weekday"]) == [run]
    assert registry.list(until="2020-01-01") == []
    assert run.edit(add=["kept"], star=True).tags == ["weekday", "kept"]
    assert registry.list(starred=True) == [run]
    assert run.catalog["owner"] == "ada"
    with pytest.raises(ft.FlowtimeError) as caught:
        registry.get("tuesday")
    assert caught.value.code == "FT501"


def test_one_text_is_one_word_and_not_its_letters(registry: ft.Registry, desk: Path) -> None:
    run = registry.run(desk, tags="weekday")
    assert run.tags == ["weekday"]
    assert registry.list(tags="weekday") == [run]
    assert sorted(run.edit("kept", "weekday").tags) == ["kept"]
    assert run.edit(tags="again").tags == ["again"]
    run.export(desk.with_name("desk.csv"))
    assert registry.import_file(desk.with_name("desk.csv"), tags="back").tags == ["back"]
    assert list(registry.test_loop(desk, "gold")["formats"]) == ["gold"]


def test_days_bound_a_list(registry: ft.Registry, desk: Path) -> None:
    run = registry.run(desk)
    made = datetime.fromisoformat(run.catalog["created_utc"])
    today, day = made.date(), timedelta(days=1)
    assert registry.list("run", since=today, until=today) == registry.list("run", since=made) == [run]
    assert registry.list("run", since=today + day) == registry.list("run", until=today - day) == []


def test_a_loaded_model_is_taken_or_said_not_to_be(registry: ft.Registry, desk: Path) -> None:
    model = ft.load_model(desk)
    assert registry.test_loop(model, "gold")["ok"]
    run = registry.run(model)
    with pytest.raises(TypeError, match="a loaded model is no artifact"):
        registry.compare(run, model)
    with pytest.raises(TypeError, match="evaluate takes what load_model gives"):
        ft.evaluate("desk.yaml")


def test_a_what_if(registry: ft.Registry) -> None:
    model = registry.create_model("checkout", {"payment_workers": 4}, name="shop")
    faster = registry.derive_model(model, {"payment_workers": 6}, name="faster")
    assert not registry.compare(model, faster, threshold=0)["within_threshold"]
    runs = registry.run(model, name="as-it-is"), registry.run(faster, name="as-it-could-be")
    gate = registry.compare(*runs, ["5%", "*.*=abs:1e9"], by="peak", allow_missing=True)["gate"]
    assert (gate["by"], gate["threshold"], gate["over"]) == ("peak", ["5%", "*.*=abs:1000000000"], [])
    assert registry.run(faster).catalog["model_id"] == faster.id


def test_columns_of_one_name_are_refused(desk: Path) -> None:
    desk.write_text(
        "nodes:\n"
        "  - {id: a, kind: const, values: 1, component: x.y, measure: z}\n"
        "  - {id: b, kind: const, values: 1, component: x, measure: y.z}\n",
        encoding="utf-8",
    )
    evaluation = ft.evaluate(ft.load_model(desk))
    assert evaluation.to_polars().height == 48
    with pytest.raises(ft.FlowtimeError, match=r'"x\.y\.z"') as caught:
        evaluation.to_polars(wide=True)
    assert caught.value.code == "FT418"


@pytest.mark.parametrize(
    ("method", "library", "extra"),
    [("to_pandas", "pandas", "pandas"), ("to_arrow", "pyarrow", "arrow"), ("plot", "matplotlib", "plot")],
)
def test_a_missing_library_is_named_with_what_installs_it(
    desk: Path, monkeypatch: pytest.MonkeyPatch, method: str, library: str, extra: str
) -> None:
    evaluation = ft.evaluate(ft.load_model(desk))

    class Hidden:
        """An import system in which the library is not installed."""

        def find_spec(self, name: str, *rest: object) -> None:
            if name == library:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Hidden(), *sys.meta_path])
    with pytest.raises(ft.FlowtimeError) as caught:
        getattr(evaluation, method)()
    assert caught.value.code == "FT814"
    assert str(caught.value).endswith(f'install it: pip install "flowtime[{extra}]"')


def test_a_plot(desk: Path, tmp_path: Path, unavailable: Callable[[str], NoReturn]) -> None:
    if find_spec("matplotlib") is None:
        unavailable("matplotlib is not installed")
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")
    evaluation = ft.evaluate(ft.load_model(desk))
    axes = evaluation.plot("calls", "answered.value")
    assert [line.get_label() for line in axes.lines] == ["calls.value", "answered.value"]
    assert axes.lines[1].get_ydata().tolist() == [4, 5, 5, 2]
    assert axes.get_ylabel() == "calls/bin"
    assert len(evaluation.plot().lines) == 3
    axes.figure.savefig(tmp_path / "calls.png")
    with pytest.raises(ValueError, match="'call'"):
        evaluation.plot("call")


def test_a_replay_says_what_it_took_kept_and_compared(registry: ft.Registry, tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(
        "grid: {bins: 2}\nnodes:\n  - {id: calls, kind: const, values: 4}\n"
        "  - {id: staff, kind: const, values: 3}\n  - {id: done, kind: expr, expr: 'MIN(calls, staff)'}\n",
        encoding="utf-8",
    )
    data = tmp_path / "measured.csv"
    data.write_text(
        "time_bin,component_id,measure,value\n0,calls,value,2\n1,calls,value,9\n", encoding="utf-8"
    )
    telemetry = registry.import_file(data)
    with pytest.raises(ft.FlowtimeError, match="does not have what is required") as caught:
        registry.run(path, telemetry=telemetry, require="staff")
    assert caught.value.code == "FT807"
    run = registry.run(path, telemetry=telemetry, require=["calls"])
    assert run.to_polars(wide=True)["done.value"].to_list() == [2.0, 3.0]
    assert [entry["node"] for entry in run.catalog["bound"]] == ["calls"]
    assert [entry["node"] for entry in run.catalog["kept"]] == ["staff"]
    assert (run.catalog["compared"], run.catalog["unbound"]) == ([], [])


DESK_OF_QUEUES = """
grid: {bins: 3, binSize: 1, binUnit: hours}
parameters: {staff: {value: 2, min: 1, max: 9, integer: true}}
nodes:
  - {id: calls, kind: const, values: [30, 90, 40]}
  - {id: desk, kind: queue, arrivals: calls, workers: staff, serviceSeconds: 180}
metrics: {depth: {formula: PEAK(desk.depth), goal: "<= 10"}, never: FIRST_BIN(calls > 99)}
"""


def test_questions(tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(DESK_OF_QUEUES)
    registry, model = ft.Registry(tmp_path / "artifacts"), ft.load_model(tmp_path / "desk.yaml")
    assert registry.solve(model, "staff=1..9", "depth <= 10")["answer"] == {"staff": 4.0}
    assert registry.solve(tmp_path / "desk.yaml", "staff", largest=True)["answer"] == {"staff": 9.0}
    table = registry.sweep(model, staff=range(3, 6))
    assert table.to_dict(as_series=False) == {
        "staff": [3.0, 4.0, 5.0],
        "depth": [30.0, 10.0, 0.0],
        "never": [None, None, None],
    }
    assert registry.sweep(model, "staff=3..5", show="depth").columns == ["staff", "depth"]
    assert not (tmp_path / "artifacts").exists()
