"""The program of a model, run in a real browser: every series has the bits of the command."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page
from tests.commands import Command
from tests.servers import Servers

from flowtime.core.series import SeriesKey
from flowtime.engine.notes import KINDS
from flowtime.loop.series import read_series
from flowtime.model.writer import dump
from flowtime.registry import Registry
from flowtime.sim import templates

RUN = """
async program => {
  const bytes = Uint8Array.from(atob(program.module), letter => letter.charCodeAt(0))
  const memory = new WebAssembly.Memory({initial: program.pages, maximum: program.pages})
  const row = (at, values) => new Float64Array(memory.buffer, at, program.bins)
    .set(values.map(value => value === null ? NaN : value))
  for (const {at, values} of program.given) row(at, values)
  for (const {at, value} of program.since) new Uint32Array(memory.buffer, at, 1)[0] = value
  program.drawn.rows.forEach((values, i) => row(program.drawn.at + 8 * program.bins * i, values))
  const {instance} = await WebAssembly.instantiate(bytes, {flowtime: {memory}})
  instance.exports.begin()
  for (const pass of program.passes) instance.exports[pass](0, program.bins)
  const {at, series, repeated} = program.recorded
  const all = new Float64Array(memory.buffer, at, series.length * program.bins)
  for (const [to, from] of repeated)
    all.copyWithin(to * program.bins, from * program.bins, (from + 1) * program.bins)
  let text = ''
  for (const byte of new Uint8Array(memory.buffer, at, all.byteLength)) text += String.fromCharCode(byte)
  const noted = program.notes.of.map(([code], i) => {
    const marks = new Uint8Array(memory.buffer, program.notes.marks + i * program.bins, program.bins)
    return [code, marks.reduce((sum, mark) => sum + mark, 0), marks.indexOf(1)]
  })
  return [btoa(text), noted.filter(([, count]) => count > 0)]
}
"""
"""What `docs/reference/http.md` says of programs, in the language of browsers."""

QUEUE = """\
schemaVersion: 2
grid: {bins: 200, binSize: 5, binUnit: minutes}
rng: {kind: pcg64, seed: 3}
parameters: {staff: 7}
nodes:
  - {id: calls, kind: pmf, pmf: {"3": 0.5, "12": 0.4, "40": 0.1}, mode: sample}
  - {id: gaps, kind: expr, expr: "IF(MOD(calls, 40) == 0, LOG(0), calls)"}
  - {id: desk, kind: queue, arrivals: "calls + 0.3 * SHIFT(desk.abandoned, 2)", workers: staff,
     serviceSeconds: 180, limit: 90, abandon: 0.02, slo: 5, record: [served, depth, lost, abandoned,
     wait_mean, wait_p50, wait_p95, wait_p99, within_slo, wait_random, latency]}
  - {id: next, kind: queue, arrivals: desk.served, capacity: 14, record: [depth, wait_joining]}
  - {id: soon, kind: expr, expr: "EMA(next.wait_joining, 0.2) + EXP(calls / 40)"}
"""


ROUGH = """\
schemaVersion: 2
grid: {bins: 9, binSize: 1, binUnit: hours}
rng: {kind: pcg64, seed: 7}
nodes:
  - {id: visits, kind: const, values: [0, 1, 2, 3, 4, 5, 6, 7, 8]}
  - {id: staff, kind: pmf, pmf: {"0": 0.3, "8": 0.7}, mode: sample}
  - {id: share, kind: expr, expr: "visits / staff"}
  - {id: grown, kind: expr, expr: "EXP(visits * 150) + SHIFT(grown, 1)"}
  - {id: gone, kind: expr, expr: "SHIFT(LOG(staff - 3), 2)"}
  - {id: desk, kind: queue, arrivals: "visits - 1", capacity: staff}
"""
"""Divisions by zero, overflow, logarithms of negative numbers and negative arrivals."""


def texts() -> Iterator[Any]:
    for template in templates.templates(None):
        yield pytest.param(dump(template.fill()), id=template.id)
    yield pytest.param(QUEUE, id="queues")
    yield pytest.param(ROUGH, id="warnings")


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.goto("about:blank")
    yield page
    page.close()


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def client(command: Command) -> Iterator[httpx.Client]:
    with Servers(command.folder) as servers, httpx.Client(base_url=servers(), timeout=60) as client:
        yield client


@pytest.mark.parametrize("text", list(texts()))
def test_a_browser_computes_the_bits_of_the_command(
    text: str, page: Page, command: Command, client: httpx.Client
) -> None:
    (command.folder / "model.yaml").write_text(text, encoding="utf-8")
    run = command("run", "model.yaml", "--new", "--json").json
    program = client.get(f"/v1/models/{run['model_id']}/program").json()
    assert program["id"] == f"{run['model_id']}@v1"
    rows, noted = page.evaluate(RUN, program)
    found = np.frombuffer(base64.b64decode(rows), dtype="<f8")
    stored = read_series(Registry.open(str(command.folder / "artifacts")), run["id"])
    wanted_rows = dict(zip(stored.keys, stored.values, strict=True))
    named = [(series["component"], series["measure"]) for series in program["recorded"]["series"]]
    assert named == [(series["component"], series["measure"]) for series in run["measures"]]
    for row, (component, measure) in zip(found.reshape(len(named), -1), named, strict=True):
        wanted = wanted_rows[SeriesKey(component, measure)]
        assert np.array_equal(np.isnan(row), np.isnan(wanted)), (component, measure)
        there = ~np.isnan(row)
        assert row[there].tobytes() == wanted[there].tobytes(), (component, measure)
    met = [f"{code}: {count} bin{'s' * (count != 1)}, first in bin {first}" for code, count, first in noted]
    told = [
        f"{warning['code']}: {warning['message'].rpartition(' in ')[0].rpartition(' in ')[2]} in "
        f"{warning['message'].rpartition(' in ')[2].partition(' (')[0]}"
        for warning in run["warnings"]
        if warning["code"] in KINDS
    ]
    assert sorted(met) == sorted(told)
    assert text != ROUGH or {code for code, *_ in noted} >= {"FT301", "FT302", "FT310"}


def test_each_version_has_its_program(client: httpx.Client) -> None:
    headers = {"Content-Type": "text/yaml"}
    first = "grid: {bins: 2}\nnodes: [{id: a, kind: const, values: [1, 2]}]\n"
    made = client.post("/v1/models", content=first, headers=headers).json()
    second, update = first.replace("[1, 2]", "[5, 2]"), {"update": made["id"]}
    client.post("/v1/models", content=second, headers=headers, params=update).raise_for_status()
    old, new = (client.get(f"/v1/models/{made['id']}{version}/program") for version in ("@v1", ""))
    assert old.json()["given"][0]["values"] == [1, 2]
    assert new.json()["given"][0]["values"] == [5, 2]
    asked = {"If-None-Match": old.headers["etag"]}
    assert client.get(f"/v1/models/{made['id']}/program", headers=asked).status_code == 200


def test_a_program_is_sent_once(client: httpx.Client) -> None:
    made = client.post("/v1/models", content=QUEUE, headers={"Content-Type": "text/yaml"}).json()
    place = f"/v1/models/{made['id']}/program"
    first = client.get(place)
    again = client.get(place, headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    other = client.get(place, params={"seed": 4}).json()
    assert other["drawn"]["rows"] != first.json()["drawn"]["rows"]
    assert other["module"] == first.json()["module"]


def test_what_is_no_program_for_a_page(client: httpx.Client) -> None:
    many = {"grid": {"bins": 400_000}, "nodes": []}
    many["nodes"] = [
        {"id": f"n{i}", "kind": "pmf", "pmf": {"1": 1}, "profile": "rush-hour"} for i in range(3)
    ]
    made = client.post("/v1/models", json=many).json()
    answer = client.get(f"/v1/models/{made['id']}/program")
    assert (answer.status_code, answer.json()["code"]) == (422, "FT309")
    seedless = json.loads(json.dumps({"grid": {"bins": 2}, "nodes": [{"id": "x", "kind": "pmf"}]}))
    seedless["nodes"][0] |= {"pmf": {"1": 0.5, "2": 0.5}, "mode": "sample"}
    made = client.post("/v1/models", json=seedless).json()
    assert client.get(f"/v1/models/{made['id']}/program").json()["code"] == "FT214"
    assert client.get(f"/v1/models/{made['id']}/program", params={"seed": 1}).status_code == 200
    assert client.get("/v1/models/nobody/program").status_code == 404
