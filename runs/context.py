"""What the shell around every page shows. Costs one query, and only where a template reads `shell`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

import studio
from runs.models import Node, Run
from runs.status import Kind
from studio.accounts.models import Membership

THEMES = ("light", "dark")


@dataclass(frozen=True)
class Shell:
    """The side bar's counts, and the workspaces that this person may switch to."""

    memberships: Sequence[Membership] = ()
    active_runs: int = 0
    active_pipelines: int = 0
    nodes_alive: int = 0
    nodes: int = 0

    @property
    def seen(self) -> str:
        """The counts as one word: equal words, equal side bars."""
        return f"{self.active_runs}-{self.active_pipelines}-{self.nodes_alive}-{self.nodes}"


def _count(rows: QuerySet[Any], workspace: str, distinct: str = "pk") -> Coalesce:
    """How many there are of the workspace of a membership."""
    counted = (
        rows.filter(**{workspace: OuterRef("workspace")})
        .order_by()
        .values(workspace)
        .annotate(n=Count(distinct, distinct=distinct != "pk"))
        .values("n")
    )
    return Coalesce(Subquery(counted, output_field=IntegerField()), Value(0))


# Put together once: for each page anew that would take longer than the query itself.
_COUNTED: QuerySet[Any] = (
    Membership.objects.select_related("workspace")
    .order_by("workspace__name")
    .annotate(
        active_runs=_count(Run.objects.active(), "workspace"),
        active_pipelines=_count(Run.objects.active().filter(kind=Kind.PIPELINE), "workspace"),
        nodes_alive=_count(Node.objects.alive(), "target__workspace", "name"),
        nodes_known=_count(Node.objects.all(), "target__workspace", "name"),
    )
)


def load_shell(membership: Membership) -> Shell:
    """One query: the person's memberships, each with the counts of its workspace."""
    rows = list(_COUNTED.filter(user_id=membership.user_id))
    here = next((row for row in rows if row.workspace_id == membership.workspace_id), None)
    if here is None:
        return Shell()
    return Shell(rows, here.active_runs, here.active_pipelines, here.nodes_alive, here.nodes_known)


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context for base.html: `shell` (lazy), `layout` for error pages, `theme`, `server_time`, `version`."""
    membership = getattr(request, "membership", None)
    theme = request.COOKIES.get("studio_theme", "")
    return {
        "shell": SimpleLazyObject(lambda: load_shell(membership) if membership else Shell()),
        "membership": membership,
        "layout": "base.html" if membership else "bare.html",
        "theme": theme if theme in THEMES else "",
        "server_time": timezone.now(),
        "version": studio.VERSION,
    }
