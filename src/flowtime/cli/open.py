"""`flowtime open`: an artifact's page in the browser, with a server started where none answers."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path
from urllib.parse import urlsplit

import click

from flowtime.cli import render
from flowtime.cli.options import Command, command_line, reference, registry_command
from flowtime.errors import Unavailable
from flowtime.service import Flowtime

_PATIENCE = 3.0
"""Seconds that a server on this machine, or near it, gets to say which registry it has."""


@click.command("open", cls=Command, epilog="Example: flowtime open --id baseline-v1 --print")
@reference
@click.option("--print", "only_print", is_flag=True, help="Only print the link; start and open nothing.")
@registry_command("--artifacts", "--out", reads=True)
def open_command(service: Flowtime, as_json: bool, ref: str, only_print: bool) -> None:
    """Open an artifact's page in the browser.

    The server is the one of the settings (FLOWTIME_SERVER) where that has this registry, else one that is
    started for it and goes on.
    """
    link = service.link(ref)
    if as_json:
        render.echo_json(link)
        return
    render.notes(link)
    if only_print:
        click.echo(link["url"])
        return
    registry, page = service.registry_id(), link["url"].removeprefix(service.settings.server)
    known = service.settings.cache / f"opened-{registry}.json"
    candidates = [service.settings.server, *_remembered(known)]
    server = next((url for url in candidates if _registry_at(url) == registry), None) or _start(
        service, known
    )
    click.echo(f"{server}{page}")
    if not webbrowser.open(f"{server}{page}"):
        click.echo("no browser could be started here; open the address in one", err=True)


def _registry_at(url: str) -> str | None:
    """The UUID of the registry that a server has; None where no flowtime answers there."""
    if urlsplit(url).scheme not in ("http", "https"):
        return None
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=_PATIENCE) as answer:  # noqa: S310 - looked at above
            found = json.load(answer).get("registry")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def _remembered(path: Path) -> list[str]:
    """The server that was started last for this registry."""
    try:
        return [str(json.loads(path.read_text(encoding="utf-8"))["url"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _start(service: Flowtime, known: Path) -> str:
    """The address of a new server for this registry, which outlives this command.

    Raises Unavailable (FT840) where none comes up.
    """
    settings = service.settings
    wanted = urlsplit(settings.server)
    ports = (
        [str(wanted.port), "0"] if wanted.hostname in ("127.0.0.1", "localhost") and wanted.port else ["0"]
    )
    said = ""
    for port in ports:
        command = [sys.executable, "-m", "flowtime", "serve", "--json", "--port", port]
        process = subprocess.Popen(  # noqa: S603 - this very program
            [*command, "--artifacts", settings.artifacts],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            start_new_session=True,
        )
        assert process.stdout is not None
        said = ""
        while not said.endswith("}\n") and (line := process.stdout.readline()):
            said += line
        process.stdout.close()
        if '"url"' in said:
            url = str(json.loads(said)["url"])
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(json.dumps({"url": url}), encoding="utf-8")
            click.echo(f"a server was started, process {process.pid}; it goes on until it is ended", err=True)
            # It is meant to outlive this command, which therefore does not wait for it.
            process.returncode = 0
            return url
        process.wait()
    raise Unavailable(
        "FT840", f"no server came up: {said.strip()[:500]}", hint=f"{command_line(service, 'serve')} says why"
    )


commands: dict[str, click.Command] = {"open": open_command}
