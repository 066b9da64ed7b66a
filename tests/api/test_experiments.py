"""Experiments over the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runs.models import Experiment
from runs.status import Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import make_experiment, make_run, make_workspace

pytestmark = pytest.mark.django_db
HERE = "/workspaces/default/experiments"


def names(api: Api, **query: Any) -> list[str]:
    return [one["name"] for one in api.get(HERE, query).json()["items"]]


def test_made_once_and_found_after_that(api: Api, ana: User) -> None:
    first = api.post(HERE, {"name": "mnist", "description": "digits"})
    again = api.post(HERE, {"name": "mnist"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    said = first.json()
    assert (said["name"], said["workspace"], said["description"]) == ("mnist", "default", "digits")
    assert (said["tags"], said["archived_at"], said["last_number"]) == ({}, None, 0)
    assert said["url"].endswith("/experiments/mnist/?workspace=default")
    assert Experiment.objects.get().created_by == ana


def test_a_second_one_is_refused_when_it_must_be_new(api: Api) -> None:
    api.post(HERE, {"name": "mnist"})
    answer = api.post(HERE, {"name": "mnist", "exist_ok": False})
    assert (answer.status_code, refusal(answer)["field"]) == (409, "name")


@pytest.mark.parametrize("name", ["", " ", "-a", "a b", "ä", "a" * 256, "a\0"])
def test_names_follow_the_rule(api: Api, name: str) -> None:
    answer = api.post(HERE, {"name": name})
    assert (answer.status_code, refusal(answer)["field"]) == (422, "name")
    assert not Experiment.objects.exists()


def test_unknown_fields_are_refused(api: Api) -> None:
    answer = api.post(HERE, {"name": "mnist", "descripton": "x"})
    assert (answer.status_code, refusal(answer)["field"]) == (422, "descripton")


def test_a_list_shows_what_is_not_archived_unless_asked(api: Api) -> None:
    make_experiment("b")
    make_experiment("a")
    api.patch(f"{HERE}/b", {"archived": True})
    make_experiment("other", workspace=make_workspace("elsewhere"))
    assert names(api) == ["a"]
    assert names(api, view="archived") == ["b"]
    assert names(api, view="all") == ["a", "b"]
    assert names(api, view="all", name="b") == ["b"]


def test_what_is_left_out_stays(api: Api) -> None:
    make_experiment("mnist", description="digits", tags={"team": "vision"})
    said = api.patch(f"{HERE}/mnist", {"tags": {"team": None, "x": "1"}}).json()
    assert (said["description"], said["tags"]) == ("digits", {"team": None, "x": "1"})
    assert api.patch(f"{HERE}/mnist", {}).json() == said


def test_it_is_not_archived_while_runs_are_active(api: Api) -> None:
    make_run(status=Status.RUNNING)
    answer = api.patch(f"{HERE}/mnist", {"archived": True})
    assert (answer.status_code, refusal(answer)["code"]) == (409, "conflict")


def test_unknown_ones(api: Api) -> None:
    assert api.get(f"{HERE}/unknown").status_code == 404
    assert api.get(f"{HERE}/a%00b").status_code == 404


def test_a_run_knows_its_own_alone(api_of: Callable[..., Api]) -> None:
    api = api_of(make_run(status=Status.RUNNING))
    make_experiment("other")
    assert api.get(f"{HERE}/mnist").status_code == 200
    assert api.post(HERE, {"name": "mnist"}).status_code == 200
    assert api.get(f"{HERE}/other").status_code == 403
    assert api.post(HERE, {"name": "new"}).status_code == 403
