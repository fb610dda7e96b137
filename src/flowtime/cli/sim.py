"""Authoring: from templates to models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flowtime.cli import render
from flowtime.cli.loop import print_next
from flowtime.cli.options import joined, registry_command, tags_option
from flowtime.service import Flowtime


@click.group("sim", epilog="Example: flowtime sim list")
def sim_command() -> None:
    """Make models from templates."""


@sim_command.command("list", epilog="Example: flowtime sim list")
@registry_command("--artifacts")
def list_command(service: Flowtime, as_json: bool) -> None:
    """List the templates."""
    templates = service.templates()
    if as_json:
        render.echo_json({"templates": templates})
        return
    rows = [(t["id"], t["category"], t["title"], t["question"]) for t in templates]
    click.echo(render.table(("template", "category", "title", "the question it answers"), rows))
    print_next(service, f"flowtime sim show {templates[0]['id']}")


@sim_command.command("show", epilog="Example: flowtime sim show checkout")
@click.argument("template")
@registry_command("--artifacts")
def show_command(service: Flowtime, as_json: bool, template: str) -> None:
    """Show a template: what it answers, its parameters and scenarios."""
    entry = service.template(template)
    if as_json:
        render.echo_json(entry)
        return
    click.echo(f"{render.heading(entry['id'])}  {entry['title']}\n\n{entry['description']}\n")
    rows = [
        (
            p["name"],
            p["type"],
            str(p.get("default", "")),
            p.get("unit", ""),
            p["allowed"],
            p.get("description", ""),
        )
        for p in entry["parameters"]
    ]
    click.echo(render.table(("parameter", "type", "default", "unit", "allowed", "meaning"), rows))
    if entry["scenarios"]:
        click.echo()
        rows_of = [(s["name"], s["description"]) for s in entry["scenarios"]]
        click.echo(render.table(("scenario", "meaning"), rows_of))
    click.echo()
    print_next(service, f"flowtime sim new --template {entry['id']} --name my-{entry['id']}")


@sim_command.command(
    "new", epilog="\b\nExample: flowtime sim new --template checkout --name baseline-v1 --set retry_share=0.3"
)
@click.option("--template", required=True, help="Id of a template; flowtime sim list shows them.")
@click.option("--name", help="Name of the model (default: the template's id).")
@click.option("--set", "settings", multiple=True, metavar="K=V", help="A parameter's value; may be repeated.")
@click.option("--params", type=click.Path(path_type=Path), help="A YAML or JSON file of parameter values.")
@click.option("--scenario", help="A named set of parameter values.")
@tags_option
@click.option("--description", help="What the model is about.")
@click.option("--owner", help="Owner (default: FLOWTIME_OWNER, else the login name).")
@click.option("--visibility", type=click.Choice(("private", "team", "public")), help="Who may read it.")
@click.option("--update", metavar="ID", help="Publish as the next version of this model.")
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
        values = {key: options[key] for key in ("settings", "params", "scenario", "name")}
        report = service.write_template(template, Path(out), **values)
        if as_json:
            render.echo_json(report)
            return
        click.echo(f"wrote {report['path']}")
        print_next(service, f"flowtime run --model {report['path']}")
        return
    service = service if out is None else service.at(out)
    catalog = service.create_model(template, tags=joined(tags), **options)
    if as_json:
        render.echo_json(catalog)
        return
    click.echo(f"model {render.heading(catalog['id'])}  {render.dim(catalog['folder'])}")
    for warning in catalog["warnings"]:
        click.echo(f"{click.style('warning', fg='yellow')} {warning['message']}", err=True)
    print_next(
        service, f"flowtime run --model {catalog['id']}", f"flowtime test-loop --model {catalog['id']}"
    )


@sim_command.command("validate", epilog="Example: flowtime sim validate shop.yaml")
@click.argument("file", type=click.Path(path_type=Path))
@registry_command("--artifacts")
def validate_command(service: Flowtime, as_json: bool, file: Path) -> None:
    """Check a model file: every problem at once, with its place. Nothing is stored."""
    report = service.validate(file)
    if as_json:
        render.echo_json(report)
        return
    for warning in report["warnings"]:
        click.echo(f"{click.style('warning', fg='yellow')} {warning['message']}", err=True)
    nodes = render.plural(report["nodes"], "node")
    click.echo(f"{render.tick(True)} {file} is a sound model: {nodes}, {report['model_hash']}")


commands: dict[str, click.Command] = {"sim": sim_command}
