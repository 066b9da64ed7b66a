"""Child runs over the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.models import Run
from runs.status import Kind, Status
from tests.api_kit import Api, refusal
from tests.factories import make_pipeline, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def parent() -> Run:
    return make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING)


def make(api: Api, parent: Run, **body: Any) -> list[dict[str, Any]]:
    answer = api.post(f"/runs/{parent.run_id}/children", body)
    assert answer.status_code == 201, answer.content
    return answer.json()["items"]


def test_a_count_gives_numbered_ones_that_are_not_started(api: Api, parent: Run) -> None:
    made = make(api, parent, count=3)
    assert [one["tags"] for one in made] == [{"azureml.batch_child_number": str(at)} for at in range(3)]
    assert {one["status"] for one in made} == {"NotStarted"}
    assert {one["parent_run_id"] for one in made} == {parent.run_id}
    assert [one["number"] for one in made] == [parent.number + 1, parent.number + 2, parent.number + 3]
    assert make(api, parent, count=0) == []


def test_each_can_be_described(api: Api, parent: Run) -> None:
    made = make(api, parent, children=[{"display_name": "lr 0.1", "tags": {"lr": "0.1"}}, {"run_id": "mine"}])
    assert made[0]["name"] == "lr 0.1"
    assert made[0]["tags"] == {"lr": "0.1"}
    assert made[1]["run_id"] == "mine"
    assert "lr 0.1" in Run.objects.get(run_id=made[0]["run_id"]).search_text


def test_the_same_batch_again_makes_no_others(api: Api, parent: Run) -> None:
    first = make(api, parent, count=5, batch_id="b-1")
    again = make(api, parent, count=5, batch_id="b-1")
    other = make(api, parent, count=5, batch_id="b-2")
    assert [one["run_id"] for one in first] == [one["run_id"] for one in again]
    assert not {one["run_id"] for one in first} & {one["run_id"] for one in other}
    assert Run.objects.filter(parent=parent).count() == 10


def test_a_batch_that_grew_is_refused_and_half_of_it_is_not_made(api: Api, parent: Run) -> None:
    make(api, parent, count=2, batch_id="b-1")
    answer = api.post(f"/runs/{parent.run_id}/children", {"count": 3, "batch_id": "b-1"})
    assert answer.status_code == 409
    assert Run.objects.filter(parent=parent).count() == 2


@pytest.mark.parametrize(
    "body",
    [
        {"count": -1},
        {"count": 501},
        {"count": 1, "children": [{}]},
        {"children": [{"tags": {"": "x"}}]},
        {"children": [{"run_id": "twice"}, {"run_id": "twice"}]},
    ],
)
def test_bad_batches(api: Api, parent: Run, body: dict[str, Any]) -> None:
    assert api.post(f"/runs/{parent.run_id}/children", body).status_code == 422
    assert not Run.objects.filter(parent=parent).exists()


def test_a_pipeline_has_its_steps_alone(api: Api) -> None:
    answer = api.post(f"/runs/{make_pipeline().run_id}/children", {"count": 1})
    assert (answer.status_code, refusal(answer)["field"]) == (422, "parent")


def test_a_hundred_cost_as_many_queries_as_one(api: Api, parent: Run) -> None:
    api.get("/me")  # notes that the token was used
    counts = []
    for count in (1, 100):
        with CaptureQueriesContext(connection) as asked:
            make(api, parent, count=count)
        counts.append(len([q for q in asked if not q["sql"].startswith(("SAVEPOINT", "RELEASE"))]))
    # Token, run, membership; parent held, number, runs, tags, the parent's change.
    assert counts[0] == 8
    assert counts[1] <= 13  # SQLite takes so many values at a time


def test_the_answer_is_what_asking_for_each_gives(api: Api, parent: Run) -> None:
    below = make(api, parent, children=[{"tags": {"a": None, "b": " x "}, "properties": {"c": "d"}}])[0]
    deeper = make(api, Run.objects.get(run_id=below["run_id"]), children=[{"display_name": "named\t"}])[0]
    for made in (below, deeper):
        asked = api.get(f"/runs/{made['run_id']}").json()
        assert set(asked) - set(made) == {"environment_variables", "after"}
        assert {name for name in made if asked[name] != made[name]} <= {"version", "has_children"}


class TestList:
    def names(self, api: Api, run: Run, **query: Any) -> str:
        answer = api.get(f"/runs/{run.run_id}/children", query)
        assert answer.status_code == 200, answer.content
        return "".join(one["name"] for one in answer.json()["items"])

    @pytest.fixture
    def tree(self, parent: Run) -> Run:
        a = make_run(display_name="a", parent=parent, kind=Kind.SCRIPT, tags={"x": "1"})
        make_run(display_name="b", parent=a, kind=Kind.SCRIPT, status=Status.FAILED)
        make_run(display_name="c", parent=parent, kind=Kind.INTERACTIVE, status=Status.RUNNING)
        return parent

    def test_newest_first_and_recursive(self, api: Api, tree: Run) -> None:
        assert self.names(api, tree) == "ca"
        assert self.names(api, tree, recursive=True) == "cba"
        assert self.names(api, Run.objects.get(display_name="a"), recursive=True) == "b"
        assert self.names(api, Run.objects.get(display_name="b"), recursive=True) == ""

    def test_filters_and_pages(self, api: Api, tree: Run) -> None:
        assert self.names(api, tree, tag="x=1") == "a"
        assert self.names(api, tree, status="Running") == "c"
        assert self.names(api, tree, recursive=True, kind="script") == "ba"
        page = api.get(f"/runs/{tree.run_id}/children", {"limit": 1}).json()
        assert self.names(api, tree, limit=1, cursor=page["next_cursor"]) == "a"
