"""The Members page in a browser: the longest user name, and one that is longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from studio.accounts.models import User

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("width", [1440, 390])
def test_a_long_user_name_fits_and_a_longer_one_is_refused(
    open_page: Callable[..., Page], chi: User, width: int
) -> None:
    page = open_page("/members/", user=chi, width=width)
    page.get_by_label("User name").fill("e" * 151)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("form .error")).to_contain_text("At most 150 are taken.")
    expect(page.get_by_label("User name")).to_have_value("e" * 151)
    page.get_by_label("User name").fill("e" * 150)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#members")).to_contain_text("e" * 150)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    heading = page.get_by_role("heading", name="Sign-in link for")
    assert heading.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
