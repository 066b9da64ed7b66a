"""Sweeps: a run without a sign of life says so, and does not stay that way for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from runs.models import Run
from runs.services import nodes, sweeps
from runs.services.tags import set_tag
from runs.status import ErrorClass, Kind, Status
from tests.factories import make_node, make_run
from tests.life_kit import assert_sound

pytestmark = pytest.mark.django_db

#: For whoever has been in touch with the database all the time.
LONG = timedelta(days=1)


@pytest.fixture(autouse=True)
def _limits(settings: Any) -> None:
    settings.NOT_RESPONDING_AFTER_SECONDS = 30
    settings.LOST_AFTER_SECONDS = 300
    settings.INTERACTIVE_LOST_AFTER_SECONDS = 3600


def silent(seconds: int, **over: Any) -> Run:
    """A run whose last heartbeat is that old by the database's clock."""
    run = make_run(**{"status": Status.RUNNING, **over})
    Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - timedelta(seconds=seconds))
    return run


def status_of(run: Run) -> str:
    run.refresh_from_db()
    assert_sound(run)
    return run.status


@pytest.mark.parametrize("status", [Status.PREPARING, Status.STARTING, Status.RUNNING, Status.FINALIZING])
def test_an_old_heartbeat_is_shown(status):
    old, fresh = silent(31, status=status), silent(20, status=status)
    sweeps.sweep(LONG)
    assert status_of(old) == Status.NOT_RESPONDING
    assert status_of(fresh) == status
    assert old.events.last().why == "no heartbeat for 30 s"


def test_a_heartbeat_that_returns_brings_the_run_back():
    node = make_node()
    run = silent(60, node=node)
    sweeps.sweep(LONG)
    nodes.beat([node], [(run.pk, run.attempt)])
    assert status_of(run) == Status.RUNNING
    sweeps.sweep(LONG)
    assert status_of(run) == Status.RUNNING


def test_after_the_longer_limit_the_run_is_lost():
    run = silent(301, node=make_node("box"))
    sweeps.sweep(LONG)
    assert status_of(run) == Status.FAILED
    assert run.error_class == ErrorClass.LOST
    assert run.error_message.startswith("No sign of life of box since ")
    assert not run.holds_slot


def test_after_an_outage_that_silenced_everybody_a_run_has_time_to_return():
    node = make_node("box")
    run, asked = silent(10_000, node=node), silent(10_000, node=node, status=Status.CANCEL_REQUESTED)
    for _ in range(2):
        sweeps.sweep(timedelta(seconds=269))
        assert status_of(run) == Status.NOT_RESPONDING
        assert status_of(asked) == Status.CANCEL_REQUESTED
    nodes.beat([node], [(run.pk, run.attempt), (asked.pk, asked.attempt)])
    sweeps.sweep(LONG)
    assert status_of(run) == Status.RUNNING
    assert status_of(asked) == Status.CANCEL_REQUESTED


def test_editing_a_silent_run_does_not_put_off_its_end(ana):
    run = silent(10_000)
    sweeps.sweep(timedelta(0))
    set_tag(run, "worth", "a look", by=ana)
    sweeps.sweep(timedelta(seconds=270))
    assert status_of(run) == Status.FAILED


def test_a_lost_run_with_retries_left_is_queued_again():
    run = silent(301, max_retries=1)
    sweeps.sweep(LONG)
    assert status_of(run) == Status.QUEUED
    assert run.node is None


def test_a_lost_run_that_was_asked_to_stop_is_canceled():
    run = silent(301, status=Status.CANCEL_REQUESTED, max_retries=1)
    sweeps.sweep(LONG)
    assert status_of(run) == Status.CANCELED


def test_a_run_that_was_asked_to_stop_is_not_called_silent_first():
    run = silent(60, status=Status.CANCEL_REQUESTED)
    sweeps.sweep(LONG)
    assert status_of(run) == Status.CANCEL_REQUESTED


def test_a_notebook_that_died_does_not_look_alive():
    run = silent(60, kind=Kind.INTERACTIVE, target=None)
    sweeps.sweep(LONG)
    assert status_of(run) == Status.NOT_RESPONDING


def test_a_notebook_may_be_away_longer_than_a_node():
    run, dead = (silent(seconds, kind=Kind.INTERACTIVE, target=None) for seconds in (3500, 3601))
    for _ in range(2):
        sweeps.sweep(LONG)
        assert status_of(run) == Status.NOT_RESPONDING
    assert status_of(dead) == Status.FAILED
    assert dead.error_class == ErrorClass.LOST
    nodes.beat_attempts([(run.pk, run.attempt)])
    assert status_of(run) == Status.RUNNING


@pytest.mark.parametrize("status", [Status.NOT_STARTED, Status.QUEUED, Status.COMPLETED])
def test_what_has_no_process_has_no_heartbeat_to_miss(status):
    run = silent(10_000, status=status)
    sweeps.sweep(LONG)
    assert status_of(run) == status


def test_a_pipeline_has_no_heartbeat_of_its_own():
    pipeline = silent(10_000, kind=Kind.PIPELINE)
    child = make_run(parent=pipeline, step_name="a", status=Status.RUNNING)
    sweeps.sweep(LONG)
    assert status_of(pipeline) == Status.RUNNING
    assert status_of(child) == Status.RUNNING


def test_nothing_to_do_costs_the_same_whatever_runs(django_assert_num_queries):
    for count in (1, 10):
        for _ in range(count):
            silent(1)
        with django_assert_num_queries(
            4
        ):  # silent runs, lost runs, slots to take back, pipelines left behind
            sweeps.sweep(LONG)


def test_a_sweep_leaves_room_for_other_writers(monkeypatch):
    monkeypatch.setattr(sweeps, "AT_ONCE", 2)
    runs = [silent(301, node=make_node(f"box{number}")) for number in range(3)]
    sweeps.sweep(LONG)
    assert sorted(map(status_of, runs)) == [Status.FAILED, Status.FAILED, Status.RUNNING]
    sweeps.sweep(LONG)
    assert set(map(status_of, runs)) == {Status.FAILED}
