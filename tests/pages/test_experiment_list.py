"""The Experiments page: rows, filters, order, pages, the live part, who may see it, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs.lists.experiments import experiment_page
from runs.models import Experiment, Run
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.factories import make_experiment, make_run, make_target

HTMX = {"HX-Request": "true", "HX-Target": "div#experiment-list"}
ClientOf = Callable[[User], Client]


def settle() -> None:
    """Let the last change of every experiment be long past: a change just now is always news."""
    Experiment.objects.update(updated_at=datetime.now(UTC) - timedelta(hours=1))


def names(response: object) -> list[str]:
    """The experiments of a page, in order."""
    return [row.experiment.name for row in response.context["page"].rows]  # type: ignore[attr-defined]


def test_an_empty_workspace_leads_to_the_start_page(ana: User, client_of: ClientOf) -> None:
    response = client_of(ana).get("/experiments/")
    assert response.status_code == 302
    assert response["Location"] == "/start/"


def test_a_row_says_what_is_active_and_where(ana: User, client_of: ClientOf) -> None:
    for target in ("gpu", "gpu", "local"):
        make_run(status=Status.RUNNING, target=make_target(target))
    make_run(status=Status.QUEUED)
    make_run(status=Status.NOT_STARTED)
    response = client_of(ana).get("/experiments/")
    row = response.context["page"].rows[0]
    assert (row.active, sorted(row.targets), row.experiment.last_number) == (4, ["gpu", "local"], 5)
    assert "4 active runs on 2 of 2 compute targets" in " ".join(response.content.decode().split())


def test_a_run_that_does_not_respond_marks_the_row(ana: User, client_of: ClientOf) -> None:
    make_run(status=Status.NOT_RESPONDING)
    assert client_of(ana).get("/experiments/").context["page"].rows[0].troubled


def test_the_strip_has_the_last_20_runs_and_the_latest_is_a_parent(ana: User, client_of: ClientOf) -> None:
    for _ in range(22):
        make_run()
    parent = make_run(kind=Kind.PIPELINE, display_name="sweep")
    make_run(parent=parent)
    row = client_of(ana).get("/experiments/").context["page"].rows[0]
    assert [bar.number for bar in row.bars] == list(range(5, 25))
    assert row.latest.name == "sweep"


def test_names_are_filtered_and_chips_choose(ana: User, client_of: ClientOf) -> None:
    make_run(experiment="digits-mlp", status=Status.RUNNING)
    make_run(experiment="digits-cnn")
    make_run(experiment="churn", submitter=None)
    make_experiment("old", archived_at=datetime.now(UTC))
    client = client_of(ana)
    assert names(client.get("/experiments/")) == ["churn", "digits-cnn", "digits-mlp"]
    assert names(client.get("/experiments/?q=DIGITS mlp")) == ["digits-mlp"]
    assert names(client.get("/experiments/?active=true")) == ["digits-mlp"]
    assert names(client.get("/experiments/?mine=true")) == ["digits-cnn", "digits-mlp"]
    assert names(client.get("/experiments/?archived=true")) == ["old"]
    assert b"No experiment has such a name" in client.get("/experiments/?q=quagga").content


@pytest.mark.parametrize("by", ["name", "active", "targets", "latest", "submitted", "runs", "submitter"])
def test_every_order_pages_through_all_rows_once_and_back(workspace: object, by: str) -> None:
    for number in range(7):
        for status in [Status.COMPLETED, Status.RUNNING][: number % 3]:
            make_run(experiment=f"e{number}", status=status)
        make_experiment(f"e{number}")
    everything = Experiment.objects.all()
    for order in (by, f"-{by}"):
        whole = [row.experiment.name for row in experiment_page(everything, order=order).rows]
        assert sorted(whole) == [f"e{n}" for n in range(7)]
        seen, after, back = [], "", ""
        while True:
            page = experiment_page(everything, order=order, after=after, size=3)
            seen += [row.experiment.name for row in page.rows]
            if not page.next_cursor:
                break
            after, back = page.next_cursor, after
        assert seen == whole
        previous = experiment_page(everything, order=order, after=page.prev_cursor, size=3)
        before = experiment_page(everything, order=order, after=back, size=3)
        assert [r.experiment.pk for r in previous.rows] == [r.experiment.pk for r in before.rows]


@pytest.mark.parametrize(
    "query", ["order=quagga", "after=quagga", "after=%FF", "order=-name&after=WzFd", "q=%00"]
)
def test_what_cannot_be_read_still_gives_the_page(ana: User, client_of: ClientOf, query: str) -> None:
    make_run()
    answer = client_of(ana).get(f"/experiments/?{query}")
    assert answer.status_code == 200
    assert ("That page of the list cannot be found" in answer.text) == ("after" in query)
    assert ("That order is not known" in answer.text) == ("quagga" in query and "order" in query)


@pytest.mark.parametrize(
    ("status", "interval"), [(Status.RUNNING, b"every 3s"), (Status.FAILED, b"every 5s")]
)
def test_the_part_is_answered_alone_and_204_until_something_changes(
    ana: User, client_of: ClientOf, status: Status, interval: bytes
) -> None:
    run = make_run(status=status)
    settle()
    client = client_of(ana)
    page = client.get("/experiments/")
    url = page.context["part_url"]
    assert b'hx-trigger="' + interval in page.content
    # session with person and membership · version of the workspace
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url, headers=HTMX).status_code == 204
    assert len(queries) == 2
    Run.objects.filter(pk=run.pk).update(updated_at=datetime.now(UTC) + timedelta(seconds=1))
    part = client.get(url, headers=HTMX)
    assert part.content.lstrip().startswith(b'<div id="experiment-list"')
    assert b"<html" not in part.content


def test_it_shows_nothing_of_another_workspace(ana: User, dan: User, client_of: ClientOf) -> None:
    make_run(experiment="secret")
    assert client_of(dan).get("/experiments/").status_code == 302
    assert client_of(dan).get("/experiments/secret/").status_code == 404
    assert client_of(ana).get("/experiments/secret/").status_code == 200


def test_the_number_of_queries_does_not_depend_on_the_rows(ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    counted = []
    for upto in (3, 30):
        for number in range(upto):
            make_run(experiment=f"e{number}", status=Status.RUNNING)
            make_run(experiment=f"e{number}")
        # session with person and membership · version · counts of the filters · experiments ·
        # their active runs · their last runs · the newest of each · shell
        with CaptureQueriesContext(connection) as queries:
            client.get("/experiments/")
        counted.append(len(queries))
    assert counted == [8, 8]
