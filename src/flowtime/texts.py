"""Numbers, counts, sizes and times as people read them, the same in commands and on pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

NONE = "–"
"""What stands where there is no value."""
FROM_NOTHING = "from 0"
"""What stands for a share of a baseline that is 0."""
_FAR = 7 * 24 * 3600


def number(value: float | None) -> str:
    """A number with six significant digits and groups of thousands, whole ones and those from a million on to
    the unit: 12,345.6, 1,297,837; a dash where there is none.
    """
    if value is None:
        return NONE
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e12 else f"{value:,.6g}"


def exact(value: float) -> str:
    """A number with every digit that it has, as commands take it: 8, 0.15."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def signed(value: float | None) -> str:
    """A difference: a number with its sign."""
    return f"{'+' if value and value > 0 else ''}{number(value)}"


def percent(value: float | None) -> str:
    """A ratio as a percentage of three digits: 61.5%, 4,548%; a dash where there is none."""
    if value is None:
        return NONE
    return f"{value * 100:,.0f}%" if abs(value) >= 10 else f"{value * 100:.3g}%"


def apart(found: Mapping[str, Any]) -> str:
    """How far the two sides of a series that differs are apart, and where first, as the JSON of a comparison
    has it.
    """
    parts = []
    if found["differing_bins"] > found["missing_on_one_side"]:
        gap = found["max_difference"]
        parts.append("beyond all numbers off" if gap is None else f"up to {number(abs(gap))} off")
    if found["missing_on_one_side"]:
        parts.append(f"{count(found['missing_on_one_side'], 'bin')} without a value on one side")
    return f"{' and '.join(parts)}, first at {found['first_time_bin']}"


def change(value: float | None) -> str:
    """A change as a percentage with its sign: +61.5%, -3%, 0%."""
    return f"{'+' if value and value > 0 else ''}{percent(value)}"


def of_baseline(shown: str, bins: int) -> str:
    """A share of the baseline, as `shown`; where there are bins to compare, it is missing for a 0 alone."""
    return FROM_NOTHING if shown == NONE and bins else shown


def count(value: int, noun: str) -> str:
    """A count with its noun: 1 run, 2 runs, 2 days, 2 queries, 3 series."""
    if value == 1 or noun.endswith("series"):
        return f"{value:,} {noun}"
    soft = noun.endswith("y") and noun[-2] not in "aeou"
    return f"{value:,} {noun[:-1]}ies" if soft else f"{value:,} {noun}s"


def size(value: int) -> str:
    """A number of bytes: 512 bytes, 1.2 kB, 34 MB."""
    if value < 1000:
        return count(value, "byte")
    amount, units = value / 1000, ["kB", "MB", "GB", "TB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.1f} {units[0]}" if amount < 9.95 else f"{amount:,.0f} {units[0]}"


def moment(text: str) -> datetime:
    """An ISO 8601 instant."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def when(text: str) -> str:
    """An instant in full: 22 November 2026, 09:41 UTC."""
    at = moment(text).astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def ago(text: str, now: datetime | None = None) -> str:
    """How long ago an instant was; the date where that is more than a week."""
    at = moment(text).astimezone(UTC)
    now = now or datetime.now(UTC)
    passed = (now - at).total_seconds()
    if passed < 10:
        return "just now"
    if passed >= _FAR:
        return f"{at.day} {at:%b}" if at.year == now.year else f"{at.day} {at:%b %Y}"
    units = ("second", 1), ("minute", 60), ("hour", 3600), ("day", 86400)
    unit, seconds = next((unit, size) for unit, size in reversed(units) if passed >= size)
    amount = int(passed // seconds)
    return "yesterday" if (amount, unit) == (1, "day") else f"{count(amount, unit)} ago"
