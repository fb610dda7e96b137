"""`flowtime serve`: the HTTP API and the pages."""

from __future__ import annotations

import gc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import click

from flowtime import texts
from flowtime.cli import render
from flowtime.cli.options import Command, Count, command_line, registry_command
from flowtime.errors import Unavailable
from flowtime.service import Flowtime

T = TypeVar("T")


@click.command("serve", cls=Command, epilog="Example: flowtime serve --port 8765")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=Count(0, 65_535),
    help="0: any free one.",
)
@click.option(
    "--auth", type=click.Path(path_type=Path), help="TOML file of tokens and issuers: who may do what."
)
@click.option(
    "--root-path", default="", metavar="/PATH", help="The path under which a proxy passes requests on."
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which people reach it; repeatable.",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy whose word on who calls (X-Forwarded-For and -Proto) is believed; repeatable.",
)
@click.option("--workers", default=1, show_default=True, type=Count(1, 64), help="Processes.")
@click.option("--access-log", is_flag=True, help="Write a line of JSON to stderr for every request.")
@registry_command("--artifacts", "--out", makes=False)
def serve_command(
    service: Flowtime,
    as_json: bool,
    host: str,
    port: int,
    auth: Path | None,
    root_path: str,
    hosts: tuple[str, ...],
    proxies: tuple[str, ...],
    workers: int,
    access_log: bool,
) -> None:
    """Serve the HTTP API and the pages, for this machine alone unless --host and --auth say otherwise."""

    # On an open server everybody works as its user, and sees all.
    alone, total = (0, 0) if auth is None else _unless_it_is_away(service.hidden, (0, 0))

    def ready(url: str) -> None:
        if as_json:
            render.echo_json({"url": url, "only_owner_sees": alone})
        else:
            lines = [f"flowtime is at {url}  (Ctrl-C stops it)"]
            if alone:
                seen = f"only their owners can see {alone:,} of {texts.count(total, 'artifact')}"
                share = command_line(service, "edit", "--all-mine", "--visibility", "public")
                lines += [f"{seen}; share yours:", f"  {share}"]
            click.echo("\n".join(lines))
        if not _unless_it_is_away(service.exists, True):
            click.echo(
                f"there is no registry at {service.location} yet; the first model, run or import makes it",
                err=True,
            )

    # The web stack is imported for this command alone, not for a list of commands.
    serving = import_module("flowtime.api.serving")
    # A server lives long: what the start of a command put off is done from here on, but not for modules.
    gc.freeze()
    gc.set_threshold(700, 10, 10)
    path = "/" + root_path.strip("/") if root_path else ""
    config = serving.Config(
        service.settings, auth=auth, root_path=path, hosts=hosts, proxies=proxies, access_log=access_log
    )
    serving.serve(config, host, port, workers, ready, application="flowtime.web.app:application")


def _unless_it_is_away(ask: Callable[[], T], otherwise: T) -> T:
    """What the registry answers; where it does not, the server starts all the same, and /healthz says why."""
    try:
        return ask()
    except Unavailable:
        return otherwise


commands: dict[str, click.Command] = {"serve": serve_command}
