"""Queries whose SQL is put together once.

For one row by its key Django takes five times longer to put the SQL together than the database to answer, so
what every request asks is kept as SQL and given its values. Only SQL is kept: every call asks the database.

Django has no public way to do so. This stands on its SQL compilers, on `UpdateQuery`, `InsertQuery` and what
fills related rows, as they are in 5.2, which requirements.txt stays with; tests/domain/test_prepared.py
compares the rows with Django's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import CharField, Expression, Field, Model, QuerySet, TextField
from django.db.models.query import get_related_populators
from django.db.models.sql import InsertQuery, UpdateQuery

M = TypeVar("M", bound=Model)


class Given(Expression):
    """Stands in a prepared query for a value that is given with every call.

    The value goes to the database as it is: text or a number.
    """

    def __init__(self, name: str, output_field: Field[Any, Any] | None = None) -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """A place for the value."""
        return "%s", [self]


class Prepared(Generic[M]):
    """A query for rows of one model, with what `select_related`, `only` and `annotate` ask for.

    `build` makes it, with `Given` for what differs from call to call; it is called when the first query is
    asked. It may not prefetch, and its order is that of the database unless it says otherwise.
    """

    def __init__(self, build: Callable[[], QuerySet[M]]) -> None:
        self._build = build
        self._compiled: tuple[str, Sequence[Any], _Rows] | None = None

    def all(self, **given: Any) -> list[M]:
        """The rows. One query."""
        connection = connections[DEFAULT_DB_ALIAS]
        sql, params, rows = self._compiled or self._compile(connection)
        with connection.cursor() as cursor:
            cursor.execute(sql, _filled(params, given))
            return rows.instances(cursor.fetchall(), connection)

    def first(self, **given: Any) -> M | None:
        """The first row, None if there is none. One query."""
        return next(iter(self.all(**given)), None)

    def _compile(self, connection: Any) -> tuple[str, Sequence[Any], _Rows]:
        compiler = self._build().query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        self._compiled = sql, params, _Rows(compiler)
        return self._compiled


class _Rows:
    """How rows of a compiled query become instances, as `ModelIterable` does it."""

    def __init__(self, compiler: Any) -> None:
        described, select = compiler.klass_info, compiler.select
        self._model = described["model"]
        self._columns = slice(described["select_fields"][0], described["select_fields"][-1] + 1)
        self._names = [column.target.attname for column, *_ in select[self._columns]]
        # The stubs know what Django 6 takes.
        self._related = get_related_populators(described, select, DEFAULT_DB_ALIAS)  # type: ignore[call-arg]
        self._annotations = list(compiler.annotation_col_map.items())
        self._converters = compiler.get_converters([column for column, *_ in select])

    def instances(self, rows: Sequence[Sequence[Any]], connection: Any) -> list[Any]:
        """The instance of each row, with those it is related to."""
        return [self._instance(row) for row in _converted(rows, self._converters, connection)]

    def _instance(self, row: Sequence[Any]) -> Any:
        instance = self._model.from_db(DEFAULT_DB_ALIAS, self._names, row[self._columns])
        for populator in self._related:
            populator.populate(row, instance)
        for name, at in self._annotations:
            setattr(instance, name, row[at])
        return instance


def _filled(params: Sequence[Any], given: dict[str, Any]) -> list[Any]:
    return [given[param.name] if isinstance(param, Given) else param for param in params]


def _converted(
    rows: Sequence[Sequence[Any]], converters: dict[int, Any], connection: Any
) -> list[Sequence[Any]]:
    """The rows with the values that Python has for what the database gave."""
    converted = list(map(list, rows))
    for row in converted:
        for at, (steps, expression) in converters.items():
            for step in steps:
                row[at] = step(row[at], expression, connection)
    return cast("list[Sequence[Any]]", converted)


class PreparedUpdate:
    """An UPDATE of the rows that `build` finds, with `Given` in what it filters by and in the new values.

    `returning` names what is to be known of each row after it: expressions on its columns.
    """

    def __init__(
        self, build: Callable[[], QuerySet[Any]], *, returning: Sequence[Any], **changes: Any
    ) -> None:
        self._build, self._returning, self._changes = build, returning, changes
        self._compiled: tuple[str, Sequence[Any], dict[int, Any]] | None = None

    def run(self, **given: Any) -> list[tuple[Any, ...]]:
        """What `returning` names, for each row that was changed. One query."""
        connection = connections[DEFAULT_DB_ALIAS]
        sql, params, converters = self._compiled or self._compile(connection)
        with connection.cursor() as cursor:
            cursor.execute(sql, _filled(params, given))
            return [tuple(row) for row in _converted(cursor.fetchall(), converters, connection)]

    def _compile(self, connection: Any) -> tuple[str, Sequence[Any], dict[int, Any]]:
        query: Any = self._build().query.chain(UpdateQuery)
        query.add_update_values(self._changes)
        compiler = query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        wanted = [expression.resolve_expression(query) for expression in self._returning]
        columns = [compiler.compile(expression) for expression in wanted]
        sql += f" RETURNING {', '.join(column for column, _ in columns)}"
        params = (*params, *(param for _, more in columns for param in more))
        self._compiled = sql, params, compiler.get_converters(wanted)
        return self._compiled


class PreparedInsert(Generic[M]):
    """An INSERT of new rows, all of whose columns have values of their own: no expressions, no signals."""

    #: SQLite takes 32,766 values in a statement, PostgreSQL 65,535.
    _MOST_VALUES = 8_000

    def __init__(self, model: type[M]) -> None:
        self._model = model
        self._compiled: tuple[str, str, str, Sequence[Any]] | None = None

    def run(self, row: M) -> None:
        """Insert it; it has its key then. One query."""
        connection = connections[DEFAULT_DB_ALIAS]
        into, places, returning, fields = self._compiled or self._compile(row, connection)
        with connection.cursor() as cursor:
            cursor.execute(f"{into} {places} {returning}", _values_of(row, fields, connection))
            (row.pk,) = cursor.fetchone()
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS

    def run_all(self, rows: Sequence[M]) -> None:
        """Insert them in this order; their keys stay unknown. One query, some more for thousands."""
        connection = connections[DEFAULT_DB_ALIAS]
        into, places, _, fields = self._compiled or self._compile(rows[0], connection)
        at_once = self._MOST_VALUES // len(fields)
        with connection.cursor() as cursor:
            for first in range(0, len(rows), at_once):
                some = rows[first : first + at_once]
                values = [value for row in some for value in _values_of(row, fields, connection)]
                cursor.execute(f"{into} {', '.join([places] * len(some))}", values)

    def _compile(self, row: M, connection: Any) -> tuple[str, str, str, Sequence[Any]]:
        key = self._model._meta.pk
        fields = [field for field in self._model._meta.local_concrete_fields if field is not key]
        query: Any = InsertQuery(self._model)
        query.insert_values(fields, [row])
        compiler = query.get_compiler(connection=connection)
        compiler.returning_fields = [key]
        ((sql, _),) = compiler.as_sql()
        places = f"({', '.join(['%s'] * len(fields))})"
        into, returning = sql.split(places)
        self._compiled = into, places, returning, fields
        return self._compiled


def _values_of(row: Model, fields: Sequence[Any], connection: Any) -> list[Any]:
    return [_stored(field, field.pre_save(row, True), connection) for field in fields]


def _stored(field: Any, value: Any, connection: Any) -> Any:
    """What the database is given for a value; most are nothing, or texts, which both databases take as is."""
    if value is None or (type(value) is str and isinstance(field, CharField | TextField)):
        return value
    return field.get_db_prep_save(value, connection)
