"""`flowtime compare`: runs and telemetry series by series, models node by node."""

from __future__ import annotations

from typing import Any

import click

from flowtime import texts
from flowtime.cli import render
from flowtime.cli.options import Operand, Percent, registry_command
from flowtime.service import Flowtime

_TEXT = 60
"""Two sides longer than this stand below each other."""
_LONGEST = 400


@click.command(
    "compare",
    epilog="\b\nExample: flowtime compare --baseline monday --comparison tuesday --threshold 5%",
)
@click.option(
    "--baseline",
    cls=Operand,
    required=True,
    metavar="BASELINE",
    help="A run, telemetry or model, by id or name, or a model file.",
)
@click.option(
    "--comparison",
    cls=Operand,
    required=True,
    metavar="COMPARISON",
    help="Another one; ID@v2 is a version of a model.",
)
@click.option(
    "--threshold",
    type=Percent(),
    help="Exit with 10 when a series is relatively further off than this, or when two models are not equal.",
)
@click.option("--all", "show_all", is_flag=True, help="Show equal series too, and however many there are.")
@registry_command("--artifacts", "--out")
def compare_command(
    service: Flowtime,
    as_json: bool,
    baseline: str,
    comparison: str,
    threshold: float | None,
    show_all: bool,
) -> None:
    """Compare two runs or telemetry, series by series, or two models, node by node."""
    report = service.compare(baseline, comparison, threshold)
    with render.judging(report["within_threshold"] is not False):
        if as_json:
            render.echo_json(report)
            return
        click.echo(f"baseline    {report['baseline']}\ncomparison  {report['comparison']}")
        if "model" in report:
            for line in _model_difference(report["model"]):
                click.echo(line)
        else:
            _print_comparison(report, show_all)
        if threshold is not None:
            verdict = "within" if report["within_threshold"] else "over"
            click.echo(f"{render.tick(report['within_threshold'])} {verdict} {texts.percent(threshold)}")


def _print_comparison(report: dict[str, Any], show_all: bool) -> None:
    aligned, series = report["aligned"], report["series"]
    click.echo(render.dim(f"means over {aligned['note']}, aligned by {aligned['by']}"))
    click.echo(render.dim("differences are comparison minus baseline"))
    shown = series if show_all else [entry for entry in series if not entry["equal"]]
    cut = 0
    if not show_all and not render.fits(len(shown)):
        cut = len(shown) - render.LONG
        shown = sorted(shown, key=_distance, reverse=True)[: render.LONG]
    rows = [
        (
            entry["component"],
            entry["measure"],
            entry["unit"] or "",
            texts.number(entry["mean_baseline"]),
            texts.number(entry["mean_comparison"]),
            *_distances(entry),
        )
        for entry in render.by_component(shown)
    ]
    sides = ("baseline", "comparison")
    header = ("component", "measure", "unit", *sides, "largest", "rmse", "relative", "first at", "over time")
    if rows:
        click.echo(render.table(header, render.grouped(rows), right=(3, 4, 5, 6, 7)))
    equal = sum(entry["equal"] for entry in series)
    click.echo(f"{equal:,} of {texts.count(len(series), 'common series')} equal")
    if cut:
        click.echo(f"{cut:,} more differ, by less; --all shows them")
    for side in ("baseline", "comparison"):
        for key in report[f"only_in_{side}"]:
            click.echo(f"only in the {side}: {key['component']}.{key['measure']}")


def _distances(entry: dict[str, Any]) -> tuple[str, ...]:
    if entry["equal"]:
        return ("=", "=", "=", "", "")
    largest, rmse = texts.signed(entry["max_difference"]), texts.number(entry["rmse"])
    return (largest, rmse, texts.percent(entry["relative"]), entry["first_time_bin"], entry["spark"])


def _distance(entry: dict[str, Any]) -> float:
    relative: float | None = entry["relative"]
    return float("inf") if relative is None else relative


def _model_difference(report: dict[str, Any]) -> list[str]:
    """What turns one model into the other: `+` added, `-` removed, `~` changed."""
    nodes, topology = report["nodes"], report["topology"]
    lines = [f"{render.tick(True)} both mean the same"] if report["equal"] else []
    for title in ("parameters", "settings"):
        lines += _section(title, [line for change in report[title] for line in _changed(change)])
    lines += _section("nodes added", [f"+ {_described(node)}" for node in nodes["added"]])
    lines += _section("nodes removed", [f"- {_described(node)}" for node in nodes["removed"]])
    changed = []
    for node in nodes["changed"]:
        note = "  the same formula, written in another way" if node["respelled"] else ""
        changed += [f"~ {node['id']}{render.dim(note)}"]
        changed += [f"    {line}" for change in node["changes"] for line in _changed(change)]
    lines += _section("nodes changed", changed)
    drawn = [f"{_sign(change)} {change['what']}" for change in topology["components"]]
    for sign, edges in (("+", topology["edges_added"]), ("-", topology["edges_removed"])):
        drawn += [f"{sign} {edge['from']} → {edge['to']}" for edge in edges]
    lines += _section("topology", drawn)
    return lines + _section("metadata", [line for change in report["metadata"] for line in _changed(change)])


def _section(title: str, lines: list[str]) -> list[str]:
    return [render.heading(title), *(f"  {line}" for line in lines)] if lines else []


def _sign(change: dict[str, Any]) -> str:
    if change["baseline"] is None:
        return "+"
    return "-" if change["comparison"] is None else "~"


def _changed(change: dict[str, Any]) -> list[str]:
    a, b = (_held(change[side]) for side in ("baseline", "comparison"))
    what = change["what"]
    if "first" in change:
        what += f" ({texts.count(change['differing'], 'bin')} differ, here bin {change['first']:,})"
    if len(a) + len(b) <= _TEXT:
        return [f"{what}: {a} → {b}"]
    return [f"{what}:", f"  - {a}", f"  + {b}"]


def _described(node: dict[str, Any]) -> str:
    content = next(node[key] for key in ("expr", "pmf", "values") if key in node)
    return f"{node['id']}  {render.dim(node['kind'])}  {_held(content)}"


def _held(content: Any) -> str:
    """What one side of a change holds, on one line."""
    if content is None:
        return "nothing"
    if isinstance(content, dict) and content.keys() == {"values", "probabilities"}:
        content = dict(zip(content["values"], content["probabilities"], strict=True))
    text = ", ".join(f"{key}: {held}" for key, held in content.items()) if isinstance(content, dict) else ""
    text = text or render.value(content)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


commands: dict[str, click.Command] = {"compare": compare_command}
