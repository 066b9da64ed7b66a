"""The canvas of the submit page in a real browser: where boxes stand, and which way edges take."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from studio.accounts.models import User
from tests.factories import make_node, make_target

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]

#: Names of the boxes that an edge runs behind.
HIDDEN_BY = """() => {
  const lines = [...document.querySelectorAll("path.edge")].flatMap((edge) =>
    Array.from({ length: 101 }, (_, at) => edge.getPointAtLength(edge.getTotalLength() * at / 100)));
  return [...document.querySelectorAll(".node")].filter((box) => lines.some(({ x, y }) =>
    x > box.offsetLeft && x < box.offsetLeft + box.offsetWidth
    && y > box.offsetTop && y < box.offsetTop + box.offsetHeight)
  ).map((box) => box.querySelector(".node-title").textContent.trim());
}"""


@pytest.fixture(autouse=True)
def places(workspace: Any) -> None:
    make_node(target=make_target("local", is_default=True))


def add(page: Page, name: str) -> Locator:
    """Add a step of this name; gives its box."""
    page.get_by_role("button", name="Add step").click()
    return rename(page, name)


def rename(page: Page, name: str) -> Locator:
    page.locator(".step.is-selected").get_by_label("Name", exact=True).fill(name)
    return page.locator(".node").filter(has_text=re.compile(rf"^{name}\W*source"))


def run_after(page: Page, *names: str) -> None:
    """Let the step whose settings are open run after these."""
    for name in names:
        page.locator(".step.is-selected .after-one").filter(has_text=re.compile(f"^{name}$")).click()


def is_in_sight(page: Page, box: Locator) -> bool:
    """Whether the whole of a box can be seen, and none of the canvas' tools lies over it."""
    whole, tools = box.bounding_box(), page.locator(".canvas-zoom").bounding_box()
    room = page.locator("#canvas").bounding_box()
    assert whole is not None
    assert tools is not None
    assert room is not None
    across = room["x"] <= whole["x"] and whole["x"] + whole["width"] <= room["x"] + room["width"]
    return across and room["y"] <= whole["y"] and whole["y"] + whole["height"] <= tools["y"]


def drag(page: Page, box: Locator, dx: float, dy: float) -> None:
    place = box.bounding_box()
    assert place
    page.mouse.move(place["x"] + 60, place["y"] + 20)
    page.mouse.down()
    page.mouse.move(place["x"] + 60 + dx, place["y"] + 20 + dy, steps=4)
    page.mouse.up()


def test_a_pipeline_stands_in_the_order_of_its_run_while_it_is_built(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    prepare = rename(page, "prepare")
    train_a = add(page, "train-a")
    run_after(page, "prepare")
    train_b = add(page, "train-b")
    run_after(page, "prepare")
    report = add(page, "report")
    run_after(page, "train-a", "train-b")
    expect(page.locator("#canvas-words")).to_have_text("4 steps, 4 edges.")
    assert page.evaluate(HIDDEN_BY) == []
    assert all(is_in_sight(page, box) for box in (prepare, train_a, train_b, report))
    lefts = [box.evaluate("one => one.offsetLeft") for box in (prepare, train_a, train_b, report)]
    assert lefts[0] < lefts[1] == lefts[2] < lefts[3]


def test_a_step_that_is_added_out_of_sight_is_scrolled_to(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    rename(page, "one")
    for before, name in [("one", "two"), ("two", "three"), ("three", "four"), ("four", "five")]:
        box = add(page, name)
        assert is_in_sight(page, box)
        run_after(page, before)
        assert is_in_sight(page, box)


def test_an_edge_past_a_step_does_not_run_behind_it(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    rename(page, "prepare")
    add(page, "train")
    run_after(page, "prepare")
    add(page, "report")
    run_after(page, "train", "prepare")
    expect(page.locator("#canvas-words")).to_have_text("3 steps, 3 edges.")
    assert page.evaluate(HIDDEN_BY) == []


def test_boxes_that_somebody_moved_stay_there(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    one, two = rename(page, "one"), add(page, "two")
    drag(page, two, 40, 90)
    where = "one => [one.offsetLeft, one.offsetTop]"
    before = [one.evaluate(where), two.evaluate(where)]
    run_after(page, "one")
    add(page, "three")
    run_after(page, "one", "two")
    expect(page.locator("#canvas-words")).to_have_text("3 steps, 3 edges.")
    assert [one.evaluate(where), two.evaluate(where)] == before


def test_so_does_the_only_one_when_another_is_added(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    one = rename(page, "one")
    drag(page, one, 40, 90)
    where = "one => [one.offsetLeft, one.offsetTop]"
    before = one.evaluate(where)
    add(page, "two")
    assert one.evaluate(where) == before


def test_fit_leaves_no_empty_space_beside_the_boxes(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits-pipeline", user=ana)
    page.get_by_role("button", name="Close the settings").click()
    for box in reversed(page.locator(".node").all()):
        drag(page, box, 300, 120)
    page.get_by_role("button", name="Fit all steps").click()
    expect(page.locator("#zoom")).to_have_text("100%")
    assert all(is_in_sight(page, box) for box in page.locator(".node").all())
    gaps = page.locator("#canvas").evaluate(
        """(canvas) => {
          const sides = [...document.querySelectorAll(".node")].map((box) => box.getBoundingClientRect());
          const room = canvas.getBoundingClientRect();
          const [left, right] = [sides.map((one) => one.left), sides.map((one) => one.right)];
          return [Math.min(...left) - room.left, room.right - Math.max(...right)];
        }"""
    )
    assert gaps[0] == pytest.approx(gaps[1], abs=2)


def test_a_step_whose_source_is_put_right_is_red_no_more(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("one thing is to put right")
    expect(page.locator(".node.is-wrong")).to_have_count(1)
    step = page.locator(".step.is-selected")
    step.get_by_text("Paste", exact=True).click()
    step.get_by_label("Script text").fill("print(1)")
    step.get_by_label("Script text").blur()
    expect(page.locator(".node")).to_contain_text("paste, 1 file")
    expect(page.locator(".node.is-wrong")).to_have_count(0)


def test_a_wrong_variable_that_is_removed_is_red_no_more(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits", user=ana)
    page.get_by_label("Variable name").fill("1 bad")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".node.is-wrong")).to_have_count(1)
    page.get_by_role("button", name="Remove this variable").click()
    expect(page.locator(".node.is-wrong")).to_have_count(0)


@pytest.mark.parametrize("width", [800, 1440])
def test_the_tools_stay_in_the_window_below_a_bar(open_page: OpenPage, ana: User, width: int) -> None:
    page = open_page("/submit/?example=digits", user=ana, width=width)
    page.get_by_label("Arguments").fill("--lr 0.1")
    tools = page.locator(".canvas-zoom")
    expect(tools).to_be_in_viewport(ratio=1)
    page.context.clear_cookies(name="studio_session")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    expect(tools).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
