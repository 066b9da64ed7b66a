"""Pipelines: steps follow what they wait for, and the pipeline run ends with the last of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from runs.lifecycle import advance_pipeline, move
from runs.models import Run
from runs.services import nodes, sweeps
from runs.services.cancel import cancel_run
from runs.services.submit import StepSpec, submit
from runs.status import OPEN, ErrorClass, Status
from tests.factories import make_node, make_snapshot, make_target
from tests.life_kit import assert_sound

pytestmark = pytest.mark.django_db

DIAMOND = {"prepare": [], "left": ["prepare"], "right": ["prepare"], "evaluate": ["left", "right"]}


class Pipeline:
    """A submitted pipeline whose steps a node runs as the test says."""

    def __init__(self, run: Run, node: Any, follow: Any) -> None:
        self.run, self.node, self.follow = run, node, follow

    def step(self, name: str) -> Run:
        return Run.objects.get(parent=self.run, step_name=name)

    def statuses(self) -> dict[str, str]:
        return dict(self.run.children.values_list("step_name", "status"))

    @property
    def status(self) -> str:
        return Run.objects.get(pk=self.run.pk).status

    def start(self, *names: str) -> None:
        """Claim and start what is queued; it has to be these steps."""
        with self.follow(execute=True):
            claimed = nodes.claim([self.node], 1_000)
            for run in claimed:
                nodes.starting(run)
                nodes.started(run, 4711)
        assert sorted(run.step_name for run in claimed) == sorted(names)

    def end(self, name: str, *, well: bool = True) -> None:
        with self.follow(execute=True):
            if well:
                assert nodes.end_completed(self.step(name))
            else:
                assert nodes.end_failed(self.step(name), ErrorClass.SCRIPT, "exit code 1")

    def check(self) -> None:
        for run in (self.run, *self.run.children.all()):
            assert_sound(run)


@pytest.fixture
def make(workspace: Any, ana: Any, django_capture_on_commit_callbacks: Any) -> Callable[..., Pipeline]:
    target, snapshot = make_target(), make_snapshot()
    node = make_node(slots=1_000, target=target)

    def make_it(graph: dict[str, list[str]], **over: Any) -> Pipeline:
        steps = [StepSpec(name, "train.py", snapshot, after=after) for name, after in graph.items()]
        given = {"by": ana, "experiment_name": "mnist", "default_target": target, **over}
        with django_capture_on_commit_callbacks(execute=True):
            run, _ = submit(workspace, steps=steps, **given)
        return Pipeline(run, node, django_capture_on_commit_callbacks)

    return make_it


def test_each_step_starts_after_what_it_waits_for(make: Callable[..., Pipeline]) -> None:
    pipeline = make(DIAMOND)
    assert pipeline.status == Status.QUEUED
    pipeline.start("prepare")
    assert pipeline.status == Status.RUNNING
    pipeline.end("prepare")
    pipeline.start("left", "right")
    pipeline.end("left")
    pipeline.start()
    pipeline.end("right")
    pipeline.start("evaluate")
    pipeline.end("evaluate")
    assert pipeline.status == Status.COMPLETED
    assert pipeline.step("evaluate").events.get(seq=1).why == "after left, right"
    pipeline.check()


def test_a_failure_cancels_what_depends_on_it_and_other_branches_go_on(
    make: Callable[..., Pipeline],
) -> None:
    pipeline = make({**DIAMOND, "alone": [], "report": ["evaluate"]})
    pipeline.start("prepare", "alone")
    pipeline.end("prepare")
    pipeline.start("left", "right")
    pipeline.end("left", well=False)
    expected = {"left": "Failed", "right": "Running", "evaluate": "Canceled", "report": "Canceled"}
    assert pipeline.statuses() == {"prepare": "Completed", "alone": "Running", **expected}
    assert pipeline.step("evaluate").events.last().why == "left failed"
    assert pipeline.step("report").events.last().why == "evaluate was canceled"
    pipeline.end("right")
    pipeline.end("alone")
    run = Run.objects.get(pk=pipeline.run.pk)
    assert (run.status, run.error_class) == (Status.FAILED, ErrorClass.STEP)
    assert run.error_message == "1 of 6 steps failed: left."
    pipeline.check()


def test_one_that_stops_at_the_first_failure_stops_everything(make: Callable[..., Pipeline]) -> None:
    pipeline = make({"a": [], "b": [], "c": ["b"]}, continue_on_failure=False)
    pipeline.start("a", "b")
    pipeline.end("a", well=False)
    assert pipeline.statuses() == {"a": "Failed", "b": "CancelRequested", "c": "Canceled"}
    assert "stops at its first failure" in pipeline.step("b").events.last().why
    pipeline.end("b")
    assert pipeline.step("b").status == Status.CANCELED
    assert pipeline.status == Status.FAILED
    pipeline.check()


def test_a_canceled_step_takes_its_followers_along(make: Callable[..., Pipeline]) -> None:
    pipeline = make({"a": [], "b": ["a"], "c": []})
    pipeline.start("a", "c")
    with pipeline.follow(execute=True):
        cancel_run(pipeline.step("a"), by=None)
    pipeline.end("a")
    assert pipeline.statuses() == {"a": "Canceled", "b": "Canceled", "c": "Running"}
    pipeline.end("c")
    assert pipeline.status == Status.CANCELED
    pipeline.check()


def test_a_canceled_pipeline_waits_for_its_running_steps(make: Callable[..., Pipeline]) -> None:
    pipeline = make(DIAMOND)
    pipeline.start("prepare")
    with pipeline.follow(execute=True):
        cancel_run(pipeline.run, by=None)
    assert pipeline.status == Status.CANCEL_REQUESTED
    pipeline.end("prepare")
    assert set(pipeline.statuses().values()) == {"Canceled"}
    assert pipeline.status == Status.CANCELED
    pipeline.check()


def test_a_retried_step_keeps_its_followers_waiting(make: Callable[..., Pipeline]) -> None:
    pipeline = make({"a": [], "b": ["a"]})
    pipeline.run.children.update(max_retries=1)
    pipeline.start("a")
    pipeline.end("a", well=False)
    assert pipeline.statuses() == {"a": "Queued", "b": "NotStarted"}
    pipeline.start("a")
    pipeline.end("a")
    pipeline.start("b")
    pipeline.end("b")
    assert pipeline.status == Status.COMPLETED
    pipeline.check()


@pytest.mark.parametrize("well", [True, False])
def test_what_a_kill_between_two_changes_left_is_taken_up_by_the_sweep(
    make: Callable[..., Pipeline], well: bool
) -> None:
    pipeline = make({"a": [], "b": ["a"]})
    pipeline.start("a")
    step = pipeline.step("a")
    end = Status.COMPLETED if well else Status.FAILED
    move(step, to=end, expect=OPEN - {Status.CANCEL_REQUESTED, Status.NOT_STARTED}, follow=False,
         error_class="" if well else "script", error_message="" if well else "exit code 1")  # fmt: skip
    assert pipeline.step("b").status == Status.NOT_STARTED
    with pipeline.follow(execute=True):
        sweeps.sweep(timedelta(days=1))
    assert pipeline.step("b").status == (Status.QUEUED if well else Status.CANCELED)
    assert pipeline.status == (Status.RUNNING if well else Status.FAILED)
    pipeline.check()


def test_a_branch_that_was_left_behind_does_not_wait_for_the_others(make: Callable[..., Pipeline]) -> None:
    pipeline = make({"a": [], "b": ["a"], "long": []})
    pipeline.start("a", "long")
    move(pipeline.step("a"), to=Status.COMPLETED, expect=(Status.RUNNING,), follow=False)
    with pipeline.follow(execute=True):
        sweeps.sweep(timedelta(days=1))
    assert pipeline.step("b").status == Status.QUEUED


def test_a_chain_of_a_hundred_steps(make: Callable[..., Pipeline]) -> None:
    names = [f"s{n}" for n in range(100)]
    pipeline = make({name: names[n - 1 : n] if n else [] for n, name in enumerate(names)})
    for name in names[:5]:
        pipeline.start(name)
        pipeline.end(name)
    pipeline.start("s5")
    pipeline.end("s5", well=False)
    assert pipeline.status == Status.FAILED
    assert list(pipeline.statuses().values()).count("Canceled") == 94
    pipeline.check()


def test_bringing_an_ended_pipeline_up_to_date_changes_nothing(
    make: Callable[..., Pipeline], django_assert_num_queries: Any
) -> None:
    pipeline = make({"a": []} | {"b": []})
    with pipeline.follow(execute=True):
        cancel_run(pipeline.run, by=None)
    with django_assert_num_queries(1):  # the pipeline itself
        advance_pipeline(pipeline.run.pk)


def test_the_steps_of_a_pipeline_cost_the_same_queries_however_many_wait(
    make: Callable[..., Pipeline], django_assert_num_queries: Any
) -> None:
    for count in (3, 30):
        pipeline = make({"a": []} | {f"s{n}": ["a"] for n in range(count)})
        with django_assert_num_queries(3):  # the pipeline, its steps, their edges
            advance_pipeline(pipeline.run.pk)
