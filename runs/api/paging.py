"""Lists in pages: `?limit=&cursor=`, answered with {"items": […], "next_cursor": null or text}."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from pydantic import BaseModel, Field

from runs.api.parameters import Query
from runs.errors import InvalidInput

M = TypeVar("M", bound=Model)
Item = TypeVar("Item")

MOST = 500
#: Keys whose values are numbers.
_NUMBERS = ("pk", "seq")


class Paging(BaseModel):
    """Which part of a list is wanted."""

    limit: int = Field(50, ge=1, le=MOST, description="At most so many entries.")
    cursor: str | None = Field(None, max_length=2_000, description="`next_cursor` of the page before.")


#: The parameter of an operation that lists: `paging: Asked`.
Asked = Annotated[Paging, Query()]


class Page(BaseModel, Generic[Item]):
    """A part of a list."""

    items: list[Item] = Field(description="This part of the list.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last.")


def bad_cursor() -> InvalidInput:
    """The refusal of a cursor that this list never gave."""
    return InvalidInput(
        "This cursor does not belong to this list.",
        field="cursor",
        hint="Leave it out to begin with the first page.",
    )


def page_by(
    rows: QuerySet[M], key: str, paging: Paging, *, descending: bool = False
) -> tuple[list[M], str | None]:
    """A page of rows in the order of a column whose values are unique among them, and the next cursor.

    One query. Raises InvalidInput for a cursor that cannot be read.
    """
    rows = rows.order_by(f"-{key}" if descending else key)
    if paging.cursor:
        after = _read(paging.cursor)
        if key in _NUMBERS and not (after.isdecimal() and len(after) < 19):
            raise bad_cursor()
        rows = rows.filter(**{f"{key}__lt" if descending else f"{key}__gt": after})
    found = list(rows[: paging.limit + 1])
    if len(found) <= paging.limit:
        return found, None
    last: Any = found[paging.limit - 1]
    return found[: paging.limit], _write(str(getattr(last, key)))


def _write(value: str) -> str:
    return base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")


def _read(cursor: str) -> str:
    try:
        value = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise bad_cursor() from None
    if "\0" in value:
        raise bad_cursor()
    return value
