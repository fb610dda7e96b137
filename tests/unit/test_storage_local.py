"""The store in a folder: its address, its errors, and what interrupted writers leave."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from flowtime.errors import InvalidInput, Unavailable
from flowtime.storage import LocalStore, open_store


def test_a_folder_and_its_url_are_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my artifacts").mkdir()
    (tmp_path / "link").symlink_to("my artifacts")
    spellings = ["my artifacts", str(tmp_path / "my artifacts"), (tmp_path / "my artifacts").as_uri(), "link"]
    assert len({open_store(spelling).url for spelling in spellings}) == 1


@pytest.mark.parametrize("url", ["gs://bucket/a", "https://host/a", "file://host/a", "x://", ""])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_store(url)
    assert caught.value.code == "FT602"
    assert "folder" in str(caught.value)


def test_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("not a folder")
    store = open_store(tmp_path / "root")
    for use in (lambda: store.list(""), lambda: store.list("runs"), lambda: store.put("a", b"")):
        with pytest.raises(Unavailable) as caught:
            use()
        assert caught.value.code == "FT606"
        assert str(tmp_path / "root") in str(caught.value)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "FT604"),
        (errno.EDQUOT, "FT604"),
        (errno.EFBIG, "FT604"),
        (errno.EROFS, "FT605"),
        (errno.EACCES, "FT605"),
        (errno.EIO, "FT606"),
    ],
)
def test_errors_of_the_disk_in_a_staged_file_say_where_and_what_to_do(
    tmp_path: Path, number: int, code: str
) -> None:
    store = LocalStore(tmp_path)

    def write() -> None:
        with store.stage() as folder:
            raise OSError(number, os.strerror(number), str(folder / "data.csv"))

    with pytest.raises(Unavailable) as caught:
        write()
    assert caught.value.code == code
    assert caught.value.where is not None
    assert caught.value.where.endswith("data.csv")
    assert caught.value.hint


def test_an_error_that_is_not_the_disks_passes(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)

    def read() -> None:
        with store.stage():
            (tmp_path / "elsewhere").read_text()

    with pytest.raises(FileNotFoundError):
        read()


def test_a_line_cut_off_by_a_full_disk_does_not_swallow_the_next(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.append("log", "whole")
    with (tmp_path / "log").open("ab") as stream:
        stream.write(b"cut o")
    store.append("log", "next")
    found = store.records("log", "")
    assert found is not None
    assert list(found[0]) == ["whole", "cut o", "next"]


def test_sweep_moves_only_what_is_old(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a", b"")
    for name in ("old", "new"):
        (tmp_path / ".staging" / name).mkdir()
    os.utime(tmp_path / ".staging" / "old", (0, 0))
    os.utime(tmp_path / ".staging" / ".lock", (0, 0))
    assert len(store.sweep(3600, ".trash/staging")) == 1
    assert (tmp_path / ".trash/staging/old").is_dir()
    assert sorted(path.name for path in (tmp_path / ".staging").iterdir()) == [".lock", "new"]


def test_a_killed_writer_lets_go_of_the_lock(tmp_path: Path) -> None:
    script = (
        "import os, sys, signal; from pathlib import Path; from flowtime.storage import LocalStore\n"
        "LocalStore(Path(sys.argv[1])).update('a', lambda data: os.kill(os.getpid(), signal.SIGKILL))"
    )
    store = LocalStore(tmp_path)
    store.put("a", b"before")
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert store.update("a", bytes.upper) == b"BEFORE"


@contextmanager
def mounted(folder: Path, options: str, unavailable: Callable[[str], NoReturn]) -> Iterator[Path]:
    """A memory file system of 1 MB at the folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        failed = subprocess.run(mount, capture_output=True, check=False).returncode
    except FileNotFoundError:
        failed = 1
    if failed:
        unavailable("mounting a file system needs root on Linux")
    try:
        if options:
            subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk(tmp_path: Path, unavailable: Callable[[str], NoReturn]) -> None:
    with mounted(tmp_path / "small", "", unavailable) as root:
        store = LocalStore(root)
        store.put("kept", b"before")

        def fill() -> None:
            with store.stage() as folder:
                (folder / "data").write_bytes(b"x" * 2_000_000)

        with pytest.raises(Unavailable) as caught:
            fill()
        assert caught.value.code == "FT604"
        with pytest.raises(Unavailable) as caught:
            store.put("kept", b"x" * 2_000_000)
        assert caught.value.code == "FT604"
        assert store.get("kept") == b"before"
        assert [path.name for path in (root / ".staging").iterdir()] == [".lock"]


def test_read_only_disk(tmp_path: Path, unavailable: Callable[[str], NoReturn]) -> None:
    with mounted(tmp_path / "fixed", "ro", unavailable) as root:
        store = LocalStore(root)
        assert store.list("").files == ()
        for use in (
            lambda: store.put("a", b""),
            lambda: store.append("log", "x"),
            lambda: store.stage().__enter__(),
        ):
            with pytest.raises(Unavailable) as caught:
                use()
            assert caught.value.code == "FT605"


def test_a_long_log_loses_its_oldest_lines_and_no_reader_loses_any(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.append("log", "first")
    _, start = store.tail("log", 1)
    position, seen = start, list[str]()
    for number in range(300):
        store.note("log", f"{number:05}" * 4000)
        found = store.records("log", position)
        assert found is not None
        seen += [line[:5] for line in found[0]]
        position = found[1]
    assert seen == [f"{number:05}" for number in range(300)]
    assert (tmp_path / "log").stat().st_size < 5 << 20
    assert store.records("log", start) is None
    assert store.records("log", "") is None
    lines, end = store.tail("log", 3)
    assert ([line[:5] for line in lines], end) == (["00297", "00298", "00299"], position)
