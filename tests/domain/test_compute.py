"""Compute targets, and why a run waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runs.errors import Conflict, InvalidName, UnknownTarget
from runs.models import ComputeTarget, Node
from runs.services import compute
from runs.status import Status
from tests.factories import make_node, make_run, make_target, make_workspace
from tests.life_kit import at_once

pytestmark = pytest.mark.django_db


def reason(run):
    return compute.why_waiting(run).reason


class TestWhyWaiting:
    def test_no_node(self):
        assert reason(make_run(status=Status.QUEUED)) == "No node serves local."

    def test_only_a_node_that_was_not_seen_lately(self):
        make_node(last_seen_at=datetime.now(UTC) - timedelta(minutes=5))
        assert reason(make_run(status=Status.QUEUED)) == "No node serves local."

    def test_all_draining(self, chi):
        compute.drain_node(make_node(), by=chi)
        assert reason(make_run(status=Status.QUEUED)) == (
            "Every node of local is draining and takes nothing new."
        )

    def test_slots_taken(self):
        node = make_node(slots=1)
        make_run(status=Status.RUNNING, node=node)
        first, second = make_run(status=Status.QUEUED), make_run(status=Status.QUEUED)
        assert reason(first) == "The only slot of local is taken; it is next."
        assert reason(second) == "The only slot of local is taken; 1 queued before it."
        assert compute.why_waiting(second).place == 2

    def test_slots_taken_by_another_target_of_the_same_machine(self):
        make_node("box", slots=1)
        other = make_node("box", slots=1, target=make_target("gpu"))
        make_run(status=Status.RUNNING, node=other, target=other.target)
        assert compute.why_waiting(make_run(status=Status.QUEUED)).slots_used == 1

    def test_about_to_be_claimed(self):
        make_node()
        assert reason(make_run(status=Status.QUEUED)) == "local has a free slot; a node is about to claim it."

    @pytest.mark.parametrize("status", sorted(set(Status) - {Status.QUEUED}))
    def test_nothing_else_waits_in_a_queue(self, status):
        assert compute.why_waiting(make_run(status=status)) is None

    def test_it_costs_four_queries_however_long_the_queue(self, django_assert_max_num_queries):
        make_node()
        runs = [make_run(status=Status.QUEUED) for _ in range(10)]
        with django_assert_max_num_queries(4):  # before it, the queue, nodes, slots
            compute.why_waiting(runs[-1])


class TestTargets:
    def test_the_first_is_the_default(self, workspace, chi):
        first = compute.create_target(workspace, "local", by=chi)
        second = compute.create_target(workspace, "gpu", by=chi)
        assert (first.is_default, second.is_default) == (True, False)
        compute.set_default_target(second, by=chi)
        assert ComputeTarget.objects.get(is_default=True) == second

    @pytest.mark.parametrize("name", ["", "x", "1box", "a b", "a" * 25, "a\0b", "größe"])
    def test_a_bad_name_is_refused_with_the_rule(self, workspace, chi, name):
        with pytest.raises(InvalidName) as caught:
            compute.create_target(workspace, name, by=chi)
        assert caught.value.field == "name"
        assert caught.value.hint

    def test_a_control_character_in_it_is_seen(self, workspace, chi):
        with pytest.raises(InvalidName, match=r"“a\\x07b” cannot be a compute target's name"):
            compute.create_target(workspace, "a\x07b", by=chi)

    def test_a_name_is_given_once(self, workspace, chi):
        compute.create_target(workspace, "local", by=chi)
        with pytest.raises(Conflict):
            compute.create_target(workspace, "local", by=chi)

    def test_another_workspaces_target_is_unknown(self, workspace):
        make_target("theirs", workspace=make_workspace("elsewhere"))
        make_target("ours")
        with pytest.raises(UnknownTarget, match="There is ours"):
            compute.find_target(workspace, "theirs")

    def test_a_workspace_without_targets_says_how_one_is_made(self, workspace):
        with pytest.raises(UnknownTarget) as caught:
            compute.find_target(workspace, "local")
        assert f"`python manage.py node --targets {workspace.name}/local`" in caught.value.hint
        assert "the page Compute" in caught.value.hint


class TestForgetting:
    def test_a_node_that_is_gone_is_forgotten(self, chi):
        node = make_node(last_seen_at=None)
        compute.forget_node(node, by=chi)
        assert not Node.objects.exists()

    def test_one_that_is_alive_or_has_runs_is_not(self, chi):
        alive = make_node("alive")
        busy = make_node("busy", last_seen_at=None)
        make_run(status=Status.RUNNING, node=busy)
        for node in (alive, busy):
            with pytest.raises(Conflict):
                compute.forget_node(node, by=chi)
        assert Node.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_owners_choose_a_default_at_once(workspace, chi):
    targets = [make_target(name) for name in ("one", "two", "three")]
    compute.set_default_target(targets[2], by=chi)
    calls = [lambda target=target: compute.set_default_target(target, by=chi) for target in targets]
    assert at_once(calls) == [None] * 3
    assert ComputeTarget.objects.filter(is_default=True).count() == 1
