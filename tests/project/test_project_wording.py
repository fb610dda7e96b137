"""What flowtime says anywhere but on the command line names no flag and no command."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from flowtime import cli, wording
from flowtime.api import app as api
from flowtime.api.server import Config
from flowtime.settings import load

SRC = Path(__file__).parents[2] / "src" / "flowtime"
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
COMMAND = re.compile(rf"\bflowtime (?:{'|'.join(cli.COMMANDS)})\b(?! of)")
UNSPOKEN = re.compile(r"\{#.*?#\}|/\*.*?\*/|var\(--[\w-]+\)", re.DOTALL)
"""Comments, and variables of style sheets."""
ELSEWHERE = {
    "cli": "the command line",
    "wording.py": "where the words of all faces stand",
    "formats/bundle.py": "the text file in a bundle, which is read without flowtime",
    "api/openapi.py": "the options of curl",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SRC.rglob("*.py")):
        name = path.relative_to(SRC).as_posix()
        if not any(name == each or name.startswith(f"{each}/") for each in ELSEWHERE):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every text in a module but its docstrings, which no user reads; routes' docstrings are tested below."""
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.lineno, node.value


def spoken(text: str) -> list[str]:
    """The flags and commands of flowtime in a text."""
    return FLAG.findall(text) + COMMAND.findall(text)


def test_no_text_of_the_source_names_a_flag_or_a_command() -> None:
    found = [
        f"{name}:{line} {text}" for name, tree in sources() for line, text in texts(tree) if spoken(text)
    ]
    assert found == []


def test_flags_and_commands_are_noticed() -> None:
    tree = ast.parse('"""--no."""\nhint = f"try --grid {x}"\nnote = "flowtime index rebuild"')
    assert [line for line, text in texts(tree) if spoken(text)] == [3, 2]
    assert not spoken("a file that flowtime wrote -- see 1--2")


@pytest.mark.parametrize("folder", ["templates", "static"])
def test_no_page_and_no_script_names_a_flag_or_a_command(folder: str) -> None:
    found = []
    for path in sorted((SRC / "web" / folder).rglob("*")):
        if path.suffix not in {".html", ".js"} or "vendor" in path.parts:
            continue
        text = UNSPOKEN.sub("", path.read_text("utf-8"))
        found += [f"{path.name}: {each}" for each in spoken(text)]
    assert found == []


def test_the_description_of_the_api_names_no_flag_and_no_command(tmp_path: Path) -> None:
    settings = load({"artifacts": str(tmp_path / "artifacts")})
    described = api.create(Config(settings)).openapi()

    def walk(value: object, path: str) -> Iterator[str]:
        if isinstance(value, str) and spoken(value):
            yield f"{path}: {value}"
        for key, each in value.items() if isinstance(value, dict) else ():
            if key != "x-codeSamples":
                yield from walk(each, f"{path}/{key}")
        for number, each in enumerate(value) if isinstance(value, list) else ():
            yield from walk(each, f"{path}/{number}")

    assert list(walk(described, "")) == []


def options_of(group: click.Command) -> Iterator[str]:
    for param in group.params:
        yield from param.opts
    if isinstance(group, click.Group):
        for name in group.list_commands(click.Context(group)):
            each = group.get_command(click.Context(group), name)
            assert each is not None
            yield from options_of(each)


def test_what_the_table_names_is_there_on_every_face(tmp_path: Path) -> None:
    flags = set(options_of(cli.cli))
    described = json.dumps(api.create(Config(load({"artifacts": str(tmp_path)}))).openapi())
    pages = "".join(path.read_text("utf-8") for path in (SRC / "web" / "templates").rglob("*.html"))
    for name, known in wording.OPTIONS.items():
        assert "--" + name.replace("_", "-") in flags, name
        if known.label is not None:
            assert f">{known.label}" in pages or f"}}}}{known.label}" in pages, name
            assert all(f">{shown}<" in pages for shown in known.values.values() if shown), name
            assert f'"{known.field or name}"' in described, name
    for action in wording.ACTIONS.values():
        words = [word for word in action.command.split() if word.startswith("--")]
        assert set(words) <= flags
        if action.command:
            assert action.command.split()[0] in cli.COMMANDS
        if " /v1/" in f" {action.http}":
            path = action.http.format("{id}").split()[1]
            assert f'"{path}": ' in described, path


def test_everything_in_the_table_is_said_somewhere() -> None:
    called = {
        (node.func.id, argument.value)
        for path in SRC.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args
        for argument in node.args[:1]
        if isinstance(argument, ast.Constant)
    }
    assert {name for what, name in called if what == "option"} == set(wording.OPTIONS)
    assert {name for what, name in called if what == "action"} == set(wording.ACTIONS)
