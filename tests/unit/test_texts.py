"""Numbers, counts, sizes and times as commands and pages write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flowtime.texts import ago, count, number, percent, signed, size, when

NOW = datetime(2025, 3, 10, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (0.5, "0.5"),
        (12345.678, "12,345.7"),
        (1e-7, "1e-07"),
        (2.5e9, "2,500,000,000"),
        (1297837.4, "1,297,837"),
        (-1297837.4, "-1,297,837"),
        (1.5e300, "1.5e+300"),
        (None, "–"),
    ],
)
def test_numbers_have_groups_and_six_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_differences_have_their_sign() -> None:
    assert [signed(value) for value in (1925.89, -26, 0, None)] == ["+1,925.89", "-26", "0", "–"]


def test_counts_agree_with_their_nouns() -> None:
    assert [count(n, "run") for n in (0, 1, 2, 1200)] == ["0 runs", "1 run", "2 runs", "1,200 runs"]
    words = ("series", "derived series", "day", "query", "entry")
    assert [count(3, word) for word in words] == [
        "3 series",
        "3 derived series",
        "3 days",
        "3 queries",
        "3 entries",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.05, "5%"), (0.6149, "61.5%"), (-0.6149, "-61.5%"), (45.4806, "4,548%"), (0, "0%"), (None, "–")],
)
def test_ratios_are_percentages_of_three_digits(value: float | None, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1 byte"),
        (999, "999 bytes"),
        (1200, "1.2 kB"),
        (15_272, "15 kB"),
        (999_600, "1.0 MB"),
        (3 * 10**15, "3,000 TB"),
    ],
)
def test_sizes_are_short(value: int, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=9), "just now"),
        (timedelta(seconds=45), "45 seconds ago"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(hours=5, minutes=59), "5 hours ago"),
        (timedelta(days=1, hours=3), "yesterday"),
        (timedelta(days=6), "6 days ago"),
        (timedelta(days=8), "2 Mar"),
        (timedelta(days=100), "30 Nov 2024"),
    ],
)
def test_times_say_how_long_ago(passed: timedelta, text: str) -> None:
    assert ago((NOW - passed).isoformat(), NOW) == text


def test_times_in_full_are_in_utc() -> None:
    assert when("2025-03-10T01:05:00+02:00") == "9 March 2025, 23:05 UTC"
