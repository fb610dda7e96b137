"""A command that only looks something up imports nothing heavy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARIES = {
    "fastapi", "jinja2", "msgspec", "numpy", "obstore", "pandas", "polars", "pyarrow", "pydantic", "rich",
    "starlette", "typer", "uvicorn", "xlsxwriter", "yaml",
}  # fmt: skip
HEAVY = LIBRARIES | {f"flowtime.{part}" for part in ("analysis", "engine", "formats", "loop", "sim")}


def flowtime(
    *arguments: str, artifacts: Path, python: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *python, "-m", "flowtime", *arguments],
        cwd=artifacts.parent,
        capture_output=True,
        check=True,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A registry with one model, and the model's id."""
    artifacts = tmp_path_factory.mktemp("cold") / "artifacts"
    made = flowtime("sim", "new", "--template", "checkout", "--name", "cold", "--json", artifacts=artifacts)
    return artifacts, json.loads(made.stdout)["id"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["list"],
        ["list", "--json"],
        ["search", "--query", "cold"],
        ["show", "ID"],
        ["tag", "ID", "+seen"],
    ],
    ids=" ".join,
)
def test_cold_start_imports_nothing_heavy(registry: tuple[Path, str], arguments: list[str]) -> None:
    artifacts, model_id = registry
    arguments = [model_id if argument == "ID" else argument for argument in arguments]
    ran = flowtime(*arguments, artifacts=artifacts, python=("-X", "importtime"))
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", ran.stderr, re.MULTILINE))
    assert "flowtime.cli.render" in imported
    assert {name for name in imported if name in HEAVY or name.split(".")[0] in HEAVY} == set()
