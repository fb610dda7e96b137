"""Two who change one model at the same moment: nothing that was confirmed is lost, and nothing is stuck.

FLOWTIME_RACE_ROUNDS says how often each pair meets, instead of a few times; `make races` takes a thousand.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from tests.servers import Servers
from tests.worlds import publish, stored_bytes

from flowtime.errors import NotFound
from flowtime.registry import Registry

ROUNDS = int(os.environ.get("FLOWTIME_RACE_ROUNDS", "0"))
ACTIONS = ("version", "delete", "restore", "purge", "edit")
PAIRS = list(combinations_with_replacement(ACTIONS, 2))
ROOT = Path(__file__).parents[2]

REFUSED = {"ok", "FT501", "FT506", "FT505"}
"""How an action may end: done, or the artifact is not there (any more), or is there again."""


class Racer(Protocol):
    """One of two who race: does an action and says how it ended."""

    def __call__(self, action: str, id: str, text: str) -> str: ...


@contextmanager
def processes(root: str, folder: Path) -> Iterator[list[Racer]]:
    with ExitStack() as stack:
        racers: list[Racer] = []
        for name in ("one", "two"):
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.racer", root, str(folder / name)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            stack.enter_context(process)
            stack.callback(process.kill)

            def act(action: str, id: str, text: str, process: Any = process) -> str:
                process.stdin.write(f"{action} {id} {text}\n")
                process.stdin.flush()
                return str(process.stdout.readline().strip())

            racers.append(act)
        yield racers


MODEL = "grid: {{bins: 1}}\nnodes:\n  - {{id: {text}, kind: const, values: [1]}}\n"


@contextmanager
def servers(root: str, folder: Path) -> Iterator[list[Racer]]:
    with Servers(folder) as serve, ExitStack() as stack:
        racers: list[Racer] = []
        for name in ("one", "two"):
            url = serve("--artifacts", root, env={"FLOWTIME_CACHE": str(folder / name)})
            client = stack.enter_context(httpx.Client(base_url=f"{url}/v1", timeout=120))

            def act(action: str, id: str, text: str, client: httpx.Client = client) -> str:
                match action:
                    case "version":
                        said = MODEL.format(text=text)
                        answer = client.post("/models", params={"update": id}, content=said)
                    case "edit":
                        answer = client.patch(f"/artifacts/{id}", json={"add_tags": [text]})
                    case "delete":
                        sure = {"confirm": "true", "force": "true"}
                        answer = client.delete(f"/artifacts/{id}", params=sure)
                    case "purge":
                        answer = client.post("/trash/purge", params={"id": id, "confirm": "true"})
                    case _:
                        answer = client.post(f"/artifacts/{id}/{action}")
                return "ok" if answer.is_success else f"{answer.json()['code']}"

            racers.append(act)
        yield racers


def both(racers: list[Racer], calls: list[tuple[str, str, str]], chance: random.Random) -> list[str]:
    """How both actions ended that began within a few milliseconds."""
    ended = ["", ""]
    start = threading.Barrier(2)

    def run(number: int, pause: float) -> None:
        start.wait()
        time.sleep(pause)
        ended[number] = racers[number](*calls[number])

    threads = [threading.Thread(target=run, args=(n, chance.uniform(0, 0.004))) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def texts(registry: Registry, id: str) -> tuple[set[str], set[str]]:
    """The texts of all versions of a live model, and their tags; every version must be whole."""
    found, tags = set[str](), set[str]()
    versions = registry.versions(id)
    assert versions[0] == 1
    for version in versions:
        catalog = registry.catalog(f"{id}@v{version}")
        assert catalog["model_version"] == version
        found.add(stored_bytes(registry, f"{id}@v{version}", "model.yaml").decode())
        tags |= set(catalog["tags"])
    return found, tags


def files(registry: Registry, prefix: str) -> list[str]:
    """Every file under a prefix; some stores keep empty folders."""
    listing = registry.store.list(prefix)
    below = [name for folder in listing.folders for name in files(registry, f"{prefix}/{folder}")]
    return [*(f"{prefix}/{name}" for name in listing.files), *below]


def race(registry: Registry, racers: list[Racer], pair: tuple[str, str], chance: random.Random) -> None:
    first = MODEL.format(text="first")
    id = publish(registry, "model", files={"model.yaml": first.encode()}, model_hash="sha256:aaaaaaaa")
    assert texts(registry, id) == ({first}, set())
    needs_trash = [action in ("restore", "purge") for action in pair]
    trashed = all(needs_trash) or (any(needs_trash) and chance.random() < 0.7)
    if trashed:
        registry.delete(id)
    words = [f"a{os.urandom(4).hex()}", f"b{os.urandom(4).hex()}"]
    ended = both(racers, [(action, id, word) for action, word in zip(pair, words, strict=True)], chance)
    assert set(ended) <= REFUSED, (pair, ended)
    purged = any(action == "purge" and end == "ok" for action, end in zip(pair, ended, strict=True))

    # What is left is a whole model, one in the trash, or nothing; and each of these can be left again.
    live = trash = False
    known, tags = set[str](), set[str]()
    for _ in range(2):
        try:
            found = texts(registry, id)
            live = True
        except NotFound:
            if id not in {item["id"] for item in registry.trash()}:
                break
            trash = True
            assert registry.restore(id) == id
            found = texts(registry, id)
        known, tags = known | found[0], tags | found[1]
        registry.delete(id, force=True)
    assert live or trash or purged, (pair, ended)
    for action, word, end in zip(pair, words, ended, strict=True):
        if end == "ok" and not purged:
            assert action != "version" or any(word in text for text in known), (pair, ended)
            assert action != "edit" or word in tags, (pair, ended)
    if id in {item["id"] for item in registry.trash()}:
        assert registry.purge(id) == [id]
    left = [name for place in ("models", ".trash/models") for name in files(registry, f"{place}/{id}")]
    assert left == [], (pair, ended)


@pytest.mark.parametrize("through", [processes, servers], ids=lambda each: each.__name__)
def test_of_two_who_change_a_model_one_wins_and_nothing_is_lost(
    shared: str, tmp_path: Path, through: Callable[[str, Path], Any]
) -> None:
    chance = random.Random(20261130)
    registry = Registry.open(shared, cache_dir=tmp_path / "cache")
    rounds = ROUNDS or (1 if "://" in shared else 6)
    with through(shared, tmp_path) as racers:
        for pair in PAIRS:
            for _ in range(rounds):
                race(registry, racers, pair, chance)
    assert registry.trash() == []
