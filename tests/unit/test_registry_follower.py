"""An index follows storage: through deaths in the middle of a change, strangers and clocks set back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.worlds import publish

from flowtime.registry import Query, Registry
from flowtime.registry.index import Index
from flowtime.storage import Listing, LocalStore

WRITES = ("put", "put_if_absent", "update", "append", "note", "publish", "move", "remove")


class DiedError(BaseException):
    """A process was killed here."""


class Moments:
    """A store that tells of each moment before and after it wrote something."""

    def __init__(self, folder: Path, told: Callable[[int], None]) -> None:
        self._store = LocalStore(folder)
        self._told = told
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return found if name not in WRITES else lambda *arguments: self._watched(found, arguments)

    def _watched(self, write: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self._count += 1
        self._told(self._count)
        result = write(*arguments)
        self._count += 1
        self._told(self._count)
        return result


class Counting(LocalStore):
    """A folder that counts how often the names in it are asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.listed: list[str] = []

    def list(self, prefix: str) -> Listing:
        self.listed.append(prefix)
        return super().list(prefix)


def seen(registry: Registry) -> list[tuple[Any, ...]]:
    return [
        (item["id"], item["tags"], item.get("model_version")) for item in registry.find(Query()).artifacts
    ]


def settle() -> None:
    """Until the folders' times are old enough to be trusted."""
    time.sleep(0.11)


CHANGES: dict[str, Callable[[Registry, str, str], object]] = {
    "publish": lambda registry, model, gone: publish(registry),
    "version": lambda registry, model, gone: publish(registry, "model", model, model_hash="sha256:22"),
    "tag": lambda registry, model, gone: registry.tag(model, ["new"]),
    "delete": lambda registry, model, gone: registry.delete(model),
    "restore": lambda registry, model, gone: registry.restore(gone),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_writer_that_dies_at_any_moment_leaves_all_or_nothing_and_everybody_sees_which(
    tmp_path: Path, change: str
) -> None:
    """The watcher looks just before the death, so that it has taken in all that was announced until then."""
    outcomes = set()
    for dies in range(2, 10):
        root = tmp_path / f"{dies}"
        first = Registry(LocalStore(root), None)
        model, gone = publish(first, "model", model_hash="sha256:11"), publish(first)
        first.delete(gone)
        watcher = Registry(LocalStore(root), None)
        before = seen(watcher)
        settle()
        assert seen(watcher) == before

        def told(count: int, dies: int = dies, watcher: Registry = watcher) -> None:
            if count == dies - 1:
                seen(watcher)
            if count >= dies:
                raise DiedError

        with suppress(DiedError):
            CHANGES[change](Registry(Moments(root, told), None), model, gone)
        truth = seen(Registry(LocalStore(root), None))
        assert seen(watcher) == truth, dies
        settle()
        assert seen(watcher) == truth, dies
        outcomes.add(truth == before)
    assert outcomes == {True, False}


def test_a_change_that_the_log_explains_needs_no_listing(tmp_path: Path) -> None:
    store = Counting(tmp_path / "artifacts")
    watcher = Registry(store, None)
    other = Registry(LocalStore(tmp_path / "artifacts"), None)
    ids = [publish(other) for _ in range(3)]
    settle()
    assert len(seen(watcher)) == 3
    store.listed.clear()
    for _ in range(3):
        ids.append(publish(other))
        assert {found[0] for found in seen(watcher)} == set(ids)
    other.delete(ids.pop())
    other.tag(ids[0], ["a"])
    assert {found[0] for found in seen(watcher)} == set(ids)
    settle()
    assert {found[0] for found in seen(watcher)} == set(ids)
    assert "runs" not in store.listed


def test_what_a_stranger_did_between_two_changes_of_the_log_is_seen(tmp_path: Path) -> None:
    registry = Registry(LocalStore(tmp_path / "artifacts"), None)
    watcher = Registry(LocalStore(tmp_path / "artifacts"), None)
    moved, kept = publish(registry), publish(registry)
    runs = tmp_path / "artifacts/runs"
    settle()
    assert len(seen(watcher)) == 2
    away, back = (runs / moved, tmp_path / "aside"), (tmp_path / "aside", runs / moved)
    for source, target in (away, back):
        before = publish(registry)
        time.sleep(0.02)
        shutil.move(source, target)
        time.sleep(0.02)
        after = publish(registry)
        found = {each[0] for each in seen(watcher)}
        assert {kept, before, after} <= found
        assert (moved in found) == ((source, target) == back)


def test_clocks_that_are_set_back_or_ahead_hide_nothing(tmp_path: Path) -> None:
    now = datetime(2025, 9, 19, 12, tzinfo=UTC)
    registry = Registry(LocalStore(tmp_path / "artifacts"), None, clock=lambda: now)
    watcher = Registry(LocalStore(tmp_path / "artifacts"), None)
    ids = {publish(registry)}
    runs = tmp_path / "artifacts/runs"
    for hours in (0, 3, -3, 1, -1):
        now += timedelta(hours=hours)
        publication = publish(registry)
        ids.add(publication)
        moment = time.time() + 3600 * hours
        os.utime(runs, (moment, moment))
        assert {found[0] for found in seen(watcher)} == ids
        registry.tag(publication, [f"at {hours}"])
        assert watcher.find(Query(tags=((f"at {hours}",),))).total == 1
        ids.remove(publication)
        registry.delete(publication)
        assert {found[0] for found in seen(watcher)} == ids


def test_a_torn_or_strange_line_of_the_log_is_passed_over(tmp_path: Path) -> None:
    registry = Registry(LocalStore(tmp_path / "artifacts"), None)
    watcher = Registry(LocalStore(tmp_path / "artifacts"), None)
    id = publish(registry)
    assert len(seen(watcher)) == 1
    with (tmp_path / "artifacts/.log/changes").open("ab") as log:
        log.write(b"\xff\n2025 will edit runs/../../x 00 -\n2025 will edit other/x 00 -\nhalf a li")
    registry.tag(id, ["seen"])
    assert seen(watcher) == [(id, ["seen"], None)]


def test_what_was_read_before_another_process_got_ahead_is_not_taken_in(tmp_path: Path) -> None:
    mine, theirs = Index(tmp_path / "index"), Index(tmp_path / "index")
    before = mine.begin(None, "registry", 0, ())
    after = theirs.begin(before, "registry", 7, ())
    assert not mine.apply(before, after=before)
    assert mine.state() == after
    assert mine.apply(after, after=before)
    assert theirs.state() == before
    mine.close()
    theirs.close()


def test_index_lost_or_replaced_while_two_registries_hold_it_open(tmp_path: Path) -> None:
    root, path = tmp_path / "artifacts", tmp_path / "index.sqlite"
    first, second = Registry(LocalStore(root), path), Registry(LocalStore(root), path)
    ids = {publish(first) for _ in range(5)}

    def future() -> None:
        path.unlink(missing_ok=True)
        connection = sqlite3.connect(path)
        connection.executescript("CREATE TABLE tomorrow (x); PRAGMA user_version = 99")
        connection.close()

    damages: list[Callable[[], object]] = [
        path.unlink,
        lambda: os.truncate(path, 0),
        lambda: os.truncate(path, 5000),
        lambda: path.write_bytes(os.urandom(20_000)),
        future,
    ]
    for damage in damages:
        assert {found[0] for found in seen(first)} == {found[0] for found in seen(second)} == ids
        damage()
        ids.add(publish(first))
        assert {found[0] for found in seen(second)} == {found[0] for found in seen(first)} == ids
        second.close()
    first.close()
    second.close()
