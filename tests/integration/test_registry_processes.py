"""Many processes on one registry, and killed ones: nothing is lost and nothing is half there."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.commands import ended, started, together
from tests.worlds import publish, stored_bytes

from flowtime.errors import Unavailable
from flowtime.registry import Query, Registry
from flowtime.registry.verify import verify

CROWDED = 20.0 if os.environ.get("FLOWTIME_TEST_ALL") == "1" else 3.0
"""Seconds for which a crowd works."""

COMMON = """
import os, sys, threading
from pathlib import Path
from flowtime.registry import Query, Registry
from flowtime.registry.catalog import Catalog, Parent

root, cache, argument = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
registry = Registry.open(root, cache_dir=cache)

def publish(kind, name, size=1, update=None, **fields):
    with registry.stage(kind) as staging:
        for file in ("binned_v0.csv", "model.yaml"):
            (staging.path / file).write_bytes(os.urandom(size))
        catalog = Catalog(kind=kind, name=name, owner="a", source="engine", engine_version="1", **fields)
        return staging.publish(catalog, update=update)["id"]
"""

DISTURBED = (
    COMMON
    + """
# A line on stdin: one more process that does all of this until it is killed. A fork starts at once.
def disturb(model):
    mine = Registry.open(root, cache_dir=cache)
    global registry
    registry = mine
    print(os.getpid(), flush=True)
    for number in range(100_000):
        run = publish("run", f"run-{number}", size=50_000, tags=["a"], parents=[Parent(id=model)])
        publish("model", "model", size=50_000, update=model, model_hash=f"sha256:{os.urandom(4).hex()}")
        registry.tag(run, [f"tag-{number}"])
        registry.find(Query(tags=((f"tag-{number}",),)))
        registry.delete(run)
        if number % 2:
            registry.restore(run)
        if number % 4 == 0:
            registry.rebuild()

for line in sys.stdin:
    child = os.fork()
    if not child:
        disturb(argument)
    os.waitpid(child, 0)
    print("reaped", flush=True)
"""
)

TAGGING = (
    COMMON
    + """
for number in range(25):
    registry.tag(argument, [f"{os.getpid()}-{number}"])
"""
)

VERSIONS = (
    COMMON
    + """
for number in range(6):
    publish("model", "model", update=argument, model_hash=f"sha256:{os.urandom(8).hex()}")
"""
)

PUBLISHING = (
    COMMON
    + """
import time
name, seconds = argument.split()
over, number = time.monotonic() + float(seconds), 0
while time.monotonic() < over:
    id = publish("run", f"{name}-{number}")
    registry.tag(id, ["crowd"])
    number += 1
    assert registry.find(Query(text=name, size=1)).total == number
print(number)
"""
)

READING = (
    COMMON
    + """
seen = 0
while not (root / "over").exists():
    page = registry.find(Query(tags=(("crowd",),)))
    assert page.total >= seen, (page.total, seen)
    seen = page.total
    for item in page.artifacts[:2]:
        assert registry.catalog(item["id"])["name"] == item["name"]
"""
)


def command(script: str, folder: Path, argument: str = "") -> list[str]:
    return [sys.executable, "-c", script, str(folder / "artifacts"), str(folder / "cache"), argument]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache")


def assert_whole(registry: Registry, root: Path, *, deep: bool = True) -> None:
    """Every folder in its place is a whole artifact, and the index shows exactly these."""
    folders = [path.name for kind in ("models", "runs", "telemetry") for path in root.glob(f"{kind}/*")]
    found = registry.find(Query(size=1000)).artifacts
    assert sorted(item["id"] for item in found) == sorted(folders)
    for item in found if deep else ():
        versions = registry.versions(item["id"]) if item["kind"] == "model" else [None]
        assert versions in ([None], list(range(1, len(versions) + 1)))
        for version in versions:
            id = item["id"] if version is None else f"{item['id']}@v{version}"
            contents = registry.catalog(id)["contents"]
            assert contents
            for content in contents:
                data = stored_bytes(registry, id, content["name"])
                assert "sha256:" + hashlib.sha256(data).hexdigest() == content["sha256"]


def test_killed_two_hundred_times_nothing_is_half_there(registry: Registry, tmp_path: Path) -> None:
    chance = random.Random(20250919)
    model = publish(registry, "model", name="model", model_hash="sha256:00")
    with subprocess.Popen(
        command(DISTURBED, tmp_path, model), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for round in range(200):
            parent.stdin.write("one more\n")
            parent.stdin.flush()
            child = int(parent.stdout.readline())
            time.sleep(chance.uniform(0, 0.06))
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == "reaped\n"
            if round % 10 == 0:
                registry.close()  # the next question opens the index that the killed process left
            assert_whole(registry, tmp_path / "artifacts", deep=round % 10 == 0)
        parent.stdin.close()
    publish(registry)
    registry.rebuild()
    status = registry.status()
    assert (status["broken"], status["foreign"]) == ([], [])
    assert_whole(registry, tmp_path / "artifacts")
    assert verify(registry).findings == ()


def test_edits_of_two_processes_all_survive(registry: Registry, tmp_path: Path) -> None:
    id = publish(registry)
    together(*[command(TAGGING, tmp_path, id)] * 2)
    assert len(registry.catalog(id)["tags"]) == 50
    [item] = registry.find(Query()).artifacts
    assert len(item["tags"]) == 50


def test_versions_of_eight_racing_processes_are_distinct_and_contiguous(
    registry: Registry, tmp_path: Path
) -> None:
    id = publish(registry, "model", model_hash="sha256:00")
    together(*[command(VERSIONS, tmp_path, id)] * 8)
    assert registry.versions(id) == list(range(1, 2 + 8 * 6))
    assert_whole(registry, tmp_path / "artifacts")


def test_a_crowd_of_eight_writers_and_four_readers_loses_nothing(registry: Registry, tmp_path: Path) -> None:
    """On one index file, which nobody has made yet."""
    readers = [started(command(READING, tmp_path)) for _ in range(4)]
    published = together(*[command(PUBLISHING, tmp_path, f"writer{n} {CROWDED}") for n in range(8)])
    (tmp_path / "artifacts/over").touch()
    ended(readers)
    (tmp_path / "artifacts/over").unlink()
    total = registry.find(Query(tags=(("crowd",),))).total
    assert total == sum(map(int, published))
    for number, count in enumerate(published):
        assert registry.find(Query(text=f"writer{number}")).total == int(count)
    assert verify(registry).findings == ()


def test_an_open_registry_sees_what_another_process_did_at_the_next_call(
    registry: Registry, tmp_path: Path
) -> None:
    other = Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "another user's cache")
    for _ in range(20):
        before = other.find(Query()).total
        id = publish(registry)
        assert other.find(Query()).total == before + 1
        registry.tag(id, ["seen"])
        assert [item["id"] for item in other.find(Query(tags=(("seen",),))).artifacts] == [id]
        registry.delete(id)
        assert other.find(Query(tags=(("seen",),))).total == 0
        registry.restore(id)
        registry.tag(id, [], ["seen"])
        assert other.find(Query(tags=(("seen",),))).total == 0


@pytest.fixture
def small_disk(tmp_path: Path, unavailable: Callable[[str], NoReturn]) -> Any:
    """A folder on a file system of 512 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        unavailable("mounting a file system needs root on Linux")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        unavailable("this machine does not let a file system be mounted")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_stores_nothing_half(small_disk: Path, tmp_path: Path) -> None:
    registry = Registry.open(small_disk / "artifacts", cache_dir=tmp_path / "cache")
    published = 0

    def fill() -> None:
        nonlocal published
        while True:
            publish(registry, files={"binned_v0.csv": bytes(30_000)})
            published += 1

    with pytest.raises(Unavailable) as caught:
        fill()
    assert caught.value.code == "FT604"
    assert published > 5
    assert_whole(registry, small_disk / "artifacts")
    assert registry.find(Query()).total == published
    [newest] = registry.find(Query(size=1)).artifacts
    registry.delete(newest["id"])
    registry.purge()
    publish(registry, files={"binned_v0.csv": bytes(20_000)})
    assert registry.find(Query()).total == published


def test_read_only_registry_can_be_listed_and_says_why_it_cannot_be_changed(
    small_disk: Path, tmp_path: Path
) -> None:
    id = publish(Registry.open(small_disk / "artifacts", cache_dir=tmp_path / "first"))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    registry = Registry.open(small_disk / "artifacts", cache_dir=tmp_path / "cache")
    assert [item["id"] for item in registry.find(Query()).artifacts] == [id]
    assert registry.catalog(id)["name"] == "one"
    for change in (lambda: publish(registry), lambda: registry.tag(id, ["a"]), lambda: registry.delete(id)):
        with pytest.raises(Unavailable) as caught:
            change()
        assert caught.value.code == "FT605"
        assert "read-only" in str(caught.value)


def test_full_cache_folder_does_not_stop_a_listing(
    registry: Registry, small_disk: Path, tmp_path: Path
) -> None:
    ids = {
        publish(registry, name=f"run-{number}", nodes=[f"node_{n}" for n in range(200)])
        for number in range(60)
    }
    (small_disk / "filler").write_bytes(b"x" * 400_000)
    crammed = Registry.open(tmp_path / "artifacts", cache_dir=small_disk)
    assert {item["id"] for item in crammed.find(Query(size=100)).artifacts} == ids
    assert crammed.status()["index"] is None
