"""Toasts: they cover nothing, go by themselves, and stand above dialogs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from runs.models import Run
from runs.status import Status
from studio.accounts.models import User
from tests.factories import make_pipeline
from tests.pages.test_run_frame import url_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]
TOAST = "document.dispatchEvent(new CustomEvent('toast', {detail: {toasts: [{text: 'three'}]}}))"


@pytest.fixture
def pipeline(ana: User) -> Run:
    return make_pipeline(status=Status.RUNNING, statuses={"train": Status.RUNNING})


@pytest.mark.parametrize("width", [1440, 390])
def test_a_toast_covers_no_content_and_goes_by_itself(
    pipeline: Run, ana: User, open_page: OpenPage, width: int
) -> None:
    page = open_page(url_of(pipeline), user=ana, width=width)
    steps = page.locator(".steps")
    page.clock.install()
    page.evaluate(
        "document.dispatchEvent(new CustomEvent('toast', {detail: {toasts: [{text: 'one'}, {text: 'two'}]}}))"
    )
    toast = page.locator(".toast")
    expect(toast).to_contain_text("two")  # one at a time
    over, under = toast.bounding_box(), steps.bounding_box()
    head = page.locator(".run-head").bounding_box()
    assert over
    assert under
    assert head
    assert (
        over["y"] + over["height"] <= head["y"] if width > 1100 else over["y"] >= under["y"] + under["height"]
    )
    page.get_by_role("button", name="Dismiss").click()
    expect(toast).to_have_count(0)
    page.evaluate(TOAST)
    expect(toast).to_have_count(1)
    page.mouse.move(1, 1)
    page.clock.run_for(7_000)
    expect(toast).to_have_count(0)


def test_a_toast_stands_above_an_open_dialog(pipeline: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(url_of(pipeline), user=ana)
    page.get_by_role("link", name="Edit").first.click()
    page.get_by_label("Description").fill("Words")
    page.context.set_offline(True)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_contain_text("could not be reached")
    expect(page.get_by_label("Description")).to_have_value("Words")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".toast")).to_have_count(0)


def test_a_toast_stays_when_a_dialog_opens_and_closes(pipeline: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(url_of(pipeline), user=ana)
    page.clock.install()
    page.evaluate(TOAST)
    page.get_by_role("link", name="Edit").first.click()
    expect(page.get_by_role("dialog").locator(".toast")).to_contain_text("three")
    page.keyboard.press("Escape")
    expect(page.locator("body > #toasts .toast")).to_contain_text("three")
    page.get_by_role("link", name="Edit").first.click()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("body > #toasts .toast")).to_contain_text("Saved")
    page.get_by_role("button", name="Dismiss").click()
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url("**/compute/")
