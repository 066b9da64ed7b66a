"""Whoever changes several rows holds them in one order, so that no two wait for each other for ever."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from runs.errors import RunFinished
from runs.models import Run
from runs.services.compute import edit_target, forget_node, set_default_target
from runs.services.interactive import beat_all, create_children
from runs.services.new_runs import NewRun
from runs.services.runs import archive_runs
from runs.services.tags import add_tags
from runs.services.waiting import take_slots_back
from runs.status import Kind, Status
from studio.accounts.models import Membership, Role, User
from studio.accounts.services import change_role, remove_member
from tests.factories import make_node, make_run, make_target, make_user
from tests.life_kit import held_up

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 60
#: Rows lie in the order in which they were written last, which after a while is any.
LIE_BACKWARDS = """
    CREATE INDEX backwards ON runs_run (id DESC);
    CLUSTER runs_run USING backwards;
    DROP INDEX backwards;
    ANALYZE runs_run;
"""


def runs_in(status: Status, **over: Any) -> list[Run]:
    runs = [make_run(status=status, **over) for _ in range(MANY)]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(LIE_BACKWARDS)
    return runs


def beats(ana: User) -> tuple[list[Run], Callable[[], Any]]:
    runs = runs_in(Status.RUNNING, kind=Kind.INTERACTIVE, attempt=0)
    return runs, lambda: beat_all(runs)


def archive(ana: User) -> tuple[list[Run], Callable[[], Any]]:
    runs = runs_in(Status.COMPLETED)
    return runs, lambda: archive_runs(Run.objects.all(), by=ana)


def slots(ana: User) -> tuple[list[Run], Callable[[], Any]]:
    late = Now() - timedelta(hours=1)
    return runs_in(Status.RUNNING, holds_slot=False, waits_until=late), take_slots_back


def forget(ana: User) -> tuple[list[Run], Callable[[], Any]]:
    node = make_node(last_seen_at=Now() - timedelta(days=1))
    runs = runs_in(Status.COMPLETED, node=node)
    return runs, lambda: forget_node(node, by=ana)


@pytest.mark.parametrize("changes", [beats, archive, slots, forget])
def test_a_change_of_many_runs_and_tags_for_them(changes: Any, ana: User) -> None:
    runs, change = changes(ana)
    second = Run.objects.filter(pk=runs[1].pk)
    with held_up(second, [lambda: add_tags(runs, {"a": "1"}, by=ana), change]) as results:
        pass
    if changes is archive and isinstance(results[0], RunFinished):  # on SQLite either may come first
        results[0] = MANY
    assert results[0] == MANY
    assert not isinstance(results[1], Exception), results


def test_children_are_made_below_runs_that_get_tags(ana: User) -> None:
    top = make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING)
    below = make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING, parent=top, root=top)
    parent = Run.objects.select_related("experiment", "workspace").get(pk=below.pk)
    calls = [
        lambda: create_children(parent, [NewRun()], by=ana),
        lambda: add_tags([top, below], {"a": "1"}, by=ana),
    ]
    with held_up(Run.objects.filter(pk=below.pk), calls) as results:
        pass
    assert [results[0][1], results[1]] == [True, 2], results


def test_a_target_is_described_and_chosen_as_the_default(chi: User) -> None:
    target = make_target()
    calls = [
        lambda: edit_target(target, by=chi, description="large"),
        lambda: set_default_target(target, by=chi),
    ]
    with held_up(type(target).objects.filter(pk=target.pk), calls) as results:
        pass
    assert results == [None, None]
    target.refresh_from_db()
    assert (target.description, target.is_default) == ("large", True)


def test_a_member_becomes_an_owner_and_is_removed(chi: User) -> None:
    eva = Membership.objects.get(user=make_user("eva", Role.READER))
    calls = [lambda: change_role(eva, Role.OWNER, by=chi), lambda: remove_member(eva, by=chi)]
    with held_up(Membership.objects.filter(pk=eva.pk), calls) as results:
        pass
    assert results == [None, None]
