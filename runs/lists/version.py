"""When the runs of a scope last changed: what a page that polls compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, Subquery

from runs.models import Experiment, MetricLedger, Run
from runs.versions import version_word
from studio.accounts.models import Workspace


@dataclass(frozen=True)
class Scope:
    """The state of a scope: its `version` as text, and whether anything in it `is_active`."""

    version: str
    is_active: bool
    metrics: str = ""  # when metrics of an experiment's runs were last written

    @property
    def trigger(self) -> str:
        """When a part of a page that shows it asks for news: seldom while only a new run can change it."""
        return f"every {3 if self.is_active else 5}s, refresh from:body"


def _latest(rows: QuerySet[Run] | QuerySet[Experiment]) -> Subquery:
    return Subquery(rows.order_by("-updated_at").values("updated_at")[:1])


# Put together once: for each poll anew that would take longer than the query itself.
_RUNS = Run.objects.filter(workspace=OuterRef("pk"))
_WORKSPACES = Workspace.objects.values_list(
    _latest(_RUNS), _latest(Experiment.objects.filter(workspace=OuterRef("pk"))), Exists(_RUNS.active())
)
_RUNS_OF_ONE = Run.objects.filter(experiment=OuterRef("pk"))
_EXPERIMENTS = Experiment.objects.annotate(
    runs_updated_at=_latest(_RUNS_OF_ONE),
    has_active=Exists(_RUNS_OF_ONE.active()),
    metrics_written_at=Subquery(
        MetricLedger.objects.filter(experiment=OuterRef("pk"))
        .order_by("-written_at")
        .values("written_at")[:1]
    ),
)


def workspace_scope(workspace: Workspace) -> Scope:
    """Of all experiments and runs of a workspace. One query."""
    changed, edited, active = _WORKSPACES.filter(pk=workspace.pk)[0]
    return Scope(version_word(changed, edited), active)


def find_experiment(workspace: Workspace, name: str) -> tuple[Experiment, Scope] | None:
    """The experiment of this name with the state of its runs. One query."""
    if "\0" in name:
        return None
    experiment: Any = _EXPERIMENTS.filter(workspace=workspace, name=name).first()
    if experiment is None:
        return None
    version = version_word(experiment.runs_updated_at, experiment.updated_at)
    return experiment, Scope(version, experiment.has_active, version_word(experiment.metrics_written_at))
