"""When the runs of a scope last changed: what a page that polls compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from runs.models import Experiment, Run
from runs.versions import version_word
from studio.accounts.models import Workspace


@dataclass(frozen=True)
class Scope:
    """The state of a scope: its `version` as text, and whether anything in it `is_active`."""

    version: str
    is_active: bool

    @property
    def trigger(self) -> str:
        """When a part of a page that shows it asks for news: seldom while only a new run can change it."""
        return f"every {3 if self.is_active else 15}s, refresh from:body"


def workspace_scope(workspace: Workspace) -> Scope:
    """Of all experiments and runs of a workspace. One query."""
    experiments = Experiment.objects.filter(workspace=workspace).order_by("-updated_at")
    runs = Run.objects.in_workspace(workspace)
    changed, edited, active = Workspace.objects.filter(pk=workspace.pk).values_list(
        _latest(runs.order_by("-updated_at")), _latest(experiments), Exists(runs.active())
    )[0]
    return Scope(version_word(changed, edited), active)


def _latest(rows: QuerySet[Run] | QuerySet[Experiment]) -> Subquery:
    return Subquery(rows.values("updated_at")[:1])


def find_experiment(workspace: Workspace, name: str) -> tuple[Experiment, Scope] | None:
    """The experiment of this name with the state of its runs. One query."""
    if "\0" in name:
        return None
    runs = Run.objects.filter(experiment=OuterRef("pk"))
    annotated = Experiment.objects.filter(workspace=workspace, name=name).annotate(
        runs_updated_at=_latest(runs.order_by("-updated_at")), has_active=Exists(runs.active())
    )
    experiment: Any = annotated.first()
    if experiment is None:
        return None
    version = version_word(experiment.runs_updated_at, experiment.updated_at)
    return experiment, Scope(version, experiment.has_active)
