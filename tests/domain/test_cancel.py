"""Cancelling: at once what waits, by request what runs, never what has ended."""

from __future__ import annotations

import pytest

from runs.models import Run
from runs.services.cancel import CancelReport, cancel_run, cancel_runs
from runs.status import ON_NODE, TERMINAL, Kind, Status
from tests.factories import make_pipeline, make_run
from tests.life_kit import assert_sound

pytestmark = pytest.mark.django_db


def status_of(run: Run) -> str:
    return Run.objects.get(pk=run.pk).status


@pytest.mark.parametrize("status", [Status.NOT_STARTED, Status.QUEUED])
def test_what_has_not_started_is_canceled_at_once(ana, status):
    run = make_run(status=status, kind=Kind.SCRIPT)
    assert cancel_run(run, by=ana) == CancelReport(canceled=1)
    run.refresh_from_db()
    assert (run.status, run.cancel_requested_by) == (Status.CANCELED, ana)
    assert run.cancel_requested_at is not None
    assert run.started_at is None


@pytest.mark.parametrize("status", sorted(ON_NODE - {Status.CANCEL_REQUESTED}))
def test_what_has_a_process_is_asked_to_stop(ana, status):
    run = make_run(status=status)
    assert cancel_run(run, by=ana, why="it diverged") == CancelReport(requested=1)
    run.refresh_from_db()
    assert (run.status, run.cancel_requested_by) == (Status.CANCEL_REQUESTED, ana)
    assert run.events.last().why == "it diverged"


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_what_has_ended_stays_as_it_is_and_the_report_says_so(ana, status):
    run = make_run(status=status)
    report = cancel_run(run, by=ana)
    assert report == CancelReport(finished=1)
    assert report.changed == 0
    assert status_of(run) == status
    assert_sound(run)


def test_asking_twice_changes_nothing(ana, chi):
    run = make_run(status=Status.RUNNING)
    cancel_run(run, by=ana)
    events = run.events.count()
    assert cancel_run(run, by=chi).changed == 0
    run.refresh_from_db()
    assert (run.cancel_requested_by, run.events.count()) == (ana, events)


def test_an_interactive_run_ends_at_once(ana):
    run = make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING, target=None)
    assert cancel_run(run, by=ana) == CancelReport(canceled=1)
    assert status_of(run) == Status.CANCELED


def test_descendants_go_with_their_parent(ana):
    parent = make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING, target=None)
    child = make_run(parent=parent, kind=Kind.SCRIPT, status=Status.RUNNING)
    done = make_run(parent=parent, kind=Kind.SCRIPT, status=Status.COMPLETED)
    grandchild = make_run(parent=child, kind=Kind.SCRIPT, status=Status.QUEUED)
    assert cancel_run(parent, by=ana) == CancelReport(canceled=2, requested=1, finished=1)
    assert [status_of(run) for run in (parent, child, done, grandchild)] == [
        Status.CANCELED, Status.CANCEL_REQUESTED, Status.COMPLETED, Status.CANCELED,
    ]  # fmt: skip


def test_a_pipeline_ends_after_its_steps(ana):
    pipeline = make_pipeline(
        status=Status.RUNNING,
        statuses={"prepare": Status.COMPLETED, "train": Status.QUEUED, "evaluate": Status.NOT_STARTED},
    )
    cancel_run(pipeline, by=ana)
    assert status_of(pipeline) == Status.CANCELED
    assert list(pipeline.children.order_by("pk").values_list("status", flat=True)) == [
        Status.COMPLETED, Status.CANCELED, Status.CANCELED,
    ]  # fmt: skip
    for run in (pipeline, *pipeline.children.all()):
        assert_sound(run)


def test_many_at_once(ana):
    runs = [make_run(status=status) for status in (Status.QUEUED, Status.RUNNING, Status.FAILED)]
    assert cancel_runs(runs, by=ana) == CancelReport(canceled=1, requested=1, finished=1)
