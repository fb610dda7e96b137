"""What commands print: tables that fit the terminal, numbers, sizes, colour only on a terminal."""

from __future__ import annotations

import codecs
import itertools
import json
import os
import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from flowtime import texts
from flowtime.errors import EXIT_MISMATCH, FlowtimeError, did_you_mean

SHOWN = 20
"""How many problems the terminal lists; JSON has them all, up to the cap of what raised them."""


_LEAST = 4
"""The fewest columns of a terminal to which a column of a table gives way."""
LONG = 40
"""The most rows of a table that a terminal shows unasked."""


class CommandGroup(click.Group):
    """Commands whose one-line descriptions are listed whole, and of which an unknown one is guessed."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names; raises UsageError."""
        known = self.list_commands(ctx)
        if args[0] not in known:
            guess = did_you_mean(args[0], known) or f"there are: {', '.join(known)}"
            raise click.UsageError(f'there is no command "{args[0]}"; {guess}', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in `--help`."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(limit=200)) for name, each in found if each])


@contextmanager
def judging(ok: bool) -> Iterator[None]:
    """Within it a verdict is printed; where that is bad, the command ends with exit code 10, also when nobody
    reads to its end, as in `| head`.
    """
    try:
        yield
    except BrokenPipeError:
        if ok:
            raise
        print_nowhere()
    if not ok:
        sys.exit(EXIT_MISMATCH)


def print_nowhere() -> None:
    """Whoever read the output has gone: what is still to be printed is not."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def echo_json(value: object) -> None:
    """`value` as indented JSON on stdout, escaped where that is not UTF-8."""
    utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    click.echo(json.dumps(value, indent=2, ensure_ascii=not utf8))


def notes(report: dict[str, Any]) -> None:
    """What a report says of how things were found or made, on stderr."""
    for note in report["notes"]:
        click.echo(f"note: {note}", err=True)


def heading(text: str) -> str:
    """A heading, bold on a terminal."""
    return click.style(text, bold=True)


def dim(text: str) -> str:
    """Text of less weight."""
    return click.style(text, dim=True)


def tick(ok: bool) -> str:
    """A mark of success or failure that needs no colour to be told apart."""
    return click.style("✓", fg="green") if ok else click.style("✗", fg="red", bold=True)


def width(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    plain = click.unstyle(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in plain
    )


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    whole: Sequence[int] = (0,),
    wrap: bool = False,
) -> str:
    """Rows under a header, `right` naming the right-aligned columns.

    On a terminal the widest column gives way until the lines fit; it is cut, or with `wrap` goes on in the
    next line. The `whole` ones, ids and names that other commands take, never give way: rather the terminal
    breaks the line. Elsewhere nothing is cut.
    """
    widths = [max(width(row[i]) for row in (header, *rows)) for i in range(len(header))]
    if sys.stdout.isatty():
        spare = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
        giving = [i for i in range(len(widths)) if i not in whole]
        while sum(widths) > spare and giving and max(widths[i] for i in giving) > _LEAST:
            widths[max(giving, key=lambda i: widths[i])] -= 1
    lines = []
    for row in (header, *rows):
        split = [_wrapped(cell, w) if wrap else [cell] for cell, w in zip(row, widths, strict=True)]
        for part in itertools.zip_longest(*split, fillvalue=""):
            cells = [
                _fitted(cell, w, i in right) for i, (cell, w) in enumerate(zip(part, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
    lines[0] = dim(lines[0])
    return "\n".join(lines)


def _wrapped(text: str, columns: int) -> list[str]:
    return textwrap.wrap(text, columns) if width(text) > columns else [text]


def paragraph(text: str) -> str:
    """Running text, broken into lines on a terminal."""
    return textwrap.fill(text, min(shutil.get_terminal_size().columns, 100)) if sys.stdout.isatty() else text


def _fitted(text: str, columns: int, right: bool) -> str:
    if width(text) > columns:
        text = click.unstyle(text)
        while width(text) > columns - 1:
            text = text[:-1]
        text += "…"
    space = " " * (columns - width(text))
    return space + text if right else text + space


def fits(rows: int) -> bool:
    """Whether a table of so many rows is shown whole: anywhere but on a terminal it is."""
    return rows <= LONG or not sys.stdout.isatty()


def by_component(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Series with those of a component together, else in their order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault(entry["component"], []).append(entry)
    return [entry for group in groups.values() for entry in group]


def grouped(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """On a terminal, rows with their first column only where it changes; elsewhere all as they are."""
    if not sys.stdout.isatty():
        return list(rows)
    firsts = [None, *(row[0] for row in rows)]
    return [("" if row[0] == before else row[0], *row[1:]) for row, before in zip(rows, firsts, strict=False)]


def value(given: object) -> str:
    """A parameter's value as `--set` takes it."""
    if isinstance(given, list):
        return ", ".join(value(item) for item in given)
    return str(given).lower() if isinstance(given, bool) else str(given)


def seconds(value: float) -> str:
    """A duration for people."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def grid(document: dict[str, Any]) -> str:
    """A grid for people: `24 bins of 1 hour from 2025-01-01T00:00:00Z`."""
    size, unit = document["binSize"], document["binUnit"]
    length = f"{size:,} {unit if size != 1 else unit.removesuffix('s')}"
    start = f" from {document['start']}" if "start" in document else ""
    return f"{texts.count(document['bins'], 'bin')} of {length}{start}"


def error(problem: FlowtimeError) -> str:
    """An error as the terminal shows it."""
    lines = [click.style("error", fg="red", bold=True) + f" {problem.code}: {problem.message}"]
    if problem.where:
        lines.append(dim("  at ") + problem.where)
    for one in problem.errors[:SHOWN]:
        space = [""] if one.excerpt else []
        lines += space + ["  " + line for line in str(one).splitlines()]
    if problem.count > SHOWN:
        lines.append(
            f"  ... and {problem.count - SHOWN:,} more; --json lists {len(problem.errors):,} of them"
        )
    if problem.hint:
        lines.append(click.style("  hint: ", fg="cyan") + problem.hint)
    return "\n".join(lines)


PATIENCE = 1.0
"""Seconds that nothing is said of work that goes on."""
PAUSE = 0.1
"""Seconds between two drawings of its progress."""


@contextmanager
def progress(doing: str, unit: str = "row") -> Iterator[Callable[[int, float | None], None] | None]:
    """What to tell of the rows done and their share of all, drawn on stderr; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    began = drawn = time.monotonic()
    shown = False

    def tell(count: int, share: float | None) -> None:
        nonlocal drawn, shown
        now = time.monotonic()
        if now - began < PATIENCE or now - drawn < PAUSE:
            return
        drawn, shown = now, True
        done = "" if share is None else f"  {_bar(share)} {share:4.0%}"
        line = f"{doing}{done}  {texts.count(count, unit)}  {count / (now - began):,.0f} {unit}s/s"
        click.echo(
            f"\r\x1b[K{_fitted(line, shutil.get_terminal_size().columns - 1, right=False)}",
            nl=False,
            err=True,
        )

    try:
        yield tell
    finally:
        if shown:
            click.echo("\r\x1b[K", nl=False, err=True)


class Reading:
    """Draws how many artifacts were read of how many, for readings that nobody can foresee the length of."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._drawn = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Draws a line once it takes long, and wipes it at the end."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        if done >= total:
            if self._drawn:
                click.echo("\r\x1b[K", nl=False, err=True)
            self._began, self._drawn = None, 0.0
        elif now - self._began >= PATIENCE and now - self._drawn >= PAUSE:
            self._drawn = now
            share = done / total
            line = f"reading  {_bar(share)} {share:4.0%}  {done:,} of {texts.count(total, 'artifact')}"
            click.echo(f"\r\x1b[K{line}", nl=False, err=True)


def reading() -> Reading | None:
    """What to tell of artifacts that are read; None where nobody watches."""
    return Reading() if sys.stderr.isatty() else None


def _bar(share: float, columns: int = 20) -> str:
    full = int(min(max(share, 0.0), 1.0) * columns)
    return "█" * full + "░" * (columns - full)
