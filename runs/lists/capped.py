"""Counts that stop at a limit, so that many of them fit into one cheap query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import IntegerField, QuerySet, Subquery

#: No figure on a page is counted further.
MOST = 1_000


class CappedCount(Subquery):
    """How many rows a queryset has, at most MOST + 1."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) capped)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet[Any]) -> None:
        super().__init__(rows.order_by().values("pk")[: MOST + 1])


@dataclass(frozen=True)
class Count:
    """A number that may be more than it says."""

    number: int
    more: bool = False

    @classmethod
    def capped(cls, counted: int) -> Count:
        """What a CappedCount found."""
        return cls(min(counted, MOST), counted > MOST)

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.more else ''}"
