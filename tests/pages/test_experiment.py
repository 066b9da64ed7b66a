"""An experiment's page: figures, runs folded under their parents, its dialogs, and what it costs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs.lists import runs as run_lists
from runs.lists.columns import COLUMNS
from runs.lists.export import safe_cell
from runs.models import Experiment, Run
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.factories import make_experiment, make_run, make_target

HTMX = {"HX-Request": "true", "HX-Target": "div#run-list"}
URL = "/experiments/mnist/"
ClientOf = Callable[[User], Client]


def settle() -> None:
    """Let the last change of every experiment be long past: a change just now is always news."""
    Experiment.objects.update(updated_at=datetime.now(UTC) - timedelta(hours=1))


def shown(response: object) -> list[str]:
    """The lines of the table: one > for each level, and the name."""
    rows = response.context["rows"]  # type: ignore[attr-defined]
    return [">" * row.depth + ("…" if row.unseen else row.run.name) for row in rows]


def make_sweep() -> Run:
    """A run, a sweep with two children, one of which has a child that failed, and a run."""
    make_run(display_name="first")
    sweep = make_run(display_name="sweep", kind=Kind.INTERACTIVE, status=Status.RUNNING)
    make_run(display_name="width 1", parent=sweep)
    width = make_run(display_name="width 2", parent=sweep, status=Status.FAILED)
    make_run(display_name="fold", parent=width, status=Status.FAILED)
    make_run(display_name="last")
    return sweep


def test_figures_count_what_is_active_and_what_ended_this_week(ana: User, client_of: ClientOf) -> None:
    gpu = make_target("gpu")
    make_run(status=Status.RUNNING, target=gpu)
    make_run(status=Status.QUEUED, target=gpu)
    make_run(status=Status.NOT_STARTED)
    for minutes in (1, 2, 6):
        start = datetime.now(UTC) - timedelta(hours=1)
        make_run(started_at=start, ended_at=start + timedelta(minutes=minutes))
    make_run(status=Status.FAILED)
    old = datetime.now(UTC) - timedelta(days=30)
    make_run(status=Status.FAILED, created_at=old)
    figures = client_of(ana).get(URL).context["figures"]
    assert (figures.active, figures.queued, figures.targets) == (2, 1, ["gpu"])
    assert (str(figures.completed_7d), str(figures.failed_7d)) == ("3", "1")
    assert figures.median == timedelta(minutes=2)


def test_children_are_folded_until_the_address_unfolds_them(ana: User, client_of: ClientOf) -> None:
    make_sweep()
    client = client_of(ana)
    folded = client.get(URL)
    assert shown(folded) == ["last", "sweep", "first"]
    row = folded.context["rows"][1]
    assert (row.children, row.failed_children, row.toggled) == (2, 1, "2")
    assert shown(client.get(f"{URL}?open=2")) == ["last", "sweep", ">width 2", ">width 1", "first"]
    both = client.get(f"{URL}?open=2,4")
    assert shown(both) == ["last", "sweep", ">width 2", ">>fold", ">width 1", "first"]
    assert [row.toggled for row in both.context["rows"] if row.children] == ["4", "2"]
    assert shown(client.get(f"{URL}?open=4")) == ["last", "sweep", "first"]


@pytest.mark.parametrize("keys", ["99999", "x,-1,%00", "2," * 500, "9" * 40])
def test_unfolding_nonsense_is_no_error(ana: User, client_of: ClientOf, keys: str) -> None:
    make_sweep()
    assert client_of(ana).get(f"{URL}?open={keys}").status_code == 200


def test_more_children_than_fit_lead_to_the_run(
    ana: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lists, "UNFOLDED", 1)
    make_sweep()
    response = client_of(ana).get(f"{URL}?open=2")
    assert shown(response) == ["last", "sweep", ">width 2", ">…", "first"]
    assert b"1 more child run of sweep" in response.content


def test_a_search_lists_flat_with_a_hint_at_the_parent(ana: User, client_of: ClientOf) -> None:
    make_sweep()
    response = client_of(ana).get(f"{URL}?q=width")
    assert shown(response) == ["width 2", "width 1"]
    assert b"in <bdi>sweep</bdi> #2" in response.content
    assert "2 runs found" in response.context["label"]


def test_chips_choose_by_status_and_count(ana: User, client_of: ClientOf) -> None:
    make_sweep()
    make_run(archived_at=datetime.now(UTC), display_name="away")
    client = client_of(ana)
    chips = {chip["key"]: str(chip["count"]) for chip in client.get(URL).context["chips"]}
    assert chips == {"": "6", "active": "1", "queued": "0", "completed": "3", "failed": "2", "canceled": "0",
                     "archived": "1"}  # fmt: skip
    assert shown(client.get(f"{URL}?show=failed")) == ["fold", "width 2"]
    assert shown(client.get(f"{URL}?show=failed&q=fold")) == ["fold"]
    assert shown(client.get(f"{URL}?show=archived")) == ["away"]
    assert "away" not in shown(client.get(URL))


def test_a_search_that_cannot_be_read_shows_why_and_no_rows(ana: User, client_of: ClientOf) -> None:
    make_sweep()
    response = client_of(ana).get(f"{URL}?q=duration:>two")
    assert response.status_code == 200
    assert response.context["runs"].bad.position == 11
    assert b"At letter 11" in response.content
    assert shown(response) == []
    assert b'value="duration:&gt;two"' in response.content


@pytest.mark.parametrize("order", ["created", "-duration", "name", "status", "submitter", "target", "number"])
def test_every_column_sorts(ana: User, client_of: ClientOf, order: str) -> None:
    make_sweep()
    response = client_of(ana).get(f"{URL}?order={order}")
    assert sorted(shown(response)) == ["first", "last", "sweep"]
    assert b"aria-sort=" in response.content


def test_pages_are_cut_by_cursor(ana: User, client_of: ClientOf) -> None:
    for number in range(1, 61):
        make_run(display_name=f"r{number}")
    client = client_of(ana)
    first = client.get(URL)
    assert shown(first) == [f"r{n}" for n in range(60, 10, -1)]
    second = client.get(f"{URL}?after={first.context['page'].next_cursor}")
    assert shown(second) == [f"r{n}" for n in range(10, 0, -1)]
    assert client.get(f"{URL}?after=quagga").context["page"].is_lost


def test_columns_are_kept_for_the_person(ben: User, ana: User, client_of: ClientOf) -> None:
    make_run()
    client = client_of(ben)
    assert b'name="column"' in client.get("/columns/experiment/").content
    response = client.post("/columns/experiment/", {"column": ["status", "node", "quagga"], "next": URL})
    assert (response.status_code, response["Location"]) == (303, URL)
    assert [c.key for c in client.get(URL).context["columns"]] == ["status", "node"]
    assert len(client_of(ana).get(URL).context["columns"]) == 6
    client.post("/columns/experiment/", {"reset": "1"})
    assert len(client.get(URL).context["columns"]) == 6
    assert client.get("/columns/quagga/").status_code == 404


@pytest.mark.parametrize("elsewhere", ["abc", "run-list", "//evil.example/", "https://evil.example/"])
def test_columns_lead_back_to_a_page_of_studio(ana: User, client_of: ClientOf, elsewhere: str) -> None:
    response = client_of(ana).post("/columns/runs/", {"column": ["status"], "next": elsewhere})
    assert (response.status_code, response["Location"]) == (303, "/runs/")


def test_many_columns_scroll_within_the_table(ana: User, client_of: ClientOf) -> None:
    make_run()
    client = client_of(ana)
    assert client.get(URL).context["scrolls"] == ""
    client.post("/columns/experiment/", {"column": list(COLUMNS)})
    assert b"wide-scrolls mid-scrolls slim-scrolls" in client.get(URL).content
    client.post("/columns/runs/", {"column": list(COLUMNS)})
    assert b"wide-scrolls mid-scrolls slim-scrolls" in client.get("/runs/").content


def test_other_columns_are_another_version(ana: User, client_of: ClientOf) -> None:
    make_run()
    settle()
    client = client_of(ana)
    url = client.get(URL).context["part_url"]
    assert client.get(url, headers=HTMX).status_code == 204
    client.post("/columns/experiment/", {"column": ["status"]}, headers={"HX-Request": "true"})
    assert client.get(url, headers=HTMX).status_code == 200


def test_the_csv_has_every_match_and_no_formulas(ana: User, client_of: ClientOf) -> None:
    sweep = make_sweep()
    make_run(display_name="=HYPERLINK(1)", tags={"@a": "x", "b": None})
    response = client_of(ana).get(f"{URL}?format=csv")
    text = b"".join(response.streaming_content).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 7
    assert rows[0]["name"] == "'=HYPERLINK(1)"
    assert rows[0]["tags"] == "'@a=x b"
    assert rows[2]["parent"] == Run.objects.get(display_name="width 2").run_id
    assert rows[3]["parent"] == sweep.run_id
    assert response["Content-Disposition"].startswith('attachment; filename="mnist-')


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", " =1", "＝1"])
def test_a_cell_that_would_be_calculated_gets_a_quote(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


def test_an_ordinary_cell_stays_as_it_is() -> None:
    assert safe_cell("lr=0.1") == "lr=0.1"


def test_description_and_tags_are_edited(ana: User, client_of: ClientOf) -> None:
    make_run()
    client = client_of(ana)
    assert b"Edit mnist" in client.get(f"{URL}edit/").content
    response = client.post(
        f"{URL}edit/", {"description": "What **helps**?", "tags": "team=vision\n\nbaseline"}
    )
    assert (response.status_code, response["Location"]) == (302, URL)
    experiment = Experiment.objects.get(name="mnist")
    assert experiment.tags == {"team": "vision", "baseline": None}
    page = client.get(URL).content
    assert b"<strong>helps</strong>" in page
    assert b"vision" in page


def test_a_wrong_tag_keeps_what_was_typed(ana: User, client_of: ClientOf) -> None:
    make_run()
    response = client_of(ana).post(f"{URL}edit/", {"description": "kept", "tags": "=vision"})
    assert response.status_code == 422
    assert b"kept" in response.content
    assert b"=vision" in response.content
    assert b"A tag needs a key" in response.content


def test_archiving_can_be_undone_and_is_refused_while_runs_are_active(ana: User, client_of: ClientOf) -> None:
    run = make_run(status=Status.RUNNING)
    client = client_of(ana)
    client.post(f"{URL}archive/")
    assert Experiment.objects.get().archived_at is None
    Run.objects.filter(pk=run.pk).update(
        status=Status.COMPLETED, ended_at=datetime.now(UTC), holds_slot=False
    )
    client.post(f"{URL}archive/")
    assert Experiment.objects.get().archived_at is not None
    assert b"Unarchive" in client.get(URL).content
    client.post(f"{URL}unarchive/")
    assert Experiment.objects.get().archived_at is None


def test_a_reader_looks_and_changes_nothing(ben: User, client_of: ClientOf) -> None:
    make_run()
    client = client_of(ben)
    page = client.get(URL).content
    assert b'name="action"' not in page
    assert b"/edit/" not in page
    assert client.get(f"{URL}edit/").status_code == 403
    for path in ("edit", "archive", "unarchive", "actions"):
        assert client.post(f"{URL}{path}/").status_code == 403


def test_an_experiment_without_runs_teaches(ana: User, client_of: ClientOf) -> None:
    make_experiment("empty")
    page = client_of(ana).get("/experiments/empty/").content
    assert b"No runs yet" in page
    assert b"/submit/?experiment=empty" in page


def test_where_all_runs_are_archived_it_says_so_and_leads_to_them(ana: User, client_of: ClientOf) -> None:
    sweep = make_run(display_name="sweep")
    child = make_run(display_name="child", parent=sweep)
    client = client_of(ana)
    client.get(URL)  # a process looks once whether the database has its search index
    with CaptureQueriesContext(connection) as with_rows:
        client.get(URL)
    Run.objects.filter(pk=sweep.pk).update(archived_at=datetime.now(UTC))
    with CaptureQueriesContext(connection) as without:
        response = client.get(URL)
    # whether any is archived, not: the runs of the page · their tags · how many children each has
    assert len(without) <= len(with_rows)
    page = response.content.decode()
    assert "No runs yet" not in page
    assert "The top-level runs are archived" in page
    assert shown(client.get(URL + way(page, "Show the archived runs"))) == ["sweep"]
    assert shown(client.get(URL + way(page, "Show the child runs"))) == ["child"]
    Run.objects.filter(pk=child.pk).update(archived_at=datetime.now(UTC))
    page = client.get(URL).content.decode()
    assert "All runs here are archived" in page
    assert "Show the child runs" not in page
    assert shown(client.get(URL + way(page, "Show the archived runs"))) == ["child", "sweep"]
    assert "No run matches" in client.get(f"{URL}?show=failed").content.decode()


def way(page: str, label: str) -> str:
    """The address of the link that says this."""
    return unescape(re.findall(f'href="([^"]*)">{label}</a>', page)[0])


def test_parts_are_204_until_something_changes(ana: User, client_of: ClientOf) -> None:
    run = make_run(status=Status.RUNNING)
    settle()
    client = client_of(ana)
    page = client.get(URL)
    figures = {**HTMX, "HX-Target": "div#experiment-figures"}
    for url, headers in ((page.context["part_url"], HTMX), (page.context["figures_url"], figures)):
        # session with person and membership · experiment with its version
        with CaptureQueriesContext(connection) as queries:
            assert client.get(url, headers=headers).status_code == 204
        assert len(queries) == 2
    Run.objects.filter(pk=run.pk).update(updated_at=datetime.now(UTC) + timedelta(seconds=1))
    assert (
        client.get(page.context["part_url"], headers=HTMX).content.lstrip().startswith(b'<div id="run-list"')
    )
    assert b'id="experiment-figures"' in client.get(page.context["figures_url"], headers=figures).content


def test_the_number_of_queries_does_not_depend_on_the_rows(ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    client.get("/runs/")  # a process looks once whether the database has its search index
    counted = []
    for upto in (3, 30):
        for _ in range(upto):
            sweep = make_run(kind=Kind.INTERACTIVE, tags={"a": "b"})
            make_run(parent=sweep, tags={"c": "d"})
        opened = ",".join(str(run.number) for run in Run.objects.filter(parent=None).order_by("-pk")[:50])
        for url in (URL, f"{URL}?open={opened}", f"{URL}?q=is:child"):
            with CaptureQueriesContext(connection) as queries:
                client.get(url)
            counted.append(len(queries))
    # session with person and membership · experiment with its version · keys of the page · its runs ·
    # their tags · how many children each has · counts of the chips · active runs by status and target ·
    # counts of the week · runs of the chart · whose metrics there are · shell
    whole = 12
    # and: which children · their rows · their tags
    unfolded = whole + 3
    # and: how far back the search looks, then the parents of what was found instead of numbers of children
    found = whole + 1
    assert counted[:3] == [whole, unfolded, found]
    assert counted[3:] == counted[:3]
