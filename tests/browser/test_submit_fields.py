"""Fields of the submit page that hang on others, or on the room there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from runs.models import ComputeTarget
from studio.accounts.models import User
from tests.factories import make_node, make_target

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


@pytest.fixture(autouse=True)
def places(workspace: Any) -> None:
    make_node(target=make_target("local", is_default=True))


@pytest.mark.parametrize("width", [1280, 1440])
def test_the_name_of_a_draft_takes_the_room_there_is(open_page: OpenPage, ana: User, width: int) -> None:
    page = open_page("/submit/?example=digits", user=ana, width=width)
    name = page.get_by_label("Name of the draft")
    name.fill("Digits with a wide network")
    assert name.evaluate("input => input.scrollWidth <= input.clientWidth")
    name.fill("Digits with a network as wide as anybody has ever tried, and then some more words")
    bar = page.locator(".submit-bar")
    assert bar.evaluate("bar => bar.scrollWidth <= bar.clientWidth && bar.clientHeight < 60")


def test_a_chosen_example_brings_its_script_and_arguments(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    step = page.locator(".step.is-selected")
    script, arguments = step.get_by_label("Script", exact=True), step.get_by_label("Arguments")
    step.get_by_text("Example", exact=True).click()
    step.get_by_label("Bundled example").select_option("digits")
    expect(arguments).to_have_value("--epochs 15 --lr 0.05 --width 128")
    step.get_by_label("Bundled example").select_option("digits-pipeline")
    expect(step.get_by_text("Only its files are taken here.")).to_be_visible()
    expect(script).to_have_value("")
    expect(arguments).to_have_value("")
    step.get_by_label("Bundled example").select_option("hello")
    expect(script).to_have_value("hello.py")
    expect(arguments).to_have_value("--name Studio --seconds 5")
    arguments.fill("--name Ana")
    step.get_by_label("Bundled example").select_option("digits")
    expect(script).to_have_value("train.py")
    expect(arguments).to_have_value("--name Ana")
    arguments.fill("--epochs 15 --lr 0.05 --width 128")
    step.get_by_label("Bundled example").select_option("")
    expect(script).to_have_value("")
    expect(arguments).to_have_value("")
    expect(step.locator(".kept-files")).to_have_count(0)
    step.get_by_label("Bundled example").select_option("digits-pipeline")
    step.get_by_role("link", name="Open it with all its steps").click()
    expect(page.locator(".node")).to_have_count(4)
    expect(page.get_by_text("Only its files are taken here.")).to_have_count(0)


def test_a_default_target_puts_right_the_steps_without_one(open_page: OpenPage, ana: User) -> None:
    page = refused_without_targets(open_page, ana)
    page.get_by_label("Retries").fill("77")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".step.is-selected p.error:visible")).to_have_count(2)
    page.get_by_label("Default compute target").select_option("local")
    expect(page.locator("p.error:visible")).to_have_count(1)
    expect(page.locator(".step.is-selected").get_by_label("Compute target")).not_to_have_attribute(
        "aria-invalid", "true"
    )
    expect(page.locator(".node.is-wrong")).to_have_count(1)
    page.get_by_label("Retries").fill("7")
    expect(page.locator(".node.is-wrong")).to_have_count(0)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("dialog", name="Run this script")).to_be_visible()


def test_a_target_of_each_step_puts_right_that_there_is_no_default(open_page: OpenPage, ana: User) -> None:
    page = refused_without_targets(open_page, ana)
    step = page.locator(".step.is-selected")
    step.get_by_role("button", name="Duplicate this step").click()
    step.get_by_label("Compute target").select_option("local")
    expect(page.get_by_text("Choose where steps run.")).to_be_visible()
    expect(page.locator(".node.is-wrong")).to_have_count(1)
    page.locator(".node.is-wrong .node-open").click()
    step.get_by_label("Compute target").select_option("local")
    expect(page.get_by_text("Choose where steps run.")).to_be_hidden()
    expect(page.locator(".node.is-wrong")).to_have_count(0)


def refused_without_targets(open_page: OpenPage, ana: User) -> Page:
    """The form with one step, which Run refused because nothing says where it runs."""
    ComputeTarget.objects.update(is_default=False)
    page = open_page("/submit/", user=ana)
    step = page.locator(".step.is-selected")
    step.get_by_text("Paste", exact=True).click()
    step.get_by_label("Script text").fill("print(1)")
    step.get_by_label("Script text").blur()
    expect(step.locator('[name$="-script"]')).to_have_value("train.py")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("p.error:visible")).to_have_count(2)
    expect(page.locator(".node.is-wrong")).to_have_count(1)
    return page
