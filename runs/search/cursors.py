"""The orders that a list of runs can have, and the cursors that say where in it a page begins.

A cursor is the sort value and the key of the run that the page before ended with, so a page far down costs
what the first one costs, and runs that come or go meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from django.db.models import Case, Expression, F, FilteredRelation, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Substr

from runs.models import Run
from runs.models.metric import NAME_LENGTH
from runs.search.expressions import duration_s

#: What of a metric is shown and sorted by: how it is called, and the column of its row.
SUMS = {"last": "last", "min": "least", "max": "most"}
_METRIC = "metric:"
_LONGEST = 4_000
_LARGEST_KEY = 2**62
#: Where infinities stand among the numbers of a metric; beyond them what is no number, then runs without it.
_INFINITE, _NO_NUMBER, _NOTHING = 1.77e308, 1.78e308, 1.79e308
#: Letters of the name that count when sorting; search_text begins with the name, folded.
_NAME_LETTERS = 80


@dataclass(frozen=True, slots=True)
class Order:
    """One way to sort: by what, and whether the largest comes first. Ties are broken by age, newest first."""

    by: str
    descending: bool

    @property
    def kind(self) -> type:
        """The type of what it sorts by."""
        return float if self.by.startswith(_METRIC) else _KINDS[self.by]

    @property
    def name(self) -> str:
        """The metric by which it sorts, if it is one."""
        return self.by.split(":", 2)[2] if self.by.startswith(_METRIC) else ""

    def is_nothing(self, value: Any) -> bool:
        """Whether a run with this value has no such metric."""
        return bool(self.name) and abs(value) == _NOTHING

    def of(self, runs: QuerySet[Run], now: datetime) -> QuerySet[Any]:
        """These runs with their `sort_value`."""
        if not self.by.startswith(_METRIC):
            return runs.annotate(sort_value=self._value(now))
        sum_ = self.by.split(":", 2)[1]
        # A join, because a subquery would be asked anew wherever a page compares the value.
        metric = FilteredRelation("metrics", condition=Q(metrics__name=self.name))
        return runs.annotate(sort_metric=metric).annotate(sort_value=self._sum(SUMS[sum_]))

    def _sum(self, column: str) -> Expression:
        """A number of the metric, in both directions before what is no number and what is not there."""
        side = -1 if self.descending else 1
        number = Coalesce(F(f"sort_metric__{column}"), Value(side * _NOTHING))
        if column != "last":
            return number
        return Case(
            When(sort_metric__last_text="Infinity", then=Value(_INFINITE)),
            When(sort_metric__last_text="-Infinity", then=Value(-_INFINITE)),
            When(sort_metric__last_text__gt="", then=Value(side * _NO_NUMBER)),
            default=number,
        )

    def _value(self, now: datetime) -> Expression | F:
        """What it sorts by. Never null: runs without it count as the smallest."""
        match self.by:
            case "duration":
                return Coalesce(duration_s(now), Value(-1.0))
            case "name":
                return Substr("search_text", 1, _NAME_LETTERS)
            case "submitter":
                return Coalesce("submitter__username", Value(""))
            case "target":
                return Coalesce("target__name", Value(""))
            case "experiment":
                return F("experiment__name")
            case "number" | "status":
                return F(self.by)
        return F("pk")

    def __str__(self) -> str:
        return f"-{self.by}" if self.descending else self.by


_KINDS: dict[str, type] = {
    "created": int,
    "number": int,
    "duration": float,
    "name": str,
    "status": str,
    "submitter": str,
    "target": str,
    "experiment": str,
}
#: What `order` may be, each also with a - before it.
ORDERS = tuple(_KINDS)
#: The same and the orders by metrics, as a pattern.
ORDER_PATTERN = rf"-?(?:{'|'.join(ORDERS)}|{_METRIC}(?:{'|'.join(SUMS)}):[^\x00]{{1,{NAME_LENGTH}}})"


def metric_order(name: str, sum_: str) -> str:
    """The order by a sum of a metric, smallest first; runs without it come last, in both directions."""
    return f"{_METRIC}{sum_}:{name}"


def parse_order(text: str) -> Order | None:
    """The order that was asked for, or None if there is no such."""
    is_order = re.fullmatch(ORDER_PATTERN, text) and is_value(text, str)
    return Order(text.removeprefix("-"), text.startswith("-")) if is_order else None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an ordered list: just after (or, `backward`, just before) the run of this value and key.

    `at` is the moment the list is about: durations of runs that are still going are compared as of then.
    """

    order: Order
    value: Any
    key: int
    at: datetime
    backward: bool = False

    def __str__(self) -> str:
        parts = [str(self.order), self.value, self.key, int(self.at.timestamp()), int(self.backward)]
        packed = json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(text: str, order: Order) -> Cursor | None:
    """The cursor that `text` stands for, or None if it is none of this order's."""
    try:
        if len(text) > _LONGEST or not text.isascii():
            return None
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        parts = json.loads(packed.decode())
        written, value, key, at, backward = parts
        if written != str(order) or backward not in (0, 1) or not is_value(value, order.kind):
            return None
        if not is_value(key, int) or not is_value(at, int) or at > 2**33:
            return None
        return Cursor(order, value, key, datetime.fromtimestamp(at, UTC), bool(backward))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        return None


def is_value(value: Any, kind: type) -> bool:
    """Whether a value out of a cursor is of this kind (int, float, str) and one that a database compares."""
    if isinstance(value, str):
        return kind is str and not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value)
    if kind is float and isinstance(value, float):
        return isfinite(value)
    if kind is str or isinstance(value, bool) or not isinstance(value, int):
        return False
    return (-(2**40) if kind is float else 0) <= value <= _LARGEST_KEY
