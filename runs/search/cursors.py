"""The orders that a list of runs can have, and the cursors that say where in it a page begins.

A cursor is the sort value and the key of the run that the page before ended with, so a page far down costs
what the first one costs, and runs that come or go meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Expression, F, Value
from django.db.models.functions import Coalesce, Substr

from runs.search.expressions import duration_s

_LONGEST = 1_500
_LARGEST_KEY = 2**62
#: Letters of the name that count when sorting; search_text begins with the name, folded.
_NAME_LETTERS = 80


@dataclass(frozen=True, slots=True)
class Order:
    """One way to sort: by what, and whether the largest comes first. Ties are broken by age, newest first."""

    by: str
    descending: bool

    def value(self, now: datetime) -> Expression | F:
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


def parse_order(text: str) -> Order | None:
    """The order that was asked for, or None if there is no such."""
    by = text.removeprefix("-")
    return Order(by, text.startswith("-")) if by in _KINDS else None


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
        if written != str(order) or backward not in (0, 1) or not is_value(value, _KINDS[order.by]):
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
    numbers = {int: (int,), float: (int, float), str: ()}[kind]
    if isinstance(value, bool) or not isinstance(value, numbers):
        return False
    return (-(2**40) if kind is float else 0) <= value <= _LARGEST_KEY  # neither infinite nor nan
