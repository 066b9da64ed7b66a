"""Migrating a database that has runs in it keeps what the engines add behind the models' back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import CheckConstraint, Q, QuerySet
from django.test.utils import CaptureQueriesContext

from runs.models import Property, Run, RunEvent
from runs.search.index import index_exists
from runs.search.parser import parse
from runs.search.query import Search
from runs.services.nodes import claim
from runs.status import Status
from tests.factories import make_node, make_run

pytestmark = pytest.mark.django_db(transaction=True)


def found(text: str) -> list[int]:
    return [run.pk for run in Search(Run.objects.all(), parse(text), person=None).page().rows]


def test_free_text_and_unchangeable_properties_survive_a_change_of_the_tables():
    before = make_run(display_name="amber falcon")
    call_command("migrate", "runs", "0004", verbosity=0)
    call_command("migrate", "runs", verbosity=0)
    after = make_run(display_name="amber heron")
    assert index_exists()
    assert set(found("amber")) == {before.pk, after.pk}
    Run.objects.filter(pk=before.pk).update(search_text="cobalt")
    assert found("amber") == [after.pk]
    Property.objects.create(run=after, key="once", value="1")
    with pytest.raises(DatabaseError):
        Property.objects.filter(run=after).update(value="2")
    with pytest.raises(DatabaseError):
        Run.objects.filter(pk=before.pk).update(status=Status.RUNNING, ended_at=None)


def test_what_a_rebuilt_table_loses_is_restored():
    run = make_run(properties={"once": "1"})
    with connection.schema_editor() as editor:
        for model in (Run, RunEvent, Property):
            fresh = CheckConstraint(condition=Q(id__gte=0), name=f"{model._meta.db_table}_fresh")
            editor.add_constraint(model, fresh)
            editor.remove_constraint(model, fresh)
    if connection.vendor == "sqlite":
        Run.objects.filter(pk=run.pk).update(status=Status.FAILED)  # they are lost
    call_command("migrate", verbosity=0)
    for rows, change in (
        (Run, {"status": Status.CANCELED}),
        (Run, {"number": 77}),
        (RunEvent, {"why": "other"}),
        (Property, {"value": "2"}),
    ):
        with pytest.raises(DatabaseError):
            rows.objects.update(**change)


EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}


@contextmanager
def as_if_full() -> Iterator[Any]:
    """A cursor of a database that plans as if its tables had more rows than fit a page."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
        yield cursor


def plan_of(query: QuerySet[Any]) -> str:
    with as_if_full():
        return query.explain()


@pytest.mark.parametrize(
    "name", ["parent", "root", "target", "node", "snapshot", "resubmitted_from", "cancel_requested_by"]
)
def test_a_key_that_most_runs_lack_is_found_by_an_index(name):
    plan = plan_of(Run.objects.filter(**{name: 7}).only("id").order_by())
    assert f"run_{name}" in plan or f"runs_run_{name}_id" in plan


def test_the_runs_of_a_tree_are_found_without_a_walk_through_the_workspace():
    here = Run.objects.filter(workspace=1)
    if connection.vendor == "sqlite":  # PostgreSQL chooses by what it knows of the rows, and here are none
        for runs in (here.filter(root=7), here.filter(pk=7) | here.filter(root=7)):
            assert "run_root" in plan_of(runs.filter(archived_at=None).only("id").order_by("-id"))


def test_slots_are_found_without_a_walk_through_what_a_machine_has_run():
    node = make_node()
    with CaptureQueriesContext(connection) as asked:
        assert claim([node], 1) == []
    (count,) = (query["sql"] for query in asked if "COUNT" in query["sql"] and "holds_slot" in query["sql"])
    with as_if_full() as cursor:
        cursor.execute(f"{EXPLAIN[connection.vendor]} {count}")
        assert "run_slots" in str(cursor.fetchall())


def test_the_indexes_of_keys_can_be_taken_back():
    parent = make_run()
    of_parent = Run.objects.filter(parent=parent).only("id").order_by()
    call_command("migrate", "runs", "0013", verbosity=0)
    assert "runs_run_parent_id_8594b290" in plan_of(of_parent)
    call_command("migrate", "runs", verbosity=0)
    assert "run_parent" in plan_of(of_parent)
    with pytest.raises(DatabaseError):
        Run.objects.update(number=77)


def test_what_was_folded_with_four_letters_i_is_folded_again():
    run = make_run(display_name="İSTANBUL ışık", tags={"şehir": "İzmir", "plain": "x"})
    call_command("migrate", "runs", "0011", verbosity=0)
    Run.objects.filter(pk=run.pk).update(search_text="i\u0307stanbul ışık")
    run.tags.filter(key="şehir").update(folded="şehir\x1fi\u0307zmir")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runs_property (run_id, key, value, folded) VALUES (%s, 'yer', 'Iğdır', %s)",
            [run.pk, "yer\x1fiğdır"],
        )
    call_command("migrate", "runs", verbosity=0)
    assert found("istanbul") == found("IŞIK") == found("tag:şehir=izmir") == [run.pk]
    assert found("property:yer=IĞDIR") == found("tag:plain=x") == [run.pk]
    with pytest.raises(DatabaseError):
        Property.objects.filter(run=run).update(value="2")
