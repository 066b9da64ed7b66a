"""What the database itself refuses, whoever asks: triggers on both engines, for what constraints cannot say.

Properties and events are only ever added, events each after the one before it. The status of a run that has
ended never changes, nor does what a run is known by. Migration 0011 makes all of them, so none may name a
column that came after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from runs.status import TERMINAL

#: The migration that makes them.
MIGRATION = ("runs", "0011_guards")


class _Guard(NamedTuple):
    name: str
    before: str
    words: str
    when: str = "TRUE"


_PROPERTY = "properties never change"
_EVENT = "events never change"
_ORDER = "an event follows the one before it"
_ENDED = ", ".join(f"'{status}'" for status in sorted(TERMINAL))
# That nothing follows an end is the constraint run_event_nothing_after_end.
_FOLLOWS = """(CASE WHEN NEW.seq = 1 THEN NEW.from_status = 'NotStarted' ELSE EXISTS (
    SELECT 1 FROM runs_runevent
    WHERE run_id = NEW.run_id AND seq = NEW.seq - 1 AND to_status = NEW.from_status
) END)"""
_BOTH = [
    _Guard(
        "run_end_stays",
        "UPDATE OF status ON runs_run",
        "a run that has ended stays so",
        f"OLD.status IN ({_ENDED}) AND NEW.status <> OLD.status",
    ),
    _Guard(
        "run_identity_stays",
        "UPDATE OF run_id, number, experiment_id ON runs_run",
        "run_id, number and experiment of a run never change",
        "OLD.run_id <> NEW.run_id OR OLD.number <> NEW.number OR OLD.experiment_id <> NEW.experiment_id",
    ),
    _Guard("run_event_never_update", "UPDATE ON runs_runevent", _EVENT),
    _Guard("run_event_never_delete", "DELETE ON runs_runevent", _EVENT),
]
# REPLACE takes a row away without a DELETE that a trigger would see, hence those on INSERT. The first two are
# as old as the table; they are here because SQLite may have to have them restored.
_SQLITE = [
    _Guard("property_never_update", "UPDATE ON runs_property", _PROPERTY),
    _Guard("property_never_delete", "DELETE ON runs_property", _PROPERTY),
    _Guard(
        "property_never_replace",
        "INSERT ON runs_property",
        _PROPERTY,
        "EXISTS (SELECT 1 FROM runs_property WHERE id = NEW.id OR run_id = NEW.run_id AND key = NEW.key)",
    ),
    _Guard(
        "run_never_replace",
        "INSERT ON runs_run",
        "a run is never replaced",
        "EXISTS (SELECT 1 FROM runs_run WHERE id = NEW.id OR run_id = NEW.run_id"
        " OR experiment_id = NEW.experiment_id AND number = NEW.number)",
    ),
    _Guard(
        "run_event_never_replace",
        "INSERT ON runs_runevent",
        _EVENT,
        "EXISTS (SELECT 1 FROM runs_runevent WHERE id = NEW.id OR run_id = NEW.run_id AND seq = NEW.seq)",
    ),
    _Guard("run_event_follows", "INSERT ON runs_runevent", _ORDER, f"NOT {_FOLLOWS}"),
]
_POSTGRESQL = [
    _Guard("property_never_truncate", "TRUNCATE ON runs_property", _PROPERTY),
    _Guard("run_event_never_truncate", "TRUNCATE ON runs_runevent", _EVENT),
]
_POSTGRESQL_FUNCTIONS = f"""
CREATE OR REPLACE FUNCTION studio_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation'; END $$;
CREATE OR REPLACE FUNCTION run_event_follows() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF {_FOLLOWS} THEN RETURN NEW; END IF;
    RAISE EXCEPTION '{_ORDER}' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER run_event_follows BEFORE INSERT ON runs_runevent
FOR EACH ROW EXECUTE FUNCTION run_event_follows()"""


def create_guards(using: BaseDatabaseWrapper = connection) -> None:
    """Make them. On SQLite those that are there already stay as they are; PostgreSQL loses none."""
    with using.cursor() as cursor:
        for statement in _statements(using):
            cursor.execute(statement)


def restore_guards(using: BaseDatabaseWrapper = connection) -> None:
    """Make those that a migration has lost: SQLite alters a table by copying it, without its triggers."""
    if using.vendor == "sqlite" and MIGRATION in MigrationRecorder(using).applied_migrations():
        create_guards(using)


def drop_guards(using: BaseDatabaseWrapper = connection) -> None:
    """Take all of them away, but for those that the table of properties has had from the first."""
    with using.cursor() as cursor:
        if using.vendor == "sqlite":
            for guard in [*_BOTH, *_SQLITE[2:]]:
                cursor.execute(f"DROP TRIGGER IF EXISTS {guard.name}")
            return
        for guard in [*_BOTH, *_POSTGRESQL]:
            cursor.execute(f"DROP TRIGGER {guard.name} ON {guard.before.rpartition(' ')[2]}")
        cursor.execute("DROP FUNCTION run_event_follows() CASCADE")
        cursor.execute("DROP FUNCTION studio_refuse()")


def _statements(using: BaseDatabaseWrapper) -> Iterator[str]:
    if using.vendor == "sqlite":
        for name, before, words, when in [*_BOTH, *_SQLITE]:
            refuse = f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
            yield f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {before} WHEN {when} {refuse}"
        return
    yield _POSTGRESQL_FUNCTIONS
    for name, before, words, when in [*_BOTH, *_POSTGRESQL]:
        each = "" if before.startswith("TRUNCATE") else f"FOR EACH ROW WHEN ({when})"
        yield f"CREATE TRIGGER {name} BEFORE {before} {each} EXECUTE FUNCTION studio_refuse('{words}')"
