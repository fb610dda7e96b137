"""Proves that flowtime works where nothing of it was before: make fresh

Builds wheel and sdist, checks what is in them, installs the wheel into empty environments outside the
tree, with the lowest and the newest Python on this machine that flowtime supports, and there runs the
demo, the loop and the server. Says what the installation weighs and how long the import takes.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin

ROOT = Path(__file__).parents[1]
LOWEST = (3, 11)
MODEL = """\
nodes:
  - {id: visits, kind: pmf, pmf: {"100": 0.5, "140": 0.5}}
  - {id: orders, kind: expr, expr: "visits * 0.3 + SHIFT(orders, 1) * 0.1"}
"""
SDIST = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "PKG-INFO", ".gitignore"}
"""What an sdist holds besides src/."""
VENDOR = "web/static/vendor"
NEEDED = (
    "py.typed",
    "sim/templates/checkout.yaml",
    "sim/templates/transit-hub.csv",
    "web/templates/base.html",
    "web/static/app.js",
    f"{VENDOR}/vendor.toml",
)
WITHOUT_EXTRA = "import flowtime as ft; ft.evaluate(ft.load_model('shop.yaml')).to_pandas()"
"""Takes pandas, which is no dependency."""


def check(what: str, missing: set[str], extra: set[str]) -> None:
    """Ends the script where a file is missing in a distribution, or should not be there."""
    if missing or extra:
        sys.exit(f"{what}: missing {sorted(missing) or 'nothing'}, not expected {sorted(extra) or 'nothing'}")
    print(f"{what} holds what it should and nothing else")


def build(folder: Path) -> Path:
    """Builds both distributions, checks them, and returns the wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    listed = subprocess.run(
        ["git", "ls-files", "src/flowtime"], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    )
    package = {line.removeprefix("src/") for line in listed.stdout.splitlines()}
    assert package >= {f"flowtime/{needed}" for needed in NEEDED}
    licences = {"LICENSE"} | {
        f"src/{name}" for name in package if VENDOR in name and name.endswith(".LICENSE.txt")
    }
    version = wheel.name.split("-")[1]
    info = {
        f"flowtime-{version}.dist-info/{name}"
        for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", *(f"licenses/{x}" for x in licences))
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    check(
        f"{wheel.name}, {wheel.stat().st_size / 1e6:.2f} MB,",
        (package | info) - names,
        names - package - info,
    )
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = SDIST | {f"src/{name}" for name in package}
    check(f"{sdist.name}, {sdist.stat().st_size / 1e6:.2f} MB,", wanted - names, names - wanted)
    return wheel


def pythons() -> list[tuple[tuple[int, ...], Path]]:
    """The supported Pythons of this machine with their versions, lowest first, one of each minor version."""
    places = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    places += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    places += sorted(Path.home().glob(".local/share/uv/python/*/bin"))
    found: dict[tuple[int, ...], tuple[tuple[int, ...], Path]] = {}
    for place in places:
        for path in sorted(place.glob("python3.*")):
            if re.fullmatch(r"python3\.\d+", path.name) is None:
                continue
            said = "import sys; print(*sys.version_info[:3])"
            ran = subprocess.run([path, "-c", said], capture_output=True, encoding="utf-8", check=False)
            version = tuple(map(int, ran.stdout.split()))
            if version[:2] >= LOWEST and version[:2] not in found:
                found[version[:2]] = (version, path)
    return sorted(found.values())


def size(folder: Path) -> float:
    """What the files under a folder weigh, in MB, without compiled modules."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sum(path.stat().st_size for path in files) / 1e6


def best(*commands: Sequence[str | Path], times: int = 15) -> list[float]:
    """Milliseconds of each command, the least of several times, in turn."""
    taken: list[list[float]] = [[] for _ in commands]
    for _ in range(times):
        for command, each in zip(commands, taken, strict=True):
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            each.append(time.perf_counter() - began)
    return [min(each) * 1000 for each in taken]


def asked(url: str) -> str:
    """The text at an address."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
        text: str = answer.read().decode()
        return text


def show(base: str) -> None:
    """Fetches the first page of a server and what it loads, all of which has to come from there."""
    page = asked(base)
    loaded = re.findall(r"""<(?:script|link)[^>]+(?:src|href)="([^"]+)\"""", page)
    assert "htmx" in str(loaded), loaded
    for address in loaded:
        assert asked(urljoin(base, address)), address


def prove(wheel: Path, python: Path, version: tuple[int, ...], folder: Path) -> None:
    """Installs the wheel for one Python in an empty environment, and uses it."""
    home = folder / ".".join(map(str, version))
    environment, work = home / "venv", home / "work"
    subprocess.run([python, "-m", "venv", environment], check=True)
    work.mkdir()
    bare = size(environment)
    pip: list[str | Path] = [
        environment / "bin" / "python",
        "-m",
        "pip",
        "-qq",
        "--disable-pip-version-check",
        "install",
    ]
    locked: list[str | Path] = [
        "--require-hashes",
        "--only-binary",
        ":all:",
        "-r",
        ROOT / "requirements/run.txt",
    ]
    subprocess.run([*pip, *locked], check=True)
    subprocess.run([*pip, "--no-deps", wheel], check=True)
    installed = size(environment) - bare
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "FLOWTIME_"))
    }
    clean |= {"HOME": str(home), "FLOWTIME_CACHE": str(home / "cache")}
    flowtime = environment / "bin" / "flowtime"

    def run(*words: str) -> str:
        ran = subprocess.run(
            [flowtime, *words], cwd=work, env=clean, capture_output=True, encoding="utf-8", check=False
        )
        if ran.returncode:
            sys.exit(f"flowtime {' '.join(words)} ended with {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    run("demo")
    (work / "shop.yaml").write_text(MODEL, encoding="utf-8")
    loop = json.loads(run("test-loop", "--model", "shop.yaml", "--json"))
    assert loop["ok"], loop
    run("run", "--model", "shop.yaml", "--name", "fresh")
    with subprocess.Popen(
        [flowtime, "serve", "--port", "0"],
        cwd=work,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    ) as server:
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address is not None
        try:
            health = json.loads(asked(f"{address[0]}/healthz"))
            runs = json.loads(asked(f"{address[0]}/v1/artifacts?kind=run"))["artifacts"]
            show(address[0])
        finally:
            server.terminate()
    assert health["status"] == "ok"
    assert [run["name"] for run in runs] == ["fresh"]
    interpreter = environment / "bin" / "python"
    lacking = subprocess.run(
        [interpreter, "-c", WITHOUT_EXTRA],
        cwd=work,
        env=clean,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert 'pip install "flowtime[pandas]"' in lacking.stderr, lacking.stderr
    floor, package, face = best(
        (interpreter, "-c", "pass"),
        (interpreter, "-c", "import flowtime"),
        (interpreter, "-c", "import flowtime; flowtime.Registry"),
    )
    print(
        f"Python {'.'.join(map(str, version))}: demo, loop, server and pages work; "
        f"{installed:.0f} MB installed; import flowtime takes under {max(math.ceil(package - floor), 1)} ms, "
        f"with the first use of a public name {face - floor:.0f} ms"
    )


def main() -> None:
    """Proves it with the lowest and the newest Python."""
    began = time.monotonic()
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert supported == f">={'.'.join(map(str, LOWEST))}"
    folder = Path(tempfile.mkdtemp(prefix="flowtime-fresh-"))
    try:
        wheel = build(folder)
        there = pythons()
        if not there:
            sys.exit("no Python that flowtime supports was found")
        for version, python in dict.fromkeys((there[0], there[-1])):
            prove(wheel, python, version, folder)
    finally:
        shutil.rmtree(folder)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
