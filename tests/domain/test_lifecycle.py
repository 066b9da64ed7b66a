"""One lifecycle, whoever acts on a run and in whichever order or at the same time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.errors import RunFinished
from runs.lifecycle import advance_pipeline, move
from runs.models import Node, Run
from runs.services import nodes, sweeps
from runs.services.cancel import cancel_run
from runs.services.ending import Failure, complete_run, fail_run, report_failure
from runs.services.waiting import stop_waiting, wait_for_child
from runs.status import FOLLOWS, ON_NODE, OPEN, ErrorClass, Status
from studio.accounts.models import User
from tests.factories import make_node, make_pipeline, make_run, make_user
from tests.life_kit import assert_sound, at_once

#: More than the longest limit of a silent run.
AGES = timedelta(hours=1)


class Story:
    """A run, the processes on two nodes that believe to have it, and everything that can happen to them."""

    def __init__(self, retries: int) -> None:
        self.run = make_run(status=Status.QUEUED, max_retries=retries, experiment="story")
        self.nodes = [make_node(f"box{self.run.pk}-{n}", target=self.run.target) for n in range(2)]
        self.held: dict[int, Run] = {}
        self.starts: list[int] = []

    def claim(self, who: int) -> None:
        for run in nodes.claim([self.nodes[who]], 2):
            assert run.attempt not in self.starts
            self.starts.append(run.attempt)
            self.held[who] = run

    def prepared(self, who: int) -> None:
        self._hold(who, nodes.starting)

    def started(self, who: int) -> None:
        self._hold(who, lambda run: nodes.started(run, 4711))

    def finish(self, who: int) -> None:
        self._end(who, lambda run: (nodes.finalizing(run), nodes.end_completed(run)))

    def fail(self, who: int) -> None:
        self._end(who, lambda run: nodes.end_failed(run, ErrorClass.SCRIPT, "exit code 1"))

    def beat(self, who: int) -> None:
        run = self.held.get(who)
        nodes.beat([self.nodes[who]], [(run.pk, run.attempt)] if run else [])

    def go_silent(self, who: int) -> None:
        Run.objects.filter(pk=self.run.pk, node=self.nodes[who]).on_node().update(heartbeat_at=Now() - AGES)
        sweeps.mark_silent_runs()

    def lose(self, who: int) -> None:
        sweeps.end_lost_runs()

    def cancel(self, who: int) -> None:
        cancel_run(self.run, by=None)

    def complete_outside(self, who: int) -> None:
        self._end_outside(lambda by: complete_run(self.run, by=by))

    def fail_outside(self, who: int) -> None:
        self._end_outside(lambda by: fail_run(self.run, Failure(message="enough"), by=by))

    def _end_outside(self, act: Callable[[User], None]) -> None:
        before = Run.objects.get(pk=self.run.pk)
        try:
            act(make_user("chi"))
        except RunFinished:
            assert before.is_terminal or before.status == Status.CANCEL_REQUESTED

    def wait(self, who: int) -> None:
        self._hold(who, lambda run: wait_for_child(run, self.run))

    def go_on(self, who: int) -> None:
        self._hold(who, stop_waiting)

    def report(self, who: int) -> None:
        self._hold(who, lambda run: report_failure(run, Failure("Mine", "its own reason")))

    def give_back(self, who: int) -> None:
        self._hold(who, lambda run: nodes.give_back(run, "not started"))

    def _hold(self, who: int, act: Callable[[Run], Any]) -> None:
        if who in self.held:
            act(self.held[who])

    def _end(self, who: int, act: Callable[[Run], Any]) -> None:
        self._hold(who, act)
        self.held.pop(who, None)

    def to_the_end(self) -> None:
        """Nothing more happens but what a healthy Studio does by itself."""
        for _ in range(6):
            for who in range(2):
                self.claim(who)
                self.beat(who)
                self.prepared(who)
                self.started(who)
                self.finish(who)
            self.go_silent(0)
            self.go_silent(1)
            sweeps.sweep(timedelta(days=1))


ACTS = [
    "claim",
    "prepared",
    "started",
    "finish",
    "fail",
    "beat",
    "go_silent",
    "lose",
    "cancel",
    "complete_outside",
    "fail_outside",
    "wait",
    "go_on",
    "report",
    "give_back",
]
TALES = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 1)), max_size=25)


@pytest.mark.django_db
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tale=TALES, retries=st.integers(0, 2))
def test_any_order_of_events_ends_in_one_terminal_status(tale: list[tuple[str, int]], retries: int) -> None:
    with transaction.atomic():
        story = Story(retries)
        for act, who in tale:
            getattr(story, act)(who)
            assert_sound(story.run)
        story.to_the_end()
        assert_sound(story.run)
        story.run.refresh_from_db()
        assert story.run.is_terminal
        transaction.set_rollback(True)


@pytest.mark.django_db
class TestMove:
    def test_it_says_who_won_and_leaves_the_loser_without_a_trace(self) -> None:
        run = make_run(status=Status.RUNNING)
        before = run.events.count()
        assert move(run, to=Status.COMPLETED, expect=(Status.RUNNING,))
        assert not move(run, to=Status.FAILED, expect=(Status.RUNNING,))
        assert run.events.count() == before + 1
        assert_sound(run)

    @pytest.mark.parametrize("status", sorted(set(Status) - OPEN))
    def test_nothing_follows_an_end(self, status: Status) -> None:
        for to in Status:
            with pytest.raises(ValueError, match="never follows"):
                move(make_run(status=status), to=to, expect=(status,))

    def test_what_may_not_follow_is_refused_before_anything_is_written(self) -> None:
        run = make_run(status=Status.QUEUED)
        with pytest.raises(ValueError, match="never follows"):
            move(run, to=Status.FINALIZING, expect=(Status.QUEUED,))
        assert_sound(run)

    def test_every_change_that_may_be_can_be(self) -> None:
        for before, following in FOLLOWS.items():
            for to in following:
                run = make_run(status=before)
                assert move(run, to=to, expect=(before,), error_class="script", error_message="so")
                run.refresh_from_db()
                assert run.status == to
                assert run.events.last().from_status == before

    def test_an_older_attempt_changes_nothing(self) -> None:
        run = make_run(status=Status.RUNNING, attempt=2)
        assert not move(run, to=Status.COMPLETED, expect=(Status.RUNNING,), attempt=1)
        assert_sound(run)

    def test_a_clock_that_was_set_back_does_not_end_a_run_before_its_start(self) -> None:
        run = make_run(status=Status.RUNNING)
        Run.objects.filter(pk=run.pk).update(started_at=Now() + AGES)
        assert move(run, to=Status.COMPLETED, expect=(Status.RUNNING,))
        run.refresh_from_db()
        assert run.ended_at == run.started_at

    def test_start_and_end_are_the_moments_of_their_events(self) -> None:
        run = make_run(status=Status.STARTING)
        assert move(run, to=Status.RUNNING, expect=(Status.STARTING,))
        assert move(run, to=Status.COMPLETED, expect=(Status.RUNNING,))
        run.refresh_from_db()
        started, ended = list(run.events.all())[-2:]
        assert (started.at, ended.at) == (run.started_at, run.ended_at)

    def test_who_and_why_are_kept(self) -> None:
        run, chi = make_run(status=Status.RUNNING), make_user("chi")
        cancel_run(run, by=chi)
        event = run.events.last()
        assert (event.by, event.why) == (chi, "canceled by chi")

    def test_a_change_and_its_event_are_one(self) -> None:
        run = make_run(status=Status.RUNNING)
        with pytest.raises(IntegrityError), transaction.atomic():
            move(run, to=Status.COMPLETED, expect=(Status.RUNNING,), number=0)
        assert_sound(run)


@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    @pytest.fixture(autouse=True)
    def _people(self, workspace: Any, ana: Any) -> None:
        self.ana = ana

    def test_cancel_and_completion(self) -> None:
        for _ in range(8):
            run = make_run(status=Status.RUNNING)
            cancel = lambda run=run: cancel_run(run, by=self.ana)  # noqa: E731
            complete = lambda run=run: nodes.end_completed(run)  # noqa: E731
            report, completed = at_once([cancel, complete])
            assert_sound(run)
            run.refresh_from_db()
            if not run.is_terminal:  # asked after the end was looked for: the node looks once more
                assert report.requested == 1
                assert nodes.end_completed(run)
            assert completed is True
            run.refresh_from_db()
            assert run.status == (Status.CANCELED if report.requested else Status.COMPLETED)

    def test_two_nodes_and_a_cancel_want_the_same_run(self) -> None:
        for n in range(6):
            run = make_run(status=Status.QUEUED)
            boxes = [make_node(f"box{n}-{which}", target=run.target) for which in "ab"]
            first, second, report = at_once(
                [
                    lambda box=boxes[0]: nodes.claim([box], 1),
                    lambda box=boxes[1]: nodes.claim([box], 1),
                    lambda run=run: cancel_run(run, by=self.ana),
                ]
            )
            assert len(first) + len(second) + report.canceled == 1
            assert report.changed == 1
            assert_sound(run)
            for claimed in (*first, *second):
                assert nodes.end_failed(claimed, ErrorClass.SCRIPT, "it was stopped")
            run.refresh_from_db()
            assert run.status == Status.CANCELED

    def test_eight_claims_of_ten_runs(self) -> None:
        runs = [make_run(status=Status.QUEUED) for _ in range(10)]
        boxes = [make_node(f"box{n}", target=runs[0].target) for n in range(8)]
        claimed = [
            run.pk
            for found in at_once([lambda box=box: nodes.claim([box], 2) for box in boxes])
            for run in found
        ]
        assert sorted(claimed) == [run.pk for run in runs]
        for run in runs:
            assert_sound(run)
            assert Run.objects.get(pk=run.pk).attempt == 1

    def test_a_lost_node_returns_while_its_run_is_given_up(self) -> None:
        for _ in range(6):
            run = make_run(status=Status.NOT_RESPONDING, node=make_node(f"box{Run.objects.count()}"))
            Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - AGES)
            node = Node.objects.get(pk=run.node_id)
            mine = [(run.pk, run.attempt)]
            at_once([lambda node=node, mine=mine: nodes.beat([node], mine), sweeps.end_lost_runs])
            assert_sound(run)
            assert Run.objects.get(pk=run.pk).status in (Status.RUNNING, Status.FAILED)

    def test_the_steps_of_a_pipeline_end_together(self) -> None:
        for _ in range(4):
            pipeline = make_pipeline(
                {"a": [], "b": [], "c": ["a", "b"]}, status=Status.RUNNING, statuses={"c": Status.NOT_STARTED}
            )
            a, b, c = pipeline.children.order_by("pk")
            at_once([lambda a=a: nodes.end_completed(a), lambda b=b: nodes.end_completed(b)])
            c.refresh_from_db()
            assert c.status == Status.QUEUED
            assert_sound(c)

    def test_four_processes_bring_a_pipeline_up_to_date(self) -> None:
        pipeline = make_pipeline(
            {"a": [], "b": ["a"], "c": ["a"]},
            status=Status.RUNNING,
            statuses={"a": Status.COMPLETED, "b": Status.NOT_STARTED, "c": Status.NOT_STARTED},
        )
        at_once([lambda: advance_pipeline(pipeline.pk)] * 4)
        for step in pipeline.children.all():
            assert_sound(step)
        assert set(pipeline.children.values_list("status", flat=True)) == {Status.COMPLETED, Status.QUEUED}
        for step in pipeline.children.filter(status=Status.QUEUED):
            cancel_run(step, by=None)
        at_once([lambda: advance_pipeline(pipeline.pk)] * 4)
        assert_sound(pipeline)
        assert Run.objects.get(pk=pipeline.pk).status == Status.CANCELED

    def test_a_pipeline_is_cancelled_while_its_steps_move(self) -> None:
        for _ in range(4):
            pipeline = make_pipeline(
                {"a": [], "b": ["a"]}, status=Status.RUNNING, statuses={"b": Status.NOT_STARTED}
            )
            a, b = pipeline.children.order_by("pk")
            at_once([lambda p=pipeline: cancel_run(p, by=self.ana), lambda a=a: nodes.end_completed(a)])
            nodes.end_completed(a)
            for run in (pipeline, a, b):
                assert_sound(run)
                run.refresh_from_db()
            assert (pipeline.status, b.status) == (Status.CANCELED, Status.CANCELED)


def test_what_is_on_a_node_can_always_be_asked_to_stop() -> None:
    for status in ON_NODE - {Status.CANCEL_REQUESTED}:
        assert Status.CANCEL_REQUESTED in FOLLOWS[status]


@pytest.mark.django_db
def test_a_run_that_ended_while_studio_was_away_ends_when_its_process_did(workspace):
    run = make_run(status=Status.RUNNING, started_at=timezone.now() - timedelta(minutes=10))
    nodes.finalizing(run, ago=timedelta(minutes=4))
    nodes.end_completed(run, ago=timedelta(minutes=4))
    run.refresh_from_db()
    assert timedelta(minutes=5, seconds=50) < run.duration < timedelta(minutes=6, seconds=10)


@pytest.mark.django_db
def test_a_run_never_ends_before_it_started(workspace):
    run = make_run(status=Status.RUNNING, started_at=timezone.now())
    nodes.end_completed(run, ago=timedelta(minutes=4))
    run.refresh_from_db()
    assert run.ended_at == run.started_at
