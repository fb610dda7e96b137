"""The `flowtime` command. Commands are imported when they are called, so that a start stays cheap."""

from __future__ import annotations

import io
import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

import click

from flowtime.cli import render
from flowtime.errors import FlowtimeError, InternalError, InvalidInput, Unavailable, did_you_mean
from flowtime.version import __version__
from flowtime.wording import COMMAND

COMMANDS = {
    "demo": "demo",
    "sim": "sim",
    "run": "loop",
    "solve": "studies",
    "sweep": "studies",
    "export": "loop",
    "import": "loop",
    "test-loop": "loop",
    "compare": "compare",
    "explain": "loop",
    "list": "artifacts",
    "search": "artifacts",
    "show": "artifacts",
    "open": "open",
    "tag": "artifacts",
    "star": "artifacts",
    "edit": "artifacts",
    "delete": "artifacts",
    "restore": "artifacts",
    "purge": "artifacts",
    "index": "artifacts",
    "serve": "serve",
    "token": "token",
    "completion": "completion",
}
"""Each command and the module of this package that holds it, in the order of `flowtime --help`."""

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after Ctrl-C and after SIGTERM, as shells give them to a process that a signal ended."""


class _Commands(render.CommandGroup):
    """Finds a command's module by its name, and what other programs' users type for `--help` and the like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        match args:
            case ["help", *words]:
                args = [*words, "--help"]
            case ["version"]:
                args = ["--version"]
            case ["validate", *words]:
                args = ["sim", "validate", *words]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"flowtime.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.commands[cmd_name]
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: flowtime demo",
)
@click.version_option(__version__, prog_name="flowtime")
def cli() -> None:
    """Model a flow, run it, export it, bring it back: the same model again, nothing lost."""


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and ends the process with its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminated)
    # NumPy would start a thread for every core, for linear algebra that nobody does here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without these characters is no reason to fail
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code in (INTERRUPTED, TERMINATED):
        click.echo("stopped; nothing half done was kept", err=True)
    # Nothing is left to undo: an interrupt from here on would only make noise.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


def _terminated(*_: object) -> NoReturn:
    raise SystemExit(TERMINATED)


def _run(words: list[str]) -> int:
    as_json, debug, stdout = "--json" in words, "--debug" in words, sys.stdout
    try:
        code = cli.main(words, prog_name="flowtime", standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as help:
        click.echo(help.format_message(), err=True)
        return help.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "flowtime"
        hint = f"{command} --help shows what it takes, and an example"
        return _report(InvalidInput("FT803", _wrong(error), where=command, hint=hint), as_json)
    except FlowtimeError as error:
        if debug:
            raise
        return _report(error, as_json)
    except SystemExit as stop:
        # click replaces the stream when whoever read it has gone, as in `| head`: what was asked for is done.
        return int(stop.code or 0) if sys.stdout is stdout else 0
    except OSError as error:
        # Errors of files that were named are translated where those are opened.
        if debug:
            raise
        hint = "check what the output goes to, and the folder for temporary files (TMPDIR)"
        why = f"cannot be written: {error.strerror or error}"
        where = error.filename or "the output or a temporary file"
        return _report(Unavailable("FT415", why, where=str(where), hint=hint), as_json)
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {error}"
        return _report(
            InternalError("FT900", what, hint="run the command again with --debug and report it"), as_json
        )
    return code if isinstance(code, int) else 0


def _wrong(error: click.UsageError) -> str:
    """What is wrong with the words of a command, in the words of all other messages."""
    match error:
        case click.MissingParameter():
            missing = [error.param]
            if error.ctx is not None:
                given = error.ctx.params
                missing += [
                    param
                    for param in error.ctx.command.params
                    if param.required and param is not error.param and given.get(str(param.name)) is None
                ]
            names = [_name(param) for param in missing if param is not None]
            return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
        case click.NoSuchOption():
            known = error.ctx.command.params if error.ctx else []
            options = [option for param in known for option in param.opts if option.startswith("--")]
            guess = did_you_mean(error.option_name, options)
            return f"there is no option {error.option_name}" + (f"; {guess}" if guess else "")
        case click.BadOptionUsage():
            return f"{error.option_name} takes a value"
        case click.BadParameter() if error.param is not None:
            return f"{_name(error.param)}: {error.message.rstrip('.')}"
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:]


def _name(param: click.Parameter) -> str:
    """An option by its longest spelling, an argument as help shows it."""
    return max(param.opts, key=len) if isinstance(param, click.Option) else str(param.metavar or param.name)


def _report(error: FlowtimeError, as_json: bool) -> int:
    error = error.worded(COMMAND)
    try:
        if as_json:
            render.echo_json({"error": error.to_json()})
        else:
            click.echo(render.error(error), err=True)
    except BrokenPipeError:
        render.print_nowhere()
    return error.exit_code
