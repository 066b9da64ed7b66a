"""The index behind free text: pg_trgm on PostgreSQL, an FTS5 trigram table kept by triggers on SQLite.

Neither is known to the models, because each exists on one engine only. Search works without them, slower.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import DatabaseError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from runs.search.text import trigram_match

logger = logging.getLogger("studio.search")

# External content: the text is stored once, in runs_run. Folded already, so case may count. No ranking, so
# no sizes of documents. A row is taken out with the text it went in with, hence OLD in each delete.
_SQLITE_TABLE = """
CREATE VIRTUAL TABLE IF NOT EXISTS runs_search USING fts5(
    search_text, content='runs_run', content_rowid='id', tokenize='trigram case_sensitive 1', columnsize=0
)"""
_SQLITE_TRIGGERS = {
    "runs_search_insert": """
        AFTER INSERT ON runs_run BEGIN
            INSERT INTO runs_search(rowid, search_text) VALUES (NEW.id, NEW.search_text);
        END""",
    "runs_search_delete": """
        AFTER DELETE ON runs_run BEGIN
            INSERT INTO runs_search(runs_search, rowid, search_text)
                VALUES ('delete', OLD.id, OLD.search_text);
        END""",
    "runs_search_update": """
        AFTER UPDATE OF search_text ON runs_run WHEN OLD.search_text IS NOT NEW.search_text BEGIN
            INSERT INTO runs_search(runs_search, rowid, search_text)
                VALUES ('delete', OLD.id, OLD.search_text);
            INSERT INTO runs_search(rowid, search_text) VALUES (NEW.id, NEW.search_text);
        END""",
}
# A small pending list: searches read it from end to end.
_POSTGRESQL_INDEX = """
CREATE INDEX IF NOT EXISTS run_search_text ON runs_run
USING gin (search_text gin_trgm_ops) WITH (gin_pending_list_limit = 256)"""

#: Databases that are known to have the index.
_indexed: set[str] = set()


def index_exists(using: BaseDatabaseWrapper = connection) -> bool:
    """Whether free text is indexed in this database. Asked once per process, or each time while it is not."""
    name = str(using.settings_dict["NAME"])
    if name not in _indexed:
        sql = "SELECT count(*) FROM sqlite_master WHERE name = 'runs_search_update'"
        if using.vendor == "postgresql":
            sql = (
                "SELECT count(*) FROM pg_indexes "
                "WHERE indexname = 'run_search_text' AND schemaname = current_schema()"
            )
        with using.cursor() as cursor:
            cursor.execute(sql)
            if cursor.fetchone()[0]:
                _indexed.add(name)
    return name in _indexed


def count_hits(terms: Sequence[str], limit: int, using: BaseDatabaseWrapper = connection) -> int:
    """SQLite only: how many runs hold all of these folded terms, counted up to a limit."""
    sql = "SELECT count(*) FROM (SELECT 1 FROM runs_search WHERE runs_search MATCH %s LIMIT %s)"
    with using.cursor() as cursor:
        cursor.execute(sql, [trigram_match(terms), limit])
        return int(cursor.fetchone()[0])


def create_extension(using: BaseDatabaseWrapper = connection) -> bool:
    """Make pg_trgm if this is PostgreSQL; False, and a line in the log, if the database does not let us."""
    if using.vendor != "postgresql":
        return True
    try:
        with transaction.atomic(using=using.alias), using.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except DatabaseError as error:
        logger.warning(
            "PostgreSQL's extension pg_trgm cannot be made (%s). Search works without its index, slower. "
            "Ask who runs the database for CREATE EXTENSION pg_trgm, then run: manage.py search_index",
            str(error).strip().splitlines()[0],
        )
        return False
    return True


def create_index(using: BaseDatabaseWrapper = connection) -> bool:
    """Make the index and fill it from the runs there are; False, and a line in the log, if it cannot be."""
    try:
        with transaction.atomic(using=using.alias), using.cursor() as cursor:
            if using.vendor == "postgresql":
                cursor.execute(_POSTGRESQL_INDEX)
                return True
            cursor.execute(_SQLITE_TABLE)
            for name, body in _SQLITE_TRIGGERS.items():
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
                cursor.execute(f"CREATE TRIGGER {name} {body}")
            cursor.execute("INSERT INTO runs_search(runs_search) VALUES ('rebuild')")
    except DatabaseError as error:
        logger.warning("The search index cannot be made (%s). Search works without it, slower.", error)
        return False
    return True


def restore_triggers(using: BaseDatabaseWrapper = connection) -> None:
    """Make the index anew where a migration has lost its triggers: SQLite alters a table by copying it."""
    if using.vendor != "sqlite":
        return
    with using.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE name LIKE 'runs_search%%'")
        names = {name for (name,) in cursor.fetchall()}
    if "runs_search" in names and not names.issuperset(_SQLITE_TRIGGERS):
        create_index(using)


def drop_index(using: BaseDatabaseWrapper = connection) -> None:
    """Take the index away; the next search of this process notices."""
    _indexed.discard(str(using.settings_dict["NAME"]))
    with using.cursor() as cursor:
        if using.vendor == "postgresql":
            cursor.execute("DROP INDEX IF EXISTS run_search_text")
            return
        for name in _SQLITE_TRIGGERS:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        cursor.execute("DROP TABLE IF EXISTS runs_search")


@contextmanager
def rebuilt_after(using: BaseDatabaseWrapper = connection) -> Iterator[None]:
    """For loading very many runs at once: without the index inside, built in one go at the end."""
    drop_index(using)
    try:
        yield
    finally:
        create_index(using)
