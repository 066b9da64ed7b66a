"""The Graph tab: boxes, edges, the timeline of the steps, the open step and its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from runs.lifecycle import move
from runs.models import Run
from runs.services.cancel import cancel_run
from runs.services.logs import STD_LOG, append_log
from runs.status import Status
from studio.accounts.models import User
from tests.factories import make_node, make_pipeline, make_run
from tests.pages.test_run_frame import url_of

SignIn = Callable[[User], Client]
STATUSES = {"prepare": Status.COMPLETED, "train": Status.RUNNING, "evaluate": Status.NOT_STARTED}


@pytest.fixture
def pipeline(workspace: object) -> Run:
    return make_pipeline(status=Status.RUNNING, statuses=STATUSES, display_name="weekly")


def test_a_pipeline_opens_with_its_graph(pipeline: Run, ana: User, client_of: SignIn) -> None:
    page = client_of(ana).get(url_of(pipeline)).content.decode()
    assert page.count("<foreignObject") == 3
    assert 'class="edge edge-live"' in page  # prepare is over, train runs
    assert 'class="edge edge-waiting"' in page  # evaluate has not started
    assert "waits for train" in page


def test_a_run_that_is_no_pipeline_has_no_graph(ana: User, client_of: SignIn) -> None:
    assert client_of(ana).get(url_of(make_run(), "run-graph")).status_code == 404


def test_a_step_opens_by_its_link(pipeline: Run, ana: User, client_of: SignIn) -> None:
    train = pipeline.children.get(step_name="train")
    Run.objects.filter(pk=train.pk).update(node=make_node("gpu-box"), max_retries=2)
    append_log(train, train.attempt, STD_LOG, 0, b"".join(b"epoch %d <b>\n" % n for n in range(2_000)))
    page = client_of(ana).get(url_of(pipeline, "run-graph"), {"step": "train"}).content.decode()
    assert 'aria-label="Step train"' in page
    assert "gpu-box" in page
    assert "1 of 3" in page
    assert "epoch 1999 &lt;b&gt;" in page
    assert "epoch 1991 " not in page  # eight lines of its end
    assert url_of(train, "run-cancel") in page


def test_a_step_that_is_not_there_opens_nothing(pipeline: Run, ana: User, client_of: SignIn) -> None:
    answer = client_of(ana).get(url_of(pipeline, "run-graph"), {"step": "nope"})
    assert answer.status_code == 200
    assert "graph-panel" not in answer.content.decode()


def test_a_canceled_step_says_why(ana: User, client_of: SignIn) -> None:
    statuses = {"prepare": Status.FAILED, "train": Status.NOT_STARTED, "evaluate": Status.CANCELED}
    pipeline = make_pipeline(status=Status.FAILED, statuses=statuses)
    train = pipeline.children.get(step_name="train")
    assert move(train, to=Status.CANCELED, expect=[Status.NOT_STARTED], why="prepare failed", follow=False)
    page = client_of(ana).get(url_of(pipeline)).content.decode()
    assert "canceled: prepare failed" in page


def test_bars_are_to_scale(ana: User, client_of: SignIn) -> None:
    start = datetime.now(UTC) - timedelta(hours=1)
    ended = start + timedelta(seconds=100)
    pipeline = make_pipeline({"only": []}, created_at=start, started_at=start, ended_at=ended)
    pipeline.children.update(
        queued_at=start, started_at=start + timedelta(seconds=20), ended_at=start + timedelta(seconds=70)
    )
    page = client_of(ana).get(url_of(pipeline)).content.decode()
    assert 'x="20.00%" width="50.00%"' in page
    assert '<line x1="0.00%" x2="20.00%"' in page


def test_the_live_part_comes_alone_with_its_open_step(pipeline: Run, ana: User, client_of: SignIn) -> None:
    headers = {"HX-Request": "true", "HX-Target": "div#run-graph"}
    answer = client_of(ana).get(url_of(pipeline, "run-graph"), {"step": "train"}, headers=headers)
    part = answer.content.decode().strip()
    assert part.startswith('<div id="run-graph"')
    assert f'hx-get="{url_of(pipeline, "run-graph")}?step=train"' in part


def test_a_graph_with_news_brings_the_head_of_the_same_moment(
    pipeline: Run, ana: User, client_of: SignIn
) -> None:
    client = client_of(ana)
    page = client.get(url_of(pipeline))
    assert "hx-swap-oob" not in page.content.decode()
    poll = page.context["head_url"]
    assert client.get(poll, headers={"HX-Request": "true"}).status_code == 204
    cancel_run(pipeline, by=ana)
    answer = client.get(poll, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert "run-changed" in answer["HX-Trigger"]
    headers = {"HX-Request": "true", "HX-Target": "div#run-graph"}
    part = client.get(url_of(pipeline, "run-graph"), headers=headers).content.decode()
    assert part.count('id="run-head"') == 1
    assert part.count('hx-swap-oob="outerMorph"') == 1
    assert "CancelRequested" in part


def test_head_and_graph_agree_while_a_step_goes_on(ana: User, client_of: SignIn) -> None:
    statuses = {"prepare": Status.PREPARING, "train": Status.NOT_STARTED, "evaluate": Status.NOT_STARTED}
    pipeline = make_pipeline(status=Status.RUNNING, statuses=statuses)
    prepare = pipeline.children.get(step_name="prepare")
    life = [Status.PREPARING, Status.STARTING, Status.RUNNING, Status.FINALIZING]

    def goes_on(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        found = execute(sql, *rest)
        if sql.startswith("SELECT") and "parent_id" in sql and len(life) > 1:
            before = life.pop(0)
            Run.objects.filter(pk=prepare.pk, status=before).update(status=life[0])
        return found

    client = client_of(ana)
    with connection.execute_wrapper(goes_on):
        page = client.get(url_of(pipeline))
    assert len(life) < 4  # it did go on
    shown = Counter(row.step.status for row in page.context["boxes"])
    assert {row.status: row.count for row in page.context["children"]} == shown


def test_a_log_without_news_costs_two_queries(
    pipeline: Run, ana: User, client_of: SignIn, django_assert_num_queries: Any
) -> None:
    client = client_of(ana)
    train = pipeline.children.get(step_name="train")
    append_log(train, train.attempt, STD_LOG, 0, b"one\n")
    url = url_of(train, "run-log-tail")
    with django_assert_num_queries(2):  # who asks; the size of the log
        assert client.get(url, {"seen": "4"}).status_code == 204
    append_log(train, train.attempt, STD_LOG, 4, b"two")
    part = client.get(url, {"seen": "4"}).content.decode()
    assert "two" in part
    assert "?seen=7" in part


def test_a_log_of_another_workspace_is_404(pipeline: Run, dan: User, client_of: SignIn) -> None:
    url = url_of(pipeline.children.get(step_name="train"), "run-log-tail")
    assert client_of(dan).get(url).status_code == 404
    assert client_of(dan).get(url, {"seen": "4"}).status_code == 404


@pytest.mark.parametrize("n", [3, 30])
def test_a_graph_costs_the_same_however_many_steps(
    ana: User, client_of: SignIn, django_assert_num_queries: Any, n: int
) -> None:
    client = client_of(ana)
    steps = {f"step {i}": [f"step {i - 1}"] if i % 3 else [] for i in range(n)}
    pipeline = make_pipeline(steps, status=Status.RUNNING)
    # who asks; the run; its steps; edges; why steps were canceled; the shell's counts
    with django_assert_num_queries(6):
        client.get(url_of(pipeline))
    with django_assert_num_queries(8):  # and the size and the end of the open step's log
        client.get(url_of(pipeline), {"step": "step 1"})
