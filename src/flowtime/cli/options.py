"""Options that many commands share, and the values they take."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from flowtime.cli import completion, render
from flowtime.errors import FlowtimeError, InvalidInput
from flowtime.service import Flowtime, moment
from flowtime.settings import load
from flowtime.wording import COMMAND, command

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def registry_command(
    *names: str, reads: bool = False, makes: bool = True
) -> Callable[[F], Callable[..., Any]]:
    """Adds the registry option under `names`, `--json` and `--debug`; the command gets a Flowtime first.

    One that only `reads` ends at once where there is no registry. Where one that `makes` things has made the
    registry as well, it says where.
    """

    def decorate(function: F) -> Callable[..., Any]:
        @click.option(
            "artifacts",
            *names,
            metavar="ROOT",
            help="Registry: a folder or a bucket's URL (default: ./artifacts).",
            default=None,
        )
        @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
        @click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback on errors.")
        @functools.wraps(function)
        def run(*args: Any, artifacts: str | None, **values: Any) -> Any:
            service = Flowtime(load({"artifacts": artifacts}), render.reading())
            with words_of(service):
                if reads:
                    service.hold_existing()
                new = makes and not service.exists()
                result = function(service, *args, **values)
                if new and service.exists():
                    click.echo(f"new registry: {service.location}", err=True)
                return result

        return run

    return decorate


def command_line(service: Flowtime, *words: str) -> str:
    """A command of flowtime to paste into a shell, which works on the same registry as this one."""
    return command(*words, registry=_named(service))


def print_next(service: Flowtime, *commands: tuple[str, ...]) -> None:
    """The commands that are likely to come next, each by its words."""
    for i, words in enumerate(commands):
        click.echo(render.dim("next: " if i == 0 else "      ") + command_line(service, *words))


@contextmanager
def words_of(service: Flowtime) -> Iterator[None]:
    """Within it errors speak of flags and commands, and these name the registry of the service."""
    try:
        yield
    except FlowtimeError as error:
        raise error.worded(replace(COMMAND, registry=_named(service))) from error


def _named(service: Flowtime) -> str | None:
    """The registry that the next command has to name; None where that is the default."""
    settings = service.settings
    return None if settings.origins["artifacts"] == "default" else settings.artifacts


class Command(click.Command):
    """A command of which a shell also completes the operand where no option is begun."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What could come next."""
        found = super().shell_complete(ctx, incomplete)
        free = [
            each for each in self.params if isinstance(each, Operand) and not ctx.params.get(str(each.name))
        ]
        return [*free[0].shell_complete(ctx, incomplete), *found] if free and incomplete[:1] != "-" else found


class Operand(click.Option):
    """An option that may be given without its name, by the first word that nothing else takes."""

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Its value, and the words that are left for others."""
        name = str(self.name)
        if args and name not in opts:
            opts, args = {**opts, name: args[0]}, args[1:]
        return super().handle_parse_result(ctx, opts, args)

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Its place among the words of the command."""
        return [self.make_metavar(ctx) if self.required else f"[{self.make_metavar(ctx)}]"]


class Spelled(click.ParamType[Any]):
    """A value that help shows by an example or a list, as it is written."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The name as it is; click would write it in capitals."""
        return self.name


class Count(Spelled):
    """A whole number from `least` on, up to `most` where that is given."""

    name = "N"

    def __init__(self, least: int = 1, most: int | None = None) -> None:
        self.least = least
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        try:
            number = int(value)
        except ValueError:
            self.fail(f'"{value}" is no whole number', param, ctx)
        if number < self.least or (self.most is not None and number > self.most):
            allowed = f"{self.least:,} or more" if self.most is None else f"{self.least:,} to {self.most:,}"
            self.fail(f"{number:,} is not allowed; {allowed} is", param, ctx)
        return number


class Words(Spelled):
    """Words separated by commas."""

    name = "a,b"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The words, each without space around it."""
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip() for word in value.split(",") if word.strip())
        if not words:
            self.fail("names nothing; give words separated by commas", param, ctx)
        return words


class Ago(Spelled):
    """A span back from now: 30m, 1h, 7d, 2w."""

    name = "7d"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant that far back."""
        if isinstance(value, datetime):
            return value
        count, unit = value[:-1], value[-1:]
        if unit not in _UNITS or not count.isdecimal() or len(count) > 6:
            self.fail(f'"{value}" is no span; write a number and m, h, d or w, such as 7d', param, ctx)
        try:
            return datetime.now(UTC) - timedelta(**{_UNITS[unit]: int(count)})
        except OverflowError:
            self.fail(f'"{value}" reaches before the year 1', param, ctx)


class Moment(Spelled):
    """An ISO 8601 date or instant; without an offset it is UTC. A date as the end includes its whole day."""

    name = "2025-09-01"

    def __init__(self, *, end: bool = False) -> None:
        self.end = end

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant, with its time zone."""
        if isinstance(value, datetime):
            return value
        try:
            return moment(value, end=self.end)
        except InvalidInput as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


class Bound(Spelled):
    """How far off a series may be: 5%, 0.05, abs:5 or PATTERN=5%."""

    name = "[PATTERN=]5%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it was given; the service reads it."""
        try:
            Flowtime.check_threshold([value])
        except InvalidInput as error:
            self.fail(error.message, param, ctx)
        return str(value)


def reference(function: F) -> F:
    """`ID` or `--id ID`, of one artifact."""
    option = click.option(
        "--id",
        "ref",
        cls=Operand,
        required=True,
        metavar="ID",
        shell_complete=completion.ids(),
        help="An id, a name or the beginning of an id.",
    )
    return option(function)


def tags_option(function: F) -> F:
    """`--tags a,b`, given once or repeatedly."""
    option = click.option(
        "--tags", type=Words(), multiple=True, help="Tags of what is made, separated by commas."
    )
    return option(function)


def joined(groups: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """The words of a repeated option, in order."""
    return tuple(word for group in groups for word in group)
