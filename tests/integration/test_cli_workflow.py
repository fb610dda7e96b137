"""The details that a person relies on: names, filters, removal and return, comparison, pipes."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest


def ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["artifacts"]]


def test_names_and_beginnings_of_ids_are_understood(flowtime: Any) -> None:
    new = ("sim", "new", "--template", "checkout", "--json", "--name")
    first = flowtime(*new, "shop").json["id"]
    second = flowtime(*new, "shop-2").json["id"]
    run = flowtime("run", "--model", "shop", "--json").json
    assert run["model_id"] == first  # an exact name comes before the beginning of ids
    for reference in (second, "shop-2", second[:-2], "shop-2_"):
        assert flowtime("show", reference, "--json").json["id"] == second
    error = flowtime("show", "sho", "--json", code=2).error
    assert error["code"] == "FT503"
    assert {first, second, run["id"]} == set(error["hint"].removeprefix("one of: ").split(", "))
    newer = flowtime("run", "--model", second, "--name", "shop_run", "--json").json["id"]
    assert flowtime("show", "shop_run", "--json").json["id"] == newer  # the newest of a name
    again = flowtime(
        "sim",
        "new",
        "--template",
        "checkout",
        "--name",
        "shop",
        "--set",
        "retry_share=0.3",
        "--update",
        "shop",
        "--json",
    ).json
    assert (again["id"], again["model_version"]) == (first, 2)
    assert flowtime("run", "--model", f"{first}@v1", "--json").json["model_version"] == 1
    assert flowtime("run", "--model", "shop", "--json").json["model_version"] == 2
    error = flowtime("run", "--model", f"{first}@v3", "--json", code=3).error
    assert error["hint"] == "versions: 1, 2"


def test_filters(flowtime: Any, shop: Path) -> None:
    def run(name: str, *options: str) -> str:
        return flowtime("run", "--model", shop, "--name", name, *options, "--json").json["id"]

    a = run("one", "--tags", "red, blue", "--owner", "ada")
    b = run("two", "--tags", "red", "--tags", "green")
    c = run("three", "--description", "the Wärmepumpe case")

    def listed(*options: str, command: str = "list") -> set[str]:
        return set(ids(flowtime(command, *options, "--json").json))

    assert listed("--kind", "run") == {a, b, c}
    assert (
        listed("--kind", "run,model") == listed("--kind", "run|model") == listed("--kind", "all") > {a, b, c}
    )
    assert listed("--tag", "blue,green") == {a, b}
    assert listed("--tag", "red", "--tag", "blue") == {a}
    assert listed("--tag", "red", "--tag", "blue,green") == {a, b}
    assert listed("--owner", "ada") == {a}
    assert listed("--query", "warmep", "--kind", "run") == {c}
    assert listed("--query", "red", command="search") == {a, b}
    assert listed("--query", "red two", command="search") == {b}
    assert listed("--query", "nothing-like-it", command="search") == set()
    page = flowtime(
        "list", "--kind", "run", "--size", "2", "--page", "2", "--sort", "created_asc", "--json"
    ).json
    assert (ids(page), page["total"], page["page"], page["size"]) == ([c], 3, 2, 2)
    today = datetime.now(UTC).date()
    yesterday, tomorrow = (str(today + timedelta(days=days)) for days in (-1, 1))
    runs = ("--kind", "run")
    assert listed(*runs, "--last", "1h") == listed(*runs, "--last", "2w") == {a, b, c}
    assert listed(*runs, "--last", "0m") == set()
    # A date as the end takes in its whole day; as the beginning it starts at midnight, UTC.
    assert listed(*runs, "--from", yesterday, "--to", tomorrow) == {a, b, c}
    assert listed(*runs, "--to", yesterday) == set()
    assert listed(*runs, "--from", tomorrow) == set()
    assert listed(*runs, "--to", "9999-12-31") == {a, b, c}
    made = flowtime("show", a, "--json").json["created_utc"]
    assert listed(*runs, "--to", made[:10]) >= {a}
    assert a not in listed(*runs, "--to", f"{made[:10]}T00:00:00Z")
    assert listed(*runs, "--from", made) == {a, b, c}
    assert listed(*runs, "--from", made, "--last", "0m") == set()
    shifted = datetime.fromisoformat(made).astimezone(UTC) + timedelta(hours=9)
    assert listed(*runs, "--from", shifted.replace(tzinfo=None).isoformat() + "+09:00") == {a, b, c}


def test_removal_and_return(flowtime: Any, shop: Path) -> None:
    run = flowtime("run", "--model", shop, "--json").json
    model, run_id = run["model_id"], run["id"]
    error = flowtime("delete", "--id", model, "--json", code=4).error
    assert error["code"] == "FT802"
    assert run_id in error["message"]
    assert "--confirm --force" in error["hint"]
    error = flowtime("delete", "--id", model, "--confirm", "--json", code=4).error
    assert error["code"] == "FT505"
    assert run_id in error["message"]
    assert "--force" in error["hint"]
    error = flowtime("delete", "--id", run_id[:-2], "--confirm", "--json", code=3).error
    assert error["code"] == "FT501"  # the beginning of an id is not enough
    assert error["hint"] == f"the full id is {run_id}"
    flowtime("delete", "--id", f"{model}@v1", "--confirm", code=2)
    assert len(ids(flowtime("list", "--json").json)) == 2
    removed = flowtime("delete", "--id", model, "--confirm", "--force", "--json").json
    assert removed == {"id": model, "deleted": True, "dependants": [run_id]}
    assert ids(flowtime("list", "--json").json) == [run_id]
    lineage = flowtime("show", run_id, "--json").json["lineage"]
    assert [(parent["id"], parent["kind"]) for parent in lineage["parents"]] == [(model, None)]
    assert "not here" in flowtime("show", run_id).stdout
    flowtime("export", "--run", run_id, "--format", "gold", "--out", "still.csv")
    assert flowtime("purge", code=4).stderr.count(model) == 1
    assert flowtime("restore", model, "--json").json["id"] == model
    assert set(ids(flowtime("list", "--json").json)) == {model, run_id}
    flowtime("restore", model, code=3)
    flowtime("run", "--model", model)
    flowtime("delete", "--id", run_id, "--confirm")
    assert flowtime("purge", run_id, "--confirm", "--json").json == {"purged": [run_id]}
    flowtime("restore", run_id, code=3)


def test_labels_change_and_ids_stay(flowtime: Any, shop: Path) -> None:
    run = flowtime("run", "--model", shop, "--tags", "old,b", "--json").json["id"]
    catalog = flowtime("tag", run, "+a", "-b", "+a", "--json").json
    assert catalog["tags"] == ["old", "a"]
    assert flowtime("tag", run, "-old").stdout.strip() == f"{run}  tags: a"
    assert flowtime("star", run, "--json").json["star"] is True
    assert flowtime("list", "--kind", "run").stdout.count("★") == 1
    assert flowtime("star", run, "--off", "--json").json["star"] is False
    words = ("edit", run, "--name", "日本", "--owner", "ada", "--team", "ops", "--visibility", "team")
    edited = flowtime(*words, "--json").json
    assert (edited["id"], edited["name"], edited["owner"], edited["visibility"]) == (
        run,
        "日本",
        "ada",
        "team",
    )
    assert flowtime("show", "日本", "--json").json["id"] == run
    link = flowtime("open", "--id", "日本", "--print").stdout.strip()
    assert link == f"http://127.0.0.1:8765/artifacts/{run}"
    env = {"FLOWTIME_SERVER": "https://flow.example/base/"}
    assert (
        flowtime("open", "--id", run, "--json", env=env).json["url"]
        == f"https://flow.example/base/artifacts/{run}"
    )
    for wrong in (("tag", run, "+" + "x" * 101), ("edit", run, "--name", " "), ("tag", run, "+a,b")):
        assert flowtime(*wrong, "--json", code=2).error["code"] == "FT508"
    assert flowtime("show", run, "--json").json["tags"] == ["a"]


def test_the_same_inputs_are_found_and_not_run_again(flowtime: Any, shop: Path) -> None:
    words = ("run", "--model", shop, "--deterministic", "--json")
    first = flowtime(*words).json
    assert flowtime(*words).json["id"] == first["id"]
    assert flowtime(*words, "--seed", "43").json["id"] != first["id"]
    assert flowtime("run", "--model", shop, "--json").json["id"] != first["id"]


def test_comparison(flowtime: Any, shop: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        flowtime("run", "--model", shop, "--name", name, "--seed", seed)
    flowtime("export", "--run", "a", "--format", "parquet", "--out", "a.parquet")
    flowtime("import", "--data", "a.parquet", "--name", "a-again")
    for other in ("b", "a-again"):
        same = flowtime(
            "compare", "--baseline", "a", "--comparison", other, "--threshold", "0", "--json"
        ).json
        assert same["within_threshold"] is True
        assert all(series["equal"] for series in same["series"])
    words = ("compare", "--baseline", "a", "--comparison", "c")
    assert flowtime(*words, "--json").json["within_threshold"] is None
    assert flowtime(*words, "--threshold", "1%", "--json", code=10).json["within_threshold"] is False
    assert "over 1%" in flowtime(*words, "--threshold", "0.01", code=10).stdout
    # The mean is within that; a bin in which the baseline has next to nothing is not.
    flowtime(*words, "--threshold", "1000%", "--by", "mean")


def test_a_gate_says_what_broke_it(flowtime: Any, tmp_path: Path) -> None:
    for name, peak, unit in (("low", 100, "ms"), ("high", 200, "ms"), ("other", 100, "s")):
        values = [100] * 140 + [peak] + [100] * 147
        model = f"grid: {{bins: 288}}\nnodes: [{{id: errors, kind: const, values: {values}, unit: {unit}}}]\n"
        (tmp_path / f"{name}.yaml").write_text(model)
        flowtime("run", "--model", f"{name}.yaml", "--name", name)
    words = ("compare", "low", "high", "--threshold")
    broken = flowtime(*words, "5%", code=10).stdout
    assert "✗ over 5% (judged by bin: 1 of 1 series)" in broken
    assert "errors.value: 100 → 200 in bin 140, floor 1, is 100% off; 5% is allowed" in broken
    assert "+0.347%" in broken
    assert "mean deviation: mean of |difference| / mean of |baseline|" in broken
    assert "the peak 100 → 200 is 100% off" in flowtime(*words, "5%", "--by", "peak", code=10).stdout
    assert "✓ within 5%" in flowtime(*words, "5%", "--by", "mean").stdout
    flowtime(*words, "5%", "--threshold", "err*=abs:100")
    flowtime(*words, "5%", "--threshold", "err*=abs:99", code=10)
    units = flowtime("compare", "low", "other", "--threshold", "5%", "--allow-missing", code=10).stdout
    assert "errors.value: the baseline counts ms, the comparison s; values are not converted" in units
    assert "0 of 1 common series equal" in units
    assert flowtime(*words, "web.*=5%", "--json", code=2).error["code"] == "FT815"
    assert "5 units" in flowtime(*words, "5", code=2).stderr
    assert flowtime("compare", "low", "high", "--by", "mean", "--json", code=2).error["code"] == "FT803"
    models = ("compare", "low@v1", "high@v1", "--threshold", "5%")
    flowtime(*models, code=10)
    assert flowtime(*models, "--by", "peak", "--json", code=2).error["code"] == "FT815"


def test_the_plan_of_a_feedback_loop_says_what_breaks_it(flowtime: Any, shop: Path, tmp_path: Path) -> None:
    text = flowtime("explain", shop).stdout
    assert "feedback group of 4 nodes" in text
    assert "the cycle is broken by SHIFT(backlog, 1) in offered and CONV(errors" in text
    assert not (tmp_path / "artifacts").exists()


def test_a_model_file_without_a_grid_says_which_was_taken(flowtime: Any, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"nodes": [{"id": "a", "kind": "const", "values": 1}]}')
    done = flowtime("run", "--model", "m.json")
    assert "24 bins of 1 hour" in done.stderr
    assert "24 bins of 1 hour" not in done.stdout
    assert "24 bins of 1 hour" in flowtime("show", "m_run").stdout
    assert [w["code"] for w in flowtime("show", "m_run", "--json").json["warnings"]] == ["FT251"]


def test_a_pipe_from_export_into_import(flowtime: Any, shop: Path) -> None:
    run = flowtime("run", "--model", shop, "--json").json
    for format in ("gold", "ndjson", "parquet"):
        data = flowtime("export", "--run", "shop_run", "--format", format, "--out", "-").raw
        # Parquet brings its metadata along; the others are known by their digest.
        taken = flowtime("import", "--data", "-", "--json", stdin=data).json
        assert taken["data"] == run["data"]
        assert taken["rebuilt"] is True
    elsewhere = flowtime("import", "--data", "-", "--artifacts", "other", "--json", stdin=data).json
    assert elsewhere["rebuilt"] is True
    data = flowtime("export", "--run", "shop_run", "--format", "gold", "--out", "-").raw
    elsewhere = flowtime("import", "--data", "-", "--artifacts", "third", "--json", stdin=data).json
    assert (elsewhere["rebuilt"], elsewhere["data"]) == (False, run["data"])


@pytest.mark.needs("bash", "head")
@pytest.mark.parametrize(
    "command",
    [
        "list --size 1000",
        "list --json --size 1000",
        "show shop_run",
        "export --run shop_run --format gold --out -",
        "export --run shop_run --format parquet --out -",
        "--help",
    ],
)
def test_a_reader_that_leaves_is_no_error(command: str, flowtime: Any, shop: Path, tmp_path: Path) -> None:
    flowtime("run", "--model", shop)
    script = f'set -o pipefail; "{sys.executable}" -m flowtime {command} | head -c 1 >/dev/null'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
