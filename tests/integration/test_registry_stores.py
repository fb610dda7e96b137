"""The registry on every kind of store: the commands, crowds of processes, killed ones, lost replies."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.commands import together
from tests.proxies import ADDRESSES, Forgetful
from tests.worlds import publish, stored_bytes

from flowtime.cli import main
from flowtime.registry import Query, Registry
from flowtime.storage import open_store

COMMON = """
import os, sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from flowtime.registry import Query, Registry
from flowtime.registry.catalog import Catalog, Parent

root, cache, argument = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
ahead = timedelta(hours=float(sys.argv[4]))
registry = Registry.open(root, cache_dir=cache, clock=lambda: datetime.now(UTC) + ahead)

def publish(kind, name, size=1, update=None, **fields):
    with registry.stage(kind) as staging:
        for file in ("binned_v0.csv", "model.yaml"):
            (staging.path / file).write_bytes(os.urandom(size))
        catalog = Catalog(kind=kind, name=name, owner="a", source="engine", engine_version="1", **fields)
        return staging.publish(catalog, update=update)["id"]
"""

VERSIONS = """
publish("model", "model", update=argument, model_hash=f"sha256:{os.urandom(8).hex()}")
"""

TAGGING = """
for number in range(12):
    registry.tag(argument, [f"{os.getpid()}-{number}"])
"""

PUBLISHING = """
end = time.monotonic() + float(argument)
while time.monotonic() < end:
    print(publish("run", "run", tags=["crowd"]), flush=True)
"""

READING = """
end, seen = time.monotonic() + float(argument), set()
while time.monotonic() < end:
    page = registry.find(Query(tags=(("crowd",),), size=1000))
    found = {item["id"] for item in page.artifacts}
    assert found >= seen and page.total == len(found), seen - found
    for id in list(found - seen)[:2]:
        with registry.stream(id, "model.yaml") as stream:
            assert len(stream.read()) == 1
    seen = found
"""

DISTURBED = """
print("ready", flush=True)
for number in range(100_000):
    run = publish("run", f"run-{number}", size=2000, parents=[Parent(id=argument)])
    model = publish("model", f"model-{number}", size=2000, model_hash=f"sha256:{os.urandom(8).hex()}")
    publish("model", "again", size=2000, update=model, model_hash=f"sha256:{os.urandom(8).hex()}")
    for id in (run, model):
        registry.delete(id, force=True)
    registry.restore(model)
    if number % 2:
        registry.restore(run)
"""

HOURS = """
for number in range(5):
    id = publish("run", argument, tags=["clock"])
    assert id in {item["id"] for item in registry.find(Query(size=100)).artifacts}
"""


def command(script: str, root: str, cache: Path, argument: str = "", hours: float = 0) -> list[str]:
    return [sys.executable, "-c", COMMON + script, root, str(cache), argument, str(hours)]


def assert_whole(registry: Registry) -> set[str]:
    """What is found is whole to the last byte, and storage has no artifact that is not found."""
    found = {item["id"]: item for item in registry.find(Query(size=1000)).artifacts}
    for id, item in found.items():
        versions = registry.versions(id) if item["kind"] == "model" else [None]
        assert versions[0] in (None, 1)
        for version in versions:
            full = id if version is None else f"{id}@v{version}"
            for content in registry.catalog(full)["contents"]:
                data = stored_bytes(registry, full, content["name"])
                assert "sha256:" + hashlib.sha256(data).hexdigest() == content["sha256"]
    there = {
        id
        for folder, catalog in (("models", "v1/catalog.json"), ("runs", "catalog.json"))
        for id in registry.store.list(folder).folders
        if registry.store.size(f"{folder}/{id}/{catalog}") is not None
    }
    assert set(found) == there
    return set(found)


@pytest.fixture
def seaweedfs(place: Callable[[str], str]) -> str:
    """The address of a new, empty store on an S3 server."""
    return place("seaweedfs")


def flowtime(capsys: pytest.CaptureFixture[str], root: str, *arguments: str) -> Any:
    """Runs a command in this process, which a store in memory needs, and reads the JSON it prints."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--artifacts", root, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0, printed
    return printed


def test_the_commands_work_on_every_store(
    everywhere: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # a command takes signals for its whole process

    def run(*arguments: str) -> Any:
        return flowtime(capsys, everywhere, *arguments)

    model = run("sim", "new", "--template", "checkout", "--name", "shop")["id"]
    made = run("run", "--model", "shop", "--name", "shop-run", "--tags", "a,b")
    assert made["folder"] == f"{everywhere}/runs/{made['id']}"
    exported = run("export", "--run", "shop-run", "--format", "parquet", "--out", f"{tmp_path}/e.parquet")
    telemetry = run("import", "--data", f"{tmp_path}/e.parquet", "--name", "again")
    assert telemetry["data"]["digest"] == exported["digest"]
    looped = run("test-loop", "--model", model)
    assert looped["ok"]
    assert set(run("show", model)["loop"]) == set(looped["formats"])
    assert run("list", "--kind", "all")["total"] == 3
    run("delete", "--id", made["id"], "--confirm", "--force")
    assert run("list", "--kind", "run")["total"] == 0
    assert run("restore", made["id"])["tags"] == ["a", "b"]
    assert run("list", "--tag", "a", "--kind", "run")["artifacts"][0]["id"] == made["id"]
    assert run("export", "--run", "shop-run", "--format", "gold", "--out", f"{tmp_path}/e.csv")["rows"]
    run("delete", "--id", telemetry["id"], "--confirm", "--force")
    assert run("purge", "--confirm")["purged"] == [telemetry["id"]]
    rebuilt = run("index", "rebuild")
    assert (rebuilt["artifacts"], rebuilt["broken"], rebuilt["foreign"]) == (2, [], [])


def test_eight_writers_get_contiguous_versions(shared: str, tmp_path: Path) -> None:
    registry = Registry.open(shared, cache_dir=tmp_path / "cache")
    id = publish(registry, "model", model_hash="sha256:00")
    together(*[command(VERSIONS, shared, tmp_path / "cache", id)] * 8)
    assert registry.versions(id) == list(range(1, 10))
    hashes = {registry.catalog(f"{id}@v{version}")["model_hash"] for version in registry.versions(id)}
    assert len(hashes) == 9
    assert_whole(registry)


def test_edits_of_two_processes_all_survive(shared: str, tmp_path: Path) -> None:
    registry = Registry.open(shared, cache_dir=tmp_path / "cache")
    id = publish(registry)
    together(*[command(TAGGING, shared, tmp_path / f"cache-{number}", id) for number in range(2)])
    assert len(registry.catalog(id)["tags"]) == 24
    [item] = registry.find(Query()).artifacts
    assert len(item["tags"]) == 24


def test_a_crowd_loses_nothing_and_sees_no_error(seaweedfs: str, tmp_path: Path) -> None:
    writers = [command(PUBLISHING, seaweedfs, tmp_path / f"cache-{n % 2}", "8") for n in range(8)]
    readers = [command(READING, seaweedfs, tmp_path / f"cache-{n % 2}", "8") for n in range(4)]
    printed = together(*writers, *readers)
    published = {id for out in printed for id in out.split()}
    assert len(published) > 20
    registry = Registry.open(seaweedfs, cache_dir=tmp_path / "cache-0")
    assert assert_whole(registry) == published
    assert assert_whole(Registry.open(seaweedfs, cache_dir=tmp_path / "cache-new")) == published


def test_killed_at_any_moment_nothing_is_half_visible(
    seaweedfs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(20250919)
    registry = Registry.open(seaweedfs, cache_dir=tmp_path / "cache")
    base = publish(registry, "model", name="base", model_hash="sha256:00")
    for _ in range(16):
        # Four at a time, so that some are killed in the middle of what another one follows.
        processes = [
            subprocess.Popen(command(DISTURBED, seaweedfs, tmp_path / "cache", base), stdout=subprocess.PIPE)
            for _ in range(4)
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
        for process in processes:
            time.sleep(chance.uniform(0, 0.12))
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "it ended by itself, with an error"
        assert base in assert_whole(registry)
    # What a deletion or restoration that was cut short left is in both places.
    for id in {item["id"] for item in registry.trash()} - assert_whole(registry):
        assert registry.restore(id) == id
    before = assert_whole(registry)
    # What the killed ones left is cleared away once it counts as abandoned, and nothing else.
    monkeypatch.setattr("flowtime.registry.registry._ABANDONED", 0)
    for _ in range(10):
        before.add(publish(registry))
    assert registry.store.sweep(0, ".trash/staging") == ()
    assert assert_whole(registry) == before
    rebuilt = registry.rebuild()
    assert (rebuilt.artifacts, rebuilt.broken, rebuilt.foreign) == (len(before), [], [])
    assert assert_whole(registry) == before


def test_a_registry_copied_from_a_folder_is_whole(seaweedfs: str, tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    registry = Registry.open(folder, cache_dir=tmp_path / "cache")
    ids = {publish(registry), publish(registry, "model", model_hash="sha256:00")}
    deleted = publish(registry)
    registry.delete(deleted)
    store = open_store(seaweedfs)
    for path in sorted(folder.rglob("*")):
        key = path.relative_to(folder).as_posix()
        if path.is_file() and not key.startswith((".staging/", ".log/")):
            store.put(key, path.read_bytes())
    copied = Registry.open(seaweedfs, cache_dir=tmp_path / "cache")
    assert assert_whole(copied) == ids
    assert copied.restore(deleted) == deleted
    assert assert_whole(copied) == {*ids, deleted}


def test_clocks_an_hour_apart(seaweedfs: str, tmp_path: Path) -> None:
    together(
        *(
            command(HOURS, seaweedfs, tmp_path / name, name, hours)
            for name, hours in (("early", -1), ("late", 1), ("today", 0))
        )
    )
    caches = (tmp_path / name for name in ("early", "late", "fresh"))
    listed = [
        [item["id"] for item in Registry.open(seaweedfs, cache_dir=cache).find(Query(size=100)).artifacts]
        for cache in caches
    ]
    assert len(listed[0]) == 15
    assert listed[0] == listed[1] == listed[2]

    def late() -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)

    registry = Registry.open(seaweedfs, cache_dir=tmp_path / "early")
    other = Registry.open(seaweedfs, cache_dir=tmp_path / "late", clock=late)
    id = publish(other)
    registry.tag(id, ["seen"])
    assert other.find(Query(tags=(("seen",),))).total == 1


@pytest.mark.parametrize("name", ["seaweedfs", "azurite"])
def test_a_lost_reply_to_a_conditional_put_is_no_conflict(
    name: str,
    place: Callable[[str], str],
    server: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    seen: set[bytes] = set()

    def loses(request: bytes) -> bool:
        """The first conditional put of each object."""
        top = request.partition(b"\r\n\r\n")[0].lower()
        line = top.partition(b"\r\n")[0]
        conditional = line.startswith(b"put") and (b"if-none-match" in top or b"if-match" in top)
        if not conditional or line in seen:
            return False
        seen.add(line)
        return True

    root = place(name)
    with Forgetful(server(name).address, loses) as proxy:
        monkeypatch.setenv(ADDRESSES[name], proxy.address)
        registry = Registry.open(root, cache_dir=tmp_path / "cache")
        model = publish(registry, "model", name="shop", model_hash="sha256:c2c6abcd")
        assert model == "shop_c2c6abcd"  # the first id it tried, not one to evade a conflict
        assert registry.versions(model) == [1]
        seen.clear()
        assert registry.tag(model, ["a"])["tags"] == ["a"]
        store = open_store(f"{root}/counter")
        store.put("count", b"1")
        assert store.update("count", lambda data: b"%d" % (int(data) + 1)) == b"2"
        assert store.get("count") == b"2"
        assert store.put_if_absent("once", b"same")
        assert not store.put_if_absent("once", b"same")
        registry.delete(model)
        assert registry.restore(model) == model
        assert assert_whole(registry) == {model}
        assert proxy.lost >= 8


def test_a_change_that_is_given_up_gets_a_last_look(
    everywhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index saw the announcement and then nobody asked it for long: what came after it still counts."""
    registry = Registry.open(everywhere, cache_dir=tmp_path / "cache")
    id = publish(registry)
    announced = registry.artifacts.changing("tag", f"runs/{id}", hint=False)
    announced.__enter__()
    assert registry.find(Query()).total == 1
    registry.store.update(
        f"runs/{id}/catalog.json", lambda data: data.replace(b'"tags": []', b'"tags": ["late"]')
    )
    now = time.time()
    monkeypatch.setattr("flowtime.registry.follower.time.time", lambda: now + 3600)
    assert registry.find(Query(tags=(("late",),))).total == 1
