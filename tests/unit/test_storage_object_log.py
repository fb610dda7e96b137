"""The log in a bucket, of which the oldest lines are cleared away while others read and write."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from flowtime.storage import object_log, objects, open_store


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs that keep 20 lines, in which nobody's look at the end is a recent one."""
    monkeypatch.setattr(object_log, "_KEPT", 20)
    monkeypatch.setattr(object_log, "_CLEARED", 10)
    monkeypatch.setattr(object_log, "_RECENT", 0)


def test_who_slept_while_all_that_it_knew_was_cleared_away_finds_the_end(tmp_path: Path, short: None) -> None:
    sleeper, busy = open_store(f"memory://{tmp_path}"), open_store(f"memory://{tmp_path}")
    for number in range(5):
        sleeper.append("log", f"{number}")
    position, mark = sleeper.tail("log", 5)[1], sleeper.marks((), ("log",), ())
    for number in range(5, 100):
        busy.append("log", f"{number}")
    assert sleeper.marks((), ("log",), ()) != mark
    assert sleeper.records("log", position) is None
    sleeper.append("log", "100")
    assert busy.tail("log", 2)[0] == ("99", "100")


def test_a_clearing_that_was_cut_short_does_not_look_like_the_end(tmp_path: Path) -> None:
    store = open_store(f"memory://{tmp_path}")
    for number in range(1, 3):
        store.append("log", f"{number}")
    position = store.tail("log", 1)[1]
    for number in range(3, 10):
        store.append("log", f"{number}")
    store.delete("log/000000000003")
    assert open_store(f"memory://{tmp_path}").records("log", position) is None


def test_who_looks_for_the_end_takes_one_thread_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two for each, as many who asked at once as it has threads would wait for each other for ever."""
    monkeypatch.setattr(objects, "_THREADS", 1)
    open_store(f"memory://{tmp_path}").append("log", "1")
    store = open_store(f"memory://{tmp_path}")
    marks: list[tuple[str, ...]] = []
    asking = threading.Thread(target=lambda: marks.append(store.marks((), ("log",), ())), daemon=True)
    asking.start()
    asking.join(10)
    assert marks == [("line 1",)]
