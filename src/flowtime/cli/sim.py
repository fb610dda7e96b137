"""Authoring: from templates to models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flowtime import texts
from flowtime.cli import completion, render
from flowtime.cli.loop import print_warnings
from flowtime.cli.options import Command, Operand, joined, print_next, registry_command, tags_option, words_of
from flowtime.errors import InvalidInput
from flowtime.service import Flowtime


@click.group("sim", cls=render.CommandGroup, epilog="Example: flowtime sim list")
def sim_command() -> None:
    """Make models from templates."""


@sim_command.command("list", cls=Command, epilog="Example: flowtime sim list")
@registry_command("--artifacts")
def list_command(service: Flowtime, as_json: bool) -> None:
    """List the templates."""
    templates = service.templates()
    if as_json:
        render.echo_json({"templates": templates})
        return
    rows = [(t["category"], t["id"], t["question"]) for t in templates]
    click.echo(
        render.table(("category", "template", "the question it answers"), render.grouped(rows), whole=(0, 1))
    )
    print_next(service, ("sim", "show", templates[0]["id"]))


@sim_command.command("show", cls=Command, epilog="Example: flowtime sim show checkout")
@click.argument("template", shell_complete=completion.templates)
@registry_command("--artifacts")
def show_command(service: Flowtime, as_json: bool, template: str) -> None:
    """Show a template: what it answers, its parameters, scenarios and components."""
    entry = service.template(template)
    if as_json:
        render.echo_json(entry)
        return
    click.echo(f"{render.heading(entry['id'])}  {entry['title']} ({entry['category']})\n")
    click.echo(f"{render.paragraph(entry['description'])}\n\n{render.paragraph(entry['question'])}\n")
    rows = [
        (p["name"], p["allowed"], render.value(p["default"]), p.get("unit", ""), p["description"])
        for p in entry["parameters"]
    ]
    click.echo(render.table(("parameter", "allowed", "default", "unit", "meaning"), rows, wrap=True))
    if entry["scenarios"]:
        click.echo()
        rows_of = [(s["name"], s["description"]) for s in entry["scenarios"]]
        click.echo(render.table(("scenario", "meaning"), rows_of, wrap=True))
    click.echo()
    click.echo(_flow(entry["layers"]))
    click.echo()
    name = entry["scenarios"][0]["name"] if entry["scenarios"] else None
    new = ("sim", "new", "--template", entry["id"], "--name", f"my-{entry['id']}")
    print_next(service, new, *([(*new, "--scenario", name)] if name else []))


def _flow(layers: list[list[dict[str, Any]]]) -> str:
    """Components with the arrows that leave them, layer by layer; ↺ leads back."""
    titles = {entry["id"]: entry["title"] for layer in layers for entry in layer}
    rows = [
        (
            str(number),
            entry["title"],
            entry["kind"],
            ", ".join(
                [f"→ {titles[id]}" for id in entry["to"]] + [f"↺ {titles[id]}" for id in entry["back"]]
            ),
        )
        for number, layer in enumerate(layers, start=1)
        for entry in layer
    ]
    return render.table(("layer", "component", "kind", "leads to"), render.grouped(rows))


@sim_command.command(
    "new",
    cls=Command,
    epilog="\b\nExample: flowtime sim new --template checkout --name baseline-v1 --set retry_share=0.3",
)
@click.option(
    "--template",
    cls=Operand,
    required=True,
    metavar="TEMPLATE",
    shell_complete=completion.templates,
    help="Id of a template; flowtime sim list shows them.",
)
@click.option("--name", help="Name of the model (default: the template's id).")
@click.option("--set", "settings", multiple=True, metavar="K=V", help="A parameter's value; may be repeated.")
@click.option("--params", type=click.Path(path_type=Path), help="A YAML or JSON file of parameter values.")
@click.option("--scenario", help="A named set of parameter values.")
@tags_option
@click.option("--description", help="What the model is about.")
@click.option("--owner", help="Owner (default: FLOWTIME_OWNER, else the login name).")
@click.option("--visibility", type=click.Choice(("private", "team", "public")), help="Who may read it.")
@click.option(
    "--update",
    metavar="ID",
    shell_complete=completion.ids("model"),
    help="Publish as the next version of this model.",
)
@click.option("--out", metavar="ROOT|FILE.yaml", help="Registry, or a .yaml file to write instead.")
@registry_command("--artifacts")
def new_command(
    service: Flowtime,
    as_json: bool,
    template: str,
    tags: tuple[tuple[str, ...], ...],
    out: str | None,
    **options: Any,
) -> None:
    """Make a model from a template, as an artifact or as a plain file."""
    if out is not None and out.endswith((".yaml", ".yml")):
        labels = {"tags": joined(tags), **options}
        kept = ("tags", "description", "owner", "visibility", "update")
        given = [f"--{name}" for name in kept if labels[name]]
        if given:
            are = "is" if len(given) == 1 else "are"
            raise InvalidInput(
                "FT803",
                f"{', '.join(given)} {are} kept with an artifact, and {out} is a file",
                hint="leave out --out for an artifact; a file has tags and a description below metadata",
            )
        values = {key: options[key] for key in ("settings", "params", "scenario", "name")}
        report = service.write_template(template, Path(out), **values)
        if as_json:
            render.echo_json(report)
            return
        click.echo(f"wrote {report['path']}")
        print_next(service, ("run", "--model", report["path"]))
        return
    service = service if out is None else service.at(out)
    with words_of(service):
        catalog = service.create_model(template, tags=joined(tags), **options)
    if as_json:
        render.echo_json(catalog)
        return
    _print_model(service, catalog)
    print_next(
        service, ("run", "--model", catalog["reference"]), ("test-loop", "--model", catalog["reference"])
    )


@sim_command.command(
    "derive",
    cls=Command,
    epilog="\b\nExample: flowtime sim derive --from baseline-v1 --name faster --set payment_ms=1900",
)
@click.option(
    "--from",
    "source",
    cls=Operand,
    required=True,
    metavar="MODEL",
    shell_complete=completion.ids("model", files=True),
    help="A model's id, ID@v2, name, or a file.",
)
@click.option("--name", help="Name of the new model (default: the model's and -derived, or the scenario).")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="K=V",
    help="A template parameter's value; of a model that no template gives, the content of a node.",
)
@click.option("--params", type=click.Path(path_type=Path), help="A YAML or JSON file of such values.")
@click.option("--scenario", help="A named set of parameter values of the template.")
@tags_option
@click.option("--description", help="What the model is about.")
@click.option("--owner", help="Owner (default: FLOWTIME_OWNER, else the login name).")
@click.option("--visibility", type=click.Choice(("private", "team", "public")), help="Who may read it.")
@click.option("--update", is_flag=True, help="Publish as the next version of MODEL.")
@registry_command("--artifacts", "--out")
def derive_command(
    service: Flowtime, as_json: bool, source: str, tags: tuple[tuple[str, ...], ...], **options: Any
) -> None:
    """Make a model from a model with other values, and remember where it came from.

    A model made from a template takes the template's parameters. Of any other model, --set NAME=VALUE changes
    the value of a parameter, the values of a const node, the formula of an expr node or the distribution of
    a pmf node.
    """
    catalog = service.derive_model(source, tags=joined(tags), **options)
    if as_json:
        render.echo_json(catalog)
        return
    _print_model(service, catalog)
    parent = catalog["parents"][0]
    origin = f"{parent['id']}@v{parent['version']}"
    click.echo(f"derived from {origin}")
    print_next(
        service,
        ("run", "--model", catalog["reference"]),
        ("compare", "--baseline", origin, "--comparison", catalog["reference"]),
    )


def _print_model(service: Flowtime, catalog: dict[str, Any]) -> None:
    """The model, with its version where it has several."""
    called = catalog["id"] if len(service.versions(catalog["id"])) == 1 else catalog["reference"]
    click.echo(f"model {render.heading(called)}  {render.dim(catalog['folder'])}")
    render.notes(catalog)
    print_warnings(catalog["warnings"])


@sim_command.command("validate", cls=Command, epilog="Example: flowtime sim validate shop.yaml")
@click.argument("file", type=click.Path(path_type=Path))
@registry_command("--artifacts")
def validate_command(service: Flowtime, as_json: bool, file: Path) -> None:
    """Check a model or template file: every problem at once, with its place. Nothing is stored."""
    report = service.validate(file)
    if as_json:
        render.echo_json(report)
        return
    print_warnings(report["warnings"])
    nodes = texts.count(report["nodes"], "node")
    if report["kind"] == "model":
        click.echo(f"{render.tick(True)} {file} is a sound model: {nodes}, {report['model_hash']}")
        return
    size = f"{texts.count(report['parameters'], 'parameter')}, {nodes}"
    tried = "".join(f", {name}" for name in report["scenarios"])
    click.echo(f"{render.tick(True)} {file} is a sound template: {size}; tried with its defaults{tried}")


commands: dict[str, click.Command] = {"sim": sim_command}
