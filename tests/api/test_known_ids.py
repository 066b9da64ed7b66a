"""What is sent again over the API: the very same request, and another one under an id that is known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse

from runs.models import Experiment, Run, Snapshot, SnapshotUpload
from runs.services.cancel import cancel_run
from runs.services.experiments import archive_experiment
from runs.status import Kind, Status
from studio.accounts.models import Membership, Role, User, Workspace
from tests.api_kit import Api, refusal
from tests.factories import make_run, make_snapshot, make_target, make_workspace
from tests.life_kit import at_once

pytestmark = pytest.mark.django_db
RUNS, SUBMISSIONS = "/workspaces/default/runs", "/workspaces/default/submissions"


@pytest.fixture
def source(workspace: Workspace, ana: User) -> Snapshot:
    """What ana has uploaded."""
    make_target("local", is_default=True)
    make_target("gpu")
    found = make_snapshot({"train.py": "print()", "other.py": ""})
    SnapshotUpload.objects.create(snapshot=found, workspace=workspace, by=ana)
    return found


@pytest.fixture
def work(source: Snapshot) -> dict[str, Any]:
    """A submission under an id of its own."""
    return {"experiment": "mnist", "run_id": "mine", "snapshot": source.digest, "script": "train.py"}


def interactive(**over: Any) -> dict[str, Any]:
    return {"experiment": "mnist", "run_id": "mine", **over}


def refused(answer: HttpResponse, said: str) -> None:
    assert answer.status_code == 409, answer.content
    assert refusal(answer)["field"] in ("run_id", "children")
    assert said in refusal(answer)["message"]


def ids(answer: HttpResponse) -> list[str]:
    assert answer.status_code == 201, answer.content
    return [one["run_id"] for one in answer.json()["items"]]


class TestAnotherPlace:
    def test_a_run_of_another_workspace_is_not_given(self, api: Api, workspace: Workspace, ana: User) -> None:
        Membership.objects.create(user=ana, workspace=make_workspace("second"), role=Role.CONTRIBUTOR)
        secret = interactive(display_name="secret", properties={"auc": "0.99"})
        assert api.post(RUNS, secret).status_code == 201
        Membership.objects.filter(user=ana, workspace=workspace).delete()
        for given in (interactive(), secret):
            answer = api.post("/workspaces/second/runs", given)
            refused(answer, "There is another run mine already.")
            assert b"secret" not in answer.content
            assert b"0.99" not in answer.content
        assert not Experiment.objects.filter(workspace__name="second").exists()

    def test_a_submission_is_no_interactive_run(self, api: Api, work: dict[str, Any]) -> None:
        assert api.post(RUNS, interactive()).status_code == 201
        refused(api.post(SUBMISSIONS, work), "another run")
        assert api.post(SUBMISSIONS, {**work, "run_id": "theirs"}).status_code == 201
        refused(api.post(RUNS, interactive(run_id="theirs")), "another run")
        assert set(Run.objects.values_list("kind", flat=True)) == {Kind.INTERACTIVE, Kind.SCRIPT}

    def test_a_submission_of_another_workspace_is_not_given(
        self, api: Api, work: dict[str, Any], ana: User
    ) -> None:
        second = make_workspace("second")
        Membership.objects.create(user=ana, workspace=second, role=Role.CONTRIBUTOR)
        assert api.post(SUBMISSIONS, work).status_code == 201
        refused(api.post("/workspaces/second/submissions", work), "another run")

    def test_a_child_is_not_a_run_of_another_parent(self, api: Api) -> None:
        first, second = (api.post(RUNS, {"experiment": "mnist"}).json()["run_id"] for _ in range(2))
        assert api.post(RUNS, interactive(parent=first)).status_code == 201
        assert api.post(RUNS, interactive(parent=first)).status_code == 200
        for given in (interactive(parent=second), interactive()):
            refused(api.post(RUNS, given), "another run")

    def test_a_step_is_not_what_was_asked_for(self, api: Api, work: dict[str, Any]) -> None:
        steps = [{"name": name, "script": "train.py"} for name in "ab"]
        pipeline = {**work, "script": "", "steps": steps}
        assert api.post(SUBMISSIONS, pipeline).status_code == 201
        assert api.post(SUBMISSIONS, pipeline).status_code == 200
        step = Run.objects.filter(kind=Kind.STEP)[0]
        refused(api.post(SUBMISSIONS, {**work, "parent": "mine", "run_id": step.run_id}), "another run")
        pipeline["steps"] = [*steps[:1], {**steps[1], "after": ["a"]}]
        refused(api.post(SUBMISSIONS, pipeline), "other content")


class TestOtherContent:
    @pytest.mark.parametrize(
        "other",
        [
            {"display_name": "b"},
            {"description": "b"},
            {"tags": {"k": "b"}},
            {"tags": {}},
            {"properties": {"p": "b"}},
            {"start": False},
        ],
    )
    def test_of_an_interactive_run(self, api: Api, other: dict[str, Any]) -> None:
        given = interactive(display_name="a", description="a", tags={"k": "a"}, properties={"p": "a"})
        first = api.post(RUNS, given)
        refused(api.post(RUNS, {**given, **other}), "The run mine was made with other content.")
        again = api.post(RUNS, given)
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json()["tags"] == {"k": "a"}
        assert Run.objects.count() == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"script": "other.py"},
            {"script": "", "command": ["true"]},
            {"arguments": ["2", "1"]},
            {"target": "gpu"},
            {"environment_variables": {"A": "2"}},
            {"time_limit_s": 60},
            {"max_retries": 1},
            {"run_configuration": {"nodeCount": 1}},
            {"display_name": "b"},
            {"tags": {"k": None}},
        ],
    )
    def test_of_a_submission(self, api: Api, work: dict[str, Any], other: dict[str, Any]) -> None:
        given = {**work, "arguments": ["1", "2"], "environment_variables": {"A": "1"}}
        assert api.post(SUBMISSIONS, given).status_code == 201
        refused(api.post(SUBMISSIONS, {**given, **other}), "other content")
        assert api.post(SUBMISSIONS, given).status_code == 200
        assert Run.objects.count() == 1

    def test_of_a_submission_that_brings_another_source(
        self, api: Api, work: dict[str, Any], workspace: Workspace, ana: User
    ) -> None:
        assert api.post(SUBMISSIONS, work).status_code == 201
        fresh = make_snapshot({"train.py": "print(2)"})
        SnapshotUpload.objects.create(snapshot=fresh, workspace=workspace, by=ana)
        refused(api.post(SUBMISSIONS, {**work, "snapshot": fresh.digest}), "other content")

    @pytest.mark.parametrize(
        "other",
        [
            {"children": [{"display_name": "x"}, {"display_name": "y"}]},
            {"count": 1},
            {"count": 3},
            {"count": 2, "start": True},
        ],
    )
    def test_of_a_batch(self, api: Api, other: dict[str, Any]) -> None:
        parent = api.post(RUNS, {"experiment": "mnist"}).json()["run_id"]
        post = partial(api.post, f"/runs/{parent}/children")
        first = post({"count": 2, "batch_id": "b-1"})
        refused(post({**other, "batch_id": "b-1"}), "was sent before with other content")
        assert ids(post({"count": 2, "batch_id": "b-1"})) == ids(first)
        assert Run.objects.filter(parent__run_id=parent).count() == 2

    def test_of_children_with_ids(self, api: Api) -> None:
        parent = api.post(RUNS, {"experiment": "mnist"}).json()["run_id"]
        post = partial(api.post, f"/runs/{parent}/children")
        children = [{"run_id": "a", "tags": {"k": "1"}}, {"run_id": "b"}]
        first = post({"children": children})
        other = [{"run_id": "a", "tags": {"k": "2"}}, {"run_id": "b"}]
        refused(post({"children": other}), "run id a is taken")
        refused(api.post(RUNS, {"experiment": "mnist", "run_id": "a", "parent": parent}), "other content")
        assert ids(post({"children": children})) == ids(first) == ["a", "b"]

    def test_a_run_of_which_nobody_knows_what_it_was_made_of(self, api: Api, ana: User) -> None:
        run = make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING, submitter=ana)
        refused(api.post(RUNS, interactive(run_id=run.run_id)), "other content")
        chosen = api.post(RUNS, {"experiment": "mnist"}).json()["run_id"]
        refused(api.post(RUNS, interactive(run_id=chosen)), "other content")


class TestTheSameAgain:
    """A lost answer: the request comes again, and everything may have happened in between."""

    def test_after_others_have_changed_the_run(self, api: Api, ana: User) -> None:
        given = interactive(
            display_name="a", description="a", tags={"k": "a", "l": None}, properties={"p": "1"}
        )
        assert api.post(RUNS, given).status_code == 201
        assert api.patch("/runs/mine", {"display_name": "b", "description": "b"}).status_code == 200
        assert api.put("/runs/mine/tags", {"k": "b"}).status_code == 200
        assert api.post("/runs/mine/properties", {"q": "2"}).status_code == 200
        again = api.post(RUNS, given)
        assert (again.status_code, again.json()["display_name"]) == (200, "b")
        cancel_run(Run.objects.get(), by=ana)
        again = api.post(RUNS, given)
        assert (again.status_code, again.json()["status"]) == (200, "Canceled")

    def test_after_the_experiment_was_archived(self, api: Api, work: dict[str, Any], ana: User) -> None:
        assert api.post(RUNS, interactive(run_id="other")).status_code == 201
        assert api.post(SUBMISSIONS, work).status_code == 201
        for run in Run.objects.all():
            cancel_run(run, by=ana)
        archive_experiment(Experiment.objects.get(), by=ana)
        assert api.post(RUNS, interactive(run_id="other")).status_code == 200
        assert api.post(SUBMISSIONS, work).status_code == 200
        answer = api.post(RUNS, interactive(run_id="third"))
        assert (answer.status_code, refusal(answer)["field"]) == (409, "experiment")

    def test_after_the_parent_was_canceled(self, api: Api, ana: User) -> None:
        parent = api.post(RUNS, {"experiment": "mnist"}).json()["run_id"]
        batch, child = {"count": 2, "batch_id": "b"}, interactive(parent=parent)
        first = api.post(f"/runs/{parent}/children", batch)
        assert api.post(RUNS, child).status_code == 201
        cancel_run(Run.objects.get(run_id=parent), by=ana)
        assert ids(api.post(f"/runs/{parent}/children", batch)) == ids(first)
        assert api.post(RUNS, child).status_code == 200
        answer = api.post(f"/runs/{parent}/children", {"count": 2, "batch_id": "c"})
        assert (answer.status_code, refusal(answer)["code"]) == (409, "run_finished")

    def test_after_the_workspace_got_another_default_target(self, api: Api, work: dict[str, Any]) -> None:
        assert api.post(SUBMISSIONS, work).status_code == 201
        targets = Workspace.objects.get(name="default").compute_targets
        targets.update(is_default=False)
        targets.filter(name="gpu").update(is_default=True)
        again = api.post(SUBMISSIONS, work)
        assert (again.status_code, again.json()["target"]) == (200, "local")

    def test_in_another_order_and_with_defaults_spelled_out(self, api: Api) -> None:
        assert api.post(RUNS, interactive(tags={"a": "1", "b": "2"})).status_code == 201
        again = {"tags": {"b": "2", "a": "1"}, "start": True, "snapshot": None, **interactive()}
        assert api.post(RUNS, {**again, "tags": {"b": "2", "a": "1"}}).status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_submitted", [False, True])
def test_the_same_at_once_makes_one_run(
    api_of: Callable[..., Api], ana: User, work: dict[str, Any], is_submitted: bool
) -> None:
    given, address = (work, SUBMISSIONS) if is_submitted else (interactive(tags={"a": "1"}), RUNS)
    clients = [api_of(ana) for _ in range(6)]
    answers = at_once([partial(client.post, address, given) for client in clients])
    assert {answer.status_code for answer in answers} <= {200, 201}, answers
    assert {answer.json()["run_id"] for answer in answers} == {"mine"}
    assert Run.objects.get().number == 1
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_two_kinds_of_content_at_once_make_one_run(api_of: Callable[..., Api], ana: User) -> None:
    clients = [api_of(ana) for _ in range(6)]
    calls = [
        partial(client.post, RUNS, interactive(tags={"a": str(at % 2)})) for at, client in enumerate(clients)
    ]
    answers = at_once(calls)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 201, 409, 409, 409]
    assert Run.objects.count() == 1
