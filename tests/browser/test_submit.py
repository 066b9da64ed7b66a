"""The submit page in a real browser: the canvas, the keyboard, uploads and the Run dialog."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from runs.models import ComputeTarget, Run
from runs.status import Kind
from studio.accounts.models import User
from tests.factories import make_experiment, make_node, make_target
from tests.fixtures.browser import LOOKS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


@pytest.fixture(autouse=True)
def places(workspace: Any) -> None:
    make_node(target=make_target("local", is_default=True))
    make_target("gpu-compute")


def paste(page: Page, text: str = "print(1)") -> None:
    """Paste a script into the step whose settings are open."""
    step = page.locator(".step.is-selected")
    step.get_by_text("Paste", exact=True).click()
    step.get_by_label("Script text").fill(text)
    step.get_by_label("Script text").blur()
    expect(step.locator('[name$="-script"]')).to_have_value("train.py")
    expect(step.get_by_label("Script", exact=True)).to_be_hidden()


def test_one_step_runs_through_the_dialog(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    paste(page)
    page.get_by_role("button", name="Run", exact=True).click()
    dialog = page.get_by_role("dialog", name="Run this script")
    expect(dialog).to_contain_text("1 step: 1 on local (default)")
    dialog.get_by_label("New experiment").fill("mnist")
    dialog.get_by_label("Display name").fill("first")
    dialog.get_by_label("Tags").fill("quality=good")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Remove tag quality=good")).to_be_visible()
    page.keyboard.press("Control+Enter")
    page.wait_for_url(re.compile(r"/experiments/mnist/runs/1/"))
    run = Run.objects.get()
    assert (run.display_name, [str(tag) for tag in run.tags.all()]) == ("first", ["quality=good"])


def test_an_error_is_shown_before_any_dialog(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    paste(page)
    page.get_by_label("Arguments").fill("--name 'open")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".step.is-selected")).to_contain_text("cannot be read")
    expect(page.get_by_label("Arguments")).to_have_value("--name 'open")
    expect(page.get_by_label("Arguments")).to_be_focused()
    expect(page.locator(".node.is-wrong")).to_have_count(1)
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_without_a_default_target_the_bar_says_so_below_its_field(open_page: OpenPage, ana: User) -> None:
    ComputeTarget.objects.update(is_default=False)
    page = open_page("/submit/", user=ana)
    paste(page)
    page.locator(".draft-name input").fill("kept")
    page.get_by_role("button", name="Run", exact=True).click()
    said = page.locator(".submit-bar").get_by_text("Choose where steps run.")
    expect(said).to_be_visible()
    error, field = (
        one.bounding_box()
        for one in (page.locator(".submit-target .error"), page.locator(".submit-target select"))
    )
    name = page.locator(".draft-name input")
    expect(name).to_have_value("kept")
    assert error
    assert field
    assert error["x"] == field["x"]
    assert 0 < error["y"] - field["y"] - field["height"] < 12
    assert name.evaluate("one => one.scrollWidth <= one.clientWidth && one.clientWidth > 30")


def test_an_edge_is_drawn_from_port_to_port(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    paste(page)
    page.get_by_role("button", name="Add step").click()
    nodes = page.locator(".node")
    nodes.nth(0).locator(".port-out").drag_to(nodes.nth(1))
    expect(page.locator("#canvas-words")).to_have_text("2 steps, 1 edge.")
    chip = page.locator(".step.is-selected .after-one input")
    expect(chip).to_be_checked()
    nodes.nth(1).locator(".port-out").drag_to(nodes.nth(0))
    expect(page.locator("#toasts")).to_contain_text("wait for each other")
    expect(page.locator("#canvas-words")).to_have_text("2 steps, 1 edge.")


def test_a_box_is_dragged_and_keeps_its_place(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    box = page.locator(".node").first
    before = box.bounding_box()
    assert before
    page.mouse.move(before["x"] + 60, before["y"] + 20)
    page.mouse.down()
    page.mouse.move(before["x"] + 160, before["y"] + 90, steps=4)
    page.mouse.up()
    after = box.bounding_box()
    assert after
    assert (round(after["x"] - before["x"]), round(after["y"] - before["y"])) == (100, 70)
    page.get_by_role("button", name="Save draft").click()
    page.wait_for_url(re.compile(r"draft=\d+"))
    again = page.locator(".node").first.bounding_box()
    assert again
    assert (round(again["x"]), round(again["y"])) == (round(after["x"]), round(after["y"]))


def test_the_canvas_of_the_bundled_pipeline_needs_no_scroll_bar(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits-pipeline", user=ana)
    expect(page.locator(".node")).to_have_count(4)
    fits = "one => one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight"
    assert page.locator("#canvas").evaluate(fits)


def test_the_keyboard_alone_builds_and_submits_a_pipeline(open_page: OpenPage, ana: User) -> None:
    make_experiment("mnist")
    page = open_page("/submit/?example=digits", user=ana)
    focus(page, "Add step")
    page.keyboard.press("Enter")
    expect(page.locator(".step.is-selected").get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("again")
    tab_to(page, '.step.is-selected .source input[type="radio"]')
    page.keyboard.press("End")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    tab_to(page, ".step.is-selected .source select")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".step.is-selected .kept-files")).to_be_visible()
    tab_to(page, ".step.is-selected .after-one input")
    page.keyboard.press("Space")
    expect(page.locator("#canvas-words")).to_have_text("2 steps, 1 edge.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("dialog", name="Run this pipeline")).to_be_visible()
    page.keyboard.press("Control+Enter")
    page.wait_for_url(re.compile(r"/experiments/digits/runs/1/"))
    pipeline = Run.objects.get(kind=Kind.PIPELINE)
    assert [step.dependencies.count() for step in pipeline.children.order_by("number")] == [0, 1]


def focus(page: Page, name: str) -> None:
    """Tab on until the button of this name has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return
    raise AssertionError(f"{name} is not reached")


def tab_to(page: Page, selector: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
    raise AssertionError(f"{selector} is not reached")


def test_a_folder_is_uploaded_with_its_paths_and_ignore_file(
    open_page: OpenPage, ana: User, tmp_path: Path
) -> None:
    folder = tmp_path / "digits"
    (folder / "lib").mkdir(parents=True)
    for name in ("train.py", "lib/nets.py", "big.csv"):
        (folder / name).write_text("x = 1\n")
    (folder / ".gitignore").write_text("*.csv\n")
    page = open_page("/submit/", user=ana)
    page.locator('.step.is-selected input[name="steps-0-folder"]').set_input_files(folder)
    kept = page.locator(".step.is-selected .kept")
    expect(kept).to_contain_text("digits")
    expect(kept).to_contain_text("3 files")
    expect(page.get_by_label("Script", exact=True)).to_have_value("train.py")
    expect(page.locator(".node")).to_contain_text("folder, 3 files")
    kept.locator("summary").click()
    expect(kept).to_contain_text("lib/nets.py")


def test_a_folder_refused_as_it_was_chosen_is_not_sent_by_run(
    open_page: OpenPage, ana: User, tmp_path: Path, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 5
    for name in "abcde":
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    page = open_page("/submit/", user=ana)
    sent: list[str] = []
    page.on("request", lambda asked: sent.append(asked.url) if asked.method == "POST" else None)
    folder = page.locator('.step.is-selected input[name="steps-0-folder"]')
    folder.set_input_files(tmp_path)
    kept = page.locator(".step.is-selected .kept")
    expect(kept.get_by_role("alert")).to_contain_text("This folder has 5 files")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("Nothing was submitted")
    expect(kept.get_by_role("alert")).to_be_visible()
    expect(page.locator(".node.is-wrong")).to_have_count(1)
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert (sent, folder.evaluate("input => input.files.length")) == ([], 0)
    paste(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("dialog", name="Run this script")).to_be_visible()


def test_a_step_is_duplicated_and_deleted(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits", user=ana)
    page.get_by_label("Time limit").fill("5m")
    page.get_by_role("button", name="Duplicate this step").click()
    expect(page.locator(".node")).to_have_count(2)
    expect(page.locator(".step.is-selected").get_by_label("Name", exact=True)).to_have_value("train-2")
    expect(page.locator(".step.is-selected").get_by_label("Time limit")).to_have_value("5m")
    page.get_by_role("button", name="Delete this step").click()
    expect(page.locator(".node")).to_have_count(1)


def test_on_a_phone_steps_are_a_list_and_settings_a_page(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits-pipeline", user=ana, width=390)
    expect(page.get_by_text("runs after train-mlp and train-softmax")).to_be_visible()
    page.locator(".node-open").nth(1).click()
    expect(page.locator(".step.is-selected").get_by_label("Arguments")).to_be_visible()
    page.get_by_role("button", name="Close the settings").click()
    expect(page.locator(".node-open").nth(1)).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("width", "theme"), LOOKS)
@pytest.mark.parametrize("path", ["/submit/?example=digits-pipeline", "/start/", "/start/files/"])
def test_axe_finds_nothing(
    open_page: OpenPage, axe: Callable[[Page], list[str]], ana: User, path: str, width: int, theme: str
) -> None:
    page = open_page(path, user=ana, width=width, theme=theme)
    assert axe(page) == []
    if path.startswith("/submit/"):
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert axe(page) == []


def sign_out_elsewhere(page: Page) -> Callable[[], None]:
    """End the session as another tab would; gives what signs in again there, with a new token for forms."""
    cookies = [cookie for cookie in page.context.cookies() if cookie["name"] == "studio_session"]
    page.context.clear_cookies(name="studio_session")

    def sign_in() -> None:
        page.context.add_cookies(cookies)
        page.context.clear_cookies(name="studio_csrf")
        other = page.context.new_page()
        other.goto(page.url)
        other.close()

    return sign_in


def test_signed_out_meanwhile_nothing_typed_is_lost(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    paste(page)
    page.get_by_label("Arguments").fill("--lr 0.1")
    sign_in = sign_out_elsewhere(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    expect(page.get_by_label("Arguments")).to_have_value("--lr 0.1")
    sign_in()
    page.get_by_role("button", name="Run", exact=True).click()
    dialog = page.get_by_role("dialog", name="Run this script")
    expect(dialog).to_be_visible()
    assert page.get_by_text("You are signed out.").count() == 0
    dialog.get_by_label("New experiment").fill("mnist")
    sign_in = sign_out_elsewhere(page)
    page.keyboard.press("Control+Enter")
    expect(dialog.get_by_text("You are signed out.")).to_be_visible()
    sign_in()
    page.keyboard.press("Control+Enter")
    page.wait_for_url(re.compile(r"/experiments/mnist/runs/1/"))
    assert Run.objects.get().arguments == ["--lr", "0.1"]


@pytest.mark.parametrize("loss", ["proxy", "connection"])
def test_a_run_whose_answer_is_lost_may_exist(open_page: OpenPage, ana: User, loss: str) -> None:
    def lose(route: Route) -> None:
        route.fetch()
        if loss == "proxy":
            route.fulfill(status=504)
        else:
            route.abort()

    page = open_page("/submit/?example=digits", user=ana)
    page.get_by_role("button", name="Run", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New experiment").fill("mnist")
    page.route("**/submit/", lose)
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("It is not known whether this was submitted")
    page.unroute("**/submit/")
    dialog.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile(r"/experiments/mnist/runs/1/"))
    assert Run.objects.count() == 1


def test_what_is_changed_after_a_lost_answer_is_run_too(
    open_page: OpenPage, ana: User, axe: Callable[[Page], list[Any]]
) -> None:
    page = open_page("/submit/", user=ana)
    paste(page)
    page.get_by_label("Arguments").fill("--lr 0.1")
    run, dialog = page.get_by_role("button", name="Run", exact=True), page.get_by_role("dialog")
    run.click()
    dialog.get_by_label("New experiment").fill("mnist")
    page.route("**/submit/", lambda route: (route.fetch(), route.abort()))
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("It is not known whether this was submitted")
    page.unroute("**/submit/")
    page.keyboard.press("Escape")
    page.get_by_label("Arguments").fill("--lr 0.2")
    run.click()
    dialog.get_by_role("button", name="Run", exact=True).click()
    notice = page.get_by_role("alert").filter(has_text="submitted before with other content")
    expect(notice).to_be_visible()
    expect(page.get_by_label("Arguments")).to_have_value("--lr 0.2")
    assert axe(page) == []
    run.click()
    dialog.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile(r"/experiments/mnist/runs/2/"))
    assert [one.arguments[1] for one in Run.objects.order_by("number")] == ["0.1", "0.2"]


def test_back_after_a_refusal_leads_to_the_form(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    paste(page)
    page.get_by_role("button", name="Run", exact=True).click()
    dialog = page.get_by_role("dialog", name="Run this script")
    dialog.get_by_label("New experiment").fill("no such name!")
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog.get_by_text("cannot be an experiment's name")).to_be_visible()
    expect(dialog).to_contain_text("1 step: 1 on local (default)")
    dialog.get_by_label("New experiment").fill("mnist")
    dialog.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile(r"/experiments/mnist/runs/1/"))
    expect(page.locator("#toasts")).to_contain_text("is submitted to mnist")
    page.go_back()
    expect(page.get_by_role("heading", name="Submit a run")).to_be_attached()
    assert urlsplit(page.url).path == "/submit/"


def test_back_after_a_submission_leads_to_an_empty_form(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    paste(page)
    page.get_by_label("Arguments").fill("--a 1")
    page.get_by_role("button", name="Run", exact=True).click()
    dialog = page.get_by_role("dialog", name="Run this script")
    dialog.get_by_label("New experiment").fill("mnist")
    dialog.get_by_label("Description").fill("So")
    dialog.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile(r"/experiments/mnist/runs/1/"))
    page.go_back()
    expect(page.get_by_role("heading", name="Submit a run")).to_be_attached()
    expect(page.get_by_label("Arguments")).to_have_value("")
    texts = "[...document.querySelectorAll('#submit-form textarea')].map((area) => area.value).join('')"
    assert page.evaluate(texts) == ""


def test_back_after_leaving_brings_the_script_again(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    paste(page)
    page.goto(page.url.replace("/submit/", "/compute/"))
    page.go_back()
    expect(page.get_by_role("heading", name="Submit a run")).to_be_attached()
    texts = "[...document.querySelectorAll('#submit-form textarea')].map((area) => area.value).join('')"
    assert page.evaluate(texts) == "print(1)"


def test_an_edge_and_a_step_are_removed(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits-pipeline", user=ana)
    words = page.locator("#canvas-words")
    expect(words).to_have_text("4 steps, 4 edges.")
    page.locator(".edge-hit").first.click()
    page.get_by_role("button", name="no longer runs after").click()
    expect(words).to_have_text("4 steps, 3 edges.")
    page.locator(".node-open").last.focus()
    page.keyboard.press("Delete")
    expect(words).to_have_text("3 steps, 1 edge.")


def test_a_draft_is_opened_and_deleted(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits", user=ana)
    page.get_by_role("button", name="Save draft").click()
    page.wait_for_url(re.compile(r"draft=\d+"))
    expect(page.locator("#toasts")).to_contain_text("is saved")
    page.goto(page.url.split("?")[0])
    page.get_by_role("button", name="Drafts").click()
    page.get_by_role("button", name="Delete the draft").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#toasts")).to_contain_text("is deleted")
    expect(page.get_by_role("button", name="Drafts")).to_have_count(0)


def test_an_error_of_the_dialog_opens_it_again(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits", user=ana)
    page.get_by_role("button", name="Run", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New experiment").fill("no good")
    dialog.get_by_label("Display name").fill("kept")
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog).to_contain_text("cannot be an experiment's name")
    expect(dialog.get_by_label("New experiment")).to_be_focused()
    expect(dialog.get_by_label("Display name")).to_have_value("kept")
    expect(dialog).to_contain_text("1 step: 1 on local (default)")
    assert Run.objects.count() == 0
    dialog.get_by_label("New experiment").fill("good")
    expect(dialog.get_by_text("cannot be an experiment's name")).to_be_hidden()
    expect(dialog.locator('[aria-invalid="true"]')).to_have_count(0)


def test_new_without_a_name_is_refused_in_the_dialog(open_page: OpenPage, ana: User) -> None:
    make_experiment("mnist")
    page = open_page("/submit/", user=ana)
    paste(page)
    page.get_by_role("button", name="Run", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New", exact=True).check()
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog).to_contain_text("Choose an experiment, or name a new one.")
    expect(dialog.get_by_label("New experiment")).to_be_focused()
    assert Run.objects.count() == 0


def test_what_is_put_right_is_red_no_more(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    paste(page)
    page.get_by_label("Arguments").fill("--name 'open")
    page.get_by_label("Time limit").fill("5 parsecs")
    page.get_by_label("Variable name").fill("1 bad")
    page.get_by_label("Retries").fill("77")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("4 things are to put right")
    expect(page.locator(".step.is-selected p.error:visible")).to_have_count(4)
    for label, text in (("Arguments", ""), ("Time limit", "5m"), ("Variable name", "GOOD")):
        page.get_by_label(label).fill(text)
    expect(page.locator(".step.is-selected p.error:visible")).to_have_count(1)
    expect(page.locator(".node.is-wrong")).to_have_count(1)
    page.get_by_label("Retries").fill("7")
    expect(page.locator(".node.is-wrong")).to_have_count(0)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("dialog", name="Run this script")).to_be_visible()


def test_an_error_of_no_single_field_gets_the_focus(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits-pipeline", user=ana)
    page.evaluate(
        """document.querySelectorAll(".after-one input").forEach((box) => {
          [box.disabled, box.checked] = [false, true];
        })"""
    )
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("to put right")
    assert page.evaluate("document.activeElement.querySelector(':scope > p.error') !== null")


@pytest.mark.parametrize(("known", "label"), [(True, "Existing experiment"), (False, "New experiment")])
def test_the_dialog_begins_at_the_experiment(open_page: OpenPage, ana: User, known: bool, label: str) -> None:
    if known:
        make_experiment("mnist")
    page = open_page("/submit/", user=ana)
    paste(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("dialog").get_by_label(label)).to_be_focused()
