"""Durations, ages and sizes as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.errors import unturned
from runs.formats import (
    ago_text,
    bytes_text,
    duration_text,
    exact_text,
    exact_time,
    number_text,
    numbers_apart,
    tick_text,
    ticking_text,
)
from tests.number_texts import NUMBERS, TICKS

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
        (1.05, "1.0s"),
        (2.3, "2.3s"),
        (6.66, "6.6s"),
        (9.9999, "9.9s"),
        (10.5, "10s"),
        (41, "41s"),
        (724, "12m 04s"),
        (3840, "1h 04m"),
        (183600, "2d 03h"),
    ],
)
def test_duration_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text
    assert duration_text(None if seconds is None else timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "<1s"), (0.9, "<1s"), (1, "1s"), (6.6, "6s"), (724, "12m 04s")]
)
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


@pytest.mark.parametrize(("number", "short", "exact"), NUMBERS)
def test_a_number_is_short_or_exact(number: float, short: str, exact: str) -> None:
    assert (number_text(number), exact_text(number)) == (short, exact)


@given(st.floats(allow_nan=False))
def test_all_digits_are_the_number_again(number: float) -> None:
    assert float(exact_text(number).replace(",", "")) == number


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ([0.25, 3.0, None], ["0.25", "3", "–"]),
        ([123_456.99, 123_456.7, 123_456.99], ["123,457", "123,456.7", "123,457"]),
        ([0.99991, 0.99994, 1.0], ["0.99991", "0.99994", "1"]),
        ([1e6 + 0.001, 1e6 + 0.0005, 1e6 - 0.001], ["1,000,000.001", "1,000,000.0005", "999,999.999"]),
        ([1e15 + 1, 1e15 + 30], ["1,000,000,000,000,001", "1,000,000,000,000,030"]),
    ],
)
def test_unequal_numbers_look_different(numbers: list[float | None], texts: list[str]) -> None:
    assert numbers_apart(numbers) == texts


@pytest.mark.parametrize(
    ("ticks", "texts"),
    [
        ([123_456.7, 123_456.75, 123_456.8], ["123,456.7", "123,456.75", "123,456.8"]),
        ([10_000.5, 10_001.0, 10_001.5], ["10,000.5", "10,001", "10,001.5"]),
        ([1e15, 1e15 + 5], ["1,000,000,000,000,000", "1,000,000,000,000,005"]),
        ([0.0, 0.2, 0.4], ["0", "0.2", "0.4"]),
    ],
)
def test_ticks_have_the_digits_of_their_distance(ticks: list[float], texts: list[str]) -> None:
    assert [tick_text(tick, ticks[1] - ticks[0]) for tick in ticks] == texts


@pytest.mark.parametrize(("tick", "step", "text"), TICKS)
def test_a_tick_is_written_as_on_charts(tick: float, step: float, text: str) -> None:
    assert tick_text(tick, step) == text


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
