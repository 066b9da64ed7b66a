"""How the submit form reads times, and which script it offers."""

from __future__ import annotations

import pytest

from runs.forms import likely_script, parse_time_limit, time_limit_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("  ", None),
        ("90s", 90),
        ("5m", 300),
        ("5 min", 300),
        ("1h", 3600),
        ("1 h", 3600),
        ("1h 30m", 5400),
        ("1H30M", 5400),
        ("2d", 172_800),
        ("1.5h", 5400),
        ("10", 600),
        ("0.5", 30),
        ("٥m", 300),
    ],
)
def test_times_as_people_type_them(text: str, seconds: int | None) -> None:
    assert parse_time_limit(text) == seconds


@pytest.mark.parametrize("text", ["soon", "5x", "h", "1h foo", "-5", "1e3", "5 5", "1" * 30, "0x10"])
def test_what_is_no_time_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="90s, 5m or 1h 30m"):
        parse_time_limit(text)


@pytest.mark.parametrize("seconds", [1, 59, 60, 90, 3600, 5430, 86_400, 90_061, 5_184_000])
def test_a_time_is_read_back_as_it_was_written(seconds: int) -> None:
    assert parse_time_limit(time_limit_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("scripts", "offered"),
    [
        ([], ""),
        (["fit.py"], "fit.py"),
        (["a.py", "train.py"], "train.py"),
        (["a.py", "main.py"], "main.py"),
        (["a.py", "b.py"], ""),
    ],
)
def test_the_likely_script_is_offered(scripts: list[str], offered: str) -> None:
    assert likely_script(scripts) == offered
