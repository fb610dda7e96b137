"""The guides, executed: their files are written, their commands run, and what they show is printed.

A code block whose first line names a file (```yaml desk.yaml) is that file. In a console block each `$` is
a command; the lines after it must be printed in this order, `...` standing for anything. A comment
`# exit code N` says how it ends.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import NoReturn

import pytest
from tests.commands import Command
from tests.servers import Servers

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(.*?)(?:  # exit code (\d+))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Line:
    """A command line of a guide, how it ends, and the lines that it shows."""

    line: str
    exit_code: int
    shown: list[str]


def steps(text: str) -> Iterator[Line | tuple[str, str]]:
    """The guide's commands and files, in order."""
    for language, name, body in BLOCK.findall(text):
        if name:
            yield name, body
        elif language == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                first, *shown = part.splitlines()
                command = COMMAND.fullmatch(first)
                assert command is not None
                yield Line(command[1], int(command[2] or 0), [line for line in shown if line])


def prints(command: Line, output: str) -> bool:
    """Whether the lines shown are printed in this order."""
    lines = iter(output.splitlines())
    patterns = [re.escape(line).replace(r"\.\.\.", ".*") for line in command.shown]
    return all(any(re.fullmatch(pattern, line.rstrip()) for line in lines) for pattern in patterns)


def follow(guide: str, folder: Path, **variables: str) -> set[str]:
    """Does what a guide says, in a folder, but for commands of programs that are not here; returns these."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONWARNINGS": "error", **variables}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    text = (DOCS / f"{guide}.md").read_text(encoding="utf-8")
    found = list(steps(text))
    assert sum(isinstance(step, Line) for step in found) == text.count("\n$ ") > 5
    missing = set()
    for step in found:
        if isinstance(step, tuple):
            path = folder / step[0]
            path.parent.mkdir(exist_ok=True)
            path.write_text(step[1], encoding="utf-8")
            continue
        program, *words = step.line.split()
        if program == "export":
            environment |= dict(word.split("=", 1) for word in words)
            continue
        if which(program, path=environment["PATH"]) is None:
            missing.add(program)
            continue
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", step.line],
            cwd=folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == step.exit_code, f"{step.line}\n{printed}"
        assert prints(step, printed), f"{step.line}\n{printed}\ndoes not print\n{step.shown}"
    return missing


@pytest.mark.parametrize(
    "guide",
    [
        "tutorial",
        "guides/answer-a-question",
        "guides/bring-your-telemetry",
        "guides/data-formats",
        "guides/export-import-loop",
        "guides/export-to-other-tools",
        "guides/model-your-system",
        "guides/run-many-samples",
        "guides/use-from-python",
        "guides/use-in-ci",
        "guides/write-a-reader",
        "guides/write-a-template",
    ],
)
def test_everything_in_the_guide_runs_as_shown(
    guide: str, tmp_path: Path, unavailable: Callable[[str], NoReturn]
) -> None:
    if missing := follow(guide, tmp_path):
        unavailable(f"not installed: {', '.join(sorted(missing))}; all else in the guide ran")


@pytest.mark.needs("bash", "curl")
def test_everything_in_the_guide_to_the_api_runs_as_shown(tmp_path: Path, serve: Servers) -> None:
    assert follow("guides/use-the-http-api", tmp_path, URL=serve()) == set()


def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    blocks = [(language, body) for language, _, body in BLOCK.findall(text)]
    (model,) = [body for language, body in blocks if language == "yaml"]
    (tmp_path / "model.yaml").write_text(model, encoding="utf-8")
    lines = [
        line
        for language, body in blocks
        if language == "bash"
        for line in body.splitlines()
        if line.startswith("flowtime ")
    ]
    assert len(lines) == 10
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = ""
    for line in [*lines, "flowtime run --model model.yaml"]:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        said += done.stdout
    assert "the loop is closed" in said
    (program,) = [body for language, body in blocks if language == "python"]
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True, encoding="utf-8"
    )
    assert "137.75" in printed.stdout


def test_the_demo_ends_as_the_readme_shows(flowtime: Command) -> None:
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    shown = next(body for language, _, body in BLOCK.findall(text) if body.startswith("5. "))

    def steady(output: str) -> str:
        return re.sub(r"\d{4}-\d\d-\d\d_[0-9a-f]{8}|  [\d.]+ m?s$", "", output, flags=re.MULTILINE)

    assert steady(flowtime("demo").stdout).rstrip().endswith(steady(shown).rstrip())
