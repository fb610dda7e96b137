"""The log of changes gets shorter while people write, read and die: nothing confirmed is overlooked."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tests.proxies import ADDRESSES, Forgetful
from tests.worlds import publish

from flowtime.registry import Registry
from flowtime.registry.artifacts import LOG

WRITER = """
import os, signal, sys
from pathlib import Path
from flowtime.registry import Registry
from flowtime.storage import local, object_log

local._LOG_LONGEST, local._LOG_KEPT = 24_000, 23_500
object_log._KEPT, object_log._CLEARED = 210, 4
root, cache, id, word, left = *sys.argv[1:5], int(sys.argv[5])

def count(event, arguments):
    global left
    made = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
    if made or event in ("os.rename", "os.remove"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

registry = Registry.open(root, cache_dir=Path(cache))
for number in range(12):
    registry.tag(id, [f"{word}-{number}"])
    print(f"{word}-{number}", flush=True)
    if number == 0 and left:
        sys.addaudithook(count)
"""
"""Adds tags and tells of each. Its logs are short, so that every few lines the oldest are cleared away.
With a number it dies, killed, when it has made, renamed or removed so many files.
"""


def writing(root: str, cache: Path, id: str, word: str, dies: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, root, str(cache), id, word, str(dies)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def started(tmp_path: Path) -> Callable[[str], tuple[Registry, list[str]]]:
    """A registry with a log that is about to be cleared, and its runs."""

    def start(root: str) -> tuple[Registry, list[str]]:
        registry = Registry.open(root, cache_dir=tmp_path / "cache")
        # Of a bucket's artifact the turn of a dead writer lasts a while: each writer has one of its own.
        ids = [publish(registry, name=f"run {number}") for number in range(13)]
        for number in range(210):
            registry.store.note(LOG, f"line {number} of an older version, {'.' * 80}")
        return registry, ids

    return start


@contextlib.contextmanager
def reading(registry: Registry, ids: list[str]) -> Iterator[None]:
    """Somebody asks all the time meanwhile: what was seen once is seen from then on."""
    lost: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        seen: dict[str, set[str]] = {id: set() for id in ids}
        try:
            while not ended.is_set():
                for id in ids:
                    tags = set(registry.item(id)["tags"])
                    lost.extend(seen[id] - tags)
                    seen[id] = tags
        except Exception as error:  # noqa: BLE001 (the test asks for none)
            lost.append(repr(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert lost == []


def assert_known(registry: Registry, id: str, told: set[str]) -> None:
    """An index that followed, and one that is made now, know every tag that a writer told of."""
    assert told <= set(registry.item(id)["tags"])
    assert told <= set(registry.catalog(id)["tags"])


def test_a_writer_that_dies_while_it_clears_a_log_in_a_folder(
    place: Callable[[str], str], tmp_path: Path, started: Callable[[str], tuple[Registry, list[str]]]
) -> None:
    root = place("local")
    registry, ids = started(root)
    log = Path(root, LOG)
    killed = cleared = 0
    with reading(registry, ids):
        for moment in range(1, 40, 2):
            id, size = ids[moment % 13], log.stat().st_size
            with writing(root, tmp_path / "writer", id, f"w{moment}", moment) as writer:
                assert writer.stdout is not None
                told = set(writer.stdout.read().split())
            killed += writer.returncode == -signal.SIGKILL
            cleared += log.stat().st_size < size + 100
            assert told
            assert_known(registry, id, told)
    assert killed >= 15
    assert cleared >= 5
    assert log.read_bytes().startswith(b"#cleared")
    assert log.stat().st_size < 26_000
    fresh = Registry.open(root, cache_dir=tmp_path / "fresh")
    assert [fresh.item(id)["tags"] for id in ids] == [registry.item(id)["tags"] for id in ids]


MOMENTS: dict[str, Callable[[str, str], bool]] = {
    "line": lambda line, body: line.startswith("PUT") and f"/{LOG}/0" in line,
    "end": lambda line, body: line.startswith("PUT") and f"/{LOG}/end" in line,
    "list": lambda line, body: line.startswith("GET") and "prefix=" in line and LOG in line,
    "clear": lambda line, body: line.startswith(("POST", "DELETE")) and LOG in line + body,
}
"""What a writer asks of a bucket: to take a line and the pointer to it, to list lines, to delete some."""


@pytest.mark.parametrize("name", ["seaweedfs", "azurite"])
def test_a_writer_that_dies_while_it_clears_a_log_in_a_bucket(
    name: str,
    place: Callable[[str], str],
    server: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    started: Callable[[str], tuple[Registry, list[str]]],
) -> None:
    root = place(name)
    registry, ids = started(root)
    writer: subprocess.Popen[str]
    wanted = ""
    left = 0

    def kills(request: bytes) -> bool:
        """The service has the request; who sent it does not live to see the answer."""
        nonlocal left
        line, _, rest = unquote(request.decode("latin-1")).partition("\r\n")
        if wanted and MOMENTS[wanted](line, rest):
            left -= 1
            if left == 0:
                writer.kill()
                return True
        return False

    with Forgetful(server(name).address, kills) as proxy, reading(registry, ids):
        monkeypatch.setenv(ADDRESSES[name], proxy.address)
        for turn, wanted in enumerate([*MOMENTS] * 3):
            left = 1 + turn // len(MOMENTS)
            id = ids[turn]
            writer = writing(root, tmp_path / "writer", id, f"w{turn}")
            assert writer.stdout is not None
            with writer:
                told = set(writer.stdout.read().split())
            assert writer.returncode == -signal.SIGKILL, wanted
            assert_known(registry, id, told)
        wanted = ""
        with writing(root, tmp_path / "writer", ids[12], "last") as writer:
            assert writer.stdout is not None
            told = set(writer.stdout.read().split())
        assert_known(registry, ids[12], told)
        assert len(told) == 12
        assert len(registry.store.list(LOG).files) < 230
        fresh = Registry.open(root, cache_dir=tmp_path / "fresh")
        assert [fresh.item(id)["tags"] for id in ids] == [registry.item(id)["tags"] for id in ids]
    assert proxy.lost == 12
