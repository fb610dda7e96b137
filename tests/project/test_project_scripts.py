"""The scripts of the pages: their types hold, by what TypeScript and the chart library of the pages say."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]
NPM = ROOT / "tests" / "emulators"
VENDOR = ROOT / "src" / "flowtime" / "web" / "static" / "vendor"


def test_types_of_the_scripts_hold(unavailable: Callable[[str], NoReturn]) -> None:
    tsc = NPM / "node_modules" / ".bin" / "tsc"
    if shutil.which("node") is None or not tsc.exists():
        unavailable("TypeScript is not installed: it takes Node.js and `make emulators`")
    checked = subprocess.run(
        ["node", tsc, "--project", ROOT / "jsconfig.json"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_declared_types_are_of_the_vendored_library() -> None:
    locked = json.loads((NPM / "package-lock.json").read_text())["packages"]["node_modules/uplot"]["version"]
    vendored = tomllib.loads((VENDOR / "vendor.toml").read_text())["file"]
    assert {entry["version"] for entry in vendored if entry["name"] == "uplot"} == {locked}
