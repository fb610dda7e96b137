"""What every store must do, on each of `PLACES` in `conftest.py`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from flowtime.errors import InvalidInput, NotFound
from flowtime.storage import Listing, LocalStore, Store, open_store


@pytest.fixture
def store(everywhere: str) -> Store:
    """A store in which nothing is."""
    return open_store(everywhere)


def publish(store: Store, prefix: str, **files: str) -> bool:
    with store.stage() as folder:
        for name, text in files.items():
            (folder / name).write_text(text)
        return store.publish(folder, prefix, "catalog")


def file_of(store: Store, key: str) -> bytes:
    with store.file(key) as path:
        return path.read_bytes()


def put(store: Store, **keys: str) -> None:
    for key, text in keys.items():
        store.put(key.replace("__", "/"), text.encode())


def test_what_was_put_is_got(store: Store) -> None:
    store.put("a/b.txt", b"first")
    store.put("a/b.txt", b"second")
    assert store.get("a/b.txt") == b"second"
    assert store.get_range("a/b.txt", 2, 3) == b"con"
    assert store.get_range("a/b.txt", 4, 100) == b"nd"
    assert file_of(store, "a/b.txt") == b"second"
    with store.open("a/b.txt") as stream:
        stream.seek(3)
        assert stream.read() == b"ond"
    assert store.size("a/b.txt") == 6


@pytest.mark.parametrize("read", ["get", "open", "file"])
def test_reading_what_is_not_there(store: Store, read: str) -> None:
    put(store, a__b="x")
    for key in ("nothing", "a", "a/b/c"):
        with pytest.raises(NotFound) as caught:
            (partial(file_of, store) if read == "file" else getattr(store, read))(key)
        assert caught.value.code == "FT601"
        assert store.size(key) is None


def test_reading_leaves_nothing_behind(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "root")
    assert store.list("") == Listing()
    assert store.records("log", "") == ((), "")
    store.delete("a")
    store.remove("a", "catalog")
    store.sweep(0, "trash")
    with pytest.raises(NotFound):
        store.update("a", bytes.upper)
    assert list(tmp_path.iterdir()) == []


def test_many_keys_come_in_order_and_one_missing_does_not_stop_the_rest(store: Store) -> None:
    put(store, a="1", c="3")
    found = list(store.get_many(["c", "b", "a"]))
    assert found[0] == b"3"
    assert isinstance(found[1], NotFound)
    assert found[2] == b"1"


def test_listing_goes_one_level_deep(store: Store) -> None:
    put(store, top="", runs__b__data="", runs__a__data="", runs__note="")
    assert store.list("") == Listing(("runs",), ("top",))
    assert store.list("runs") == Listing(("a", "b"), ("note",))
    assert store.list("runs/a") == Listing((), ("data",))
    assert store.list("other") == Listing()


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\\b", "a\nb", "a\0b", "a/" * 500 + "a"],
)
def test_keys_that_lead_elsewhere_are_refused(store: Store, key: str) -> None:
    remove = partial(store.remove, last="catalog")
    read_file = partial(file_of, store)
    for use in (store.get, store.size, store.delete, remove, store.open, read_file):
        with pytest.raises(InvalidInput) as caught:
            use(key)
        assert caught.value.code == "FT603"
    with pytest.raises(InvalidInput):
        store.put(key, b"")
    with pytest.raises(InvalidInput):
        store.move(key, "b", "x")


def test_of_many_creators_one_wins(store: Store) -> None:
    won: list[int] = []

    def create(number: int) -> None:
        if store.put_if_absent("marker", str(number).encode()):
            won.append(number)

    in_threads(create, 8)
    assert len(won) == 1
    assert store.get("marker") == str(won[0]).encode()


def test_no_update_is_lost(store: Store) -> None:
    store.put("count", b"0")
    in_threads(lambda _: store.update("count", lambda data: str(int(data) + 1).encode()), 8, times=10)
    assert store.get("count") == b"80"


def test_an_update_that_fails_changes_nothing(store: Store) -> None:
    store.put("a", b"before")

    def fail(_: bytes) -> bytes:
        raise KeyError

    with pytest.raises(KeyError):
        store.update("a", fail)
    assert store.get("a") == b"before"


def test_delete(store: Store) -> None:
    put(store, a__b="x")
    store.delete("a/b")
    store.delete("a/b")
    assert store.size("a/b") is None


def test_log_is_read_from_where_one_left_off(store: Store) -> None:
    store.append("log/changes", "one")
    store.append("log/changes", "two")
    found = store.records("log/changes", "")
    assert found is not None
    lines, position = found
    assert list(lines) == ["one", "two"]
    store.append("log/changes", "three")
    found = store.records("log/changes", position)
    assert found is not None
    assert list(found[0]) == ["three"]
    assert store.records("log/changes", found[1]) == ((), found[1])
    for count, last in ((2, ["two", "three"]), (5, ["one", "two", "three"])):
        lines, position = store.tail("log/changes", count)
        assert (list(lines), position) == (last, found[1])
    assert store.tail("log/others", 5) == ((), "")


def test_log_that_was_replaced_is_noticed(store: Store) -> None:
    for number in range(10):
        store.append("log", str(number))
    found = store.records("log", "")
    assert found is not None
    store.delete("log")
    store.append("log", "new")
    assert store.records("log", found[1]) is None


def test_a_log_that_was_replaced_by_a_longer_one_is_noticed(store: Store) -> None:
    for number in range(3):
        store.append("log", str(number))
    _, position = store.tail("log", 1)
    store.delete("log")
    for number in range(6):
        store.append("log", f"{number}!")
    assert store.records("log", position) is None


def test_of_two_who_want_a_turn_one_waits(store: Store) -> None:
    inside: list[int] = []

    def work(number: int) -> None:
        with store.turn("runs/a"):
            assert inside == []
            inside.append(number)
            inside.remove(number)

    in_threads(work, 4, times=5)


def test_lines_of_many_writers_stay_whole(store: Store) -> None:
    in_threads(lambda number: store.append("log", f"{number}" * 300), 8, times=5)
    found = store.records("log", "")
    assert found is not None
    assert sorted(found[0]) == sorted(f"{number}" * 300 for number in range(8) for _ in range(5))


def test_who_follows_a_log_sees_every_line_once_and_in_order(store: Store) -> None:
    seen: list[str] = []
    position = ""

    def follow_or_write(number: int) -> None:
        nonlocal position
        for count in range(10):
            if number:
                store.append("log", f"{number} {count}")
            else:
                found = store.records("log", position)
                assert found is not None
                seen.extend(found[0])
                position = found[1]

    in_threads(follow_or_write, 4)
    follow_or_write(0)
    whole = store.records("log", "")
    assert whole is not None
    assert seen == list(whole[0])
    assert sorted(seen) == [f"{number} {count}" for number in (1, 2, 3) for count in range(10)]


def test_marks_tell_of_changes(store: Store) -> None:
    def marks() -> tuple[str, ...]:
        return store.marks(("marker",), ("log",), ("runs", "models"))

    def changed(number: int, before: tuple[str, ...]) -> bool:
        now = marks()[number]
        return not now or now != before[number]

    empty = marks()
    put(store, marker="1")
    assert changed(0, empty)
    written = marks()
    put(store, marker="2")
    assert changed(0, written)
    publish(store, "runs/a", catalog="1")
    store.append("log", "one")
    told = marks()
    assert changed(1, written)
    store.move("runs/a", "trash/a", "catalog")
    store.append("log", "two")
    assert changed(1, told)
    if isinstance(store, LocalStore):
        assert changed(2, written)
        assert changed(2, told)


def test_marks_of_what_rests_stay_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    put(store, runs__a="")
    assert store.marks((), (), ("runs", "absent"))[0] == ""
    monkeypatch.setattr(
        "flowtime.storage.local.time.time_ns", lambda: (tmp_path / "runs").stat().st_mtime_ns + 10**9
    )
    marks = store.marks((), (), ("runs", "absent"))
    assert all(marks)
    assert store.marks((), (), ("runs", "absent")) == marks


def test_published_files_appear_together(store: Store) -> None:
    with store.stage() as folder:
        (folder / "data.csv").write_bytes(b"1,2\n")
        (folder / "catalog.json").write_bytes(b"{}")
        assert store.list("") == Listing()
        assert store.publish(folder, "runs/a", "catalog.json")
    assert store.list("runs/a") == Listing((), ("catalog.json", "data.csv"))
    assert store.get("runs/a/data.csv") == b"1,2\n"


def test_of_many_publishers_one_wins(store: Store) -> None:
    won: list[int] = []

    def publish(number: int) -> None:
        with store.stage() as folder:
            (folder / "catalog.json").write_text(str(number))
            if store.publish(folder, "models/a/v1", "catalog.json"):
                won.append(number)

    in_threads(publish, 8)
    assert len(won) == 1
    assert store.get("models/a/v1/catalog.json") == str(won[0]).encode()


def test_a_refused_publication_can_go_elsewhere(store: Store) -> None:
    put(store, runs__a__data="first")
    with store.stage() as folder:
        (folder / "data").write_text("second")
        assert not store.publish(folder, "runs/a", "data")
        assert store.publish(folder, "runs/b", "data")
    assert (store.get("runs/a/data"), store.get("runs/b/data")) == (b"first", b"second")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_is_not_published_is_gone(store: Store, error: type[BaseException]) -> None:
    staged: list[Path] = []

    def interrupted() -> None:
        with store.stage() as folder:
            staged.append(folder)
            (folder / "data").write_text("x")
            raise error

    with pytest.raises(error):
        interrupted()
    assert not staged[0].exists()
    assert store.list("") == Listing()


def test_move(store: Store) -> None:
    put(store, runs__a__data="1", runs__a__catalog="2", trash__1__data="old")
    assert not store.move("runs/a", "trash/1", "catalog")
    assert store.move("runs/a", "trash/2", "catalog")
    assert store.list("runs/a") == Listing()
    assert store.get("trash/2/data") == b"1"
    with pytest.raises(NotFound):
        store.move("runs/a", "trash/3", "catalog")


def test_remove(store: Store) -> None:
    put(store, a__b__c="1", a__d="2", e="3")
    store.remove("a", "catalog")
    store.remove("a", "catalog")
    assert (store.size("a/b/c"), store.size("a/d")) == (None, None)
    assert store.list("").files == ("e",)


def in_threads(work: Callable[[int], object], count: int, times: int = 1) -> None:
    """Runs `work(0)` to `work(count - 1)` at once, each several times; an error in one fails the test."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            for _ in range(times):
                work(number)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
