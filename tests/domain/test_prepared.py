"""Queries whose SQL is put together once answer as Django's own do, every time and in every thread."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import BigIntegerField, F
from django.db.models.functions import Now
from django.forms.models import model_to_dict
from django.test.utils import CaptureQueriesContext

from runs.models import Experiment, Run, Tag
from studio.accounts.models import Membership, Role, User
from studio.prepared import Given, Prepared, PreparedInsert, PreparedUpdate
from tests.factories import make_experiment, make_run, make_user


@pytest.fixture
def people(db: None) -> list[User]:
    return [make_user("ana"), make_user("ben", Role.OWNER)]


def by_person() -> Any:
    return Membership.objects.select_related("workspace", "user").filter(user__username=Given("name"))


class TestRows:
    def test_each_call_asks_the_database_for_what_it_was_given(self, people: list[User]) -> None:
        query = Prepared(by_person)
        assert [query.first(name=person.username) for person in people] == [
            person.memberships.get() for person in people
        ]
        assert query.first(name="nobody") is None
        Membership.objects.filter(user=people[0]).delete()
        assert query.first(name="ana") is None

    def test_related_rows_come_with_it(self, people: list[User]) -> None:
        query = Prepared(by_person)
        query.first(name="ana")
        with CaptureQueriesContext(connection) as asked:
            found = query.first(name="ben")
            assert found is not None
            assert (found.user, found.workspace.name, found.role) == (people[1], "default", Role.OWNER)
        assert len(asked) == 1

    def test_values_are_those_that_django_reads(self, db: None) -> None:
        run = make_run(tags={"a": "b"})
        query = Prepared(lambda: Run.objects.for_api().prefetch_related(None).filter(run_id=Given("run_id")))
        plain: Any = Run.objects.for_api().get(pk=run.pk)
        for _ in range(2):
            found: Any = query.first(run_id=run.run_id)
            assert model_to_dict(found) == model_to_dict(plain)
            assert (found.created_at, found.root_run_id, found.has_children) == (
                plain.created_at,
                run.run_id,
                False,
            )
            assert found.get_deferred_fields() == plain.get_deferred_fields()

    def test_what_was_given_is_a_value_and_never_sql(self, people: list[User]) -> None:
        query = Prepared(by_person)
        for name in ("' OR 1=1 --", "%s", "ana%", '"'):
            assert query.first(name=name) is None


@pytest.mark.django_db(transaction=True)
def test_several_threads_share_one_query() -> None:
    names = [f"person{number}" for number in range(8)]
    for name in names:
        make_user(name)
    query, seen = Prepared(by_person), {}

    def ask(name: str) -> None:
        try:
            seen[name] = {found.user.username for _ in range(50) for found in query.all(name=name)}
        finally:
            connection.close()

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {name: {name} for name in names}


class TestUpdate:
    def test_it_changes_what_it_finds_and_says_what_that_is_now(self, db: None) -> None:
        one, other = make_experiment("one"), make_experiment("other")
        update = PreparedUpdate(
            lambda: Experiment.objects.filter(name=Given("name")),
            last_number=F("last_number") + Given("count", BigIntegerField()),
            returning=(F("last_number"), F("name"), Now()),
        )
        for count, last in ((1, 1), (4, 5)):
            ((number, name, now),) = update.run(name="one", count=count)
            assert (number, name) == (last, "one")
            assert abs(now - datetime.now(UTC)) < timedelta(minutes=5)
        assert update.run(name="nobody's", count=1) == []
        one.refresh_from_db()
        other.refresh_from_db()
        assert (one.last_number, other.last_number) == (5, 0)


class TestInsert:
    def test_the_row_is_as_django_stores_it(self, db: None) -> None:
        first = make_run(arguments=["--ä", "%s"], environment_variables={"A": None})
        insert = PreparedInsert(Run)

        def another(number: int) -> Run:
            run = Run.objects.get(pk=first.pk)
            run.pk, run.run_id, run.number = None, f"run-{number}", number
            return run

        for number in (2, 4):
            ours, djangos = another(number), another(number + 1)
            insert.run(ours)
            djangos.save(force_insert=True)
            found, expected = (Run.objects.filter(pk=run.pk).values().get() for run in (ours, djangos))
            differ = {name for name in found if found[name] != expected[name]}
            assert differ == {"id", "run_id", "number"}
            assert (found["run_id"], found["arguments"]) == (ours.run_id, ["--ä", "%s"])

    def test_many_rows_are_as_django_stores_them_and_in_order(self, db: None) -> None:
        ours, djangos = make_run(), make_run()
        labels = {f"Key {number}": None if number % 2 else f"%s ä {number}" for number in range(5_000)}
        with CaptureQueriesContext(connection) as asked:
            PreparedInsert(Tag).run_all([Tag(run=ours, key=key, value=labels[key]) for key in labels])
        assert len(asked) == 3
        Tag.objects.bulk_create(Tag(run=djangos, key=key, value=labels[key]) for key in labels)
        ours_now, djangos_now = (
            list(Tag.objects.filter(run=run).order_by("pk").values_list("key", "value", "folded"))
            for run in (ours, djangos)
        )
        assert ours_now == djangos_now
        assert [(key, value) for key, value, _ in ours_now] == list(labels.items())

    def test_it_belongs_to_the_transaction(self, db: None) -> None:
        run = Run.objects.get(pk=make_run().pk)
        run.pk, run.run_id, run.number = None, "other", 2

        @transaction.atomic
        def insert_twice() -> None:
            for _ in range(2):
                PreparedInsert(Run).run(run)

        with pytest.raises(IntegrityError):
            insert_twice()
        assert not Run.objects.filter(run_id="other").exists()
