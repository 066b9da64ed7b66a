"""Writing down who changed what, and reading it again."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import QuerySet

from studio.accounts.models import Change, User, Workspace
from studio.accounts.models.change import ABOUT_LENGTH


def record(workspace: Workspace | int, about: str | Iterable[str], text: str, *, by: User | None) -> None:
    """Write down that a person did this to one thing, or to each of several. One query; none for nobody."""
    pk = workspace if isinstance(workspace, int) else workspace.pk
    things = [about] if isinstance(about, str) else about
    changes = [Change(workspace_id=pk, by=by, about=thing[:ABOUT_LENGTH], text=text) for thing in things]
    if by is not None:
        Change.objects.bulk_create(changes, batch_size=500)


def changes_of(workspace: Workspace | int, about: str) -> QuerySet[Change]:
    """What was done to one thing, or to all of a kind (`member:`), and who did it; the newest first."""
    pk = workspace if isinstance(workspace, int) else workspace.pk
    rows = Change.objects.filter(workspace_id=pk).select_related("by").order_by("-id")
    return rows.filter(about__startswith=about) if about.endswith(":") else rows.filter(about=about)
