"""What is installed is whole: version, type marker, data files, licence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import flowtime

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "flowtime"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as a release would build it."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (path,) = target.glob("*.whl")
    assert path.name == f"flowtime-{flowtime.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(path)


def test_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    files = {
        str(Path("flowtime", path.relative_to(PACKAGE)))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "flowtime/py.typed" in files
    assert {name for name in wheel.namelist() if name.startswith("flowtime/")} == files


def test_wheel_carries_the_licence(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("licenses/LICENSE")]
    text = wheel.read(name).decode()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_wheel_names_the_licences_of_what_others_wrote(wheel: zipfile.ZipFile) -> None:
    vendor = PACKAGE / "web/static/vendor"
    manifest = tomllib.loads((vendor / "vendor.toml").read_text(encoding="utf-8"))
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    (said,) = re.findall(r"^License-Expression: (.*)$", wheel.read(name).decode(), re.MULTILINE)
    assert set(said.split(" AND ")) == {"Apache-2.0"} | {file["licence"] for file in manifest["file"]}
    licences = {Path(name).name for name in wheel.namelist() if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE"} | {path.name for path in vendor.glob("*.LICENSE.txt")}


def test_version_is_the_same_everywhere() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?", flowtime.__version__)
    said = subprocess.run(
        [sys.executable, "-m", "flowtime", "--version"], capture_output=True, check=True, text=True
    )
    assert flowtime.__version__ in said.stdout


def test_importing_the_package_writes_nothing(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", "import flowtime"],
        cwd=tmp_path, env=environment, capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr, list(tmp_path.iterdir())) == ("", "", [])
