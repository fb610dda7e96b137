"""The real command: `flowtime` as a process, and what it left behind."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    code: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)
    raw: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The one JSON document that stdout must be."""
        return json.loads(self.stdout)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a command that failed under `--json`."""
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"kind", "code", "message", "where", "hint", "errors", "count"}
        return error


@dataclass(frozen=True, slots=True)
class Command:
    """Runs the `flowtime` of this Python's environment in a folder; fails unless it ends with `code`."""

    folder: Path

    def __call__(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        code: int | None = 0,
    ) -> Done:
        ended = subprocess.run(
            [sys.executable, "-m", "flowtime", *map(str, arguments)],
            cwd=cwd or self.folder,
            env={**os.environ, **(env or {})},
            input=stdin,
            capture_output=True,
            check=False,
        )
        done = Done(
            ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(), ended.stdout
        )
        assert "Traceback" not in done.stderr, done.stderr
        if code not in {None, done.code}:
            pytest.fail(f"exit code {done.code}, not {code}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done


def listing(folder: Path) -> dict[str, str]:
    """Every file under a folder with the SHA-256 of its bytes, every folder with its kind."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        )
        for path in sorted(folder.rglob("*"))
    }


def started(each: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(each, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What each printed; each must end well."""
    spoken = [(*process.communicate(), process.returncode) for process in processes]
    assert [error for _, error, code in spoken if code or error] == []
    return [output for output, _, _ in spoken]


def together(*commands: list[str]) -> list[str]:
    """Runs all at once, and returns what each printed; each must end well."""
    return ended([started(each) for each in commands])
