"""Compute targets over the API: who serves them, how full they are, and what owners change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runs.models import ComputeTarget, Node, Run
from runs.status import Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import make_node, make_run, make_target, make_workspace

pytestmark = pytest.mark.django_db
PATH = "/workspaces/default/compute-targets"


@pytest.fixture
def owner(api_of: Callable[[User | Run | None], Api], chi: User) -> Api:
    return api_of(chi)


def test_a_target_tells_its_nodes_and_how_full_it_is(api: Api) -> None:
    target = make_target("gpu-compute", description="Four cards", is_default=True)
    box = make_node("box", target=target, slots=3)
    make_node("old", target=target, last_seen_at=datetime.now(UTC) - timedelta(hours=1))
    make_node("drained", target=target, drained_at=datetime.now(UTC))
    make_run(status=Status.RUNNING, target=target, node=box)
    for _ in range(2):
        make_run(status=Status.QUEUED, target=target)
    shown = api.get(f"{PATH}/gpu-compute").json()
    assert {
        name: shown[name] for name in ("name", "description", "is_default", "slots", "used", "queued")
    } == {
        "name": "gpu-compute",
        "description": "Four cards",
        "is_default": True,
        "slots": 3,
        "used": 1,
        "queued": 2,
    }
    assert [
        (one["name"], one["slots"], one["used"], one["alive"], one["drained"]) for one in shown["nodes"]
    ] == [("box", 3, 1, True, False), ("drained", 2, 0, True, True), ("old", 2, 0, False, False)]
    assert shown["nodes"][0]["facts"]["cpus"] == 2
    assert shown["nodes"][0]["last_seen_at"].endswith("Z")


def test_the_list_has_the_default_first_and_none_of_other_workspaces(
    api: Api, django_assert_num_queries: Any
) -> None:
    make_target("a")
    make_target("z", is_default=True)
    make_target("theirs", workspace=make_workspace("elsewhere"))
    api.get(PATH)
    with django_assert_num_queries(5):  # token with membership; targets, nodes, runs on nodes, queued
        listed = api.get(PATH).json()["items"]
    assert [one["name"] for one in listed] == ["z", "a"]
    assert api.get(f"{PATH}/theirs").status_code == 404


def test_a_run_reads_the_targets_of_its_workspace(
    api_of: Callable[[User | Run | None], Api], ana: User
) -> None:
    run = make_run(status=Status.RUNNING, submitter=ana)
    assert [one["name"] for one in api_of(run).get(PATH).json()["items"]] == ["local"]
    assert api_of(run).post(PATH, {"name": "gpu"}).status_code == 403


def test_an_owner_makes_a_target(owner: Api) -> None:
    made = owner.post(PATH, {"name": "gpu-compute", "description": "Cards"})
    assert made.status_code == 201
    assert (made.json()["name"], made.json()["is_default"], made.json()["nodes"]) == ("gpu-compute", True, [])
    second = owner.post(PATH, {"name": "cpu", "is_default": True})
    assert second.json()["is_default"]
    assert not ComputeTarget.objects.get(name="gpu-compute").is_default


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "name"),
        ({"name": ""}, 422, "name"),
        ({"name": "1st"}, 422, "name"),
        ({"name": "x" * 25}, 422, "name"),
        ({"name": "a\0b"}, 422, "name"),
        ({"name": "there"}, 409, "name"),
        ({"name": "new", "descripton": "x"}, 422, "descripton"),
    ],
)
def test_what_cannot_be_made_is_refused(owner: Api, body: dict[str, Any], status: int, field: str) -> None:
    make_target("there")
    answer = owner.post(PATH, body)
    assert (answer.status_code, refusal(answer)["field"]) == (status, field)
    assert ComputeTarget.objects.count() == 1


def test_an_owner_changes_what_is_given(owner: Api) -> None:
    make_target("a", is_default=True, description="old")
    make_target("b")
    changed = owner.patch(f"{PATH}/a", {"description": "new"}).json()
    assert (changed["description"], changed["is_default"]) == ("new", True)
    changed = owner.patch(f"{PATH}/b", {"is_default": True}).json()
    assert (changed["description"], changed["is_default"]) == ("", True)
    assert owner.patch(f"{PATH}/a", {"is_default": False}).status_code == 200
    refused = owner.patch(f"{PATH}/b", {"is_default": False, "description": "x"})
    assert (refused.status_code, refusal(refused)["field"]) == (409, "is_default")
    assert ComputeTarget.objects.get(name="b").description == ""


def test_an_owner_drains_and_forgets_nodes(owner: Api) -> None:
    target = make_target("a")
    make_node("box", target=target)
    path = f"{PATH}/a/nodes/box"
    drained = owner.patch(path, {"drained": True}).json()
    assert (drained["nodes"][0]["drained"], drained["slots"]) == (True, 0)
    assert owner.patch(path, {"drained": False}).json()["slots"] == 2
    alive = owner.call("delete", path)
    assert (alive.status_code, refusal(alive)["message"]) == (409, "box is alive.")
    Node.objects.update(last_seen_at=datetime.now(UTC) - timedelta(hours=1))
    gone = owner.call("delete", path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert not Node.objects.exists()
    assert owner.call("delete", path).status_code == 404


def test_who_drained_a_node_is_kept(owner: Api, chi: User) -> None:
    make_node("box", target=make_target("a"))
    owner.patch(f"{PATH}/a/nodes/box", {"drained": True})
    assert Node.objects.get().drained_by == chi
