"""Ctrl-C and SIGTERM at any moment: a clean stop, nothing half stored, and the next command works."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.worlds import stored_bytes

from flowtime.service import Flowtime
from flowtime.settings import load

ROUNDS = 3
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}

COMMANDS: dict[str, tuple[str, ...]] = {
    "sim new": ("sim", "new", "--template", "checkout", "--name", "made"),
    "run": ("run", "--model", "long.yaml", "--name", "made"),
    "export gold": ("export", "--run", "held", "--format", "gold", "--out", "out/held.csv"),
    "export parquet": ("export", "--run", "held", "--format", "parquet", "--out", "out/held.parquet"),
    "export bundle": ("export", "--run", "held", "--format", "bundle", "--out", "out/held.zip"),
    "export xlsx": ("export", "--run", "held", "--format", "xlsx", "--out", "out/held.xlsx"),
    "import": ("import", "--data", "held.csv", "--name", "made"),
    "import gzip": ("import", "--data", "held.csv.gz", "--name", "made"),
    "test-loop": ("test-loop", "--model", "wide"),
    "list": ("list",),
    "index rebuild": ("index", "rebuild"),
    "demo": ("demo",),
}


def model(bins: int) -> str:
    nodes = "".join(
        f"  - {{id: n{i}, kind: expr, expr: 'base * {i} + SHIFT(base, {i})'}}\n" for i in range(11)
    )
    base = "  - {id: base, kind: pmf, pmf: {1: 0.3, 2: 0.7}, mode: sample}\n"
    return f"grid: {{bins: {bins}, binSize: 1, binUnit: minutes}}\nrng: {{seed: 1}}\nnodes:\n{base}{nodes}"


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a run that takes a while to export, files of it, and a model of a million bins."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "long.yaml").write_text(model(1_000_000), encoding="utf-8")
    (folder / "wide.yaml").write_text(model(20_000), encoding="utf-8")
    service = Flowtime(load({"artifacts": str(folder / "artifacts")}))
    service.run(str(folder / "wide.yaml"), name="held")
    service.export("held", "gold", str(folder / "held.csv"))
    subprocess.run(["gzip", "-1k", "held.csv"], cwd=folder, check=True)
    service.registry.close()
    return folder


def catches(process: subprocess.Popen[bytes], number: signal.Signals, wanted: bool = True) -> None:
    """Waits until the process has a handler for a signal of its own, or has none."""
    mask = 1 << (number - 1)
    while process.poll() is None:
        caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{process.pid}/status").read_text())
        if caught and bool(int(caught[1], 16) & mask) == wanted:
            return
        time.sleep(0.001)


def stopped(words: tuple[str, ...], folder: Path, after: float, by: signal.Signals) -> tuple[int, str]:
    """The exit code and the messages of a command that got a signal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flowtime", *words],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "tmp"), "FLOWTIME_CACHE": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    catches(process, signal.SIGTERM)  # the command, and no longer the starting interpreter
    time.sleep(after)
    if process.poll() is None:
        process.send_signal(by)
    said = process.communicate(timeout=60)[1].decode()
    return process.returncode, said


def assert_whole(folder: Path) -> None:
    """Every artifact has all its bytes; nothing else is there."""
    service = Flowtime(load({"artifacts": str(folder / "artifacts")}))
    for item in service.find(size=1000)["artifacts"]:
        for content in service.show(item["id"])["contents"]:
            data = stored_bytes(service.registry, item["id"], content["name"])
            assert "sha256:" + hashlib.sha256(data).hexdigest() == content["sha256"]
    status = service.rebuild_index()
    assert (status["broken"], status["foreign"]) == ([], [])
    service.registry.close()


@pytest.mark.needs("gzip")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_stopped_command_leaves_nothing_behind(
    name: str, flowtime: Any, workshop: Path, tmp_path: Path, unavailable: Callable[[str], NoReturn]
) -> None:
    if sys.platform != "linux":
        unavailable("the moment when a process answers signals is read from /proc")
    words = COMMANDS[name]
    folder = shutil.copytree(workshop, tmp_path / "here")
    for below in ("tmp", "out"):
        (folder / below).mkdir()
    before = {path.name for path in folder.iterdir()}
    older = b"an older file\n"
    target = folder / words[-1] if name.startswith("export") else None
    chance = random.Random(name)
    began = time.monotonic()
    assert stopped(words, folder, 0, signal.SIGCONT)[0] == 0
    whole = time.monotonic() - began
    codes = []
    for number in range(ROUNDS):
        if target is not None:
            target.write_bytes(older)
            target.with_name(target.name + ".datapackage.json").unlink(missing_ok=True)
        by = list(CODES)[number % 2]
        code, said = stopped(words, folder, chance.uniform(0, 0.8 * whole), by)
        codes.append(code)
        assert code in (0, CODES[by], -by), said
        if code == CODES[by]:
            assert said.strip() == "stopped; nothing half done was kept"
        else:  # it was done, or on its way out
            assert said.strip() in ("", "stopped; nothing half done was kept")
        assert list((folder / "tmp").iterdir()) == []
        left = {path.name for path in (folder / "artifacts/.staging").iterdir()}
        assert left <= {".lock", ".turns"}
        if target is not None:
            allowed = {target.name, target.name + ".datapackage.json"}
            assert {path.name for path in target.parent.iterdir()} <= allowed
            if target.read_bytes() == older:
                pass
            elif target.suffix == ".xlsx":  # which is for people, and not imported
                assert zipfile.ZipFile(target).testzip() is None
            else:
                flowtime("import", "--data", target, "--dry-run", cwd=folder)
        assert_whole(folder)
    assert any(codes)
    made = {path.name for path in folder.iterdir()} - before
    assert {re.sub(r"-\d+$", "", path) for path in made} <= {"cache", "flowtime-demo"}
    flowtime("list", cwd=folder)
    flowtime(*words, cwd=folder)


def test_ctrl_c_while_a_command_starts_prints_no_traceback(
    tmp_path: Path, unavailable: Callable[[str], NoReturn]
) -> None:
    if sys.platform != "linux":
        unavailable("the moment when a process answers signals is read from /proc")
    codes = []
    for after in range(0, 50, 5):
        process = subprocess.Popen(
            [sys.executable, "-m", "flowtime", "list"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        catches(process, signal.SIGINT)  # the interpreter's own handler, which is replaced at once
        catches(process, signal.SIGINT, False)
        time.sleep(after / 1000)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1].decode()
        codes.append(process.returncode)
        assert said.strip() in ("", "stopped; nothing half done was kept")
    assert set(codes) <= {-signal.SIGINT, CODES[signal.SIGINT], 0}
    assert codes[0] == -signal.SIGINT


def test_ctrl_c_stays_ignored_where_a_shell_ignores_it(
    tmp_path: Path, unavailable: Callable[[str], NoReturn]
) -> None:
    """As of `command &` in a script: Ctrl-C is for what runs in front."""
    if sys.platform != "linux":
        unavailable("the moment when a process ignores signals is read from /proc")
    process = subprocess.Popen(
        ["sh", "-c", f"trap '' INT; exec {sys.executable} -m flowtime sim list"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    status = Path(f"/proc/{process.pid}/status")
    while not re.search(r"SigIgn:\s*[0-9a-f]*[2367abef]\n", status.read_text()):
        time.sleep(0.001)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.005)
    assert process.returncode == 0
    assert b"checkout" in process.communicate()[0]
