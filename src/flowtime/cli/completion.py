"""`flowtime completion`: what a shell needs to complete commands, options, ids and templates."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem, get_completion_class

from flowtime.cli import render
from flowtime.errors import FlowtimeError
from flowtime.service import Flowtime
from flowtime.settings import load

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

SHELLS = {
    "bash": ('eval "$(flowtime completion bash)"', "~/.bashrc"),
    "zsh": ('eval "$(flowtime completion zsh)"', "~/.zshrc, after compinit"),
    "fish": ("flowtime completion fish | source", "~/.config/fish/config.fish"),
}
"""The shells, with the line that turns completion on and the file for it."""
VARIABLE = "_FLOWTIME_COMPLETE"
"""By this variable the script of a shell asks the command what could come next."""
_MOST = 200
"""So many ids are offered; more letters lead to the others."""


def ids(*kinds: str, files: bool = False) -> Complete:
    """Completes the ids of artifacts of the kinds, of all without one; with `files` also paths."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = _found(ctx, lambda service: service.ids(incomplete, kinds, _MOST))
        return [*([CompletionItem(incomplete, type="file")] if files else []), *found]

    return complete


def templates(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes the ids of templates."""
    found = _found(ctx, lambda service: service.template_ids())
    return [item for item in found if item.value.startswith(incomplete)]


def parameters(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes the names of the parameters of the model that the line names."""
    model = ctx.params.get("model")
    if not model:
        return []
    found = _found(ctx, lambda service: [f"{each['id']}=" for each in service.parameters(model)])
    return [item for item in found if item.value.startswith(incomplete)]


def _found(ctx: click.Context, ask: Callable[[Flowtime], list[str]]) -> list[CompletionItem]:
    try:
        return [CompletionItem(id) for id in ask(Flowtime(load({"artifacts": ctx.params.get("artifacts")})))]
    except FlowtimeError:
        return []  # a line that is being typed is no place for an error


@click.command("completion", epilog="Example: flowtime completion bash")
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback on errors.")
@click.pass_context
def completion_command(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print a script by which a shell completes commands, options, ids and templates."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    script = kind(ctx.find_root().command, {}, "flowtime", VARIABLE).source()
    line, file = SHELLS[shell]
    if as_json:
        render.echo_json({"shell": shell, "script": script, "line": line, "file": file})
    else:
        click.echo(f"# To turn this on, put this line into {file}:\n#   {line}\n{script}")


commands: dict[str, click.Command] = {"completion": completion_command}
