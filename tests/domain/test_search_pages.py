"""Pages of a search: complete, in order, forth and back, at a fixed cost, whatever the link says."""

from __future__ import annotations

import base64
import json
import math
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.models import Run, Tag
from runs.search.cursors import ORDERS
from runs.search.nodes import Not, Query
from runs.search.parser import parse
from runs.search.query import Search
from runs.status import ErrorClass, Kind, Status
from tests.domain.search_kit import NOW, World, make_world
from tests.factories import log_metrics

pytestmark = pytest.mark.django_db

PEOPLE = ["ana", "ben", "", "ana"]
TAGS = [{"quality": "good"}, {"quality": "bad", "lr": "0.1"}, {}]
STATUSES = [Status.COMPLETED, Status.FAILED, Status.RUNNING, Status.QUEUED, Status.CANCELED]


@pytest.fixture
def world() -> World:
    """Twenty-five runs that differ in everything one can sort by; every fifth is archived."""
    world = make_world()
    for n in range(25):
        status = STATUSES[n % 5]
        world.run(
            f"r{n:02}",
            experiment=["mnist", "digits"][n % 2],
            submitter=PEOPLE[n % 4],
            target=["local", "", "gpu-compute"][n % 3],
            tags=TAGS[n % 3],
            description=["common word", "rare zebrafish", ""][n % 3] if n != 7 else "unique",
            status=status,
            error_class=ErrorClass.SCRIPT if status == Status.FAILED else "",
            lasted=None if status == Status.QUEUED else timedelta(seconds=(n * 37) % 11),
            kind=Kind.PIPELINE if n == 0 else Kind.STEP if n == 1 else Kind.SCRIPT,
            parent="r00" if n == 1 else "",
            metrics={"accuracy": n / 25} if n % 2 else {},
            age=timedelta(days=25 - n),
            archived_at=NOW if n % 5 == 4 else None,
        )
    return world


def walk(world: World, text: str, *, order: str = "-created", size: int = 4, note: str = "") -> list[str]:
    """Names on all pages, first to last, after checking that the way back shows the same pages.

    The first page has this note, the others none.
    """
    pages, cursors = [], [""]
    while True:
        page = world.search(text).page(after=cursors[-1], size=size, order=order)
        assert page.note == ("" if pages else note)
        pages.append([run.display_name for run in page.rows])
        if not page.next_cursor:
            break
        cursors.append(page.next_cursor)
    back = page.prev_cursor
    for earlier in reversed(pages[:-1]):
        page = world.search(text).page(after=back, size=size, order=order)
        assert [run.display_name for run in page.rows] == earlier
        back = page.prev_cursor
    assert back == ""
    assert all(len(names) == size for names in pages[:-1])
    return [name for names in pages for name in names]


def test_counts_stop_sooner_where_each_run_costs_more(world, monkeypatch):
    monkeypatch.setattr("runs.search.query.COUNTED", 4)
    monkeypatch.setattr("runs.search.query.COSTLY_COUNTED", 2)
    for text, counted in (("", 4), ("-status:Canceled", 4), ("common", 2), ("tag:quality", 2)):
        search = world.search(text)
        search.page(size=1)
        assert search.count() == (counted, True), text


@pytest.mark.parametrize(
    "text", ["", "tag:quality=good", "common", "unique", "status:failed", "-tag:quality", "zz"]
)
@pytest.mark.parametrize("size", [1, 4, 100])
def test_pages_hold_everything_once_and_the_way_back_is_the_same(world, text, size):
    everything = world.search(text).matching().order_by("-pk").values_list("display_name", flat=True)
    assert walk(world, text, size=size) == list(everything)


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("text", ["", "tag:quality -zz"])
def test_every_order_sorts_and_pages(world, by, sign, text):
    names = walk(world, text, order=sign + by)
    whole = world.search(text).page(size=100, order=sign + by)
    assert names == [run.display_name for run in whole.rows]
    assert sorted(names) == sorted(world.search(text).matching().values_list("display_name", flat=True))
    values = [_sort_value(run, by) for run in whole.rows]
    assert values == sorted(values, reverse=sign == "-")


def _sort_value(run: Run, by: str):
    lasted = ((run.ended_at or NOW) - run.started_at).total_seconds() if run.started_at else -1
    return {
        "created": run.created_at,
        "number": run.number,
        "duration": lasted,
        "name": run.display_name,
        "status": run.status,
        "submitter": run.submitter.username if run.submitter else "",
        "target": run.target.name if run.target else "",
        "experiment": run.experiment.name,
    }[by]


METRICS = {
    "half": [0.25, 0.5], "two": [3.0, 2.0], "tie": [0.5], "negative": [-1.0], "large": [1e300],
    "nan": [0.75, math.nan], "inf": [math.inf], "-inf": [0.5, -math.inf], "text": ["Hello"], "none": [],
    "other": [], "all nan": [math.nan],
}  # fmt: skip


@pytest.mark.parametrize("size", [1, 5, 100])
@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("-metric:last:loss", "inf,large,two,tie,half,negative,-inf,all nan,text,nan,other,none"),
        ("metric:last:loss", "-inf,negative,tie,half,two,large,inf,all nan,text,nan,other,none"),
        ("-metric:max:loss", "large,two,nan,-inf,tie,half,negative,all nan,other,none,text,inf"),
        ("metric:min:loss", "negative,half,-inf,tie,nan,two,large,all nan,other,none,text,inf"),
        ("metric:last:none of them", "all nan,other,none,text,-inf,inf,nan,large,negative,tie,two,half"),
    ],
)
def test_by_a_metric_numbers_come_first_and_runs_without_it_last(size, order, names):
    world = make_world()
    for name, values in METRICS.items():
        run = world.run(name)
        log_metrics(run, {"other": [9.0], **({"loss": values} if values else {})})
    note = "No run here has a number of none of them; these are the newest first." if "none" in order else ""
    assert walk(world, "", order=order, size=size, note=note) == names.split(",")
    assert walk(world, "experiment:mnist", order=order, size=size, note=note) == names.split(",")
    assert [run.display_name for run in world.search("").ordered(order)] == names.split(",")


def test_the_longest_running_comes_first_when_sorted_by_duration(world):
    first = world.search("").page(order="-duration").rows[0]
    assert first.status == Status.RUNNING
    assert first.display_name == "r02"


def test_runs_that_come_meanwhile_shift_nothing(world):
    page = world.search("").page(size=5)
    world.run("newer")
    after = world.search("").page(size=5, after=page.next_cursor)
    assert [run.display_name for run in after.rows] == ["r17", "r16", "r15", "r13", "r12"]
    assert [run.display_name for run in world.search("").page(size=5, after=after.prev_cursor).rows] == [
        run.display_name for run in page.rows
    ]


# Links that are old, broken or made up --------------------------------------------------------------------


def packed(*parts) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


BAD_CURSORS = [
    "x",
    "🙈",
    "A" * 5_000,
    packed(),
    packed("-created"),
    packed("created", 5, 5, 0, 0),
    packed("-created", "5", 5, 0, 0),
    packed("-created", 5, -5, 0, 0),
    packed("-created", 5, 10**30, 0, 0),
    packed("-created", 5, 5.5, 0, 0),
    packed("-created", 5, 5, 10**30, 0),
    packed("-created", 5, 5, 0, 7),
    packed("-created", None, None, None, None),
    packed("-created", True, 5, 0, 0),
    packed(["-created"], 5, 5, 0, 0),
    base64.urlsafe_b64encode(b"\xff\xfe\x00").decode(),
]


@pytest.mark.parametrize("cursor", BAD_CURSORS)
def test_a_cursor_that_cannot_be_read_gives_the_first_page_and_says_so(world, cursor):
    page = world.search("").page(after=cursor, size=5)
    assert page.rows[0].display_name == "r23"
    assert page.is_lost
    assert not world.search("").page(after=page.next_cursor, size=5).is_lost


@pytest.mark.parametrize(
    ("order", "value"), [
        ("name", "a\0b"), ("-duration", 1e400), ("number", 2**70), ("name", "\ud800"),
        ("metric:last:loss", 1e400), ("metric:last:loss", 2**70), ("metric:last:loss", "1"),
    ],
)  # fmt: skip
def test_a_cursor_with_an_impossible_value_gives_the_first_page(world, order, value):
    page = world.search("").page(after=packed(order, value, 5, 0, 0), order=order, size=5)
    assert len(page.rows) == 5
    assert page.is_lost


def test_a_cursor_past_the_end_gives_an_empty_page_that_leads_back(world):
    page = world.search("").page(after=packed("-created", 0, 0, 0, 0), size=5)
    assert page.rows == []
    assert page.next_cursor == ""
    assert "nothing on this page any more" in page.note
    back = world.search("").page(after=page.prev_cursor, size=5)
    assert [run.display_name for run in back.rows] == ["r05", "r03", "r02", "r01", "r00"]


@pytest.mark.parametrize("order", ["-created", "created", "-number", "status"])
def test_a_page_whose_runs_are_gone_leads_back_to_what_is_left(world, order):
    first = world.search("").page(size=15, order=order)
    last = world.search("").page(size=15, order=order, after=first.next_cursor)
    Run.objects.filter(pk__in=[run.pk for run in last.rows]).update(archived_at=NOW)
    empty = world.search("").page(size=15, order=order, after=first.next_cursor)
    assert empty.rows == []
    back = world.search("").page(size=15, order=order, after=empty.prev_cursor)
    assert [run.pk for run in back.rows] == [run.pk for run in first.rows]


def test_the_page_before_the_first_is_the_first(world):
    page = world.search("").page(after=packed("-created", 2**40, 2**40, 0, 1), size=5)
    assert page.rows[0].display_name == "r23"
    assert page.prev_cursor == ""
    assert page.next_cursor


@pytest.mark.parametrize(
    "order", ["password; --", "metric:", "metric:last", "metric:last:", "metric:mean:loss", "metric:last:a\0"]
)
def test_an_unknown_order_gives_the_newest_first_and_says_so(world, order):
    page = world.search("").page(order=order, size=5)
    assert page.rows[0].display_name == "r23"
    assert "order is not known" in page.note


# Windows: what is read, what is sought, and what is said about the rest ------------------------------------


@pytest.mark.parametrize(
    "text", ["tag:quality=good", "common", "unique", "status:failed submitter:ana", "common OR unique"]
)
@pytest.mark.parametrize("window", [1, 3, 7, 24, 25, 26])
def test_what_is_beyond_the_window_is_sought(world, text, window):
    names = list(world.search(text).matching().order_by("-pk").values_list("display_name", flat=True))
    for size in (1, 2, 100):
        found, after = [], ""
        while True:
            search = world.search(text)
            search.window = window
            page = search.page(size=size, after=after)
            found += [run.display_name for run in page.rows]
            after = page.next_cursor
            if not after:
                break
        assert found == names
        assert page.note == ""


@pytest.mark.parametrize("text", ["zz OR r0", "duration:>9s", "-tag:quality", "created:<2026-11-05"])
@pytest.mark.parametrize("order", ["-created", "created"])
def test_what_no_index_serves_is_read_page_after_page(world, text, order):
    names = list(world.search(text).matching().order_by("pk" if order == "created" else "-pk"))
    found, after, notes = [], "", 0
    while True:
        search = world.search(text)
        search.scan = 6
        page = search.page(size=3, after=after, order=order)
        found += page.rows
        notes += "looked through for this page" in page.note
        after = page.next_cursor
        if not after:
            break
    assert found == names
    assert notes


def test_short_words_say_how_far_they_were_looked_for(world):
    search = world.search("r0")
    search.scan = 20
    assert search.count() == (4, True)
    page = search.page()
    assert page.note == "20 runs were looked through for this page; the next one looks further."
    assert page.next_cursor


def test_a_page_read_backwards_goes_on_backwards(world):
    search = world.search("r2")
    last = world.search("r0").page(size=100).rows[-1]
    search.scan = 10
    before = packed("-created", last.pk, last.pk, 0, 1)
    names: list[str] = []
    while before:
        search = world.search("r2")
        search.scan = 10
        page = search.page(size=2, after=before)
        names = [run.display_name for run in page.rows] + names
        before = page.prev_cursor
    assert names == ["r23", "r22", "r21", "r20"]


def test_sorting_says_when_it_sorts_only_the_newest(world):
    search = world.search("r1")
    search.scan = 10
    page = search.page(order="name")
    assert page.note == "Only the newest 10 runs are sorted here."


# Counting and cost ----------------------------------------------------------------------------------------


def test_counts_stop_at_the_limit(world):
    scope = Run.objects.in_workspace(world.workspace)
    assert Search(scope, parse("")).count() == (20, False)
    assert Search(scope, parse("")).count(20) == (20, False)
    assert Search(scope, parse("")).count(19) == (19, True)
    assert Search(scope, parse("tag:quality")).count(5) == (5, True)
    assert Search(scope, parse(""), archived=True).count() == (25, False)


@pytest.mark.parametrize(
    "text", ["", "tag:quality=good", "common", "unique", "zz", "tag:quality=good OR common"]
)
def test_a_count_after_a_page_is_the_same(world, text):
    for size in (2, 100):
        search = world.search(text)
        search.page(size=size)
        assert search.count() == world.search(text).count()
        assert search.count(limit=1) == world.search(text).count(limit=1)


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ("", 3),  # keys; rows; their tags (a page that is not full knows the count)
        ("tag:quality=good", 4),  # end of the window; keys; rows; tags
        ("submitter:ana", 5),  # and the key of the person
        ("experiment:mnist submitter:ana", 6),  # and the key of the experiment
        ("zz", 2),  # end of the window; keys: there is nothing to load or to count
    ],
)
def test_a_page_and_its_count_cost_a_fixed_number_of_queries(world, django_assert_num_queries, text, queries):
    world.search("common").page()  # asks once per process whether there is an index
    for _ in range(2):
        with django_assert_num_queries(queries):
            search = Search(Run.objects.in_workspace(world.workspace).for_table(), parse(text))
            page = search.page()
            for run in page.rows:
                assert run.experiment.name
                assert run.labels is not None
            search.count()
        for _ in range(5):
            world.run(f"more {len(world.runs)}", tags={"quality": "good"})


def test_me_is_whoever_asks(world):
    scope = Run.objects.in_workspace(world.workspace)
    page = Search(scope, parse("submitter:@me"), person=world.person("ben")).page(size=2, order="created")
    assert [run.display_name for run in page.rows] == ["r01", "r05"]


def test_a_scope_is_kept(world):
    digits = Run.objects.filter(experiment__name="digits")
    search = Search(digits, parse("tag:quality=good"))
    assert {run.experiment.name for run in search.page().rows} == {"digits"}
    assert search.count() == (3, False)


# What must hold for any search ----------------------------------------------------------------------------

ATOMS = [
    "common", "zebrafish", "ana", "r1", "mnist", "rare", "*", "status:failed", "status:running,queued",
    "is:active", "is:terminal", "is:archived", "is:child", "kind:pipeline", "error:script",
    "submitter:ana", "submitter:*", "submitter:b*", "target:local", "target:*", "node:x",
    "tag:quality", "tag:quality=good", "tag:qual*", "tag:*", "tag:lr=0.1", "property:x",
    "metric:accuracy", "metric:accuracy>0.5", "metric:accuracy!=0.04", "number:>3", "number:!=3",
    "duration:>5s", "duration:=7s", "duration:!=7s", "created:<2026-11-10", "created:>7d",
    "created:!=2026-11-10", "started:<7d", "ended:>=5d", "name:r1", "description:rare",
    "description:*", "parent:nope", "id:nope",
]  # fmt: skip
SEARCHES = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        inner.map(lambda a: f"-({a})"),
        st.tuples(inner, inner).map(lambda ab: f"({ab[0]} {ab[1]})"),
        st.tuples(inner, inner).map(lambda ab: f"({ab[0]} OR {ab[1]})"),
    ),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=SEARCHES)
def test_any_search_means_the_same_in_every_form(world, text):
    query = parse(text)
    names = _names(world, query, window=5_000)
    assert _names(world, query, window=1) == names
    assert _names(world, query, window=6) == names
    negated = _names(world, Query(query.root.node if isinstance(query.root, Not) else Not(query.root)))
    assert sorted(names + negated) == sorted(_names(world, parse("")))
    conditions = world.search(text).conditions
    if conditions.seekable(query.root):
        scope = Run.objects.in_workspace(world.workspace)
        sought = scope.filter(conditions.seeking(query.root)).values_list("pk", flat=True)
        assert sorted(sought) == sorted(
            scope.filter(conditions.reading(query.root)).values_list("pk", flat=True)
        )


def _names(world: World, query: Query, window: int = 5_000) -> list[str]:
    search = Search(Run.objects.in_workspace(world.workspace), query, now=NOW, archived=True)
    search.window = window
    page = search.page(size=100)
    assert search.count() == (len(page.rows), False)
    return [run.display_name for run in page.rows]


def test_labels_are_folded_however_they_are_written(world):
    run = world.runs["r00"]
    Tag.objects.bulk_create([Tag(run=run, key="Größe", value="XL")])
    assert world.found("tag:GRÖSSE=xl") == "r00"
    tag = run.tags.get(key="Größe")
    tag.value = "S"
    tag.save(update_fields=["value", "folded"])
    assert world.found("tag:größe=s") == "r00"
    Tag.objects.update_or_create(run=run, key="Größe", defaults={"value": "M"})
    assert world.found("tag:größe=m") == "r00"
