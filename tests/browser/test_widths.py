"""The main pages in windows of every width: none scrolls sideways, names have room, no tool is outside."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from runs.lists import metric_columns
from runs.services.logs import STD_LOG, append_log
from runs.status import Status
from studio.accounts.models import User
from studio.accounts.services import make_token
from tests.factories import log_metrics, make_node, make_pipeline, make_run, make_target

pytestmark = pytest.mark.browser

#: Where windows of a laptop or tablet are narrow, and where columns come and go.
WIDTHS = (768, 800, 860, 900, 1024, 1099, 1100, 1150, 1199, 1200, 1279, 1280, 1440)
#: What people find a row by: heads of columns, with the pixels that each needs.
NAMES = {
    "Name": 140,
    "Experiment": 100,
    "Person": 140,
    "Target and its nodes": 170,
    "Slots and what runs on them": 190,
}
#: Whether nothing covers the middle of what has the focus.
IS_SEEN = """() => {
  const { left, top, width, height } = document.activeElement.getBoundingClientRect();
  return document.activeElement.contains(document.elementFromPoint(left + width / 2, top + height / 2));
}"""
#: What is wrong with the page as it is laid out, in words.
FAULTS = """(names) => {
  const faults = [];
  const page = document.documentElement;
  if (page.scrollWidth > innerWidth) faults.push(`the page is ${page.scrollWidth} wide`);
  for (const head of document.querySelectorAll("th")) {
    const [title, { width }] = [head.textContent.trim(), head.getBoundingClientRect()];
    if (head.checkVisibility() && width < names[title]) faults.push(`${title} has ${Math.round(width)}`);
  }
  const bars = ".toolbar, .log-bar, .log-tools, .search-line, .list-band, .submit-bar, .section-head";
  for (const tool of document.querySelectorAll(`:is(${bars}) > *`)) {
    const { width, left, right } = tool.getBoundingClientRect();
    if (width && (left < 0 || right > innerWidth)) faults.push(`${tool.outerHTML.slice(0, 90)} is outside`);
  }
  const figures = [...document.querySelectorAll(".kpi dd")].map((one) => one.getBoundingClientRect().top);
  if (new Set(figures).size > 1) faults.push(`figures stand at ${figures}`);
  const search = document.getElementById("log-q");
  const room = search && search.clientWidth - parseFloat(getComputedStyle(search).paddingRight);
  if (search && room < 130) faults.push(`the search has ${room}`);
  return faults;
}"""


def fill(person: User) -> None:
    """Runs with metrics, a pipeline, targets at work and tokens."""
    gpu = make_target("gpu-compute", description="Four boxes in the lab")
    make_target("local", is_default=True)
    node = make_node("gpu-box-1", target=gpu, slots=4)
    for value in range(5):
        run = make_run(
            status=Status.RUNNING, target=gpu, node=node, display_name=f"train-xgb {value}",
            metrics={"validation_loss": value + 0.123456, "accuracy": 0.75}, tags={"quality": "good"},
        )  # fmt: skip
        log_metrics(run, {"a_curve_with_a_name_that_is_long": [1.0, 0.5, 0.25]})
    append_log(run, run.attempt, STD_LOG, 0, b"epoch\n" * 1200)
    make_pipeline(display_name="weekly", status=Status.CANCEL_REQUESTED)
    for name in ("laptop", "nightly job of the lab"):
        make_token(person, name, expires_at=datetime.now(UTC) + timedelta(days=30))


PATHS = (
    "/experiments/",
    "/experiments/mnist/",
    "/experiments/mnist/?curve=a_curve_with_a_name_that_is_long",
    "/runs/",
    "/runs/?panel=off",
    "/pipelines/",
    "/compute/",
    "/experiments/mnist/runs/3/logs/",
    "/submit/",
    "/tokens/",
    "/members/",
)


def test_pages_have_room_in_every_window(chi: User, open_page: Callable[..., Page]) -> None:
    fill(chi)
    page = open_page("/start/", user=chi)
    found: dict[str, list[int]] = {}
    for path in PATHS:
        page.goto(page.url[: page.url.index("/", 8)] + path)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            try:  # charts are drawn again a moment after the window has changed
                page.wait_for_function(f"(names) => ({FAULTS})(names).length === 0", arg=NAMES, timeout=2_000)
            except TimeoutError:
                for fault in page.evaluate(FAULTS, NAMES):
                    found.setdefault(f"{path}: {fault}", []).append(width)
    assert not found, "\n".join(f"{fault} at {widths}" for fault, widths in found.items())


def test_many_metrics_are_scrolled_to_and_names_stay(ana: User, open_page: Callable[..., Page]) -> None:
    run = make_run(metrics={f"metric {number}": number / 7 for number in range(metric_columns.MOST)})
    choices = [metric_columns.Choice(f"metric {number}") for number in range(metric_columns.MOST)]
    page = open_page("/start/", user=ana)
    for count in (2, 3, 4, 5, 8, metric_columns.MOST):
        metric_columns.choose_metrics(ana, run.experiment, choices[:count])
        page.goto(page.url[: page.url.index("/", 8)] + "/experiments/mnist/")
        name, last = (page.get_by_role("columnheader", name=title) for title in ("Name", "Submitted"))
        for width in (1100, 1279, 1280, 1399, 1400, 1440, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            assert name.evaluate("(one) => one.offsetWidth") >= 140, (count, width)
            last.scroll_into_view_if_needed()
            expect(last).to_be_in_viewport(ratio=1)
            expect(name).to_be_in_viewport(ratio=1)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert name.evaluate("(one) => one.offsetWidth") == 200
    page.set_viewport_size({"width": 1280, "height": 900})
    last.get_by_role("link").focus()
    for _ in range(metric_columns.MOST):
        page.keyboard.press("Shift+Tab")
        page.wait_for_function(f"() => ({IS_SEEN})()")
