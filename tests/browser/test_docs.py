"""The page of the API's description in a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from studio.accounts.models import User
from tests.fixtures.browser import LOOKS

pytestmark = pytest.mark.browser


def test_names_of_shapes_lead_to_what_they_are(open_page: Callable[..., Page], ana: User) -> None:
    page = open_page("/api/docs", user=ana)
    page.get_by_text("/api/v1/workspaces/{workspace}/runs", exact=True).nth(1).click()
    operation = page.locator("details[open]")
    expect(operation).to_contain_text("422 Unprocessable Entity")
    expect(operation.locator("p code")).to_have_text("run_id")
    operation.get_by_role("link", name="InteractiveRunIn").click()
    expect(page.get_by_text("A new run of a process that Studio does not start.")).to_be_in_viewport()


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_the_description_of_the_api_has_no_barriers_and_fits(
    open_page: Callable[..., Page], axe: Callable[[Page], list[str]], ana: User, width: int, theme: str
) -> None:
    page = open_page("/api/docs", user=ana, width=width, theme=theme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
