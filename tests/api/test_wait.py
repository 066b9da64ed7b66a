"""Waiting for a run: answered when it changes, has ended, or the time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from runs.api import long_polls
from runs.models import Run
from runs.services.cancel import cancel_run
from runs.services.tags import set_tag
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.api_kit import Api
from tests.execution_kit import wait_for
from tests.factories import make_node, make_run

pytestmark = pytest.mark.django_db(transaction=True)


def version_of(api: Api, run: Run) -> str:
    return api.get(f"/runs/{run.run_id}").json()["version"]


def settled(run: Run) -> Run:
    """A run that did not change just now."""
    Run.objects.filter(pk=run.pk).update(updated_at="2026-01-01T00:00:00Z")
    return run


class Waiter(threading.Thread):
    """One request that waits, and when it was answered."""

    def __init__(self, api: Api, run: Run, **query: Any) -> None:
        super().__init__()
        self.api, self.run_id, self.query = api, run.run_id, query
        self.answer: dict[str, Any] = {}
        self.seconds = 0.0

    def run(self) -> None:
        begin = time.monotonic()
        try:
            self.answer = self.api.get(f"/runs/{self.run_id}/wait", self.query).json()
        finally:
            connection.close()
        self.seconds = time.monotonic() - begin


def waiting(free: int) -> None:
    """Until so many places are left."""
    wait_for(lambda: long_polls._places._value == free)


def test_what_has_ended_is_answered_at_once(api: Api) -> None:
    run = make_run()
    begin = time.monotonic()
    said = api.get(f"/runs/{run.run_id}/wait", {"since": version_of(api, run), "timeout": 20}).json()
    assert said["status"] == "Completed"
    assert time.monotonic() - begin < 5


def test_another_version_is_answered_at_once(api: Api) -> None:
    run = settled(make_run(status=Status.RUNNING))
    assert api.get(f"/runs/{run.run_id}/wait", {"since": "0"}).json()["status"] == "Running"


@pytest.mark.parametrize("change", ["tag", "end"])
def test_a_change_wakes_whoever_waits(api: Api, ana: User, change: str) -> None:
    run = settled(make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING))
    waiter = Waiter(api, run, timeout=20)
    waiter.start()
    waiting(long_polls.PLACES - 1)
    begin = time.monotonic()
    if change == "tag":
        set_tag(run, "seen", by=ana)
    else:
        cancel_run(run, by=ana)
    waiter.join(20)
    assert time.monotonic() - begin < 5
    assert waiter.answer["tags"] == ({"seen": None} if change == "tag" else {})


def test_nothing_new_is_said_when_the_time_is_over(api: Api) -> None:
    run = settled(make_run(status=Status.RUNNING))
    version = version_of(api, run)
    said = api.get(f"/runs/{run.run_id}/wait", {"since": version, "timeout": 0.3}).json()
    assert (said["status"], said["version"]) == ("Running", version)


@pytest.mark.parametrize("timeout", [-1, 26, "x", "nan"])
def test_bad_timeouts(api: Api, timeout: Any) -> None:
    assert api.get(f"/runs/{make_run().run_id}/wait", {"timeout": timeout}).status_code == 422


def test_when_all_places_are_taken_others_are_answered_at_once(api: Api, ana: User) -> None:
    run = settled(make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING))
    waiters = [Waiter(Api(api.token), run, timeout=20) for _ in range(long_polls.PLACES)]
    for waiter in waiters:
        waiter.start()
    waiting(0)
    one_more = Waiter(Api(api.token), run, timeout=20)
    one_more.start()
    one_more.join(10)
    assert one_more.answer["status"] == "Running"
    assert all(waiter.is_alive() for waiter in waiters)
    cancel_run(run, by=ana)
    for waiter in waiters:
        waiter.join(20)
        assert waiter.answer["status"] == "Canceled"
    waiting(long_polls.PLACES)


def test_a_run_that_waits_for_its_child_gives_its_slot_back_until_the_child_has_ended(
    api_of: Callable[..., Api], ana: User
) -> None:
    parent = make_run(status=Status.RUNNING, submitter=ana, node=make_node(slots=1))
    child = settled(make_run(parent=parent, kind=Kind.SCRIPT, status=Status.QUEUED))
    api = api_of(parent)
    assert api.get(f"/runs/{child.run_id}/wait", {"timeout": 0}).status_code == 200
    assert not Run.objects.get(pk=parent.pk).holds_slot
    cancel_run(child, by=ana)
    assert api.get(f"/runs/{child.run_id}/wait", {"timeout": 0}).json()["status"] == "Canceled"
    assert Run.objects.get(pk=parent.pk).holds_slot


def test_a_run_that_asks_again_and_again_after_its_child_gives_its_slot_back(
    api_of: Callable[..., Api], ana: User
) -> None:
    parent = make_run(status=Status.RUNNING, submitter=ana, node=make_node(slots=1))
    child = settled(make_run(parent=parent, kind=Kind.SCRIPT, status=Status.QUEUED))
    api = api_of(parent)
    Run.objects.filter(pk=child.pk).update(queued_at=Now())
    assert api.get(f"/runs/{child.run_id}").status_code == 200
    assert Run.objects.get(pk=parent.pk).holds_slot
    Run.objects.filter(pk=child.pk).update(queued_at=Now() - timedelta(seconds=6))
    api_of(ana).get(f"/runs/{child.run_id}")
    assert Run.objects.get(pk=parent.pk).holds_slot
    assert api.get(f"/runs/{child.run_id}").status_code == 200
    assert not Run.objects.get(pk=parent.pk).holds_slot


def test_nobody_elses_slot_is_given_back(api_of: Callable[..., Api], ana: User) -> None:
    parent = make_run(status=Status.RUNNING, submitter=ana, node=make_node(slots=1))
    child = make_run(parent=parent, kind=Kind.SCRIPT, status=Status.RUNNING)
    api_of(ana).get(f"/runs/{child.run_id}/wait", {"timeout": 0})
    api_of(child).get(f"/runs/{child.run_id}/wait", {"timeout": 0})
    api_of(child).get(f"/runs/{parent.run_id}/wait", {"timeout": 0})
    assert Run.objects.get(pk=parent.pk).holds_slot
    assert Run.objects.get(pk=child.pk).holds_slot
