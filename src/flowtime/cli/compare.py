"""`flowtime compare`: runs and telemetry series by series, models node by node."""

from __future__ import annotations

from typing import Any

import click

from flowtime import texts
from flowtime.cli import completion, render
from flowtime.cli.options import Bound, Command, Operand, registry_command
from flowtime.service import Flowtime

_TEXT = 60
"""Two sides longer than this stand below each other."""
_LONGEST = 400
_HEADER = (
    "component", "measure", "unit", "baseline", "comparison", "change", "largest", "rmse",
    "mean deviation", "first at", "over time",
)  # fmt: skip


@click.command(
    "compare",
    cls=Command,
    epilog="\b\nFor a script: flowtime compare monday tuesday --threshold 5% --threshold 'web.*=abs:3'\n"
    "Example: flowtime compare --baseline monday --comparison tuesday",
)
@click.option(
    "--baseline",
    cls=Operand,
    required=True,
    metavar="BASELINE",
    shell_complete=completion.ids(files=True),
    help="A run, telemetry or model, by id or name, or a model file.",
)
@click.option(
    "--comparison",
    cls=Operand,
    required=True,
    metavar="COMPARISON",
    shell_complete=completion.ids(files=True),
    help="Another one; ID@v2 is a version of a model.",
)
@click.option(
    "--threshold",
    "thresholds",
    type=Bound(),
    multiple=True,
    help="Exit with 10 when a series is further off than this: 5% or 0.05 of the baseline, or abs:5 in its "
    "unit. 'web.*=10%' is for the series that match; repeatable. Two models must be equal.",
)
@click.option(
    "--by",
    type=click.Choice(("bin", "mean", "peak")),
    help="What --threshold judges: the bin that is furthest off (the default), the change of the mean, or "
    "that of the largest value. A bin is held against |baseline|, at least against a floor, 1% of its mean.",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Let --threshold pass over bins and series that only one side has.",
)
@click.option("--all", "show_all", is_flag=True, help="Show equal series too, and however many there are.")
@registry_command("--artifacts", "--out")
def compare_command(
    service: Flowtime,
    as_json: bool,
    baseline: str,
    comparison: str,
    thresholds: tuple[str, ...],
    by: str | None,
    allow_missing: bool,
    show_all: bool,
) -> None:
    """Compare two runs or telemetry, series by series, or two models, node by node."""
    report = service.compare(baseline, comparison, thresholds, by=by, allow_missing=allow_missing)
    with render.judging(report["within_threshold"] is not False):
        if as_json:
            render.echo_json(report)
            return
        click.echo(f"baseline    {report['baseline']}\ncomparison  {report['comparison']}")
        render.notes(report)
        if "model" in report:
            for line in _model_difference(report["model"]):
                click.echo(line)
        else:
            _print_comparison(report, show_all)
        if report["within_threshold"] is not None:
            for line in _verdict(report, ", ".join(thresholds)):
                click.echo(line)


def _print_comparison(report: dict[str, Any], show_all: bool) -> None:
    if report["parameters"]:
        changes = [
            f"{each['what']}: {texts.number(each['baseline'])} → {texts.number(each['comparison'])}"
            for each in report["parameters"]
        ]
        click.echo("\n".join(_section("parameters", changes)))
    if report["metrics"]:
        click.echo(_metrics_table(report["metrics"]))
    aligned, series = report["aligned"], report["series"]
    partly = any(entry["bins"] < aligned["bins"] for entry in series)
    over = f"the bins in which both have a value, of {aligned['note']}" if partly else aligned["note"]
    click.echo(render.dim(f"means over {over}, aligned by {aligned['by']}"))
    click.echo(render.dim("differences are comparison minus baseline"))
    click.echo(render.dim("change: difference of the means / |mean of the baseline|"))
    click.echo(render.dim("mean deviation: mean of |difference| / mean of |baseline|"))
    shown = series if show_all else [entry for entry in series if not entry["equal"]]
    cut = 0
    if not show_all and not render.fits(len(shown)):
        cut = len(shown) - render.LONG
        shown = sorted(shown, key=_distance, reverse=True)[: render.LONG]
    shown = render.by_component(shown)
    rows = [
        (
            entry["component"],
            entry["measure"],
            _unit(entry),
            texts.number(entry["mean_baseline"]),
            texts.number(entry["mean_comparison"]),
            *_distances(entry),
        )
        for entry in shown
    ]
    if rows:
        click.echo(render.table(_HEADER, render.grouped(rows), right=(3, 4, 5, 6, 7, 8), whole=(0, 1)))
    for line in _remarks(shown):
        click.echo(line)
    equal = sum(entry["equal"] for entry in series)
    click.echo(f"{equal:,} of {texts.count(len(series), 'common series')} equal")
    if cut:
        click.echo(f"{cut:,} more differ, by less; --all shows them")
    for side in ("baseline", "comparison"):
        for key in report[f"only_in_{side}"]:
            click.echo(f"only in the {side}: {_name(key)}")


def _metrics_table(metrics: list[dict[str, Any]]) -> str:
    rows = [
        (
            each["name"],
            each["unit"] or "",
            texts.number(each["baseline"]),
            texts.number(each["comparison"]),
            texts.of_baseline(texts.change(each["change"]), each["baseline"] is not None),
        )
        for each in metrics
    ]
    return render.table(("metric", "unit", "baseline", "comparison", "change"), rows, right=(2, 3, 4))


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['component']}.{entry['measure']}"


def _unit(entry: dict[str, Any]) -> str:
    if entry["units_differ"]:
        return f"{entry['unit']} ≠ {entry['unit_comparison']}"
    return entry["unit"] or entry["unit_comparison"] or ""


def _distances(entry: dict[str, Any]) -> tuple[str, ...]:
    if entry["equal"]:
        return ("=", "=", "=", "=", "", "")
    return (
        texts.of_baseline(texts.change(entry["change_of_mean"]), entry["bins"]),
        texts.signed(entry["max_difference"]),
        texts.number(entry["rmse"]),
        texts.of_baseline(texts.percent(entry["mean_deviation"]), entry["bins"]),
        entry["first_time_bin"] or "",
        entry["spark"],
    )


def _remarks(shown: list[dict[str, Any]]) -> list[str]:
    """What the figures of the table do not tell."""
    lines = [f"{_name(entry)}: {note}" for entry in shown for note in entry["notes"]]
    if len(lines) > render.SHOWN:
        lines = [*lines[: render.SHOWN], f"... and {len(lines) - render.SHOWN:,} more; --json shows all"]
    if any(texts.FROM_NOTHING in _distances(entry) for entry in shown):
        lines.append(f"{texts.FROM_NOTHING}: the baseline is 0, of which nothing is a share")
    return lines


def _verdict(report: dict[str, Any], bounds: str) -> list[str]:
    """Whether the comparison is within its bounds, and what is not."""
    within, gate = report["within_threshold"], report.get("gate")
    if gate is None:
        return [f"{render.tick(within)} {'within' if within else 'over'} {bounds}"]
    bounds, over = ", ".join(gate["threshold"]), gate["over"]
    head = "within" if within else "over" if over else "not within"
    series = len(report["series"]) + len(report["only_in_baseline"]) + len(report["only_in_comparison"])
    judged = f"judged by {gate['by']}: {gate['judged']:,} of {series:,} series"
    lines = [f"{render.tick(within)} {head} {bounds} ({judged})"]
    found = [*gate["unlike"], *(each["said"] for each in over)]
    lines += [f"    {said}" for said in found[: render.SHOWN]]
    if len(found) > render.SHOWN:
        lines.append(f"    ... and {len(found) - render.SHOWN:,} more; --json shows all")
    if not over and gate["closest"] is not None and gate["closest"]["value"]:
        lines.append(render.dim(f"    the closest: {gate['closest']['said']}"))
    return lines


def _distance(entry: dict[str, Any]) -> float:
    deviation: float | None = entry["mean_deviation"]
    return float("inf") if deviation is None else deviation


def _model_difference(report: dict[str, Any]) -> list[str]:
    """What turns one model into the other: `+` added, `-` removed, `~` changed."""
    nodes, topology = report["nodes"], report["topology"]
    lines = [f"{render.tick(True)} both mean the same"] if report["equal"] else []
    for title in ("parameters", "metrics", "settings"):
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
    content = next(node[key] for key in ("expr", "pmf", "values", "arrivals") if key in node)
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
