"""Workbooks: real dates, every digit, no formulas, and the limits of a sheet."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import numpy as np
import pytest

from flowtime.core.grid import Grid, parse_instant
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.errors import InvalidInput
from flowtime.formats import XLSX
from flowtime.formats.export import export_file, export_stream
from flowtime.formats.workbook import write_workbook

DESCRIPTION = {"name": "=1+1", "id": "r1", "created_utc": "2025-01-01T10:00:00.5Z", "seed": 2**63 - 1}
MODEL = {"model.yaml": "nodes: []\n# ü\n".encode()}
AWKWARD = [1 / 3, 5e-324, np.nan, 1.7976931348623157e308, 2.0**81, 0.1 + 0.2, -3.0, 0.0]


def table(grid: Grid | None = None) -> SeriesSet:
    grid = grid or Grid(8, 6, "hours", parse_instant("2025-01-01T00:00:00Z"))
    keys = (SeriesKey("a, b", "served"), SeriesKey("Ü", "x"))
    return SeriesSet(grid, keys, ("requests/bin", None), np.array([AWKWARD, AWKWARD[::-1]])[:, : grid.bins])


def written(series: SeriesSet) -> bytes:
    handle = io.BytesIO()
    export_stream(series, DESCRIPTION, XLSX, handle, files=MODEL, workbook=write_workbook)
    return handle.getvalue()


def cells(data: bytes, sheet: int) -> dict[str, str | float]:
    """The cells of a sheet by their names, with the text of strings and the numbers as they stand."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        root = ET.fromstring(archive.read(f"xl/worksheets/sheet{sheet}.xml"))
        assert not re.search(rb"<f[ >]", archive.read(f"xl/worksheets/sheet{sheet}.xml"))
    found: dict[str, str | float] = {}
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    for cell in root.iter(f"{space}c"):
        text = "".join(part.text or "" for part in cell.iter() if part.tag in (f"{space}t", f"{space}v"))
        found[cell.attrib["r"]] = text if cell.get("t") == "inlineStr" else float(text)
    return found


def test_the_series_stand_side_by_side_with_every_digit() -> None:
    found = cells(written(table()), 1)
    assert [found[name] for name in ("A1", "B1", "C1")] == ["time_bin (UTC)", "a, b.served", "Ü.x"]
    assert [found.get(f"B{row}", np.nan) for row in range(2, 10)] == pytest.approx(
        AWKWARD, rel=0, abs=0, nan_ok=True
    )
    assert "B4" not in found
    # 2025-01-01 is day 45,658 of Excel.
    assert [found["A2"], found["A3"]] == [45658.0, 45658.25]


def test_dates_are_dates_and_the_header_stays_in_sight() -> None:
    with zipfile.ZipFile(io.BytesIO(written(table()))) as archive:
        assert b'numFmtId="164" formatCode="yyyy-mm-dd hh:mm:ss"' in archive.read("xl/styles.xml")
        assert b'state="frozen"' in archive.read("xl/worksheets/sheet1.xml")


def test_metadata_and_model_have_sheets_of_their_own() -> None:
    data = written(table())
    facts = cells(data, 2)
    assert "=1+1" in facts.values()
    assert str(2**63 - 1) in facts.values()
    assert {"B", "a, b", "served", "requests/bin"} <= set(facts.values())
    assert list(cells(data, 3).values()) == ["nodes: []", "# ü"]


def test_times_that_are_no_dates_of_excel() -> None:
    assert cells(written(table(Grid(3))), 1)["A4"] == 2.0
    old = Grid(3, 1, "days", parse_instant("1899-12-31T00:00:00Z"))
    assert cells(written(table(old)), 1)["A2"] == "1899-12-31T00:00:00Z"


def test_the_same_run_gives_the_same_bytes() -> None:
    assert written(table()) == written(table())


@pytest.mark.parametrize(("series", "bins"), [(16_384, 2), (1, 1_048_576)])
def test_what_is_too_large_names_the_format_to_take(series: int, bins: int, tmp_path: Path) -> None:
    keys = tuple(SeriesKey(f"c{n}", "m") for n in range(series))
    large = SeriesSet(Grid(bins), keys, (None,) * series, np.zeros((series, bins)))
    with pytest.raises(InvalidInput, match='format="gold"') as caught:
        export_file(large, DESCRIPTION, XLSX, tmp_path / "x.xlsx", workbook=write_workbook)
    assert caught.value.code == "FT419"
    assert list(tmp_path.iterdir()) == []
