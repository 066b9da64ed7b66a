"""A parent that waits for its children gives its slot back, and has it again afterwards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from runs.models import Node, Run
from runs.services import nodes, sweeps
from runs.services.waiting import stop_waiting, wait_for_child
from runs.status import Kind, Status
from tests.factories import make_node, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def node() -> Node:
    return make_node(slots=1)


@pytest.fixture
def parent(node: Node) -> Run:
    return make_run(status=Status.RUNNING, node=node)


def child_of(parent: Run | None) -> Run:
    return make_run(status=Status.QUEUED, parent=parent, kind=Kind.SCRIPT)


def claimed(node: Node) -> list[int]:
    return [run.pk for run in nodes.claim([node], node.slots)]


def test_its_slot_is_for_its_child(node: Node, parent: Run) -> None:
    child = child_of(parent)
    assert claimed(node) == []
    wait_for_child(parent, child)
    assert claimed(node) == [child.pk]
    assert claimed(node) == []


def test_children_of_waiting_parents_come_before_older_runs(node: Node, parent: Run) -> None:
    older, child = child_of(None), child_of(parent)
    wait_for_child(parent, child)
    assert claimed(node) == [child.pk]
    nodes.end_completed(Run.objects.get(pk=child.pk))
    assert claimed(node) == [older.pk]


def test_all_that_descends_from_waiting_parents_comes_before_older_runs(
    node: Node, parent: Run, django_assert_max_num_queries: Any
) -> None:
    older, beside = child_of(None), child_of(make_run(status=Status.RUNNING))
    pipeline = make_run(parent=parent, kind=Kind.PIPELINE, status=Status.QUEUED)
    step = make_run(parent=pipeline, kind=Kind.STEP, status=Status.QUEUED)
    below = child_of(make_run(parent=parent, kind=Kind.INTERACTIVE, status=Status.RUNNING))
    wait_for_child(parent, pipeline)
    with django_assert_max_num_queries(20):
        assert claimed(node) == [step.pk]
    for run, after in ((step, below), (below, older), (older, beside)):
        nodes.end_completed(Run.objects.get(pk=run.pk))
        assert claimed(node) == [after.pk]


def test_what_is_queued_beside_a_waiting_parent_does_not_come_first(node: Node) -> None:
    above = make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING)
    beside = child_of(above)
    parent = make_run(parent=above, kind=Kind.SCRIPT, status=Status.RUNNING, node=node)
    child = child_of(parent)
    wait_for_child(parent, child)
    assert claimed(node) == [child.pk]
    nodes.end_completed(Run.objects.get(pk=child.pk))
    assert claimed(node) == [beside.pk]


def test_when_it_goes_on_the_slot_is_its_own_again(node: Node, parent: Run) -> None:
    wait_for_child(parent, child_of(parent))
    stop_waiting(parent)
    assert Run.objects.get(pk=parent.pk).holds_slot
    assert claimed(node) == []


def test_who_says_no_more_has_the_slot_again(node: Node, parent: Run) -> None:
    child = child_of(parent)
    wait_for_child(parent, child)
    Run.objects.filter(pk=parent.pk).update(waits_until=Now() - timedelta(seconds=1))
    assert claimed(node) == []
    sweeps.sweep(timedelta(days=1))
    now = Run.objects.get(pk=parent.pk)
    assert (now.holds_slot, now.waits_until) == (True, None)


def test_waiting_goes_on_as_long_as_it_is_said(parent: Run) -> None:
    child = child_of(parent)
    wait_for_child(parent, child)
    Run.objects.filter(pk=parent.pk).update(waits_until=Now() - timedelta(seconds=1))
    wait_for_child(parent, child)
    assert sweeps.take_slots_back() == 0


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.QUEUED])
def test_nothing_is_held_after_the_end_or_by_another_attempt(parent: Run, status: Status) -> None:
    child = child_of(parent)
    wait_for_child(parent, child)
    if status == Status.QUEUED:
        nodes.end_failed(parent, "script", "so", may_retry=False)  # type: ignore[arg-type]
    else:
        nodes.end_completed(parent)
    wait_for_child(parent, child)
    stop_waiting(parent)
    now = Run.objects.get(pk=parent.pk)
    assert (now.holds_slot, now.waits_until) == (False, None)
