"""The catalogs are the truth, whoever writes them: what a hand changes is seen without a rebuild."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.worlds import publish

from flowtime.registry import Query, Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry in a folder."""
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as registry:
        yield registry


def copied(kept: Path, catalog: Path) -> None:
    """Put back by `cp`."""
    shutil.copyfile(kept, catalog)


def kept_times(kept: Path, catalog: Path) -> None:
    """Put back by `cp -p`, with the times that it had."""
    subprocess.run(["cp", "-p", kept, catalog], check=True)


def renamed(kept: Path, catalog: Path) -> None:
    """Put back as rsync does it: written aside, renamed into place, with an old time."""
    aside = catalog.with_name(".catalog.json.x")
    shutil.copyfile(kept, aside)
    os.utime(aside, (1e9, 1e9))
    aside.replace(catalog)


def found(registry: Registry, **query: object) -> list[str]:
    """The names that a query finds."""
    return [item["name"] for item in registry.find(Query(**query)).artifacts]


@pytest.mark.parametrize("put_back", [copied, kept_times, renamed])
@pytest.mark.parametrize("kind", ["run", "telemetry", "model"])
def test_a_catalog_put_back_is_seen(
    registry: Registry, tmp_path: Path, kind: str, put_back: Callable[[Path, Path], None]
) -> None:
    id = publish(registry, kind, name="one", model_hash="sha256:1")
    catalog, kept = Path(registry.folder(id)) / "catalog.json", tmp_path / "kept.json"
    shutil.copy2(catalog, kept)
    registry.edit(id, add=["bad"], name="two")
    assert found(registry, tags=(("bad",),)) == ["two"]
    put_back(kept, catalog)
    assert found(registry) == found(registry, text="one") == ["one"]
    assert found(registry, tags=(("bad",),)) == []
    assert registry.resolve("one") == id


def test_an_edit_by_hand_of_the_same_length_is_seen(registry: Registry) -> None:
    id = publish(registry, name="aaa")
    catalog = Path(registry.folder(id)) / "catalog.json"
    for name in ("bbb", "ccc", "ddd"):
        catalog.write_text(json.dumps({**json.loads(catalog.read_text()), "name": name}))
        assert found(registry) == [name]


def test_a_broken_catalog_goes_and_comes_back(registry: Registry, tmp_path: Path) -> None:
    id = publish(registry, name="one")
    catalog = Path(registry.folder(id)) / "catalog.json"
    text = catalog.read_text()
    catalog.write_text("{")
    assert found(registry) == []
    assert [each["path"] for each in registry.status()["broken"]] == [f"runs/{id}"]
    catalog.write_text(text)
    assert found(registry) == ["one"]
    catalog.unlink()
    assert found(registry) == []
    catalog.write_text(text)
    assert found(registry) == ["one"]


def test_a_version_put_back_is_seen(registry: Registry, tmp_path: Path) -> None:
    id = publish(registry, "model", name="one", model_hash="sha256:1")
    publish(registry, "model", id, name="two", model_hash="sha256:2")
    newest = Path(registry.folder(id))
    shutil.move(newest, tmp_path / "v2")
    assert found(registry) == ["one"]
    shutil.copytree(tmp_path / "v2", newest)
    assert found(registry) == ["two"]


def test_of_many_catalogs_each_gets_its_turn(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [publish(registry, name=f"n{number}") for number in range(7)]
    found(registry)
    monkeypatch.setattr("flowtime.registry.follower._LOOKED", 3)
    for id in ids:
        catalog = Path(registry.folder(id)) / "catalog.json"
        document = {**json.loads(catalog.read_text()), "name": f"by hand {id}"}
        catalog.write_text(json.dumps(document))
    for _ in range(3):
        names = found(registry)
    assert all(name.startswith("by hand") for name in names)
