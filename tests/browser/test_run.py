"""What only a browser shows of a run's page: it stays true, keeps what one types, and works by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now
from playwright.sync_api import Page, Route, expect

from runs.models import Run
from runs.services.artifacts import keep_outputs
from runs.services.cancel import cancel_run
from runs.services.logs import STD_LOG, append_log
from runs.status import Status
from studio.accounts.models import User
from tests.factories import log_metrics, make_node, make_pipeline, make_run, make_snapshot
from tests.fixtures.browser import LOOKS
from tests.pages.test_run_frame import url_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
OpenPage = Callable[..., Page]
#: All that a description can hold, with a line of code and a word that no window is wide enough for.
DESCRIPTION = f"""See [the plan](https://example.org) and `train.py`.

    {"python train.py --learning-rate 0.1 " * 12}

| width | loss | why |
|---|---|---|
| 512 | 0.25 | {"long" * 60} |
"""


@pytest.fixture
def failed(ana: User, tmp_path: Any) -> Run:
    """A run that has everything that an ended run can show."""
    before = make_run(arguments=["--lr", "0.1"], snapshot=make_snapshot({"train.py": "x = 1  # one\n"}))
    run = make_run(
        status=Status.FAILED,
        display_name="width 2048",
        description=DESCRIPTION,
        arguments=["--lr", "0.3"],
        resubmitted_from=before,
        snapshot=make_snapshot({"train.py": "x = 2\n", "lib/a.py": ""}),
        error_message="very_long_word_without_a_break_" * 80,
        error_traceback='Traceback (most recent call last):\n  File "a.py", line 1\nValueError: no',
        environment_variables={"THREADS": "4"},
        tags={"width": "2048"},
        properties={"seed": "7"},
    )
    make_run(parent=run, status=Status.FAILED, metrics={"loss": None, "acc": 0.5, "auc": 0.75})
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a.csv").write_text("a,b\n1,2\n")
    keep_outputs(run, tmp_path)
    return run


@pytest.fixture
def pipeline(ana: User) -> Run:
    statuses = {"prepare": Status.COMPLETED, "train": Status.RUNNING, "evaluate": Status.NOT_STARTED}
    pipeline = make_pipeline(status=Status.RUNNING, statuses=statuses, display_name="weekly")
    train = pipeline.children.get(step_name="train")
    append_log(train, train.attempt, STD_LOG, 0, b"epoch 1\n")
    return pipeline


def no_overflow(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [1440, 390])
def test_what_has_no_room_is_told_by_a_title(
    ana: User, open_page: OpenPage, cut_for_good: Any, width: int
) -> None:
    long = "step number {} of the preparation of all the data of the year that the model is trained with"
    names = [long.format(number) for number in range(3)]
    experiment = "an-experiment-with-" + "-".join(["a-long-name"] * 9)
    over = {"experiment": experiment, "display_name": long, "tags": {"stage": long}}
    pipeline = make_pipeline(
        {names[0]: [], names[1]: [names[0]], names[2]: [names[1]]},
        statuses={names[0]: Status.RUNNING, names[1]: Status.NOT_STARTED, names[2]: Status.NOT_STARTED},
        status=Status.RUNNING, **over,
    )  # fmt: skip
    first = pipeline.children.get(step_name=names[0])
    append_log(first, first.attempt, STD_LOG, 0, b"epoch 1\n")
    run = make_run(arguments=[long], snapshot=make_snapshot(), **over)
    whole = make_run(**{**over, "experiment": "e" * 255})
    page = open_page(url_of(pipeline), user=ana, width=width)
    origin = page.url.removesuffix(url_of(pipeline))
    paths = [
        url_of(pipeline) + f"?step={names[1]}", url_of(pipeline, "run-overview"),
        url_of(pipeline, "run-children"), url_of(pipeline, "run-logs"), url_of(run),
        url_of(whole), url_of(whole, "run-metrics"), "/experiments/", f"/experiments/{experiment}/",
        "/runs/", "/pipelines/", f"/submit/?from={run.run_id}", f"/submit/?from={pipeline.run_id}",
    ]  # fmt: skip
    for path in paths:
        page.goto(origin + path)
        expect(page.locator("h1, h2").first).to_be_visible()
        assert (path, cut_for_good(page)) == (path, [])
        assert no_overflow(page), path


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_no_tab_has_a_barrier(
    failed: Run, pipeline: Run, ana: User, open_page: OpenPage, axe: Any, width: int, theme: str
) -> None:
    make_node()
    queued = make_run(status=Status.QUEUED)
    broken = make_pipeline(status=Status.FAILED, statuses={"train": Status.FAILED})
    against = f"?against={failed.resubmitted_from and failed.resubmitted_from.run_id}"
    paths = [
        url_of(failed), url_of(failed, "run-children"), url_of(failed, "run-outputs"),
        url_of(failed, "run-snapshot"), url_of(failed, "run-snapshot") + against, url_of(queued),
        url_of(queued, "run-cancel"), url_of(pipeline) + "?step=train", url_of(pipeline, "run-overview"),
        url_of(broken, "run-overview"),
    ]  # fmt: skip
    page = open_page(paths[0], user=ana, width=width, theme=theme)
    origin = page.url.removesuffix(paths[0])
    for path in paths:
        page.goto(origin + path)
        assert axe(page) == [], path
        assert no_overflow(page), path


def test_the_page_follows_the_run_and_keeps_what_is_typed(ana: User, open_page: OpenPage) -> None:
    run = make_run(status=Status.RUNNING, display_name="before")
    page = open_page(url_of(run), user=ana)
    page.get_by_label("Add a tag").fill("half typ")
    Run.objects.filter(pk=run.pk).update(display_name="after", description="*new*", updated_at=Now())
    expect(page.locator("h1")).to_contain_text("after")
    expect(page.locator(".prose em")).to_have_text("new")
    expect(page.get_by_label("Add a tag")).to_have_value("half typ")
    expect(page.get_by_label("Add a tag")).to_be_focused()


def test_metrics_of_child_runs_follow_them_and_stay_chosen(ana: User, open_page: OpenPage) -> None:
    top = make_run(status=Status.RUNNING)
    child = make_run(parent=top, status=Status.RUNNING, metrics={"loss": 0.5, "acc": 0.25})
    page = open_page(url_of(top, "run-children"), user=ana)
    expect(page.get_by_role("group", name="loss by run number").locator("circle")).to_have_count(1)
    page.get_by_role("button", name="loss").click()
    page.get_by_role("link", name="acc").click()
    dots = page.get_by_role("group", name="acc by run number").locator("circle")
    expect(dots).to_have_count(1)
    log_metrics(child, {"acc": [0.875]})
    expect(page.locator(f"#run-{child.number} td", has_text="0.875")).to_be_visible(timeout=5_000)
    log_metrics(make_run(parent=top, status=Status.RUNNING), {"acc": [0.75]})
    expect(dots).to_have_count(2)


@pytest.mark.parametrize("width", [800, 1120, 1440])
def test_a_row_for_more_takes_no_room_from_the_columns(ana: User, open_page: OpenPage, width: int) -> None:
    run = top = make_run()
    for _ in range(5):
        run = make_run(parent=run, metrics={"loss": 0.5, "acc": 0.25, "auc": 0.125})
    page = open_page(url_of(top, "run-children"), user=ana, width=width)
    more = page.get_by_role("row", name="1 more below").bounding_box()
    last = page.locator("#run-children tbody tr").nth(2).locator("td:visible").last.bounding_box()
    assert more
    assert last
    assert more["x"] + more["width"] == pytest.approx(last["x"] + last["width"], abs=1)


def test_the_tab_of_metrics_counts_while_the_run_logs(ana: User, open_page: OpenPage) -> None:
    run = make_run(status=Status.RUNNING)
    page = open_page(url_of(run), user=ana)
    tab = page.get_by_role("navigation", name="Run").get_by_role("link", name="Metrics")
    expect(tab).to_have_text("Metrics")
    log_metrics(run, {"loss": [0.5], "acc": [0.75]})
    expect(tab).to_have_text("Metrics 2")


def test_a_tag_is_added_and_removed_in_place(ana: User, open_page: OpenPage) -> None:
    make_run(tags={"quality": "fantastic run"})
    run = make_run()
    page = open_page(url_of(run), user=ana)
    field = page.get_by_label("Add a tag")
    field.press_sequentially("qual")
    expect(page.locator(".tag-ghost")).to_contain_text("ity=fantastic run")
    field.press("Tab")
    expect(field).to_have_value("quality=fantastic run")
    field.press("Enter")
    expect(page.locator(".tag-editor .tag")).to_have_text("quality=fantastic run")
    expect(page.locator(".changes")).to_contain_text("quality=fantastic run")
    expect(field).to_have_value("")
    expect(field).to_be_focused()
    page.get_by_label("Remove tag quality").click()
    expect(page.locator(".tag-editor .tag")).to_have_count(0)


def test_the_focus_stays_near_when_a_tag_goes_or_its_field_is_left(ana: User, open_page: OpenPage) -> None:
    run = make_run(tags={"a": "1", "b": "2"})
    page = open_page(url_of(run), user=ana)
    field = page.get_by_label("Add a tag")
    page.get_by_label("Remove tag a").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Remove tag b")).to_be_focused()
    page.keyboard.press("Enter")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#tag-editor")).to_be_focused()
    page.keyboard.press("Tab")
    expect(field).to_be_focused()


def test_a_run_is_cancelled_by_keyboard_alone(ana: User, open_page: OpenPage) -> None:
    run = make_run(status=Status.QUEUED)
    page = open_page(url_of(run), user=ana)
    page.locator("#run-cancel").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text(f"Cancel Run {run.number}?")
    page.keyboard.press("Escape")
    expect(page.locator("#run-cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Keep running")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Cancel run")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".head-title .status")).to_have_text("Canceled")
    expect(page.locator(".toast")).to_contain_text(f"Run {run.number} canceled")
    expect(page.locator("#run-cancel-off")).to_be_disabled()
    page.wait_for_function("document.activeElement.closest('.head-tools') !== null")


def test_the_focus_stays_near_when_a_pipeline_is_cancelled_on_its_graph(
    ana: User, open_page: OpenPage
) -> None:
    statuses = {"prepare": Status.QUEUED, "train": Status.NOT_STARTED, "evaluate": Status.NOT_STARTED}
    page = open_page(url_of(make_pipeline(status=Status.QUEUED, statuses=statuses)), user=ana)
    page.locator("#run-cancel").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Keep running")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#run-cancel-off")).to_be_disabled()
    page.wait_for_function("document.activeElement.closest('.head-tools') !== null")


def test_what_lies_behind_an_open_drawer_is_not_reached(ana: User, open_page: OpenPage) -> None:
    page = open_page(url_of(make_run()), user=ana, width=390)
    menu = page.get_by_role("button", name="Menu", exact=True)
    menu.click()
    inside = (
        "document.activeElement === document.body || document.activeElement.closest('.side, .side-scrim')"
    )
    for _ in range(20):
        page.keyboard.press("Tab")
        assert page.evaluate(f"Boolean({inside})")
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    menu.click()
    page.set_viewport_size({"width": 1100, "height": 900})
    page.get_by_role("link", name="Refresh").focus()
    expect(page.get_by_role("link", name="Refresh")).to_be_focused()


def test_a_narrow_search_that_is_left_gives_the_focus_back(ana: User, open_page: OpenPage) -> None:
    page = open_page(url_of(make_run()), user=ana, width=390)
    page.get_by_role("button", name="Search").click()
    field = page.get_by_label("Search runs, tags, people")
    expect(field).to_be_focused()
    page.keyboard.type("lr")
    page.keyboard.press("Escape")
    expect(field).to_be_hidden()
    expect(page.get_by_role("button", name="Search")).to_be_focused()


def test_a_dialog_from_a_menu_gives_the_focus_to_the_button_of_the_menu(
    ana: User, open_page: OpenPage
) -> None:
    page = open_page(url_of(make_run()), user=ana, width=390)
    page.get_by_role("button", name="More").click()
    page.get_by_role("link", name="Edit").click()
    expect(page.get_by_role("dialog").get_by_label("Display name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="More")).to_be_focused()


def test_what_is_done_while_the_server_is_away_is_answered(ana: User, open_page: OpenPage) -> None:
    run = make_run(status=Status.RUNNING)
    page = open_page(url_of(run), user=ana)
    toast = page.locator(".toast", has_text="The server could not be reached")
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_be_visible()
    expect(toast).to_have_count(0)
    page.get_by_label("Add a tag").fill("quality=good")
    page.get_by_label("Add a tag").press("Enter")
    expect(toast).to_be_visible()
    expect(page.get_by_label("Add a tag")).to_have_value("quality=good")
    toast.get_by_role("button", name="Dismiss").click()
    page.locator("#run-cancel").click()
    expect(toast).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator("#connection")).to_be_hidden()
    page.locator("#run-cancel").click()
    page.context.set_offline(True)
    page.get_by_role("dialog").get_by_role("button", name="Cancel run").click()
    expect(toast).to_be_visible()
    expect(page.get_by_role("dialog")).to_be_visible()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, "<p data-error>The database is away.</p>", "The database is away."),
        (504, "", "could not be reached. Look whether it was done before you try again."),
    ],
)
def test_an_outage_is_told_as_what_it_is(
    ana: User, open_page: OpenPage, status: int, body: str, words: str
) -> None:
    def answer(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(status=status, body=body)
        else:
            route.continue_()

    page = open_page(url_of(make_run()), user=ana)
    page.route("**/tags/**", answer)
    page.get_by_label("Add a tag").fill("quality=good")
    page.get_by_label("Add a tag").press("Enter")
    expect(page.locator(".toast")).to_contain_text(words)
    expect(page.get_by_label("Add a tag")).to_have_value("quality=good")


@pytest.mark.parametrize("is_long", [True, False])
def test_the_timeline_names_a_long_reason_by_its_first_line(
    ana: User, open_page: OpenPage, cut_for_good: Any, is_long: bool
) -> None:
    why = "Assertion failed: " + ("the loss went up " * 30 if is_long else "no")
    events = [{"to_status": Status.RUNNING}, {"to_status": Status.FAILED, "why": why + "\nand more"}]
    run = make_run(status=Status.FAILED, events=events)
    page = open_page(url_of(run), user=ana)
    shown = page.locator(".timeline-why").last
    expect(shown).to_have_text(why.strip())
    expect(shown).to_have_attribute("title", why + "\nand more")
    height = shown.evaluate("line => line.offsetHeight")
    assert height < 24
    assert cut_for_good(page) == []


def test_a_step_opens_beside_the_graph_and_its_log_grows(
    pipeline: Run, ana: User, open_page: OpenPage
) -> None:
    page = open_page(url_of(pipeline), user=ana)
    page.get_by_label("Find a step").fill("TRAI")
    expect(page.locator(".graph-box.is-missed")).to_have_count(2)
    page.get_by_label("Find a step").press("Enter")
    expect(page.get_by_label("Step train")).to_contain_text("epoch 1")
    assert page.url.endswith("?step=train")
    train = pipeline.children.get(step_name="train")
    append_log(train, train.attempt, STD_LOG, 8, b"epoch 2\n")
    expect(page.get_by_label("Step train")).to_contain_text("epoch 2")
    Run.objects.filter(parent=pipeline, step_name="evaluate").update(status=Status.QUEUED, updated_at=Now())
    expect(page.locator(".graph-box", has_text="evaluate")).to_contain_text("Queued")
    page.go_back()
    expect(page.get_by_label("Step train")).to_have_count(0)


def test_steps_over_time_grow_without_the_server(pipeline: Run, ana: User, open_page: OpenPage) -> None:
    now = datetime.now(UTC)
    Run.objects.filter(pk=pipeline.pk).update(created_at=now - timedelta(seconds=2))
    train = pipeline.children.get(step_name="train")
    Run.objects.filter(pk=train.pk).update(started_at=now - timedelta(seconds=1), queued_at=now)
    page = open_page(url_of(pipeline), user=ana)
    bar, axis = page.locator(f"#step-{train.number} rect"), page.locator("[data-steps-axis]")
    expect(bar).to_be_visible()
    drawn: list[str] = []
    page.on("request", lambda request: drawn.append(request.headers.get("hx-target", "")))
    was = float((bar.get_attribute("x") or "").rstrip("%"))
    shown = axis.text_content() or ""
    clock = page.locator(f"#step-{train.number} time")
    later = int(clock.inner_text().rstrip("s")) + 3
    expect(clock).to_have_text(re.compile(rf"^({later}|{later + 1}|{later + 2})s$"))
    expect(axis).not_to_have_text(shown)
    assert float((bar.get_attribute("x") or "").rstrip("%")) < was
    assert float((bar.get_attribute("width") or "").rstrip("%")) > 50
    assert not [target for target in drawn if "run-graph" in target]


def test_a_pipeline_and_its_steps_change_in_the_same_frame(ana: User, open_page: OpenPage) -> None:
    statuses = {"prepare": Status.QUEUED, "train": Status.NOT_STARTED, "evaluate": Status.NOT_STARTED}
    pipeline = make_pipeline(status=Status.QUEUED, statuses=statuses)
    page = open_page(url_of(pipeline), user=ana)
    page.evaluate("""() => {
      window.seen = [];
      const look = () => {
        const words = (part) => [...document.querySelectorAll(part)].map((word) => word.textContent.trim());
        const now = [words(".head-title .status"), words(".graph-word")].map(String).join(" with ");
        if (window.seen.at(-1) !== now) window.seen.push(now);
        requestAnimationFrame(look);
      };
      look();
    }""")
    cancel_run(pipeline, by=ana)
    expect(page.locator(".head-title .status")).to_have_text("Canceled")
    expect(page.locator(".graph-word", has_text="Canceled")).to_have_count(3)
    assert page.evaluate("seen") == [
        "Queued with Queued,NotStarted,NotStarted",
        "Canceled with Canceled,Canceled,Canceled",
    ]


def test_a_clock_that_is_behind_draws_no_negative_part(ana: User, open_page: OpenPage) -> None:
    now = datetime.now(UTC)
    queued = {"to_status": Status.QUEUED, "at": now - timedelta(minutes=1)}
    ahead = {"to_status": Status.PREPARING, "at": now + timedelta(minutes=1)}
    run = make_run(status=Status.PREPARING, events=[queued, ahead])
    page = open_page(url_of(run), user=ana)
    parts = page.locator(".timeline-part")
    expect(parts.first).to_have_attribute("width", "100%")
    widths = [float((part.get_attribute("width") or "").rstrip("%")) for part in parts.all()]
    assert min(widths) >= 0
    assert sum(widths) == pytest.approx(100, abs=1)


def test_a_long_run_id_stays_on_one_line_and_is_copied_whole(ana: User, open_page: OpenPage) -> None:
    run = make_run(experiment="a-very-long-name-for-an-experiment-about-leaf-masks")
    page = open_page(url_of(run), user=ana, permissions=["clipboard-read", "clipboard-write"])
    box = page.locator("#run-id").bounding_box()
    assert box
    assert box["height"] < 24
    page.get_by_role("button", name="Copy the run id").click()
    expect(page.locator(".toast")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == run.run_id
    page.locator(".toast").get_by_role("button").click()
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".toast")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == f"{page.url}?workspace=default"


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_a_long_property_key_leaves_its_value_room(
    ana: User, open_page: OpenPage, width: int, theme: str
) -> None:
    value = "6d0c3f9a3a2b4c5d8e7f" * 3
    run = make_run(properties={"k" * 90: value, "commit": "abc"})
    page = open_page(url_of(run), user=ana, width=width, theme=theme)
    facts = page.locator("dl.facts-mono")
    shown = facts.get_by_text(value, exact=True).bounding_box()
    assert shown
    assert shown["width"] > 150
    assert shown["height"] < 150
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_turns_the_direction_turns_nothing_beside_it(
    ana: User, open_page: OpenPage, tmp_path: Path
) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "\u202etxt.exe").write_text("a")
    run = make_run(display_name="\u202eeman", tags={"\u202egnp": "value"})
    keep_outputs(run, tmp_path)
    page = open_page(url_of(run, "run-outputs"), user=ana)
    expect(page.get_by_role("link", name="\\u202etxt.exe")).to_be_visible()
    expect(page.get_by_role("heading", name="outputs/\\u202etxt.exe")).to_be_visible()
    page.goto(page.url.replace("outputs/", ""))
    value_follows = """tag => {
      const range = document.createRange();
      range.selectNodeContents(tag.lastChild);
      return range.getBoundingClientRect().left >= tag.firstElementChild.getBoundingClientRect().right - 1;
    }"""
    assert page.locator(".tag-text").evaluate(value_follows)
    name, number = page.locator("h1 bdi").bounding_box(), page.locator("h1 small").bounding_box()
    assert name
    assert number
    assert number["x"] >= name["x"] + name["width"]
