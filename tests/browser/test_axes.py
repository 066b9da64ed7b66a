"""Charts of numbers that hardly differ, or are as large or small as floats are, have ticks."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from runs.models import Run
from studio.accounts.models import User
from tests.factories import log_metrics, log_rows, make_run
from tests.fixtures.browser import WRITTEN

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]

#: Series that no step of a tick is made for.
HARD = {
    "one": [1.0, math.nextafter(1.0, 2.0)],
    "whole": [2.0**53 + 2, 2.0**53 + 4],
    "huge": [1e300, math.nextafter(1e300, math.inf)],
    "tiny": [5e-324, 0.0],
    "nothing": [0.0, -0.0],
    "ends": [-sys.float_info.max, sys.float_info.max],
    "orders": [1e-300, 1.0, 1e300],
    "small": [1e-40, 3e-40, 2e-40],
}
#: Keeps what is written on the canvas of each chart that is drawn, by its name.
WRITTEN_BY_CHART = """
  window.labels = {};
  const { fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
    const chart = this.canvas.closest("[data-plot], [data-curve]")?.dataset;
    const name = chart?.plot ?? chart?.curve;
    if (name !== undefined && this.textAlign === "right") (labels[name] ??= []).push(text);
    return fillText.call(this, text, ...place);
  };
"""


def labels(page: Page, name: str) -> list[str]:
    """What stands at the value axis of a chart."""
    page.wait_for_function("(name) => labels[name]?.length", arg=name, timeout=20_000)
    found: list[str] = page.evaluate("(name) => labels[name]", name)
    return found


def url(run: Run, looks: str = "") -> str:
    return f"/experiments/{run.experiment.name}/runs/{run.number}/metrics/{looks}"


@pytest.mark.parametrize("looks", ["", "?log=1&x=time&smooth=50", "?log=1&logx=1"])
def test_a_run_shows_numbers_for_which_there_are_no_steps(ana: User, open_page: OpenPage, looks: str) -> None:
    run = make_run()
    log_metrics(run, HARD)
    page = open_page(url(run, looks), user=ana, width=390)
    page.add_init_script(WRITTEN_BY_CHART)
    page.reload()
    for name in HARD:
        page.locator(f'[data-plot="{name}"]').scroll_into_view_if_needed()
        if looks and name == "nothing":
            continue  # which a log scale has no place for
        found = labels(page, name)
        assert 1 < len(found) == len(set(found)) < 12, (name, found)
    page.get_by_label("Find a metric").fill("one")
    expect(page.locator(".metric")).to_have_count(1)


@pytest.mark.parametrize("name", list(HARD))
def test_an_experiment_shows_numbers_for_which_there_are_no_steps(
    ana: User, open_page: OpenPage, name: str
) -> None:
    for value in HARD[name]:
        make_run(metrics={name: value})
    page = open_page("/experiments/mnist/", user=ana)
    page.add_init_script(WRITTEN_BY_CHART)
    page.goto(f"{page.url}?over={quote(name)}&curve={quote(name)}")
    page.locator("[data-curves]").scroll_into_view_if_needed()
    found = labels(page, name)
    assert 1 < len(found) == len(set(found)) < 12, found
    axis = page.locator(".chart-frame text[text-anchor=end]").all_text_contents()
    assert 1 < len(axis) == len(set(axis)) < 7
    page.locator(".value-dot").first.click()
    page.wait_for_url("**/runs/*/**")


def test_who_looks_ever_more_closely_always_sees_ticks(ana: User, open_page: OpenPage) -> None:
    run = make_run()
    log_rows(run, "curve", {"x": [1.0, 2.0, 3.0], "y": [1.0, 5.0, 2.0]}, kind="table")
    log_metrics(run, {"steps": [1.0, 2.0, 3.0]})
    for name, looks in (("curve", ""), ("curve", "&logx=1"), ("steps", ""), ("steps", "&x=time")):
        page = open_page(url(run, f"one/?name={name}{looks}"), user=ana)
        page.add_init_script(WRITTEN)
        page.reload()
        expect(page.locator(".plot canvas")).to_be_visible()
        box = page.locator(".plot .u-over").bounding_box()
        assert box
        for _ in range(12):
            page.evaluate("written.length = 0")
            page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 60)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] / 3 + 12, box["y"] + 60, steps=2)
            page.mouse.up()
            page.wait_for_function("written.length > 2")
        expect(page.get_by_role("button", name="Whole line")).to_be_visible()


@pytest.mark.parametrize(("width", "media"), [(1440, "screen"), (390, "screen"), (720, "print")])
def test_long_figures_fit_their_card(ana: User, open_page: OpenPage, width: int, media: str) -> None:
    run = make_run()
    log_metrics(run, {**HARD, "long": [-1.2345678901234567e-300, -1.2345678901234565e-300]})
    page = open_page(url(run), user=ana, width=width)
    page.emulate_media(media=media)
    cut = page.evaluate(
        """() => [...document.querySelectorAll(".metric-facts > *, .metric-last")].filter((one) => {
          const card = one.closest(".metric").getBoundingClientRect(), own = one.getBoundingClientRect();
          const isCut = one.clientWidth && one.scrollWidth > one.clientWidth + 1;
          return own.left < card.left || own.right > card.right || own.height > 24 || isCut;
        }).map((one) => one.textContent)"""
    )
    assert page.locator(".metric-last").count() == 9
    assert cut == []


@pytest.mark.parametrize(
    ("values", "least", "most"),
    [
        ([1e6 + 0.001, 1e6 + 0.0005, 1e6 + 0.002], 3, "1,000,000.002"),
        ([1e15 + at for at in range(30)], 3, "1,000,000,000,000,020"),
        ([1.2, 9.5], 2, "5"),
        ([0.5, 40.0], 2, "10"),
    ],
)
def test_a_log_scale_fits_what_it_shows(
    ana: User, open_page: OpenPage, values: list[float], least: int, most: str
) -> None:
    run = make_run()
    log_metrics(run, {"fits": values})
    page = open_page(url(run, "?log=1"), user=ana)
    page.add_init_script(WRITTEN_BY_CHART)
    page.reload()
    found = labels(page, "fits")
    assert len(found) == len(set(found)) >= least
    assert most in found
    assert all(min(values) * 0.5 <= float(label.replace(",", "")) <= max(values) * 1.5 for label in found)


@pytest.mark.parametrize(
    ("looks", "which"),
    [
        ("", "2 values at NaN or Infinity"),
        ("logx=1&log=1", "4 values of or at 0 or less or at NaN or Infinity"),
    ],
)
def test_rows_without_a_place_on_their_own_axis_are_counted_and_leave_the_others(
    ana: User, open_page: OpenPage, looks: str, which: str
) -> None:
    run = make_run()
    places = [math.nan, 3.0, 1.0, -1.0, 2.0, math.inf]
    log_rows(run, "fit", {"place": places, "loss": [9.0, 3.0, 2.5, 2.0, 0.0, 9.0]}, kind="table")
    page = open_page(url(run, f"one/?name=fit&{looks}"), user=ana)
    page.add_init_script(WRITTEN_BY_CHART)
    page.reload()
    assert max(map(float, labels(page, "fit"))) in (3, 4)
    expect(page.locator(".plot-note")).to_have_text(f"{which} are not drawn")
    over = page.locator('[data-plot="fit"] .u-over')
    over.hover(position={"x": over.evaluate("(box) => box.clientWidth") - 2, "y": 60})
    expect(page.locator(".plot-tip")).to_have_text("place 33")
