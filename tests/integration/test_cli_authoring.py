"""From template to model to derived model, by the real command."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from flowtime import cli

SHOP = """\
id: tea-shop
title: Tea shop
category: retail
description: A day in a shop.
question: Is one till enough?
parameters:
  customers: {type: number, default: 20, minimum: 0, maximum: 500, unit: people/hour, description: Who comes.}
  tills: {type: integer, default: 1, minimum: 1, maximum: 9, description: Open tills.}
  profile: {type: enum, default: rush-hour, choices: [rush-hour, three-shift], description: The day.}
scenarios:
  sale: {description: Many customers., values: {customers: 80}}
model:
  grid: {bins: 24, binSize: 1, binUnit: hours}
  nodes:
    - {id: arrivals, kind: pmf, pmf: {values: ["${customers}"], probabilities: [1]}, profile: "${profile}"}
    - {id: served, kind: expr, expr: "MIN(30 * ${tills}, arrivals + SHIFT(waiting, 1))"}
    - {id: waiting, kind: expr, expr: "SHIFT(waiting, 1) + arrivals - served"}
  topology:
    nodes:
      - {id: Street, kind: source, semantics: {arrivals: arrivals}}
      - {id: Till, kind: service, semantics: {served: served, backlog: waiting}}
    edges: [{from: Street, to: Till}, {from: Till, to: Street}]
"""


@dataclass(frozen=True)
class Done:
    """What a command printed."""

    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def flowtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`flowtime` in a folder of its own, with a folder of templates; `code` is the exit code expected."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "tea-shop.yaml").write_text(SHOP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWTIME_TEMPLATES", "templates")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process goes on after the command

    def run(*words: str, code: int = 0) -> Done:
        with pytest.raises(SystemExit) as stop:
            cli.main(list(words))
        done = Done(*capsys.readouterr())
        assert stop.value.code == code, f"{words}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def read(flowtime: Command, *words: str, code: int = 0) -> Any:
    return json.loads(flowtime(*words, "--json", code=code).stdout)


def test_a_template_of_ones_own_stands_beside_the_others(flowtime: Command) -> None:
    listed = read(flowtime, "sim", "list")["templates"]
    assert {"tea-shop", "checkout", "microservices"} <= {template["id"] for template in listed}
    lines = flowtime("sim", "list").stdout.splitlines()
    assert "retail         tea-shop              Is one till enough?" in lines
    assert len(lines) == len(listed) + 2

    shown = flowtime("sim", "show", "tea-shop").stdout
    for part in ("a number, 0 to 500", "people/hour", "one of rush-hour, three-shift", "Open tills.", "sale"):
        assert part in shown
    assert [line.split() for line in shown.splitlines() if "Street" in line or "Till" in line] == [
        ["1", "Street", "source", "→", "Till"],
        ["2", "Till", "service", "↺", "Street"],
    ]
    layers = read(flowtime, "sim", "show", "tea-shop")["layers"]
    assert [[entry["id"] for entry in layer] for layer in layers] == [["Street"], ["Till"]]


def test_a_model_is_derived_with_its_lineage(flowtime: Command) -> None:
    made = read(flowtime, "sim", "new", "--template", "tea-shop", "--name", "shop", "--set", "tills=2")
    derived = read(flowtime, "sim", "derive", "--from", "shop", "--name", "big", "--set", "customers=90")
    assert (derived["name"], derived["model_version"]) == ("big", 1)
    assert derived["parents"] == [{"id": made["id"], "version": 1, "digest": made["model_hash"]}]
    assert derived["provenance"]["parameters"] == {"customers": 90, "tills": 2, "profile": "rush-hour"}
    assert set(derived["files"]) == {"catalog", "model", "preview"}
    assert [parent["id"] for parent in read(flowtime, "show", "big")["lineage"]["parents"]] == [made["id"]]

    again = read(flowtime, "sim", "derive", "--from", "big", "--set", "tills=3", "--update")
    assert (again["id"], again["model_version"]) == (derived["id"], 2)
    assert again["provenance"]["parameters"] == {"customers": 90, "tills": 3, "profile": "rush-hour"}
    assert again["provenance"]["derivedFrom"] == f"{derived['id']}@v1"


def test_values_come_from_a_file_over_the_scenario(flowtime: Command, tmp_path: Path) -> None:
    flowtime("sim", "new", "--template", "tea-shop", "--name", "shop")
    (tmp_path / "more.yaml").write_text("tills: 4\nprofile: three-shift\n", encoding="utf-8")
    options = ("--scenario", "sale", "--params", "more.yaml", "--set", "tills=5")
    derived = read(flowtime, "sim", "derive", "--from", "shop", *options)
    assert derived["name"] == "shop-sale"
    assert derived["provenance"]["parameters"] == {"customers": 80, "tills": 5, "profile": "three-shift"}
    assert derived["provenance"]["scenario"] == "sale"


def test_everything_that_cannot_be_changed_is_said_at_once(flowtime: Command) -> None:
    flowtime("sim", "new", "--template", "tea-shop", "--name", "shop")
    options = ("--set", "tils=2", "--set", "customers=-1", "--scenario", "sail")
    error = read(flowtime, "sim", "derive", "--from", "shop", *options, code=2)["error"]
    assert [(problem["code"], problem.get("hint")) for problem in error["errors"]] == [
        ("FT703", 'did you mean "sale"?'),
        ("FT703", 'did you mean "tills"?'),
        ("FT705", None),
    ]
    assert read(flowtime, "sim", "derive", "--from", "shop", code=2)["error"]["code"] == "FT711"
    assert read(flowtime, "list")["total"] == 1


def test_a_model_without_a_template_is_derived_by_its_nodes(flowtime: Command, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        'grid: {bins: 2, binSize: 1, binUnit: hours}\n'
        "nodes:\n"
        "  - {id: a, kind: const, values: [1, 2]}\n"
        '  - {id: p, kind: pmf, pmf: {"1": 0.5, "3": 0.5}}\n'
        '  - {id: b, kind: expr, expr: "a * p"}\n',
        encoding="utf-8",
    )  # fmt: skip
    changes = ("--set", "a=3,4", "--set", 'p={"2": 1}', "--set", "b=a * p + 1")
    derived = read(flowtime, "sim", "derive", "--from", "own.yaml", *changes)
    assert derived["parents"][0]["id"] == read(flowtime, "show", "own")["id"]
    run = read(flowtime, "run", "--model", derived["id"])
    assert run["measures"][-1]["summary"] == {"min": 7.0, "mean": 8.0, "max": 9.0, "missing": 0, "max_bin": 1}

    wrong = read(flowtime, "sim", "derive", "--from", "own", "--set", "c=1", "--scenario", "x", code=2)[
        "error"
    ]
    assert wrong["code"] == "FT712"
    assert "not made from a template" in wrong["message"]
    assert [problem["code"] for problem in wrong["errors"]] == ["FT703", "FT201"]
    unsound = ("--set", "a=1,2,3", "--set", "b=a *")
    error = read(flowtime, "sim", "derive", "--from", "own", *unsound, code=2)["error"]
    assert {problem["code"] for problem in error["errors"]} == {"FT208", "FT210"}


def test_what_only_an_artifact_keeps_is_refused_for_a_file(flowtime: Command, tmp_path: Path) -> None:
    words = ("sim", "new", "--template", "tea-shop", "--out", "shop.yaml")
    error = read(flowtime, *words, "--tags", "a", "--description", "Tea", code=2)["error"]
    assert (error["code"], "--tags, --description are kept" in error["message"]) == ("FT803", True)
    assert not (tmp_path / "shop.yaml").exists()


def test_an_edited_model_keeps_its_edits(flowtime: Command, tmp_path: Path) -> None:
    """Filling the template again would undo them, so settings mean nodes."""
    flowtime("sim", "new", "--template", "tea-shop", "--name", "shop", "--out", "shop.yaml")
    file = tmp_path / "shop.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("MIN(30", "MIN(40"), encoding="utf-8")
    error = read(flowtime, "sim", "derive", "--from", "shop.yaml", "--set", "tills=2", code=2)["error"]
    assert "no longer what the template" in error["message"]
    derived = read(flowtime, "sim", "derive", "--from", "shop.yaml", "--set", "waiting=0 * arrivals")
    assert "MIN(40" in Path(derived["files"]["model"]).read_text(encoding="utf-8")


def test_a_template_that_has_changed_since_is_not_filled_again(flowtime: Command, tmp_path: Path) -> None:
    flowtime("sim", "new", "--template", "tea-shop", "--name", "shop")
    file = tmp_path / "templates" / "tea-shop.yaml"
    file.write_text(SHOP.replace("title:", "version: 2\ntitle:", 1), encoding="utf-8")
    error = read(flowtime, "sim", "derive", "--from", "shop", "--set", "tills=2", code=2)["error"]
    assert 'version 1 of "tea-shop", which is version 2 now' in error["message"]
    file.unlink()
    error = read(flowtime, "sim", "derive", "--from", "shop", "--set", "tills=2", code=2)["error"]
    assert "FLOWTIME_TEMPLATES" in error["message"]


def test_a_scenario_runs_as_a_derived_model(flowtime: Command) -> None:
    made = read(flowtime, "sim", "new", "--template", "tea-shop", "--name", "shop")
    run = read(flowtime, "run", "--model", "shop", "--scenario", "sale")
    assert run["name"] == "shop-sale_run"
    assert [parent["id"] for parent in run["lineage"]["parents"]] == [run["model_id"], made["id"]]
    assert run["provenance"]["scenario"] == "sale"
    assert run["measures"][0]["summary"]["mean"] == pytest.approx(80)
    again = read(flowtime, "run", "--model", "shop", "--scenario", "sale")
    assert again["model_id"] == run["model_id"]
    assert read(flowtime, "run", "--model", "shop", "--scenario", "sail", code=2)["error"]["code"] == "FT702"


def test_a_sound_template_is_validated_with_its_scenarios(flowtime: Command) -> None:
    report = read(flowtime, "sim", "validate", "templates/tea-shop.yaml")
    assert (report["kind"], report["template"], report["scenarios"]) == ("template", "tea-shop", ["sale"])
    assert "tried with its defaults, sale" in flowtime("sim", "validate", "templates/tea-shop.yaml").stdout


def test_problems_of_the_filled_model_point_into_the_template(flowtime: Command, tmp_path: Path) -> None:
    text = SHOP.replace("MIN(30 * ${tills}, arrivals", "MIN(30 * ${tills}, arivals")
    text = text.replace("choices: [rush-hour, three-shift]", "choices: [rush-hour, lunch]")
    text = text.replace("values: {customers: 80}}", "values: {customers: 80, profile: lunch}}")
    (tmp_path / "templates" / "tea-shop.yaml").write_text(text, encoding="utf-8")
    lines = text.splitlines()

    def at(part: str) -> tuple[int, int]:
        line = next(i for i, line in enumerate(lines, start=1) if part in line)
        return line, lines[line - 1].index(part) + 1

    error = read(flowtime, "sim", "validate", "templates/tea-shop.yaml", code=2)["error"]
    assert error["code"] == "FT700"
    found = [(p["code"], p["source"], p["line"], p["column"]) for p in error["errors"]]
    assert found == [
        ("FT205", "templates/tea-shop.yaml", *at('"${profile}"')),
        ("FT201", "templates/tea-shop.yaml", *at('"MIN(30')),
    ]
    assert error["errors"][0]["message"].startswith('scenario "sale": ')

    error = read(flowtime, "sim", "new", "--template", "tea-shop", code=2)["error"]
    assert [(p["line"], p["column"]) for p in error["errors"]] == [at('"MIN(30')]
    assert read(flowtime, "list", code=3)["error"]["code"] == "FT513"


def test_broken_templates_are_refused_with_their_positions(flowtime: Command, tmp_path: Path) -> None:
    text = SHOP.replace("minimum: 0,", "minimun: 0,").replace("${customers}", "${custmers}")
    (tmp_path / "templates" / "tea-shop.yaml").write_text(text, encoding="utf-8")
    for words in (
        ("sim", "list"),
        ("sim", "show", "tea-shop"),
        ("sim", "validate", "templates/tea-shop.yaml"),
    ):
        error = read(flowtime, *words, code=2)["error"]
        assert error["code"] == "FT700"
        assert [(p["code"], p["line"]) for p in error["errors"]] == [
            ("FT708", 7),
            ("FT707", 7),
            ("FT708", 15),
        ]
    (tmp_path / "templates" / "tea-shop.yaml").rename(tmp_path / "templates" / "checkout.yaml")
    assert "of its own" in read(flowtime, "sim", "list", code=2)["error"]["message"]


def test_two_models_are_compared_by_version_name_and_file(flowtime: Command, tmp_path: Path) -> None:
    made = read(flowtime, "sim", "new", "--template", "tea-shop", "--name", "shop")
    flowtime("sim", "derive", "--from", "shop", "--set", "tills=2", "--update")
    versions = (f"{made['id']}@v1", f"{made['id']}@v2")
    found = read(flowtime, "compare", "--baseline", versions[0], "--comparison", versions[1])
    assert (found["baseline"], found["comparison"], found["within_threshold"]) == (*versions, None)
    assert [node["id"] for node in found["model"]["nodes"]["changed"]] == ["served"]
    assert found["model"]["parameters"] == [{"what": "tills", "baseline": 1, "comparison": 2}]

    shown = flowtime("compare", "--baseline", "shop@v1", "--comparison", "shop").stdout
    assert "tills: 1 → 2" in shown
    assert "~ served" in shown
    flowtime("compare", "--baseline", "shop@v1", "--comparison", "shop", "--threshold", "5%", code=10)
    flowtime("sim", "new", "--template", "tea-shop", "--out", "same.yaml")
    same = flowtime(
        "compare", "--baseline", "shop@v1", "--comparison", "same.yaml", "--threshold", "0"
    ).stdout
    assert "both mean the same" in same

    flowtime("run", "--model", "shop", "--name", "shop-run")
    error = read(flowtime, "compare", "--baseline", "shop", "--comparison", "shop-run", code=2)["error"]
    assert error["code"] == "FT809"


def test_a_name_of_a_model_and_a_run_means_what_fits(flowtime: Command) -> None:
    flowtime("sim", "new", "--template", "tea-shop", "--name", "shop")
    flowtime("run", "--model", "shop", "--name", "shop")
    flowtime("run", "--model", "shop", "--scenario", "sale", "--name", "sale")
    found = read(flowtime, "compare", "--baseline", "shop", "--comparison", "sale")
    assert [entry["equal"] for entry in found["series"]] == [False, False, False]
    assert all(entry["spark"] for entry in found["series"])
    assert found["aligned"]["note"] == "all 24 bins"
    assert "model" in read(flowtime, "compare", "--baseline", "shop@v1", "--comparison", "shop-sale@v1")


def test_a_comparison_shows_what_differs(flowtime: Command) -> None:
    flowtime("sim", "new", "--template", "tea-shop", "--name", "shop")
    flowtime("run", "--model", "shop", "--name", "one")
    flowtime("sim", "derive", "--from", "shop", "--name", "more", "--set", "tills=9")
    flowtime("run", "--model", "more", "--name", "nine")
    words = ("compare", "--baseline", "one", "--comparison", "nine")
    shown = flowtime(*words).stdout
    assert "Street" not in shown
    assert "1 of 3 common series equal" in shown
    assert "Street" in flowtime(*words, "--all").stdout


def test_what_comes_next_is_in_the_registry_that_the_model_went_to(flowtime: Command) -> None:
    made = flowtime("sim", "new", "--template", "tea-shop", "--name", "shop", "--out", "else where").stdout
    ways = [line.partition("flowtime ")[2] for line in made.splitlines() if "flowtime " in line]
    assert len(ways) == 2
    for way in ways:
        flowtime(*shlex.split(way))


def test_a_run_shows_its_measures_warnings_times_and_what_comes_next(
    flowtime: Command, tmp_path: Path
) -> None:
    (tmp_path / "odd.yaml").write_text(
        'grid: {bins: 4, binSize: 1, binUnit: hours}\n'
        "nodes:\n"
        "  - {id: a, kind: const, values: [1, 0, 2, 0], component: Shop, measure: first}\n"
        "  - {id: c, kind: const, values: 5, component: Other, measure: value}\n"
        '  - {id: b, kind: expr, expr: "1 / a", component: Shop, measure: second}\n',
        encoding="utf-8",
    )  # fmt: skip
    done = flowtime("run", "--model", "odd.yaml")
    rows = [line.split()[:2] for line in done.stdout.splitlines()[2:5]]
    assert rows == [["Shop", "first"], ["Shop", "second"], ["Other", "value"]]
    assert 'node "b": division_by_zero in 2 bins, first in bin 1' in done.stderr
    for part in (
        "compile ",
        "evaluate ",
        "write ",
        "next: flowtime show ",
        "flowtime test-loop --model odd_",
    ):
        assert part in done.stdout


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, flowtime: Command) -> Command:
    """The command on a terminal of 90 columns."""
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
    monkeypatch.setenv("COLUMNS", "90")
    return flowtime


def test_a_run_shows_the_series_that_move_most_unless_all_are_asked_for(terminal: Command) -> None:
    terminal("sim", "new", "--template", "checkout", "--name", "day")
    short = terminal("run", "--model", "day", "--name", "run").stdout
    assert "those that move most; --all shows all 59 series" in short
    rows = [line for line in short.splitlines() if "▁" in line or "█" in line]
    assert len(rows) == 5
    whole = terminal("run", "--model", "day", "--all").stdout
    assert len([line for line in whole.splitlines() if "▁" in line or "█" in line]) == 59
    terminal("run", "--model", "day", "--scenario", "slow-payment", "--name", "slow")
    words = ("compare", "--baseline", "run", "--comparison", "slow")
    assert "5 more differ, by less; --all shows them" in terminal(*words).stdout
    assert "more differ" not in terminal(*words, "--all").stdout


def test_a_terminal_gets_long_texts_in_several_lines(terminal: Command) -> None:
    lines = terminal("sim", "show", "support-desk").stdout.splitlines()
    assert max(len(click.unstyle(line)) for line in lines if not line.startswith(("next", "   "))) <= 90
    assert "…" not in "".join(lines)


def test_a_pipe_gets_everything(flowtime: Command) -> None:
    flowtime("sim", "new", "--template", "checkout", "--name", "day")
    rows = [
        line
        for line in flowtime("run", "--model", "day", "--all").stdout.splitlines()
        if "█" in line or "▁" in line
    ]
    assert len(rows) == 59
    components = [row.split()[0] for row in rows]
    assert components == sorted(components, key=components.index)
