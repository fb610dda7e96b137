"""`flowtime open`: the page of an artifact in the browser, on a server that has the registry."""

from __future__ import annotations

import os
import re
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.servers import Servers
from tests.worlds import make_world


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A browser that notes what it was asked to open."""
    program, opened = tmp_path / "browser", tmp_path / "opened"
    program.write_text(f'#!/bin/sh\necho "$1" >> {opened}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("BROWSER", f"{program} %s")
    monkeypatch.setenv("FLOWTIME_CACHE", str(tmp_path / "cache"))

    def shown() -> list[str]:
        end = time.monotonic() + 10
        while not opened.exists() and time.monotonic() < end:
            time.sleep(0.05)
        return opened.read_text().split()

    return shown


@pytest.fixture
def started() -> Iterator[list[int]]:
    """Processes to be ended."""
    processes: list[int] = []
    yield processes
    for process in processes:
        os.kill(process, signal.SIGTERM)


def test_a_server_that_has_the_registry_is_taken(flowtime: Any, browser: Any, tmp_path: Path) -> None:
    make_world(tmp_path)
    with Servers(tmp_path) as servers:
        url = servers()
        done = flowtime("open", "--id", "monday", env={"FLOWTIME_SERVER": url})
        id = flowtime("show", "monday", "--json").json["id"]
        assert done.stdout.split() == browser() == [f"{url}/artifacts/{id}"]
        assert done.stderr == ""


def test_a_server_is_started_where_another_registry_answers(
    flowtime: Any, browser: Any, started: list[int], tmp_path: Path
) -> None:
    make_world(tmp_path)
    other = tmp_path / "other"
    make_world(other)
    with Servers(other) as servers:
        theirs = servers()
        done = flowtime("open", "--id", "monday", env={"FLOWTIME_SERVER": theirs})
        started += map(int, re.findall(r"process ([0-9]+)", done.stderr))
        url = done.stdout.strip()
        assert len(started) == 1
        assert not url.startswith(theirs)
        assert browser() == [url]
        server = url.partition("/artifacts/")[0]
        mine = flowtime("index", "status", "--json").json["registry"]
        assert httpx.get(f"{server}/healthz", timeout=60).json()["registry"] == mine
        # The next one finds it.
        again = flowtime("open", "--id", "tuesday", env={"FLOWTIME_SERVER": theirs})
        assert again.stdout.startswith(server)
        assert again.stderr == ""


def test_only_printed(flowtime: Any, browser: Any, tmp_path: Path) -> None:
    make_world(tmp_path)
    nowhere = {"FLOWTIME_SERVER": "http://127.0.0.1:1"}
    link = flowtime("open", "--id", "monday", "--print", env=nowhere).stdout.strip()
    assert flowtime("open", "--id", "monday", "--json", env=nowhere).json["url"] == link
    assert link.startswith("http://127.0.0.1:1/artifacts/")
    assert not (tmp_path / "opened").exists()
