"""Catalogs with exactly the keys of the first requirements, put into a registry by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.commands import Command
from tests.servers import Servers

RUN = "run_2025-09-19T10:22Z_c2c6"
CATALOG: dict[str, Any] = {
    "kind": "run",
    "id": RUN,
    "name": "checkout-baseline",
    "created_utc": "2025-09-19T10:22:30Z",
    "schema_version": "treehouse.binned.v0",
    "model_id": "model_checkout_v1",
    "engine_version": "ft-eng 0.2.1",
    "topology": {"nodes": ["arrivals", "served"], "edges": [["arrivals", "served"]]},
    "capabilities": ["counts", "latency.quantiles"],
    "tags": ["orders", "baseline", "weekly"],
    "source": "engine",
    "inputs_hash": "sha256:0123",
    "owner": "user@domain.com",
    "visibility": "private",
}
TABLE = "time_bin,component_id,measure,value\n" + "".join(
    f"2025-09-19T{hour:02}:00:00Z,shop,{measure},{hour + 1}\n"
    for hour in range(3)
    for measure in ("arrivals", "served")
)
MODEL = """\
grid: {bins: 2, binSize: 1, binUnit: hours}
nodes:
  - {id: a, kind: const, values: [1, 2]}
"""


def put(folder: Path, place: str, files: dict[str, str], **fields: Any) -> None:
    """An artifact by hand."""
    path = folder / "artifacts" / place
    path.mkdir(parents=True)
    (path / "catalog.json").write_text(json.dumps({**CATALOG, **fields}))
    for name, text in files.items():
        (path / name).write_text(text)


@pytest.mark.parametrize("nodes", ["names", "objects", "none"])
def test_a_run_is_listed_shown_exported_and_opened(
    nodes: str, flowtime: Command, serve: Servers, tmp_path: Path
) -> None:
    topology: dict[str, Any] = {
        "names": CATALOG["topology"],
        "objects": {"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"from": "a", "to": "b"}]},
        "none": {"nodes": [], "edges": []},
    }[nodes]
    put(tmp_path, f"runs/{RUN}", {"binned_v0.csv": TABLE}, topology=topology)
    assert [item["id"] for item in flowtime("list", "--json").json["artifacts"]] == [RUN]
    shown = flowtime("show", RUN, "--json").json
    assert (shown["star"], shown["data"]["series"], shown["grid"]["bins"]) == (False, 2, 3)
    assert "checkout-baseline" in flowtime("show", "checkout-baseline").stdout
    assert RUN in flowtime("search", "c2c6").stdout
    for format in ("gold", "ndjson", "parquet", "bundle"):
        flowtime("export", "--run", RUN, "--format", format, "--out", f"out/{format}")
    assert (tmp_path / "out" / "gold").read_text() == TABLE
    flowtime("tag", RUN, "+seen")
    with httpx.Client(base_url=serve(), timeout=60) as client:
        for place in (
            "/v1/artifacts",
            f"/v1/artifacts/{RUN}",
            f"/v1/artifacts/{RUN}/files/binned_v0.csv",
            f"/v1/runs/{RUN}/series",
            f"/v1/runs/{RUN}/export/gold",
            "/artifacts",
            f"/artifacts/{RUN}",
        ):
            assert client.get(place).status_code == 200, place


def test_telemetry_and_a_model_are_opened_too(flowtime: Command, serve: Servers, tmp_path: Path) -> None:
    put(tmp_path, "telemetry/telem_1", {"binned_v0.csv": TABLE}, kind="telemetry", id="telem_1", name="t")
    put(tmp_path, "models/shop_a1b2/v1", {"model.yaml": MODEL}, kind="model", id="shop_a1b2", name="shop")
    assert flowtime("list", "--json").json["total"] == 2
    assert flowtime("show", "shop", "--json").json["model_version"] == 1
    assert flowtime("run", "--model", "shop_a1b2", "--json").json["model_id"] == "shop_a1b2"
    flowtime("export", "--run", "telem_1", "--out", "t.csv")
    with httpx.Client(base_url=serve(), timeout=60) as client:
        for id in ("telem_1", "shop_a1b2"):
            assert client.get(f"/artifacts/{id}").status_code == 200, id


@pytest.mark.parametrize("files", [{}, {"binned_v0.csv": "no table\n"}], ids=["no table", "a broken one"])
def test_what_has_no_table_says_so(
    files: dict[str, str], flowtime: Command, serve: Servers, tmp_path: Path
) -> None:
    put(tmp_path, f"runs/{RUN}", files)
    assert flowtime("list", "--json").json["total"] == 1
    assert flowtime("show", RUN, "--json").json["data"] is None
    flowtime("show", RUN)
    assert flowtime("export", "--run", RUN, "--out", "a.csv", "--json", code=6).error["code"] == "FT805"
    with httpx.Client(base_url=serve(), timeout=60) as client:
        for place in (f"/artifacts/{RUN}", f"/v1/runs/{RUN}/series", f"/v1/runs/{RUN}/export/gold"):
            answer = client.get(place)
            assert (answer.status_code, answer.json()["code"]) == (503, "FT805"), place
