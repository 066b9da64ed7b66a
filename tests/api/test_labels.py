"""Tags and properties over the API."""

from __future__ import annotations

from typing import Any

import pytest

from runs.models import Run
from tests.api_kit import Api, refusal
from tests.factories import make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> Run:
    return make_run(tags={"old": "1"}, properties={"author": "ana"})


def test_tags_are_merged_replaced_and_removed(api: Api, run: Run) -> None:
    tags = f"/runs/{run.run_id}/tags"
    assert api.put(tags, {"quality": "good", "old": None}).json()["tags"] == {"old": None, "quality": "good"}
    assert api.post(f"{tags}/remove", {"keys": ["old", "unknown"]}).json()["tags"] == {"quality": "good"}
    assert api.get(tags).json()["tags"] == {"quality": "good"}
    assert "good" in Run.objects.get(pk=run.pk).search_text


@pytest.mark.parametrize("body", [{"": "x"}, {"a": 1}, {"a" * 101: None}, {"a": "x" * 5_001}, [], "x", None])
def test_bad_tags(api: Api, run: Run, body: Any) -> None:
    assert api.put(f"/runs/{run.run_id}/tags", body).status_code in (400, 422)
    assert api.get(f"/runs/{run.run_id}/tags").json()["tags"] == {"old": "1"}


def test_an_archived_run_keeps_its_tags(api: Api, run: Run) -> None:
    api.patch(f"/runs/{run.run_id}", {"archived": True})
    answer = api.put(f"/runs/{run.run_id}/tags", {"a": "b"})
    assert (answer.status_code, refusal(answer)["code"]) == (409, "run_finished")


def test_properties_are_added_and_never_change(api: Api, run: Run) -> None:
    properties = f"/runs/{run.run_id}/properties"
    assert api.post(properties, {"author": "ana", "git": "1f2e"}).json()["properties"] == {
        "author": "ana",
        "git": "1f2e",
    }
    answer = api.post(properties, {"new": "1", "author": "ben"})
    error = refusal(answer)
    assert (answer.status_code, error["code"], error["field"]) == (409, "property_is_set", "author")
    assert "ana" in error["message"]
    assert "ben" in error["message"]
    assert "new" not in api.get(properties).json()["properties"]


def test_nothing_to_add_is_no_error(api: Api, run: Run) -> None:
    assert api.post(f"/runs/{run.run_id}/properties", {}).status_code == 200
    assert api.put(f"/runs/{run.run_id}/tags", {}).status_code == 200
