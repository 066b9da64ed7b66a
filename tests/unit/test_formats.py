"""Durations, ages and sizes as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runs.errors import unturned
from runs.formats import ago_text, bytes_text, duration_text, exact_time, ticking_text

NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-3, "0 ms"),
        (0, "0 ms"),
        (0.42, "420 ms"),
        (0.9999, "999 ms"),
        (1, "1s"),
        (41, "41s"),
        (724, "12m 04s"),
        (3840, "1h 04m"),
        (183600, "2d 03h"),
    ],
)
def test_duration_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text
    assert duration_text(None if seconds is None else timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("seconds", "text"), [(-3, "<1s"), (0.9, "<1s"), (1, "1s"), (724, "12m 04s")])
def test_a_duration_that_ticks_begins_below_a_second(seconds: float, text: str) -> None:
    assert ticking_text(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(seconds=-5), "now"),
        (timedelta(seconds=8), "8 s ago"),
        (timedelta(minutes=3, seconds=59), "3 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(hours=30), "yesterday"),
        (timedelta(days=4), "4 days ago"),
        (timedelta(days=9), "12 Nov"),
        (timedelta(days=365), "21 Nov 2025"),
    ],
)
def test_age_is_in_words_and_then_a_date(before: timedelta, text: str) -> None:
    assert ago_text(NOW - before, NOW) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "–"),
        (812, "812 B"),
        (3_100, "3.1 kB"),
        (40_960, "41 kB"),
        (999_999, "1.0 MB"),
        (1_900_000, "1.9 MB"),
    ],
)
def test_size_is_in_decimal_units(size: int | None, text: str) -> None:
    assert bytes_text(size) == text


def test_exact_time_is_utc_whatever_the_zone() -> None:
    assert exact_time(NOW.astimezone()) == "2026-11-21 14:00:00 UTC"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("outputs/a b.csv", "outputs/a b.csv"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("a\u2066b\u2069", "a\\u2066b\\u2069"),
        ("שלום.txt", "שלום.txt"),
    ],
)
def test_a_file_name_turns_no_direction(name: str, shown: str) -> None:
    assert unturned(name) == shown
