"""Commands over what the registry holds: find, look at, label, remove, index."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, cast

import click

from flowtime import texts
from flowtime.cli import completion, render
from flowtime.cli.metrics import metrics_table
from flowtime.cli.options import (
    Ago,
    Command,
    Count,
    Moment,
    Operand,
    Spelled,
    Words,
    command_line,
    reference,
    registry_command,
)
from flowtime.service import SORTS, Flowtime
from flowtime.service.options import Edits

F = TypeVar("F", bound=Callable[..., Any])

KINDS = ("model", "run", "telemetry")


class Kinds(Spelled):
    """Kinds of artifacts, separated by commas or bars; `all` is every kind."""

    name = "run|model|telemetry|all"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The kinds; none for all."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.replace("|", ",").split(",")]
        for word in words:
            if word not in (*KINDS, "all"):
                self.fail(f'"{word}" is no kind; run, model, telemetry or all', param, ctx)
        return () if "all" in words else tuple(words)


def filters(function: F) -> F:
    """The options that narrow down a list of artifacts."""
    for option in reversed(
        (
            click.option("--kind", "kinds", type=Kinds(), default="all", help="Kinds to show."),
            click.option(
                "--tag", "tags", type=Words(), multiple=True, help="a,b: any of them; repeated: all."
            ),
            click.option("--owner", help="Only this owner's."),
            click.option("--starred", is_flag=True, help="Only those with a star."),
            click.option(
                "--where",
                multiple=True,
                metavar="CONDITION",
                help='On a parameter or metric: "peak_wait <= 10", workers=8; repeated: all.',
            ),
            click.option(
                "--columns",
                type=Words(),
                default=(),
                metavar="NAMES",
                help="Parameters and metrics to show: workers,peak_wait.",
            ),
            click.option(
                "--last", "last", type=Ago(), help="Made within this span back from now: 30m, 1h, 7d, 2w."
            ),
            click.option(
                "--from", "since", type=Moment(), help="Made at or after this; UTC, unless it has an offset."
            ),
            click.option(
                "--to", "until", type=Moment(end=True), help="Made up to this, a date's whole day included."
            ),
            click.option(
                "--page",
                type=Count(),
                default=1,
                show_default=True,
                help="Which page.",
            ),
            click.option(
                "--size",
                "--limit",
                "size",
                type=Count(1, 1000),
                default=20,
                show_default=True,
                help="Artifacts on a page.",
            ),
        )
    ):
        function = option(function)
    return function


def _print_page(page: dict[str, Any], what: str) -> None:
    items = page["artifacts"]
    if not items:
        click.echo(f"no artifacts{what}" + (f"; {page['hint']}" if "hint" in page else ""))
        return
    columns = tuple(items[0].get("columns", ()))
    rows = [
        (
            ("★ " if item["star"] else "") + item["id"],
            item["kind"],
            item["name"],
            *(texts.number(item["columns"][name]) for name in columns),
            texts.ago(item["created_utc"]),
            ", ".join(item["tags"]),
        )
        for item in items
    ]
    right = range(3, 3 + len(columns))
    click.echo(render.table(("id", "kind", "name", *columns, "made", "tags"), rows, right=right))
    if "hint" in page:
        click.echo(f"note: {page['hint']}", err=True)
    shown = f"{len(items):,} of {texts.count(page['total'], 'artifact')}"
    pages = -(-page["total"] // page["size"])
    more = f" · page {page['page']} of {pages}" if pages > 1 else ""
    click.echo(render.dim(shown + more))


@click.command("list", cls=Command, epilog="Example: flowtime list --kind run --tag baseline --last 7d")
@filters
@click.option(
    "--query",
    "text",
    help="Words that begin a word of the id, name, description, tags, node ids, template, owner or "
    "parameters.",
)
@click.option("--sort", type=click.Choice(tuple(SORTS)), default="created_desc", show_default=True)
@click.option("--trash", is_flag=True, help="What was deleted and can be restored, without other filters.")
@registry_command("--artifacts", "--out", reads=True)
def list_command(
    service: Flowtime,
    as_json: bool,
    last: datetime | None,
    since: datetime | None,
    trash: bool,
    **query: Any,
) -> None:
    """List artifacts, newest first."""
    if trash:
        if any(_narrowed(query, last, since)):
            raise click.UsageError("--trash lists all that was deleted; it takes no filters")
        _print_trash(service, as_json)
        return
    page = service.find(since=max(filter(None, (last, since)), default=None), **query)
    if as_json:
        render.echo_json(page)
    else:
        _print_page(
            page, " here yet; make one: flowtime demo" if not any(_narrowed(query, last, since)) else " match"
        )


def _print_trash(service: Flowtime, as_json: bool) -> None:
    page = service.trash()
    if as_json:
        render.echo_json(page)
        return
    rows = [
        (
            item["id"],
            item["kind"],
            item.get("name", ""),
            texts.ago(item["created_utc"]) if "created_utc" in item else "",
        )
        for item in page["artifacts"]
    ]
    if rows:
        click.echo(render.table(("id", "kind", "name", "made"), rows))
        back, away = command_line(service, "restore", "ID"), command_line(service, "purge")
        click.echo(render.dim(f"bring one back: {back} · remove all for good: {away}"))
    else:
        click.echo("the trash is empty")


def _narrowed(query: dict[str, Any], *spans: object) -> tuple[object, ...]:
    return (
        query["kinds"],
        query["tags"],
        query["owner"],
        query["starred"],
        query["where"],
        query["text"],
        query["until"],
        query["page"] > 1,
        *spans,
    )


@click.command("search", cls=Command, epilog="Example: flowtime search --query checkout")
@click.option(
    "--query",
    "text",
    cls=Operand,
    required=True,
    metavar="TEXT",
    help="Words; each must begin a word of the artifact's texts.",
)
@filters
@registry_command("--artifacts", "--out", reads=True)
def search_command(
    service: Flowtime, as_json: bool, last: datetime | None, since: datetime | None, **query: Any
) -> None:
    """Search ids, names, descriptions, tags, node ids, templates, owners and parameters; best match first."""
    page = service.find(since=max(filter(None, (last, since)), default=None), ranked=True, **query)
    if as_json:
        render.echo_json(page)
    else:
        asked = query["text"]
        _print_page(page, f' match "{asked}"')


@click.command("show", cls=Command, epilog="Example: flowtime show baseline-v1")
@reference
@registry_command("--artifacts", "--out", reads=True)
def show_command(service: Flowtime, as_json: bool, ref: str) -> None:
    """Show one artifact, by id, name or the beginning of an id."""
    catalog = service.show(ref)
    if as_json:
        render.echo_json(catalog)
        return
    for line in _described(catalog):
        click.echo(line)
    render.notes(catalog)


def _described(catalog: dict[str, Any]) -> list[str]:
    lines = [render.heading(f"{catalog['kind']} {catalog['reference']}")]
    facts: list[tuple[str, str]] = [("name", catalog["name"] + (" ★" if catalog["star"] else ""))]
    if catalog["description"]:
        facts.append(("description", catalog["description"]))
    facts += [
        ("made", f"{catalog['created_utc']} ({texts.ago(catalog['created_utc'])}), {catalog['source']}"),
        ("owner", f"{catalog['owner']} · {catalog['visibility']}"),
        ("tags", ", ".join(catalog["tags"]) or texts.NONE),
    ]
    if catalog["grid"]:
        facts.append(("grid", render.grid(catalog["grid"])))
    if catalog.get("parameters"):
        values = (f"{name} = {texts.number(value)}" for name, value in catalog["parameters"].items())
        facts.append(("parameters", ", ".join(values)))
    if data := catalog["data"]:
        facts.append(("data", f"{data['series']:,} series, {texts.count(data['rows'], 'row')}"))
        facts.append(("digest", data["digest"]))
    if catalog["capabilities"]:
        facts.append(("can", ", ".join(catalog["capabilities"])))
    for relation, relatives in (("made from", "parents"), ("used by", "children")):
        for relative in catalog["lineage"][relatives]:
            facts.append((relation, "  " * (relative["depth"] - 1) + _relative(relative, catalog)))
    for name, loop in (catalog["loop"] or {}).items():
        facts.append(("loop", f"{name} verified {loop['verified_utc']}"))
    for content in catalog["contents"]:
        facts.append(("file", f"{catalog['folder']}/{content['name']}  {texts.size(content['bytes'])}"))
    lines += [f"  {render.dim(f'{label:<12}')}{text}" for label, text in facts]
    for warning in catalog["warnings"]:
        lines.append(f"  {click.style('warning', fg='yellow')}     {warning['code']}: {warning['message']}")
    metrics = [*catalog.get("metrics", ()), *catalog.get("other_metrics", ())]
    if metrics:
        lines += ["", metrics_table(metrics)]
    if catalog["measures"] and catalog["kind"] != "model":
        lines += ["", measures_table(catalog["measures"])]
    return lines


def _relative(relative: dict[str, Any], catalog: dict[str, Any]) -> str:
    """A relative by kind and id; a model with its version, and when that was made."""
    if not relative["kind"]:
        return f"{relative['reference']} (not here)"
    of = relative.get("made_from", catalog["reference"])
    other = f" of {of}" if relative["depth"] == 1 and of != catalog["reference"] else ""
    made = f" (made {texts.ago(relative['created_utc'])})" if relative["version"] else ""
    return f"{relative['kind']} {relative['reference']}{other}{made}"


def measures_table(measures: list[dict[str, Any]]) -> str:
    """A line for each series: its summary and a sparkline."""
    rows = [
        (
            m["component"],
            m["measure"],
            m["unit"] or "",
            *(texts.number(m["summary"][name]) for name in ("min", "mean", "max")),
            m["spark"]
            + (f"  {texts.count(missing, 'bin')} missing" if (missing := m["summary"]["missing"]) else ""),
        )
        for m in render.by_component(measures)
    ]
    header = ("component", "measure", "unit", "min", "mean", "max", "over time")
    return render.table(header, render.grouped(rows), right=(3, 4, 5), whole=(0, 1))


@click.command(
    "tag",
    cls=Command,
    epilog="Example: flowtime tag baseline-v1 +weekly -draft",
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
)
@click.argument("ref", metavar="ID", shell_complete=completion.ids())
@click.argument("changes", nargs=-1, required=True, metavar="+TAG|-TAG...", type=click.UNPROCESSED)
@registry_command("--artifacts", "--out", reads=True)
def tag_command(service: Flowtime, as_json: bool, ref: str, changes: tuple[str, ...]) -> None:
    """Add tags (+tag) to an artifact and remove others (-tag)."""
    for change in changes:
        if change[:1] not in "+-" or len(change) < 2 or change.startswith("--"):
            raise click.UsageError(f'"{change}" is neither +tag nor -tag')
    add = [change[1:] for change in changes if change[0] == "+"]
    remove = [change[1:] for change in changes if change[0] == "-"]
    catalog = service.edit(ref, add, remove)
    _changed(catalog, as_json, "tags: " + (", ".join(catalog["tags"]) or "none"))


@click.command("star", cls=Command, epilog="Example: flowtime star baseline-v1")
@reference
@click.option("--off", is_flag=True, help="Take the star away.")
@registry_command("--artifacts", "--out", reads=True)
def star_command(service: Flowtime, as_json: bool, ref: str, off: bool) -> None:
    """Mark an artifact with a star."""
    _changed(service.edit(ref, star=not off), as_json, "no star" if off else "★")


@click.command(
    "edit", cls=Command, epilog='Example: flowtime edit baseline-v1 --description "before the sale"'
)
@click.option(
    "--id",
    "ref",
    cls=Operand,
    metavar="ID",
    shell_complete=completion.ids(),
    help="An id, a name or the beginning of an id.",
)
@click.option(
    "--tag", "tags", type=Words(), multiple=True, help="All with these tags. a,b: any of them; repeated: all."
)
@click.option("--all-mine", is_flag=True, help="All that you own; with --tag those of them.")
@click.option("--name", help="New name; the id stays.")
@click.option("--description", help="New description.")
@click.option("--owner", help="New owner.")
@click.option("--team", help="The team that may read it where its visibility is team.")
@click.option("--visibility", type=click.Choice(("private", "team", "public")), help="Who may read it.")
@registry_command("--artifacts", "--out", reads=True)
def edit_command(
    service: Flowtime,
    as_json: bool,
    ref: str | None,
    tags: tuple[tuple[str, ...], ...],
    all_mine: bool,
    **changes: str | None,
) -> None:
    """Change the name, description, owner, team or visibility of one artifact, or of many at once."""
    given = cast(Edits, {key: value for key, value in changes.items() if value is not None})
    many = bool(tags) or all_mine
    if many == (ref is not None):
        raise click.UsageError("say what to edit: an ID, or many with --tag or --all-mine")
    if not given:
        raise click.UsageError(
            "nothing to change; give --name, --description, --owner, --team or --visibility"
        )
    if many and "name" in given:
        raise click.UsageError("--name goes with one ID; many artifacts do not get one name")
    if ref is not None:
        catalog = service.edit(ref, **given)
        _changed(catalog, as_json, _said(catalog, given))
        return
    page = service.edit_all(given, tags=tags, owner=service.settings.owner if all_mine else None)
    if as_json:
        render.echo_json(page)
        return
    for catalog in page["artifacts"]:
        _changed(catalog, as_json, _said(catalog, given))
    click.echo(render.dim(f"{texts.count(page['total'], 'artifact')} changed"))


def _said(catalog: dict[str, Any], given: Edits) -> str:
    return ", ".join(f"{key}: {catalog[key]}" for key in given)


def _changed(catalog: dict[str, Any], as_json: bool, what: str) -> None:
    if as_json:
        render.echo_json(catalog)
    else:
        click.echo(f"{catalog['id']}  {what}")
        render.notes(catalog)


@click.command("delete", cls=Command, epilog="Example: flowtime delete --id baseline-v1_77192a23 --confirm")
@click.option(
    "--id",
    "ref",
    cls=Operand,
    required=True,
    metavar="ID",
    shell_complete=completion.ids(),
    help="The full id, or a name that only one artifact has.",
)
@click.option("--confirm", is_flag=True, help="Really delete; without it only what would go is said.")
@click.option("--force", is_flag=True, help="Also when other artifacts were made from it.")
@registry_command("--artifacts", "--out", reads=True)
def delete_command(service: Flowtime, as_json: bool, ref: str, confirm: bool, force: bool) -> None:
    """Move an artifact to the trash."""
    report = service.delete(ref, confirm=confirm, force=force)
    if as_json:
        render.echo_json(report)
    else:
        click.echo(f"deleted {report['id']}; bring it back: {command_line(service, 'restore', report['id'])}")


@click.command("restore", cls=Command, epilog="Example: flowtime restore baseline-v1_77192a23")
@click.option(
    "--id",
    "ref",
    cls=Operand,
    required=True,
    metavar="ID",
    shell_complete=completion.ids(),
    help="The full id, or a name that only one artifact has.",
)
@registry_command("--artifacts", "--out", reads=True)
def restore_command(service: Flowtime, as_json: bool, ref: str) -> None:
    """Bring an artifact back from the trash."""
    _changed(service.restore(ref), as_json, "restored")


@click.command("purge", cls=Command, epilog="Example: flowtime purge --confirm")
@click.option("--id", "ref", cls=Operand, metavar="ID", help="Only this one, by its full id.")
@click.option("--confirm", is_flag=True, help="Really remove; this cannot be undone.")
@registry_command("--artifacts", "--out", reads=True)
def purge_command(service: Flowtime, as_json: bool, ref: str | None, confirm: bool) -> None:
    """Remove what is in the trash, all of it or one artifact, for good."""
    report = service.purge(ref, confirm=confirm)
    if as_json:
        render.echo_json(report)
    else:
        removed = f"removed {texts.count(len(report['purged']), 'artifact')} for good"
        click.echo(removed if report["purged"] else "the trash is empty")


@click.group("index", cls=render.CommandGroup, epilog="Example: flowtime index rebuild")
def index_command() -> None:
    """The index over the registry: a cache that can be rebuilt at any moment."""


@index_command.command("rebuild", epilog="Example: flowtime index rebuild")
@registry_command("--artifacts", "--out", reads=True)
def rebuild_command(service: Flowtime, as_json: bool) -> None:
    """Rebuild the index from the catalogs in storage."""
    report = service.rebuild_index()
    if as_json:
        render.echo_json(report)
        return
    click.echo(
        f"indexed {texts.count(report['artifacts'], 'artifact')} in {render.seconds(report['seconds'])}"
    )
    _print_broken(report)


@index_command.command("status", epilog="Example: flowtime index status")
@registry_command("--artifacts", "--out", reads=True)
def status_command(service: Flowtime, as_json: bool) -> None:
    """Say what the index holds, where it lies, and what in storage cannot be read."""
    status = service.index_status()
    if as_json:
        render.echo_json(status)
        return
    counts = status["artifacts"]
    click.echo(f"registry   {status['root']}")
    click.echo(f"index      {status['index'] or 'in memory'}")
    click.echo(
        f"artifacts  {texts.count(counts['model'], 'model')}, {texts.count(counts['run'], 'run')}, "
        f"{counts['telemetry']:,} telemetry; {status['trash']:,} in the trash"
    )
    _print_broken(status)


@index_command.command("verify", epilog="Example: flowtime index verify")
@registry_command("--artifacts", "--out", reads=True)
def verify_command(service: Flowtime, as_json: bool) -> None:
    """Read every artifact in full and say what is not as it was published; exit 10 where something is."""
    report = service.verify_index()
    with render.judging(report["ok"]):
        if as_json:
            render.echo_json(report)
            return
        for finding in report["findings"]:
            what = click.style(
                f"{finding['what']:<10}", fg="yellow" if finding["what"] == "foreign" else "red"
            )
            click.echo(f"{what} {finding['path']}: {finding['reason']}")
        click.echo(
            f"{render.tick(report['ok'])} {texts.count(report['artifacts'], 'artifact')}, "
            f"{texts.count(report['files'], 'file')}, {texts.size(report['bytes'])} "
            f"in {render.seconds(report['seconds'])}: "
            + ("all as published" if report["ok"] else texts.count(len(report["findings"]), "finding"))
        )


def _print_broken(report: dict[str, Any]) -> None:
    for entry in report["broken"]:
        click.echo(f"{click.style('broken', fg='red')}     {entry['path']}: {entry['reason']}")
    for entry in report["foreign"]:
        click.echo(f"{click.style('foreign', fg='yellow')}    {entry['path']}: {entry['reason']}")


commands: dict[str, click.Command] = {
    "list": list_command,
    "search": search_command,
    "show": show_command,
    "tag": tag_command,
    "star": star_command,
    "edit": edit_command,
    "delete": delete_command,
    "restore": restore_command,
    "purge": purge_command,
    "index": index_command,
}
