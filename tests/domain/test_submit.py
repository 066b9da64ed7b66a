"""Submitting: numbers without gaps, one run per submission, and nothing kept of what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from runs.errors import Conflict, StudioError, SubmittedBefore
from runs.models import Experiment, Run, RunDependency, Snapshot, Tag
from runs.services.experiments import archive_experiment
from runs.services.interactive import create_interactive
from runs.services.new_runs import NewRun
from runs.services.submit import MOST_STEPS, StepSpec, find_cycle, submit
from runs.status import Kind, Status
from tests.factories import make_experiment, make_run, make_snapshot, make_target, make_workspace
from tests.life_kit import assert_sound, at_once


@pytest.fixture
def target(workspace: Any) -> Any:
    return make_target()


@pytest.fixture
def snapshot(db: None) -> Snapshot:
    return make_snapshot({"train.py": "print('hello')\n", "prepare.py": "", "notes.txt": "x"})


@pytest.fixture
def send(workspace: Any, ana: Any, target: Any, snapshot: Snapshot) -> Callable[..., Run]:
    """Submits one step, or those given, as ana; every part can be replaced."""

    def send_it(*steps: StepSpec, **over: Any) -> Run:
        what = steps or [StepSpec("train", "train.py", snapshot)]
        given = {"by": ana, "experiment_name": "mnist", "default_target": target, **over}
        return submit(workspace, steps=list(what), **given)[0]

    return send_it


@pytest.mark.django_db
class TestOneStep:
    def test_it_is_queued_with_all_that_was_said(
        self, send: Callable[..., Run], snapshot: Snapshot, target: Any, ana: Any
    ) -> None:
        step = StepSpec("train", "train.py", snapshot, "--lr 0.1 'two words'", None, {"A": "1"}, 60, 2)
        run = Run.objects.get(pk=send(step, display_name="first", description="why", tags={"k": None}).pk)
        assert (run.kind, run.status, run.number, run.target) == (Kind.SCRIPT, Status.QUEUED, 1, target)
        assert run.arguments == ["--lr", "0.1", "two words"]
        assert (run.environment_variables, run.time_limit_s, run.max_retries) == ({"A": "1"}, 60, 2)
        assert (run.display_name, run.description, run.submitter, run.attempt) == ("first", "why", ana, 0)
        assert list(run.tags.values_list("key", "value")) == [("k", None)]
        assert run.run_id.startswith("mnist_")
        assert run.events.get().why == "submitted by ana"
        assert_sound(run)

    def test_the_same_id_again_gives_the_same_run_if_the_request_is_the_same(
        self, send: Callable[..., Run], workspace: Any, ana: Any
    ) -> None:
        one, other = UUID(int=1), UUID(int=2)
        first = send(run_id="mine", request_digest=one)
        assert send(run_id="mine", request_digest=one, experiment_name=" mnist ").pk == first.pk
        with pytest.raises(Conflict, match="other content"):
            send(run_id="mine", request_digest=other)
        create_interactive(workspace, "mnist", NewRun("theirs", request_digest=one), by=ana)
        with pytest.raises(Conflict, match="another run"):
            send(run_id="theirs", request_digest=one)

    def test_the_same_key_again_gives_the_same_run(self, send: Callable[..., Run]) -> None:
        assert send(submission_key="k").pk == send(submission_key="k").pk
        assert Run.objects.count() == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"display_name": "other"},
            {"description": "other"},
            {"tags": {"a": "c"}},
            {"experiment_name": "other"},
            {"resubmitted_from": 1},
            {"default_target": "other"},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_a_key_with_another_word_of_the_run_is_refused(
        self, send: Callable[..., Run], other: dict[str, Any]
    ) -> None:
        first = send(submission_key="k", tags={"a": "b"})
        if "resubmitted_from" in other:
            other = {"resubmitted_from": first}
        if "default_target" in other:
            other = {"default_target": make_target("other")}
        with pytest.raises(SubmittedBefore) as caught:
            send(submission_key="k", **{"tags": {"a": "b"}, **other})
        assert (caught.value.run_id, caught.value.run_name) == (first.run_id, first.name)
        assert Run.objects.count() == 1
        assert send(submission_key="k", tags={"a": "b"}).pk == first.pk

    @pytest.mark.parametrize(
        "other",
        [
            {"name": "other"},
            {"script": "prepare.py"},
            {"arguments": "--lr 0.2"},
            {"environment_variables": {"A": "2"}},
            {"time_limit_s": 60},
            {"max_retries": 1},
            {"script": "", "arguments": "", "command": ["ls"]},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_a_key_with_another_step_is_refused(
        self, send: Callable[..., Run], snapshot: Snapshot, other: dict[str, Any]
    ) -> None:
        step = StepSpec("train", "train.py", snapshot, "--lr 0.1")
        send(step, submission_key="k")
        with pytest.raises(SubmittedBefore):
            send(replace(step, **other), submission_key="k")
        with pytest.raises(SubmittedBefore):
            send(replace(step, snapshot=make_snapshot({"train.py": "1"})), submission_key="k")
        again = replace(step, arguments=["--lr", "0.1"])
        assert send(again, submission_key="k").pk == Run.objects.get().pk

    def test_somebody_elses_key_is_refused(self, send: Callable[..., Run], chi: Any) -> None:
        send(submission_key="k")
        with pytest.raises(Conflict):
            send(submission_key="k", by=chi)
        assert Run.objects.count() == 1

    def test_an_archived_experiment_takes_nothing(self, send: Callable[..., Run], chi: Any) -> None:
        archive_experiment(make_experiment("mnist"), by=chi)
        with pytest.raises(Conflict, match="archived"):
            send()
        assert not Run.objects.exists()


@pytest.mark.django_db
class TestPipeline:
    def test_steps_wait_for_what_they_come_after(self, send: Callable[..., Run], snapshot: Snapshot) -> None:
        a = StepSpec("prepare", "prepare.py", snapshot)
        b = StepSpec("train", "train.py", snapshot, after=["prepare", "prepare"])
        pipeline = Run.objects.get(pk=send(b, a, tags={"k": "v"}).pk)
        steps = {step.step_name: step for step in pipeline.children.all()}
        assert (pipeline.kind, pipeline.status, pipeline.number) == (Kind.PIPELINE, Status.QUEUED, 1)
        assert {step.number for step in steps.values()} == {2, 3}
        assert (steps["prepare"].status, steps["train"].status) == (Status.QUEUED, Status.NOT_STARTED)
        assert RunDependency.objects.filter(step=steps["train"], waits_for=steps["prepare"]).count() == 1
        assert all(step.root_id == step.parent_id == pipeline.pk for step in steps.values())
        for run in (pipeline, *steps.values()):
            assert_sound(run)

    def test_the_same_key_is_the_same_pipeline_or_refused(
        self, send: Callable[..., Run], snapshot: Snapshot
    ) -> None:
        a, b = StepSpec("prepare", "prepare.py", snapshot), StepSpec("train", "train.py", snapshot)
        first = send(a, replace(b, after=["prepare"]), submission_key="k")
        assert send(a, replace(b, after=["prepare"]), submission_key="k").pk == first.pk
        for other in ([a, b], [a, replace(b, after=["prepare"]), replace(b, name="last")], [a]):
            with pytest.raises(SubmittedBefore):
                send(*other, submission_key="k")
        assert Run.objects.count() == 3

    def test_a_cycle_is_named_in_its_order(self) -> None:
        cycle = find_cycle({"a": ["c"], "b": ["a"], "c": ["b"], "d": ["a"]})
        assert cycle[0] == cycle[-1]
        assert sorted(cycle[:-1]) == ["a", "b", "c"]
        pairs = {("a", "b"), ("b", "c"), ("c", "a")}
        assert set(itertools.pairwise(cycle)) in (pairs, {(y, x) for x, y in pairs})

    def test_a_diamond_is_no_cycle(self) -> None:
        assert find_cycle({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}) == []


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no script": ({"script": ""}, "steps-0-script"),
    "script not in the source": ({"script": "other.py"}, "steps-0-script"),
    "a path out of the source": ({"script": "../train.py"}, "steps-0-script"),
    "quotes left open": ({"arguments": "--name 'x"}, "steps-0-arguments"),
    "NUL in the arguments": ({"arguments": ["a\0b"]}, "steps-0-arguments"),
    "too many arguments": ({"arguments": ["x"] * 1001}, "steps-0-arguments"),
    "arguments too long": ({"arguments": ["x" * 100_001]}, "steps-0-arguments"),
    "a variable with a bad name": ({"environment_variables": {"1A": "x"}}, "steps-0-env"),
    "a variable of Studio's": ({"environment_variables": {"STUDIO_URL": "x"}}, "steps-0-env"),
    "a variable of the SDK's": ({"environment_variables": {"AZUREML_RUN_ID": "x"}}, "steps-0-env"),
    "NUL in a variable": ({"environment_variables": {"A": "\0"}}, "steps-0-env"),
    "no time at all": ({"time_limit_s": 0}, "steps-0-time_limit"),
    "too much time": ({"time_limit_s": 61 * 24 * 3600}, "steps-0-time_limit"),
    "retries below none": ({"max_retries": -1}, "steps-0-retries"),
    "too many retries": ({"max_retries": 11}, "steps-0-retries"),
}


@pytest.mark.django_db
class TestRefused:
    @pytest.mark.parametrize("case", REFUSED)
    def test_a_step_that_cannot_run_is_refused_at_its_field(
        self, send: Callable[..., Run], snapshot: Snapshot, case: str
    ) -> None:
        change, field = REFUSED[case]
        self.refused(send, replace(StepSpec("train", "train.py", snapshot), **change), field=field)

    @pytest.mark.parametrize(
        ("over", "field"),
        [
            ({"experiment_name": ""}, "experiment"),
            ({"experiment_name": "a b"}, "experiment"),
            ({"experiment_name": "x" * 10_000}, "experiment"),
            ({"experiment_name": "a\0b"}, "experiment"),
            ({"display_name": "x" * 257}, "display_name"),
            ({"default_target": None}, "steps-0-target"),
            ({"tags": {"": "x"}}, "tags"),
            ({"tags": {"k" * 101: "x"}}, "tags"),
            ({"tags": {"k": "x" * 5_001}}, "tags"),
        ],
    )
    def test_the_rest_of_the_form_too(
        self, send: Callable[..., Run], over: dict[str, Any], field: str
    ) -> None:
        self.refused(send, field=field, **over)

    def test_no_steps(self, workspace: Any, ana: Any) -> None:
        with pytest.raises(StudioError, match="nothing to run"):
            submit(workspace, by=ana, experiment_name="x", steps=[], default_target=None)
        assert not Experiment.objects.exists()

    def test_another_workspaces_target(self, send: Callable[..., Run], snapshot: Snapshot) -> None:
        theirs = make_target("theirs", workspace=make_workspace("elsewhere"))
        self.refused(send, field="target", default_target=theirs)
        self.refused(send, StepSpec("train", "train.py", snapshot, target=theirs), field="steps-0-target")

    def test_a_name_that_is_too_long_is_cut_and_its_length_said(
        self, send: Callable[..., Run], snapshot: Snapshot
    ) -> None:
        steps = [StepSpec("n" * 10_000, "train.py", snapshot), StepSpec("b", "train.py", snapshot)]
        with pytest.raises(StudioError, match=f"“{'n' * 40}…” cannot be a step's name: it has 10,000 char"):
            send(*steps)

    def test_a_control_character_in_a_name_is_seen(
        self, send: Callable[..., Run], snapshot: Snapshot
    ) -> None:
        step, variables = StepSpec("a\x07", "train.py", snapshot), {"d\x07e": "1"}
        for refused, said in (
            (lambda: send(experiment_name="a\x07b"), r"“a\x07b” cannot be an experiment's name"),
            (lambda: send(step, replace(step, name="b")), r"“a\x07” cannot be a step's name"),
            (lambda: send(replace(step, name="a", environment_variables=variables)),
             r"“d\x07e” cannot be the name of an environment variable"),
        ):  # fmt: skip
            with pytest.raises(StudioError) as caught:
                refused()
            assert caught.value.message.startswith(said)

    def test_the_second_step_is_named(self, send: Callable[..., Run], snapshot: Snapshot) -> None:
        good = StepSpec("prepare", "prepare.py", snapshot)
        for bad, field in (
            (StepSpec("train", "gone.py", snapshot), "steps-1-script"),
            (StepSpec("prepare", "train.py", snapshot), "steps-1-name"),
            (StepSpec("", "train.py", snapshot), "steps-1-name"),
            (StepSpec("a/b", "train.py", snapshot), "steps-1-name"),
            (StepSpec("n" * 100, "train.py", snapshot), "steps-1-name"),
            (StepSpec("train", "train.py", snapshot, after=["gone"]), "steps-1-after"),
            (StepSpec("train", "train.py", snapshot, after=["train"]), "steps-1-after"),
        ):
            self.refused(send, good, bad, field=field)

    def test_a_cycle(self, send: Callable[..., Run], snapshot: Snapshot) -> None:
        a = StepSpec("a", "train.py", snapshot, after=["b"])
        b = StepSpec("b", "train.py", snapshot, after=["a"])
        with pytest.raises(StudioError, match="wait for each other"):
            send(a, b)
        assert not Run.objects.exists()

    def test_too_many_steps(self, send: Callable[..., Run], snapshot: Snapshot) -> None:
        with pytest.raises(StudioError, match="too many"):
            send(*[StepSpec(f"s{n}", "train.py", snapshot) for n in range(MOST_STEPS + 1)])
        assert not Run.objects.exists()

    @staticmethod
    def refused(send: Callable[..., Run], *steps: StepSpec, field: str, **over: Any) -> None:
        with pytest.raises(StudioError) as caught:
            send(*steps, **over)
        assert caught.value.field == field
        assert caught.value.message
        for model in (Run, Tag, Experiment):
            assert not model.objects.exists()


@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    def test_sixteen_submitters_get_numbers_without_gap_or_repeat(self, send: Callable[..., Run]) -> None:
        runs = [
            run for many in at_once([lambda: [send() for _ in range(4)] for _ in range(16)]) for run in many
        ]
        assert sorted(run.number for run in runs) == list(range(1, 65))
        in_order = list(Run.objects.order_by("pk").values_list("number", flat=True))
        assert in_order == sorted(in_order)
        assert Experiment.objects.get().last_number == 64
        for run in runs:
            assert_sound(run)

    def test_scripts_and_pipelines_share_the_numbers(
        self, send: Callable[..., Run], snapshot: Snapshot
    ) -> None:
        steps = [StepSpec("a", "train.py", snapshot), StepSpec("b", "train.py", snapshot, after=["a"])]
        results = at_once([lambda: send(*steps), send] * 6)
        assert all(isinstance(result, Run) for result in results), results
        assert sorted(Run.objects.values_list("number", flat=True)) == list(range(1, 25))

    def test_a_form_that_is_sent_eight_times_makes_one_run(self, send: Callable[..., Run]) -> None:
        runs = at_once([lambda: send(submission_key="once", tags={"a": "b"})] * 8)
        assert {run.pk for run in runs} == {Run.objects.get().pk}
        assert Experiment.objects.get().last_number == 1
        assert Tag.objects.count() == 1

    def test_of_two_contents_of_a_form_one_is_run_and_one_refused(self, send: Callable[..., Run]) -> None:
        names = ("one", "two")
        results = at_once([partial(send, submission_key="once", display_name=n) for n in names])
        assert sorted(type(result) for result in results if result != Run.objects.get()) == [SubmittedBefore]
        assert Run.objects.count() == 1

    @pytest.mark.parametrize("count", [1, 2])
    def test_one_of_twelve_with_the_same_id_is_told_that_it_made_the_run(
        self, workspace: Any, ana: Any, target: Any, snapshot: Snapshot, count: int
    ) -> None:
        steps = [StepSpec(name, "train.py", snapshot) for name in "ab"[:count]]
        given = {"by": ana, "experiment_name": "mnist", "default_target": target}
        digest = UUID(int=1)
        call = partial(submit, workspace, steps=steps, run_id="mine", request_digest=digest, **given)
        made = at_once([call] * 12)
        assert {run.run_id for run, _ in made} == {"mine"}
        assert sorted(is_new for _, is_new in made) == [False] * 11 + [True]

    def test_two_people_name_a_new_experiment(self, send: Callable[..., Run]) -> None:
        assert {run.number for run in at_once([lambda: send(experiment_name="new")] * 4)} == {1, 2, 3, 4}


@pytest.mark.django_db
def test_resubmission_remembers_where_it_came_from(send: Callable[..., Run]) -> None:
    old = make_run()
    assert send(resubmitted_from=old).resubmitted_from == old
