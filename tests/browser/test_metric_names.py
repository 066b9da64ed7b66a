"""Metrics of an experiment: the first one comes to an open page, and thousands of names are searched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from runs.status import Status
from studio.accounts.models import User
from tests.factories import log_metrics, make_run
from tests.fixtures.browser import LOOKS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_names_beyond_those_offered_are_searched(
    ana: User, open_page: OpenPage, axe: Callable[[Page], list[str]], width: int, theme: str
) -> None:
    make_run(metrics={"loss": 1.0})
    log_metrics(make_run(), {f"layer{number:04}/w": [1.0, 2.0] for number in range(1_200)})
    page = open_page("/experiments/mnist/", user=ana, width=width, theme=theme)
    page.get_by_role("button", name="Duration").click()
    page.locator("#over-find").press_sequentially("1199")
    expect(page.locator("#over-names a")).to_have_text("layer1199/w")
    assert axe(page) == []
    page.locator("#over-names a").click()
    page.wait_for_url("**over=layer1199%2Fw**")
    expect(page.get_by_role("button", name="layer1199/w")).to_be_visible()
    if width < 768:
        more = page.get_by_role("button", name="More", exact=True)
        search = page.locator("[data-search-bar], .list-search input[type=search], .list-search input").first
        assert abs(more.bounding_box()["y"] - search.bounding_box()["y"]) < 8
        more.click()
    page.get_by_role("link", name="Columns").and_(page.locator(":visible")).click()
    page.get_by_label("What is shown of loss").select_option("max")
    page.get_by_label("Find a metric").and_(page.locator("#column-find")).press_sequentially("1198")
    expect(page.locator("#metric-choice label")).to_have_count(2)
    page.get_by_label("What is shown of layer1198/w").select_option("last")
    assert axe(page) == []
    page.keyboard.press("Control+Enter")
    expect(page.locator("th", has_text="layer1198/w")).to_have_count(1)
    expect(page.locator("th", has_text="loss max")).to_have_count(1)


def test_the_first_metric_of_an_experiment_is_drawn_on_a_page_that_is_open(
    ana: User, open_page: OpenPage
) -> None:
    first = make_run(status=Status.RUNNING, submitter=ana)
    page = open_page("/experiments/mnist/", user=ana)
    expect(page.locator("[data-curves]")).to_have_count(0)
    log_metrics(first, {"loss": [1 / (step + 1) for step in range(20)]})
    expect(page.locator("[data-curves] canvas")).to_be_visible()
    page.wait_for_function("""() => {
        const canvas = document.querySelector("[data-curves] canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.some((part) => part > 0);
    }""")


def test_two_charts_of_one_metric_have_names_of_their_own(ana: User, open_page: OpenPage) -> None:
    log_metrics(make_run(), {"loss": [1.0, 2.0]})
    page = open_page("/experiments/mnist/?over=loss&curve=loss", user=ana, width=390)
    for name in ("loss", "loss by run number, the last 1"):
        expect(page.get_by_role("region", name=name, exact=True)).to_have_count(1)
