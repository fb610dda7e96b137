"""No tracked text names a machine, a download address or unfinished work."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+|opt/\w+)/")
ADDRESS = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|deb\.debian\.org)|--(?:extra-)?index-url\b"
)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK|NotImplementedError|coming soon)\b")
THIS_FILE = "tests/project/test_project_texts.py"

pytestmark = pytest.mark.needs("git")


@pytest.fixture(scope="module")
def texts(unavailable: Callable[[str], NoReturn]) -> dict[str, str]:
    """Every text file that is tracked, or is new and not ignored: path -> content."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        unavailable(f"no list of tracked files: {listed.stderr.strip()}")
    paths = [ROOT / path for path in listed.stdout.split("\0") if path and path != THIS_FILE]
    contents = {str(path.relative_to(ROOT)): path.read_bytes() for path in paths if path.is_file()}
    assert "pyproject.toml" in contents
    return {path: data.decode("utf-8") for path, data in contents.items() if b"\0" not in data}


def findings(texts: dict[str, str], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{text.count(chr(10), 0, found.start()) + 1} {found.group()}"
        for path, text in texts.items()
        for found in pattern.finditer(text)
    ]


def test_no_paths_of_one_machine(texts: dict[str, str]) -> None:
    assert findings(texts, MACHINE) == []


def test_no_download_addresses(texts: dict[str, str]) -> None:
    assert findings(texts, ADDRESS) == []


def test_nothing_is_marked_unfinished(texts: dict[str, str]) -> None:
    assert findings(texts, UNFINISHED) == []
