"""Runs as artifacts: what their catalogs say of files and series is true."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.worlds import publish, stored_bytes

from flowtime.core.grid import Grid
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.errors import InvalidInput
from flowtime.formats import XLSX
from flowtime.loop import models, runs
from flowtime.loop.exports import write_into
from flowtime.loop.imports import bring, publish_telemetry
from flowtime.loop.models import Label, StoredModel
from flowtime.model import load
from flowtime.registry import Registry
from flowtime.registry.catalog import Data

LABEL = Label("wide", "ada")
TEXT = "grid: {bins: 24}\nnodes:\n" + "\n".join(
    f"  - {{id: n{i}, kind: const, values: {i}.5}}" for i in range(300)
)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as opened:
        yield opened


def test_every_file_has_the_hash_that_its_catalog_says(registry: Registry) -> None:
    model = load(TEXT)
    published = models.publish(registry, TEXT, model, LABEL).catalog
    run = runs.run(registry, StoredModel(published["id"], 1, "wide", TEXT, model), LABEL)
    table = Path(registry.folder(run["id"]), "binned_v0.csv")
    brought = bring(registry, table, None, {})
    telemetry = publish_telemetry(registry, brought, LABEL)
    for catalog in (published, run, telemetry):
        names = [content["name"] for content in catalog["contents"]]
        assert "details.json" in names and names == sorted(names)
        for content in catalog["contents"]:
            data = stored_bytes(registry, catalog["id"], content["name"])
            assert content["bytes"] == len(data)
            assert content["sha256"] == "sha256:" + hashlib.sha256(data).hexdigest()


def test_a_series_in_numbers() -> None:
    missing = math.nan
    values = np.array([[1.0, missing, 4.0, 1.0], [missing] * 4, [1.7e308] * 4, [-1.7e308, 0, 0, 0]])
    keys = tuple(SeriesKey("shop", name) for name in "abcd")
    summaries = [entry.summary for entry in runs.measures(SeriesSet(Grid(4), keys, (None,) * 4, values))]
    found: list[tuple[object, ...]] = [
        (summary.min, summary.mean, summary.max, summary.missing) for summary in summaries
    ]
    assert found[0] == (1.0, 2.0, 4.0, 1)
    assert found[1] == (None, None, None, 4)
    assert found[2] == (1.7e308, pytest.approx(1.7e308), 1.7e308, 0)
    assert found[3] == (-1.7e308, pytest.approx(-4.25e307), 0.0, 0)


def test_a_table_too_large_for_a_sheet_is_refused_before_it_is_read(registry: Registry) -> None:
    grid = {"bins": 1_048_576, "bin_size": 1, "bin_unit": "minutes", "start": None}
    data = Data(rows=1_048_576, series=1, digest="sha256:1")
    id = publish(registry, grid=grid, data=data, files={"binned_v0.csv": b"not a table"})
    with pytest.raises(InvalidInput) as caught:
        write_into(registry, id, XLSX, io.BytesIO())
    assert caught.value.code == "FT419"
