"""The Runs page: bar and panel are one search, rows, pages, the live part, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs.lists import columns
from runs.models import Experiment, Run
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.factories import make_experiment, make_run, make_user

HTMX = {"HX-Request": "true", "HX-Target": "div#run-list"}
ClientOf = Callable[[User], Client]


def shown(response: object) -> list[str]:
    """The names in the table."""
    return [row.run.name for row in response.context["rows"]]  # type: ignore[attr-defined]


def make_runs() -> None:
    """One run for each of the four things that a search is asked for most."""
    make_run(display_name="tagged", tags={"quality": "fantastic run"})
    make_run(display_name="described", description="halves the learning rate")
    make_run(display_name="grouped", experiment="churn-xgb")
    make_run(display_name="hers", submitter=make_user("eva"))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('tag:quality="fantastic run"', ["tagged"]),
        ("learning", ["described"]),
        ("experiment:churn-xgb", ["grouped"]),
        ("churn", ["grouped"]),
        ("submitter:eva", ["hers"]),
        ("-submitter:eva -experiment:churn* -tag:quality", ["described"]),
    ],
)
def test_the_bar_filters(ana: User, client_of: ClientOf, query: str, found: list[str]) -> None:
    make_runs()
    assert shown(client_of(ana).get("/runs/", {"q": query})) == found


def test_the_panel_becomes_the_text_of_the_bar(ana: User, client_of: ClientOf) -> None:
    make_runs()
    client = client_of(ana)
    response = client.get("/runs/", {"q": "hers", "submitter": ["ana", "eva"], "status": "Completed"})
    assert response.status_code == 302
    page = client.get(response["Location"])
    assert page.context["runs"].text == "hers status:Completed submitter:ana,eva"
    assert shown(page) == ["hers"]


def test_the_panel_shows_what_the_bar_says(ana: User, client_of: ClientOf) -> None:
    make_runs()
    page = client_of(ana).get("/runs/", {"q": "hers submitter:eva,gone status:Completed duration:>=1m"})
    chosen = {
        field["name"]: [choice["value"] for choice in field["choices"] if choice["is_chosen"]]
        for field in page.context["panel_choices"]
    }
    assert chosen == {
        "status": ["Completed"],
        "submitter": ["eva", "gone"],
        "experiment": [],
        "target": [],
        "kind": [],
    }
    assert page.context["panel"]["duration_min"].value() == "1m"
    assert str(page.context["panel_rest"]) == "hers"


@pytest.mark.parametrize("path", ["/runs/", "/experiments/mnist/"])
def test_an_address_of_a_page_that_is_not_there_shows_the_first_and_says_so(
    ana: User, client_of: ClientOf, path: str
) -> None:
    make_run()
    lost = "That page of the list cannot be found; this is the first one."
    assert lost not in client_of(ana).get(path).text
    answer = client_of(ana).get(path, {"after": "zzz"})
    assert lost in answer.text
    assert shown(answer) == ["Run 1"]


def test_the_tags_of_the_search_come_first_in_a_row(ana: User, client_of: ClientOf) -> None:
    make_run(tags={"stage": "draft", "width": "512", "Quality": "good"})
    client = client_of(ana)

    def keys(q: str) -> list[str]:
        [row] = client.get("/runs/", {"q": q}).context["rows"]
        return [tag.key for tag in row.run.labels]

    assert keys("") == ["stage", "width", "Quality"]
    assert keys("tag:quality=good") == ["Quality", "stage", "width"]
    assert keys("tag:width -tag:x") == ["width", "stage", "Quality"]
    assert keys("GOOD") == ["Quality", "stage", "width"]
    assert keys('"width=512" draft') == ["stage", "width", "Quality"]


def test_a_change_of_the_panel_answers_with_the_part_and_its_address(ana: User, client_of: ClientOf) -> None:
    make_runs()
    response = client_of(ana).get("/runs/", {"q": "", "submitter": "eva", "tag": ""}, headers=HTMX)
    assert response.status_code == 200
    assert response["HX-Push-Url"] == "/runs/?q=submitter%3Aeva"
    assert response.content.lstrip().startswith(b'<div id="run-list"')
    assert shown(response) == ["hers"]


def test_what_cannot_be_read_is_told_where_and_lists_nothing(ana: User, client_of: ClientOf) -> None:
    make_runs()
    client = client_of(ana)
    page = client.get("/runs/", {"q": "submitter:ana duration:>two"})
    assert page.status_code == 200
    assert (page.context["runs"].bad.position, shown(page)) == (25, [])
    assert b'data-wrong-at="25"' in page.content
    assert b"This search cannot be read" in page.content
    field = client.get("/runs/", {"q": "hers", "duration_min": "soon"})
    assert field.status_code == 200
    assert shown(field) == []
    assert b'id="filter-duration_min-error"' in field.content
    assert field.context["runs"].text == "hers"


def test_without_a_search_children_are_folded(ana: User, client_of: ClientOf) -> None:
    sweep = make_run(display_name="sweep")
    make_run(display_name="child", parent=sweep)
    client = client_of(ana)
    assert shown(client.get("/runs/")) == ["sweep"]
    assert shown(client.get("/runs/", {"open": sweep.run_id})) == ["sweep", "child"]
    flat = client.get("/runs/?q=is:child")
    assert shown(flat) == ["child"]
    assert b"in <bdi>sweep</bdi> #1" in flat.content


def test_archived_runs_are_there_when_asked_for(ana: User, client_of: ClientOf) -> None:
    make_run(display_name="away", archived_at=datetime.now(UTC))
    make_run(display_name="here")
    client = client_of(ana)
    assert shown(client.get("/runs/")) == ["here"]
    page = client.get("/runs/?q=is:archived")
    assert shown(page) == ["away"]
    assert b'value="unarchive"' in page.content


def test_a_page_far_down_has_a_way_back(ana: User, client_of: ClientOf) -> None:
    for number in range(1, 53):
        make_run(display_name=f"r{number}")
    client = client_of(ana)
    first = client.get("/runs/")
    second = client.get("/runs/", {"after": first.context["page"].next_cursor})
    assert shown(second) == ["r2", "r1"]
    back = client.get("/runs/", {"after": second.context["page"].prev_cursor})
    assert shown(back) == shown(first)


def test_the_empty_page_teaches(ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    assert b"No runs yet" in client.get("/runs/").content
    make_run()
    page = client.get("/runs/?q=quagga")
    assert b"No run matches" in page.content
    assert b"<code>quagga</code>" in page.content


def test_where_all_runs_are_archived_it_says_so_and_leads_to_them(ana: User, client_of: ClientOf) -> None:
    sweep = make_run(archived_at=datetime.now(UTC), display_name="sweep")
    make_run(parent=sweep, display_name="child")
    client = client_of(ana)
    page = client.get("/runs/").content
    assert b"The top-level runs are archived" in page
    assert b'href="?q=is%3Aarchived"' in page
    assert b'href="?q=is%3Achild"' in page
    assert shown(client.get("/runs/?q=is%3Achild")) == ["child"]
    Run.objects.update(archived_at=datetime.now(UTC))
    page = client.get("/runs/").content
    assert b"All runs here are archived" in page
    assert b"No runs yet" not in page


def test_what_was_typed_is_never_markup(ana: User, client_of: ClientOf) -> None:
    make_run(display_name="<b>bold</b>", tags={"<i>": "<u>"})
    for query in ("", "?q=<script>", "?q=tag:<script>:x>", "?open=<script>"):
        page = client_of(ana).get(f"/runs/{query}").content
        assert b"<b>bold" not in page
        assert b"<i>" not in page
        assert b"<script>" not in page


def test_the_csv_of_a_search(ana: User, client_of: ClientOf) -> None:
    make_runs()
    refused = client_of(ana).get('/runs/?q=tag:"hers&format=csv')
    assert (refused.status_code, refused["Content-Type"]) == (422, "text/html; charset=utf-8")
    assert "At letter" in refused.content.decode()
    response = client_of(ana).get("/runs/?q=hers&format=csv")
    lines = b"".join(response.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2
    assert lines[1].startswith("mnist,3,hers,Completed")


def test_the_csv_costs_the_same_for_any_number_of_rows(ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    client.get("/runs/")  # a process looks once whether the database has its search index
    counted = []
    for upto in (2, 9):
        for _ in range(upto):
            make_run(parent=make_run(kind=Kind.INTERACTIVE), description="long", tags={"a": "b"})
        with CaptureQueriesContext(connection) as queries:
            assert b"long" in b"".join(client.get("/runs/?format=csv").streaming_content)  # type: ignore[attr-defined]
        counted.append(len(queries))
    assert counted == [3, 3]  # session with person and membership · the runs · their tags


def test_it_shows_nothing_of_another_workspace(ana: User, dan: User, client_of: ClientOf) -> None:
    make_runs()
    assert shown(client_of(dan).get("/runs/")) == []
    assert shown(client_of(dan).get("/runs/?q=hers")) == []


def test_the_part_is_204_until_something_changes(ana: User, client_of: ClientOf) -> None:
    run = make_run(status=Status.RUNNING)
    Experiment.objects.update(updated_at=datetime.now(UTC) - timedelta(hours=1))
    client = client_of(ana)
    for query in ("", "?q=status:running"):
        url = client.get(f"/runs/{query}").context["part_url"]
        # session with person and membership · version of the workspace
        with CaptureQueriesContext(connection) as queries:
            assert client.get(url, headers=HTMX).status_code == 204
        assert len(queries) == 2
    Run.objects.filter(pk=run.pk).update(updated_at=datetime.now(UTC) + timedelta(seconds=1))
    fresh = client.get(url, headers=HTMX)
    assert fresh.status_code == 200
    assert not fresh.has_header("HX-Push-Url")


def test_the_number_of_queries_does_not_depend_on_the_rows(ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    client.get("/runs/")  # a process asks once whether free text has an index
    counted = []
    for upto in (3, 30):
        for number in range(upto):
            sweep = make_run(experiment=make_experiment(f"e{number}"), kind=Kind.INTERACTIVE, tags={"a": "b"})
            make_run(experiment=sweep.experiment, parent=sweep, tags={"c": "d"})
        for url in ("/runs/", "/runs/?q=tag:c"):
            with CaptureQueriesContext(connection) as queries:
                client.get(url)
            counted.append(len(queries))
    # session with person and membership · version · keys of the page · its runs · their tags ·
    # how many children each has · all counted · panel: people, experiments, compute targets · shell
    whole = 11
    # how far back the search looks and the parents of what was found, not the numbers of children nor of all
    found = whole
    assert counted == [whole, found, whole, found]
    make_run(status=Status.FAILED)  # has something in each column
    columns.choose(ana, "runs", columns.COLUMNS)
    with CaptureQueriesContext(connection) as queries:
        assert b"train.py" in client.get("/runs/").content
    assert len(queries) == whole
