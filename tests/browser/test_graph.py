"""The canvas of a pipeline run: how much of it is seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from runs.models import Run
from studio.accounts.models import User
from tests.factories import make_pipeline
from tests.pages.test_run_frame import url_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]
#: Whether the canvas shows all of the drawing.
IS_WHOLE = """() => {
    const { scrollWidth, clientWidth, scrollHeight, clientHeight } = document.querySelector(".graph-scroll");
    return scrollWidth <= clientWidth && scrollHeight <= clientHeight;
}"""


def long_pipeline(steps: int = 20) -> Run:
    """Steps that run one after the other."""
    return make_pipeline({f"step {n}": [f"step {n - 1}"] if n else [] for n in range(steps)})


def test_a_graph_that_is_too_wide_opens_fitted_until_another_size_is_chosen(
    ana: User, open_page: OpenPage
) -> None:
    page = open_page(url_of(long_pipeline()), user=ana)
    size = page.locator("[data-zoom-full]")
    expect(size).not_to_have_text("100%")
    assert page.evaluate(IS_WHOLE)
    whole = size.inner_text()
    page.set_viewport_size({"width": 1000, "height": 900})
    expect(size).not_to_have_text(whole)
    assert page.evaluate(IS_WHOLE)
    size.click()
    expect(size).to_have_text("100%")
    page.locator(".steps").get_by_role("link", name="step 3").click()
    expect(page.get_by_label("Step step 3")).to_be_visible()
    expect(size).to_have_text("100%")
    page.get_by_role("button", name="Fit the whole graph").click()
    expect(size).not_to_have_text("100%")
    assert page.evaluate(IS_WHOLE)


def test_a_graph_that_is_too_high_opens_fitted(ana: User, open_page: OpenPage) -> None:
    page = open_page(url_of(make_pipeline({f"step {n}": [] for n in range(14)})), user=ana)
    size = page.locator("[data-zoom-full]")
    expect(size).not_to_have_text("100%")
    assert page.evaluate(IS_WHOLE)


def test_a_graph_that_fits_is_drawn_in_full_size(ana: User, open_page: OpenPage) -> None:
    page = open_page(url_of(long_pipeline(3)), user=ana)
    expect(page.locator("[data-zoom-full]")).to_have_text("100%")
    assert page.evaluate(IS_WHOLE)
