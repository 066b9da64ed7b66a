"""Charts write numbers as pages do, letter for letter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from runs.formats import exact_text, number_text, tick_text
from studio.accounts.models import User
from tests.number_texts import NUMBERS, TICKS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]

#: What numbers.js writes for [name of a function, arguments] each.
WRITE = """async (calls) => {
  const numbers = await import("/static/js/numbers.js");
  return calls.map(([name, ...given]) => numbers[name](...given));
}"""
Call: TypeAlias = list[str | float]


STEPS = st.builds(
    lambda digits, power: float(f"{digits}e{power}"), st.sampled_from([1, 2, 2.5, 5]), st.integers(-12, 12)
)
#: Of few digits, as people write them; many end in a half.
DECIMALS = st.builds(
    lambda digits, power: float(f"{digits}e{power}"), st.integers(-(10**7), 10**7), st.integers(-12, 12)
)


def calls_of_the_table() -> list[tuple[Call, str]]:
    """Calls with what they give by the table that pages are held to, too."""
    calls: list[tuple[Call, str]] = [(["tickText", tick, step], text) for tick, step, text in TICKS]
    for number, short, exact in NUMBERS:
        calls += [(["numberText", number], short), (["exactText", number], exact)]
    return calls


def calls_of_any_numbers() -> list[tuple[Call, str]]:
    """Calls with what pages write, for numbers that hypothesis thought of."""
    calls: list[tuple[Call, str]] = []

    @settings(max_examples=1_500, database=None)
    @given(st.one_of(st.floats(), st.floats(-1e18, 1e18), DECIMALS), st.integers(4, 17), STEPS)
    def draw(number: float, digits: int, step: float) -> None:
        calls.append((["numberText", number], number_text(number)))
        calls.append((["numberText", number, digits], number_text(number, digits)))
        calls.append((["exactText", number], exact_text(number)))
        calls.append((["tickText", number, step], tick_text(number, step)))

    draw()
    return calls


@pytest.mark.parametrize("thought_of", [calls_of_the_table, calls_of_any_numbers])
def test_charts_write_the_numbers_of_pages(
    ana: User, open_page: OpenPage, thought_of: Callable[[], list[tuple[Call, str]]]
) -> None:
    calls = thought_of()
    page = open_page("/experiments/", user=ana)
    written = page.evaluate(WRITE, [call for call, _ in calls])
    assert [(*one, text) for one, text in zip(calls, written, strict=True) if one[1] != text] == []
