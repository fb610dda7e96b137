"""`flowtime test-loop`: passes on every model, says where a byte was changed, leaves nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.commands import listing

from flowtime.formats import FORMATS, format_named
from flowtime.loop.models import Label
from flowtime.loop.verify import verify
from flowtime.service import Flowtime
from flowtime.settings import load

VECTORS = json.loads((Path(__file__).parents[1] / "golden" / "valid.json").read_text(encoding="utf-8"))
CHECKS = {
    "file_accepted",
    "digest",
    "values",
    "grid",
    "series",
    "units",
    "graph",
    "model",
    "distributions",
    "parameters",
    "topology",
    "names",
    "computed_again",
    "stored",
    "second_export_identical",
}


def service(folder: Path) -> Flowtime:
    return Flowtime(load({"artifacts": str(folder / "artifacts")}))


def assert_closed(report: dict[str, Any]) -> None:
    assert report["ok"], report
    assert set(report["formats"]) == set(FORMATS)
    for verdict in report["formats"].values():
        assert set(verdict["checks"]) == CHECKS
        assert all(verdict["checks"].values())
        assert verdict["problems"] == []
    assert len({verdict["digest"] for verdict in report["formats"].values()}) == 1


TEMPLATES = (
    "checkout",
    "e-commerce",
    "emergency-department",
    "manufacturing-line",
    "microservices",
    "support-desk",
    "transit-hub",
    "warehouse-waves",
)


@pytest.mark.parametrize("template", TEMPLATES)
def test_it_passes_for_every_template(flowtime: Any, template: str) -> None:
    model = flowtime("sim", "new", "--template", template, "--name", "one", "--json").json
    assert_closed(flowtime("test-loop", "--model", "one", "--json").json)
    shown = flowtime("show", model["id"], "--json").json
    assert set(shown["loop"]) == set(FORMATS)


def test_the_templates_are_all_tried(flowtime: Any) -> None:
    listed = flowtime("sim", "list", "--json").json["templates"]
    assert {template["id"] for template in listed} == set(TEMPLATES)


def test_it_passes_for_a_model_with_everything_in_it(flowtime: Any, shop: Path) -> None:
    assert_closed(flowtime("test-loop", "--model", shop, "--seed", "7", "--json").json)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_it_passes_for_every_vector(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / f"{case['name']}.json"
    path.write_text(json.dumps(case["model"]), encoding="utf-8")
    assert_closed(service(tmp_path).test_loop(str(path)))
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize("place", [0, 0.37, 0.99])
@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_byte_is_found_in_its_format_and_no_other(
    name: str, place: float, shop: Path, tmp_path: Path
) -> None:
    flowtime, wanted = service(tmp_path), format_named(name)
    run = flowtime.run(str(shop))

    def change(path: Path) -> None:
        if path.suffix == wanted.extension:
            flip(path, int(place * path.stat().st_size))

    formats = list(dict.fromkeys(FORMATS.values()))
    label = Label("loop", owner="tester")
    verdicts = verify(flowtime.registry, run["id"], formats, tmp_path / "files", label, between=change)
    assert {verdict.format: verdict.ok for verdict in verdicts} == {
        format.name: format is not wanted for format in formats
    }
    [failed] = [verdict for verdict in verdicts if not verdict.ok]
    assert failed.checks["file_accepted"] is False
    [problem] = failed.problems
    assert f"{run['id']}{wanted.extension}" in problem


TAMPERING = """
import functools, sys
from pathlib import Path
from flowtime.cli import main
from flowtime.loop import verify

def change(path):
    if path.suffix == sys.argv[1]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

verify.verify = functools.partial(verify.verify, between=change)
main(sys.argv[2:])
"""
"""The real command, with something on the way that changes one bit in files of one kind."""


@pytest.mark.parametrize("suffix", [".csv", ".ndjson", ".parquet"])
def test_the_command_exits_10_and_says_where(suffix: str, flowtime: Any, shop: Path, tmp_path: Path) -> None:
    model = flowtime("run", "--model", shop, "--json").json["model_id"]
    before = flowtime("list", "--json").json
    command = [sys.executable, "-c", TAMPERING, suffix, "test-loop", "--model", model]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 10, done.stderr
    [problem] = [line for line in done.stdout.splitlines() if line.startswith("✗ ") and ": " in line][:1]
    assert suffix in problem
    assert "changed after flowtime wrote it" in problem or "damaged" in problem
    assert done.stdout.rstrip().splitlines()[-1].startswith("✗ the loop is not closed")
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 10
    report = json.loads(done.stdout)
    assert (report["ok"], [verdict["ok"] for verdict in report["formats"].values()].count(False)) == (
        False,
        1,
    )
    [failed] = [name for name, verdict in report["formats"].items() if not verdict["ok"]]
    assert set(flowtime("show", model, "--json").json["loop"]) == set(FORMATS) - {failed}
    assert [item["id"] for item in flowtime("list", "--json").json["artifacts"]] == [
        item["id"] for item in before["artifacts"]
    ]


def test_of_a_stored_model_only_the_verification_record_is_left(
    flowtime: Any, shop: Path, tmp_path: Path
) -> None:
    env = {"FLOWTIME_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    run = flowtime("run", "--model", shop, "--json", env=env).json
    before = listing(tmp_path)
    flowtime("test-loop", "--model", run["model_id"], env=env)
    after = listing(tmp_path)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    changed = {path for path in changed if not path.startswith(("cache/index-", "artifacts/.staging/.turns"))}
    allowed = {"artifacts/.log/changes", "artifacts/.staging/.lock"}
    assert changed - allowed == {f"artifacts/models/{run['model_id']}/v1/catalog.json"}
    assert len([path for path in after if path.endswith(".sqlite")]) == 1


def test_of_a_model_file_nothing_is_left(flowtime: Any, shop: Path, tmp_path: Path) -> None:
    env = {"FLOWTIME_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    before = listing(tmp_path)
    said = flowtime("test-loop", "--model", shop, env=env).stdout
    assert "\nthe run for it was not kept; --keep keeps it\n✓ the loop is closed: " in said
    assert flowtime("test-loop", "--model", shop, "--json", env=env).json["kept"] is False
    assert listing(tmp_path) == before


def test_keep_leaves_the_run_and_the_telemetry(flowtime: Any, shop: Path) -> None:
    report = flowtime("test-loop", "--model", shop, "--keep", "--json").json
    assert report["kept"] is True
    kinds = [item["kind"] for item in flowtime("list", "--json").json["artifacts"]]
    assert sorted(kinds) == ["model", "run", *["telemetry"] * len(FORMATS)]
    run = flowtime("show", report["run_id"], "--json").json
    assert [parent["id"] for parent in run["lineage"]["parents"]] == [report["model_id"]]
    assert {child["kind"] for child in run["lineage"]["children"]} == {"telemetry"}
    assert set(flowtime("show", report["model_id"], "--json").json["loop"]) == set(FORMATS)


def test_the_record_goes_to_the_version_that_was_verified(flowtime: Any) -> None:
    model = flowtime("sim", "new", "--template", "checkout", "--name", "one", "--json").json["id"]
    newer = ("--template", "checkout", "--name", "one", "--set", "retry_share=0.3", "--update", model)
    flowtime("sim", "new", *newer)
    flowtime("test-loop", "--model", f"{model}@v1", "--format", "gold,parquet")
    assert set(flowtime("show", f"{model}@v1", "--json").json["loop"]) == {"gold", "parquet"}
    assert not flowtime("show", f"{model}@v2", "--json").json["loop"]


def test_formats_may_be_chosen_and_unknown_ones_are_refused(flowtime: Any, shop: Path) -> None:
    report = flowtime("test-loop", "--model", shop, "--format", "csv", "--json").json
    assert set(report["formats"]) == {"gold"}
    error = flowtime("test-loop", "--model", shop, "--format", "gold,xlsx", "--json", code=2).error
    assert error["code"] == "FT401"
    assert "xlsx" in error["message"]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)
