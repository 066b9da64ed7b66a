"""The session ends while a page is open: pages go to the sign-in, unless typed text would be lost by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from urllib.parse import urljoin

import pytest
from django.test import Client
from playwright.sync_api import Page, Route, expect

from studio.accounts.models import User
from tests.browser.test_submit import sign_out_elsewhere
from tests.factories import make_run
from tests.fixtures.browser import LOOKS
from tests.pages.test_run_frame import url_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]
BAR = "You are signed out. Sign in in another tab"


def poll(page: Page) -> None:
    """Let every live part ask now, as it does when the network is back."""
    page.evaluate("dispatchEvent(new Event('online'))")


def test_a_page_without_typed_text_goes_to_the_sign_in(open_page: OpenPage, ana: User) -> None:
    make_run()
    page = open_page("/runs/?q=status:completed", user=ana)
    page.get_by_label("Select Run 1").check()
    sign_out_elsewhere(page)
    poll(page)
    page.wait_for_url(re.compile(r"/sign-in/\?next=%2Fruns%2F%3Fq"))


@pytest.mark.parametrize("path", ["/submit/", "/submit/?example=digits-pipeline", "/tokens/", "/account/"])
def test_so_does_a_form_that_nobody_touched(open_page: OpenPage, ana: User, path: str) -> None:
    page = open_page(path, user=ana)
    sign_out_elsewhere(page)
    poll(page)
    page.wait_for_url(re.compile(r"/sign-in/"))


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_a_poll_leaves_what_is_typed_and_says_so(
    open_page: OpenPage, axe: Callable[[Page], list[str]], ana: User, width: int, theme: str
) -> None:
    page = open_page("/submit/", user=ana, width=width, theme=theme)
    if width == 390:
        page.locator(".node-open").click()
    page.get_by_label("Arguments").fill("--lr 0.1")
    if width == 390:
        page.get_by_role("button", name="Close the settings").click()
    sign_in = sign_out_elsewhere(page)
    poll(page)
    expect(page.get_by_text(BAR)).to_be_visible()
    expect(page.get_by_role("link", name="Sign in")).to_have_attribute("target", "_blank")
    page.get_by_text(BAR).click(trial=True)  # nothing lies over it
    expect(page.locator('[name="steps-0-arguments"]')).to_have_value("--lr 0.1")
    assert axe(page) == []
    sign_in()
    poll(page)
    expect(page.get_by_text(BAR)).to_have_count(0)
    expect(page.locator('[name="steps-0-arguments"]')).to_have_value("--lr 0.1")


def open_as(page: Page, client: Client) -> Page:
    """Sign somebody else in, as another tab would; gives the same page there."""
    page.context.clear_cookies()
    value, root = client.cookies["studio_session"].value, urljoin(page.url, "/")
    page.context.add_cookies([{"name": "studio_session", "value": value, "url": root}])
    other = page.context.new_page()
    other.goto(page.url)
    return other


def test_what_one_person_typed_is_not_saved_by_the_next(
    open_page: OpenPage, client_of: Callable[[User], Client], ana: User, chi: User
) -> None:
    run = make_run()
    page = open_page(url_of(run), user=ana)
    page.get_by_role("link", name="Write one").click()
    page.get_by_label("Description Markdown").fill("Of ana")
    open_as(page, client_of(chi))
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_contain_text("You are signed in as chi.")
    run.refresh_from_db()
    assert run.description == ""


def test_the_token_of_the_next_person_comes_into_no_form_that_is_open(
    open_page: OpenPage, client_of: Callable[[User], Client], ana: User, chi: User
) -> None:
    run = make_run()
    page = open_page(url_of(run), user=ana)
    page.get_by_label("Add a tag").fill("from-ana")
    other = open_as(page, client_of(chi))
    other.get_by_label("Add a tag").fill("from-chi")
    other.get_by_label("Add a tag").press("Enter")
    expect(other.locator(".tag", has_text="from-chi").first).to_be_visible()
    page.evaluate("document.body.dispatchEvent(new Event('run-changed'))")
    expect(page.get_by_text(BAR)).to_be_visible()
    page.get_by_label("Add a tag").press("Enter")
    expect(page.locator(".toast")).to_contain_text("You are signed in as chi.")
    assert list(run.tags.values_list("key", flat=True)) == ["from-chi"]


@pytest.mark.parametrize("done", ["moved", "removed"])
def test_what_was_done_on_the_canvas_stays(open_page: OpenPage, ana: User, done: str) -> None:
    page = open_page("/submit/?example=digits-pipeline", user=ana)
    page.locator(".node-open").last.focus()
    page.keyboard.press("ArrowDown" if done == "moved" else "Delete")
    sign_out_elsewhere(page)
    poll(page)
    expect(page.get_by_text(BAR)).to_be_visible()
    expect(page.locator(".node")).to_have_count(4 if done == "moved" else 3)


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_an_edit_that_could_not_be_saved_stays(
    open_page: OpenPage, axe: Callable[[Page], list[str]], ana: User, width: int, theme: str
) -> None:
    run = make_run()
    page = open_page(url_of(run), user=ana, width=width, theme=theme)
    page.get_by_role("link", name="Write one").click()
    page.get_by_label("Description Markdown").fill("A long text")
    sign_in = sign_out_elsewhere(page)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog").get_by_text(BAR)).to_be_visible()
    assert axe(page) == []
    sign_in()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    run.refresh_from_db()
    assert run.description == "A long text"


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_so_does_one_on_a_page_of_its_own(
    open_page: OpenPage, axe: Callable[[Page], list[str]], ana: User, width: int, theme: str
) -> None:
    run = make_run()
    page = open_page(f"{url_of(run)}edit/", user=ana, width=width, theme=theme)
    page.get_by_label("Display name").fill("width 512")
    sign_in = sign_out_elsewhere(page)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(BAR)).to_be_visible()
    expect(page.get_by_label("Display name")).to_have_value("width 512")
    assert axe(page) == []
    sign_in()
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(f"**{url_of(run)}")
    run.refresh_from_db()
    assert run.display_name == "width 512"


def test_a_page_whose_person_is_another_now_keeps_what_was_typed_and_sends_nothing(
    open_page: OpenPage, client_of: Callable[[User], Client], ana: User, chi: User
) -> None:
    page = open_page("/tokens/", user=ana)
    page.get_by_label("Name").fill("Of ana")
    open_as(page, client_of(chi))
    page.get_by_role("button", name="Make token").click()
    expect(page.get_by_text(BAR)).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("Of ana")
    assert not chi.api_tokens.exists()


def proxy(status: int, route: Route) -> None:
    """What a proxy answers in the place of a server that is away."""
    assert route.request.method != "POST"
    route.fulfill(status=status, body="a page of the proxy's")


def test_a_form_that_does_not_reach_the_server_keeps_what_was_typed(open_page: OpenPage, ana: User) -> None:
    page = open_page("/tokens/", user=ana)
    page.get_by_label("Name").fill("laptop")
    page.context.set_offline(True)
    page.get_by_role("button", name="Make token").click()
    expect(page.locator(".toast")).to_contain_text("nothing was sent")
    page.context.set_offline(False)
    for status in (502, 503, 504):
        page.route("**/*", partial(proxy, status))
        page.locator(".toast").evaluate_all("toasts => toasts.forEach(toast => toast.remove())")
        page.get_by_role("button", name="Make token").click()
        expect(page.locator(".toast")).to_contain_text("nothing was sent")
        expect(page.get_by_label("Name")).to_have_value("laptop")
        page.unroute("**/*")
    page.get_by_role("button", name="Make token").click()
    expect(page.get_by_text("Token laptop")).to_be_visible()


def test_a_reload_makes_no_second_token_and_back_finds_the_page(open_page: OpenPage, ana: User) -> None:
    page = open_page("/tokens/", user=ana)
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Make token").click()
    secret = page.locator("#token-secret")
    expect(secret).to_contain_text("stu_")
    page.get_by_role("link", name="Runs", exact=True).first.click()
    page.wait_for_url("**/runs/")
    answer = page.go_back()
    assert answer is None or answer.ok
    expect(page.get_by_role("button", name="Revoke laptop")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Revoke laptop")).to_have_count(1)
    expect(secret).to_have_count(0)
    assert ana.api_tokens.count() == 1


@pytest.mark.parametrize(
    ("path", "field", "button"), [("/tokens/", "Name", "Make token"), ("/members/", "User name", "Add")]
)
def test_whether_somebody_is_signed_in_can_be_asked_on_every_page(
    open_page: OpenPage, chi: User, path: str, field: str, button: str
) -> None:
    page = open_page(path, user=chi)
    page.get_by_label(field, exact=True).first.fill("laptop")
    with page.expect_response(lambda answer: answer.request.method == "HEAD") as asked:
        page.get_by_role("button", name=button).first.click()
    assert asked.value.ok
    expect(page.get_by_text("laptop").first).to_be_visible()


def test_a_form_that_asks_first_asks_once(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits-pipeline", user=ana)
    page.get_by_label("Arguments", exact=False).first.fill("--seed 8")
    page.get_by_role("button", name="Clear").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Clear").click()
    page.wait_for_url(re.compile(r"/submit/$"))
    expect(page.get_by_role("dialog")).to_have_count(0)
