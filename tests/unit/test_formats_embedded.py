"""CSV files that carry their metadata in their first lines."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet, same_bits
from flowtime.errors import InvalidInput
from flowtime.formats import GOLD, NDJSON, PARQUET, Format
from flowtime.formats.export import export_file, export_stream
from flowtime.formats.telemetry import import_file

DESCRIPTION = {
    "kind": "run",
    "id": "r1",
    "name": "Checkout,\nEU\u2028",
    "tags": ["a", "b"],
    "model": {"nodes": [{"values": [1.0, -0.5]}]},
}


def table() -> SeriesSet:
    values = np.array([[1 / 3, 5e-324, np.nan, 3.0], [2.0**81, -1.5, 0.0, 1e-7]])
    keys = (SeriesKey("#Zeta, EU", "served"), SeriesKey("alpha", "errors"))
    return SeriesSet(Grid(4, 6, "hours", parse_instant("2025-01-01T00:00:00Z")), keys, ("1", None), values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    done = export_file(table(), DESCRIPTION, GOLD, tmp_path / "x.csv", embed=True)
    assert done.metadata_path is None
    assert list(tmp_path.iterdir()) == [done.path]
    return done.path


def plain() -> str:
    text = io.BytesIO()
    export_stream(table(), None, GOLD, text)
    return text.getvalue().decode()


def test_one_file_brings_everything_back(path: Path) -> None:
    found = import_file(path)
    assert found.series.equals(table())
    assert found.recognised_by == "header"
    assert found.description is not None
    assert {key: found.description[key] for key in DESCRIPTION} == DESCRIPTION


def test_the_header_is_for_people_then_for_programs(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[:2] == ["# flowtime: format 1, treehouse.binned.v0", "# name: Checkout, EU "]
    assert "# grid: 4 bins of 6 hours from 2025-01-01T00:00:00Z" in lines
    assert "# tags: a, b" in lines
    json_line = next(line for line in lines if line.startswith("# {"))
    assert json.loads(json_line[2:])["resources"][0]["dialect"] == {"commentChar": "#"}
    assert "\n".join(lines[lines.index(json_line) + 1 :]) + "\n" == plain()


def test_programs_that_skip_comments_read_it(path: Path) -> None:
    frame = pl.read_csv(path, comment_prefix="# ")
    assert frame.height == 8
    assert frame["component_id"][0] == "#Zeta, EU"


def test_a_stream_may_carry_it_too(path: Path) -> None:
    text = io.BytesIO()
    export_stream(table(), DESCRIPTION, GOLD, text, embed=True)
    found = import_file(io.BytesIO(text.getvalue()))
    assert found.recognised_by == "header"
    assert found.series.equals(table())


def test_no_changed_byte_passes(path: Path) -> None:
    data = path.read_bytes()
    draw = np.random.Generator(np.random.PCG64(5))
    variants = [data[:at] for at in range(0, len(data), 40)] + [data + b"\n", data + b"x", data * 2]
    for at in range(0, len(data), 3):
        changed = bytearray(data)
        changed[at] ^= int(draw.integers(1, 256))
        variants += [bytes(changed), data[:at] + b" " + data[at:]]
    passed = []
    for variant in variants:
        path.write_bytes(variant)
        try:
            found = import_file(path)
        except InvalidInput:
            continue
        passed.append((variant, found.recognised_by))
    assert passed == []


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("# tags: a, b", "# tags: a", "FT410", "its seal is broken"),
        ("-1.5", "-2.5", "FT410", "the bytes below its header differ"),
        ("# {", "# [", "FT411", "lack the line of JSON"),
        ("# {", "# {{", "FT411", "is not the descriptor"),
    ],
)
def test_what_was_changed_is_said(path: Path, old: str, new: str, code: str, says: str) -> None:
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InvalidInput, match=says) as caught:
        import_file(path)
    assert caught.value.code == code
    assert "ignore_metadata" in str(caught.value)


def test_ignored_metadata_leaves_the_table_and_its_line_numbers(path: Path) -> None:
    path.write_text(path.read_text().replace("-1.5", "x"))
    with pytest.raises(InvalidInput) as caught:
        import_file(path, ignore_metadata=True)
    lines = path.read_text().splitlines()
    assert lines[(caught.value.errors[0].line or 0) - 1].endswith(",x")
    path.write_text(path.read_text().replace(",x", ",-2.5"))
    found = import_file(path, ignore_metadata=True)
    assert found.recognised_by is None
    assert same_bits(found.series.values[0], table().values[0])


@pytest.mark.parametrize("format", [NDJSON, PARQUET], ids=["ndjson", "parquet"])
def test_only_csv_takes_it(format: Format, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="embedded in CSV only"):
        export_file(table(), DESCRIPTION, format, tmp_path / "x", embed=True)
    assert list(tmp_path.iterdir()) == []


def test_comments_of_others_are_no_metadata() -> None:
    with pytest.raises(InvalidInput, match="begins with lines of comment"):
        import_file(io.BytesIO(b"# made by hand\n" + plain().encode()))
