"""The lock files hold what pyproject.toml asks for: exact, hashed, without addresses, documented."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
GROUPS = PYPROJECT["dependency-groups"]
DEPENDENCIES: list[str] = PYPROJECT["project"]["dependencies"]
ENTRY = re.compile(r"([a-z0-9.-]+)==(\S+)((?: ;[^\\\n]*)?)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")


def locked(name: str) -> dict[str, set[str]]:
    """Package -> the versions that `requirements/<name>.txt` pins, one for each marker."""
    pins: dict[str, set[str]] = {}
    for package, version, _, _ in ENTRY.findall((ROOT / "requirements" / f"{name}.txt").read_text()):
        pins.setdefault(package, set()).add(version)
    return pins


def asked(name: str) -> list[Requirement]:
    """What pyproject.toml asks of a lock file."""
    texts = list(DEPENDENCIES) if name in {"run", "dev"} else []
    groups = [name] if name != "run" else []
    while groups:
        for item in GROUPS.get(groups.pop(), ()):
            if isinstance(item, dict):
                groups.append(item["include-group"])
            else:
                texts.append(item)
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("name", ["build", "run", "dev"])
def test_lock_is_nothing_but_pins_and_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert ENTRY.sub("", text) == ""


@pytest.mark.parametrize("name", ["build", "run", "dev"])
def test_lock_satisfies_pyproject(name: str) -> None:
    pins = locked(name)
    missing = [
        str(requirement)
        for requirement in asked(name)
        if not any(
            requirement.specifier.contains(version)
            for version in pins.get(canonicalize_name(requirement.name), ())
        )
    ]
    assert asked(name) != []
    assert missing == [], "run `make lock`"


@pytest.mark.parametrize("name", ["build", "run"])
def test_locks_agree(name: str) -> None:
    everything = locked("dev")
    assert {package: everything.get(package) for package in locked(name)} == locked(name)


def test_every_dependency_is_documented() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    documented = {canonicalize_name(name) for name in re.findall(r"^\| ([\w.-]+) \|", text, re.MULTILINE)}
    direct = {canonicalize_name(requirement.name) for requirement in [*asked("run"), *asked("dev")]}
    assert documented - {"package"} == direct
