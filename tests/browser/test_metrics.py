"""What only a browser shows of metrics: charts that are drawn when they are looked at, and stay true."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from runs.models import Run
from runs.points import Points
from runs.services.metrics import Series, write_metrics
from runs.status import Status
from studio.accounts.models import User
from tests.factories import log_metrics, log_rows, make_run
from tests.fixtures.browser import LOOKS, WRITTEN

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]


@pytest.fixture
def run(ana: User) -> Run:
    """A run at work that has logged a bit of everything."""
    run = make_run(status=Status.RUNNING, display_name="width 512")
    log_metrics(
        run, {"loss": [1 / (step + 1) for step in range(40)], "odd": [1.0, math.nan, 0.5, math.inf, 0.2]}
    )
    log_metrics(run, {"message": ["Hello"], "fibonacci": [1, 1, 2, 3, 5, 8]})
    log_rows(run, "roc", {"fpr": [0, 0.5, 1], "tpr": [0, 0.9, 1]}, kind="table")
    log_rows(run, "folds", {"fold": ["a", "b"], "auc": [0.5, 0.75], "f1": [0.25, 0.5]})
    matrix = {"data": {"class_labels": ["cat", "dog"], "matrix": [[9, 1], [0, 10]]}}
    log_metrics(run, {"confusion": [matrix]}, kind="confusion_matrix")
    return run


def url(run: Run) -> str:
    return f"/experiments/{run.experiment.name}/runs/{run.number}/metrics/"


#: Of a chart's dots: how many are painted, and the sum of their colours.
PAINTED = """(name) => {
  const canvas = document.querySelector(`:is([data-plot="${name}"], [data-curve="${name}"]) canvas`);
  if (!canvas) return [0, 0];
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let painted = 0, sum = 0;
  for (let at = 0; at < data.length; at += 4) {
    painted += data[at + 3] > 0;
    if (data[at + 3] > 200) sum += data[at] + data[at + 1] + data[at + 2];
  }
  return [painted, sum];
}"""


#: Keeps where dots are drawn on canvases, with the size of these.
DOTS = """
  window.dots = [];
  const { arc } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.arc = function (left, top, ...rest) {
    dots.push([left, top, this.canvas.width, this.canvas.height]);
    return arc.call(this, left, top, ...rest);
  };
"""


def wait_for_change(page: Page, name: str, before: list[int]) -> None:
    """Until a chart looks different from how it did."""
    page.wait_for_function(
        f"([name, before]) => String(({PAINTED})(name)) !== String(before)", arg=[name, before]
    )


def drawn(page: Page, name: str) -> None:
    """Wait until a chart is drawn."""
    expect(page.locator(f'[data-plot="{name}"] canvas')).to_be_visible()
    assert page.evaluate(PAINTED, name)[0] > 50


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_the_tab_is_whole_and_accessible_in_every_look(
    run: Run, ana: User, open_page: OpenPage, axe: Callable[[Page], list[str]], width: int, theme: str
) -> None:
    page = open_page(url(run), user=ana, width=width, theme=theme)
    drawn(page, "fibonacci")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.goto(page.url.partition("?")[0] + "one/?name=odd")
    drawn(page, "odd")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_is_logged_is_drawn_and_said_at_once(run: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(url(run), user=ana)
    drawn(page, "loss")
    before = page.evaluate(PAINTED, "loss")
    log_metrics(run, {"loss": [5.0, 0.125, 5.0, 0.125], "new one": [1.0, 2.0]})
    card = page.locator(".metric", has=page.locator('[data-plot="loss"]'))
    expect(card.locator(".metric-last")).to_have_text("0.125")
    expect(card).to_contain_text("max 5")
    drawn(page, "new one")
    wait_for_change(page, "loss", before)
    expect(page.locator(".metric-line")).to_have_count(5)


def test_few_steps_are_counted_in_whole_numbers(ana: User, open_page: OpenPage) -> None:
    run = make_run()
    log_metrics(run, {"short": [100.0, 250.0, 400.0]})
    page = open_page(url(run), user=ana)
    page.add_init_script(WRITTEN)
    page.reload()
    drawn(page, "short")
    assert [text for text in page.evaluate("written") if float(text) < 50] == ["0", "1", "2"]


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_of_a_label_or_a_text_is_cut(ana: User, open_page: OpenPage, width: int) -> None:
    for number in (1, 2):
        run = make_run()
        log_metrics(run, {"steps": [-2e9 * number, 0.0], "said": ["going, quickly: jumpy"]})
    page = open_page(url(run), user=ana, width=width)
    page.add_init_script(WRITTEN)
    page.reload()
    drawn(page, "steps")
    assert "-2,000,000,000" in page.evaluate("written")
    assert min(page.evaluate("beginnings")) >= 0
    said = page.get_by_text("going, quickly: jumpy")
    assert said.evaluate("(text) => text.scrollHeight <= text.clientHeight")
    page.goto(page.url.partition("runs/")[0] + "?over=steps&sum=min")
    frame = page.locator(".chart-frame").bounding_box()
    label = page.locator(".chart-frame text", has_text="-4,000,000,000").bounding_box()
    assert frame
    assert label
    assert label["x"] >= frame["x"]
    dots = page.locator(".value-dot")
    assert dots.count() == 2
    for dot in (dots.first.bounding_box(), dots.last.bounding_box()):
        assert dot
        assert dot["x"] + dot["width"] <= frame["x"] + frame["width"]


def test_charts_wait_until_somebody_looks(ana: User, open_page: OpenPage) -> None:
    run = make_run()
    log_metrics(run, {f"layer {number:04}": [1.0, 2.0, number] for number in range(600)})
    page = open_page(url(run), user=ana)
    drawn(page, "layer 0000")
    assert page.locator("[data-plot]").count() == 60
    assert page.locator("[data-plot] canvas").count() < 40
    last = page.locator('[data-plot="layer 0059"]')
    last.scroll_into_view_if_needed()
    drawn(page, "layer 0059")
    page.get_by_role("link", name="Next").click()
    drawn(page, "layer 0060")
    page.get_by_label("Find a metric").fill("layer 0599")
    page.keyboard.press("Enter")
    drawn(page, "layer 0599")
    assert page.locator("[data-plot]").count() == 1


def test_the_pointer_shows_the_value_and_dragging_zooms(run: Run, ana: User, open_page: OpenPage) -> None:
    log_metrics(run, {"long": [float(step % 100) for step in range(20_000)]})
    page = open_page(url(run) + "one/?name=long", user=ana)
    drawn(page, "long")
    over = page.locator('[data-plot="long"] .u-over')
    box = over.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    expect(page.locator(".plot-tip")).to_contain_text("step")
    with page.expect_response(lambda answer: "metrics/chart?" in answer.url) as found:
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + 60, steps=4)
        page.mouse.up()
    finer = found.value.json()
    assert 0 < finer["start"] < finer["end"] < 20_000
    back = page.get_by_role("button", name="Whole line")
    expect(back).to_be_visible()
    with page.expect_response(lambda answer: "from=0" in answer.url):
        back.click()
    expect(back).to_be_hidden()


def test_a_double_click_shows_the_whole_line_again(run: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(url(run) + "one/?name=loss", user=ana)
    drawn(page, "loss")
    over, back = page.locator('[data-plot="loss"] .u-over'), page.get_by_role("button", name="Whole line")
    box = over.bounding_box()
    assert box
    page.mouse.move(box["x"] + 200, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(back).to_be_visible()
    over.dblclick(position={"x": 250, "y": 100})
    expect(back).to_be_hidden()
    hover_end(page, "loss")
    expect(page.locator(".plot-tip")).to_contain_text("step 39")


def hover_end(page: Page, name: str) -> None:
    """Point at the last value of a line."""
    width = page.locator(f'[data-plot="{name}"]').evaluate(
        "(box) => box.querySelector('.u-over').clientWidth"
    )
    page.locator(f'[data-plot="{name}"] .u-over').hover(position={"x": width - 2, "y": 60})


def test_a_chart_that_grows_goes_on_telling_what_is_pointed_at(ana: User, open_page: OpenPage) -> None:
    run = make_run(status=Status.RUNNING)
    log_rows(run, "plain", {"": [3.0, 2.0, 1.0]}, kind="scalar")
    page = open_page(url(run), user=ana)
    drawn(page, "plain")
    hover_end(page, "plain")
    expect(page.locator(".plot-tip")).to_have_text("entry 31")
    log_rows(run, "plain", {"": [0.5, 0.25]}, kind="scalar")
    expect(page.locator(".plot-tip")).to_have_text("entry 50.25")


def test_an_answer_that_comes_late_does_not_zoom_again(run: Run, ana: User, open_page: OpenPage) -> None:
    log_metrics(run, {"long": [float(step % 100) for step in range(20_000)]})
    page = open_page(url(run) + "one/?name=long", user=ana)
    drawn(page, "long")
    held: list[Route] = []
    page.route(
        lambda address: "metrics/chart?" in address and "from=0" not in address,
        lambda route: held.append(route),
    )
    over, back = page.locator('[data-plot="long"] .u-over'), page.get_by_role("button", name="Whole line")
    over.hover(position={"x": 200, "y": 40})
    page.mouse.down()
    over.hover(position={"x": 300, "y": 60})
    page.mouse.up()
    with page.expect_response(lambda answer: "from=0" in answer.url):
        back.click()
    assert len(held) == 1
    with page.expect_response(lambda answer: "from=0" not in answer.url and "chart?" in answer.url):
        held[0].continue_()
    hover_end(page, "long")
    expect(page.locator(".plot-tip")).to_contain_text(re.compile(r"step 19,9\d\d"))


@pytest.mark.parametrize(
    ("values", "ticks", "last"),
    [
        ([round(123_456.7 + at / 100, 2) for at in range(30)], r"123,456\.\d+|123,457", "123,456.99"),
        ([0.99991, 0.99992, 0.99993, 0.99994], r"0\.9999\d*", "0.99994"),
        ([1e-05, 2e-05, 4e-05, 3e-05], r"[\d.]+e-05", "3e-05"),
        ([1e15 + at for at in range(30)], r"1,000,000,000,000,0\d\d", "1,000,000,000,000,029"),
    ],
)
def test_numbers_of_similar_size_are_told_apart(
    ana: User, open_page: OpenPage, values: list[float], ticks: str, last: str
) -> None:
    run = make_run()
    log_metrics(run, {"near": values})
    page = open_page(url(run), user=ana)
    page.add_init_script(WRITTEN)
    page.reload()
    drawn(page, "near")
    written = [text for text in page.evaluate("written") if len(text) > 4]
    assert len(written) > 2
    assert len(set(written)) == len(written)
    assert all(re.fullmatch(ticks, text) for text in written)
    hover_end(page, "near")
    expect(page.locator(".plot-tip b")).to_have_text(last)


def test_entries_are_counted_as_in_the_table(ana: User, open_page: OpenPage) -> None:
    run = make_run()
    log_rows(run, "plain", {"": [3.0, 2.0, 1.0]}, kind="scalar")
    page = open_page(url(run) + "one/?name=plain", user=ana)
    page.add_init_script(WRITTEN)
    page.reload()
    drawn(page, "plain")
    hover_end(page, "plain")
    expect(page.locator(".plot-tip")).to_have_text("entry 31")
    expect(page.get_by_role("row", name="3 1").first).to_be_visible()
    assert page.evaluate("written").count("3") == 2  # on both axes


@pytest.mark.parametrize(
    ("apart", "ticks"),
    [
        (0.0, r"0s|\d00 ms|1\.0s"),
        (0.0005, r"0s|[01](\.\d)? ms"),
        (0.5, r"0s|\d00 ms|1\.\ds"),
        (1200.0, r"0s|\d?[05]m 00s|1h 00m"),
        (30_000.0, r"0s|\d+h 00m|1d 0\dh"),
    ],
)
def test_ticks_of_a_time_axis_are_told_apart(
    ana: User, open_page: OpenPage, apart: float, ticks: str
) -> None:
    run = make_run()
    times = array("d", [at * apart for at in range(4)])
    points = Points({"": array("d", [5.0, 6.0, 7.0, 8.0])}, times, None)
    write_metrics(run, [Series("brief", points, "scalar")], writer="a", seq=1)
    page = open_page(url(run) + "one/?name=brief&x=time", user=ana)
    page.add_init_script(WRITTEN)
    page.reload()
    drawn(page, "brief")
    written = [text for text in page.evaluate("written") if text[-1].isalpha()]
    assert len(set(written)) == len(written) > 2
    assert all(re.fullmatch(ticks, text) for text in written)


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_a_column_of_a_row_is_chosen_on_its_card(
    ana: User, open_page: OpenPage, axe: Callable[[Page], list[str]], width: int, theme: str
) -> None:
    run = make_run()
    log_rows(run, "fit", {"epoch": [1, 2, 3], "label": ["a"] * 3, "loss": [4, 2, 1], "acc": [5, 6, 7]})
    page = open_page(url(run) + "?log=1", user=ana, width=width, theme=theme)
    drawn(page, "fit")
    hover_end(page, "fit")
    expect(page.locator(".plot-tip")).to_have_text("epoch 31")
    page.get_by_role("button", name="Column: loss").click()
    assert axe(page) == []
    page.get_by_role("link", name="acc").click()
    page.wait_for_url(re.compile(r"\?log=1&col="))
    drawn(page, "fit")
    hover_end(page, "fit")
    expect(page.locator(".plot-tip")).to_have_text("epoch 37")
    page.get_by_role("link", name="3 values of fit").click()
    drawn(page, "fit")
    expect(page.get_by_role("button", name="Column: acc")).to_be_visible()
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_log_scale_says_what_it_leaves_out(run: Run, ana: User, open_page: OpenPage) -> None:
    log_metrics(run, {"falling": [4.0, 2.0, 0.0, -2.0, math.nan, 1.0]})
    page = open_page(url(run), user=ana)
    drawn(page, "falling")
    note = page.locator('[data-plot="falling"] .plot-note')
    expect(note).to_be_hidden()
    page.get_by_label("Log scale").check()
    expect(note).to_have_text("2 values of 0 or less are not drawn")
    expect(page.locator('[data-plot="loss"] .plot-note')).to_be_hidden()
    log_metrics(run, {"falling": [float(step % 5) for step in range(20_000)]})
    expect(note).to_have_text("Values of 0 or less are not drawn")


def test_a_log_axis_leaves_out_what_it_has_no_place_for_and_says_so(ana: User, open_page: OpenPage) -> None:
    run = make_run()
    log_rows(run, "fit", {"epoch": [0, 1, 10, 100], "loss": [4.0, 3.0, -2.0, 1.0]})
    log_metrics(run, {"timed": [5.0, 6.0, 7.0]})
    page = open_page(f"{url(run)}one/?name=fit&logx=1", user=ana)
    page.add_init_script(WRITTEN)
    page.reload()
    drawn(page, "fit")
    note = page.locator(".plot-note")
    expect(note).to_have_text("1 value at 0 or less is not drawn")
    assert [text for text in page.evaluate("written") if "e-" in text or text == "0.1"] == []
    hover_end(page, "fit")
    expect(page.locator(".plot-tip")).to_have_text("epoch 1001")
    page.get_by_label("Log scale").check()
    expect(note).to_have_text("2 values of or at 0 or less are not drawn")
    page.goto(page.url.partition("?")[0] + "?name=timed&logx=1&x=time")
    drawn(page, "timed")
    expect(note).to_have_text("1 value at 0 or less is not drawn")


@pytest.mark.parametrize("looks", ["?log=1", "?logx=1&x=time", "?log=1&logx=1"])
def test_a_chart_of_which_one_value_can_be_drawn_shows_it(ana: User, open_page: OpenPage, looks: str) -> None:
    run = make_run()
    log_rows(run, "one left", {"epoch": [1, 2], "loss": [1e308, -1e308]})
    times = array("d", [0.0, 1.0])
    points = Points({"": array("d", [-5.0, 1e308])}, times, None)
    write_metrics(run, [Series("late", points, "scalar")], writer="b", seq=1)
    page = open_page(url(run) + looks, user=ana)
    page.add_init_script(DOTS)
    page.reload()
    drawn(page, "late")
    if "x=time" not in looks:
        drawn(page, "one left")
    for left, top, width, height in page.evaluate("dots"):
        assert 0 < left < width
        assert 0 < top < height
    assert page.evaluate("dots.length")


def test_the_pointer_shows_what_a_smoothed_line_draws_and_what_was_logged(
    ana: User, open_page: OpenPage
) -> None:
    run = make_run()
    log_metrics(run, {"jumpy": [0.0, 8.0, math.nan, 2.0]})
    page = open_page(url(run) + "?smooth=50", user=ana)
    drawn(page, "jumpy")
    over, tip = page.locator('[data-plot="jumpy"] .u-over'), page.locator(".plot-tip")
    box = over.bounding_box()
    assert box
    # Averages of (0 · 1 + 8 · 2) / 3 and (0 · 1 + 8 · 2 + 2 · 4) / 7, without what is no number
    for step, said in enumerate(["step 00raw 0", "step 15.333raw 8", "step 2NaN", "step 33.429raw 2"]):
        page.mouse.move(box["x"] + 1 + (box["width"] - 2) * step / 3, box["y"] + 60)
        expect(tip).to_have_text(said)
    page.locator("#look-smooth").fill("0")
    page.mouse.move(box["x"] + 1 + (box["width"] - 2) / 3, box["y"] + 61)
    expect(tip).to_have_text("step 18")


def test_a_time_axis_leaves_the_values_as_they_are(run: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(f"{url(run)}one/?name=loss&x=time", user=ana)
    page.add_init_script(WRITTEN)
    page.reload()
    drawn(page, "loss")
    page.wait_for_function("() => written.some((text) => /^0\\.\\d+$/.test(text))")


def test_looks_are_kept_in_the_address(run: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(url(run), user=ana)
    drawn(page, "loss")
    page.get_by_text("Time", exact=True).click()
    page.get_by_label("Log scale").check()
    page.locator("#look-smooth").fill("60")
    page.wait_for_url("**/metrics/?x=time&log=1&smooth=60")
    drawn(page, "loss")
    page.reload()
    expect(page.get_by_label("Log scale")).to_be_checked()
    expect(page.locator("#look-time")).to_be_checked()
    expect(page.locator("output")).to_have_text("60 %")
    drawn(page, "loss")


def test_a_log_axis_of_a_link_is_switched_off_on_a_phone(run: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(f"{url(run)}?logx=1", user=ana, width=390)
    page.get_by_label("Log axis").uncheck()
    page.wait_for_url("**/metrics/")


def test_a_search_keeps_the_looks(run: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(url(run), user=ana)
    drawn(page, "loss")
    page.get_by_label("Log scale").check()
    page.get_by_label("Find a metric").press_sequentially("los")
    page.wait_for_url(re.compile(r"[?&]q=los"))
    assert "log=1" in page.url
    page.get_by_label("Log scale").uncheck()
    page.get_by_label("Find a metric").fill("loss")
    page.wait_for_url(re.compile(r"[?&]q=loss"))
    assert "log=1" not in page.url


def test_a_chart_that_goes_is_let_go(run: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(url(run), user=ana)
    drawn(page, "loss")
    page.evaluate(
        """() => {
          const { disconnect } = ResizeObserver.prototype;
          window.gone = 0;
          ResizeObserver.prototype.disconnect = function () { window.gone += 1; disconnect.call(this); };
        }"""
    )
    page.get_by_label("Find a metric").fill("no such metric")
    expect(page.locator('[data-plot="loss"]')).to_have_count(0)
    page.wait_for_function("window.gone > 0")


def test_a_new_theme_draws_anew(run: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(url(run), user=ana)
    drawn(page, "loss")
    light = page.evaluate(PAINTED, "loss")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for_change(page, "loss", light)


def test_without_script_the_figures_and_tables_are_there(run: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(url(run), user=ana, java_script_enabled=False)
    expect(page.get_by_role("heading", name="loss")).to_be_visible()
    expect(page.locator('[data-plot="loss"]')).to_be_hidden()
    expect(page.locator(".looks")).to_be_hidden()
    expect(page.get_by_role("cell", name="0.75")).to_be_visible()
    page.get_by_role("link", name="40 values of loss as a table").click()
    expect(page.get_by_role("cell", name="0.025", exact=True)).to_be_visible()


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_an_experiment_draws_the_curves_of_its_newest_runs(
    run: Run, ana: User, open_page: OpenPage, axe: Callable[[Page], list[str]], width: int, theme: str
) -> None:
    for number in range(6):
        log_metrics(
            make_run(display_name="x " * 100), {"loss": [(number + 1) / (step + 1) for step in range(20)]}
        )
    page = open_page("/experiments/mnist/?over=loss&curve=loss", user=ana, width=width, theme=theme)
    page.locator("[data-curves]").scroll_into_view_if_needed()
    expect(page.locator("[data-curves] canvas")).to_be_visible()
    assert page.evaluate(PAINTED, "loss")[0] > 200
    page.locator("[data-curves] .u-over").hover()
    expect(page.locator(".plot-tip > div")).to_have_count(6)
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
