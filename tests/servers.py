"""Real servers for tests: `flowtime serve` as a process, stopped at the end, with its log kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx
import pytest

from flowtime.api import access_file

_STARTS = 60.0
_ENDS = 30.0


class Servers:
    """Starts servers of one registry, `artifacts` in the folder; a with block ends them.

    Calling it gives the URL of a new server, with options as on the command line.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, tuple[subprocess.Popen[str], Path]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for url in self._running:
            if self.process(url).poll() is None:
                self.stop(url)

    def __call__(self, *options: str | Path, env: Mapping[str, str] | None = None) -> str:
        """The URL of a server that listens; `--port` is 0 and `--artifacts` the folder's unless given."""
        words = [str(option) for option in options]
        command = [sys.executable, "-m", "flowtime", "serve", "--json", *words]
        command += [] if "--port" in words else ["--port", "0"]
        command += [] if "--artifacts" in words else ["--artifacts", str(self.folder / "artifacts")]
        log = self.folder / f"server-{len(self._running)}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **(env or {})},
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
            )
        assert process.stdout is not None
        # A server that does not come up is killed, which ends the reading of its output.
        late = threading.Timer(_STARTS, process.kill)
        late.start()
        said = ""
        while not said.endswith("}\n") and (line := process.stdout.readline()):
            said += line
        late.cancel()
        if '"url"' not in said:
            process.kill()
            process.wait()
            process.stdout.close()
            pytest.fail(f"no server: {said}\n{log.read_text()[-4000:]}")
        url: str = json.loads(said)["url"]
        self._running[url] = (process, log)
        return url

    def process(self, url: str) -> subprocess.Popen[str]:
        """The process of a server."""
        return self._running[url][0]

    def log(self, url: str) -> str:
        """What a server wrote to stderr so far."""
        return self._running[url][1].read_text()

    def stop(self, url: str) -> int:
        """Asks a server to end, and gives its exit code; it is killed where it does not."""
        process = self.process(url)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(_ENDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the server does not end:\n{self.log(url)[-4000:]}")
        finally:
            assert process.stdout is not None
            process.stdout.close()


def new_token(auth: Path, user: str, role: access_file.Role = "writer", *teams: str) -> dict[str, str]:
    """The header that a user sends whose token is new in the access file."""
    return bearer(access_file.add(auth, user, teams=teams, role=role, lifetime=None)[1])


def bearer(text: str) -> dict[str, str]:
    """The header that holds a token."""
    return {"Authorization": f"Bearer {text}"}


def problem(answer: httpx.Response) -> tuple[int, str]:
    """The status and code of a response that must be a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    said = answer.json()
    assert said["status"] == answer.status_code
    return answer.status_code, said["code"]
