"""Commands of the loop: run, export, import, verify, explain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from flowtime import texts
from flowtime.cli import completion, render
from flowtime.cli.artifacts import measures_table
from flowtime.cli.metrics import assignments, metrics_table, movers, numbers
from flowtime.cli.options import (
    Command,
    Count,
    Operand,
    Words,
    joined,
    print_next,
    registry_command,
    tags_option,
)
from flowtime.service import Flowtime

FORMATS = ("gold", "csv", "ndjson", "parquet", "bundle")
EXPORTS = click.Choice((*FORMATS, "xlsx"))
IMPORTS = click.Choice(FORMATS)
_LONGEST = 200
"""Bytes of a name that is still a file's, with a suffix and what lies beside it."""

_model = click.option(
    "--model",
    cls=Operand,
    required=True,
    metavar="MODEL",
    shell_complete=completion.ids("model", files=True),
    help="A model's id, name, or a .yaml/.json file.",
)


@click.command("run", cls=Command, epilog="Example: flowtime run --model baseline-v1 --name baseline-run")
@click.option(
    "--model",
    cls=Operand,
    metavar="MODEL",
    shell_complete=completion.ids("model", files=True),
    help="A model's id, ID@v2, name, or a .yaml/.json file.",
)
@click.option(
    "--telemetry",
    metavar="ID",
    shell_complete=completion.ids("telemetry"),
    help="Replay: the inputs that this telemetry measures take its values.",
)
@click.option(
    "--bind",
    multiple=True,
    metavar="COMPONENT.MEASURE=NODE",
    help="With --telemetry: the series for a node, where names do not tell.",
)
@click.option(
    "--require",
    type=Words(),
    multiple=True,
    help="With --telemetry: nodes or series of the model that it has to measure.",
)
@click.option("--scenario", help="Run the model with a scenario of its template, as a model derived from it.")
@click.option("--name", help="Name of the run (default: the model's name and _run or _replay).")
@tags_option
@click.option(
    "--seed",
    type=Count(0, 2**63 - 1),
    help="Seed of sampled nodes, before the document's.",
)
@click.option(
    "--deterministic", is_flag=True, help="Id from the inputs: the same run is found, not made again."
)
@click.option(
    "--samples",
    type=Count(),
    help="Draw every distribution so many times; keep mean, p05, p50 and p95 of each series.",
)
@click.option("--workers", type=Count(), help="Threads for the samples (default: the cores).")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=completion.parameters,
    help="A value for a parameter of the model.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME=FORMULA",
    help='A metric beside the model\'s own, such as "peak=PEAK(desk.depth)".',
)
@click.option("--check", is_flag=True, help="End with exit code 10 where a goal is not met.")
@click.option("--new", is_flag=True, help="Make a new model of the file, not the next version of one.")
@click.option("--description", help="What the run is about.")
@click.option("--owner", help="Owner (default: FLOWTIME_OWNER, else the login name).")
@click.option("--visibility", type=click.Choice(("private", "team", "public")), help="Who may read it.")
@click.option("--all", "show_all", is_flag=True, help="Show every series, however many there are.")
@registry_command("--artifacts", "--out")
def run_command(
    service: Flowtime,
    as_json: bool,
    model: str | None,
    tags: tuple[tuple[str, ...], ...],
    require: tuple[tuple[str, ...], ...],
    settings: tuple[str, ...],
    metrics: tuple[str, ...],
    check: bool,
    show_all: bool,
    **options: Any,
) -> None:
    """Run a model and keep the result as a run artifact.

    A file is registered as a model first; once it was edited, it is the next version of that model.

    With --telemetry the inputs that it measures are replayed, and all others keep the model's values;
    --telemetry alone runs the model that came back with it.
    """
    if options["workers"] is not None and options["samples"] is None:
        raise click.UsageError(
            "--workers shares samples out among processes, and none are asked for; "
            "say how many with --samples N"
        )
    with render.progress("running", "sample") as tell:
        progress = None if tell is None else lambda done, total: tell(done, done / total)
        catalog = service.run(
            model,
            tags=joined(tags),
            require=joined(require),
            parameters=numbers(assignments("--set", settings)),
            metrics=assignments("--metric", metrics),
            progress=progress,
            **options,
        )
    told = [*catalog["metrics"], *catalog["other_metrics"]]
    with render.judging(not check or all(metric.get("met", True) for metric in told)):
        if as_json:
            render.echo_json(catalog)
        else:
            _show_run(service, catalog, told, replay=options["telemetry"] is not None, show_all=show_all)


def _show_run(
    service: Flowtime,
    catalog: dict[str, Any],
    metrics: list[dict[str, Any]],
    *,
    replay: bool,
    show_all: bool,
) -> None:
    click.echo(f"run {render.heading(catalog['id'])}  {render.dim(catalog['folder'])}")
    render.notes(catalog)
    if replay:
        click.echo(_replay(catalog, show_all=show_all))
    if metrics:
        click.echo(metrics_table(metrics))
    measures = catalog["measures"]
    shown = measures if show_all else movers(measures)
    click.echo(measures_table(shown))
    if len(shown) < len(measures):
        click.echo(f"those that move most; --all shows all {len(measures):,} series")
    print_warnings(catalog["warnings"])
    if catalog["model_id"]:
        click.echo(f"of the model {model_of(catalog)}")
    click.echo(render.dim(run_facts(catalog)))
    print_next(
        service,
        ("show", catalog["id"]),
        ("export", "--run", catalog["id"], "--format", "parquet", "--out", f"{_file_name(catalog)}.parquet"),
        *([("test-loop", "--model", model_of(catalog))] if catalog["model_id"] else []),
    )


def _replay(catalog: dict[str, Any], *, show_all: bool) -> str:
    """What became of each series of the telemetry, and of each input of the model, as a table."""
    groups = (
        [("bound", _series(each), each["node"], _gaps(each["missing"])) for each in catalog["bound"]],
        [("kept", _series(each), each["node"], "the model's values") for each in catalog["kept"]],
        [
            ("compared", _series(each), "", "equal" if each["equal"] else f"measured {texts.apart(each)}")
            for each in catalog["compared"]
        ],
        [("not used", _series(each), "", "not in the model") for each in catalog["unbound"]],
    )
    limit = None if show_all else _SHOWN
    rows = [row for group in groups for row in group[:limit]]
    lines = [render.table(("replay", "series", "node", ""), rows, whole=(1, 2))]
    lines += [
        f"... and {len(group) - limit:,} more {group[0][0]}; --all shows them"
        for group in groups
        if limit is not None and len(group) > limit
    ]
    return "\n".join(lines)


_SHOWN = 20
"""So many series of a kind are listed unasked."""


def _series(entry: dict[str, Any]) -> str:
    return texts.NONE if entry["component"] is None else f"{entry['component']}.{entry['measure']}"


def _gaps(missing: int) -> str:
    return f"{texts.count(missing, 'bin')} missing" if missing else ""


def _few(names: list[str], limit: int = 10) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


def model_of(catalog: dict[str, Any]) -> str:
    """The version of a model that something was made from: `ID@v2`; its name where no registry has it."""
    version = catalog["model_version"]
    return str(catalog["model_id"]) + (f"@v{version}" if version else "")


def run_facts(catalog: dict[str, Any]) -> str:
    """A run in a line: its size, the time of each stage, its digest."""
    timing = ", ".join(
        f"{stage.removesuffix('_seconds')} {render.seconds(taken)}"
        for stage, taken in catalog["stats"].items()
        if stage.endswith("_seconds")
    )
    data = catalog["data"]
    return f"{data['series']:,} series, {texts.count(data['rows'], 'row')} · {timing} · {data['digest']}"


def print_warnings(warnings: list[dict[str, Any]]) -> None:
    """Warnings, on stderr."""
    for warning in warnings:
        click.echo(f"{click.style('warning', fg='yellow')} {warning['code']}: {warning['message']}", err=True)


def _file_name(catalog: dict[str, Any]) -> str:
    """What a file of the artifact is called: its name, where a folder takes that for a file's."""
    name: str = catalog["name"]
    return catalog["id"] if "/" in name or "\\" in name or len(name.encode()) > _LONGEST else name


@click.command(
    "export",
    cls=Command,
    epilog="Example: flowtime export --run baseline-run --format gold --out baseline.csv",
)
@click.option(
    "--run",
    "ref",
    cls=Operand,
    required=True,
    metavar="ID",
    shell_complete=completion.ids("run", "telemetry"),
    help="An id, a name or the beginning of an id, of a run or telemetry.",
)
@click.option(
    "--format",
    "format_name",
    type=EXPORTS,
    help="gold and csv are the same (default: what the end of PATH tells).",
)
@click.option(
    "--out",
    "path",
    required=True,
    type=click.Path(),
    metavar="PATH",
    help="A file, a folder with / at its end, or - for stdout.",
)
@click.option(
    "--embed-metadata", "embed", is_flag=True, help="Write the metadata of a CSV into its first lines."
)
@registry_command("--artifacts", reads=True)
def export_command(
    service: Flowtime, as_json: bool, ref: str, format_name: str | None, path: str, embed: bool
) -> None:
    """Export a run's series, with what is needed to rebuild the model from the file alone."""
    if path == "-":
        if format_name is None:
            raise click.UsageError("--format is missing; stdout has no name that tells it")
        with render.progress("exporting") as progress:
            report = service.export_to(ref, format_name, sys.stdout.buffer, embed=embed, progress=progress)
        render.notes(report)
        return
    with render.progress("exporting") as progress:
        report = service.export(ref, format_name, path, embed=embed, progress=progress)
    if as_json:
        render.echo_json(report)
        return
    rows, size = texts.count(report["rows"], "row"), texts.size(report["bytes"])
    click.echo(f"{report['path']}  {rows}, {size}, {report['digest']}")
    render.notes(report)
    if report["metadata_path"]:
        click.echo(f"{report['metadata_path']}  what rebuilds the model; keep it beside the file")
    if report["format"] != "xlsx":
        print_next(service, ("import", "--data", report["path"]))


@click.command(
    "import", cls=Command, epilog="Example: flowtime import --data baseline.csv --name baseline-reimport"
)
@click.option(
    "--data",
    cls=Operand,
    required=True,
    type=click.Path(allow_dash=True),
    metavar="PATH",
    help="A file (.gz and .zst are read), or - for stdin.",
)
@click.option("--format", "format", type=IMPORTS, help="Format, where content and name do not tell.")
@click.option("--name", help="Name of the telemetry.")
@tags_option
@click.option(
    "--model",
    metavar="MODEL",
    shell_complete=completion.ids("model", files=True),
    help="The model that the data belongs to; it is checked against it.",
)
@click.option("--run", metavar="ID", help="The run whose export it is, where several have its series.")
@click.option("--grid", metavar="bins=N,size=N,unit=U[,start=T]", help="The grid, instead of inferring it.")
@click.option(
    "--missing",
    type=click.Choice(("error", "null", "zero")),
    default="error",
    show_default=True,
    help="What a bin without a row is: an error, a missing value, or 0.",
)
@click.option(
    "--duplicates",
    type=click.Choice(("error", "first", "last", "sum")),
    default="error",
    show_default=True,
    help="Which of several rows for one bin counts.",
)
@click.option("--align", type=click.Choice(("floor",)), help="Move times off the grid down onto it.")
@click.option(
    "--map", "renames", multiple=True, metavar="THEIRS=OURS", help="Take a column under another name."
)
@click.option("--wide", is_flag=True, help="A column for the time, and one for each measure of --component.")
@click.option("--component", metavar="NAME", help="Whose measures the columns of a --wide table are.")
@click.option("--delimiter", metavar="CHAR", help="What separates the columns of a CSV: ; or tab, say.")
@click.option("--decimal-comma", is_flag=True, help="Numbers of a CSV have a comma, not a point.")
@click.option("--time-format", metavar="FORMAT", help='Such as "%Y/%m/%d %H:%M"; or unix, or unix-ms.')
@click.option(
    "--timezone", metavar="ZONE", help="Of times without an offset: Europe/Berlin, or -08:00 (default: UTC)."
)
@click.option("--ignore-extra", is_flag=True, help="Leave out columns that are not known.")
@click.option(
    "--ignore-metadata", is_flag=True, help="Treat the file as external data, whatever lies beside it."
)
@click.option(
    "--validate-schema",
    "strict",
    is_flag=True,
    help="Fill and convert nothing; times must state their grid.",
)
@click.option("--errors", type=click.Path(path_type=Path), help="A CSV file for the rows that are wrong.")
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
            raise click.UsageError(f'--map takes THEIRS=OURS, such as timestamp=time_bin, not "{rename}"')
    columns = dict(rename.split("=", 1) for rename in renames)
    source = sys.stdin.buffer if data == "-" else Path(data)
    with render.progress("importing") as progress:
        catalog = service.import_data(source, tags=joined(tags), rename=columns, progress=progress, **options)
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
    for line in _recognised(catalog["recognised"], rebuilt=catalog["rebuilt"], **options):
        click.echo(line)
    if catalog["restores"] and not options["dry_run"]:
        click.echo(_restored(catalog))
    for line in _conformance(catalog["conformance"]):
        click.echo(line)
    print_warnings(catalog["warnings"])
    if not options["dry_run"]:
        model = [("run", "--model", model_of(catalog))] if catalog["restores"] else []
        print_next(service, ("show", catalog["id"]), *model)


_BY = {
    "sidecar": "its sidecar",
    "header": "its embedded header",
    "footer": "its footer",
    "bundle": "its bundle",
    "digest": "its digest",
}


def _recognised(
    found: dict[str, Any], *, rebuilt: bool, model: str | None, ignore_metadata: bool, **_: Any
) -> list[str]:
    """By what the file was recognised and as whose export, and whether a model came with it."""
    matches, lines = found["matches"], []
    if found["id"] is not None:
        what = f"the series of {found['id']}" if found["by"] == "digest" else f"the export of {found['id']}"
        lines.append(f"recognised by {_BY[found['by']]}: {what}")
    elif matches:
        ids = _few([each["id"] for each in matches])
        lines.append(f"recognised by its digest: the series of {ids}; --run ID says whose export it is")
    elif ignore_metadata:
        lines.append("not recognised: --ignore-metadata takes it as external data")
    else:
        lines.append("not recognised: it brings no metadata, and nothing here has these series")
    kinds = len({each["model_hash"] for each in matches})
    if rebuilt:
        whose = "the model came back with it" if model is None else f"it fits the model {model}"
        lines.append(f"{render.tick(True)} {whose}; its graph was computed again")
    elif found["id"] is not None:
        lines.append(f"no model came along: {found['id']} has none")
    elif kinds > 1:
        lines.append(f"no model came along: these are of {kinds:,} models, and the file does not say which")
    else:
        lines.append("no model came along; --model MODEL checks the data against one")
    return lines


def _restored(catalog: dict[str, Any]) -> str:
    """What became of the model artifact that a bundle brings."""
    here = model_of(catalog)
    id, _, version = catalog["restores"].rpartition("@")
    if id == catalog["model_id"]:
        there = "" if here == catalog["restores"] else f", {version} where it comes from"
        return f"{render.tick(True)} the model is here as {here}{there}"
    return f"note: {id} is another model here and was left as it is; the bundle's is {here}"


def _notes(report: dict[str, Any]) -> list[str]:
    """What import had to infer, fill in, merge or move."""
    notes = []
    if report["grid"] == "inferred":
        notes.append("the grid was inferred from the times; --grid says it instead")
    for theirs, ours in report["read"].get("map", {}).items():
        if theirs == ours:
            continue
        notes.append(f"the column {theirs} was taken as {ours}")
    if report["read"].get("assumed_utc"):
        notes.append("times without an offset were taken as UTC; --timezone says another zone")
    if report["read"].get("open_end"):
        notes.append("the last line does not end with a line break; it was taken as complete")
    if report["filled"]:
        notes.append(f"{texts.count(report['filled'], 'gap')} filled: --missing {report['missing']}")
    if report["merged"]:
        notes.append(
            f"{texts.count(report['merged'], 'duplicate')} merged: --duplicates {report['duplicates']}"
        )
    if report["moved"]:
        notes.append(f"{texts.count(report['moved'], 'time')} moved onto the grid: --align {report['align']}")
    return notes


def _conformance(report: dict[str, Any] | None) -> list[str]:
    if report is None:
        return []
    series = report["series"]
    within = {(key["component"], key["measure"]) for key in report["within"]}
    off = [e for e in series if not e["equal"] and (e["component"], e["measure"]) not in within]
    derived = texts.count(len(series), "derived series")
    lines = [f"{render.tick(report['ok'])} {len(series) - len(off):,} of {derived} equal when computed again"]
    if within:
        told = texts.count(len(within), "series")
        lines.append(f"    {told} of an earlier engine: equal within 1e-9 of their largest value")
    lines += [f"    {entry['component']}.{entry['measure']}: {texts.apart(entry)}" for entry in off[:20]]
    if len(off) > 20:
        lines.append(f"    ... and {len(off) - 20:,} more (--json shows all)")
    absent = [f"{key['component']}.{key['measure']}" for key in report["absent"]]
    if absent:
        lines.append(f"    not in the data: {_few(absent)}")
    return lines + [f"    {warning}; values are not converted" for warning in report["units"]]


@click.command("test-loop", cls=Command, epilog="Example: flowtime test-loop --model baseline-v1")
@_model
@click.option("--format", "formats", type=Words(), default="all", show_default=True, help="Formats, or all.")
@click.option(
    "--seed",
    type=Count(0, 2**63 - 1),
    help="Seed of sampled nodes, before the document's.",
)
@click.option("--samples", type=Count(), help="Verify a run of so many samples.")
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
    with render.judging(report["ok"]):
        if as_json:
            render.echo_json(report)
            return
        click.echo(verdict(report))
        render.notes(report)


def verdict(report: dict[str, Any]) -> str:
    """The table of ticks, a column for each format, then what failed and where."""
    formats = report["formats"]
    checks = list(dict.fromkeys(check for entry in formats.values() for check in entry["checks"]))
    rows = [
        (
            check.replace("_", " "),
            *(
                render.tick(e["checks"][check]) if check in e["checks"] else texts.NONE
                for e in formats.values()
            ),
        )
        for check in checks
    ]
    lines = [render.table(("verified", *formats), rows)]
    for name, entry in formats.items():
        lines += [f"{render.tick(False)} {name}: {problem}" for problem in entry["problems"]]
    closed = "closed" if report["ok"] else "not closed"
    model = model_of(report)
    subject = f"{model} → {report['run_id']}" if report["kept"] else model
    note = [] if report["kept"] else [render.dim("the run for it was not kept; --keep keeps it")]
    return "\n".join([*lines, *note, f"{render.tick(report['ok'])} the loop is {closed}: {subject}"])


@click.command("explain", cls=Command, epilog="Example: flowtime explain baseline-v1")
@_model
@click.option(
    "--wat",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the program that the model is compiled to, as WebAssembly text.",
)
@registry_command("--artifacts", "--out")
def explain_command(service: Flowtime, as_json: bool, model: str, wat: Path | None) -> None:
    """Show how a model is computed: steps, dependencies, feedback groups, and its program in outline."""
    plan = service.explain(model, wat)
    if as_json:
        render.echo_json(plan["plan"])
    else:
        click.echo(plan["text"])


commands: dict[str, click.Command] = {
    "run": run_command,
    "export": export_command,
    "import": import_command,
    "test-loop": test_loop_command,
    "explain": explain_command,
}
