"""The description of the API says what the API does: its examples run, and nothing that fits it breaks it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.servers import Servers
from tests.worlds import make_world

from flowtime.api.examples import EXAMPLES, JOB
from flowtime.api.openapi import ADDRESS

EXAMPLES_IN_TURN = tuple(EXAMPLES)
SECONDS = 40
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("described")
    make_world(folder)
    return folder


@pytest.fixture(scope="module")
def url(world: Path) -> Iterator[str]:
    with Servers(world) as servers:
        url = servers()
        yield url
        assert "Traceback" not in servers.log(url)


@pytest.fixture(scope="module")
def operations(url: str) -> dict[str, dict[str, Any]]:
    paths = httpx.get(f"{url}/openapi.json", timeout=60).json()["paths"]
    return {each["operationId"]: each for path in paths.values() for each in path.values()}


def test_every_operation_is_described(operations: dict[str, dict[str, Any]]) -> None:
    for name, operation in operations.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert name in EXAMPLES
        for status in ("4XX", "5XX"):
            assert operation["responses"][status] == {"$ref": "#/components/responses/Problem"}
        success = [status for status in operation["responses"] if status.startswith("2")]
        assert success, name
        for status in success:
            for kind, content in operation["responses"][status].get("content", {}).items():
                assert content["schema"], (name, kind)


@pytest.mark.needs("curl")
def test_every_example_runs(url: str, world: Path, operations: dict[str, dict[str, Any]]) -> None:
    job = httpx.post(f"{url}/v1/artifacts/index", headers={"Prefer": "respond-async"}, timeout=60).json()[
        "id"
    ]
    assert set(EXAMPLES) <= set(operations)
    for name in EXAMPLES_IN_TURN:
        [sample] = operations[name]["x-codeSamples"]
        words = shlex.split(sample["source"].replace(ADDRESS, url).replace(JOB, job))
        done = subprocess.run([*words, "-sS"], cwd=world, capture_output=True, check=False)
        said = done.stdout[:500].decode(errors="replace") + done.stderr.decode()
        assert done.returncode == 0, f"{sample['source']}\n{said}"


def test_what_the_description_allows_breaks_nothing(url: str, world: Path) -> None:
    """Requests made from the description, sound ones and wrong ones, for a while."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file", str(world / "schemathesis.toml"),
        "run", f"{url}/openapi.json", "--max-time", str(SECONDS), "--request-timeout", "60",
        "--phases", "examples,coverage,fuzzing", "--seed", "1", "--generation-database", "none",
        "--checks", ",".join(CHECKS),
        # It would empty the trash and stop the server's work for the others.
        "--exclude-path", "/v1/trash/purge", "--exclude-path", "/metrics",
    ]  # fmt: skip
    (world / "schemathesis.toml").write_text("")
    done = subprocess.run(
        command, cwd=world, capture_output=True, encoding="utf-8", check=False,
        env={**os.environ, "NO_COLOR": "1", "SCHEMATHESIS_REPORT": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr
