"""`flowtime token`: who may use a server, as tokens in its access file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from flowtime.cli import render
from flowtime.cli.options import Ago

F = TypeVar("F", bound=Callable[..., Any])


def access_command(function: F) -> Callable[..., Any]:
    """Adds `--auth`, `--json` and `--debug`; the command gets the module of the access file first."""

    @click.option(
        "--auth", "path", required=True, type=click.Path(path_type=Path), help="The access file, as of serve."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback on errors.")
    @functools.wraps(function)
    def run(*args: Any, **values: Any) -> Any:
        # The hashing of secrets is imported for these commands alone, not for a list of commands.
        return function(import_module("flowtime.api.access_file"), *args, **values)

    return run


class Span(Ago):
    """A span from now on: 12h, 90d, 52w."""

    name = "90d"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The length of the span."""
        if isinstance(value, timedelta):
            return value
        span = datetime.now(UTC) - super().convert(value, param, ctx)
        if span < timedelta(seconds=1):
            self.fail(f'"{value}" is over at once', param, ctx)
        return timedelta(seconds=round(span.total_seconds()))


@click.group(
    "token",
    cls=render.CommandGroup,
    epilog="Example: flowtime token new --auth access.toml --user ada --role writer",
)
def token_command() -> None:
    """Say who may use a server: make, list and revoke tokens."""


@token_command.command("new", epilog="Example: flowtime token new --auth access.toml --user ada --team ops")
@click.option("--user", required=True, metavar="NAME", help="Who it is for; owns what is made with it.")
@click.option("--team", "teams", multiple=True, metavar="NAME", help="A team of the user; repeatable.")
@click.option(
    "--role",
    type=click.Choice(["reader", "writer", "admin"]),
    default="writer",
    show_default=True,
    help="A reader looks, a writer also makes and changes, an admin sees and does everything.",
)
@click.option("--expires", type=Span(), help="How long it holds; without it until it is revoked.")
@access_command
def new_command(
    access_file: Any,
    as_json: bool,
    path: Path,
    user: str,
    teams: tuple[str, ...],
    role: str,
    expires: timedelta | None,
) -> None:
    """Make a token, which is shown once; the file keeps a hash of it."""
    token, text = access_file.add(path, user, teams=teams, role=role, lifetime=expires)
    if as_json:
        render.echo_json({**token.to_json(), "token": text})
        return
    click.echo(text)
    click.echo(f"Keep it now: {path} holds no more than its hash. Its id is {token.id}.", err=True)


@token_command.command("list", epilog="Example: flowtime token list --auth access.toml")
@access_command
def list_command(access_file: Any, as_json: bool, path: Path) -> None:
    """List the tokens, without their secrets."""
    tokens = [token.to_json() for token in access_file.read(path).tokens.values()]
    if as_json:
        render.echo_json({"tokens": tokens})
        return
    rows = [
        (each["id"], each["user"], ", ".join(each["teams"]), each["role"], each["expires_utc"] or "never")
        for each in tokens
    ]
    click.echo(render.table(("id", "user", "teams", "role", "expires"), rows))


@token_command.command("revoke", epilog="Example: flowtime token revoke --auth access.toml k3v9q2ma7x0d")
@click.argument("id")
@access_command
def revoke_command(access_file: Any, as_json: bool, path: Path, id: str) -> None:
    """Revoke a token; a running server refuses it from its next request on."""
    token = access_file.revoke(path, id)
    if as_json:
        render.echo_json({**token.to_json(), "revoked": True})
    else:
        click.echo(f"revoked {token.id} of {token.user}")


commands: dict[str, click.Command] = {"token": token_command}
