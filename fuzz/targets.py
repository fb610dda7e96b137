"""What is fuzzed: one function of bytes for each reader, and inputs to begin with.

A target may raise FlowtimeError, which refuses the input with a reason. Any other exception is a finding,
and so is an input that was read but does not survive being written and read again.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from flowtime.core import functions
from flowtime.core.canonical import sha256
from flowtime.core.expression import FormulaSyntaxError, format, parse
from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.engine import compile, evaluate
from flowtime.errors import FlowtimeError
from flowtime.formats import FORMATS, GOLD, NDJSON, PARQUET, Format
from flowtime.formats.bundle import DESCRIPTOR, ENTRIES
from flowtime.formats.digest import digest
from flowtime.formats.export import export_file, export_stream
from flowtime.formats.metadata import recorded, sidecar_path, write_sidecar
from flowtime.formats.telemetry import import_file
from flowtime.loop.imports import bring, read_grid
from flowtime.loop.rebuilt import rebuild
from flowtime.model import load
from flowtime.model.identity import graph_hash, model_hash
from flowtime.model.writer import dump, to_document
from flowtime.registry import Registry
from flowtime.service import Flowtime
from flowtime.settings import load as load_settings

VECTORS = Path(__file__).parents[1] / "tests" / "golden"
SEAL_LENGTH = 71
MAX_CELLS = 100_000
"""Models with more nodes times bins are not evaluated, larger tables not written: that would only be slow."""


@dataclass(frozen=True, slots=True)
class Target:
    """A function that takes any bytes, inputs that are nearly right, and words that inputs may hold."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    words: tuple[str, ...]


def fuzz(target: Target, data: bytes) -> bool:
    """Whether a target takes the input rather than refusing it; whatever else comes out is a finding."""
    try:
        target.run(data)
    except FlowtimeError as refusal:
        assert str(refusal), "refused without a reason"
        json.dumps(refusal.to_json(), allow_nan=False)
        return False
    return True


# Models and formulas


def _model(data: bytes) -> None:
    model = load(data, "model.yaml")
    again = load(dump(to_document(model)), "again.yaml")
    assert (model_hash(again), again.metadata) == (model_hash(model), model.metadata), "written otherwise"
    plan = compile(model)
    plan.describe()
    if len(model.nodes) * model.grid.bins <= MAX_CELLS:
        series = evaluate(plan, seed=1).series
        assert not np.isinf(series.values).any(), "a result is infinite"


def _models() -> Iterator[bytes]:
    for name in ("valid", "invalid"):
        for case in json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8")):
            document = case["model"]
            yield json.dumps(document).encode()
            yield dump(document).encode()
    templates = Path(functions.__file__).parents[1] / "sim" / "templates"
    yield from (path.read_bytes() for path in sorted(templates.glob("*.yaml")))
    yield b"a: &a [1, 2]\nb: *a\n<<: {c: !!str 1}\n--- # comment\n? x\n: |\n  text\n..."


def _formula(data: bytes) -> None:
    try:
        tree = parse(data.decode(errors="replace"))
    except FormulaSyntaxError:
        return
    text = format(tree)
    assert format(parse(text)) == text, f"written otherwise: {text}"


def _formulas() -> Iterator[bytes]:
    cases = json.loads((VECTORS / "valid.json").read_text(encoding="utf-8"))
    formulas = {node["expr"] for case in cases for node in case["model"]["nodes"] if "expr" in node}
    yield from (formula.encode() for formula in sorted(formulas))


def _grid(data: bytes) -> None:
    grid = read_grid(data.decode(errors="replace"))
    assert Grid.from_json(grid.to_json()) == grid, "written otherwise"
    grid.label(0)


def _grids() -> Iterator[bytes]:
    yield b"bins=24,size=1,unit=hours,start=2025-01-01T00:00:00Z"


# Data files. The first byte chooses the options of import; the rest is the file.

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"missing": "null"},
    {"missing": "zero", "duplicates": "last"},
    {"missing": "null", "duplicates": "sum", "align": "floor", "ignore_extra": True},
    {"missing": "null", "duplicates": "first", "grid": Grid(24)},
    {"missing": "null", "grid": Grid(24, 1, "hours", 0), "align": "floor"},
    {"strict": True, "grid": Grid(4, 6, "hours", parse_instant("2025-01-01T00:00:00Z"))},
    {"rename": {"timestamp": "time_bin"}, "ignore_metadata": True},
    {"wide": True, "component": "Seattle", "missing": "null"},
    {
        "wide": True,
        "component": "Seattle",
        "delimiter": ";",
        "decimal_comma": True,
        "time_format": "%d.%m.%Y",
    },
    {
        "wide": True,
        "component": "Seattle",
        "time_format": "%Y/%m/%d %H:%M",
        "timezone": "America/Los_Angeles",
    },
    {"time_format": "unix", "missing": "null"},
    {"timezone": "Europe/Berlin", "missing": "null", "duplicates": "sum"},
)


def _data(data: bytes) -> None:
    options = OPTIONS[data[0] % len(OPTIONS)] if data else {}
    series = import_file(io.BytesIO(data[1:]), **options).series
    _comes_back(series)


def _comes_back(series: SeriesSet) -> None:
    """What was imported is written as CSV and read again."""
    assert not np.isinf(series.values).any(), "a value is infinite"
    if series.rows > MAX_CELLS:
        return
    text = io.BytesIO()
    export_stream(series, None, GOLD, text)
    text.seek(0)
    again = import_file(text, grid=series.grid).series
    assert digest(again) == digest(series), "written otherwise"


def _sealed(data: bytes) -> None:
    """A Parquet file whose seal, where it has one, is made good: what lies behind it is tried too."""
    entry = data.rfind(b"flowtime.seal")
    prefix = data.find(b"sha256:", entry, entry + 32) if entry >= 0 else -1
    if prefix >= 0:
        digits = slice(prefix + 7, prefix + 71)
        open_seal = data[1 : digits.start] + b"0" * 64 + data[digits.stop :]
        seal = hashlib.sha256(open_seal).hexdigest().encode()
        data = data[: digits.start] + seal + data[digits.stop :]
    _data(data)


def table(start: str | None = "2025-01-01T00:00:00Z") -> SeriesSet:
    """A small table of awkward values and names."""
    values = np.array([[1 / 3, 5e-324, np.nan, 3.0], [2.0**81, -1.5, 0.0, 1.7976931348623157e308]])
    keys = (SeriesKey('Zeta, "EU"', "served"), SeriesKey("größe 🚀", "errors"))
    instant = None if start is None else parse_instant(start)
    return SeriesSet(Grid(4, 6, "hours", instant), keys, ("requests/bin", None), values)


MODEL = """
metadata: {id: small, title: Small}
grid: {bins: 4, binSize: 6, binUnit: hours, start: 2025-01-01T00:00:00Z}
nodes:
  - {id: demand, kind: const, values: [1, 2, 3, 4], unit: requests/bin}
  - {id: weather, kind: pmf, pmf: {"1": 0.5, "2": 0.5}, profile: rush-hour}
  - {id: served, kind: expr, expr: "MIN(demand, 2.5) * weather + SHIFT(served, 1)"}
topology:
  nodes: [{id: Desk, kind: service, semantics: {arrivals: demand, served: served}}]
"""


def description() -> dict[str, Any]:
    """What a file of MODEL says of itself."""
    model = load(MODEL)
    hashes = {"model_hash": model_hash(model), "graph_hash": graph_hash(model)}
    return {"kind": "run", "id": "small_1", "name": "Small", **hashes, "model": to_document(model)}


def _written(series: SeriesSet, format: Format, described: dict[str, Any] | None) -> bytes:
    file = io.BytesIO()
    export_stream(series, described, format, file)
    return file.getvalue()


def _files(format: Format) -> Iterator[bytes]:
    modelled = evaluate(compile(load(MODEL))).series
    for option in range(len(OPTIONS)):
        yield bytes([option]) + _written(table(), format, None)
        yield bytes([option]) + _written(table(None), format, None)
    yield b"\0" + _written(modelled, format, description())
    if format is GOLD:
        lines = (
            "time_bin,measure,value,component_id,note\r\n2025-01-01T02:00:00+02:00,m,1,a,\r\n3,m, 4 ,b,x\r\n"
        )
        yield b"\3" + lines.encode()
        yield b"\7" + lines.replace("time_bin", "timestamp").encode()
        yield b"\x08time_bin,temp,wind\n2025-03-30T01:00:00Z,39.4,\n2025-03-30T02:00:00Z,,1"
        yield b"\x09time_bin;temp;wind\n01.03.2025;39,4;1.000,5\n02.03.2025;;0\n"
        yield b"\x0atime_bin,temp\n2010/03/14 01:00,39.4\n2010/03/14 03:00,40\n2010/11/07 02:00,41\n"
        yield b"\x0btime_bin,component_id,measure,value\n1735689600,a,m,1\n1735693200.5,a,m,2\n"
        yield b"\x0ctime_bin,component_id,measure,value\n2025-03-30 01:30,a,m,1\n2025-10-26T03:00,a,m,2\n"
        embedded = io.BytesIO()
        export_stream(modelled, description(), GOLD, embedded, embed=True)
        yield b"\0" + embedded.getvalue()
    if format is NDJSON:
        line = '{"value":1e3,"time_bin":0,"measure":"\\u006d","component_id":"a","note":[null,true]}\n'
        yield b"\3" + line.encode()


def _sidecar(data: bytes) -> None:
    """A descriptor, sealed anew where it can be, beside a file that is as it says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.csv"
        path.write_bytes(_small())
        try:
            sidecar = write_sidecar(msgspec.json.decode(data))
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, OverflowError):
            sidecar = data
        sidecar_path(path).write_bytes(sidecar)
        found = import_file(path)
        assert found.description is not None
        recorded(found.description, "small.csv")
        rebuild(found.description, found.files)


@cache
def _small() -> bytes:
    return _written(evaluate(compile(load(MODEL))).series, GOLD, None)


def _sidecars() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.csv"
        export_file(evaluate(compile(load(MODEL))).series, description(), GOLD, path)
        sidecar = sidecar_path(path).read_bytes()
    yield sidecar
    document = json.loads(sidecar)
    del document["flowtime"]["seal"]
    yield json.dumps(document).encode()


def _bundle(data: bytes) -> None:
    """A bundle, all of whose seals and hashes are made good, with one entry replaced by the input.

    The first byte chooses the entry. One past the last means that the input is the whole archive.
    """
    chosen, data = data[0] % (len(ENTRIES) + 1) if data else 0, data[1:]
    whole = data
    if chosen < len(ENTRIES):
        with zipfile.ZipFile(io.BytesIO(_bundles_parts())) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        name = list(ENTRIES)[chosen]
        entries[name] = data
        if name != DESCRIPTOR:
            document = json.loads(entries[DESCRIPTOR])
            del document["flowtime"]["seal"]
            for resource in document["resources"]:
                if resource["path"] == name:
                    resource["hash"] = sha256(data)
                    if "bytes" in resource:
                        resource["bytes"] = len(data)
            entries[DESCRIPTOR] = write_sidecar(document)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for each, content in entries.items():
                entry = zipfile.ZipInfo(each)
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, content)
            archive.comment = b"0" * SEAL_LENGTH
        whole = packed.getvalue()
    sealed = (
        whole[:-SEAL_LENGTH] + sha256(whole[:-SEAL_LENGTH]).encode() if len(whole) > SEAL_LENGTH else whole
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.zip"
        path.write_bytes(sealed)
        _comes_back(bring(_registry(), path, None, {}).imported.series)


@cache
def _registry() -> Registry:
    """An empty registry, which no target writes to."""
    folder = Path(tempfile.mkdtemp(prefix="flowtime-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Registry.open(folder / "artifacts", cache_dir=folder)


@cache
def _bundles_parts() -> bytes:
    """The bundle of MODEL, as the command line exports it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.yaml"
        path.write_text(MODEL, encoding="utf-8")
        service = Flowtime(replace(load_settings(), artifacts=f"{folder}/artifacts", cache=Path(folder)))
        run = service.run(str(path))
        return Path(service.export(run["id"], "bundle", f"{folder}/small.zip")["path"]).read_bytes()


def _bundles() -> Iterator[bytes]:
    whole = _bundles_parts()
    yield bytes([len(ENTRIES)]) + whole
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        for number, name in enumerate(ENTRIES):
            yield bytes([number]) + archive.read(name)


WORDS = {
    "model": (
        *("schemaVersion", "metadata", "grid", "nodes", "outputs", "topology", "rng", "provenance", "bins"),
        *("binSize", "binUnit", "start", "binMinutes", "const", "expr", "pmf", "values", "probabilities"),
        *("profile", "rush-hour", "mode", "sample", "component", "measure", "semantics", "edges", "exclude"),
        *("&a", "*a", "<<", "!!str", "|", ">", "1e400", "0x10", ".inf", ".nan", "~", "---", "\0"),
    ),
    "formula": (*functions.TABLE, "1e999", "[", "]", "==", "<=", "((((", "----"),
    "table": (
        *("time_bin", "component_id", "measure", "value", "timestamp", "2025-01-01T00:00:00Z", "+02:00"),
        *("9999-12-31T23:59:59.999999Z", "1e400", "-0.0", "NaN", "inf", "5e-324", '""', "\r\n"),
        *("\ufeff", "null", "true", "\x1f", "=1", "2024-02-30"),
    ),
    "sidecar": ("resources", "bytes", "hash", "format_version", "digest", "rows", "unit", "seal", "../"),
}

TARGETS: dict[str, Target] = {
    "model": Target(_model, _models, WORDS["model"]),
    "formula": Target(_formula, _formulas, WORDS["formula"]),
    "grid": Target(_grid, _grids, ("bins=", "size=", "unit=", "start=", "weeks", "1e3", "٣")),
    "csv": Target(_data, partial(_files, GOLD), WORDS["table"]),
    "ndjson": Target(_data, partial(_files, NDJSON), WORDS["table"]),
    "parquet": Target(_sealed, partial(_files, PARQUET), ("PAR1", "flowtime.seal", "sha256:")),
    "sidecar": Target(_sidecar, _sidecars, (*WORDS["model"], *WORDS["sidecar"])),
    "bundle": Target(_bundle, _bundles, ("PK\1\2", "PK\3\4", "PK\5\6", "../", *WORDS["sidecar"])),
}
"""Every target by its name, which is also the name of the folder of its regression cases."""

assert set(FORMATS) - {"gold"} <= set(TARGETS), "a reader without a target"
