"""The time grid: equal bins, on the clock (with a start) or merely counted (without)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

BinUnit = Literal["seconds", "minutes", "hours", "days", "weeks"]

BIN_UNITS: tuple[BinUnit, ...] = get_args(BinUnit)
MAX_BINS = 1_000_000

MICROSECONDS: dict[BinUnit, int] = {
    "seconds": 1_000_000,
    "minutes": 60_000_000,
    "hours": 3_600_000_000,
    "days": 86_400_000_000,
    "weeks": 604_800_000_000,
}
"""Length of each unit in microseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MIN_INSTANT = -62_135_596_800_000_000
"""0001-01-01T00:00:00Z in microseconds since 1970."""
MAX_INSTANT = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z in microseconds since 1970."""
LONGEST = MAX_INSTANT + 1 - MIN_INSTANT
"""The length of the longest grid in microseconds: the years 1 to 9999."""


@dataclass(frozen=True, slots=True)
class Grid:
    """`bins` bins of `bin_size` `bin_unit` each.

    `start` is the instant at which bin 0 begins, in microseconds since 1970-01-01T00:00:00Z, or None
    for a grid that only counts its bins.
    """

    bins: int = 24
    bin_size: int = 1
    bin_unit: BinUnit = "hours"
    start: int | None = None

    @property
    def step(self) -> int:
        """Length of one bin in microseconds."""
        return self.bin_size * MICROSECONDS[self.bin_unit]

    @property
    def end(self) -> int | None:
        """The instant at which the last bin ends, in microseconds since 1970, or None without a start."""
        return None if self.start is None else self.start + self.bins * self.step

    def time_bin(self, index: int) -> int:
        """What `time_bin` holds for bin `index`: microseconds since 1970, or the index without a start."""
        return index if self.start is None else self.start + index * self.step

    def label(self, index: int) -> str:
        """`time_bin` of bin `index` as files show it."""
        return str(index) if self.start is None else format_instant(self.start + index * self.step)

    def to_json(self) -> dict[str, Any]:
        """The grid as the model document, catalogs and metadata write it."""
        document: dict[str, Any] = {"bins": self.bins, "binSize": self.bin_size, "binUnit": self.bin_unit}
        if self.start is not None:
            document["start"] = format_instant(self.start)
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Grid:
        """The grid that `to_json` wrote; raises KeyError, TypeError or ValueError on anything else."""
        bins, bin_size, bin_unit = document["bins"], document["binSize"], document["binUnit"]
        start = document.get("start")
        if bin_unit not in BIN_UNITS:
            raise ValueError(f"the unit is {bin_unit!r}; {', '.join(BIN_UNITS)} are allowed")
        if type(bins) is not int or not 1 <= bins <= MAX_BINS:
            raise ValueError(f"the number of bins is {bins!r}; 1 to {MAX_BINS:,} is allowed")
        if type(bin_size) is not int or bin_size < 1:
            raise ValueError(f"the size of a bin is {bin_size!r}; 1 or more is allowed")
        grid = cls(bins, bin_size, bin_unit, None if start is None else parse_instant(start))
        if bins * grid.step > LONGEST or (grid.end is not None and grid.end > MAX_INSTANT + 1):
            raise ValueError("its bins do not lie between the years 1 and 9999")
        return grid

    def __str__(self) -> str:
        unit = self.bin_unit if self.bin_size != 1 else self.bin_unit.removesuffix("s")
        text = f"{self.bins} {'bin' if self.bins == 1 else 'bins'} of {self.bin_size} {unit}"
        return text if self.start is None else f"{text} from {format_instant(self.start)}"


def parse_instant(text: str) -> int:
    """An ISO 8601 instant as microseconds since 1970; without an offset it is UTC.

    Raises ValueError on anything else, on digits finer than a microsecond that are not zero, and on
    instants outside the years 1 to 9999.
    """
    moment = parse_moment(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def parse_moment(text: str) -> datetime:
    """An ISO 8601 date and time, without a time zone where it states no offset; raises ValueError."""
    if re.search(r"[.,][0-9]{6}0*[1-9]", text):
        raise ValueError(f"finer than a microsecond: {text!r}")
    return datetime.fromisoformat(text)  # which leaves out all digits after the sixth


def format_instant(microseconds: int) -> str:
    """`2025-01-01T00:00:00Z`, with fractional digits only where they are needed."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    text = moment.replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"
