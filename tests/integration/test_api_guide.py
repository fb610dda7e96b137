"""The guide to the HTTP API, executed against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.test_guides import DOCS, prints, steps
from tests.servers import Servers


@pytest.mark.needs("bash", "curl")
def test_everything_in_the_guide_runs_as_shown(tmp_path: Path) -> None:
    commands = 0
    with Servers(tmp_path) as servers:
        environment = {**os.environ, "URL": servers(), "PYTHONWARNINGS": "error"}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        for step in steps((DOCS / "guides/use-the-http-api.md").read_text(encoding="utf-8")):
            if isinstance(step, tuple):
                (tmp_path / step[0]).write_text(step[1], encoding="utf-8")
                continue
            done = subprocess.run(
                ["bash", "-c", step.line], cwd=tmp_path, env=environment, capture_output=True, check=False
            )
            printed = (done.stdout + done.stderr).decode()
            assert done.returncode == step.exit_code, f"{step.line}\n{printed}"
            assert prints(step, printed), f"{step.line}\n{printed}\ndoes not print\n{step.shown}"
            commands += 1
    assert commands > 8
