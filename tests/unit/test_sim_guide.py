"""The guide to templates, executed: its template is read, its commands are run, what it prints is printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "write-a-template.md"


def test_everything_in_the_guide_runs_as_shown(tmp_path: Path) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    (template,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "help-desk.yaml").write_text(template, encoding="utf-8")
    environment = os.environ | {"FLOWTIME_ARTIFACTS": str(tmp_path / "artifacts")}
    commands = 0
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for command, *shown in (
            part.splitlines() for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
        ):
            line, _, comment = command.partition("  # exit code ")
            program, *arguments = shlex.split(line)
            if program == "export":
                environment |= dict(argument.split("=", 1) for argument in arguments)
                continue
            assert program == "flowtime"
            run = subprocess.run(
                [sys.executable, "-m", "flowtime", *arguments],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            printed = run.stdout + run.stderr
            assert run.returncode == int(comment or 0), printed
            assert [part for part in shown if part not in printed] == [], printed
            commands += 1
    assert commands == 12
