"""A command that only looks something up imports nothing heavy."""

from __future__ import annotations

import re

import pytest
from tests.commands import Command

LIBRARIES = {
    "fastapi", "jinja2", "msgspec", "numpy", "obstore", "pandas", "polars", "pyarrow", "pydantic", "rich",
    "starlette", "typer", "uvicorn", "wasmtime", "xlsxwriter", "yaml",
}  # fmt: skip
HEAVY = LIBRARIES | {f"flowtime.{part}" for part in ("analysis", "engine", "formats", "loop", "sim")}


@pytest.fixture(scope="module")
def flowtime(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command, in a folder with a registry that has a model."""
    command = Command(tmp_path_factory.mktemp("cold"))
    command("sim", "new", "--template", "checkout", "--name", "cold")
    return command


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["list"],
        ["list", "--json"],
        ["search", "--query", "cold"],
        ["show", "cold"],
        ["tag", "cold", "+seen"],
    ],
    ids=" ".join,
)
def test_cold_start_imports_nothing_heavy(flowtime: Command, arguments: list[str]) -> None:
    ran = flowtime(*arguments, env={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", ran.stderr, re.MULTILINE))
    assert "flowtime.cli.render" in imported
    assert {name for name in imported if name in HEAVY or name.split(".")[0] in HEAVY} == set()
