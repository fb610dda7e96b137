"""What is printed: plain text in a pipe, tables that fit a narrow terminal."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import click
import pytest
from tests.commands import Command

from flowtime.cli.render import width

COMMANDS = (
    ("list",),
    ("search", "--query", "shop"),
    ("sim", "list"),
    ("compare", "--baseline", "shop_run", "--comparison", "shop_run"),
    ("test-loop", "--model", "shop"),
)


def on_a_terminal(folder: Path, columns: int, *words: str) -> str:
    """What a command prints on a terminal of that many columns."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "flowtime", *words],
        cwd=folder,
        env={**env, "TERM": "xterm-256color"},
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
    )
    os.close(secondary)
    said = b""
    try:
        while piece := os.read(primary, 65536):
            said += piece
    except OSError:  # how Linux ends a terminal
        pass
    finally:
        os.close(primary)
    assert process.wait(timeout=60) == 0, said.decode()
    return said.decode().replace("\r\n", "\n")


@pytest.fixture
def registry(flowtime: Any, shop: Path, tmp_path: Path) -> Path:
    """Artifacts with long and wide names."""
    flowtime("run", "--model", shop)
    flowtime("run", "--model", shop, "--name", "窓口の需要 " * 8, "--tags", "production,september,straße")
    flowtime("sim", "new", "--template", "e-commerce", "--name", "a-very-long-name-" * 6, "--tags", "ö" * 60)
    return tmp_path


@pytest.mark.parametrize("columns", [80, 60])
def test_tables_fit_the_terminal_or_the_longest_id(columns: int, registry: Path, flowtime: Any) -> None:
    found = flowtime("list", "--json").json["artifacts"]
    # An id is never cut, as other commands need it whole; beside it the other columns are narrow.
    most = max(columns, max(len(each["id"]) for each in found) + 30)
    for words in COMMANDS:
        said = on_a_terminal(registry, columns, *words)
        assert "\x1b[" in said
        # Sentences about ids may wrap; tables may not.
        widest = max(
            (line for line in said.splitlines() if " → " not in line and "next:" not in line), key=width
        )
        assert width(widest) <= most, widest


@pytest.mark.parametrize("columns", [80, 60])
def test_tables_of_a_run_and_a_template_fit_the_terminal(columns: int, registry: Path) -> None:
    for words, header in ((("show", "shop_run"), "comp"), (("sim", "show", "checkout"), "para")):
        lines = on_a_terminal(registry, columns, *words).splitlines()
        first = next(number for number, line in enumerate(lines) if click.unstyle(line).startswith(header))
        rows = itertools.takewhile(lambda line: "next:" not in line, lines[first:])
        widest = max(rows, key=width)
        assert width(widest) <= columns, widest


def test_piped_output_is_plain_and_whole(flowtime: Any, registry: Path) -> None:
    for words in (
        *COMMANDS,
        ("show", "shop_run"),
        ("sim", "show", "checkout"),
        ("index", "status"),
        ("--help",),
    ):
        done = flowtime(*words)
        assert "\x1b" not in done.stdout + done.stderr
        assert "…" not in done.stdout
    assert "a-very-long-name-" * 6 in flowtime("list").stdout
    done = flowtime("show", "nothing", code=3)
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("compare", "--baseline", "low", "--comparison", "high", "--threshold", "1%"), 10),
        (("compare", "--baseline", "low", "--comparison", "high", "--threshold", "1%", "--json"), 10),
        (("compare", "--baseline", "low", "--comparison", "low", "--threshold", "1%"), 0),
        (("show", "nothing", "--json"), 3),
        (("list",), 0),
    ],
)
def test_the_exit_code_is_the_same_where_nobody_reads_the_output(
    words: tuple[str, ...], code: int, flowtime: Any, tmp_path: Path
) -> None:
    for name, value in (("low", 1), ("high", 2)):
        model = f"grid: {{bins: 1}}\nnodes: [{{id: n, kind: const, values: [{value}]}}]\n"
        (tmp_path / f"{name}.yaml").write_text(model)
        flowtime("run", "--model", f"{name}.yaml", "--name", name)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "flowtime", *words],
        cwd=tmp_path,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (code, b"")


def test_one_row_is_counted_as_one(flowtime: Command, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("grid: {bins: 1}\nnodes: [{id: visits, kind: const, values: 5}]\n")
    assert "1 series, 1 row · " in flowtime("run", "--model", "one.yaml", "--name", "one").stdout
    assert "1 series, 1 row\n" in flowtime("show", "one").stdout
    exported = flowtime("export", "--run", "one", "--format", "csv", "--out", "one.csv").stdout
    assert exported.startswith("one.csv  1 row, ")
