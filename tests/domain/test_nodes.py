"""Nodes: who registers, who claims what, and what they say of the end of a run."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from runs.errors import Conflict, InvalidName
from runs.models import ComputeTarget, Node, Run
from runs.models.compute import NODE_ALIVE_FOR
from runs.services import nodes
from runs.services.cancel import cancel_run
from runs.services.compute import drain_node
from runs.status import ErrorClass, Status
from tests.factories import make_node, make_run, make_target, make_workspace
from tests.life_kit import assert_sound

pytestmark = pytest.mark.django_db


class TestRegister:
    def test_a_machine_has_a_row_for_each_target_and_unknown_ones_are_made(self, workspace):
        made = nodes.register("box", ["local", "gpu-compute"], 4, "a")
        assert [(node.target.name, node.name, node.slots) for node in made] == [
            ("local", "box", 4), ("gpu-compute", "box", 4),
        ]  # fmt: skip
        assert made[0].facts["cpus"] >= 1
        assert ComputeTarget.objects.filter(is_default=True).count() == 1

    def test_a_second_start_keeps_the_row(self, workspace):
        first = nodes.register("box", ["local"], 2, "a")
        second = nodes.register("box", ["local"], 8, "a")
        assert first[0].pk == second[0].pk
        assert Node.objects.get().slots == 8

    def test_a_target_of_a_named_workspace(self, workspace):
        elsewhere = make_workspace("elsewhere")
        [node] = nodes.register("box", ["elsewhere/gpu"], 2, "a")
        assert node.target.workspace == elsewhere

    @pytest.mark.parametrize("word", ["nowhere/gpu", "no good", "x"])
    def test_what_cannot_be_a_target_is_refused(self, workspace, word):
        with pytest.raises(InvalidName):
            nodes.register("box", [word], 2, "a")

    @pytest.mark.parametrize("target", ["local", "gpu"])
    def test_another_machine_of_the_same_name_is_refused_whatever_it_serves(self, workspace, target):
        nodes.register("box", ["local"], 2, "a")
        with pytest.raises(Conflict, match="Another node is called box"):
            nodes.register("box", [target], 4, "b")
        assert Node.objects.get().slots == 2
        assert ComputeTarget.objects.count() == 1

    def test_a_name_is_free_again_once_its_machine_is_gone(self, workspace):
        [first] = nodes.register("box", ["local"], 2, "a")
        Node.objects.update(last_seen_at=Now() - NODE_ALIVE_FOR - timedelta(seconds=1))
        [second] = nodes.register("box", ["local"], 2, "b")
        assert second.pk == first.pk
        assert not nodes.beat([first], [])
        assert nodes.beat([second], [])

    def test_a_name_is_not_free_while_its_runs_may_be_alive(self, workspace, settings):
        settings.LOST_AFTER_SECONDS = 300
        [first] = nodes.register("box", ["local"], 2, "a")
        run = make_run(status=Status.RUNNING, node=first)
        Node.objects.update(last_seen_at=Now() - timedelta(seconds=60))
        Run.objects.update(heartbeat_at=Now() - timedelta(seconds=299))
        with pytest.raises(Conflict, match="in the last 300 s"):
            nodes.register("box", ["local", "gpu"], 2, "b")
        assert nodes.register("box", ["local"], 2, "a")
        Node.objects.update(last_seen_at=Now() - timedelta(seconds=60))
        Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - timedelta(seconds=301))
        assert nodes.register("box", ["local"], 2, "b")

    def test_a_node_that_was_forgotten_learns_it_from_its_next_beat(self, workspace):
        made = nodes.register("box", ["local", "gpu"], 2, "a")
        assert nodes.beat(made, [])
        made[0].delete()
        assert not nodes.beat(made, [])
        assert nodes.beat(nodes.register("box", ["local", "gpu"], 2, "a"), [])

    def test_an_older_attempt_is_no_sign_of_life_of_the_next(self):
        run = make_run(status=Status.QUEUED, max_retries=1)
        here, there = make_node("here"), make_node("there")
        [first] = nodes.claim([here], 1)
        nodes.end_failed(first, ErrorClass.LOST, "lost")
        [second] = nodes.claim([there], 1)
        long_ago = Now() - timedelta(hours=1)
        Run.objects.filter(pk=run.pk).update(heartbeat_at=long_ago, status=Status.NOT_RESPONDING)
        assert nodes.beat([here], [(first.pk, first.attempt)])
        run.refresh_from_db()
        assert run.status == Status.NOT_RESPONDING
        assert run.heartbeat_at < run.queued_at
        others = make_run(status=Status.RUNNING)
        assert nodes.beat([there], [(others.pk, others.attempt), (second.pk, second.attempt)])
        run.refresh_from_db()
        assert run.status == Status.RUNNING
        assert run.heartbeat_at > run.queued_at


class TestClaim:
    def test_the_longest_waiting_first_and_no_more_than_there_are_slots(self):
        node = make_node()
        runs = [make_run(status=Status.QUEUED) for _ in range(3)]
        Run.objects.filter(pk=runs[2].pk).update(queued_at=runs[0].created_at.replace(year=2020))
        assert [run.pk for run in nodes.claim([node], 2)] == [runs[2].pk, runs[0].pk]
        assert nodes.claim([node], 2) == []
        for run in runs:
            assert_sound(run)

    def test_what_is_claimed_says_so(self):
        node = make_node("box")
        make_run(status=Status.QUEUED)
        [run] = nodes.claim([node], 2)
        assert (run.status, run.attempt, run.node_id, run.holds_slot) == (
            Status.PREPARING, 1, node.pk, True,
        )  # fmt: skip
        assert run.events.last().why == "claimed by box"
        assert run.events.last().attempt == 1

    def test_a_free_slot_claims_again(self):
        node = make_node()
        first, second = make_run(status=Status.QUEUED), make_run(status=Status.QUEUED)
        [claimed] = nodes.claim([node], 1)
        assert nodes.end_completed(claimed)
        assert [run.pk for run in nodes.claim([node], 1)] == [second.pk]
        assert claimed.pk == first.pk

    def test_slots_are_one_pool_for_all_targets_of_a_machine(self):
        here = [make_node("box", target=make_target(name)) for name in ("local", "gpu")]
        for node in here * 2:
            make_run(status=Status.QUEUED, target=node.target)
        assert len(nodes.claim(here, 3)) == 3
        assert nodes.claim(here[:1], 3) == []

    def test_a_target_that_it_serves_no_more_still_fills_its_slots(self):
        here = [make_node("box", target=make_target(name)) for name in ("local", "gpu")]
        make_run(status=Status.RUNNING, node=here[1], target=here[1].target)
        make_run(status=Status.QUEUED, target=here[0].target)
        assert nodes.claim(here[:1], 1) == []

    def test_other_targets_are_left_alone(self):
        node = make_node("box", target=make_target("gpu"))
        make_run(status=Status.QUEUED)
        assert nodes.claim([node], 2) == []

    def test_a_drained_node_takes_nothing_until_it_is_let(self, chi):
        node = make_node()
        make_run(status=Status.QUEUED)
        assert drain_node(node, by=chi)
        assert not drain_node(node, by=chi)
        assert nodes.claim([node], 2) == []
        assert drain_node(node, by=chi, drained=False)
        assert len(nodes.claim([node], 2)) == 1

    def test_a_machine_drained_for_one_target_goes_on_with_the_other(self, chi):
        here = [make_node("box", target=make_target(name)) for name in ("local", "gpu")]
        for node in here:
            make_run(status=Status.QUEUED, target=node.target)
        drain_node(here[0], by=chi)
        assert [run.target_id for run in nodes.claim(here, 4)] == [here[1].target_id]


class TestAdopt:
    def test_a_machine_that_was_renamed_goes_on_with_its_process(self):
        run = make_run(status=Status.RUNNING, node=make_node("before"))
        now = make_node("after", target=run.node.target)
        assert nodes.adopt(run, [now], has_process=True)
        run.refresh_from_db()
        assert run.node == now

    def test_a_copied_folder_takes_no_run_from_a_node_that_lives(self):
        run = make_run(status=Status.RUNNING, node=make_node("alive"))
        copy = make_node("copy", target=run.node.target)
        assert not nodes.adopt(run, [copy], has_process=False)
        Node.objects.filter(name="alive").update(last_seen_at=Now() - timedelta(seconds=60))
        assert nodes.adopt(run, [copy], has_process=False)


class TestEnds:
    def test_retries_are_counted(self):
        run, node = make_run(status=Status.QUEUED, max_retries=2), make_node()
        for attempt in (1, 2, 3):
            [claimed] = nodes.claim([node], 1)
            assert claimed.attempt == attempt
            assert nodes.end_failed(claimed, ErrorClass.SCRIPT, "exit code 1", exit_code=1)
        run.refresh_from_db()
        assert (run.status, run.error_message, run.exit_code) == (Status.FAILED, "exit code 1", 1)
        assert run.events.filter(why="attempt 1 of 3 failed: exit code 1").count() == 1
        assert_sound(run)

    def test_a_claim_that_came_to_nothing_costs_no_retry(self):
        make_run(status=Status.QUEUED, max_retries=1)
        node = make_node()
        for status in (Status.PREPARING, Status.NOT_RESPONDING, Status.RUNNING):
            [claimed] = nodes.claim([node], 1)
            Run.objects.filter(pk=claimed.pk).update(status=status)
            assert nodes.give_back(claimed, "the node went away")
        for attempt in (1, 2):
            [claimed] = nodes.claim([node], 1)
            assert nodes.end_failed(claimed, ErrorClass.SCRIPT, "exit code 1")
            assert claimed.events.filter(why=f"attempt {attempt} of 2 failed: exit code 1").count() == (
                attempt < 2
            )
        claimed.refresh_from_db()
        assert (claimed.status, claimed.attempt) == (Status.FAILED, 5)

    def test_a_run_whose_folder_is_gone_may_have_run_and_is_not_given_back_once_it_was_silent(self):
        run = make_run(status=Status.NOT_RESPONDING)
        assert not nodes.give_back(run, "no folder", expect=nodes.BEFORE_RUNNING)

    def test_a_run_that_was_asked_to_stop_is_canceled_however_it_ended(self):
        for end in (nodes.end_completed, lambda run: nodes.end_failed(run, ErrorClass.SIGNAL, "SIGTERM")):
            run = make_run(status=Status.RUNNING, max_retries=3)
            cancel_run(run, by=None)
            assert end(run)
            run.refresh_from_db()
            assert (run.status, run.error_class) == (Status.CANCELED, "")

    def test_an_older_attempt_ends_nothing(self):
        node = make_node()
        make_run(status=Status.QUEUED, max_retries=1)
        [first] = nodes.claim([node], 1)
        nodes.end_failed(first, ErrorClass.LOST, "lost")
        [second] = nodes.claim([node], 1)
        assert not nodes.end_completed(first)
        assert not nodes.starting(first)
        nodes.started(first, 1)
        nodes.finalizing(first)
        second.refresh_from_db()
        assert second.status == Status.PREPARING

    def test_preparing_that_took_long_starts_nevertheless(self):
        run = make_run(status=Status.NOT_RESPONDING)
        assert nodes.starting(run)
        cancel_run(run, by=None)
        assert not nodes.starting(run)

    def test_a_machine_finds_the_runs_of_targets_that_it_serves_no_more(self):
        here = [make_node("box", target=make_target(name)) for name in ("local", "gpu")]
        run = make_run(status=Status.RUNNING, node=here[1], target=here[1].target)
        make_run(status=Status.RUNNING, node=make_node("other", target=make_target("far")))
        assert [found.pk for found in nodes.supervised("box")] == [run.pk]
