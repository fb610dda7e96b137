"""Tables in stretches, in their order: of series in memory, or of an artifact's file that is read along."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flowtime.core.grid import Grid
from flowtime.core.series import SeriesKey, SeriesSet
from flowtime.errors import InvalidInput
from flowtime.formats import Progress
from flowtime.formats.metadata import COLUMNS

_PIECE = 1 << 20
_SENT = 1 << 18
_HEADER = ",".join(COLUMNS).encode() + b"\n"
_SCHEMA = dict.fromkeys(COLUMNS[:3], pl.String()) | {COLUMNS[3]: pl.Float64()}


@dataclass(frozen=True, slots=True)
class Stored:
    """A table as an artifact keeps it: plain gold CSV of these series in this order.

    Its values are read as they are asked for. `open` opens the file, which has `size` bytes with the hash
    `sha256`; `source` names it in errors.
    """

    grid: Grid
    keys: tuple[SeriesKey, ...]
    units: tuple[str | None, ...]
    open: Callable[[], BinaryIO]
    size: int
    sha256: str
    source: str

    @property
    def rows(self) -> int:
        """Rows of the table: series times bins."""
        return len(self.keys) * self.grid.bins

    def __len__(self) -> int:
        return len(self.keys)

    def time_bins(self) -> NDArray[np.int64]:
        """`(bins,)` int64, as `SeriesSet.time_bins`."""
        index = np.arange(self.grid.bins, dtype=np.int64)
        return index if self.grid.start is None else self.grid.start + index * self.grid.step

    def series(self, progress: Progress | None = None) -> SeriesSet:
        """All of it in memory. Raises InvalidInput (FT410) where the file is not the one with the hash."""
        values = np.empty((len(self), self.grid.bins))
        flat, done = values.reshape(-1), 0
        for part in self.values():
            if done + len(part) > self.rows:
                raise self._changed()
            flat[done : done + len(part)] = part.fill_null(np.nan)
            done += len(part)
            if progress is not None:
                progress(done, done / self.rows)
        return SeriesSet(self.grid, self.keys, self.units, values)

    def check(self) -> None:
        """Raises InvalidInput (FT410) where the file is not the one with the hash."""
        for _ in self.pieces():
            """Reading hashes."""

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the file. Raises InvalidInput (FT410) as `values`."""
        whole = hashlib.sha256()
        with self.open() as file:
            while piece := file.read(_SENT):
                whole.update(piece)
                yield piece
        if "sha256:" + whole.hexdigest() != self.sha256:
            raise self._changed()

    def values(self) -> Iterator[pl.Series]:
        """The values of consecutive rows, null where missing.

        Raises InvalidInput (FT410) after the last of them where the file is not the one with the hash.
        """
        whole, rows, rest = hashlib.sha256(), 0, b""
        with self.open() as file:
            first = file.read(len(_HEADER))
            whole.update(first)
            while piece := file.read(_PIECE):
                whole.update(piece)
                end = piece.rfind(b"\n") + 1
                lines, rest = (rest + piece[:end], piece[end:]) if end else (b"", rest + piece)
                if lines:
                    yield (found := self._read(lines))
                    rows += len(found)
        if "sha256:" + whole.hexdigest() != self.sha256 or rows != self.rows:
            raise self._changed()

    def _read(self, lines: bytes) -> pl.Series:
        # Without a header the library would take some beginnings for those of a compressed file.
        try:
            frame = pl.read_csv(io.BytesIO(_HEADER + lines), schema=_SCHEMA, columns=[3])
        except pl.exceptions.PolarsError as error:
            raise self._changed() from error
        return frame.to_series()

    def _changed(self) -> InvalidInput:
        return InvalidInput("FT410", "its bytes have not the SHA-256 that was recorded", where=self.source)


Table = SeriesSet | Stored
"""What can be written as a table."""


def stretches(table: Table, rows: int) -> Iterator[tuple[slice, slice, pl.Series]]:
    """The table in stretches of about `rows` rows: which series, which of their bins, and the values, null
    where missing.
    """
    if isinstance(table, SeriesSet):
        for which, bins in _spans(table, rows):
            values = np.ascontiguousarray(table.values[which, bins]).reshape(-1)
            yield which, bins, pl.Series(values, nan_to_null=True)
        return
    coming, held = table.values(), pl.Series(dtype=pl.Float64)
    for which, bins in _spans(table, rows):
        wanted = (which.stop - which.start) * (bins.stop - bins.start)
        parts, count = [held], len(held)
        while count < wanted and (more := next(coming, None)) is not None:
            parts.append(more)
            count += len(more)
        joined = parts[0] if len(parts) == 1 else pl.concat(parts, rechunk=True)
        held = joined[wanted:]
        yield which, bins, joined[:wanted]
    for _ in coming:
        """What is left over is hashed too, and refused."""


def places(which: slice, bins: slice) -> tuple[pl.Series, pl.Series]:
    """For each row of a stretch the number of its series, and that of its bin."""
    # Indices as Series: gathering by an array costs three times as much.
    of_series = np.repeat(np.arange(which.start, which.stop, dtype=np.uint32), bins.stop - bins.start)
    of_bin = np.tile(np.arange(bins.start, bins.stop, dtype=np.uint32), which.stop - which.start)
    return pl.Series(of_series), pl.Series(of_bin)


def _spans(table: Table, rows: int) -> Iterator[tuple[slice, slice]]:
    bins = table.grid.bins
    count = max(1, rows // bins)
    edges = [*range(0, bins, rows), bins]
    for first in range(0, len(table), count):
        for start, stop in pairwise(edges):
            yield slice(first, min(first + count, len(table))), slice(start, stop)
