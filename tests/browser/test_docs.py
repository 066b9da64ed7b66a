"""The page of the API's description in a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from studio.accounts.models import User
from tests.fixtures.browser import LOOKS

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_the_description_of_the_api_has_no_barriers_and_fits(
    open_page: Callable[..., Page], axe: Callable[[Page], list[str]], ana: User, width: int, theme: str
) -> None:
    page = open_page("/api/docs", user=ana, width=width, theme=theme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
