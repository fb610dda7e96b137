"""Workbooks for people who live in spreadsheets: the series side by side, what they are, and the model.

The sheet `series` has a row for each bin and a column for each series, with dates that are dates (in UTC);
`metadata` says what the export is and what each column holds; `model` is the model's text. The format is
Office Open XML (ECMA-376). Export only: spreadsheets change numbers and times that people look at.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
import xlsxwriter
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.utility import xl_col_to_name
from xlsxwriter.worksheet import Worksheet

from flowtime.core.canonical import JSON
from flowtime.core.grid import parse_instant
from flowtime.core.series import SeriesSet
from flowtime.formats import XLSX, Progress
from flowtime.formats.export import check_size

MAX_TEXT = 32_767
"""What a cell of Excel holds."""

_DAY = 86_400_000_000
_DAY_ZERO = parse_instant("1899-12-30T00:00:00Z")
_FIRST_DATE = parse_instant("1900-03-01T00:00:00Z")
_FACTS = (
    "name", "description", "kind", "id", "tags", "created_utc", "engine_version", "model_id", "model_version",
    "model_hash", "inputs_hash", "seed", "grid", "rows", "digest",
)  # fmt: skip
_TOLD = 4096


class _Exact(float):
    """A double that is written with all its digits; the library's format would cut off the 17th."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return repr(float(self))


def write_workbook(
    series: SeriesSet,
    description: JSON,
    files: Mapping[str, bytes],
    handle: BinaryIO,
    progress: Progress | None = None,
) -> None:
    """Write `series` as a workbook; `description` is what `metadata.describe` returns.

    `files` has the model's text as `model.yaml`, where there is one. Raises InvalidInput (FT419) where
    the series do not fit on a sheet, and OSError where a disk is full.
    """
    check_size(XLSX, series.grid.bins, len(series))
    # The library finishes a book when an error leaves its `with`, and a stopped one would write to a closed
    # file at its end. So it works in a folder of its own, and only a whole book is copied.
    with TemporaryDirectory(prefix="flowtime-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "book.xlsx"
        book = xlsxwriter.Workbook(path, {"constant_memory": True, "tmpdir": folder})
        created = str(description.get("created_utc") or "1980-01-01")[:19]
        book.set_properties(
            {"title": description.get("name") or "", "created": datetime.fromisoformat(created)}
        )
        _series_sheet(book, series, progress)
        sheet = book.add_worksheet("metadata")
        sheet.set_column(0, 0, 24)
        for row, cells in enumerate(_metadata_rows(series, description)):
            _write_row(sheet, row, cells)
        if "model.yaml" in files:
            sheet = book.add_worksheet("model")
            for row, line in enumerate(_lines(files["model.yaml"].decode())):
                _write_row(sheet, row, (line,))
        try:
            book.close()
        except FileCreateError as error:
            raise error.args[0] from None
        with path.open("rb") as whole:
            shutil.copyfileobj(whole, handle)


def _series_sheet(book: xlsxwriter.Workbook, series: SeriesSet, progress: Progress | None) -> None:
    sheet = book.add_worksheet("series")
    bold = book.add_format({"bold": True})
    fraction = ".000" if series.grid.start is not None and series.grid.start % 1_000_000 else ""
    date = book.add_format({"num_format": f"yyyy-mm-dd hh:mm:ss{fraction}"})
    sheet.freeze_panes(1, 1)
    sheet.set_column(0, 0, 20)
    _write_row(
        sheet,
        0,
        ("time_bin" if series.grid.start is None else "time_bin (UTC)", *map(str, series.keys)),
        bold,
    )
    times = series.time_bins()
    # Excel takes 1900 for a leap year, and knows no dates before.
    dated = series.grid.start is not None and series.grid.start >= _FIRST_DATE
    for bin in range(series.grid.bins):
        row = bin + 1
        if dated:
            sheet.write_number(row, 0, (int(times[bin]) - _DAY_ZERO) / _DAY, date)
        elif series.grid.start is None:
            sheet.write_number(row, 0, bin)
        else:
            sheet.write_string(row, 0, series.grid.label(bin))
        values = series.values[:, bin]
        for column in np.flatnonzero(~np.isnan(values)).tolist():
            sheet.write_number(row, column + 1, _Exact(values[column]))
        if progress is not None and row % max(1, _TOLD // len(series)) == 0:
            progress(row * len(series), row / series.grid.bins)


def _metadata_rows(series: SeriesSet, description: JSON) -> Iterator[tuple[Any, ...]]:
    for name in _FACTS:
        value = description.get(name)
        if value in (None, "", []):
            continue
        if name == "grid":
            value = str(series.grid)
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else value
    yield "missing", "an empty cell"
    yield ()
    yield "column", "component", "measure", "unit"
    for at, (key, unit, _) in enumerate(series, start=1):
        yield xl_col_to_name(at), key.component, key.measure, unit or ""


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        for start in range(0, max(1, len(line)), MAX_TEXT):
            yield line[start : start + MAX_TEXT]


def _write_row(sheet: Worksheet, row: int, cells: tuple[Any, ...], format: Any = None) -> None:
    for column, cell in enumerate(cells):
        if isinstance(cell, int) and abs(cell) < 2**53:
            sheet.write_number(row, column, cell, format)
        else:
            # As a string, whatever it begins with: no text of ours is a formula.
            sheet.write_string(row, column, str(cell)[:MAX_TEXT], format)
