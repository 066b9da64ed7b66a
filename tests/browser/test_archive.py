"""Archiving a run: in place, by keyboard, from the menu of a narrow window, and without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from studio.accounts.models import User
from tests.factories import make_run
from tests.pages.test_run_frame import url_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


def test_an_archive_is_undone_from_its_toast(ana: User, open_page: OpenPage) -> None:
    run = make_run()
    page = open_page(url_of(run), user=ana)
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(page.locator(".head-title")).to_contain_text("archived")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".head-title")).not_to_contain_text("archived")


def test_what_was_brought_back_by_its_button_is_not_offered_to_be_undone(
    ana: User, open_page: OpenPage
) -> None:
    page = open_page(url_of(make_run()), user=ana)
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.locator(".head-tools").get_by_role("button", name="Unarchive").click()
    expect(page.locator(".toast")).to_have_text(re.compile("is back in the lists"))
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)


def test_a_run_is_archived_and_brought_back_in_place_by_keyboard(ana: User, open_page: OpenPage) -> None:
    run = make_run()
    page = open_page(url_of(run), user=ana)
    page.evaluate("window.isSamePage = true")
    archive = page.locator(".head-tools").get_by_role("button", name="Archive", exact=True)
    unarchive = page.locator(".head-tools").get_by_role("button", name="Unarchive")
    archive.focus()
    for button, said in ((unarchive, "archived"), (archive, "is back in the lists"), (unarchive, "archived")):
        page.keyboard.press("Enter")
        expect(button).to_be_focused()
        expect(page.locator(".toast").first).to_contain_text(f"Run {run.number} {said}")
        expect(page.locator(".head-title .tag")).to_have_count(int(button is unarchive))
    expect(page.locator(".toast").first.get_by_role("button", name="Undo")).to_be_visible()
    assert page.evaluate("isSamePage")


def test_a_run_is_archived_from_the_menu_which_closes(ana: User, open_page: OpenPage) -> None:
    page = open_page(url_of(make_run()), user=ana, width=390)
    more = page.get_by_role("button", name="More")
    more.click()
    page.locator("#run-menu").get_by_role("button", name="Archive").click()
    expect(page.locator(".head-title .tag")).to_have_text("archived")
    expect(page.locator("#run-menu")).to_be_hidden()
    expect(more).to_be_focused()


def test_without_javascript_a_run_is_archived_and_what_needs_it_is_hidden(
    ana: User, open_page: OpenPage
) -> None:
    page = open_page(url_of(make_run()), user=ana, java_script_enabled=False)
    expect(page.get_by_role("button", name="Copy link")).to_have_count(0)
    expect(page.get_by_role("button", name="Copy the run id")).to_have_count(0)
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(page.locator(".head-title .tag")).to_have_text("archived")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
