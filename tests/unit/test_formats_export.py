"""Files that are written: their exact text, their metadata, all or nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.errors import FlowtimeError, InvalidInput, Unavailable  # noqa: F401 (taken from here by the scripts below)
from flowtime.formats import GOLD, NDJSON, PARQUET, TABLES, Format, format_named
from flowtime.formats.digest import digest
from flowtime.formats.export import export_file, export_stream
from flowtime.formats.metadata import read_sidecar, sidecar_path

DESCRIPTION = {
    "kind": "run",
    "id": "checkout_run_2025-01-01_0a1b2c3d",
    "name": "Checkout",
    "created_utc": "2025-01-01T10:00:00Z",
    "tags": ["a"],
    "model": {"nodes": [{"id": "x", "values": [1.0, 2.5]}]},
    "seed": None,
}
NAMES = [("Checkout, EU", "arrivals"), ('the "Ü" one', " served "), ("plain", "value")]


def table(grid: Grid | None = None) -> SeriesSet:
    grid = grid or Grid(3, 1, "hours", parse_instant("2025-01-01T00:00:00Z"))
    values = np.array([[1 / 3, 5e-324, 3.0], [np.nan, 0.0, 1e-7], [-(2.0**81), 1.7976931348623157e308, 1e16]])
    keys = tuple(SeriesKey(*name) for name in NAMES)
    return SeriesSet(grid, keys, ("requests/bin", None, "1"), np.resize(values, (3, grid.bins)))


def exported(series: SeriesSet, format: Format) -> bytes:
    handle = io.BytesIO()
    streamed = export_stream(series, DESCRIPTION, format, handle)
    text = handle.getvalue()
    assert (streamed.rows, streamed.bytes) == (series.rows, len(text))
    assert streamed.sha256 == "sha256:" + hashlib.sha256(text).hexdigest()
    return text


def test_gold_csv_to_the_byte() -> None:
    assert exported(table(), GOLD).decode() == (
        "time_bin,component_id,measure,value\n"
        '2025-01-01T00:00:00Z,"Checkout, EU",arrivals,0.3333333333333333\n'
        '2025-01-01T01:00:00Z,"Checkout, EU",arrivals,5e-324\n'
        '2025-01-01T02:00:00Z,"Checkout, EU",arrivals,3.0\n'
        '2025-01-01T00:00:00Z,"the ""Ü"" one", served ,\n'
        '2025-01-01T01:00:00Z,"the ""Ü"" one", served ,0.0\n'
        '2025-01-01T02:00:00Z,"the ""Ü"" one", served ,1e-7\n'
        "2025-01-01T00:00:00Z,plain,value,-2.4178516392292583e+24\n"
        "2025-01-01T01:00:00Z,plain,value,1.7976931348623157e+308\n"
        "2025-01-01T02:00:00Z,plain,value,1e+16\n"
    )


def test_ndjson_to_the_byte() -> None:
    other = '"component_id":"the \\"Ü\\" one","measure":" served "'
    assert exported(table(), NDJSON).decode().splitlines()[2:5] == [
        '{"time_bin":"2025-01-01T02:00:00Z","component_id":"Checkout, EU","measure":"arrivals","value":3.0}',
        f'{{"time_bin":"2025-01-01T00:00:00Z",{other},"value":null}}',
        f'{{"time_bin":"2025-01-01T01:00:00Z",{other},"value":0.0}}',
    ]


def test_without_a_start_the_time_is_the_index() -> None:
    assert exported(table(Grid(2)), GOLD).splitlines()[1:3] == [
        b'0,"Checkout, EU",arrivals,0.3333333333333333',
        b'1,"Checkout, EU",arrivals,5e-324',
    ]
    assert exported(table(Grid(2)), NDJSON).startswith(b'{"time_bin":0,"component_id":')
    assert pl.read_parquet(exported(table(Grid(2)), PARQUET)).schema["time_bin"] == pl.Int64


@pytest.mark.parametrize(
    "start", ["0001-01-01T00:00:00.5Z", "1969-12-31T23:59:59.000001Z", "9999-12-31T00:00:00Z"]
)
def test_times_are_spelled_as_the_grid_labels_them(start: str) -> None:
    grid = Grid(3, 1, "seconds", parse_instant(start))
    lines = exported(table(grid), GOLD).decode().splitlines()[1:4]
    assert [line.split(",")[0] for line in lines] == [grid.label(bin) for bin in range(3)]


def test_parquet_has_the_types_of_the_specification() -> None:
    frame = pl.read_parquet(exported(table(), PARQUET))
    assert dict(frame.schema) == {
        "time_bin": pl.Datetime("us", "UTC"),
        "component_id": pl.String(),
        "measure": pl.String(),
        "value": pl.Float64(),
    }
    assert frame["value"].null_count() == 1
    assert frame["value"].is_nan().sum() == 0


@pytest.mark.parametrize("bins", [1, 7, 200_000, 300_000])
@pytest.mark.parametrize("format", TABLES, ids=[format.name for format in TABLES])
def test_pieces_join_without_a_seam(format: Format, bins: int) -> None:
    grid = Grid(bins, 1, "minutes", 0)
    count = 3 if bins > 7 else 50_000
    values = np.arange(count * bins, dtype=np.float64).reshape(count, bins)
    series = SeriesSet(grid, tuple(SeriesKey(f"c{i}", "m") for i in range(count)), (None,) * count, values)
    text = exported(series, format)
    frame = (pl.read_csv if format is GOLD else pl.read_ndjson if format is NDJSON else pl.read_parquet)(text)
    assert np.array_equal(frame["value"].to_numpy(), values.reshape(-1))
    assert frame["component_id"].to_list()[:: max(1, bins)] == [f"c{i}" for i in range(count)]
    assert frame["time_bin"].n_unique() == bins


@pytest.mark.parametrize("format", TABLES, ids=[format.name for format in TABLES])
def test_files_say_where_they_are_and_what_they_hold(format: Format, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / f"baseline{format.extension}"
    done = export_file(table(), DESCRIPTION, format, path)
    assert (done.path, done.rows, done.series, done.bytes) == (path, 9, 3, path.stat().st_size)
    assert done.digest == digest(table())
    assert done.metadata_path == (sidecar_path(path) if format.sidecar else None)
    assert sorted(path.parent.iterdir()) == sorted(filter(None, [path, done.metadata_path]))


def test_sidecar_is_a_descriptor_with_everything_needed(tmp_path: Path) -> None:
    done = export_file(table(), DESCRIPTION, GOLD, tmp_path / "baseline.csv")
    assert done.metadata_path == tmp_path / "baseline.csv.datapackage.json"
    text = done.metadata_path.read_bytes()
    document = json.loads(text)
    (resource,) = document["resources"]
    data = done.path.read_bytes()
    assert resource["path"] == "baseline.csv"
    assert resource["bytes"] == len(data)
    assert resource["hash"] == "sha256:" + hashlib.sha256(data).hexdigest()
    assert resource["schema"]["primaryKey"] == ["component_id", "measure", "time_bin"]
    description = read_sidecar(text, "x").description
    assert description == DESCRIPTION | {
        "format_version": 1,
        "schema_version": "treehouse.binned.v0",
        "grid": {"bins": 3, "binSize": 1, "binUnit": "hours", "start": "2025-01-01T00:00:00Z"},
        "series": [
            {"component": c, "measure": m, "unit": u}
            for (c, m), u in zip(NAMES, ["requests/bin", None, "1"], strict=True)
        ],
        "rows": 9,
        "digest": digest(table()),
    }
    assert b'"values": [1.0, 2.5]' in text


@pytest.mark.parametrize("format", [GOLD, NDJSON], ids=["gold", "ndjson"])
@pytest.mark.parametrize("grid", [None, Grid(3), Grid(3, 1, "seconds", 500_000)], ids=str)
def test_frictionless_accepts_sidecars(format: Format, grid: Grid | None, tmp_path: Path) -> None:
    frictionless = pytest.importorskip("frictionless")
    done = export_file(table(grid), DESCRIPTION, format, tmp_path / f"x{format.extension}")
    report = frictionless.validate(str(done.metadata_path))
    assert report.valid, report.to_summary()
    assert report.tasks[0].stats["rows"] == 9
    done.path.write_bytes(done.path.read_bytes().replace(b"5e-324", b"6e-324"))
    assert not frictionless.validate(str(done.metadata_path)).valid


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_formats_export import DESCRIPTION, TABLES, export_file, np, Grid, SeriesKey, SeriesSet
values = np.random.Generator(np.random.PCG64(1)).random((5, 80_000))
keys = tuple(SeriesKey(c, "m") for c in "abcde")
series = SeriesSet(Grid(80_000, 1, "minutes", 0), keys, (None,) * 5, values)
for format in TABLES:
    export_file(series, DESCRIPTION, format, Path(sys.argv[1]) / ("x" + format.extension))
"""


def test_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    found = []
    for name, environment in {
        "one": {"POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C"},
        "two": {"POLARS_MAX_THREADS": "4", "PYTHONHASHSEED": "2", "TZ": "America/New_York"},
    }.items():
        folder = tmp_path / name
        script = SCRIPT.format(here=str(Path(__file__).parent))
        subprocess.run([sys.executable, "-c", script, folder], check=True, env=os.environ | environment)
        found.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()})
    assert len(found[0]) == 5
    assert found[0] == found[1]


def refusal(path: Path, format: Format = GOLD) -> FlowtimeError:
    with pytest.raises(FlowtimeError) as caught:
        export_file(table(), DESCRIPTION, format, path)
    return caught.value


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.code == "FT413"
    assert "is a folder" in str(error)
    assert str(tmp_path) in str(error)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert "a part of the path is a file" in str(refusal(tmp_path / "a" / "x.csv"))


def test_a_name_that_no_metadata_can_say_is_refused(tmp_path: Path) -> None:
    error = refusal(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv")))
    assert error.code == "FT413"
    assert "not Unicode" in str(error)
    assert not list(tmp_path.iterdir())


def test_a_device_is_never_replaced() -> None:
    error = refusal(Path("/dev/null"))
    assert "is not a regular file" in str(error)
    assert Path("/dev/null").is_char_device()


def test_a_sidecar_that_cannot_be_written_keeps_the_data_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    sidecar_path(path).mkdir()
    assert refusal(path).code == "FT413"
    assert path.read_text() == "old"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    export_file(table(), DESCRIPTION, GOLD, tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").is_file()


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_formats_export import *
keys = (SeriesKey("a", "m"),)
series = SeriesSet(Grid(100_000, 1, "minutes", 0), keys, (None,), np.random.rand(1, 100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    export_file(series, DESCRIPTION, format_named(sys.argv[2]), Path(sys.argv[1]))
except Unavailable as error:
    print(error)
"""


@pytest.mark.parametrize("format", TABLES, ids=[format.name for format in TABLES])
def test_no_space_is_said_and_leaves_the_older_file(format: Format, tmp_path: Path) -> None:
    path = tmp_path / f"x{format.extension}"
    path.write_text("old")
    script = LIMITED.format(here=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", script, path, format.name], check=True, capture_output=True, text=True
    )
    assert "there is no space left" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


INTERRUPTED = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_formats_export import *
series = SeriesSet(Grid(1_000_000, 1, "minutes", 0), tuple(SeriesKey(f"c{{i}}", "m") for i in range(40)),
                   (None,) * 40, np.random.rand(40, 1_000_000))
print("ready", flush=True)
try:
    export_file(series, DESCRIPTION, format_named(sys.argv[2]), Path(sys.argv[1]))
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("format", [GOLD, PARQUET], ids=["gold", "parquet"])
def test_control_c_leaves_the_older_file(format: Format, tmp_path: Path) -> None:
    path = tmp_path / f"x{format.extension}"
    path.write_text("old")
    script = INTERRUPTED.format(here=str(Path(__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", script, path, format.name], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        while process.poll() is None and len(list(tmp_path.iterdir())) < 2:
            pass
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "stopped\n"
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_formats_are_found_by_name_and_alias() -> None:
    assert format_named("CSV") is format_named("gold") is GOLD
    with pytest.raises(InvalidInput, match='did you mean "parquet"') as caught:
        format_named("parket")
    assert "bundle, csv, gold, ndjson, parquet, xlsx" in str(caught.value)
