"""The database itself refuses rows that cannot be, whoever writes them."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from runs.models import ComputeTarget, LogChunk, Node, Property, Run, RunDependency, RunEvent, Tag
from runs.status import TERMINAL, Status
from tests.factories import make_experiment, make_node, make_run, make_target

pytestmark = pytest.mark.django_db

BROKEN_CHANGES: dict[str, dict[str, Any]] = {
    "an unknown status": {"status": "Sleeping"},
    "an unknown kind": {"kind": "job"},
    "an unknown class of error": {"error_class": "gremlins"},
    "number 0": {"number": 0},
    "no run id": {"run_id": ""},
    "terminal without an end": {"status": "Completed"},
    "an end without being terminal": {"ended_at": Now()},
    "ended before it started": {
        "status": "Failed",
        "started_at": "2030-01-02T00:00Z",
        "ended_at": "2030-01-01T00:00Z",
    },
    "its own parent": {"parent": F("id"), "root": F("id")},
    "a root without a parent": {"root": F("id")},
    "a slot held after the end": {"status": "Failed", "ended_at": Now(), "holds_slot": True},
    "no status": {"status": None},
    "no attempt": {"attempt": -1},
}


def refused(sql: str, *values: Any) -> None:
    """The database refuses this statement."""
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)


def replaced(table: str, pk: int, **values: str) -> None:
    """SQLite refuses a REPLACE by a row that differs in these columns; PostgreSQL has none."""
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        columns = [column.name for column in connection.introspection.get_table_description(cursor, table)]
    chosen = ", ".join(values.get(column, column) for column in columns)
    refused(
        f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM {table} WHERE id = %s",
        pk,
    )


def truncated(table: str) -> None:
    """PostgreSQL refuses a TRUNCATE of it; SQLite has none."""
    if connection.vendor == "postgresql":
        for tables in (table, f"{table}, runs_run CASCADE", "runs_run CASCADE"):
            refused(f"TRUNCATE {tables}")


@pytest.mark.parametrize("case", BROKEN_CHANGES)
def test_a_run_that_cannot_be_is_refused(case: str) -> None:
    run = make_run(status=Status.RUNNING, started_at=None, holds_slot=False)
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(pk=run.pk).update(**BROKEN_CHANGES[case])


def test_so_does_plain_sql() -> None:
    run = make_run(status=Status.RUNNING)
    refused("UPDATE runs_run SET status = 'Nonsense' WHERE id = %s", run.pk)
    refused("UPDATE runs_run SET status = 'Completed' WHERE id = %s", run.pk)
    refused("UPDATE runs_run SET number = 0 WHERE id = %s", run.pk)
    assert Run.objects.get(pk=run.pk).status == Status.RUNNING


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_end_stays(status: Status) -> None:
    run = make_run(status=status)
    for other in sorted(TERMINAL - {status}):
        refused("UPDATE runs_run SET status = %s WHERE id = %s", other, run.pk)
    refused("UPDATE runs_run SET status = 'Running', ended_at = NULL WHERE id = %s", run.pk)
    replaced("runs_run", run.pk, status="'Running'", ended_at="NULL")
    Run.objects.filter(pk=run.pk).update(status=status, archived_at=Now())
    assert Run.objects.get(pk=run.pk).status == status


def test_what_a_run_is_known_by_stays() -> None:
    run, other = make_run(status=Status.RUNNING), make_experiment("other")
    refused("UPDATE runs_run SET number = 77 WHERE id = %s", run.pk)
    refused("UPDATE runs_run SET run_id = 'other' WHERE id = %s", run.pk)
    refused("UPDATE runs_run SET experiment_id = %s WHERE id = %s", other.pk, run.pk)
    replaced("runs_run", run.pk, number="77")
    run.save()
    assert Run.objects.get(pk=run.pk).number == run.number


def test_a_number_is_given_once() -> None:
    run = make_run()
    with pytest.raises(IntegrityError), transaction.atomic():
        make_run(number=run.number)
    assert make_run(number=run.number, experiment=make_experiment("other")).number == run.number


def test_a_run_id_and_a_submission_key_are_given_once() -> None:
    run = make_run(submission_key="k")
    for twice in ({"run_id": run.run_id}, {"submission_key": "k"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            make_run(**twice)


class TestEvents:
    def test_a_place_is_taken_once(self) -> None:
        run = make_run(status=Status.RUNNING)
        self.refuses(run=run, seq=1, from_status="", to_status=Status.QUEUED)

    @pytest.mark.parametrize("before", [Status.COMPLETED, Status.RUNNING, Status.FINALIZING, ""])
    @pytest.mark.parametrize("after", [Status.QUEUED, Status.FAILED])
    def test_nothing_follows_an_end(self, before: str, after: Status) -> None:
        run = make_run(status=Status.COMPLETED)
        self.refuses(run=run, seq=run.events.count() + 1, from_status=before, to_status=after)

    def test_they_count_from_one(self) -> None:
        self.refuses(run=make_run(status=Status.RUNNING), seq=0, to_status=Status.RUNNING)

    @pytest.mark.parametrize(("skipped", "before"), [(1, Status.RUNNING), (0, Status.QUEUED), (0, "")])
    def test_each_follows_the_one_before_it(self, skipped: int, before: str) -> None:
        run = make_run(status=Status.RUNNING)
        seq = run.events.count() + 1
        self.refuses(run=run, seq=seq + skipped, from_status=before, to_status=Status.FINALIZING)
        RunEvent.objects.create(run=run, seq=seq, from_status=Status.RUNNING, to_status=Status.FINALIZING)

    def test_their_status_is_a_known_one(self) -> None:
        run = make_run(status=Status.RUNNING)
        self.refuses(run=run, seq=run.events.count() + 1, from_status=Status.RUNNING, to_status="Exploded")

    def test_they_stay(self) -> None:
        run = make_run(status=Status.RUNNING)
        first = run.events.get(seq=1)
        refused("UPDATE runs_runevent SET why = 'other' WHERE id = %s", first.pk)
        refused("DELETE FROM runs_runevent WHERE id = %s", first.pk)
        replaced("runs_runevent", first.pk, why="'other'")
        replaced("runs_runevent", first.pk, id="id + 1000", why="'other'")
        truncated("runs_runevent")
        assert list(run.events.values_list("seq", "why")) == [(seq, "") for seq in (1, 2, 3, 4)]

    @staticmethod
    def refuses(**columns: Any) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            RunEvent.objects.create(**columns)


class TestProperties:
    def test_they_refuse_every_change(self) -> None:
        made = Property.objects.create(run=make_run(), key="author", value="ana")
        refused("UPDATE runs_property SET value = 'ben' WHERE id = %s", made.pk)
        refused("DELETE FROM runs_property WHERE id = %s", made.pk)
        replaced("runs_property", made.pk, value="'ben'")
        replaced("runs_property", made.pk, id="id + 1000", value="'ben'")
        truncated("runs_property")
        for change in (lambda: Property.objects.update(value="ben"), Property.objects.all().delete):
            with pytest.raises(DatabaseError), transaction.atomic():
                change()
        made.refresh_from_db()
        assert made.value == "ana"

    def test_their_run_cannot_be_deleted_under_them(self) -> None:
        run = make_run(status=Status.NOT_STARTED, properties={"author": "ana"})
        with transaction.atomic():
            Run.objects.filter(pk=run.pk)._raw_delete(using="default")
            with pytest.raises(IntegrityError):
                connection.check_constraints()
            transaction.set_rollback(True)


def test_labels_have_a_key_and_each_only_once() -> None:
    run = make_run(tags={"a": "1"}, properties={"a": "1"})
    for model in (Tag, Property):
        for key in ("a", ""):
            with pytest.raises(IntegrityError), transaction.atomic():
                model.objects.create(run=run, key=key, value="2")


def test_an_edge_is_there_once_and_never_to_itself() -> None:
    first, second = make_run(), make_run()
    RunDependency.objects.create(step=first, waits_for=second)
    for step in (first, second):
        with pytest.raises(IntegrityError), transaction.atomic():
            RunDependency.objects.create(step=step, waits_for=second)


def test_a_workspace_has_one_default_target_and_each_name_once() -> None:
    target = make_target(is_default=True)
    for columns in ({"name": "other", "is_default": True}, {"name": target.name}, {"name": ""}):
        with pytest.raises(IntegrityError), transaction.atomic():
            ComputeTarget.objects.create(workspace=target.workspace, **columns)


def test_a_node_has_slots_and_serves_a_target_once() -> None:
    node = make_node("box")
    for columns in ({"name": "box", "slots": 1}, {"name": "other", "slots": 0}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Node.objects.create(target=node.target, **columns)


@pytest.mark.parametrize(
    "change",
    [{"size": 0}, {"newlines": 9}, {"data": None}, {"storage_name": "logs/1"}],
)
def test_a_piece_of_log_has_bytes_in_one_place(change: dict[str, Any]) -> None:
    columns = {"attempt": 1, "name": "x", "offset": 0, "size": 3, "line": 0, "newlines": 1, "data": b"ab\n"}
    with pytest.raises(IntegrityError), transaction.atomic():
        LogChunk.objects.create(run=make_run(), **{**columns, **change})
