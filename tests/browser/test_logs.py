"""The Logs tab as a browser shows it: live lines, paging, search, links, and what a small window leaves."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.files.storage import default_storage
from playwright.sync_api import Page, Route, expect

from runs.models import LogChunk, Run
from runs.services import logs
from runs.status import Status
from studio.accounts.models import User
from tests.factories import make_pipeline, make_run
from tests.fixtures.browser import LOOKS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

EPOCH = (
    "14:22:{s:02d} \x1b[32mINFO\x1b[0m  epoch \x1b[1m{n}/40\x1b[0m  train_loss 0.171  val_loss 0.252\n"
    "14:22:{s:02d} \x1b[32mINFO\x1b[0m  checkpoint \x1b[36moutputs/ckpt/epoch_{n}.pt\x1b[0m (4.1 MB)\n"
    "14:22:{s:02d} DEBUG grad norm 1.84, clipped 0 of 300 steps\n"
)


@pytest.fixture
def run(ana: User, transactional_db: None) -> Run:
    run = make_run(status=Status.RUNNING, display_name="width 512", experiment="digits-mlp")
    grow(run, "".join(EPOCH.format(n=n, s=n % 60) for n in range(6000)))
    grow(
        run, "14:23:10 WARN  worker 3 took 2.9 s for one batch\n14:23:10 ERROR could not write it; skipped\n"
    )
    grow(run, "launched\n", name="system_logs/launch.log")
    return run


def grow(run: Run, text: str, *, name: str = logs.STD_LOG) -> None:
    logs.append_log(run, run.attempt, name, logs.log_size(run, run.attempt, name), text.encode())


def path_of(run: Run, query: str = "") -> str:
    return f"/experiments/{run.experiment.name}/runs/{run.number}/logs/{query}"


def lines_of(page: Page) -> Any:
    return page.locator("#log-lines > .log-line")


def test_new_lines_come_and_the_end_is_followed(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    page = open_page(path_of(run), user=ana)
    expect(lines_of(page)).to_have_count(1000)
    expect(page.locator("#log-pill")).to_have_text("Following the end")
    grow(run, "epoch 6001\nhalf a li")
    last = lines_of(page).last
    expect(last).to_contain_text("half a li")
    grow(run, "ne\rgone over")
    expect(last).to_contain_text("gone over")
    expect(last).not_to_contain_text("half a line")
    expect(last).to_be_in_viewport()


def test_whoever_signs_in_again_comes_back_to_the_log(
    run: Run, ana: User, open_page: Callable[..., Page]
) -> None:
    page = open_page(path_of(run, "?q=epoch"), user=ana)
    expect(page.locator("#log-pill")).to_have_text("Following the end")
    page.context.clear_cookies()
    page.wait_for_url(lambda url: "/sign-in/" in url)
    assert parse_qs(urlsplit(page.url).query)["next"] == [path_of(run, "?q=epoch")]


def test_scrolled_away_the_view_stays_and_new_lines_are_counted(
    run: Run, ana: User, open_page: Callable[..., Page]
) -> None:
    page = open_page(path_of(run), user=ana)
    expect(page.locator("#log-pill")).to_have_text("Following the end")
    page.locator("#log-scroll").evaluate("e => { e.scrollTop -= 3000 }")
    expect(page.locator("#log-pill")).to_have_text("Go to the end")
    place = page.locator("#log-scroll").evaluate("e => e.scrollTop")
    grow(run, "one more\n" * 128)
    expect(page.locator("#log-pill")).to_have_text("128 new lines")
    assert page.locator("#log-scroll").evaluate("e => e.scrollTop") == place
    page.locator("#log-pill").click()
    expect(lines_of(page).last).to_be_in_viewport()
    expect(page.locator("#log-pill")).to_have_text("Following the end")


@pytest.mark.parametrize("script", [True, False])
def test_many_lines_are_counted_as_other_things_are(
    ana: User, open_page: Callable[..., Page], script: bool
) -> None:
    run = make_run(status=Status.RUNNING)
    grow(run, "\n" * 12_345)
    page = open_page(path_of(run), user=ana, java_script_enabled=script)
    expect(page.locator("#log-total")).to_have_text("12,345 lines")


def test_scrolling_up_pages_back_and_the_page_stays_small(
    run: Run, ana: User, open_page: Callable[..., Page]
) -> None:
    page = open_page(path_of(run), user=ana)
    for _ in range(7):
        before = page.locator("#log-lines").get_attribute("data-start")
        first = lines_of(page).first.get_attribute("id")
        page.locator("#log-scroll").evaluate("e => { e.scrollTop = 100 }")
        page.wait_for_function("id => document.querySelector('#log-lines > .log-line').id !== id", arg=first)
        assert before is not None
    assert lines_of(page).count() <= 5000
    numbers = page.evaluate("[...document.querySelectorAll('.log-line')].map((l) => Number(l.id.slice(1)))")
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    page.locator("#log-pill").click()
    expect(lines_of(page).last).to_contain_text("could not write it")


def test_a_search_finds_the_whole_file(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    page = open_page(path_of(run), user=ana)
    page.keyboard.press("/")
    page.keyboard.type("epoch_3.pt")
    expect(page.locator("#log-found")).to_have_text("1 of 1")
    expect(page.locator("mark.is-current")).to_be_in_viewport()
    page.locator("#log-q").fill("VAL_LOSS")
    expect(page.locator("#log-found")).to_have_text("1 of 5,000+")
    page.locator("#log-q").press("Enter")
    expect(page.locator("#log-found")).to_have_text("2 of 5,000+")
    page.locator("#log-q").press("Shift+Enter")
    expect(page.locator("#log-found")).to_have_text("1 of 5,000+")
    assert "q=VAL_LOSS" in page.url


def test_a_search_that_broke_off_is_asked_again_by_enter(
    run: Run, ana: User, open_page: Callable[..., Page]
) -> None:
    page = open_page(path_of(run, "?from=0"), user=ana)
    asked: list[str] = []

    def second_is_lost(route: Route) -> None:
        asked.append(route.request.url)
        route.abort() if len(asked) == 2 else route.continue_()

    page.route(re.compile(r"/logs/search/.*VAL_LOSS"), second_is_lost)
    page.keyboard.press("/")
    page.keyboard.type("VAL_LOSS")
    expect(page.locator("#log-found")).to_have_text("No answer")
    page.keyboard.press("Enter")
    expect(page.locator("#log-found")).to_have_text("1 of 5,000+")


def test_a_search_that_is_refused_says_with_what(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    page = open_page(path_of(run, "?from=0"), user=ana)
    page.route("**/logs/search/**", lambda route: route.fulfill(status=404, body="gone"))
    page.keyboard.press("/")
    page.keyboard.type("epoch_3.pt")
    expect(page.locator("#log-found")).to_have_text("Error 404")
    page.unroute("**/logs/search/**")
    page.keyboard.press("Enter")
    expect(page.locator("#log-found")).to_have_text("1 of 1")


def test_a_lost_part_leaves_the_rest_readable(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    logs.roll_up(run)
    grow(run, "".join(f"later {number}\n" for number in range(90_000)))
    logs.roll_up(run)
    grow(run, "the end\n")
    last = LogChunk.objects.filter(run=run, name=logs.STD_LOG).exclude(storage_name="").latest("offset")
    default_storage.delete(last.storage_name)
    page = open_page(path_of(run), user=ana)
    note = page.get_by_text(f"{last.size:,} bytes of this log are missing here")
    expect(note).to_be_visible()
    expect(lines_of(page).last).to_have_attribute("id", f"L{last.line + last.newlines + 1}")
    expect(lines_of(page).filter(has_text="epoch 5999/40")).to_have_count(1)
    page.keyboard.press("/")
    page.keyboard.type("epoch_3.pt")
    expect(page.locator("#log-found")).to_have_text("1 of 1")
    expect(page.locator("#toasts")).to_contain_text("A part of this log is missing and was not searched.")


def test_what_finds_no_answer_says_so_and_can_be_asked_again(
    run: Run, ana: User, open_page: Callable[..., Page]
) -> None:
    page = open_page(path_of(run, "?from=0"), user=ana)
    expect(page.locator("#log-pill")).to_have_text("Go to the end")
    page.route("**/logs/**", lambda route: route.abort())
    page.locator("#log-pill").click()
    page.keyboard.press("/")
    page.keyboard.type("epoch_3.pt")
    expect(page.locator("#log-found")).to_have_text("No answer")
    page.unroute("**/logs/**")
    page.keyboard.press("Enter")
    expect(page.locator("#log-found")).to_have_text("1 of 1")
    expect(page.locator("#log-lines mark.is-current")).to_be_visible()
    page.locator("#log-pill").click()
    expect(lines_of(page).last).to_be_in_viewport()


def test_a_search_keeps_up_with_the_log(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    page = open_page(path_of(run), user=ana)
    page.get_by_role("searchbox", name="Search this log").fill("could not")
    expect(page.locator("#log-found")).to_have_text("1 of 1")
    grow(run, "could")
    grow(run, " not again\n")
    expect(page.locator("#log-found")).to_have_text("1 of 2")
    expect(lines_of(page).last.locator("mark")).to_have_text("could not")


def test_a_line_has_an_address(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    page = open_page(path_of(run, "?line=4711"), user=ana)
    expect(page.locator("#L4711")).to_be_in_viewport()
    expect(page.locator("#L4711.is-chosen")).to_have_count(1)
    page.locator("#L4713 > a").click()
    assert page.url.endswith("line=4713#L4713")
    page.goto(page.url.replace("&line=4713", ""))
    page.reload()
    expect(page.locator("#L4713")).to_be_in_viewport()


def test_the_end_of_the_run_ends_the_polling(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    page = open_page(path_of(run), user=ana)
    expect(page.locator("#log-pill")).to_have_text("Following the end")
    grow(run, "the last line\n")
    Run.objects.filter(pk=run.pk).update(
        status=Status.COMPLETED, ended_at=run.created_at, started_at=None, holds_slot=False
    )
    expect(page.locator("#log-pill")).to_have_text("End of log, run Completed")
    expect(lines_of(page).last).to_contain_text("the last line")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "logs/lines" in request.url else None)
    page.wait_for_timeout(2500)
    assert asked == []


def test_a_log_that_is_empty_fills(ana: User, open_page: Callable[..., Page], transactional_db: None) -> None:
    run = make_run(status=Status.RUNNING)
    page = open_page(path_of(run), user=ana)
    expect(page.get_by_text("Nothing printed yet")).to_be_visible()
    grow(run, "first line\n")
    expect(lines_of(page)).to_have_count(1)
    expect(page.get_by_text("Nothing printed yet")).to_be_hidden()


def test_the_page_of_a_queued_run_shows_its_first_line(
    ana: User, open_page: Callable[..., Page], transactional_db: None
) -> None:
    run = make_run(status=Status.QUEUED)
    page = open_page(path_of(run), user=ana)
    expect(page.get_by_text("No log yet: the run is queued")).to_be_visible()
    Run.objects.filter(pk=run.pk).update(status=Status.RUNNING, attempt=1)
    run.refresh_from_db()
    grow(run, "first line\n")
    expect(lines_of(page)).to_have_count(1)
    expect(page.locator("#log-pill")).to_have_text("Following the end")


def test_another_attempt_is_offered(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    page = open_page(path_of(run), user=ana)
    Run.objects.filter(pk=run.pk).update(attempt=2)
    run.refresh_from_db()
    grow(run, "second try\n")
    page.get_by_role("button", name="Attempt 2 has begun").click()
    expect(lines_of(page)).to_have_count(1)
    expect(page.locator("#log-lines")).to_contain_text("second try")


def test_nothing_in_a_log_can_act(ana: User, open_page: Callable[..., Page], transactional_db: None) -> None:
    run = make_run()
    grow(run, "<script>window.acted = 1</script><img src=x onerror='window.acted = 1'>\n\u202egnp.exe\n")
    page = open_page(path_of(run), user=ana)
    expect(lines_of(page).first).to_contain_text("<script>window.acted")
    assert page.evaluate("window.acted") is None


def test_levels_lead_to_their_lines(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    page = open_page(path_of(run), user=ana)
    page.get_by_role("button", name="Errors 1").click()
    expect(page.locator(".log-line.is-error.is-chosen")).to_be_in_viewport()


def test_without_javascript_the_log_can_be_read(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    page = open_page(path_of(run), user=ana, java_script_enabled=False)
    expect(lines_of(page)).to_have_count(1000)
    page.get_by_role("link", name="Earlier lines").click()
    expect(page.locator("#L17002")).to_have_count(1)
    page.get_by_role("link", name="Later lines").click()
    expect(page.locator("#L18002")).to_have_count(1)


def test_a_pipeline_leads_to_the_log_that_failed(
    ana: User, open_page: Callable[..., Page], transactional_db: None
) -> None:
    pipeline = make_pipeline(status=Status.FAILED, statuses={"prepare": Status.COMPLETED})
    train = pipeline.children.get(step_name="train")
    grow(train, "Traceback (most recent call last):\nValueError: no data\n")
    page = open_page(path_of(pipeline), user=ana)
    page.locator(".log-children").get_by_role("link", name="std_log.txt").click()
    expect(page.locator("#log-lines")).to_contain_text("ValueError: no data")


def test_the_page_stays_below_the_word_that_the_server_is_away(
    run: Run, ana: User, open_page: Callable[..., Page]
) -> None:
    page = open_page(path_of(run), user=ana)
    page.context.set_offline(True)
    banner = page.locator("#connection")
    expect(banner).to_be_visible()
    top, bottom = banner.evaluate(
        "box => [box.getBoundingClientRect().top, box.getBoundingClientRect().bottom]"
    )
    assert top == 48
    assert page.locator("h1").evaluate("box => box.getBoundingClientRect().top") >= bottom


def test_what_is_found_far_to_the_right_is_shown(ana: User, open_page: Callable[..., Page]) -> None:
    run = make_run(status=Status.COMPLETED)
    grow(run, "first\n" + "x" * 20_000 + "needle" + "x" * 500 + "\nlast\n")
    page = open_page(path_of(run), user=ana)
    page.get_by_role("searchbox", name="Search this log").fill("needle")
    mark = page.locator("mark.is-current")
    expect(mark).to_be_in_viewport(ratio=1)
    page.get_by_role("searchbox", name="Search this log").fill("last")
    expect(mark).to_have_text("last")
    expect(mark).to_be_in_viewport(ratio=1)
    assert (
        mark.evaluate(
            "mark => mark.getBoundingClientRect().left - mark.parentElement.getBoundingClientRect().left"
        )
        < 100
    )


#: Pixels from the upper edge of the view to the element.
PLACE = """one => one.getBoundingClientRect().top
  - document.getElementById("log-scroll").getBoundingClientRect().top"""


def test_wrapping_leaves_what_is_found_where_it_is(ana: User, open_page: Callable[..., Page]) -> None:
    run = make_run(status=Status.COMPLETED)
    wide = "x" * 1_000
    grow(run, f"{wide}\n" * 300 + f"{wide} needle\n" + f"{wide}\n" * 300)
    page = open_page(path_of(run), user=ana)
    page.get_by_role("searchbox", name="Search this log").fill("needle")
    mark, wrap = page.locator("mark.is-current"), page.get_by_role("button", name="Wrap")
    expect(mark).to_be_in_viewport(ratio=1)
    place = mark.evaluate(PLACE)
    for pressed in ("true", "false"):
        wrap.click()
        expect(wrap).to_have_attribute("aria-pressed", pressed)
        expect(mark).to_be_in_viewport(ratio=1)
        assert abs(mark.evaluate(PLACE) - place) < 2


def test_wrapping_leaves_the_first_line_where_it_is(ana: User, open_page: Callable[..., Page]) -> None:
    run = make_run(status=Status.COMPLETED)
    grow(run, "".join("y" * 1_000 + f" {number}\n" for number in range(1, 602)))
    page = open_page(path_of(run, "?line=300"), user=ana)
    line, wrap = page.locator("#L300"), page.get_by_role("button", name="Wrap")
    expect(line).to_be_in_viewport()
    line.evaluate("one => one.scrollIntoView({ block: 'start' })")
    page.locator("#log-scroll").evaluate("one => { one.scrollTop += 40 }")  # its margin
    for pressed in ("true", "false", "true"):
        wrap.click()
        expect(wrap).to_have_attribute("aria-pressed", pressed)
        assert abs(line.evaluate(PLACE)) < 2
    page.locator("#log-scroll").evaluate("one => { one.scrollTop += 60 }")
    assert line.evaluate("one => one.getBoundingClientRect().height") > 100
    wrap.click()
    assert abs(line.evaluate(PLACE)) < 2


def test_what_is_written_from_the_right_is_seen(ana: User, open_page: Callable[..., Page]) -> None:
    run = make_run(status=Status.COMPLETED)
    grow(run, "x" * 20_000 + "\nשלום עולם\n")
    page = open_page(path_of(run), user=ana)
    expect(lines_of(page)).to_have_count(2)
    left = page.evaluate(
        """() => {
          const range = document.createRange();
          range.selectNodeContents(document.querySelectorAll(".log-line > bdi")[1]);
          return range.getBoundingClientRect().left;
        }"""
    )
    assert left < 1440


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_it_is_accessible(
    run: Run,
    ana: User,
    open_page: Callable[..., Page],
    axe: Callable[[Page], list[str]],
    width: int,
    theme: str,
) -> None:
    page = open_page(path_of(run, "?q=val_loss"), user=ana, width=width, theme=theme)
    expect(page.locator("#log-found")).not_to_be_empty()
    expect(page.locator("mark.is-current")).to_have_count(1)
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_printed_log_flows_over_the_pages(run: Run, ana: User, open_page: Callable[..., Page]) -> None:
    page = open_page(path_of(run), user=ana)
    expect(lines_of(page)).to_have_count(1000)
    page.emulate_media(media="print")
    expect(page.locator(".side, .top, .logs-side").filter(visible=True)).to_have_count(0)
    assert page.locator("body").evaluate("body => body.scrollHeight") > 1000 * 20


@pytest.mark.parametrize("width", [1440, 390])
def test_long_line_numbers_have_room(run: Run, ana: User, open_page: Callable[..., Page], width: int) -> None:
    grow(run, "\n" * 1_000_000)
    page = open_page(path_of(run), user=ana, width=width)
    page.wait_for_function(f"() => ({LAST_NUMBER})().length === 7")
    assert page.evaluate(ROOM_OF_NUMBERS) >= 6
    for _ in range(2):
        grow(run, "\n" * 4_500_000)
    page.wait_for_function(f"() => ({LAST_NUMBER})().length === 8", timeout=30_000)
    assert page.evaluate(ROOM_OF_NUMBERS) >= 6


LAST_NUMBER = "() => [...document.querySelectorAll('.log-line > a')].at(-1).textContent"

#: Pixels between the edge of the panel and the number that comes nearest to it.
ROOM_OF_NUMBERS = """() => {
  const edge = document.querySelector(".log-scroll").getBoundingClientRect().left;
  const text = document.createRange();
  return Math.min(...[...document.querySelectorAll(".log-line > a")].map((link) => {
    text.selectNodeContents(link);
    return text.getBoundingClientRect().left - edge;
  }));
}"""
