"""The same model gives the same ids, digests and bytes, whatever the process around it is like."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENTS: dict[str, dict[str, str]] = {
    "plain": {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "0"},
    "german": {
        "LC_ALL": "de_DE.utf8",
        "TZ": "Europe/Berlin",
        "PYTHONHASHSEED": "1",
        "POLARS_MAX_THREADS": "1",
    },
    "turkish": {
        "LC_ALL": "tr_TR.utf8",
        "TZ": "Asia/Kathmandu",
        "PYTHONHASHSEED": "2",
        "POLARS_MAX_THREADS": "7",
    },
    "latin-1": {
        "LC_ALL": "de_DE",
        "TZ": "Pacific/Apia",
        "PYTHONHASHSEED": "3",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "OMP_NUM_THREADS": "1",
    },
}
COMPARED = (
    "model_hash",
    "graph_hash",
    "inputs_hash",
    "seed",
    "grid",
    "data",
    "measures",
    "topology",
    "warnings",
)


@pytest.fixture
def around(unavailable: Callable[[str], None]) -> dict[str, dict[str, str]]:
    """The environments; all of their locales must be installed."""
    installed = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.split()
    absent = {each["LC_ALL"] for each in ENVIRONMENTS.values()} - {"C", *installed}
    if absent:
        unavailable(f"locales are not installed: {', '.join(sorted(absent))}")
    return ENVIRONMENTS


@pytest.mark.needs("locale")
def test_runs_and_exports_are_the_same_bytes_everywhere(
    flowtime: Any, shop: Path, tmp_path: Path, around: dict[str, dict[str, str]]
) -> None:
    runs, exports = {}, {}
    for name, env in around.items():
        folder = tmp_path / name / "şu"
        folder.mkdir(parents=True)
        for file in ("shop.yaml", "demand.csv"):
            shutil.copy(shop.with_name(file), folder)
        run = flowtime("run", "--model", "shop.yaml", "--deterministic", "--json", cwd=folder, env=env).json
        stored = folder / "artifacts" / "runs" / run["id"]
        runs[name] = {
            "ids": (run["id"].rpartition("_")[2], run["model_id"]),
            "found": {key: run[key] for key in COMPARED},
            "files": {file.name: file.read_bytes() for file in stored.iterdir() if file.suffix != ".json"},
        }
        # Exports carry the time of their run; the bytes of one run's are compared.
        one = tmp_path / "plain" / "şu" / "artifacts"
        for format in ("gold", "ndjson", "parquet"):
            words = ("--run", "shop_run", "--artifacts", one, "--format", format)
            flowtime("export", *words, "--out", "out/", cwd=folder, env=env)
        exports[name] = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    assert len(exports["plain"]) == 5
    for name in around:
        assert runs[name] == runs["plain"], name
        assert exports[name] == exports["plain"], name


@pytest.mark.needs("locale")
def test_what_is_printed_depends_on_no_locale(
    flowtime: Any, shop: Path, around: dict[str, dict[str, str]]
) -> None:
    flowtime("run", "--model", shop)
    plain = flowtime("show", "shop_run", "--json", env=around["plain"])
    for env in around.values():
        assert flowtime("show", "shop_run", "--json", env=env).json == plain.json
        assert "made" in flowtime("show", "shop_run", env=env).stdout
