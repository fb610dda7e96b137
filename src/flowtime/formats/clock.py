"""Which instants the times of other people's data mean: their spelling, their zone, and its summer time.

A time without an offset is UTC, or what the clocks of a given zone showed. Where those clocks were set
forward, some times never were; where they were set back, some were twice. Such times are refused with
the reason: which instant is meant is not in the file.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flowtime.core.grid import MAX_INSTANT, MIN_INSTANT, format_instant, parse_moment
from flowtime.errors import InvalidInput, did_you_mean
from flowtime.wording import option

UNIX = {"unix": 1_000_000, "unix-ms": 1_000}
"""Names for times counted since 1970, and the microseconds of one count."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = 3_600_000_000
_MICROSECOND = timedelta(microseconds=1)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")
_INDEX = re.compile(r"[0-9]{1,15}")
_NUMBER = re.compile(r"-?[0-9]{1,17}(\.[0-9]{1,9})?")
_OWN = "%Y-%m-%dT%H:%M:%SZ"
_PLAIN = re.compile(r"(?:[^%]|%[YmdHMS])*")
_YEAR = re.compile(r"%[YyGcx]")
_COMMON = tuple(
    f"{day}{time}"
    for day in ("%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m/%d/%y", "%d.%m.%y", "%Y%m%d")
    for time in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
)
"""Spellings that are suggested where they fit, never taken without being told."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How times without an offset, or in a spelling of their own, are read."""

    format: str | None = None
    zone: tzinfo | None = None
    zone_name: str = "UTC"

    @classmethod
    def of(cls, format: str | None = None, zone: str | None = None) -> Clock:
        """The clock for a time format as `datetime.strptime` takes it, and a zone or offset by name.

        Raises InvalidInput (FT417) where either is not known.
        """
        if format is not None and format not in UNIX:
            _check_format(format)
        if format in UNIX and zone is not None:
            raise InvalidInput(
                "FT417",
                f"{option('time_format', format)} counts from an instant; "
                f"{option('timezone')} does not go with it",
            )
        return cls(format, None if zone is None else _zone(zone), zone or "UTC")

    @property
    def changes(self) -> bool:
        """Whether the zone's clocks may be set forward and back."""
        return isinstance(self.zone, zoneinfo.ZoneInfo)

    def instant(self, text: str) -> int | str:
        """Microseconds since 1970 that `text` means; where it means none, why."""
        if self.format in UNIX:
            return self._counted(text)
        try:
            moment = parse_moment(text) if self.format is None else datetime.strptime(text, self.format)  # noqa: DTZ007
        except (ValueError, OverflowError):
            if self.format is not None:
                return f"does not fit {option('time_format', self.format)}"
            return "is neither an instant like 2025-01-01T00:00:00Z nor a bin's index"
        if moment.tzinfo is None:
            return self.utc((moment.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND)
        if self.zone is not None:
            return f"has an offset of its own; {option('timezone', self.zone_name)} is for times without one"
        return _within((moment - _EPOCH) // _MICROSECOND)

    def assumes_utc(self, text: str) -> bool:
        """Whether `text`, which means an instant, has no offset, and nobody said whose clock it is of."""
        if self.zone is not None or self.format in UNIX:
            return False
        moment = parse_moment(text) if self.format is None else datetime.strptime(text, self.format)  # noqa: DTZ007
        return moment.tzinfo is None

    def utc(self, local: int) -> int | str:
        """The instant at which the zone's clocks showed `local`, both in microseconds; else why not."""
        if self.zone is None:
            return _within(local)
        try:
            early, late = (self._offset(local, fold) for fold in (0, 1))
        except OverflowError:
            return "lies outside the years 1 to 9999"
        if early == late:
            return _within(local - early)
        change = self._change(local, early, late)
        before, after = (_clock_time(change + offset) for offset in (early, late))
        if late > early:
            return f"never was in {self.zone_name}: clocks went forward from {before} to {after} then"
        return f"was twice in {self.zone_name}: clocks went back from {before} to {after} then"

    def all_utc(self, local: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """`utc` of many; None where one of them means no instant."""
        if self.zone is None or not local.size:
            return local
        hours, of_hour = np.unique(local // _HOUR, return_inverse=True)
        try:
            ends = [
                {
                    self._offset(int(hour) * _HOUR + minute, fold)
                    for minute in (0, _HOUR - 1)
                    for fold in (0, 1)
                }
                for hour in hours
            ]
        except OverflowError:
            return None
        instants: NDArray[np.int64] = local - np.array([min(offsets) for offsets in ends])[of_hour]
        # Only in an hour in which the clocks were set do its times differ in their offset.
        for odd in np.flatnonzero(np.array([len(offsets) > 1 for offsets in ends])[of_hour]).tolist():
            instant = self.utc(int(local[odd]))
            if isinstance(instant, str):
                return None
            instants[odd] = instant
        return instants

    def column(self, texts: pl.Series) -> NDArray[np.int64] | None:
        """`instant` of a column of texts; None where one of them is not spelled the plainest way."""
        format = self.format or _OWN
        own = self.format is None
        if not _PLAIN.fullmatch(format) or (own and self.zone is not None):
            return None
        try:
            parsed = texts.str.strptime(pl.Datetime("us"), format, strict=False, exact=True)
        except pl.exceptions.PolarsError:
            return None  # the library refuses some formats that are clear, such as hours without minutes
        # Other readings than the strictest do not come back as they were.
        if parsed.null_count() or not parsed.dt.strftime(format).equals(texts, check_names=False):
            return None
        return self.all_utc(parsed.cast(pl.Int64).to_numpy())

    def advice(self, refused: Iterable[str]) -> str | None:
        """What to do about times for which `instant` had no answer, if it is plain to see."""
        texts = list(refused)
        if self.changes:
            why = [str(self.instant(text)) for text in texts]
            if any(each.startswith(("never was", "was twice")) for each in why):
                return (
                    f"data from a clock that is never set has a fixed offset, in {self.zone_name} "
                    f"{option('timezone', self._standard())}; else write the times in UTC or with offsets"
                )
        if self.format is not None or not texts:
            return None
        fits = [option("time_format", format) for format in _COMMON if all(_fits(t, format) for t in texts)]
        return f"the times fit {' or '.join(fits)}" if fits else None

    def spelled(self, instant: int) -> str:
        """An instant as the file would spell it, for errors; empty where it has no zone of its own."""
        if self.zone is None:
            return ""
        moment = (_EPOCH + timedelta(microseconds=instant)).astimezone(self.zone)
        return f" ({moment.strftime(self.format or '%Y-%m-%d %H:%M:%S')} in {self.zone_name})"

    def _counted(self, text: str) -> int | str:
        if not _NUMBER.fullmatch(text):
            return f"is not a number, as {option('time_format', self.format)} wants it"
        whole, _, fraction = text.partition(".")
        unit = UNIX[str(self.format)]
        digits = fraction.ljust(len(str(unit)) - 1, "0")
        if digits[len(str(unit)) - 1 :].strip("0"):
            return "is finer than a microsecond"
        part = int(digits[: len(str(unit)) - 1] or "0")
        return _within(int(whole) * unit + (-part if text.startswith("-") else part))

    def _offset(self, local: int, fold: int) -> int:
        assert self.zone is not None
        wall = (_EPOCH + timedelta(microseconds=local)).replace(tzinfo=None, fold=fold)
        offset = self.zone.utcoffset(wall)
        assert offset is not None
        return offset // _MICROSECOND

    def _change(self, local: int, early: int, late: int) -> int:
        """The instant near `local` at which the offset went from `early` to `late`."""
        low, high = local - max(early, late) - 1, local - min(early, late) + 1
        while high - low > 1:
            middle = (low + high) // 2
            moment = (_EPOCH + timedelta(microseconds=middle)).astimezone(self.zone)
            offset = moment.utcoffset()
            assert offset is not None
            low, high = (middle, high) if offset // _MICROSECOND == early else (low, middle)
        return high

    def _standard(self) -> str:
        """The zone's offset when its clocks are not set forward, as people write it."""
        offsets = [self._offset(month * 30 * 24 * _HOUR + 1_700_000_000_000_000, 0) for month in range(12)]
        return _spelled(min(offsets))


def _zone(text: str) -> tzinfo:
    if text.upper() in {"Z", "UTC"}:
        return UTC
    match = _OFFSET.fullmatch(text)
    if match:
        sign, hours, minutes = match.groups()
        length = timedelta(hours=int(hours), minutes=int(minutes))
        if int(minutes) < 60 and length < timedelta(hours=24):
            return timezone(-length if sign == "-" else length)
    try:
        return zoneinfo.ZoneInfo(text)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise InvalidInput(
            "FT417",
            f'there is no time zone "{text}"',
            hint=did_you_mean(text, sorted(zoneinfo.available_timezones()))
            or "zones are named like Europe/Berlin, offsets like +01:00 or -08:00",
        ) from None


def _check_format(format: str) -> None:
    sample = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    try:
        datetime.strptime(sample.strftime(format), format)  # noqa: DTZ007
        complete = _YEAR.search(format) is not None
    except (ValueError, re.error) as error:
        raise InvalidInput(
            "FT417", f"{option('time_format', format)} cannot be read: {error}", hint=_EXAMPLE
        ) from None
    if not complete:
        raise InvalidInput("FT417", f"{option('time_format', format)} says no year", hint=_EXAMPLE)


_EXAMPLE = 'It is written as in "%Y/%m/%d %H:%M"; unix and unix-ms count from 1970.'


def _fits(text: str, format: str) -> bool:
    try:
        datetime.strptime(text, format)  # noqa: DTZ007
    except ValueError:
        return False
    return True


def _within(instant: int) -> int | str:
    return instant if MIN_INSTANT <= instant <= MAX_INSTANT else "lies outside the years 1 to 9999"


def _clock_time(local: int) -> str:
    text = format_instant(local)[11:-1]
    return text.removesuffix(":00")


def _spelled(offset: int) -> str:
    minutes = abs(offset) // 60_000_000
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def is_index(text: str) -> bool:
    """Whether a time is spelled as the index of a bin."""
    return _INDEX.fullmatch(text) is not None
