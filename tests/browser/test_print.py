"""Pages on paper: light whatever the theme, as wide as the paper, without what only a screen can use."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from runs.lifecycle import move
from runs.models import Experiment, Run
from runs.services.logs import STD_LOG, append_log
from runs.status import Status
from studio.accounts.models import User
from tests.factories import log_metrics, make_pipeline, make_run, make_snapshot, make_target

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]

#: Pixels across A4 between margins of 12 mm.
PAPER = 703
MARGINS = dict.fromkeys(("top", "right", "bottom", "left"), "12mm")
RUN = "/experiments/mnist/runs/1/"
PAGES = [
    RUN,
    f"{RUN}logs/",
    f"{RUN}metrics/",
    f"{RUN}metrics/one/?name=loss",
    "/experiments/mnist/?over=loss",
]
#: What nobody can use on paper.
USELESS = ".side, .top, .head-tools, .tabs, .toolbar, .btn, .menu, .looks, input, select, .log-rail"
#: Charts stay as they were drawn for the screen.
KEEP_CHARTS = "for (const plot of document.querySelectorAll('.plot')) plot.replaceWith(plot.cloneNode(true))"
#: What paper shows only a part of, because a screen would scroll it.
SCROLLED = """[...document.querySelectorAll("main *")].filter((part) =>
    part.checkVisibility() && /auto|scroll/.test(getComputedStyle(part).overflow)
    && (part.scrollHeight > part.clientHeight + 1 || part.scrollWidth > part.clientWidth + 1)
).map((part) => part.className)"""
#: Keeps the colours in which canvases are written on.
INKS = """
  window.inks = [];
  const { fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.fillText = function (...all) {
    inks.push(this.fillStyle);
    return fillText.apply(this, all);
  };
"""


@pytest.fixture
def run(ana: User) -> Run:
    """A failed run with everything that its pages show."""
    run = make_run(status=Status.FAILED, tags={"quality": "good"}, command_words=["python", "train.py"])
    log_metrics(run, {"loss": [1 / (step + 1) for step in range(40)], "said": ["Hello"]})
    lines = b"".join(b"epoch %d\n" % epoch for epoch in range(60))
    append_log(run, run.attempt, STD_LOG, 0, lines + b"word " * 60)
    frames = '  File "a.py", line 1, in train\n    train(1)\n' * 20
    said = f"Traceback (most recent call last):\n{frames}ValueError: {'long ' * 90}"
    message = "\n".join(f"line {number} of the message" for number in range(20))
    Run.objects.filter(pk=run.pk).update(error_traceback=said, error_message=message)
    about = "\n\n".join(f"Paragraph {number}." for number in range(20))
    Experiment.objects.filter(pk=run.experiment_id).update(description=about)
    return run


def on_paper(page: Page) -> None:
    """Lay the page out as A4 does."""
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER, "height": 1000})


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_on_paper_without_what_paper_cannot_do(
    run: Run, ana: User, open_page: OpenPage, path: str
) -> None:
    page = open_page(path, user=ana, theme="dark")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    if "metrics" in path or "over" in path:
        expect(page.locator(".plot canvas")).to_be_visible()
    page.evaluate(KEEP_CHARTS)
    on_paper(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER
    assert page.locator(USELESS).filter(visible=True).count() == 0
    expect(page.locator("h1")).to_be_visible()
    ink = re.findall(r"\d+", page.locator("h1").evaluate("(title) => getComputedStyle(title).color"))
    assert max(map(int, ink[:3])) < 80
    assert page.evaluate(SCROLLED) == []
    if "logs" in path:
        expect(page.get_by_role("heading", name=STD_LOG)).to_be_visible()


def test_the_reason_of_a_failure_is_on_paper_whole(ana: User, open_page: OpenPage) -> None:
    run = make_run(status=Status.RUNNING)
    why = f"ValueError: {'a reason that is long, ' * 12}"
    move(run, to=Status.FAILED, expect=(Status.RUNNING,), by=None, why=why)
    page = open_page(RUN, user=ana)
    on_paper(page)
    said = page.locator(".timeline-why", has_text="ValueError")
    assert said.evaluate("one => one.scrollWidth <= one.clientWidth && one.clientHeight > 30")


def test_charts_that_nobody_has_looked_at_are_left_out_and_counted(ana: User, open_page: OpenPage) -> None:
    log_metrics(make_run(), {f"layer {number:02}": [1.0, 2.0, number] for number in range(60)})
    page = open_page(f"{RUN}metrics/", user=ana)
    expect(page.locator(".plot canvas").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    left = 60 - page.locator(".plot:has(canvas)").count()
    assert left > 20
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    said = page.get_by_text(f"{left} charts are left out: nobody has looked at them yet.")
    expect(said).to_be_visible()
    assert page.locator(".metric").filter(visible=True).count() == 60 - left
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(said).to_have_count(0)


def test_each_chart_of_an_experiment_is_as_wide_as_the_paper(
    run: Run, ana: User, open_page: OpenPage
) -> None:
    page = open_page("/experiments/mnist/?over=loss", user=ana)
    expect(page.locator(".plot canvas")).to_be_visible()
    page.emulate_media(media="print")
    bar, curve = page.locator(".charts > section").all()
    above, below = bar.bounding_box(), curve.bounding_box()
    assert above
    assert below
    assert above["width"] == below["width"]
    assert above["y"] + above["height"] <= below["y"]


@pytest.mark.parametrize("step", ["", "?step=step 3"])
def test_the_graph_of_a_long_pipeline_fits_on_paper(ana: User, open_page: OpenPage, step: str) -> None:
    make_pipeline({f"step {n}": [f"step {n - 1}"] if n else [] for n in range(20)})
    log = "a line of the log that is longer than the panel of the step is wide, " * 3
    third = Run.objects.get(step_name="step 3")
    append_log(third, third.attempt, STD_LOG, 0, log.encode())
    page = open_page(RUN + step, user=ana)
    page.locator("[data-zoom-full]").click()
    on_paper(page)
    assert page.evaluate(SCROLLED) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER
    assert page.locator(USELESS).filter(visible=True).count() == 0
    last = page.locator(".graph-box").last.bounding_box()
    assert last
    assert last["x"] + last["width"] <= PAPER


def test_a_printed_form_names_the_source_of_its_step(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/", user=ana)
    page.locator(".step").get_by_text("Paste", exact=True).click()
    page.emulate_media(media="print")
    expect(page.locator(".step.is-selected .source .segments label").filter(visible=True)).to_have_text(
        ["Paste"]
    )


def test_the_boxes_of_a_printed_form_are_a_list(open_page: OpenPage, ana: User) -> None:
    page = open_page("/submit/?example=digits-pipeline", user=ana)
    expect(page.locator(".node")).to_have_count(4)
    on_paper(page)
    for box in page.locator(".node").all():
        place = box.bounding_box()
        assert place
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= PAPER
    expect(page.locator(".draft-name .icon")).to_be_hidden()


def test_lines_of_a_printed_source_are_whole(open_page: OpenPage, ana: User) -> None:
    source = {"train.py": "x = 1  # " + "a comment that is long " * 20}
    make_run(snapshot=make_snapshot(source), script="train.py")
    page = open_page(f"{RUN}snapshot/", user=ana)
    on_paper(page)
    assert page.locator(".source-line code").evaluate("one => one.getBoundingClientRect().right") <= PAPER
    assert page.evaluate(SCROLLED) == []
    expect(page.locator("#against")).to_be_hidden()


def test_child_runs_on_paper_have_their_metrics_and_target(open_page: OpenPage, ana: User) -> None:
    parent = make_run()
    make_run(parent=parent, metrics={"loss": 0.5}, target=make_target("gpu-lab"), display_name="fold")
    page = open_page(f"{RUN}children/", user=ana)
    on_paper(page)
    row = page.locator("tr[data-row]")
    for text in ("fold", "0.5", "gpu-lab"):
        expect(row.get_by_text(text, exact=True).filter(visible=True)).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER


def test_a_log_begins_on_the_first_page(run: Run, ana: User, open_page: OpenPage) -> None:
    page = open_page(f"{RUN}logs/", user=ana)
    expect(page.get_by_text("epoch 59")).to_be_visible()
    paper = page.pdf(format="A4", margin=MARGINS)  # type: ignore[arg-type]
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 2


def test_charts_are_drawn_for_paper_and_then_for_the_screen_again(
    run: Run, ana: User, open_page: OpenPage
) -> None:
    inks = {}
    for theme in ("light", "dark"):
        page = open_page("/experiments/", user=ana, theme=theme)
        page.add_init_script(INKS)
        page.goto(page.url.replace("/experiments/", f"{RUN}metrics/"))
        expect(page.locator(".plot canvas")).to_be_visible()
        page.wait_for_function("inks.length")
        inks[theme] = page.evaluate("inks")
    assert set(inks["light"]).isdisjoint(inks["dark"])
    page.evaluate("inks.length = 0")
    page.pdf(format="A4", margin=MARGINS)  # type: ignore[arg-type]
    page.wait_for_function("(ink) => inks.at(-1) === ink", arg=inks["dark"][-1])
    assert page.evaluate("inks")[0] == inks["light"][0]
