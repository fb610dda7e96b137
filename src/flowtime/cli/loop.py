"""Commands of the loop: run, export, import, verify, compare, explain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flowtime.cli import render
from flowtime.cli.artifacts import measures_table
from flowtime.cli.options import Percent, Words, joined, registry_command, tags_option
from flowtime.errors import EXIT_MISMATCH
from flowtime.service import Flowtime

FORMATS = click.Choice(("gold", "csv", "ndjson", "parquet"))


@click.command("run", epilog="Example: flowtime run --model baseline-v1 --name baseline-run")
@click.option(
    "--model", required=True, metavar="MODEL", help="A model's id, ID@v2, name, or a .yaml/.json file."
)
@click.option("--name", help="Name of the run (default: the model's name and _run).")
@tags_option
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of sampled nodes, before the document's."
)
@click.option(
    "--deterministic", is_flag=True, help="Id from the inputs: the same run is found, not made again."
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    help="Draw every distribution so many times; keep mean, p05, p50 and p95 of each series.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes for the samples (default: the cores).")
@click.option("--description", help="What the run is about.")
@click.option("--owner", help="Owner (default: FLOWTIME_OWNER, else the login name).")
@click.option("--visibility", type=click.Choice(("private", "team", "public")), help="Who may read it.")
@registry_command("--artifacts", "--out")
def run_command(
    service: Flowtime, as_json: bool, model: str, tags: tuple[tuple[str, ...], ...], **options: Any
) -> None:
    """Run a model and keep the result as a run artifact."""
    with render.progress("samples") as progress:
        catalog = service.run(model, tags=joined(tags), progress=progress, **options)
    if as_json:
        render.echo_json(catalog)
        return
    click.echo(f"run {render.heading(catalog['id'])}  {render.dim(catalog['folder'])}")
    _print_run(catalog)
    print_next(
        service, f"flowtime export --run {catalog['id']} --format parquet --out {catalog['name']}.parquet"
    )


def _print_run(catalog: dict[str, Any]) -> None:
    click.echo(measures_table(catalog["measures"]))
    _print_warnings(catalog["warnings"])
    click.echo(render.dim(run_facts(catalog)))


def run_facts(catalog: dict[str, Any]) -> str:
    """A run in a line: its size, the time of each stage, its digest."""
    timing = ", ".join(
        f"{stage.removesuffix('_seconds')} {render.seconds(taken)}"
        for stage, taken in catalog["stats"].items()
        if stage.endswith("_seconds")
    )
    data = catalog["data"]
    return f"{data['series']:,} series, {data['rows']:,} rows · {timing} · {data['digest']}"


def portraits(measures: list[dict[str, Any]]) -> str:
    """One line for each component: what it served, else what arrived, else what it has first."""
    by_component: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in measures:
        by_component.setdefault(entry["component"], {})[entry["measure"]] = entry
    chosen = [m.get("served") or m.get("arrivals") or next(iter(m.values())) for m in by_component.values()]
    return measures_table(chosen)


def _print_warnings(warnings: list[dict[str, Any]]) -> None:
    for warning in warnings:
        click.echo(f"{click.style('warning', fg='yellow')} {warning['message']}", err=True)


def print_next(service: Flowtime, *commands: str) -> None:
    """The commands that are likely to come next."""
    root = service.settings.artifacts
    suffix = "" if service.settings.origins["artifacts"] == "default" else f" --artifacts {root}"
    for i, command in enumerate(commands):
        click.echo(render.dim("next: " if i == 0 else "      ") + command + suffix)


@click.command(
    "export", epilog="Example: flowtime export --run baseline-run --format gold --out baseline.csv"
)
@click.option(
    "--run", "ref", required=True, metavar="ID", help="A run's or telemetry's id, name or beginning of an id."
)
@click.option("--format", "format_name", type=FORMATS, required=True, help="gold and csv are the same.")
@click.option(
    "--out",
    "path",
    required=True,
    metavar="PATH",
    help="A file, a folder with / at its end, or - for stdout.",
)
@registry_command("--artifacts")
def export_command(service: Flowtime, as_json: bool, ref: str, format_name: str, path: str) -> None:
    """Export a run's series, with what is needed to rebuild the model from the file alone."""
    if path == "-":
        service.export_to(ref, format_name, sys.stdout.buffer)
        return
    report = service.export(ref, format_name, path)
    if as_json:
        render.echo_json(report)
        return
    click.echo(
        f"{report['path']}  {report['rows']:,} rows, {render.size(report['bytes'])}, {report['digest']}"
    )
    if report["metadata_path"]:
        click.echo(f"{report['metadata_path']}  what rebuilds the model; keep it beside the file")
    print_next(service, f"flowtime import --data {report['path']}")


@click.command("import", epilog="Example: flowtime import --data baseline.csv --name baseline-reimport")
@click.option("--data", required=True, metavar="PATH", help="A file (.gz and .zst are read), or - for stdin.")
@click.option("--format", "format", type=FORMATS, help="Format, where content and name do not tell.")
@click.option("--name", help="Name of the telemetry.")
@tags_option
@click.option(
    "--model", metavar="MODEL", help="The model that the data belongs to; it is checked against it."
)
@click.option("--grid", metavar="bins=N,size=N,unit=U[,start=T]", help="The grid, instead of inferring it.")
@click.option("--missing", type=click.Choice(("error", "null", "zero")), default="error", show_default=True)
@click.option(
    "--duplicates", type=click.Choice(("error", "first", "last", "sum")), default="error", show_default=True
)
@click.option("--align", type=click.Choice(("floor",)), help="Move times off the grid down onto it.")
@click.option(
    "--map", "renames", multiple=True, metavar="THEIRS=OURS", help="Take a column under another name."
)
@click.option("--ignore-extra", is_flag=True, help="Leave out columns that are not known.")
@click.option(
    "--ignore-metadata", is_flag=True, help="Treat the file as external data, whatever lies beside it."
)
@click.option("--validate-schema", "strict", is_flag=True, help="No inference, no filling, no conversion.")
@click.option("--dry-run", is_flag=True, help="Only check; store nothing.")
@click.option("--description", help="What the data is about.")
@click.option("--owner", help="Owner (default: FLOWTIME_OWNER, else the login name).")
@click.option("--visibility", type=click.Choice(("private", "team", "public")), help="Who may read it.")
@registry_command("--artifacts", "--out")
def import_command(
    service: Flowtime,
    as_json: bool,
    data: str,
    tags: tuple[tuple[str, ...], ...],
    renames: tuple[str, ...],
    **options: Any,
) -> None:
    """Import a file as a telemetry artifact, rebuilding its model where the file knows it."""
    for rename in renames:
        if "=" not in rename:
            raise click.UsageError(f"--map takes THEIRS=OURS, such as timestamp=time_bin, not {rename!r}")
    columns = dict(rename.split("=", 1) for rename in renames)
    source = sys.stdin.buffer if data == "-" else Path(data)
    catalog = service.import_data(source, tags=joined(tags), rename=columns, **options)
    if as_json:
        render.echo_json(catalog)
        return
    facts = catalog["data"]
    size = f"{facts['series']:,} series over {render.grid(catalog['grid'])}"
    if options["dry_run"]:
        click.echo(f"the file is sound: {size}; nothing was stored")
    else:
        click.echo(f"telemetry {render.heading(catalog['id'])}  {render.dim(catalog['folder'])}")
        click.echo(f"{size}, {facts['digest']}")
    for note in _notes(catalog["import"]):
        click.echo(f"note: {note}")
    if catalog["rebuilt"]:
        whose = f"it fits the model {options['model']}" if options["model"] else "the model came back with it"
        click.echo(f"{render.tick(True)} {whose}; its graph was computed again")
    for line in _conformance(catalog["conformance"]):
        click.echo(line)
    _print_warnings(catalog["warnings"])
    if not options["dry_run"]:
        print_next(service, f"flowtime show {catalog['id']}")


def _notes(report: dict[str, Any]) -> list[str]:
    """What import had to infer, fill in, merge or move."""
    notes = []
    if report["grid"] == "inferred":
        notes.append("the grid was inferred from the times; --grid says it instead")
    if report["filled"]:
        notes.append(f"{render.plural(report['filled'], 'gap')} filled: --missing {report['missing']}")
    if report["merged"]:
        notes.append(
            f"{render.plural(report['merged'], 'duplicate')} merged: --duplicates {report['duplicates']}"
        )
    if report["moved"]:
        notes.append(
            f"{render.plural(report['moved'], 'time')} moved onto the grid: --align {report['align']}"
        )
    return notes


def _conformance(report: dict[str, Any] | None) -> list[str]:
    if report is None:
        return []
    series = report["series"]
    off = [entry for entry in series if not entry["equal"]]
    derived = render.plural(len(series), "derived series")
    lines = [f"{render.tick(not off)} {len(series) - len(off):,} of {derived} equal when computed again"]
    for entry in off[:20]:
        name, gap = f"{entry['component']}.{entry['measure']}", render.number(entry["max_difference"])
        lines.append(f"    {name}: up to {gap} off, first at {entry['first_time_bin']}")
    if len(off) > 20:
        lines.append(f"    ... and {len(off) - 20:,} more (--json shows all)")
    return lines


@click.command("test-loop", epilog="Example: flowtime test-loop --model baseline-v1")
@click.option("--model", required=True, metavar="MODEL", help="A model's id, name, or a .yaml/.json file.")
@click.option("--format", "formats", type=Words(), default="all", show_default=True, help="Formats, or all.")
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of sampled nodes, before the document's."
)
@click.option("--samples", type=click.IntRange(1), help="Verify a run of so many samples.")
@click.option("--keep", is_flag=True, help="Keep the run and the telemetry in the registry.")
@registry_command("--artifacts", "--out")
def test_loop_command(
    service: Flowtime,
    as_json: bool,
    model: str,
    formats: tuple[str, ...],
    **options: Any,
) -> None:
    """Run, export in every format, import, and verify that nothing was lost."""
    report = service.test_loop(model, formats=formats, **options)
    if as_json:
        render.echo_json(report)
    else:
        click.echo(verdict(report))
    if not report["ok"]:
        sys.exit(EXIT_MISMATCH)


def verdict(report: dict[str, Any]) -> str:
    """The table of ticks, a column for each format, then what failed and where."""
    formats = report["formats"]
    checks = list(dict.fromkeys(check for entry in formats.values() for check in entry["checks"]))
    rows = [
        (
            check.replace("_", " "),
            *(render.tick(e["checks"][check]) if check in e["checks"] else "-" for e in formats.values()),
        )
        for check in checks
    ]
    lines = [render.table(("verified", *formats), rows)]
    for name, entry in formats.items():
        lines += [f"{render.tick(False)} {name}: {problem}" for problem in entry["problems"]]
    closed = "closed" if report["ok"] else "not closed"
    subject = f"{report['model_id']} → {report['run_id']}"
    return "\n".join([*lines, f"{render.tick(report['ok'])} the loop is {closed}: {subject}"])


@click.command(
    "compare", epilog="\b\nExample: flowtime compare --baseline monday --comparison tuesday --threshold 5%"
)
@click.option("--baseline", required=True, metavar="ID", help="A run or telemetry.")
@click.option("--comparison", required=True, metavar="ID", help="Another one.")
@click.option(
    "--threshold", type=Percent(), help="Exit with 10 when a series is relatively further off than this."
)
@registry_command("--artifacts", "--out")
def compare_command(
    service: Flowtime,
    as_json: bool,
    baseline: str,
    comparison: str,
    threshold: float | None,
) -> None:
    """Compare two runs or telemetry, series by series."""
    report = service.compare(baseline, comparison, threshold)
    if as_json:
        render.echo_json(report)
    else:
        _print_comparison(report, threshold)
    if report["within_threshold"] is False:
        sys.exit(EXIT_MISMATCH)


def _print_comparison(report: dict[str, Any], threshold: float | None) -> None:
    aligned = report["aligned"]
    click.echo(f"baseline    {report['baseline']}\ncomparison  {report['comparison']}")
    click.echo(
        render.dim(
            f"aligned by {aligned['by']} over {render.plural(aligned['bins'], 'bin')}"
            f" (of {aligned['baseline_bins']:,} and {aligned['comparison_bins']:,})"
        )
    )
    rows = [
        (
            entry["component"],
            entry["measure"],
            entry["unit"] or "",
            render.number(entry["mean_baseline"]),
            render.number(entry["mean_comparison"]),
            "=" if entry["equal"] else render.number(entry["max_difference"]),
            "=" if entry["equal"] else render.number(entry["rmse"]),
            "=" if entry["equal"] else render.percent(entry["relative"]),
            entry["first_time_bin"] or "",
        )
        for entry in report["series"]
    ]
    header = (
        "component",
        "measure",
        "unit",
        "baseline mean",
        "comparison mean",
        "max difference",
        "rmse",
        "relative",
        "first at",
    )
    click.echo(render.table(header, rows, right=(3, 4, 5, 6, 7)))
    for side in ("baseline", "comparison"):
        for key in report[f"only_in_{side}"]:
            click.echo(f"only in the {side}: {key['component']}.{key['measure']}")
    if threshold is not None:
        verdict = "within" if report["within_threshold"] else "over"
        click.echo(f"{render.tick(report['within_threshold'])} {verdict} {render.percent(threshold)}")


@click.command("explain", epilog="Example: flowtime explain baseline-v1")
@click.argument("model", metavar="MODEL")
@registry_command("--artifacts", "--out")
def explain_command(service: Flowtime, as_json: bool, model: str) -> None:
    """Show how a model is computed: steps, dependencies, feedback groups."""
    plan = service.explain(model)
    if as_json:
        render.echo_json(plan["plan"])
    else:
        click.echo(plan["text"])


commands: dict[str, click.Command] = {
    "run": run_command,
    "export": export_command,
    "import": import_command,
    "test-loop": test_loop_command,
    "compare": compare_command,
    "explain": explain_command,
}
