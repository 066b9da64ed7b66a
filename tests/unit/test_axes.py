"""Axes of charts: round numbers that can be told apart, whatever floats they are for."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runs.axes import reach, tick_texts, ticks

NUMBERS = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**60), 2**60).map(float))


@given(NUMBERS, st.one_of(NUMBERS, st.integers(0, 64)), st.integers(2, 10))
@example(1.0, 1, 4)
@example(2.0**53, 3, 4)
@example(1e300, 1, 4)
@example(0.0, 5e-324, 4)
@example(-0.0, 0.0, 5)
@example(-sys.float_info.max, sys.float_info.max, 4)
def test_an_axis_has_a_few_ticks_with_different_texts(one: float, other: float, wanted: int) -> None:
    """The other number is a whole one for a number that is so many floats further."""
    other = one + other * math.ulp(one) if isinstance(other, int) else other
    if math.isinf(other):
        return
    for share in (0, 0.08):
        least, most = reach(min(one, other), max(one, other), share)
        at = ticks(least, most, wanted)
        texts = [text for _, text in tick_texts(at)]
        assert 2 <= len(at) <= max(5, wanted + 1)
        assert len(set(at)) == len(set(texts)) == len(at)
        assert at == sorted(at)
        slack = (most - least) / 1e6
        assert all(least - slack <= tick <= most + slack for tick in at)


@pytest.mark.parametrize(
    ("least", "most", "texts"),
    [
        (1.0, math.nextafter(1.0, 2.0), ["0.9", "0.95", "1", "1.05", "1.1"]),
        (1e15, 1e15 + 29, [f"1,000,000,000,000,0{at:02}" for at in (0, 10, 20, 30)]),
        (1e-20, 4e-20, ["1e-20", "2e-20", "3e-20", "4e-20"]),
        (1e100, 4e100, ["1e+100", "2e+100", "3e+100", "4e+100"]),
        (0.1, 0.7, ["0.2", "0.4", "0.6"]),
        (0.0, 0.0, ["-1", "-0.5", "0", "0.5", "1"]),
    ],
)
def test_ticks_are_round_whatever_their_size(least: float, most: float, texts: list[str]) -> None:
    assert [text for _, text in tick_texts(ticks(*reach(least, most, 0.08), 4))] == texts
