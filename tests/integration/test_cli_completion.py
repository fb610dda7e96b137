"""Shells complete commands, options, ids and templates."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TERM": "dumb"}
_PATIENCE = 60.0


@pytest.fixture
def made(flowtime: Any) -> list[str]:
    """The ids of a model and its run, which begin alike."""
    model = flowtime("sim", "new", "checkout", "--name", "base", "--json").json
    run = flowtime("run", model["id"], "--json").json
    return sorted([model["id"], run["id"]])


def in_bash(folder: Path, *words: str) -> list[str]:
    """What a real bash offers after these words, of which the last is begun."""
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""
        eval "$(flowtime completion bash)"
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        compopt() {{ :; }}
        _flowtime_completion flowtime
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    ended = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


@pytest.mark.needs("bash")
def test_bash_completes_ids_templates_options_and_commands(tmp_path: Path, made: list[str]) -> None:
    model, run = made
    assert in_bash(tmp_path, "flowtime", "show", "ba") == made
    assert in_bash(tmp_path, "flowtime", "export", "--run", "") == [run]
    assert in_bash(tmp_path, "flowtime", "run", "--model", "b") == [model]
    assert in_bash(tmp_path, "flowtime", "compare", run, "ba") == made
    assert in_bash(tmp_path, "flowtime", "sim", "new", "--template", "che") == ["checkout"]
    assert in_bash(tmp_path, "flowtime", "sim", "show", "che") == ["checkout"]
    assert "--samples" in in_bash(tmp_path, "flowtime", "run", "--s")
    assert in_bash(tmp_path, "flowtime", "exp") == ["export", "explain"]
    assert in_bash(tmp_path, "flowtime", "show", "--artifacts", "nowhere", "b") == []


@pytest.mark.needs("fish")
def test_fish_completes_ids(tmp_path: Path, made: list[str]) -> None:
    script = "flowtime completion fish | source; complete --do-complete 'flowtime show ba'"
    ended = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=tmp_path,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(ended.stdout.split()) == made


@pytest.mark.needs("zsh")
def test_zsh_completes_an_id_at_its_prompt(tmp_path: Path, made: list[str]) -> None:
    run = next(id for id in made if "_run" in id)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvpe("zsh", ["zsh", "-f"], {**os.environ, **ENVIRONMENT, "PS1": "READY> "})
    said = ""

    def read_until(text: str) -> None:
        nonlocal said
        ends = time.monotonic() + _PATIENCE
        while text not in said:
            assert time.monotonic() < ends, said
            if select.select([terminal], [], [], 0.2)[0]:
                said += os.read(terminal, 4096).decode(errors="replace")

    try:
        setup = (
            'autoload -Uz compinit; compinit -u -D; eval "$(flowtime completion zsh)"; print turned-"on"\n'
        )
        os.write(terminal, setup.encode())
        read_until("turned-on")
        os.write(terminal, f"flowtime export --run {run[:9]}\t".encode())
        read_until(run)
    finally:
        os.write(terminal, b"\x03exit\n")
        os.close(terminal)
        os.waitpid(pid, 0)


def test_the_script_says_how_to_turn_it_on(flowtime: Any) -> None:
    script = flowtime("completion", "bash").stdout
    assert script.startswith("# To turn this on, put this line into ~/.bashrc:")
    assert flowtime("completion", "zsh", "--json").json["line"] == 'eval "$(flowtime completion zsh)"'
    assert "tcsh" in flowtime("completion", "tcsh", code=2).stderr
