"""What every test gets: a home of its own, Hypothesis profiles, the `needs` marker, and places for stores."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import Phase, settings

SERVERS = "TEST_SERVERS_FOLDER"
"""Names the folder by which the workers of one test run share the servers of stores."""
RUN = "TEST_RUN_PROCESS"
"""Names the process that controls the test run: servers end with it, also where it is killed."""
PLACES = ("local", "memory", "seaweedfs", "moto", "azurite")
"""Where stores can be: a folder, this process, and three servers on this machine."""
CLOUDS = ("AWS_", "AZURE_", "AZURITE_")
OWN = ("FLOWTIME_TEST_ALL", "FLOWTIME_RACE_ROUNDS", "FLOWTIME_KILL_EVERY")
"""Variables that speak to the tests themselves, which `make` and CI set."""
GUARDED = """
"$@" &
while kill -0 $0 && kill -0 $!; do sleep 1; done 2>/dev/null
kill -9 $!
"""
"""A shell that runs a command until the process $0 has ended."""
ONE_AT_A_TIME = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
"""
"""moto's server without threads: on two of them its check of a condition and its write can interleave."""
EMULATORS = Path(__file__).parent / "emulators"

TEST_ALL = os.environ.get("FLOWTIME_TEST_ALL") == "1"

settings.register_profile("dev", max_examples=100, deadline=None)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
# a mutant is killed by any example: few are tried, and none is made smaller
settings.register_profile(
    "mutants", settings.get_profile("ci"), max_examples=20, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_configure(config: pytest.Config) -> None:
    """Keep this process and its children away from the user's settings, cache and registry."""
    home = tempfile.TemporaryDirectory(prefix="flowtime-tests-")
    config.add_cleanup(home.cleanup)
    for name in [name for name in os.environ if name.startswith(("FLOWTIME_", *CLOUDS)) and name not in OWN]:
        del os.environ[name]
    os.environ |= {
        "HOME": home.name,
        "XDG_CONFIG_HOME": f"{home.name}/config",
        "XDG_CACHE_HOME": f"{home.name}/cache",
        "FLOWTIME_CACHE": f"{home.name}/cache/flowtime",
    }
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ[RUN] = str(os.getpid())
        servers = tempfile.TemporaryDirectory(prefix="flowtime-servers-")
        os.environ[SERVERS] = servers.name
        config.add_cleanup(servers.cleanup)
        config.add_cleanup(_stop_servers)


def _unavailable(reason: str) -> NoReturn:
    if TEST_ALL:
        pytest.fail(f"FLOWTIME_TEST_ALL=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def unavailable() -> Callable[[str], NoReturn]:
    """Call it with the reason when this machine cannot run the test: skips, or fails in CI."""
    return _unavailable


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold `@pytest.mark.needs("program", ...)`."""
    for mark in item.iter_markers("needs"):
        missing = [program for program in mark.args if shutil.which(program) is None]
        if missing:
            _unavailable(f"not installed: {', '.join(missing)}")


_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Server:
    """A running server: the URL of a bucket that is there, and the variables that lead to it."""

    pid: int
    address: str
    bucket: str
    variables: dict[str, str]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _seaweedfs(folder: Path) -> tuple[list[str], str]:
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    ports = {name: _free_port() for name in names}
    command = [str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder}", "-filer", "-s3"]
    # It reports to its makers and opens further ports unless told not to.
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-s3.iam=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    return command, f"http://127.0.0.1:{ports['s3.port']}"


def _moto(folder: Path) -> tuple[list[str], str]:
    port = _free_port()
    command = [sys.executable, "-c", ONE_AT_A_TIME, str(port)]
    return command, f"http://127.0.0.1:{port}"


def _azurite(folder: Path) -> tuple[list[str], str]:
    program = EMULATORS / "node_modules" / ".bin" / "azurite-blob"
    if shutil.which("node") is None or not program.exists():
        _unavailable("Azurite is not installed: it takes Node.js and `make emulators`")
    port = _free_port()
    command = ["node", str(program), "--blobPort", str(port), "--silent", "--inMemoryPersistence"]
    command += ["--disableTelemetry", "--skipApiVersionCheck"]
    return command, f"http://127.0.0.1:{port}"


def _ask(method: str, url: str, headers: dict[str, str]) -> int:
    """The status of an answer; raises OSError where there is none."""
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def _make_bucket(name: str, address: str) -> None:
    """Makes the bucket, or for Azurite the container, which takes a signature."""
    if name != "azurite":
        assert _ask("PUT", f"{address}/flowtime", {}) in (200, 409)
        return
    # The account and key that every Azurite has, and the header of a request that makes a container:
    # https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    lines = [f"{name}:{value}" for name, value in headers.items()]
    signed = "\n".join(["PUT", *[""] * 11, *lines, f"/{account}/{account}/flowtime", "restype:container"])
    digest = hmac.digest(base64.b64decode(key), signed.encode(), hashlib.sha256)
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    headers["Content-Length"] = "0"
    assert _ask("PUT", f"{address}/{account}/flowtime?restype=container", headers) in (201, 409)


def _started(name: str) -> Server:
    """A server that answers, on ports of its own; one that another program was quicker at is tried again."""
    for attempt in range(3):
        folder = Path(os.environ[SERVERS], f"{name}-{attempt}")
        folder.mkdir(exist_ok=True)
        command, address = {"seaweedfs": _seaweedfs, "moto": _moto, "azurite": _azurite}[name](folder)
        # moto and Azurite read the variables of clients, which differ from test to test.
        clean = {name: value for name, value in os.environ.items() if not name.startswith(CLOUDS)}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["sh", "-c", GUARDED, os.environ[RUN], *command],
                stdout=log,
                stderr=log,
                cwd=folder,
                env=clean,
                start_new_session=True,
            )
        _children.append(process)
        for _ in range(600):
            try:
                _make_bucket(name, address)
            except (OSError, AssertionError):
                if process.poll() is not None:
                    break
                time.sleep(0.1)
                continue
            if name == "azurite":
                variables = {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": address}
                return Server(process.pid, address, "az://flowtime", variables)
            variables = {"AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
            variables |= {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret"}
            return Server(process.pid, address, "s3://flowtime", variables)
        _stop(process.pid)
        process.wait()
    pytest.fail(f"{name} does not start:\n" + (folder / "log").read_text()[-2000:])


def _stop(server: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server, signal.SIGKILL)


def _stop_servers() -> None:
    for note in Path(os.environ.pop(SERVERS)).glob("*.json"):
        _stop(json.loads(note.read_text())["pid"])
    for child in _children:
        child.wait()


@pytest.fixture(scope="session")
def server() -> Callable[[str], Server]:
    """The running server of a name; the workers of a test run share it, and it ends with the run."""

    def running(name: str) -> Server:
        folder = Path(os.environ[SERVERS])
        note = folder / f"{name}.json"
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not note.exists():
                note.write_text(json.dumps(vars(_started(name))))
            return Server(**json.loads(note.read_text()))

    return running


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Callable[[str], Server]
) -> Callable[[str], str]:
    """The address of a new, empty store in one of `PLACES`, for this process and those it starts."""

    def address(name: str) -> str:
        if name == "local":
            return str(tmp_path / "artifacts")
        if name == "memory":
            return f"memory://{tmp_path}"
        running = server(name)
        for variable, value in running.variables.items():
            monkeypatch.setenv(variable, value)
        return f"{running.bucket}/{os.urandom(8).hex()}/artifacts"

    return address


@pytest.fixture(params=PLACES)
def everywhere(request: pytest.FixtureRequest, place: Callable[[str], str]) -> str:
    """The address of a new, empty store, once in each of `PLACES`."""
    return place(request.param)


@pytest.fixture(params=[name for name in PLACES if name != "memory"])
def shared(request: pytest.FixtureRequest, place: Callable[[str], str]) -> str:
    """The address of a new, empty store, once in each of `PLACES` that several processes can share."""
    return place(request.param)
