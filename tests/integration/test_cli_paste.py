"""Every command that is printed can be pasted into a shell, whatever names and paths hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODEL = """grid: {bins: 3}
nodes:
  - {id: a, kind: const, values: [1, 2, 3]}
  - {id: b, kind: expr, expr: a * 2}
"""
NAMES = [
    "my run",
    "x; touch pwned $(id)",
    "-rf",
    'it\'s "so"',
    "größe 東京 🚀",
    "../up/and away",
    "a & b | c > d",
    "*",
]


def printed(text: str) -> list[str]:
    """The commands in what was printed, without their lead."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [
        line[line.index("flowtime ") :]
        for line in plain.splitlines()
        if re.match(r"\s*(next:)?\s+flowtime ", line)
    ]


@pytest.fixture
def paste(tmp_path: Path) -> Any:
    """Runs a line in a real shell that has this `flowtime` on its path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(line: str, code: int = 0) -> str:
        ended = subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            check=False,
            encoding="utf-8",
        )
        assert ended.returncode == code, f"{line}\n{ended.stdout}{ended.stderr}"
        return ended.stdout + ended.stderr

    return run


@pytest.mark.parametrize("name", NAMES)
def test_next_commands_run_as_printed(flowtime: Any, paste: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "a.yaml").write_text(MODEL, encoding="utf-8")
    ran = flowtime("run", "--model", "a.yaml", f"--name={name}", "--out", f"reg {name}")
    show, export, loop = printed(ran.stdout)
    assert name in paste(show)
    [again] = printed(paste(export))
    assert not (tmp_path / "pwned").exists()
    assert not (tmp_path.parent / "up").exists()
    paste(loop)
    for line in printed(paste(again)):
        paste(line)
    assert [path.name for path in tmp_path.iterdir() if path.name == "artifacts"] == []
    assert not (tmp_path / "pwned").exists()


def test_files_of_any_name_are_named_to_be_pasted(flowtime: Any, paste: Any, tmp_path: Path) -> None:
    flowtime("sim", "new", "--template", "checkout", "--out", "it's $(touch pwned)\nnew.yaml")
    wrote = flowtime("sim", "new", "--template", "checkout", "--out", "-x $(touch pwned).yaml")
    [run] = printed(wrote.stdout)
    paste(run)
    assert not (tmp_path / "pwned").exists()


def test_what_brings_back_and_what_lists_name_the_registry(flowtime: Any, paste: Any, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MODEL, encoding="utf-8")
    made = flowtime("run", "a.yaml", "--out", "my reg", "--json").json
    gone = flowtime("delete", made["id"], "--confirm", "--out", "my reg").stdout
    missing = flowtime("show", made["id"], "--out", "my reg", code=3).stderr
    assert f"flowtime restore {made['id']} --artifacts 'my reg' brings it back" in missing
    assert made["id"] in paste(gone.partition("bring it back: ")[2])
    hint = flowtime("restore", "nothing-like-it", "--out", "my reg", code=3).stderr
    line = re.search(r"hint: (flowtime .*) shows what is there", hint)
    assert line is not None, hint
    assert "the trash is empty" in paste(line[1])


def test_the_flags_of_a_hint_are_quoted(flowtime: Any, paste: Any, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(
        "when; $(touch pwned),component_id,measure,value\n2025-01-01T00:00:00Z,a,m,1\n"
    )
    said = flowtime("import", "--data", "in.csv", "--map", "nix=value", code=2).stderr
    assert "--map nix=value does not fit" in said
    said = flowtime("import", "--data", "in.csv", "--wide", "--component", "x", code=2).stderr
    flags = re.search(r"such as (--map .*)", said)
    assert flags is not None, said
    paste(f"flowtime import --data in.csv --wide --component x --ignore-extra {flags[1]}", code=2)
    assert not (tmp_path / "pwned").exists()
