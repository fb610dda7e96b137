"""The lock files hold what pyproject.toml asks for: exact, hashed, without addresses, documented."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scripts.audit import verdict

ROOT = Path(__file__).parents[2]
NPM = ROOT / "tests" / "emulators"
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


LOCKS = ["audit", "build", "run", "dev"]


@pytest.mark.parametrize("name", LOCKS)
def test_lock_is_nothing_but_pins_and_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert ENTRY.sub("", text) == ""


@pytest.mark.parametrize("name", LOCKS)
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


def test_npm_lock_is_hashed_and_names_no_registry() -> None:
    packages = json.loads((NPM / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert packages
    assert [name for name, package in packages.items() if "integrity" not in package] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_the_lock_of_the_audit_agrees_where_it_meets_the_others() -> None:
    everything, audit = locked("dev"), locked("audit")
    common = everything.keys() & audit.keys()
    assert len(common) > 10
    assert {package: everything[package] for package in common} == {
        package: audit[package] for package in common
    }


def documented() -> dict[str, dict[str, list[str]]]:
    """Heading in docs/dependencies.md -> package -> the other cells of its row."""
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    return {
        part.partition("\n")[0].lstrip("# "): {
            canonicalize_name(name): [cell.strip() for cell in cells.split("|")]
            for name, cells in re.findall(r"^\| ([\w.-]+) \|(.*)\|$", part, re.MULTILINE)
            if name not in {"Package", "Files", "Extra"}
        }
        for part in re.split(r"^(?=##)", text, flags=re.MULTILINE)
    }


def test_every_dependency_is_documented() -> None:
    tables = documented()
    others = {"What these bring", "In the pages", "From npm"}
    direct = {name for heading, rows in tables.items() if heading not in others for name in rows}
    requirements = [*asked("run"), *asked("dev"), *asked("audit")]
    assert direct == {canonicalize_name(requirement.name) for requirement in requirements}
    needed = {canonicalize_name(requirement.name) for requirement in asked("run")}
    assert tables["To run"].keys() == needed
    assert tables["What these bring"].keys() == locked("run").keys() - needed
    assert tables["From npm"].keys() == json.loads((NPM / "package.json").read_text())["dependencies"].keys()


def test_every_vendored_file_is_documented() -> None:
    manifest = ROOT / "src/flowtime/web/static/vendor/vendor.toml"
    files = tomllib.loads(manifest.read_text(encoding="utf-8"))["file"]
    shown = {name: (cells[0], cells[-3]) for name, cells in documented()["In the pages"].items()}
    assert shown == {canonicalize_name(file["name"]): (file["version"], file["licence"]) for file in files}


SOUND = {"name": "click", "version": "8.4.0", "vulns": []}
WEAK = {"name": "uvicorn", "version": "0.54.0", "vulns": [{"id": "CVE-2030-1", "fix_versions": ["0.54.1"]}]}
SKIPPED = {"name": "polars", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([SOUND, {**SOUND, "name": "numpy"}], 0, "2 packages looked up, no known weakness"),
        ([SOUND, WEAK], 1, "uvicorn 0.54.0 (flowtime needs it to run): CVE-2030-1, fixed in 0.54.1"),
        ([SOUND, SKIPPED], 2, "1 of 2 packages could not be looked up"),
        ([WEAK, SKIPPED], 1, "1 of 2 packages could not be looked up"),
    ],
)
def test_an_audit_is_clean_only_where_everything_was_looked_up(
    packages: list[dict[str, object]], code: int, said: str
) -> None:
    found, lines = verdict(json.dumps({"dependencies": packages}), "No known vulnerabilities", {"uvicorn"})
    assert found == code
    assert said in "\n".join(lines)


def test_an_audit_without_an_answer_is_none() -> None:
    code, lines = verdict("", "Traceback\nConnectionError: no route", set())
    assert code == 2
    assert lines == ["nothing was looked up: the service cannot be reached", "ConnectionError: no route"]
