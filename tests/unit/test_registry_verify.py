"""Verification finds what is not as it was published, says where, and touches nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests import worlds

from flowtime.core.grid import Grid
from flowtime.registry import Registry
from flowtime.registry.catalog import Data, Topology
from flowtime.registry.verify import verify

DIGEST = "sha256:" + "0" * 64
TABLE = b"time_bin,component_id,measure,value\n0,shop,served,1\n1,shop,served,2.5\n"

publish = partial(worlds.publish, files={"binned_v0.csv": TABLE, "model.yaml": b"nodes: []\n"})


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def shelf(registry: Registry) -> dict[str, str]:
    nodes = [f"node_{number}" for number in range(1000)]
    model = publish(registry, "model", model_hash="sha256:11")
    publish(registry, "model", model, model_hash="sha256:22")
    return {
        "model": model,
        "run": publish(registry, description="as it was", tags=["a"]),
        "wide": publish(registry, nodes=nodes, topology=Topology(nodes=[{"id": node} for node in nodes])),
    }


def findings(registry: Registry) -> set[tuple[str, str]]:
    return {(each.path, each.what) for each in verify(registry).findings}


def test_a_whole_registry_is_as_published(registry: Registry, shelf: dict[str, str], tmp_path: Path) -> None:
    registry.tag(shelf["run"], ["b"], ["a"])
    registry.edit(shelf["wide"], name="renamed", star=True, visibility="public", team="ops")
    registry.record_loop(shelf["model"], "gold", DIGEST, "2025-09-19T10:22:30Z")
    gone = publish(registry)
    registry.delete(gone)
    told: list[tuple[int, int]] = []
    verified = verify(registry, lambda done, total: told.append((done, total)))
    assert verified.findings == ()
    assert (verified.artifacts, verified.files) == (3, 9)
    sizes = (tmp_path / "artifacts").glob("[!.]*/**/*")
    assert verified.bytes == sum(
        path.stat().st_size for path in sizes if path.is_file() and path.name != "catalog.json"
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert verified.to_json()["ok"] is True


def test_every_kind_of_damage_is_found_and_nothing_is_touched(
    registry: Registry, shelf: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "artifacts"
    run, wide, model = (
        root / "runs" / shelf["run"],
        root / "runs" / shelf["wide"],
        root / "models" / shelf["model"],
    )
    broken = root / "telemetry/broken"
    broken.mkdir(parents=True)
    (broken / "catalog.json").write_text("{")
    (root / "models/notes").mkdir()
    (root / "models/notes/readme.txt").write_text("mine")
    (run / "binned_v0.csv").unlink()
    (run / "old/plots").mkdir(parents=True)
    (run / "old/plots/a.png").write_text("")
    (model / "v1/model.yaml").write_text("nodes: [ ]\n")
    (model / "draft").mkdir()
    (wide / "details.json").write_text((wide / "details.json").read_text().replace("node_7", "node_8", 1))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert findings(registry) == {
        ("telemetry/broken", "broken"),
        ("models/notes", "foreign"),
        (f"runs/{shelf['run']}/binned_v0.csv", "missing"),
        (f"runs/{shelf['run']}/old/plots/a.png", "orphan"),
        (f"models/{shelf['model']}/v1/model.yaml", "changed"),
        (f"models/{shelf['model']}/draft", "orphan"),
        (f"runs/{shelf['wide']}/details.json", "changed"),
    }
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_flipped_bit_is_found_wherever_it_is(
    registry: Registry, shelf: dict[str, str], tmp_path: Path
) -> None:
    """In the catalog too: by its seal where it never changes, by the index where it does."""
    assert findings(registry) == set()
    folder = tmp_path / "artifacts/runs" / shelf["run"]
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for place in range(0, len(whole), 7 if path.name == "catalog.json" else 5):
            flipped = bytearray(whole)
            flipped[place] ^= 1
            if path.name == "catalog.json" and _says_the_same(whole, flipped):
                continue
            path.write_bytes(flipped)
            assert findings(registry), (path.name, place, whole[place - 20 : place + 20])
        path.write_bytes(whole)
    assert findings(registry) == set()


def _says_the_same(whole: bytes, flipped: bytearray) -> bool:
    """White space that became other white space; an empty team or loop, which the index does not have."""
    try:
        before, after = json.loads(whole), json.loads(bytes(flipped))
    except ValueError:
        return False
    hidden = ("team", "loop")
    return {k: v for k, v in before.items() if k not in hidden} == {
        k: v for k, v in after.items() if k not in hidden
    }


def test_the_digest_of_the_data_is_computed_again(registry: Registry, tmp_path: Path) -> None:
    """A catalog and a table that were both forged agree with each other, not with the digest."""
    grid = Grid(bins=2, bin_size=1, bin_unit="hours").to_json()
    id = publish(registry, grid=grid, data=Data(rows=2, series=1, digest=DIGEST))
    [finding] = verify(registry).findings
    assert (finding.path, finding.what) == (f"runs/{id}/binned_v0.csv", "changed")
    assert "digest" in finding.reason


def test_an_index_that_says_something_else_is_found(registry: Registry, tmp_path: Path) -> None:
    id = publish(registry, description="old")
    assert findings(registry) == set()
    path = tmp_path / "artifacts/runs" / id / "catalog.json"
    path.write_text(path.read_text().replace('"old"', '"new"'))
    assert findings(registry) == {(f"runs/{id}", "stale")}
    registry.rebuild()
    assert findings(registry) == set()


def test_a_file_that_cannot_be_read_is_a_finding(
    registry: Registry, tmp_path: Path, unavailable: Callable[[str], None]
) -> None:
    id = publish(registry)
    path = tmp_path / "artifacts/runs" / id / "model.yaml"
    path.unlink()
    path.symlink_to("/proc/self/mem")
    if not os.path.exists("/proc/self/mem"):  # noqa: PTH110
        unavailable("this system has no file whose reading fails")
    assert (f"runs/{id}/model.yaml", "changed") in findings(registry)
