"""catalog.json: published, validated, small, and kind to fields that a newer flowtime wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.worlds import stored_bytes

from flowtime.errors import Unavailable
from flowtime.loop import models, runs
from flowtime.loop.models import Label
from flowtime.model import load
from flowtime.model.writer import dump
from flowtime.registry import Query, Registry
from flowtime.registry.catalog import Catalog, schema
from flowtime.sim import templates

PUBLISHED = Path(__file__).parents[2] / "docs/reference/catalog.schema.json"
LIMIT = 10_000
TEMPLATES = [template.id for template in templates.templates(None)]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "artifacts", cache_dir=tmp_path / "cache") as opened:
        yield opened


def catalogs(registry: Registry) -> Iterator[bytes]:
    for item in registry.find(Query(size=100)).artifacts:
        yield stored_bytes(registry, item["id"], "catalog.json")


def assert_small_and_valid(registry: Registry, count: int) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text("utf-8")))
    found = list(catalogs(registry))
    assert len(found) == count
    for data in found:
        validator.validate(json.loads(data))
        assert len(data) < LIMIT
    for item in registry.find(Query(size=100)).artifacts:
        validator.validate(registry.catalog(item["id"]))


def run(registry: Registry, text: str, name: str) -> Any:
    label = Label(name=name, owner="ada", tags=("weekly", "baseline"), description="What it is for. " * 20)
    stored = models.publish(registry, text, load(text), label).catalog
    return runs.run(registry, models.read(registry, stored["id"]), label)


def test_the_published_schema_is_the_one_of_the_code() -> None:
    assert json.loads(PUBLISHED.read_text("utf-8")) == schema(), "run: python scripts/catalog_schema.py"


def test_the_schema_is_a_schema_and_refuses_what_is_no_catalog() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(schema())
    good = Catalog(
        kind="run",
        id="a",
        created_utc="2025-01-01T00:00:00Z",
        name="a",
        owner="a",
        source="sim",
        engine_version="1",
    ).to_json()
    validator.validate(good)
    validator.validate({**good, "carbon": {"grams": 1.25}})
    for wrong in (
        {"kind": "walk"},
        {"tags": "a"},
        {"id": ""},
        {"contents": [{"name": "a"}]},
        {"star": "yes"},
    ):
        assert not validator.is_valid({**good, **wrong})
    assert not validator.is_valid({field: value for field, value in good.items() if field != "owner"})


@pytest.mark.parametrize("template", TEMPLATES)
def test_catalogs_of_every_template_are_small_and_valid(registry: Registry, template: str) -> None:
    run(registry, dump(templates.template(template, None).fill({}, None)), template)
    assert_small_and_valid(registry, 2)


def test_a_thousand_nodes_with_a_thousand_series_are_small_and_valid(registry: Registry) -> None:
    nodes = [{"id": "source", "kind": "const", "values": list(range(24))}]
    nodes += [{"id": f"step_{n}", "kind": "expr", "expr": f"source * {n}"} for n in range(1, 1000)]
    document = {"schemaVersion": 1, "grid": {"bins": 24, "binSize": 1, "binUnit": "hours"}, "nodes": nodes}
    made = run(registry, json.dumps(document), "wide")
    assert made["data"]["series"] == 1000
    assert_small_and_valid(registry, 2)
    assert registry.catalog(made["id"]) == made
    assert registry.find(Query(text="step_999")).total == 2


def test_every_edit_keeps_the_fields_of_a_newer_flowtime(registry: Registry) -> None:
    id = run(registry, dump(templates.template("checkout", None).fill({}, None)), "checkout")["id"]
    path = Path(registry.folder(id), "catalog.json")
    newer = {"carbon": {"grams": 1.25, "of": [1, 2, {"x": None}]}, "count": 12345678901234567890123}
    catalog = {**json.loads(path.read_text("utf-8")), **newer}
    catalog["data"]["columns"] = 4
    path.write_text(json.dumps(catalog), encoding="utf-8")
    registry.tag(id, ["a"], ["weekly"])
    registry.edit(id, name="b", description="c", owner="d", team="e", visibility="public", star=True)
    registry.record_loop(id, "gold", "sha256:00", "2025-09-19T10:22:30Z")
    registry.delete(id, force=True)
    registry.restore(id)
    registry.rebuild()
    stored = json.loads(stored_bytes(registry, id, "catalog.json").decode())
    assert {field: stored[field] for field in newer} == newer
    assert stored["data"]["columns"] == 4
    assert (stored["name"], stored["tags"], stored["star"]) == ("b", ["baseline", "a"], True)


def test_a_newer_format_says_that_it_is_newer(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/flowtime.json").write_text('{"format": 7, "id": "x"}')
    with pytest.raises(Unavailable, match="a newer one; this flowtime reads 1") as caught:
        registry.find(Query())
    assert caught.value.code == "FT511"
