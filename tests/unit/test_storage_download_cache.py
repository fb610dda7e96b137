"""The local copies of a bucket's files: none is lost to a reader, and none is left behind."""

from __future__ import annotations

import gc
import random
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.proxies import ADDRESSES, Forgetful

from flowtime.errors import FlowtimeError, NotFound
from flowtime.storage import Store, objects, open_store
from flowtime.storage.download_cache import DownloadCache


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """The folders of downloaded files; each of these has one of its own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return lambda: list(folder.glob("flowtime-*/*"))


def crowd(work: Callable[[int], None], count: int = 16) -> None:
    """So many threads at once; what one of them raises is raised."""
    failed: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001 (raised by the caller)
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


ROOM = 300_000
LARGEST = 26_000


def test_sixteen_threads_over_two_hundred_keys_lose_no_file(
    place: Callable[[str], str], kept: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """6,400 opens, with room for a tenth of the files, of which one is written again and again."""
    monkeypatch.setattr(objects, "_ROOM", ROOM)
    most = read_at_once(open_store(place("seaweedfs")), kept)
    # Beyond the bound, each thread holds two files, and fetches one or lets it go.
    assert ROOM < most <= ROOM + 16 * 3 * LARGEST
    gc.collect()
    assert kept() == []


def read_at_once(store: Store, kept: Callable[[], list[Path]]) -> int:
    """The most bytes that were seen on the disk while 16 threads read."""
    keys = [f"runs/{number}/data.csv" for number in range(200)]

    def text(key: str) -> bytes:
        number = int(key.split("/")[1])
        return b"%05d;" % number * (500 + number * 19)

    def fill(thread: int) -> None:
        for key in keys[thread::16]:
            store.put(key, text(key))

    crowd(fill)
    assert max(len(text(key)) for key in keys) <= LARGEST
    most = 0

    def read(seed: int) -> None:
        nonlocal most
        chance = random.Random(seed)
        for _ in range(200):
            held, other = chance.sample(keys, 2)
            with store.file(held) as path:
                with store.open(other) as stream:
                    assert stream.read() == text(other)
                assert path.name == "data.csv"
                assert path.read_bytes() == text(held)
            if seed == 0:
                store.put(keys[7], text(keys[7]))
                most = max(most, used(kept()))

    crowd(read)
    assert used(kept()) <= ROOM
    return most


def used(folders: list[Path]) -> int:
    """Bytes in folders, of which any may go meanwhile."""
    size = 0
    for folder in folders:
        try:
            size += sum(path.stat().st_size for path in folder.iterdir())
        except FileNotFoundError:
            continue
    return size


def test_one_download_serves_all_who_ask(
    place: Callable[[str], str],
    server: Callable[[str], Any],
    kept: Callable[[], list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[bytes] = []

    def look(request: bytes) -> bool:
        """Downloads, and questions whether a file has changed, are told apart by their condition."""
        if request.startswith(b"GET") and b"/large" in request.partition(b"\r\n")[0]:
            sent.append(request.lower())
        return False

    root = place("seaweedfs")
    open_store(root).put("large", b"x" * 3_000_000)
    with Forgetful(server("seaweedfs").address, look) as proxy:
        monkeypatch.setenv(ADDRESSES["seaweedfs"], proxy.address)
        store = open_store(root)
        crowd(lambda _: store.open("large").close())
    assert len([each for each in sent if b"if-none-match" not in each]) == 1
    assert len(kept()) == 1


@pytest.mark.filterwarnings("ignore:unclosed file")
def test_a_stream_that_nobody_closed_holds_nobody_up(kept: Callable[[], list[Path]], unclosed: None) -> None:
    """It is closed by the collector of garbage, which may come at any line of any thread."""
    cache = DownloadCache(small, 20_000)

    def drop(seed: int) -> None:
        for number in range(200):
            ring: list[Any] = [cache.open(f"{(seed * 7 + number) % 20}")]
            ring.append(ring)

    crowd(drop, 8)
    gc.collect()
    assert len(kept()) <= 5
    with cache.file("3") as path:
        assert path.read_bytes() == b"3"


@pytest.fixture
def unclosed() -> Iterator[None]:
    """Threads take turns, and the collector comes, as often as they can."""
    before, pause = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(1, 1, 1)
    sys.setswitchinterval(1e-6)
    yield
    gc.set_threshold(*before)
    sys.setswitchinterval(pause)


def small(key: str, etag: str, target: Path) -> str | None:
    if etag:
        return None
    target.write_bytes(key.encode())
    return "1"


def test_a_download_that_fails_leaves_nothing(kept: Callable[[], list[Path]]) -> None:
    def fetch(key: str, etag: str, target: Path) -> str | None:
        target.write_bytes(b"half of")
        raise OSError(5, "Input/output error", str(target))

    cache = DownloadCache(fetch, 20_000)
    for _ in range(3):
        with pytest.raises(OSError, match="Input/output"), cache.file("a"):
            pass
    assert kept() == []


@pytest.mark.parametrize("name", ["seaweedfs", "moto", "azurite"])
def test_a_file_is_fetched_again_only_when_it_has_changed(place: Callable[[str], str], name: str) -> None:
    store = open_store(place(name))
    store.put("a", b"1")
    with store.file("a") as first, store.file("a") as second:
        assert first == second
        store.put("a", b"2")
        with store.file("a") as third:
            assert third.read_bytes() == b"2"
        assert first.read_bytes() == b"1"
    assert not first.exists()
    store.delete("a")
    with pytest.raises(NotFound), store.file("a"):
        pass


def test_a_download_stays_while_it_is_used_and_is_made_once(tmp_path: Path) -> None:
    fetched: list[str] = []

    def fetch(key: str, etag: str, target: Path) -> str | None:
        if etag:
            return None
        fetched.append(key)
        target.write_bytes(key.encode() * 5000)
        return "1"

    cache = DownloadCache(fetch, 100_000)
    failed: list[BaseException] = []

    def read(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(100):
                key = f"{chance.randrange(20):05}"
                with cache.open(key) as stream:
                    assert stream.read() == key.encode() * 5000
                with cache.file(key) as path:
                    assert path.stat().st_size == 25_000
        except (AssertionError, OSError, FlowtimeError) as error:
            failed.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with cache.file("00000") as path:
        kept = list(path.parents[1].iterdir())
    assert sum(25_000 for _ in kept) <= 100_000

    fetched.clear()
    threads = [threading.Thread(target=lambda: cache.open("new").close()) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == ["new"]
