"""The Overview: timeline, error, queue, description, command, tags and properties."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from runs.models import Run
from runs.services.logs import STD_LOG, append_log
from runs.status import ErrorClass, Kind, Status
from runs.views.run_overview import ERROR_TITLES
from studio.accounts.models import User
from tests.factories import make_node, make_pipeline, make_run, make_snapshot, make_target
from tests.pages.test_run_frame import url_of

SignIn = Callable[[User], Client]
TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 3, in <module>
    raise FloatingPointError("loss is nan <b>")
FloatingPointError: loss is nan <b>"""


@pytest.fixture
def page_of(ana: User, client_of: SignIn) -> Callable[[Run], str]:
    """The Overview of a run as ana sees it."""
    client = client_of(ana)
    return lambda run: client.get(url_of(run, "run-overview")).content.decode()


def test_the_timeline_says_status_time_and_reason(page_of: Callable[[Run], str], ana: User) -> None:
    start = datetime.now(UTC) - timedelta(minutes=5)
    submitted = {"to_status": Status.QUEUED, "at": start, "why": "submitted", "by": ana}
    claimed = {"to_status": Status.RUNNING, "at": start + timedelta(seconds=90), "why": "claimed by box"}
    run = make_run(status=Status.RUNNING, events=[submitted, {**claimed, "by": ana}])
    page = page_of(run)
    assert "1m 30s" in page
    assert "submitted, by ana" in page
    assert page.count('class="timeline-part"') == 2
    assert 'width="29.9' in page  # 90 of a little over 300 seconds
    assert "since submitted" in page


def test_the_timeline_of_a_step_has_the_time_that_it_waited(page_of: Callable[[Run], str]) -> None:
    start = datetime.now(UTC) - timedelta(minutes=5)
    pipeline = make_run(kind=Kind.PIPELINE, status=Status.FAILED)
    canceled = {"to_status": Status.CANCELED, "at": start + timedelta(seconds=75), "why": "another failed"}
    step = make_run(
        kind=Kind.STEP, parent=pipeline, status=Status.CANCELED, created_at=start, events=[canceled],
        queued_at=None, started_at=None, ended_at=start + timedelta(seconds=75),
    )  # fmt: skip
    page = page_of(step)
    assert page.count('class="timeline-part"') == 1
    assert "1m 15s in all" in page
    assert "submitted with its pipeline" in page


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_every_class_of_error_is_said_in_words(
    page_of: Callable[[Run], str], error_class: ErrorClass
) -> None:
    run = make_run(status=Status.FAILED, error_class=error_class, error_message="It went wrong.")
    page = page_of(run)
    assert ERROR_TITLES[error_class] in page
    assert "It went wrong." in page


def test_the_error_card_has_exception_exit_code_and_traceback_escaped(page_of: Callable[[Run], str]) -> None:
    run = make_run(
        status=Status.FAILED, error_traceback=TRACEBACK, error_message="FloatingPointError: loss is nan <b>",
        exit_code=1, max_retries=2,
    )  # fmt: skip
    page = page_of(run)
    assert "The script failed: FloatingPointError" in page
    assert "exit code <b>1</b>" in page
    assert "attempt <b>1 of 3</b>" in page
    assert '<span class="trace-error">FloatingPointError: loss is nan &lt;b&gt;</span>' in page
    assert url_of(run, "run-logs") in page


@pytest.mark.parametrize("has_log", [True, False])
@pytest.mark.parametrize("kind", [Kind.SCRIPT, Kind.INTERACTIVE])
def test_the_error_card_leads_to_a_log_that_is_there(
    page_of: Callable[[Run], str], kind: Kind, has_log: bool
) -> None:
    run = make_run(kind=kind, status=Status.FAILED, error_class=ErrorClass.LOST, error_message="It was lost.")
    if has_log:
        append_log(run, run.attempt, STD_LOG, 0, b"Hello\n")
    assert ("Open the log at its end" in page_of(run)) is has_log


def test_an_exception_with_its_text_on_the_next_line_is_marked(page_of: Callable[[Run], str]) -> None:
    named = "azureml.exceptions.UserErrorException: UserErrorException:"
    trace = f"{TRACEBACK.partition('FloatingPointError: loss')[0]}{named}\n\tMessage: no such file"
    page = page_of(make_run(status=Status.FAILED, error_traceback=trace, error_message=f"{named} Message"))
    assert f'<span class="trace-error">{named}</span>' in page


def test_an_exception_that_was_caught_is_not_what_the_run_failed_of(page_of: Callable[[Run], str]) -> None:
    message = "The script ended with exit code 3."
    page = page_of(
        make_run(status=Status.FAILED, error_traceback=TRACEBACK, error_message=message, exit_code=3)
    )
    assert "The script failed: FloatingPointError" not in page
    assert message in page


def test_a_failed_pipeline_names_the_steps_that_failed(page_of: Callable[[Run], str]) -> None:
    pipeline = make_pipeline(
        status=Status.FAILED, statuses={"prepare": Status.COMPLETED, "evaluate": Status.CANCELED}
    )
    failed = pipeline.children.get(step_name="train")
    assert f'<a href="{url_of(failed)}">train</a> The script ended with exit code 1.' in page_of(pipeline)


def test_a_queued_run_says_its_place_and_what_is_before_it(page_of: Callable[[Run], str]) -> None:
    node = make_node(slots=1)
    make_run(status=Status.RUNNING, node=node, display_name="has the slot")
    make_run(
        status=Status.QUEUED, display_name="came first", created_at=datetime.now(UTC) - timedelta(hours=1)
    )
    page = page_of(make_run(status=Status.QUEUED))
    assert "Second in the queue of local" in page
    assert "The only slot of local is taken" in page
    assert "came first" in page
    assert "has the slot" in page


def test_a_queued_run_that_no_node_serves_says_so(page_of: Callable[[Run], str]) -> None:
    run = make_run(status=Status.QUEUED, target=make_target("gpu"))
    assert "No node serves gpu" in page_of(run)


def test_a_step_names_what_it_waits_for(page_of: Callable[[Run], str]) -> None:
    statuses = {"train": Status.NOT_STARTED, "evaluate": Status.NOT_STARTED}
    pipeline = make_pipeline(status=Status.RUNNING, statuses=statuses)
    page = page_of(pipeline.children.get(step_name="train"))
    assert "Waits for 1 step" in page
    assert ">prepare</a> is Running" in page


def test_a_canceled_run_says_by_whom(page_of: Callable[[Run], str], chi: User) -> None:
    run = make_run(status=Status.CANCELED, cancel_requested_by=chi, cancel_requested_at=datetime.now(UTC))
    assert 'canceled by <span class="ink">chi</span>' in page_of(run)


def test_description_is_markdown_that_cannot_act(page_of: Callable[[Run], str]) -> None:
    page = page_of(make_run(description="*soft* <script>alert(1)</script>"))
    assert "<em>soft</em>" in page
    assert "<script>alert" not in page


def test_command_and_environment_are_shown_escaped(page_of: Callable[[Run], str]) -> None:
    run = make_run(arguments=["--name", "<i>", "--lr", "0.1"], environment_variables={"THREADS": "4"})
    page = page_of(run)
    assert "train.py --name &#x27;&lt;i&gt;&#x27; --lr 0.1" in page
    assert "THREADS=4" in page


def test_a_resubmission_shows_what_differs(page_of: Callable[[Run], str]) -> None:
    before = make_run(arguments=["--lr", "0.1"], snapshot=make_snapshot())
    after = make_run(
        arguments=["--lr", "0.3"], resubmitted_from=before, snapshot=make_snapshot({"train.py": "new"})
    )
    page = page_of(after)
    assert "<del>0.1</del> <ins>0.3</ins>" in page
    assert f"?against={before.run_id}" in page


def test_a_resubmitted_command_shows_what_differs(page_of: Callable[[Run], str]) -> None:
    before = make_run(script="", command_words=["echo", "one"])
    page = page_of(make_run(script="", command_words=["echo", "two"], resubmitted_from=before))
    assert "<del>one</del> <ins>two</ins>" in page
    assert "same command" not in page


def test_a_resubmission_of_the_same_says_so(page_of: Callable[[Run], str]) -> None:
    before = make_run(snapshot=make_snapshot())
    page = page_of(make_run(resubmitted_from=before, snapshot=before.snapshot))
    assert "same source, same command" in page


def test_tags_can_be_edited_and_properties_cannot(page_of: Callable[[Run], str]) -> None:
    page = page_of(make_run(tags={"quality": "good", "baseline": None}, properties={"seed": "7"}))
    assert 'aria-label="Remove tag quality"' in page
    assert 'aria-label="Remove tag baseline"' in page
    assert "<dt>seed</dt><dd>7</dd>" in page
    assert 'aria-label="Remove tag seed"' not in page


def test_the_live_part_comes_alone(ana: User, client_of: SignIn) -> None:
    headers = {"HX-Request": "true", "HX-Target": "div#run-overview"}
    part = client_of(ana).get(url_of(make_run(), "run-overview"), headers=headers).content.decode()
    assert part.strip().startswith('<div id="run-overview"')
    assert "<html" not in part


@pytest.mark.parametrize("n", [1, 12])
def test_the_overview_costs_the_same_whatever_it_shows(
    ana: User, client_of: SignIn, django_assert_num_queries: Any, n: int
) -> None:
    client = client_of(ana)
    labels = {f"key {i}": "value" for i in range(n)}
    run = make_run(status=Status.RUNNING, tags=labels, properties=labels)
    for _ in range(n):
        make_run(parent=run, kind=Kind.SCRIPT, status=Status.RUNNING)
    # who asks; the run; children by status; events; tags; properties; the shell's counts
    with django_assert_num_queries(8):
        client.get(url_of(run))


@pytest.mark.parametrize("n", [1, 12])
def test_the_queue_costs_the_same_however_long_it_is(
    ana: User, client_of: SignIn, django_assert_num_queries: Any, n: int
) -> None:
    client = client_of(ana)
    node = make_node()
    for _ in range(n):
        make_run(status=Status.QUEUED)
        make_run(status=Status.RUNNING, node=node)
    run = make_run(status=Status.QUEUED)
    # as above, and: runs before it; runs in the queue; nodes; slots taken; the nearest of them; on the slots
    with django_assert_num_queries(14):
        client.get(url_of(run))
