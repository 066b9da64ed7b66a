"""Two people in two browsers edit the same run at the same time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from studio.accounts.models import User
from tests.factories import make_run
from tests.fixtures.browser import LOOKS
from tests.pages.test_run_frame import url_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_both_texts_are_shown_before_one_replaces_the_other(
    open_page: OpenPage, axe: Callable[[Page], list[str]], chi: User, ana: User, width: int, theme: str
) -> None:
    run = make_run(display_name="width 512", description="First\n\nsecond line")
    hers = open_page(url_of(run), user=ana, width=width, theme=theme)
    his = open_page(url_of(run), user=chi)
    for page in (hers, his):
        page.get_by_role("link", name="Edit the description").click()
    his.get_by_label("Description Markdown").fill("Wider than before.\nSee run 12.")
    his.get_by_role("button", name="Save").click()
    expect(his.get_by_role("dialog")).to_have_count(0)
    hers.get_by_label("Display name").fill("width 1024")
    hers.get_by_label("Description Markdown").fill("Her text")
    hers.get_by_role("button", name="Save").click()
    expect(hers.get_by_text("chi changed the description meanwhile.")).to_be_visible()
    expect(hers.get_by_label("The description now")).to_have_value("Wider than before.\nSee run 12.")
    expect(hers.get_by_label("Description Markdown")).to_be_focused()
    expect(hers.get_by_label("Description Markdown")).to_have_value("Her text")
    assert axe(hers) == []
    hers.get_by_role("button", name="Save").click()
    expect(hers.get_by_role("dialog")).to_have_count(0)
    run.refresh_from_db()
    assert (run.display_name, run.description) == ("width 1024", "Her text")
