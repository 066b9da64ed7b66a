"""The database's clock."""

from __future__ import annotations

from typing import Any

from django.db.models.functions import Now


class NowAtRow(Now):
    """The moment at which the database comes to a row.

    `Now` is on PostgreSQL when the statement came: before it waited for whoever held the row.
    """

    def as_postgresql(self, compiler: Any, connection: Any, **extra_context: Any) -> tuple[str, Any]:
        """The clock itself, read anew for each row."""
        return self.as_sql(compiler, connection, template="CLOCK_TIMESTAMP()", **extra_context)
