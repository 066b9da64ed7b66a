"""The frame of a run's page: head, tabs, the poll that keeps it true, and who may see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Model
from django.db.models.functions import Now
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

from runs.models import LogChunk, Run
from runs.status import Status
from runs.views.run_frame import QUEUE_DRAWN_EVERY_S, at_address
from studio.accounts.models import User
from tests.factories import log_metrics, make_pipeline, make_run

SignIn = Callable[[User], Client]


def url_of(run: Run, view: str = "run-detail", **more: Any) -> str:
    return reverse(view, kwargs={"name": run.experiment.name, "number": run.number, **more})


def head_url_of(client: Client, run: Run) -> str:
    """The address that the page's head polls."""
    return str(client.get(url_of(run)).context["head_url"])


def test_the_head_says_what_runs_and_for_whom(ana: User, client_of: SignIn) -> None:
    run = make_run(status=Status.RUNNING, display_name="width 512")
    page = client_of(ana).get(url_of(run)).content.decode()
    assert f"<h1><bdi>width 512</bdi> <small>#{run.number}</small></h1>" in page
    assert "status-running" in page
    assert "data-since" in page
    assert "every 2s" in page


@pytest.mark.parametrize("run_id", ["actions", "undo", "selected"])
def test_a_run_id_that_is_a_word_of_addresses_leads_to_the_run(
    ana: User, client_of: SignIn, run_id: str
) -> None:
    run = make_run(run_id=run_id)
    answer = client_of(ana).get(f"/runs/{run_id}/")
    assert (answer.status_code, answer["Location"]) == (302, url_of(run))


def test_run_id_leads_to_the_run(ana: User, client_of: SignIn) -> None:
    run = make_run()
    answer = client_of(ana).get(reverse("run-by-id", args=[run.run_id]))
    assert answer.status_code == 302
    assert answer["Location"] == url_of(run)


@pytest.mark.parametrize("view", ["run-detail", "run-head"])
def test_runs_that_are_not_there_or_elsewhere_are_404(
    ana: User, dan: User, client_of: SignIn, view: str
) -> None:
    run = make_run()
    assert client_of(ana).get(reverse(view, args=["mnist", 99])).status_code == 404
    assert client_of(ana).get(reverse(view, args=["mnist", 10**30])).status_code == 404
    assert client_of(ana).get(reverse(view, args=["mn\0ist", 1])).status_code == 404
    assert client_of(dan).get(url_of(run, view)).status_code == 404
    assert client_of(dan).get(reverse("run-by-id", args=[run.run_id])).status_code == 404
    assert client_of(ana).get(reverse("run-by-id", args=["no\0where"])).status_code == 404


@pytest.mark.parametrize(("model", "way"), [(Run, ""), (LogChunk, "run__")])
def test_an_address_is_looked_up_by_keys_and_not_by_walking_through_runs(
    ana: User, model: type[Model], way: str
) -> None:
    request: Any = HttpRequest()
    request.membership = ana.memberships.get()
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # which rightly reads a table as small as this from end to end
            cursor.execute("SET LOCAL enable_seqscan = off")
        rows = model._default_manager.filter(at_address(request, "mnist", 3, of=way))
        plan = rows.order_by("pk")[:1].explain()
    assert "run_workspace" not in plan
    assert "number" in plan


def test_a_poll_without_news_costs_two_queries(
    ana: User, client_of: SignIn, django_assert_num_queries: Any
) -> None:
    client = client_of(ana)
    url = head_url_of(client, make_run(status=Status.RUNNING))
    with django_assert_num_queries(2):  # who asks; the version of the run and its family
        assert client.get(url).status_code == 204


def test_a_poll_with_news_gives_the_head_and_wakes_the_tab(ana: User, client_of: SignIn) -> None:
    client = client_of(ana)
    run = make_run(status=Status.RUNNING)
    url = head_url_of(client, run)
    Run.objects.filter(pk=run.pk).update(display_name="renamed", updated_at=Now())
    answer = client.get(url, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert "renamed" in answer.content.decode()
    assert "run-changed" in answer["HX-Trigger"]


def test_a_new_metric_is_news_and_more_of_a_known_one_is_none(ana: User, client_of: SignIn) -> None:
    client = client_of(ana)
    run = make_run(status=Status.RUNNING)
    url = head_url_of(client, run)
    log_metrics(run, {"loss": [1.0]})
    tab = '>Metrics <span class="count">1</span></a>'
    assert tab in client.get(url).content.decode()
    url = head_url_of(client, run)
    log_metrics(run, {"loss": [0.5]})
    assert client.get(url).status_code == 204
    log_metrics(run, {"pictures": [{"path": "images/a.png"}]}, kind="image")
    assert '>Images <span class="count">1</span></a>' in client.get(url).content.decode()


def test_news_of_a_grandchild_are_news(ana: User, client_of: SignIn) -> None:
    client = client_of(ana)
    parent = make_run(status=Status.RUNNING)
    child = make_run(status=Status.RUNNING, parent=parent)
    grandchild = make_run(status=Status.RUNNING, parent=child)
    url = head_url_of(client, parent)
    assert client.get(url).status_code == 204
    Run.objects.filter(pk=grandchild.pk).update(updated_at=Now())
    assert client.get(url).status_code == 200


def test_the_page_of_a_queued_run_follows_the_queue(
    ana: User, client_of: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(ana)
    clock = 1_000_000.0
    monkeypatch.setattr("runs.views.run_frame.time.time", lambda: clock)
    url = head_url_of(client, make_run(status=Status.QUEUED))
    assert client.get(url).status_code == 204
    clock += QUEUE_DRAWN_EVERY_S
    assert client.get(url).status_code == 200


def test_a_run_that_has_ended_is_not_polled(ana: User, client_of: SignIn) -> None:
    page = client_of(ana).get(url_of(make_run(status=Status.FAILED))).content.decode()
    assert 'hx-trigger="refresh from:body"' in page
    assert "every 2s" not in page


def test_cancel_rests_once_the_run_has_ended(ana: User, client_of: SignIn) -> None:
    running, ended = make_run(status=Status.RUNNING), make_run()
    client = client_of(ana)
    assert f'href="{url_of(running, "run-cancel")}"' in client.get(url_of(running)).content.decode()
    page = client.get(url_of(ended)).content.decode()
    assert url_of(ended, "run-cancel") not in page
    assert "The run has ended: Completed" in page


def test_a_reader_gets_no_way_to_write(ben: User, client_of: SignIn) -> None:
    run = make_run(status=Status.RUNNING)
    page = client_of(ben).get(url_of(run)).content.decode()
    for view in ("run-cancel", "run-edit", "run-archive"):
        assert url_of(run, view) not in page


def test_a_pipeline_belongs_to_pipelines_and_counts_its_steps(ana: User, client_of: SignIn) -> None:
    pipeline = make_pipeline(status=Status.RUNNING, statuses={"prepare": Status.COMPLETED})
    page = client_of(ana).get(url_of(pipeline)).content.decode()
    assert "pipeline run, 3 steps" in page
    assert "1 Completed" in page
    assert "2 Running" in page
    assert ">Graph</a>" in page
