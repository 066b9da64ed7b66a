"""How much room the compute targets have, as the submit page says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.models import ComputeTarget
from runs.services.capacity import Capacity, capacities
from runs.status import Status
from studio.accounts.models import Workspace
from tests.factories import make_node, make_run, make_target, make_workspace

LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture(autouse=True)
def _in(workspace: Workspace) -> None:
    """Every test has the workspace."""


def room() -> dict[str, Capacity]:
    workspace = make_workspace()
    return capacities(ComputeTarget.objects.filter(workspace=workspace), workspace)


def test_free_slots_are_those_of_nodes_that_take_runs() -> None:
    target = make_target("local")
    node = make_node("a", target=target, slots=4)
    make_node("b", target=target, slots=2, last_seen_at=LONG_AGO)
    make_node("c", target=target, slots=8, drained_at=LONG_AGO)
    make_run(status=Status.RUNNING, target=target, node=node)
    make_run(status=Status.QUEUED, target=target)
    one = room()["local"]
    assert (one.nodes, one.nodes_alive, one.slots, one.free, one.queued) == (3, 2, 4, 3, 1)
    assert one.short == "3 of 4 slots free"
    assert one.words == "2 of 3 nodes alive, 1 queued."


def test_slots_of_a_machine_are_one_pool_for_all_its_targets() -> None:
    first, second = make_target("local"), make_target("gpu")
    node = make_node("box", target=first, slots=2)
    make_node("box", target=second, slots=2)
    make_run(status=Status.RUNNING, target=first, node=node)
    assert {name: one.free for name, one in room().items()} == {"local": 1, "gpu": 1}


@pytest.mark.parametrize(
    ("columns", "short"),
    [({"last_seen_at": LONG_AGO}, "no node alive"), ({"drained_at": LONG_AGO}, "draining")],
)
def test_no_room_says_why(columns: dict[str, Any], short: str) -> None:
    make_node(target=make_target("local"), **columns)
    assert room()["local"].short == short


def test_a_target_without_nodes_says_that_runs_wait() -> None:
    make_target("local")
    assert "runs wait" in room()["local"].words


def test_it_costs_the_same_for_many_targets() -> None:
    for number in range(10):
        make_node(f"box{number}", target=make_target(f"target-{number}"))
    targets, workspace = list(ComputeTarget.objects.all()), make_workspace()
    with CaptureQueriesContext(connection) as asked:  # alive, used, nodes, queued
        capacities(targets, workspace)
    assert len(asked) == 4
