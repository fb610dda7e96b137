"""Commands killed at their system calls that change files: nothing is half done, and the next command works.

Each command is killed at the first such call, at the second, and so on until it ends by itself. Here at some
of them; FLOWTIME_KILL_EVERY=1, as `make kills` has it, means all.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import Command, listing

EVERY = int(os.environ.get("FLOWTIME_KILL_EVERY", "7"))
CALLS = (
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,fsync,ftruncate,flock,pwrite64"
)

MODEL = "grid: {bins: 2}\nnodes:\n  - {id: a, kind: const, values: [1, 2]}\n"

pytestmark = pytest.mark.needs("strace")


def killed(folder: Path, number: int, *arguments: str) -> bool:
    """Whether the command was killed at the call of this number; else it ended well."""
    inject = f"inject={CALLS}:signal=KILL:when={number}"
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", inject]
    command += [sys.executable, "-m", "flowtime", *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if ended.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return True
    assert ended.returncode == 0, ended.stderr.decode()
    return False


def test_a_killed_export_leaves_a_pair_that_can_be_imported(flowtime: Command, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(MODEL)
    flowtime("run", "--model", "model.yaml", "--name", "first", "--deterministic")
    (tmp_path / "model.yaml").write_text(MODEL.replace("[1, 2]", "[3, 4]"))
    flowtime("run", "--model", "model.yaml", "--name", "second", "--deterministic")
    exported = {
        name: flowtime("export", "--run", name, "--out", "out.csv", "--json").json["digest"]
        for name in ("second", "first")
    }
    number = 1
    while killed(tmp_path, number, "export", "--run", "second", "--out", "out.csv"):
        back = flowtime("import", "--data", "out.csv", "--artifacts", f"back-{number}", "--json").json
        assert back["data"]["digest"] in exported.values()
        flowtime("export", "--run", "first", "--out", "out.csv")
        number += EVERY
    assert number > 5
    assert flowtime("import", "--data", "out.csv", "--json").json["data"]["digest"] == exported["second"]
    for left in tmp_path.glob(".out.csv*"):
        os.utime(left, (0, 0))
    flowtime("export", "--run", "first", "--out", "out.csv")
    assert list(tmp_path.glob(".out.csv*")) == []


def listed(flowtime: Command, *options: str) -> set[str]:
    found = flowtime("list", "--size", "1000", "--json", *options).json
    return {item["id"] for item in found["artifacts"]}


@pytest.mark.parametrize("action", ["run", "import", "tag", "delete", "restore", "purge"])
def test_a_killed_command_leaves_nothing_half_done(flowtime: Command, tmp_path: Path, action: str) -> None:
    (tmp_path / "model.yaml").write_text(MODEL)
    id = flowtime("run", "--model", "model.yaml", "--name", "old", "--json").json["id"]
    flowtime("export", "--run", "old", "--out", "old.csv")
    commands = {
        "run": ("run", "--model", "model.yaml", "--name", "new"),
        "import": ("import", "--data", "old.csv", "--name", "new"),
        "tag": ("tag", id, "+night"),
        "delete": ("delete", id, "--confirm"),
        "restore": ("restore", id),
        "purge": ("purge", id, "--confirm"),
    }
    number = 1
    while True:
        if action in ("restore", "purge"):
            flowtime("delete", id, "--confirm", code=None)
        if not killed(tmp_path, number, *commands[action]):
            break
        found = flowtime("index", "verify", "--json", code=None).json
        assert [each for each in found["findings"] if each["what"] != "foreign"] == []
        there = {item["id"] for item in flowtime("list", "--size", "1000", "--json").json["artifacts"]}
        trash = {
            item["id"] for item in flowtime("list", "--trash", "--size", "1000", "--json").json["artifacts"]
        }
        assert id in there | trash or action == "purge"
        if id in trash and action != "purge":
            flowtime("restore", id)
        elif id not in there:
            break
        number += EVERY
    assert listing(tmp_path)
