"""Ending a run from outside: Completed or Failed, at once what waits, after its process what runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from runs.errors import RunFinished
from runs.models import Run
from runs.services import nodes
from runs.services.cancel import cancel_run
from runs.services.ending import NO_REASON, Failure, complete_run, fail_run, report_failure
from runs.status import ON_NODE, ErrorClass, Kind, Status
from studio.accounts.models import User
from tests.factories import make_pipeline, make_run
from tests.life_kit import assert_sound

pytestmark = pytest.mark.django_db

WHY = Failure("UserError", "It diverged.", "Traceback …")


def fresh(run: Run) -> Run:
    assert_sound(run)
    return Run.objects.get(pk=run.pk)


@pytest.mark.parametrize("status", [Status.NOT_STARTED, Status.QUEUED])
def test_what_waits_ends_at_once(ana: User, status: Status) -> None:
    done, failed = make_run(status=status), make_run(status=status)
    complete_run(done, by=ana)
    fail_run(failed, WHY, by=ana)
    assert fresh(done).status == Status.COMPLETED
    now = fresh(failed)
    assert (now.status, now.error_class, now.error_code) == (Status.FAILED, "reported", "UserError")
    assert (now.error_message, now.error_traceback) == ("It diverged.", "Traceback …")


@pytest.mark.parametrize("status", [Status.NOT_STARTED, Status.RUNNING, Status.NOT_RESPONDING])
def test_an_interactive_run_ends_at_once(ana: User, status: Status) -> None:
    run = make_run(kind=Kind.INTERACTIVE, status=status)
    complete_run(run, by=ana)
    assert fresh(run).status == Status.COMPLETED


def test_an_interactive_run_that_nobody_started_has_lasted_since_it_was_made(ana: User) -> None:
    runs = [make_run(kind=Kind.INTERACTIVE, status=Status.NOT_STARTED) for _ in range(4)]
    done, failed, canceled, clock_set_back = runs
    Run.objects.filter(pk=clock_set_back.pk).update(created_at=Now() + timedelta(hours=1))
    complete_run(done, by=ana)
    fail_run(failed, WHY, by=ana)
    cancel_run(canceled, by=ana)
    complete_run(clock_set_back, by=ana)
    for run in (fresh(done), fresh(failed)):
        assert run.started_at == run.created_at
        assert run.duration is not None
        assert run.duration > timedelta(minutes=9)
    assert fresh(canceled).duration is None
    assert fresh(clock_set_back).duration == timedelta(0)


def test_a_submitted_run_that_ends_in_the_queue_has_no_duration(ana: User) -> None:
    run = make_run(status=Status.QUEUED)
    complete_run(run, by=ana)
    assert fresh(run).duration is None


@pytest.mark.parametrize("status", sorted(ON_NODE - {Status.CANCEL_REQUESTED}))
@pytest.mark.parametrize("ends", ["complete", "fail", "lost"])
def test_what_has_a_process_is_stopped_first_and_then_ends_so(ana: User, status: Status, ends: str) -> None:
    done, failed = make_run(status=status), make_run(status=status, max_retries=3)
    complete_run(done, by=ana)
    fail_run(failed, WHY, by=ana)
    assert {fresh(done).status, fresh(failed).status} == {Status.CANCEL_REQUESTED}
    for run in (done, failed):
        if ends == "complete":
            nodes.end_completed(run)
        else:
            nodes.end_failed(run, ErrorClass.SIGNAL if ends == "fail" else ErrorClass.LOST, "exit code 143")
    assert fresh(done).status == Status.COMPLETED
    now = fresh(failed)
    assert (now.status, now.error_class, now.error_message) == (Status.FAILED, "reported", "It diverged.")


def test_without_a_reason_it_says_so(ana: User) -> None:
    run = make_run(status=Status.QUEUED)
    fail_run(run, Failure(), by=ana)
    assert fresh(run).error_message == NO_REASON


def test_the_same_end_again_changes_nothing_and_another_is_refused(ana: User) -> None:
    run = make_run(status=Status.COMPLETED)
    complete_run(run, by=ana)
    with pytest.raises(RunFinished, match=r"is Completed, so it cannot end as Failed"):
        fail_run(run, WHY, by=ana)
    assert fresh(run).error_message == ""


def test_a_run_that_was_given_up_says_why_it_cannot_end_otherwise(ana: User) -> None:
    run = make_run(kind=Kind.INTERACTIVE, status=Status.FAILED, error_message="No sign of life since noon.")
    with pytest.raises(RunFinished) as refused:
        complete_run(run, by=ana)
    assert refused.value.hint == "No sign of life since noon."


def test_whoever_asks_first_decides(ana: User) -> None:
    stopping = make_run(status=Status.RUNNING)
    complete_run(stopping, by=ana)
    complete_run(stopping, by=ana)
    assert cancel_run(stopping, by=ana).changed == 0
    with pytest.raises(RunFinished, match="is being stopped, and will be Completed"):
        fail_run(stopping, WHY, by=ana)
    nodes.end_failed(stopping, ErrorClass.SIGNAL, "killed")
    assert fresh(stopping).status == Status.COMPLETED
    canceled = make_run(status=Status.RUNNING)
    cancel_run(canceled, by=ana)
    with pytest.raises(RunFinished, match="will be Canceled"):
        complete_run(canceled, by=ana)


def test_a_pipeline_ends_after_its_steps(ana: User, django_capture_on_commit_callbacks: Any) -> None:
    steps = {"done": Status.COMPLETED, "runs": Status.RUNNING, "waits": Status.NOT_STARTED}
    pipeline = make_pipeline(
        {"done": [], "runs": ["done"], "waits": ["runs"]}, statuses=steps, status=Status.RUNNING
    )
    fail_run(pipeline, WHY, by=ana)
    statuses = dict(pipeline.children.values_list("step_name", "status"))
    assert statuses == {"done": "Completed", "runs": "CancelRequested", "waits": "Canceled"}
    assert fresh(pipeline).status == Status.CANCEL_REQUESTED
    with django_capture_on_commit_callbacks(execute=True):
        nodes.end_failed(pipeline.children.get(step_name="runs"), ErrorClass.SIGNAL, "stopped")
    now = fresh(pipeline)
    assert (now.status, now.error_class, now.error_message) == (Status.FAILED, "reported", "It diverged.")


class TestReport:
    """What a script says of itself with its own token."""

    def test_its_reason_is_kept_when_the_script_fails(self) -> None:
        run = make_run(status=Status.RUNNING)
        report_failure(run, WHY)
        assert fresh(run).status == Status.RUNNING
        nodes.end_failed(run, ErrorClass.SCRIPT, "The script ended with exit code 1.", exit_code=1)
        now = fresh(run)
        assert (now.error_class, now.error_code, now.exit_code) == ("script", "UserError", 1)
        assert (now.error_message, now.error_traceback) == ("It diverged.", "Traceback …")

    def test_what_ended_it_from_outside_counts_more(self) -> None:
        run = make_run(status=Status.RUNNING)
        report_failure(run, WHY)
        nodes.end_failed(run, ErrorClass.TIME_LIMIT, "The time limit was reached.")
        assert fresh(run).error_message == "The time limit was reached."

    def test_nothing_is_left_of_it_when_the_script_succeeds_or_is_tried_again(self) -> None:
        good, again = make_run(status=Status.RUNNING), make_run(status=Status.RUNNING, max_retries=1)
        for run in (good, again):
            report_failure(run, WHY)
        nodes.end_completed(good)
        nodes.end_failed(again, ErrorClass.SCRIPT, "exit code 1")
        for run, status in ((good, Status.COMPLETED), (again, Status.QUEUED)):
            now = fresh(run)
            assert (now.status, now.error_code, now.error_message) == (status, "", "")

    def test_an_older_attempt_says_nothing(self) -> None:
        run = make_run(status=Status.RUNNING)
        Run.objects.filter(pk=run.pk).update(attempt=run.attempt + 1)
        report_failure(run, WHY)
        assert fresh(run).error_message == ""
