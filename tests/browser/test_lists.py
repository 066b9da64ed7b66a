"""The lists in a browser: every look of them, a search typed with completions, and a list that stays true."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from runs.lists import runs as run_lists
from runs.models import Run
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.factories import make_experiment, make_pipeline, make_run
from tests.fixtures.browser import LOOKS

pytestmark = pytest.mark.browser


def fill() -> None:
    """An experiment with a sweep two levels deep, a pipeline, and a second experiment."""
    make_experiment("digits-mlp", description="Widths and **learning rates**.", tags={"team": "vision"})
    for status in Status:
        make_run(
            experiment="digits-mlp", status=status, display_name=f"run {status}", tags={"quality": "good"}
        )
    sweep = make_run(
        experiment="digits-mlp", kind=Kind.INTERACTIVE, status=Status.RUNNING, display_name="sweep"
    )
    width = make_run(experiment="digits-mlp", parent=sweep, display_name="width 512", status=Status.FAILED)
    make_run(experiment="digits-mlp", parent=width, display_name="fold 1", tags={"quality": "fantastic run"})
    make_pipeline(experiment="digits-mlp", display_name="pipeline")
    make_run(experiment="churn", display_name="weekly")


@pytest.mark.parametrize("width", [800, 1120, 1440])
def test_a_row_for_more_takes_no_room_from_the_columns(
    ana: User, open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(run_lists, "UNFOLDED", 1)
    parent = make_run()
    for _ in range(2):
        make_run(parent=parent, metrics={"loss": 0.5})
    page = open_page(f"/experiments/mnist/?open={parent.number}", user=ana, width=width)
    more = page.locator("tr.more-row").bounding_box()
    last = page.locator("tr[data-row]").first.locator("td:visible").last.bounding_box()
    assert more
    assert last
    assert more["x"] + more["width"] == pytest.approx(last["x"] + last["width"], abs=1)
    page.locator("tr.more-row a").click()
    expect(page).to_have_url(re.compile("/runs/1/children/$"))


def test_a_head_with_a_long_name_sorts_and_shows_how(ana: User, open_page: Callable[..., Page]) -> None:
    for value in (0.5, 0.25, 0.75):
        make_run(metrics={"validation/loss_smoothed": value})
    page = open_page("/experiments/mnist/", user=ana)
    names, head = page.locator("tr[data-row] .row-link"), page.locator("th", has_text="validation/")
    for direction, order in (("descending", "312"), ("ascending", "213")):
        head.locator("a").click()
        expect(head).to_have_attribute("aria-sort", direction)
        expect(names).to_have_text([f"Run {number}" for number in order])
        arrow, cell = head.locator(".icon").bounding_box(), head.bounding_box()
        assert arrow
        assert cell
        assert arrow["x"] + arrow["width"] <= cell["x"] + cell["width"]


def test_the_strip_of_charts_scrolls_to_its_side_alone(ana: User, open_page: Callable[..., Page]) -> None:
    make_run(metrics={"loss": 0.5})
    page = open_page("/experiments/mnist/", user=ana, width=390)
    strip = page.locator(".charts")
    assert strip.evaluate("one => one.scrollWidth > one.clientWidth")
    strip.evaluate("one => { one.scrollTop = 100 }")
    expect(strip).to_have_css("overflow-y", "hidden")
    assert strip.evaluate("one => one.offsetHeight - one.clientHeight") <= 16  # the bar below


@pytest.mark.parametrize(
    ("path", "width"),
    [
        *((path, width) for path in ("/runs/", "/pipelines/") for width in (1200, 1440, 1600)),
        ("/experiments/mnist/", 1440),
        ("/experiments/mnist/", 1600),
    ],
)
def test_a_name_keeps_its_room(ana: User, open_page: Callable[..., Page], path: str, width: int) -> None:
    make_pipeline(display_name="weekly", status=Status.CANCEL_REQUESTED)
    make_run(parent=Run.objects.get(display_name="weekly"), metrics={"val_loss": 0.5, "val_acc": 0.75})
    page = open_page(path, user=ana, width=width)
    column = page.get_by_role("columnheader", name="Name", exact=True).bounding_box()
    assert column
    assert column["width"] >= 180
    for place in (
        page.get_by_role("link", name="weekly", exact=True),
        page.get_by_role("cell", name="Cancel"),
    ):
        assert place.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    expect(page.get_by_role("toolbar", name="Runs")).to_contain_text(re.compile("1 (top-level|pipeline) run"))


@pytest.mark.parametrize(("width", "theme"), LOOKS)
@pytest.mark.parametrize(
    "path",
    [
        "/experiments/",
        "/experiments/digits-mlp/?open=12,13",
        "/runs/?q=tag:quality=good",
        "/runs/?q=duration:>two",
        "/pipelines/",
        "/columns/runs/",
    ],
)
def test_a_list_has_no_barriers_and_fits(
    open_page: Callable[..., Page],
    axe: Callable[[Page], list[str]],
    ana: User,
    path: str,
    width: int,
    theme: str,
) -> None:
    fill()
    page = open_page(path, user=ana, width=width, theme=theme)
    expect(page.locator("h1, h2").first).to_be_visible()
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


#: Whether this element is seen whole between the table's head and the lower edge of the window.
IS_FREE = """(selector) => {
    const box = document.querySelector(selector).getBoundingClientRect();
    const head = document.querySelector("th").getBoundingClientRect();
    return box.top >= head.bottom && box.bottom <= innerHeight;
}"""


def test_no_row_hides_under_the_head_of_the_table(open_page: Callable[..., Page], ana: User) -> None:
    for _ in range(45):
        make_run()
    page = open_page("/experiments/mnist/", user=ana)
    page.locator("tr[data-row] input.box").last.focus()
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
    assert page.evaluate("scrollY") > 0
    expect(page.locator("tr[data-row] :focus")).to_have_count(1)
    page.wait_for_function(IS_FREE, arg=":focus")
    for key in "j" * 45 + "k" * 40:
        page.keyboard.press(key)
    assert page.evaluate("scrollY") > 0
    page.wait_for_function(IS_FREE, arg="tr[data-current]")


def test_a_search_is_typed_by_keyboard_alone(open_page: Callable[..., Page], ana: User) -> None:
    fill()
    page = open_page("/runs/", user=ana)
    page.keyboard.press("/")
    bar = page.locator("#run-q")
    expect(bar).to_be_focused()
    page.keyboard.type("experiment:digits-mlp tag:quality=fan")
    option = page.get_by_role("option", name='tag:quality="fantastic run"')
    expect(option).to_be_visible()
    page.keyboard.press("Tab")
    expect(bar).to_have_value('experiment:digits-mlp tag:quality="fantastic run" ')
    expect(page.locator(".search-tokens .token").first).to_have_text("experiment:digits-mlp")
    page.keyboard.press("Escape")
    expect(page.locator(".completions")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    expect(page.locator("tr[data-row]")).to_contain_text("in width 512")
    assert "tag%3Aquality" in page.url


def test_completions_stay_whole_while_the_list_changes(
    open_page: Callable[..., Page], axe: Callable[[Page], list[str]], ana: User
) -> None:
    fill()
    page = open_page("/runs/", user=ana)
    bar = page.locator("#run-q")
    bar.focus()
    expect(bar).to_have_attribute("role", "combobox")  # the module has come
    page.keyboard.type("tag:")
    expect(page.locator("#completions")).to_have_attribute("data-end", "4")  # what was asked last is answered
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    chosen = page.locator('[role="option"][aria-selected="true"]').get_attribute("id") or ""
    make_run(display_name="from elsewhere")
    expect(page.locator("tr[data-row]", has_text="from elsewhere")).to_have_count(1)
    expect(bar).to_have_attribute("aria-expanded", "true")
    expect(bar).to_have_attribute("aria-activedescendant", chosen)
    assert axe(page) == []
    page.keyboard.press("Escape")
    expect(page.locator(".completions")).to_have_count(0)
    expect(bar).to_have_attribute("aria-expanded", "false")
    expect(bar).not_to_have_attribute("aria-activedescendant", chosen)


@pytest.mark.parametrize("width", [800, 1120, 1440])
def test_figures_stand_on_one_line(open_page: Callable[..., Page], ana: User, width: int) -> None:
    for _ in range(201):
        make_run(status=Status.NOT_RESPONDING)
    page = open_page("/experiments/mnist/", user=ana, width=width)
    figure = page.locator(".kpi dd").first
    expect(figure).to_contain_text("201 not responding")
    box = figure.bounding_box()
    assert box
    assert box["height"] < 36
    assert figure.evaluate("figure => figure.scrollWidth <= figure.clientWidth")


def test_what_is_wrong_gets_a_wavy_line(open_page: Callable[..., Page], ana: User) -> None:
    fill()
    page = open_page("/runs/?q=submitter:ana duration:>two", user=ana)
    expect(page.locator(".token-wrong")).to_have_text("duration:>two")
    expect(page.get_by_role("alert")).to_contain_text("At letter 25")


def test_a_list_stays_true_and_keeps_what_the_person_does(open_page: Callable[..., Page], ana: User) -> None:
    fill()
    page = open_page("/experiments/digits-mlp/", user=ana)
    row = page.locator("tr[data-row]", has_text="run Running")
    row.get_by_role("checkbox").check()
    page.locator("#run-q").fill("half typed")
    now = datetime.now(UTC)
    changed = {"status": Status.COMPLETED, "ended_at": now, "updated_at": now, "holds_slot": False}
    Run.objects.filter(display_name="run Running").update(**changed)
    expect(row.locator("td .status-word").first).to_have_text("Completed")
    expect(row.get_by_role("checkbox")).to_be_checked()
    expect(page.locator("#run-q")).to_have_value("half typed")
    expect(page.locator("[data-selection-count]")).to_have_text("1 selected")


def test_a_list_with_nothing_active_notices_what_others_submit(
    open_page: Callable[..., Page], ana: User
) -> None:
    make_run(experiment="quiet", display_name="old", status=Status.COMPLETED)
    page = open_page("/experiments/quiet/", user=ana)
    expect(page.locator("tr[data-row]")).to_have_count(1)
    run = make_run(
        experiment="quiet", display_name="new", status=Status.RUNNING, updated_at=datetime.now(UTC)
    )
    expect(page.locator("tr[data-row]")).to_have_count(2, timeout=60_000)
    now = datetime.now(UTC)
    changed = {"status": Status.COMPLETED, "ended_at": now, "updated_at": now, "holds_slot": False}
    Run.objects.filter(pk=run.pk).update(**changed)  # from now on it asks more often
    expect(page.locator("tr[data-row] .status-word").first).to_have_text("Completed")


def test_unfolding_keeps_the_place_and_the_address(open_page: Callable[..., Page], ana: User) -> None:
    fill()
    page = open_page("/experiments/digits-mlp/", user=ana)
    page.get_by_role("link", name="Child runs of sweep").click()
    page.get_by_role("link", name="Child runs of width 512").click()
    expect(page.locator("tr[data-depth='2']")).to_contain_text("fold 1")
    page.reload()
    expect(page.locator("tr[data-depth='2']")).to_contain_text("fold 1")


def test_runs_are_tagged_and_untagged_by_keyboard(open_page: Callable[..., Page], ana: User) -> None:
    fill()
    page = open_page("/experiments/churn/", user=ana)
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.get_by_role("button", name="Tag").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Tag", exact=True)).to_be_focused()
    page.keyboard.type("reviewed=yes")
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-row]")).to_contain_text("reviewed=yes")
    page.get_by_role("button", name="Undo").focus()
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-row]")).not_to_contain_text("reviewed=yes")


#: Keeps the first answer to a poll that has news until `release()`; data-held says that there is one.
HOLD_AN_ANSWER = """
    const ask = window.fetch;
    window.fetch = async (url, options) => {
        const answer = await ask(url, options);
        if (!document.body.dataset.held && answer.status === 200 && /pipelines[/][?].*seen=/.test(url)) {
            document.body.dataset.held = url;
            await new Promise((resolve) => { window.release = resolve; });
        }
        return answer;
    };
"""


def test_an_older_answer_does_not_fold_what_was_unfolded(open_page: Callable[..., Page], ana: User) -> None:
    fill()
    page = open_page("/pipelines/", user=ana)
    page.evaluate(f"() => {{ {HOLD_AN_ANSWER} }}")
    Run.objects.filter(display_name="pipeline").update(description="new", updated_at=datetime.now(UTC))
    expect(page.locator("body[data-held]")).to_have_count(1)
    page.get_by_role("link", name="Child runs of pipeline").click()
    expect(page.locator("tr[data-depth='1']")).to_have_count(3)
    with page.expect_request("**/pipelines/?open=*"):  # the list asks on as it stands
        page.evaluate("release()")
    expect(page.locator("tr[data-depth='1']")).to_have_count(3)


WIDE = {"made": "keys", "quality": "good", "width": "512", "stage": "draft", "seed": "3"}


@pytest.mark.parametrize("path", ["/runs/", "/experiments/mnist/", "/experiments/mnist/runs/1/children/"])
def test_a_tag_in_a_list_is_whole_or_counted(ana: User, open_page: Callable[..., Page], path: str) -> None:
    parent = make_run(metrics={"loss": 0.5}, tags=WIDE)
    for n in range(1, 5):
        tags = dict(list(WIDE.items())[n:])
        make_run(metrics={"loss": 0.25}, tags={"id": str(n) * n, **tags}, parent=parent)
    make_run(tags={"made": "keys", "lr": "0.001"}, parent=parent)
    page = open_page(f"{path}?open=1" if path != "/runs/" else path, user=ana)
    for width in (1440, 1900):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(f"() => ({CUT_TAGS})().length === 0")
        page.wait_for_function(f"() => ({ROOM_LEFT})().length === 0")


def test_a_tag_longer_than_its_column_ends_in_dots(ana: User, open_page: Callable[..., Page]) -> None:
    make_run(tags={"long": "x" * 300, "seed": "3"})
    page = open_page("/runs/", user=ana)
    tags = page.locator(".tags")
    expect(tags.locator(".tag:visible")).to_have_count(1)
    expect(tags.get_by_text("+1", exact=True)).to_be_in_viewport(ratio=1)
    page.set_viewport_size({"width": 1500, "height": 900})
    expect(tags.get_by_text("+1", exact=True)).to_be_in_viewport(ratio=1)


#: Tags of which a part is missing, and rows where "+n" is not what is missing.
CUT_TAGS = """() => [...document.querySelectorAll(".table .tags")].flatMap((box) => {
  const room = box.getBoundingClientRect().right;
  const shown = [...box.querySelectorAll(".tag")].filter((tag) => tag.offsetParent);
  const isCut = (text) => text.scrollWidth > text.clientWidth;
  const isPast = (tag) => tag.getBoundingClientRect().right > room + 1;
  const cut = shown.filter((tag) => isCut(tag.querySelector(".tag-text")) || isPast(tag));
  const rest = box.querySelector("[data-tags]");
  const missing = rest ? rest.dataset.tags - shown.length : 0;
  const said = rest && rest.offsetParent ? Number(rest.textContent) : 0;
  return [...cut.map((tag) => tag.textContent), ...(said === missing ? [] : [`${said} of ${missing}`])];
})"""

#: What "+n" takes from the view although there was room for one more tag, and still for "+n".
ROOM_LEFT = """() => [...document.querySelectorAll(".table .tags")].flatMap((box) => {
  const rest = box.querySelector("[data-tags]");
  const next = [...box.querySelectorAll(".tag")].find((tag) => tag.hidden);
  if (!rest || !next) return [];
  const end = rest.getBoundingClientRect().right;
  next.hidden = false;
  const wide = next.offsetWidth + 4;
  next.hidden = true;
  return end + wide < box.getBoundingClientRect().right - 8 ? [next.textContent] : [];
})"""


@pytest.mark.parametrize(
    "path",
    ["/", "/experiments/", "/experiments/mnist/", "/runs/", "/compute/", "/experiments/mnist/runs/1/logs/"],
)
def test_the_key_of_a_search_is_shown_where_it_leads(
    ana: User, open_page: Callable[..., Page], path: str
) -> None:
    make_run()
    page = open_page(path, user=ana)
    badge = page.locator("kbd:visible", has_text=re.compile("^/$"))
    expect(badge).to_have_count(1)
    box = badge.locator("xpath=ancestor::*[contains(@class, 'search-box')]")
    page.keyboard.press("/")
    expect(box.locator("input[name=q]")).to_be_focused()
    page.keyboard.type("loss")
    expect(badge).to_have_count(0)


TURNED = "\u202ekey"


@pytest.mark.parametrize("path", ["/runs/", "/experiments/mnist/", "/experiments/mnist/runs/1/", "/submit/"])
def test_what_turns_in_a_tag_turns_nothing_beside_it(
    ana: User, open_page: Callable[..., Page], path: str
) -> None:
    make_run(tags={TURNED: "value"})
    page = open_page(path, user=ana)
    if path == "/submit/":
        page.locator("#run-dialog").evaluate("dialog => dialog.showModal()")
        page.locator("#tags-entry").fill(f"{TURNED}=value")
        page.locator("#tags-entry").press("Enter")
    expect(page.locator(".tag-key")).to_be_visible()
    page.wait_for_function(f"({ORDER_OF_TAG})() === 'ye=v'")  # once tags are measured, which may come later


def test_what_turns_in_a_name_turns_nothing_beside_it(ana: User, open_page: Callable[..., Page]) -> None:
    parent = make_run(display_name="\u202eevil run")
    make_run(parent=parent, display_name="below")
    page = open_page("/runs/?q=below", user=ana)
    lefts = page.locator(".parent-hint").evaluate(
        """(hint) => ["in ", "evil", " #1"].map((text) => {
          const all = document.createTreeWalker(hint, NodeFilter.SHOW_TEXT);
          while (all.nextNode() && !all.currentNode.data.includes(text));
          const range = document.createRange();
          const at = all.currentNode.data.indexOf(text);
          range.setStart(all.currentNode, at);
          range.setEnd(all.currentNode, at + text.length);
          return range.getBoundingClientRect().left;
        })"""
    )
    assert lefts == sorted(lefts)


#: Some letters of a tag key=value whose key is turned, from left to right as they stand on the page.
ORDER_OF_TAG = """() => {
  const all = document.createTreeWalker(document.querySelector(".tag:has(.tag-key)"), NodeFilter.SHOW_TEXT);
  const found = [];
  while (all.nextNode()) {
    for (const letter of ["e", "y", "=", "v"]) {
      const at = all.currentNode.data.indexOf(letter);
      if (at < 0 || found.some((one) => one.letter === letter)) continue;
      const range = document.createRange();
      range.setStart(all.currentNode, at);
      range.setEnd(all.currentNode, at + 1);
      found.push({ letter, left: range.getBoundingClientRect().left });
    }
  }
  return found.sort((one, other) => one.left - other.left).map((one) => one.letter).join("");
}"""
