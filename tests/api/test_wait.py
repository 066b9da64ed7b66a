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
from runs.services.waiting import look_below, take_slots_back
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.api_kit import Api
from tests.execution_kit import wait_for
from tests.factories import make_node, make_run, make_target

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


def test_a_run_that_has_just_changed_is_waited_for_like_any_other(api: Api) -> None:
    run = make_run(status=Status.RUNNING)
    Run.objects.filter(pk=run.pk).update(updated_at=Now())
    first = version_of(api, run)
    seen = api.get(f"/runs/{run.run_id}/wait", {"since": first, "timeout": 20}).json()["version"]
    assert seen == first.partition("-")[0]
    Run.objects.filter(pk=run.pk).update(updated_at=Now())
    begin = time.monotonic()
    api.get(f"/runs/{run.run_id}/wait", {"timeout": 0.6})
    assert time.monotonic() - begin >= 0.6


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


def queued_before(*runs: Run, **age: float) -> None:
    Run.objects.filter(pk__in=[run.pk for run in runs]).update(queued_at=Now() - timedelta(**age))


@pytest.mark.parametrize("address", ["/runs/{child}", "/runs/{parent}/children"])
def test_a_run_that_looks_at_its_queued_child_gives_its_slot_back(
    api_of: Callable[..., Api], ana: User, address: str
) -> None:
    parent = make_run(status=Status.RUNNING, submitter=ana, node=make_node(slots=1))
    child = settled(make_run(parent=parent, kind=Kind.SCRIPT, status=Status.QUEUED))
    path = address.format(child=child.run_id, parent=parent.run_id)

    def holds(api: Api) -> bool:
        assert api.get(path).status_code == 200
        return Run.objects.get(pk=parent.pk).holds_slot

    queued_before(child, seconds=1)
    assert holds(api_of(parent))
    queued_before(child, seconds=6)
    assert holds(api_of(ana))
    assert not holds(api_of(parent))
    cancel_run(child, by=ana)
    assert holds(api_of(parent))


@pytest.mark.parametrize("is_served", [False, True])
def test_only_what_needs_the_slot_of_a_run_is_given_it(
    api_of: Callable[..., Api], ana: User, is_served: bool
) -> None:
    node = make_node("box", slots=1)
    other = make_node("box" if is_served else "elsewhere", target=make_target("gpu-compute"), slots=1).target
    parent = make_run(status=Status.RUNNING, submitter=ana, node=node)
    child = make_run(parent=parent, kind=Kind.SCRIPT, status=Status.QUEUED, target=other)
    queued_before(child, seconds=6)
    assert api_of(parent).get(f"/runs/{child.run_id}").status_code == 200
    assert Run.objects.get(pk=parent.pk).holds_slot is not is_served


def test_a_run_gives_its_slot_to_what_its_child_has_queued(api_of: Callable[..., Api], ana: User) -> None:
    node = make_node(slots=2)
    parent = make_run(status=Status.RUNNING, submitter=ana, node=node)
    child = make_run(parent=parent, kind=Kind.SCRIPT, status=Status.RUNNING, node=node)
    queued_before(make_run(parent=child, kind=Kind.SCRIPT, status=Status.QUEUED), seconds=6)
    assert api_of(parent).get(f"/runs/{child.run_id}").status_code == 200
    assert not Run.objects.get(pk=parent.pk).holds_slot


@pytest.mark.parametrize("address", ["/runs/{run}/children", "/runs/{parent}/children"])
@pytest.mark.parametrize("kind", [Kind.SCRIPT, Kind.STEP])
def test_what_is_queued_beside_a_run_gets_none_of_its_slot(
    api_of: Callable[..., Api], ana: User, kind: Kind, address: str
) -> None:
    parent = make_run(kind=Kind.PIPELINE if kind == Kind.STEP else Kind.SCRIPT, status=Status.RUNNING)
    run = make_run(kind=kind, parent=parent, status=Status.RUNNING, submitter=ana, node=make_node(slots=1))
    child = make_run(kind=Kind.SCRIPT, parent=run, status=Status.COMPLETED)
    beside = make_run(kind=kind, parent=parent, status=Status.QUEUED)
    queued_before(beside, seconds=6)
    api = api_of(run)
    assert api.get(address.format(run=run.run_id, parent=parent.run_id)).status_code == 200
    assert api.get(f"/runs/{child.run_id}").status_code == 200
    assert Run.objects.get(pk=run.pk).holds_slot


def test_a_run_that_lists_what_is_beside_it_waits_for_nothing(api_of: Callable[..., Api], ana: User) -> None:
    parent = make_run(kind=Kind.PIPELINE, status=Status.RUNNING)
    step = make_run(
        kind=Kind.STEP, parent=parent, status=Status.RUNNING, submitter=ana, node=make_node(slots=1)
    )
    queued_before(make_run(kind=Kind.SCRIPT, parent=step, status=Status.QUEUED), seconds=6)
    assert api_of(step).get(f"/runs/{parent.run_id}/children").status_code == 200
    assert Run.objects.get(pk=step.pk).holds_slot


def test_a_child_gives_its_slot_to_what_its_own_children_have_queued(
    api_of: Callable[..., Api], ana: User, django_assert_max_num_queries: Any
) -> None:
    run = make_run(
        parent=make_run(status=Status.RUNNING), status=Status.RUNNING, submitter=ana, node=make_node(slots=1)
    )
    child = make_run(kind=Kind.PIPELINE, parent=run, status=Status.QUEUED)
    queued_before(make_run(kind=Kind.STEP, parent=child, status=Status.QUEUED), seconds=6)
    with django_assert_max_num_queries(7):
        look_below(run)
    assert not Run.objects.get(pk=run.pk).holds_slot


@pytest.mark.parametrize("address", ["wait?timeout=0", "logs/user_logs/std_log.txt?wait=0.1"])
def test_an_interactive_child_needs_no_slot_and_what_is_queued_below_it_does(
    api_of: Callable[..., Api], ana: User, address: str
) -> None:
    parent = make_run(status=Status.RUNNING, submitter=ana, node=make_node(slots=1))
    child = settled(make_run(parent=parent, kind=Kind.INTERACTIVE, status=Status.RUNNING))
    api = api_of(parent)
    assert api.get(f"/runs/{child.run_id}/{address}").status_code == 200
    assert Run.objects.get(pk=parent.pk).holds_slot
    queued_before(make_run(parent=child, kind=Kind.SCRIPT, status=Status.QUEUED), seconds=6)
    assert api.get(f"/runs/{child.run_id}/{address}").status_code == 200
    assert not Run.objects.get(pk=parent.pk).holds_slot


def test_a_run_that_follows_the_log_of_its_child_waits_for_it(api_of: Callable[..., Api], ana: User) -> None:
    parent = make_run(status=Status.RUNNING, submitter=ana, node=make_node(slots=1))
    child = make_run(parent=parent, kind=Kind.SCRIPT, status=Status.RUNNING)
    Run.objects.filter(pk=child.pk).update(attempt=2)
    api = api_of(parent)

    def holds(**query: Any) -> bool:
        expected = 404 if query.get("attempt") == 3 else 200
        assert api.get(f"/runs/{child.run_id}/logs/user_logs/std_log.txt", query).status_code == expected
        return Run.objects.get(pk=parent.pk).holds_slot

    assert holds()
    assert holds(wait=0.1, attempt=1)
    assert holds(wait=0.1, attempt=3)  # which has not begun
    assert not holds(wait=0.1)
    Run.objects.filter(pk=parent.pk).update(waits_until=Now() - timedelta(seconds=1))
    assert not holds(wait=0.1)
    assert take_slots_back() == 0
    Run.objects.filter(pk=child.pk).update(status=Status.CANCELED, ended_at=Now(), holds_slot=False)
    assert holds(wait=0.1)


def test_nobody_elses_slot_is_given_back(api_of: Callable[..., Api], ana: User) -> None:
    parent = make_run(status=Status.RUNNING, submitter=ana, node=make_node(slots=1))
    child = make_run(parent=parent, kind=Kind.SCRIPT, status=Status.RUNNING)
    api_of(ana).get(f"/runs/{child.run_id}/wait", {"timeout": 0})
    api_of(child).get(f"/runs/{child.run_id}/wait", {"timeout": 0})
    api_of(child).get(f"/runs/{parent.run_id}/wait", {"timeout": 0})
    assert Run.objects.get(pk=parent.pk).holds_slot
    assert Run.objects.get(pk=child.pk).holds_slot
