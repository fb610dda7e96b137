"""The workflows of the requirements, verbatim, as a shell script over the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("workflow.sh")


def session(name: str, folder: Path) -> str:
    """One session: a process of its own, with the `flowtime` that belongs to this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", SCRIPT, name],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.needs("bash")
def test_basic_loop_closure_with_artifacts_registry(tmp_path: Path) -> None:
    assert "the loop is closed" in session("basic", tmp_path)


@pytest.mark.needs("bash")
def test_multi_session_workflow(tmp_path: Path) -> None:
    session("session-1", tmp_path)
    session("session-2", tmp_path)
