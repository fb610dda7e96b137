"""Runs that travel as bundles: to another registry, with the model they were made from."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from flowtime.core import canonical
from flowtime.errors import InvalidInput, NotFound
from flowtime.formats import BUNDLE
from flowtime.formats.export import export_file
from flowtime.loop import verify
from flowtime.loop.exports import described_with_files
from flowtime.loop.models import Label
from flowtime.loop.series import read_series
from flowtime.service import Flowtime
from flowtime.settings import Settings

MODEL = """\
# what the shop sells
metadata: {id: shop, title: Shop, tags: [demo]}
grid: {bins: 4, binSize: 1, binUnit: hours, start: "2025-01-01T00:00:00Z"}
nodes:
  - {id: visitors, kind: const, values: [3, 1, 4, 1]}
  - {id: orders, kind: expr, expr: "visitors / 3"}
"""


def machine(folder: Path, name: str) -> Flowtime:
    """A registry of its own, with an owner of its own."""
    return Flowtime(Settings(str(folder / name), name, "private", folder / "cache" / name, "http://x"))


@pytest.fixture
def here(tmp_path: Path) -> Flowtime:
    return machine(tmp_path, "here")


@pytest.fixture
def there(tmp_path: Path) -> Flowtime:
    return machine(tmp_path, "there")


@pytest.fixture
def bundle(here: Flowtime, tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(MODEL)
    run = here.run(str(tmp_path / "shop.yaml"), name="shop-run", tags=("monday",))
    here.edit(run["model_id"], ["prod"], [])
    exported = here.export(run["id"], "bundle", str(tmp_path / "out") + "/")
    assert Path(exported["path"]) == tmp_path / "out" / f"{run['id']}.zip"
    assert exported["metadata_path"] is None
    return Path(exported["path"])


def test_an_empty_registry_gets_series_and_model(here: Flowtime, there: Flowtime, bundle: Path) -> None:
    telemetry = there.import_data(bundle, name="shop-again")
    run = here.show("shop-run")
    assert telemetry["data"] == run["data"]
    assert telemetry["conformance"]["ok"]
    model = there.show(telemetry["model_id"])
    original = here.show(run["model_id"])
    assert (model["id"], model["model_version"]) == (run["model_id"], run["model_version"])
    assert (model["name"], model["tags"], model["model_hash"]) == (
        "shop",
        ["demo", "prod"],
        run["model_hash"],
    )
    for name in ("model", "preview"):
        assert Path(model["files"][name]).read_bytes() == Path(original["files"][name]).read_bytes()
    assert Path(telemetry["files"]["model"]).read_text() == MODEL
    again = there.run(run["model_id"])
    assert again["data"]["digest"] == run["data"]["digest"]


def test_owner_visibility_and_status_are_the_importers(here: Flowtime, there: Flowtime, bundle: Path) -> None:
    run = here.show("shop-run")
    here.edit(run["id"], star=True, visibility="public")
    here.registry.record_loop(run["id"], "gold", run["data"]["digest"], "2025-01-01T00:00:00Z")
    again = here.export(run["id"], "bundle", str(bundle.parent / "again.zip"))
    telemetry = there.import_data(Path(again["path"]))
    for artifact in (telemetry, there.show(telemetry["model_id"])):
        assert (artifact["owner"], artifact["visibility"], artifact["star"]) == ("there", "private", False)
        assert artifact["loop"] == {}


def test_a_preview_is_drawn_anew(there: Flowtime, here: Flowtime, bundle: Path, tmp_path: Path) -> None:
    described, files = described_with_files(here.registry, here.show("shop-run")["id"], BUNDLE)
    files["preview.svg"] = b"<svg onload='alert(1)'/>"
    series = read_series(here.registry, here.show("shop-run")["id"])
    path = export_file(series, described, BUNDLE, tmp_path / "evil.zip", files=files).path
    telemetry = there.import_data(path)
    drawn = Path(there.show(telemetry["model_id"])["files"]["preview"]).read_text()
    assert "alert" not in drawn
    assert "orders" in drawn


def test_a_second_version_alone_is_brought_too(here: Flowtime, there: Flowtime, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(MODEL)
    first = here.run(str(tmp_path / "shop.yaml"))["model_id"]
    second = here.publish_model(MODEL.replace("/ 3", "/ 2").encode(), update=first)
    run = here.run(second["id"], name="second")
    exported = here.export(run["id"], "bundle", f"{tmp_path}/second.zip")
    for _ in range(2):
        telemetry = there.import_data(Path(exported["path"]))
        assert (telemetry["restores"], telemetry["model_id"]) == (f"{first}@v2", first)
        assert telemetry["model_version"] == 1
    assert there.find(kinds=("model",))["total"] == 1
    assert there.run(first)["data"]["digest"] == run["data"]["digest"]
    assert there.run(None, telemetry=telemetry["id"])["data"]["digest"] == run["data"]["digest"]


def test_a_model_that_is_there_is_left_as_it_is(here: Flowtime, bundle: Path) -> None:
    before = here.show(here.show("shop-run")["model_id"])
    telemetry = here.import_data(bundle)
    assert f"{telemetry['model_id']}@v{telemetry['model_version']}" == telemetry["restores"]
    assert here.show(before["id"])["contents"] == before["contents"]
    assert here.find(kinds=("model",))["total"] == 1


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_id_with_other_content_is_not_overwritten(
    here: Flowtime, there: Flowtime, bundle: Path, tmp_path: Path, version: str
) -> None:
    id = here.show("shop-run")["model_id"]
    other = there.registry.store.location("")
    (tmp_path / "other.yaml").write_text(MODEL.replace("/ 3", "/ 2"))
    mine = there.run(str(tmp_path / "other.yaml"))["model_id"]
    (Path(other) / "models" / mine).rename(Path(other) / "models" / id)
    (Path(other) / "models" / id / "v1").rename(Path(other) / "models" / id / version)
    catalog = Path(other) / "models" / id / version / "catalog.json"
    catalog.write_text(
        json.dumps(json.loads(catalog.read_text()) | {"id": id, "model_version": int(version[1])})
    )
    there.rebuild_index()
    before = catalog.read_bytes()
    telemetry = there.import_data(bundle)
    assert telemetry["restores"] == f"{id}@v1"
    assert catalog.read_bytes() == before
    brought = f"{telemetry['model_id']}@v{telemetry['model_version']}"
    assert brought != f"{id}@{version}"
    assert there.run(brought)["data"]["digest"] == telemetry["data"]["digest"]


def test_an_id_of_a_run_is_not_taken_by_a_model(
    there: Flowtime, here: Flowtime, bundle: Path, tmp_path: Path
) -> None:
    """A model under the id of a run would stand before it in every look-up."""
    first = there.import_data(bundle)
    run = there.run(first["model_id"])
    described, files = described_with_files(here.registry, here.show("shop-run")["id"], BUNDLE)
    described["model_id"] = run["id"]
    series = read_series(here.registry, here.show("shop-run")["id"])
    path = export_file(series, described, BUNDLE, tmp_path / "evil.zip", files=files).path
    telemetry = there.import_data(path)
    assert telemetry["model_id"] == first["model_id"]
    assert there.show(run["id"])["kind"] == "run"


def test_a_dry_run_stores_nothing(there: Flowtime, bundle: Path) -> None:
    report = there.import_data(bundle, dry_run=True)
    assert report["restores"].endswith("@v1")
    assert there.find()["total"] == 0


@pytest.mark.parametrize("name", ["model.yaml", "catalog.json"])
def test_files_of_another_run_are_found(
    there: Flowtime, here: Flowtime, bundle: Path, tmp_path: Path, name: str
) -> None:
    described, files = described_with_files(here.registry, here.show("shop-run")["id"], BUNDLE)
    files[name] = canonical.dump({"id": "x"}) if "json" in name else MODEL.replace("/ 3", "/ 2").encode()
    series = read_series(here.registry, here.show("shop-run")["id"])
    path = export_file(series, described, BUNDLE, tmp_path / "evil.zip", files=files).path
    with pytest.raises(InvalidInput, match=f"{name} in the bundle is not of the run"):
        there.import_data(path)
    assert there.find()["total"] == 0


def test_a_broken_bundle_stores_nothing(there: Flowtime, bundle: Path) -> None:
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(InvalidInput):
        there.import_data(bundle)
    assert there.find()["total"] == 0


def test_the_loop_closes_through_a_bundle(here: Flowtime, bundle: Path, tmp_path: Path) -> None:
    run = here.show("shop-run")
    (verdict,) = verify.verify(here.registry, run["id"], [BUNDLE], tmp_path, Label("v", "ada"))
    assert verdict.problems == []
    report = here.test_loop(run["model_id"], formats=("all",))
    assert list(report["formats"]) == ["gold", "ndjson", "parquet", "bundle"]
    assert report["ok"]


def test_telemetry_travels_as_a_bundle_too(there: Flowtime, here: Flowtime, tmp_path: Path) -> None:
    text = "ts,cpu\n2025-01-01T00:00:00Z,1\n2025-01-01T01:00:00Z,2\n"
    telemetry = here.import_data(io.BytesIO(text.encode()), wide=True, component="web")
    exported = here.export(telemetry["id"], "bundle", str(tmp_path / "x.zip"))
    found = there.import_data(Path(exported["path"]))
    assert found["data"] == telemetry["data"]
    assert (found["rebuilt"], found["restores"]) == (False, None)


def test_exports_name_their_files_by_the_artifact(here: Flowtime, bundle: Path, tmp_path: Path) -> None:
    id = here.show("shop-run")["id"]
    folder = tmp_path / "all"
    for format in ("gold", "ndjson", "parquet", "bundle", "xlsx"):
        here.export(id, format, f"{folder}/")
    names = [f"{id}{suffix}" for suffix in (".csv", ".ndjson", ".parquet", ".xlsx", ".zip")]
    sidecars = [f"{id}.csv.datapackage.json", f"{id}.ndjson.datapackage.json"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names + sidecars)


def test_problems_go_to_a_file_and_leave_it_when_mended(here: Flowtime, tmp_path: Path) -> None:
    report = tmp_path / "errors.csv"
    with pytest.raises(InvalidInput):
        here.import_data(io.BytesIO(b"ts,cpu\n0,x\n"), wide=True, component="web", errors=report)
    assert 'cpu ""x""' in report.read_text()
    here.import_data(io.BytesIO(b"ts,cpu\n0,1\n"), wide=True, component="web", errors=report)
    assert report.read_text() == "row,code,problem\n"


def test_a_missing_artifact_is_not_exported(here: Flowtime, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        here.export("nothing", "bundle", str(tmp_path / "x.zip"))
