"""Runs over the API: interactive ones are made; all are looked at, listed and changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from runs.models import Experiment, Run
from runs.services.cancel import cancel_run
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import (
    make_experiment,
    make_pipeline,
    make_run,
    make_snapshot,
    make_target,
    make_workspace,
)
from tests.life_kit import assert_sound

pytestmark = pytest.mark.django_db
HERE = "/workspaces/default/runs"


def make(api: Api, **over: Any) -> dict[str, Any]:
    answer = api.post(HERE, {"experiment": "mnist", **over})
    assert answer.status_code in (200, 201), answer.content
    return answer.json()


class TestCreate:
    def test_it_runs_from_now_on(self, api: Api) -> None:
        said = make(
            api,
            display_name="quick",
            description="a *look*",
            tags={"quality": "fantastic run", "seen": None},
            properties={"author": "ana"},
        )
        assert (said["status"], said["kind"], said["number"]) == ("Running", "interactive", 1)
        assert (said["submitter"], said["name"], said["experiment"]) == ("ana", "quick", "mnist")
        assert said["tags"] == {"quality": "fantastic run", "seen": None}
        assert said["properties"] == {"author": "ana"}
        assert said["parent_run_id"] is None
        assert said["root_run_id"] == said["run_id"]
        assert said["started_at"] == said["heartbeat_at"]
        assert parse_datetime(said["started_at"])
        run = Run.objects.get(run_id=said["run_id"])
        assert_sound(run)
        assert "fantastic" in run.search_text

    def test_the_answer_is_what_a_look_gives(self, api: Api) -> None:
        parent = make(api)
        source = make_snapshot()
        make_run(snapshot=source)
        said = make(api, parent=parent["run_id"], snapshot=source.digest, tags={"b": "1", "a": None})
        seen = api.get(f"/runs/{said['run_id']}").json()
        told_of_one_alone = {"environment_variables": {}, "after": []}
        assert {**seen, "version": ""} == {**said, **told_of_one_alone, "version": ""}
        assert (said["parent_run_id"], said["root_run_id"]) == (parent["run_id"], parent["run_id"])
        assert api.get(f"/runs/{parent['run_id']}").json()["has_children"]

    def test_it_may_start_later(self, api: Api) -> None:
        said = make(api, start=False)
        assert (said["status"], said["started_at"], said["heartbeat_at"]) == ("NotStarted", None, None)

    def test_the_same_id_again_is_the_same_run(self, api: Api) -> None:
        given = {"experiment": "mnist", "run_id": "mine-1", "tags": {"a": "1"}}
        first, again = api.post(HERE, given), api.post(HERE, given)
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json()["tags"] == {"a": "1"}
        assert make(api)["number"] == 2

    @pytest.mark.parametrize("refused", ["run_id", "parent"])
    @pytest.mark.parametrize("address", ["runs", "submissions"])
    def test_a_run_that_is_refused_leaves_no_experiment(self, api: Api, refused: str, address: str) -> None:
        given = {refused: make(api)["run_id"], "experiment": "fresh"}
        if address == "submissions":
            make_target(is_default=True)
            source = make_snapshot()
            make_run(snapshot=source)
            given |= {"snapshot": source.digest, "script": "train.py"}
        answer = api.post(f"/workspaces/default/{address}", given)
        assert answer.status_code == {"run_id": 409, "parent": 422}[refused], answer.content
        assert not Experiment.objects.filter(name="fresh").exists()

    def test_an_id_of_somebody_else_is_taken(self, api: Api, api_of: Callable[..., Api], chi: User) -> None:
        make(api, run_id="mine-1")
        for other, experiment in ((api_of(chi), "mnist"), (api, "other")):
            answer = other.post(HERE, {"experiment": experiment, "run_id": "mine-1"})
            assert (answer.status_code, refusal(answer)["field"]) == (409, "run_id")
        assert Run.objects.count() == 1

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"run_id": "with blank"}, "run_id"),
            ({"run_id": ""}, "run_id"),
            ({"tags": {"": "x"}}, "tags"),
            ({"tags": {"k" * 101: "x"}}, "tags"),
            ({"tags": {"a": "\x1b[1m"}}, "tags"),
            ({"tags": {"a\x01": "b"}}, "tags"),
            ({"properties": {"": "x"}}, "properties"),
            ({"properties": {"a": "\x7f"}}, "properties"),
            ({"display_name": "a\x01b"}, "display_name"),
            ({"tags": {"a": 1}}, "tags.a"),
            ({"tags": {"a": "\0"}}, "tags.a"),
            ({"tags": {"a\0b": "x"}}, r"tags.a\x00b.[key]"),
            ({"display_name": "x" * 300}, "display_name"),
            ({"experiment": "a b"}, "experiment"),
            ({"snapshot": "0" * 64}, "snapshot"),
            ({"unknown": 1}, "unknown"),
        ],
    )
    def test_bad_input_names_its_field_and_makes_nothing(
        self, api: Api, body: dict[str, Any], field: str
    ) -> None:
        answer = api.post(HERE, {"experiment": "mnist", **body})
        assert (answer.status_code, refusal(answer)["field"]) == (422, field)
        assert not Run.objects.exists()

    def test_no_child_below_what_is_canceled_or_a_pipeline_or_elsewhere(self, api: Api) -> None:
        canceled, pipeline = make_run(status=Status.CANCEL_REQUESTED), make_pipeline()
        other = make_run(experiment="other")
        statuses = [
            api.post(HERE, {"experiment": "mnist", "parent": run.run_id}).status_code
            for run in (canceled, pipeline, other)
        ]
        assert statuses == [409, 422, 422]

    def test_a_parent_elsewhere_is_unknown(self, api: Api) -> None:
        foreign = make_run(experiment=make_experiment("mnist", workspace=make_workspace("elsewhere")))
        answer = api.post(HERE, {"experiment": "mnist", "parent": foreign.run_id})
        assert answer.status_code == 404

    def test_nothing_new_in_an_archived_experiment(self, api: Api) -> None:
        make_experiment("old", archived_at="2026-01-01T00:00:00Z")
        assert api.post(HERE, {"experiment": "old"}).status_code == 409

    def test_it_costs_few_queries(self, api: Api) -> None:
        make(api)
        with CaptureQueriesContext(connection) as asked:
            make(api, tags={str(at): "x" for at in range(5)}, properties={"a": "b"})
        queries = [q["sql"] for q in asked if not q["sql"].startswith(("SAVEPOINT", "RELEASE"))]
        # Token with membership; number in the experiment, run, its event, tags, properties.
        assert len(queries) == 6, queries


class TestRunToken:
    def test_makes_children_of_its_own_run_alone(self, api_of: Callable[..., Api]) -> None:
        own, other = make_run(status=Status.RUNNING), make_run(status=Status.RUNNING)
        api = api_of(own)
        assert make(api, parent=own.run_id)["parent_run_id"] == own.run_id
        for parent in (None, other.run_id):
            answer = api.post(HERE, {"experiment": "mnist", "parent": parent})
            assert (answer.status_code, refusal(answer)["field"]) == (403, "parent")

    def test_lists_its_own_tree_alone(self, api_of: Callable[..., Api]) -> None:
        top, other = make_run(status=Status.RUNNING), make_run()
        child = make_run(parent=top, status=Status.RUNNING, kind=Kind.SCRIPT)
        listed = api_of(child).get(HERE, {"include_children": True}).json()["items"]
        assert {one["run_id"] for one in listed} == {top.run_id, child.run_id}
        assert other.run_id not in {one["run_id"] for one in listed}
        answer = api_of(child).get(HERE, {"parent": other.run_id})
        assert (answer.status_code, refusal(answer)["field"]) == (404, "parent")


class TestDetail:
    def test_a_queued_run_says_why_it_waits(self, api: Api) -> None:
        run = make_run(status=Status.QUEUED)
        said = api.get(f"/runs/{run.run_id}").json()
        assert said["status_reason"] == "No node serves local."

    def test_a_canceled_run_says_by_whom(self, api: Api, ana: User) -> None:
        run = make_run(status=Status.QUEUED)
        cancel_run(run, by=ana)
        assert api.get(f"/runs/{run.run_id}").json()["status_reason"] == "canceled by ana"

    def test_a_failed_run_says_why(self, api: Api) -> None:
        run = make_run(status=Status.FAILED)
        error = api.get(f"/runs/{run.run_id}").json()["error"]
        assert (error["class"], error["message"]) == ("script", "The script ended with exit code 1.")

    def test_it_has_its_environment_variables(self, api_of: Callable[..., Api], ben: User) -> None:
        run = make_run(environment_variables={"FOO": "bar"}, status=Status.RUNNING)
        for reader in (ben, run):
            said = api_of(reader).get(f"/runs/{run.run_id}").json()
            assert (said["environment_variables"], said["after"]) == ({"FOO": "bar"}, [])

    def test_a_step_names_those_that_it_runs_after(self, api: Api) -> None:
        pipeline = make_pipeline({"b": [], "a": [], "last": ["a", "b"], "other": ["b"]})
        after = {
            step.step_name: api.get(f"/runs/{step.run_id}").json()["after"]
            for step in pipeline.children.all()
        }
        assert after == {"b": [], "a": [], "last": ["b", "a"], "other": ["b"]}
        assert api.get(f"/runs/{pipeline.run_id}").json()["after"] == []

    def test_it_costs_few_queries(self, api: Api) -> None:
        pipeline = make_pipeline({**{str(at): [] for at in range(9)}, "last": list("012345678")})
        step = pipeline.children.get(step_name="last")
        api.get(f"/runs/{step.run_id}")
        with CaptureQueriesContext(connection) as asked:
            assert api.get(f"/runs/{step.run_id}").status_code == 200
        # Token, run, membership; tags, properties, environment variables, the steps before.
        assert len(asked) == 7, [q["sql"] for q in asked]

    def test_edit(self, api: Api) -> None:
        run = make_run()
        said = api.patch(f"/runs/{run.run_id}", {"display_name": "best", "archived": True}).json()
        assert (said["display_name"], said["description"]) == ("best", "")
        assert said["archived_at"] is not None
        assert api.patch(f"/runs/{run.run_id}", {"archived": False}).json()["archived_at"] is None

    def test_a_snapshot_is_given_once(self, api: Api) -> None:
        first, second = make_snapshot(), make_snapshot({"b.py": ""})
        make_run(snapshot=first)
        make_run(snapshot=second)
        run = make_run()
        address = f"/runs/{run.run_id}"
        assert api.patch(address, {"snapshot": first.digest}).json()["snapshot"] == first.digest
        assert api.patch(address, {"snapshot": first.digest}).status_code == 200
        assert refusal(api.patch(address, {"snapshot": second.digest}))["field"] == "snapshot"
        assert api.patch(address, {"snapshot": "unknown"}).status_code == 404

    def test_what_runs_is_not_archived(self, api: Api) -> None:
        run = make_run(status=Status.RUNNING)
        assert api.patch(f"/runs/{run.run_id}", {"archived": True}).status_code == 409

    def test_what_is_archived_is_renamed_only_with_being_brought_back(self, api: Api) -> None:
        run = make_run()
        address = f"/runs/{run.run_id}"
        assert api.patch(address, {"archived": True, "display_name": "last"}).json()["display_name"] == "last"
        assert api.patch(address, {"display_name": "new"}).status_code == 409
        back = api.patch(address, {"archived": False, "display_name": "new"}).json()
        assert (back["display_name"], back["archived_at"]) == ("new", None)


class TestList:
    def found(self, api: Api, **query: Any) -> list[str]:
        answer = api.get(HERE, query)
        assert answer.status_code == 200, answer.content
        return [one["name"] for one in answer.json()["items"]]

    @pytest.fixture
    def world(self, ana: User) -> None:
        make_run(display_name="a", tags={"lr": "0.1", "best": None}, properties={"author": "ana"})
        make_run(display_name="b", tags={"lr": "0.2", "best": ""}, status=Status.FAILED)
        parent = make_run(display_name="c", experiment="other", status=Status.RUNNING)
        make_run(display_name="d", experiment="other", parent=parent, kind=Kind.SCRIPT, tags={"LR": "0.1"})
        make_run(display_name="e", experiment=make_experiment("mnist", workspace=make_workspace("far")))
        make_run(display_name="z", archived_at=timezone.now(), status=Status.COMPLETED)

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({}, "cba"),
            ({"include_children": True}, "dcba"),
            ({"order": "created"}, "abc"),
            ({"experiment": "mnist"}, "ba"),
            ({"status": "Failed"}, "b"),
            ({"status": ["Failed", "Running"]}, "cb"),
            ({"kind": "script"}, "cba"),
            ({"tag": "lr"}, "ba"),
            ({"tag": "lr=0.1"}, "a"),
            ({"tag": ["lr", "best"]}, "ba"),
            ({"tag": "best="}, "b"),
            ({"tag_null": "best"}, "a"),
            ({"property": "author=ana"}, "a"),
            ({"property": "author=ANA"}, ""),
            ({"target": "local"}, "cba"),
            ({"q": "status:failed"}, "b"),
            ({"q": "tag:lr=0.1"}, "da"),
            ({"q": "tag:lr=0.1", "include_children": False}, "a"),
            ({"q": "submitter:@me"}, "dcba"),
            ({"q": "is:child"}, "d"),
            ({"q": " "}, "cba"),
            ({"submitter": "@me"}, "cba"),
            ({"submitter": ["ANA", "ben"], "status": "Failed"}, "b"),
            ({"submitter": "ben"}, ""),
            ({"created_after": "today"}, "cba"),
            ({"created_before": "2025"}, ""),
            ({"duration_min": "0s"}, "cba"),
            ({"duration_max": "1h", "q": "status:failed"}, "b"),
            ({"duration_min": "1h"}, ""),
            ({"archived": True}, "z"),
            ({"archived": False, "created_after": ""}, "cba"),
            ({"tag": "lr=0.*"}, ""),
            ({"q": "tag:lr=0.*"}, "dba"),
        ],
    )
    def test_filters(self, api: Api, world: None, query: dict[str, Any], names: str) -> None:
        assert "".join(self.found(api, **query)) == names

    def test_below_a_parent(self, api: Api, world: None) -> None:
        parent = Run.objects.get(display_name="c")
        assert self.found(api, parent=parent.run_id) == ["d"]
        assert self.found(api, root=parent.run_id) == ["d"]

    @pytest.mark.parametrize("query", [{}, {"q": "script"}, {"order": "-name"}, {"order": "metric:min:loss"}])
    def test_pages_lead_to_the_end(self, api: Api, query: dict[str, Any]) -> None:
        for at in range(7):
            make_run(display_name=f"script {at}")
        seen, cursor = [], ""
        while True:
            page = api.get(HERE, {**query, "limit": 3} | ({"cursor": cursor} if cursor else {})).json()
            seen += [one["name"] for one in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == [f"script {at}" for at in reversed(range(7))]

    @pytest.mark.parametrize(
        ("query", "status", "field"),
        [
            ({"experiment": "unknown"}, 404, "experiment"),
            ({"target": "unknown"}, 404, "target"),
            ({"parent": "unknown"}, 404, "parent"),
            ({"root": "unknown"}, 404, "root"),
            ({"q": "duration:>x"}, 422, "q"),
            ({"order": "colour"}, 422, "order"),
            ({"order": "metric:mean:loss"}, 422, "order"),
            ({"cursor": "x"}, 422, "cursor"),
            ({"status": "Dancing"}, 422, "status"),
            ({"status": ["Failed", "Dancing"], "kind": "script"}, 422, "status"),
            ({"kind": "dance"}, 422, "kind"),
            ({"limit": "x"}, 422, "limit"),
            ({"submitter": "x" * 300}, 422, "submitter"),
            ({"created_after": "soon"}, 422, "created_after"),
            ({"created_before": "2026-02-30"}, 422, "created_before"),
            ({"duration_min": "5"}, 422, "duration_min"),
            ({"duration_max": "5m OR is:root"}, 422, "duration_max"),
            ({"archived": "perhaps"}, 422, "archived"),
        ],
    )
    def test_refusals(self, api: Api, query: dict[str, Any], status: int, field: str) -> None:
        answer = api.get(HERE, query)
        assert answer.status_code == status
        assert refusal(answer)["field"].endswith(field)

    def test_thirty_rows_cost_what_three_do(self, api: Api) -> None:
        api.get(HERE)  # notes that the token was used, and looks for the search index
        counts = []
        for more in (3, 27):
            for _ in range(more):
                make_run(tags={"a": "b"}, properties={"c": "d"})
            with CaptureQueriesContext(connection) as asked:
                assert api.get(HERE, {"limit": 100}).status_code == 200
            counts.append(len(asked))
        # Token with membership, keys, rows of keys, rows, tags, properties.
        assert counts == [6, 6]
