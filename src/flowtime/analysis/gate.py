"""What two sets of series must keep to for a comparison to be within its threshold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from flowtime.analysis.compare import Comparison, Difference, Place
from flowtime.core.series import SeriesKey
from flowtime.errors import InvalidInput, did_you_mean
from flowtime.texts import count, number, percent
from flowtime.wording import option

By = Literal["bin", "mean", "peak"]
"""What a series is judged by: the bin that is furthest off, the change of its mean, or that of its peak."""

_ABSOLUTE = "abs:"
_ROUNDING = 1e-12
"""1 and 1.05 are 5% apart, though their doubles are a little more."""
_SPELLINGS = (
    "write 5% or 0.05 for a share of the baseline, abs:5 for five units, PATTERN=5% for some of the series"
)


@dataclass(frozen=True, slots=True)
class Bound:
    """How far off a series may be: `most` as a share of the baseline, or `absolute`, in its unit.

    `pattern` is a glob on `component.measure`; None means every series that no pattern matches.
    """

    most: float
    absolute: bool = False
    pattern: str | None = None

    @classmethod
    def read(cls, text: str) -> Bound:
        """The bound that a person wrote: `5%`, `0.05`, `abs:5`, each also as `PATTERN=5%`.

        Raises InvalidInput (FT803), also for a bare number of 1 or more: `5` may mean 5%, 500% or five units.
        """
        pattern, named, bound = text.rpartition("=")
        size = bound.strip()
        absolute = size.startswith(_ABSOLUTE)
        share = size.endswith("%") and not absolute
        try:
            most = float(size.removeprefix(_ABSOLUTE) if absolute else size.removesuffix("%"))
        except ValueError:
            most = math.nan
        if not 0 <= most < math.inf or (named and not pattern.strip()):
            raise InvalidInput("FT803", f'"{text}" is not a threshold; {_SPELLINGS}')
        if not (absolute or share) and most >= 1:
            raise InvalidInput(
                "FT803",
                f'the threshold "{text}" may mean {size}%, {_share(most)} or {size} units; {_SPELLINGS}',
            )
        return cls(most / 100 if share else most, absolute, pattern.strip() if named else None)

    def matches(self, key: SeriesKey) -> bool:
        """Whether the pattern names a series; the name of a series names it whatever is in it."""
        return self.pattern is not None and (str(key) == self.pattern or fnmatchcase(str(key), self.pattern))

    @property
    def size(self) -> str:
        """How far off, as it is written."""
        return f"{_ABSOLUTE}{self.most:.12g}" if self.absolute else _share(self.most)

    def __str__(self) -> str:
        return self.size if self.pattern is None else f"{self.pattern}={self.size}"


@dataclass(frozen=True, slots=True)
class Distance:
    """How far off a series is by what it is judged by, infinite where the baseline gives no measure."""

    key: SeriesKey
    bound: Bound
    value: float
    at: Place | None
    said: str

    @property
    def over(self) -> bool:
        """Whether it is further off than it may be."""
        return self.value > self.bound.most * (1 + _ROUNDING)

    @property
    def nearness(self) -> float:
        """How much of what is allowed is used up."""
        return self.value / self.bound.most if self.bound.most else math.inf if self.value else 0.0

    def to_json(self) -> dict[str, Any]:
        """The distance as every face shows it; an infinite `value` is null."""
        return {
            "component": self.key.component,
            "measure": self.key.measure,
            "bound": str(self.bound),
            "value": self.value if math.isfinite(self.value) else None,
            "bin": None if self.at is None else self.at.bin,
            "time_bin": None if self.at is None else self.at.time_bin,
            "said": self.said,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate found: `over` holds the series that are too far off, the furthest first; `unlike` says in
    words what cannot be held against anything. `closest` is the series that came nearest to its bound.
    """

    gate: Gate
    judged: int
    over: tuple[Distance, ...]
    unlike: tuple[str, ...]
    closest: Distance | None

    @property
    def within(self) -> bool:
        """Whether everything is within its bound."""
        return not self.over and not self.unlike

    def to_json(self) -> dict[str, Any]:
        """The verdict as every face shows it."""
        return {
            "by": self.gate.by,
            "threshold": [str(bound) for bound in self.gate.bounds],
            "allow_missing": self.gate.allow_missing,
            "judged": self.judged,
            "over": [distance.to_json() for distance in self.over],
            "unlike": list(self.unlike),
            "closest": None if self.closest is None else self.closest.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Gate:
    """The bounds of a comparison, what it judges by, and whether one side may lack bins and series."""

    bounds: tuple[Bound, ...]
    by: By = "bin"
    allow_missing: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is one threshold for all series, and nothing else was asked for."""
        return self == Gate(self.bounds[:1]) and self.bounds[0].pattern is None

    def judge(self, comparison: Comparison) -> Verdict:
        """Holds every series that has a bound against it.

        Raises InvalidInput (FT815) where a pattern matches no series of either side.
        """
        alone = (("baseline", comparison.only_in_baseline), ("comparison", comparison.only_in_comparison))
        common = [difference.key for difference in comparison.series]
        self._check_patterns([*common, *(key for _, keys in alone for key in keys)])
        bound = [(each, self._bound(each.key)) for each in comparison.series]
        judged = [(each, found) for each, found in bound if found is not None]
        unlike = [f"{each.key}: {each.notes[0]}" for each, _ in judged if each.units_differ]
        if not self.allow_missing:
            lonely = [(key, side) for side, keys in alone for key in keys if self._bound(key) is not None]
            unlike += [f"{key} is only in the {side}" for key, side in lonely]
            unlike += _outside(comparison) if judged else []
            unlike += [said for each, _ in judged for said in _one_sided(each)]
        distances = [self._distance(each, found) for each, found in judged if each.bins or each.equal]
        if not distances and not unlike:
            unlike.append("nothing could be judged: no series has a bin with a value on both sides")
        distances.sort(key=lambda one: one.nearness, reverse=True)
        over = tuple(one for one in distances if one.over)
        return Verdict(self, len(distances), over, tuple(unlike), distances[0] if distances else None)

    def _bound(self, key: SeriesKey) -> Bound | None:
        """The last pattern's that matches, before the one for all series."""
        general = next((bound for bound in self.bounds if bound.pattern is None), None)
        return next((bound for bound in reversed(self.bounds) if bound.matches(key)), general)

    def _check_patterns(self, keys: Sequence[SeriesKey]) -> None:
        for bound in self.bounds:
            if bound.pattern is not None and not any(map(bound.matches, keys)):
                raise InvalidInput(
                    "FT815",
                    f'no series of the two matches the threshold for "{bound.pattern}"',
                    hint=did_you_mean(bound.pattern, map(str, keys))
                    or f"a series is named component.measure, such as {keys[0] if keys else 'web.served'}",
                )

    def _distance(self, each: Difference, bound: Bound) -> Distance:
        """How far off a series is; one that misses the same bins on both sides, and has no others, is not."""
        value, at, said = _measured(each, self.by, bound.absolute)
        # Where there are bins to compare, only what is beyond all numbers is None.
        value = (math.inf if each.bins else 0.0) if value is None else abs(value)
        said = f"{each.key}: {said} is {_shown(value, bound)} off; {bound.size} is allowed"
        return Distance(each.key, bound, value, at, said)


def _measured(each: Difference, by: By, absolute: bool) -> tuple[float | None, Place | None, str]:
    """How far off a series is by one measure, where that is, and what it was in words."""
    match by:
        case "bin":
            at = each.largest_at if absolute else each.deviation_at
            if at is None:
                return 0.0, None, "each bin"
            against = "" if absolute else f", floor {number(each.floor)},"
            said = f"{number(at.baseline)} → {number(at.comparison)} in {_bin(at)}{against}"
            return (each.max_difference if absolute else each.bin_deviation), at, said
        case "mean":
            said = f"the mean {number(each.mean_baseline)} → {number(each.mean_comparison)}"
            return (each.mean_difference if absolute else each.change_of_mean), None, said
        case "peak":
            a, b = each.peak_baseline, each.peak_comparison
            off = None if a is None or b is None else b - a
            return (off if absolute else each.peak_change), None, f"the peak {number(a)} → {number(b)}"


def _outside(comparison: Comparison) -> Iterator[str]:
    """The bins of one side that lie outside the other."""
    a = comparison.alignment
    for side, bins, other in (
        ("baseline", a.baseline_bins, "comparison"),
        ("comparison", a.comparison_bins, "baseline"),
    ):
        if bins > a.bins:
            verb = "lies" if bins == a.bins + 1 else "lie"
            yield f"{count(bins - a.bins, 'bin')} of the {side} {verb} outside the {other}"


def _one_sided(each: Difference) -> Iterator[str]:
    """The bins in which one side alone has a value."""
    at = each.missing_at
    if at is None:
        return
    first = "baseline" if at.comparison is None else "comparison"
    for side, bins in (
        ("baseline", each.bins_only_in_baseline),
        ("comparison", each.bins_only_in_comparison),
    ):
        if bins:
            where = f", first in {_bin(at)}" if side == first else ""
            yield f"{each.key}: {count(bins, 'bin')} with a value in the {side} only{where}"


def _bin(place: Place) -> str:
    return f"bin {place.bin:,}" + ("" if place.time_bin == str(place.bin) else f" ({place.time_bin})")


def _shown(value: float, bound: Bound) -> str:
    """How far off something is, in as many digits as tell it from its bound."""
    if math.isinf(value):
        return "infinitely far"
    short = number(value) if bound.absolute else percent(value)
    return short if short != bound.size else f"{value:.12g}" if bound.absolute else _share(value)


def _share(ratio: float) -> str:
    """A ratio as a percentage, without the noise of its last digits."""
    return f"{ratio * 100:.12g}%"


def gate(
    threshold: str | float | Iterable[str | float] | None,
    by: str | None = None,
    allow_missing: bool = False,
) -> Gate | None:
    """The gate of what a person asked for, None where that was none; numbers are shares, as text is read.

    Raises InvalidInput (FT803) for a bound that cannot be read, two for the same series, and for `by` and
    `allow_missing` without any.
    """
    given = [threshold] if isinstance(threshold, str | int | float) else list(threshold or ())
    bounds = tuple(Bound.read(str(each)) for each in given)
    if by is not None and by not in get_args(By):
        raise InvalidInput("FT803", f'{option("by")} is "{by}"; {", ".join(get_args(By))} are allowed')
    if not bounds:
        if by is not None or allow_missing:
            which = option("by") if by is not None else option("allow_missing")
            raise InvalidInput(
                "FT803",
                f"{which} is for a comparison with a threshold, and there is none",
                hint=f"give one, such as {option('threshold', '5%')}",
            )
        return None
    patterns = [bound.pattern for bound in bounds]
    twice = next((bound for bound in bounds if patterns.count(bound.pattern) > 1), None)
    if twice is not None:
        series = "every series" if twice.pattern is None else f'"{twice.pattern}"'
        raise InvalidInput("FT803", f"{series} has more than one threshold", hint="give one of them")
    return Gate(bounds, "bin" if by is None else _known(by), allow_missing)


def _known(by: str) -> By:
    return next(each for each in get_args(By) if each == by)
