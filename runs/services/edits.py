"""Edits of several fields at once: each person saves what they changed, and undoes nobody unawares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runs.errors import Overtaken
from studio.accounts.changes import changes_of
from studio.accounts.models import User, Workspace

#: A field, and how the record of changes speaks of a change of it.
_RECORDED = {
    "display_name": "named it",
    "description": "changed the description",
    "tags": "changed the tags",
}


def changed_fields(
    typed: Mapping[str, Any], *, opened: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any]:
    """Those of the typed fields that differ from what the form was opened with. Raises Overtaken.

    A field that `opened` does not have is compared with what it holds `now`, and replaces that.
    """
    before = {**now, **opened}
    changed = {
        field: value for field, value in typed.items() if value is not None and _differ(value, before[field])
    }
    overtaken = [
        field
        for field, value in changed.items()
        if _differ(now[field], before[field]) and _differ(now[field], value)
    ]
    if overtaken:
        raise Overtaken({field: now[field] for field in overtaken})
    return changed


def _differ(one: Any, other: Any) -> bool:
    return bool(_plain(one) != _plain(other))


def _plain(value: Any) -> Any:
    """Without what browsers and checks change in a text that nobody touched."""
    return value.replace("\r\n", "\n").replace("\r", "\n").strip() if isinstance(value, str) else value


def who_changed(workspace: Workspace | int, about: str, field: str) -> User | None:
    """The person who changed this field of a thing last, as far as that was written down. One query."""
    recorded = changes_of(workspace, about).filter(text__startswith=_RECORDED[field]).first()
    return recorded.by if recorded else None
