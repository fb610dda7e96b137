"""`flowtime solve` and `flowtime sweep`: questions to a model."""

from __future__ import annotations

from typing import Any

import click

from flowtime import texts
from flowtime.cli import completion, render
from flowtime.cli.metrics import assignments, numbers
from flowtime.cli.options import Command, Count, Operand, Words, joined, print_next, registry_command
from flowtime.service import Flowtime

_NO_ANSWER = {
    "missing": "the metric is missing everywhere",
    "flat": "its value is the same everywhere, so this parameter does not move it",
}


def _asking(function: Any) -> Any:
    """The options of every question."""
    for add in (
        click.option(
            "--seed", type=Count(0, 2**63 - 1), help="Seed of sampled nodes, before the document's."
        ),
        click.option(
            "--metric",
            "metrics",
            multiple=True,
            metavar="NAME=FORMULA",
            help='A metric beside the model\'s own, such as "peak=PEAK(desk.depth)".',
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NAME=VALUE",
            shell_complete=completion.parameters,
            help="A value for another parameter of the model.",
        ),
        click.option(
            "--model",
            cls=Operand,
            required=True,
            metavar="MODEL",
            shell_complete=completion.ids("model", files=True),
            help="A model, by id or name, or a model file.",
        ),
    ):
        function = add(function)
    return function


@click.command(
    "solve",
    cls=Command,
    epilog="\b\nExample: flowtime solve baseline-v1 --vary payment_workers=1..40 "
    '--until "Payment_peak_utilization < 1"',
)
@_asking
@click.option(
    "--vary",
    required=True,
    metavar="NAME=RANGE",
    shell_complete=completion.parameters,
    help="What to solve for: workers=1..40, price=1:2:0.1, n=1,2,5 or load=10%; alone: its bounds.",
)
@click.option(
    "--until",
    metavar="CONDITION",
    help='What has to be met, such as "peak_wait <= 10" (default: all goals of the model).',
)
@click.option("--largest", is_flag=True, help="Find the largest value that meets it, not the smallest.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, min_open=True),
    help="How near to the exact value, between two ends (default: a millionth of the range).",
)
@registry_command("--artifacts")
def solve_command(
    service: Flowtime,
    as_json: bool,
    model: str,
    settings: tuple[str, ...],
    metrics: tuple[str, ...],
    **options: Any,
) -> None:
    """Find the smallest value of a parameter that meets a condition, and the neighbour that proves it.

    Exits with 10 where no value does. Nothing is stored.
    """
    with render.progress("solving", "point") as tell:
        found = service.solve(
            model,
            parameters=numbers(assignments("--set", settings)),
            metrics=assignments("--metric", metrics),
            progress=None if tell is None else lambda done, total: tell(done, None),
            **options,
        )
    with render.judging(found["answer"] is not None):
        if as_json:
            render.echo_json(found)
        else:
            _show_solution(service, found, model)


def _show_solution(service: Flowtime, found: dict[str, Any], model: str) -> None:
    click.echo(render.paragraph(answer_of(found)))
    for line in _cautions(found):
        click.echo(render.paragraph(line))
    id = found["parameter"]["id"]
    names = list(found["points"][0]["metrics"]) if found["points"] else []
    rows = [
        (
            render.tick(bool(point["parameters"] == found["answer"])),
            texts.number(point["parameters"][id]),
            *(texts.number(point["metrics"][name]) for name in names),
        )
        for point in found["points"]
    ]
    if rows:
        click.echo(render.table(("", id, *names), rows, right=range(1, len(names) + 2), whole=(0, 1)))
    click.echo(render.dim(f"{texts.count(found['evaluations'], 'point')} evaluated"))
    if found["answer"] is not None:
        value = texts.exact(found["answer"][id])
        print_next(service, ("run", model, "--set", f"{id}={value}"))


def answer_of(found: dict[str, Any]) -> str:
    """The answer in a sentence."""
    id, unit = found["parameter"]["id"], found["parameter"]["unit"]
    asked = " and ".join(f"{_named(each)} {each['goal']}" for each in found["conditions"])
    unit = f" {unit}" if unit else ""
    if found["answer"] is None:
        low, high = (texts.number(found["parameter"][end]) for end in ("low", "high"))
        why = _NO_ANSWER.get(found["reason"]) or "; ".join(
            f"at {texts.number(point['parameters'][id])} {_judged(found, point)}" for point in found["points"]
        )
        return f"No {id} from {low} to {high} meets {asked}: {why}."
    value = texts.number(found["answer"][id])
    at = _judged(found, found["points"][0])
    which = "largest" if found["largest"] else "smallest"
    if found["below"] is None:
        return f"Every {id} in the range meets {asked}, even the {which}, {value}{unit}: there {at}."
    beside = texts.number(found["below"][id])
    other = _judged(found, found["points"][1])
    return f"{id} = {value}{unit} is the {which} value that meets {asked}: there {at}; at {beside} {other}."


def _judged(found: dict[str, Any], point: dict[str, Any]) -> str:
    """What the metrics asked about are at a point."""
    return ", ".join(
        f"{_named(each)} is {texts.number(point['metrics'][each['name']])}"
        + (f" {each['unit']}" if each["unit"] else "")
        for each in found["conditions"]
    )


def _named(metric: dict[str, Any]) -> str:
    """A metric as a sentence calls it: one that was asked for has no name but its formula."""
    name: str = metric["formula"] if metric["name"] == "asked" else metric["name"]
    return name


def _cautions(found: dict[str, Any]) -> list[str]:
    """What makes the answer less certain than it looks."""
    lines = []
    if again := found["not_met_again_at"]:
        shown = ", ".join(map(texts.number, again[:5])) + (" and more" if len(again) > 5 else "")
        lines.append(f"Not monotone: beyond the answer the condition is not met again at {shown}.")
    lines += [
        f"Only fluid: {each['queue']} is {each['utilization']:.0%} busy there, where chance makes waits "
        f'that these numbers leave out; ask for "{each["queue"]}.latency" where the queue has workers.'
        for each in found["only_fluid"]
    ]
    return lines


@click.command(
    "sweep",
    cls=Command,
    epilog="Example: flowtime sweep baseline-v1 --vary payment_workers=4..12",
)
@_asking
@click.option(
    "--vary",
    required=True,
    multiple=True,
    metavar="NAME=RANGE",
    shell_complete=completion.parameters,
    help="What to vary: workers=4..12, price=1:2:0.1 or n=1,2,5; repeatable, for all combinations.",
)
@click.option("--show", type=Words(), multiple=True, help="These metrics only.")
@registry_command("--artifacts")
def sweep_command(
    service: Flowtime,
    as_json: bool,
    model: str,
    vary: tuple[str, ...],
    show: tuple[tuple[str, ...], ...],
    settings: tuple[str, ...],
    metrics: tuple[str, ...],
    seed: int | None,
) -> None:
    """Show the metrics of a model at many values of its parameters. Nothing is stored."""
    with render.progress("evaluating", "point") as tell:
        found = service.sweep(
            model,
            vary,
            show=joined(show),
            parameters=numbers(assignments("--set", settings)),
            metrics=assignments("--metric", metrics),
            seed=seed,
            progress=None if tell is None else lambda done, total: tell(done, done / total),
        )
    if as_json:
        render.echo_json(found)
        return
    click.echo(render.paragraph(summary_of(found)))
    _show_points(found)


def summary_of(found: dict[str, Any]) -> str:
    """What a sweep says in a sentence: where its goals are met, or the span of its first metric."""
    points, goals = found["points"], [each for each in found["metrics"] if each["goal"]]
    if goals:
        met = [point for point in points if all(point["met"].values())]
        asked = " and ".join(f"{each['name']} {each['goal']}" for each in goals)
        if not met:
            return f"None of {texts.count(len(points), 'point')} meets {asked}."
        named = ", ".join(f"{id}={texts.number(value)}" for id, value in met[0]["parameters"].items())
        return f"{len(met):,} of {texts.count(len(points), 'point')} meet {asked}, the first at {named}."
    first = found["metrics"][0]["name"] if found["metrics"] else None
    values = [point["metrics"][first] for point in points if first and point["metrics"][first] is not None]
    if not values:
        return f"{texts.count(len(points), 'point')} evaluated."
    low, high = texts.number(min(values)), texts.number(max(values))
    return f"{first} goes from {low} to {high} over {texts.count(len(points), 'point')}."


_SHOWN = 40
"""So many points are listed on a terminal."""


def _show_points(found: dict[str, Any]) -> None:
    points = found["points"]
    ids, names = list(points[0]["parameters"]), [each["name"] for each in found["metrics"]]
    goals = any(each["goal"] for each in found["metrics"])
    shown = points if render.fits(len(points)) else points[:_SHOWN]
    rows = [
        (
            *([render.tick(all(point["met"].values()))] if goals else []),
            *(texts.number(point["parameters"][id]) for id in ids),
            *(texts.number(point["metrics"][name]) for name in names),
        )
        for point in shown
    ]
    mark = ("",) if goals else ()
    columns = len(mark) + len(ids) + len(names)
    click.echo(
        render.table(
            (*mark, *ids, *names), rows, right=range(len(mark), columns), whole=range(len(mark) + len(ids))
        )
    )
    if len(shown) < len(points):
        click.echo(f"... and {len(points) - len(shown):,} more; --json has all")


commands = {"solve": solve_command, "sweep": sweep_command}
