"""Pieces of SQL that searches need and Django does not have, each for SQLite and for PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BigIntegerField,
    BooleanField,
    DateTimeField,
    Expression,
    F,
    FloatField,
    Func,
    Value,
)
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, StrIndex
from django.db.models.lookups import GreaterThan
from django.db.models.sql.compiler import SQLCompiler

from runs.search.text import trigram_match

Sql = tuple[str, tuple[Any, ...]]


class Like(Func):
    """A column that is like a pattern of `like_pattern`, letter for letter."""

    template = r"(%(expressions)s ESCAPE '\')"
    arg_joiner = " LIKE "
    output_field = BooleanField()

    def __init__(self, column: str, pattern: str) -> None:
        super().__init__(F(column), Value(pattern))


class LikeAnyCase(Like):
    """As Like, whatever the case of ASCII letters."""

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Sql:
        """SQLite's LIKE ignores the case already."""
        return self.as_sql(compiler, connection, arg_joiner=" ILIKE ")


class _OnColumn(Expression):
    """A condition on one column."""

    output_field = BooleanField()

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column: Any = F(column)

    def get_source_expressions(self) -> list[Any]:
        """The column alone."""
        return [self.column]

    def set_source_expressions(self, exprs: Sequence[Combinable]) -> None:
        """Take the column as it was resolved."""
        (self.column,) = exprs


class SpelledWithin(_OnColumn):
    """A column from `first` to just before `after`, in the order of the bytes, whatever the collation."""

    def __init__(self, column: str, first: str, after: str) -> None:
        super().__init__(column)
        self.bounds = (first, after)

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Sql:
        """The two comparisons; pattern operators on PostgreSQL, which pattern indexes serve."""
        column, params = compiler.compile(self.column)
        low, high = ("~>=~", "~<~") if connection.vendor == "postgresql" else (">=", "<")
        first, after = self.bounds
        return f"({column} {low} %s AND {column} {high} %s)", (*params, first, *params, after)


class IsWord(_OnColumn):
    """Whether a column holds one of these words, which are part of the SQL.

    As parameters they would hide from SQLite's planner that a partial index applies, and how rare they are.
    """

    def __init__(self, column: str, words: Sequence[str]) -> None:
        if not all(re.fullmatch(r"[A-Za-z_]+", word) for word in words):
            raise ValueError(words)
        super().__init__(column)
        self.words = tuple(words)

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Sql:
        """A comparison with constants."""
        column, params = compiler.compile(self.column)
        words = [f"'{word}'" for word in self.words]
        test = f"= {words[0]}" if len(words) == 1 else f"IN ({', '.join(words)})"
        return f"{column} {test}", (*params,)


class TrigramHits(Expression):
    """SQLite only: the ids of the runs whose search text holds all of these folded terms, from the index."""

    output_field = BigIntegerField()

    def __init__(self, terms: Sequence[str]) -> None:
        super().__init__()
        self.terms = tuple(terms)

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Sql:
        """A subquery in parentheses."""
        return "(SELECT rowid FROM runs_search WHERE runs_search MATCH %s)", (trigram_match(self.terms),)


class SecondsBetween(Func):
    """Seconds from one time to another, to the millisecond, without a call into Python for each row."""

    output_field = FloatField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Sql:
        """Julian days."""
        return self.as_sql(
            compiler, connection, template="ROUND((%(expressions)s) * 86400.0, 3)", arg_joiner=" - "
        )

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Sql:
        """An interval, as a float: EXTRACT would give a numeric, which takes twice as long."""
        return self.as_sql(
            compiler, connection, template="date_part('epoch', %(expressions)s)", arg_joiner=" - "
        )


class _Instant(Func):
    """A time as `SecondsBetween` subtracts it."""

    template = "%(expressions)s"
    output_field = DateTimeField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Sql:
        """A number of days."""
        return self.as_sql(compiler, connection, template="julianday(%(expressions)s)")

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Sql:
        """Typed, because a bare parameter is not."""
        return self.as_sql(compiler, connection, template="(%(expressions)s)::timestamptz")


def duration_s(now: datetime) -> SecondsBetween:
    """How long a run took, or has been going at `now`; null if it never started."""
    return SecondsBetween(_Instant(Coalesce("ended_at", Value(now))), _Instant(F("started_at")))


def holds(term: str) -> GreaterThan:
    """Whether the search text holds a folded term, by reading it: no index can be used for this."""
    return GreaterThan(StrIndex("search_text", Value(term)), 0)
