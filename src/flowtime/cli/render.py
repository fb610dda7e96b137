"""What commands print: tables that fit the terminal, numbers, sizes, colour only on a terminal."""

from __future__ import annotations

import codecs
import json
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from flowtime.errors import FlowtimeError

SHOWN = 20
"""How many problems the terminal lists; JSON has them all, up to the cap of what raised them."""


def echo_json(value: object) -> None:
    """`value` as indented JSON on stdout, escaped where that is not UTF-8."""
    utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    click.echo(json.dumps(value, indent=2, ensure_ascii=not utf8))


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


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Rows under a header, `right` naming the right-aligned columns; on a terminal the widest column
    gives way until the lines fit, elsewhere nothing is cut."""
    widths = [max(width(row[i]) for row in (header, *rows)) for i in range(len(header))]
    if sys.stdout.isatty():
        spare = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
        while sum(widths) > spare and max(widths) > 4:
            widths[widths.index(max(widths))] -= 1
    lines = []
    for row in (header, *rows):
        cells = [_fitted(cell, w, i in right) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines[0] = dim(lines[0])
    return "\n".join(lines)


def _fitted(text: str, columns: int, right: bool) -> str:
    if width(text) > columns:
        text = click.unstyle(text)
        while width(text) > columns - 1:
            text = text[:-1]
        text += "…"
    space = " " * (columns - width(text))
    return space + text if right else text + space


def number(value: float | None) -> str:
    """A number for people: six significant digits, `-` where there is none."""
    if value is None:
        return "-"
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}" if abs(value) < 1e12 else f"{value:.6g}"


def percent(value: float | None) -> str:
    """A ratio as a percentage, `-` where there is none."""
    return "-" if value is None else f"{value * 100:.3g}%"


def size(count: int) -> str:
    """A count of bytes for people."""
    if count < 1000:
        return plural(count, "byte")
    power = min((len(str(count)) - 1) // 3, 4)
    return f"{count / 1000**power:.3g} {('KB', 'MB', 'GB', 'TB')[power - 1]}"


def seconds(value: float) -> str:
    """A duration for people."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], object]]:
    """Gives what is to be told of things done and things to do; a terminal shows it on stderr, in place."""
    began = time.monotonic()
    shown = 0

    def show(done: int, total: int) -> None:
        nonlocal shown
        left = seconds((time.monotonic() - began) / done * (total - done))
        line = f"{done:,} of {total:,} {what}, {left} left"
        click.echo("\r" + line.ljust(shown), err=True, nl=False)
        shown = len(line)

    try:
        yield show if sys.stderr.isatty() else lambda done, total: None
    finally:
        if shown:
            click.echo("\r" + " " * shown + "\r", err=True, nl=False)


def plural(count: int, word: str) -> str:
    """`1 run`, `2 runs`, `2 days`, `2 queries`, `0 series`."""
    if count == 1 or word.endswith("series"):
        return f"{count:,} {word}"
    soft = word.endswith("y") and word[-2] not in "aeou"
    return f"{count:,} {word[:-1]}ies" if soft else f"{count:,} {word}s"


def grid(document: dict[str, Any]) -> str:
    """A grid for people: `24 bins of 1 hour from 2025-01-01T00:00:00Z`."""
    size, unit = document["binSize"], document["binUnit"]
    length = f"{size:,} {unit if size != 1 else unit.removesuffix('s')}"
    start = f" from {document['start']}" if "start" in document else ""
    return f"{plural(document['bins'], 'bin')} of {length}{start}"


def age(created_utc: str) -> str:
    """How long ago an instant was, in its largest unit."""
    past = datetime.now(UTC) - datetime.fromisoformat(created_utc)
    elapsed = int(past.total_seconds())
    for step, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if elapsed >= step:
            return f"{plural(elapsed // step, word)} ago"
    return "just now"


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
