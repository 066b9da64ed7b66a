"""The figures and the chart at the top of an experiment's page, and the counts on its chips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import models
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from runs.lists.bars import Bar, median_duration, newest_bars
from runs.lists.capped import CappedCount, Count
from runs.models import Experiment, Run
from runs.status import ACTIVE, Status

CHART_RUNS = 40
_WEEK = timedelta(days=7)

#: What each chip of an experiment's page shows; the archived ones are counted apart.
CHIPS: dict[str, tuple[Status, ...]] = {
    "": tuple(Status),
    "active": tuple(sorted(ACTIVE)),
    "queued": (Status.QUEUED,),
    "completed": (Status.COMPLETED,),
    "failed": (Status.FAILED,),
    "canceled": (Status.CANCELED,),
}


@dataclass(frozen=True)
class Figures:
    """What an experiment's key figures say."""

    active: int
    queued: int
    troubled: int
    targets: list[str]
    completed_7d: Count
    failed_7d: Count
    median: timedelta | None
    bars: list[Bar]


def experiment_figures(experiment: Experiment) -> Figures:
    """Three queries: active runs by status and target, the week, the newest runs for chart and median."""
    runs = Run.objects.filter(experiment=experiment)
    groups = list(
        runs.active().order_by().values_list("status", "target__name").annotate(n=models.Count("pk"))
    )
    by_target: dict[str, int] = {}
    for _, target, n in groups:
        if target:
            by_target[target] = by_target.get(target, 0) + n
    # Whatever ended within the week was updated within it, and there is an index on that.
    week = runs.filter(updated_at__gte=Now() - _WEEK, ended_at__gte=Now() - _WEEK)
    ended = [week.filter(status=status) for status in (Status.COMPLETED, Status.FAILED)]
    completed, failed = _counts(experiment, ended)
    bars = newest_bars(experiment.pk, CHART_RUNS)
    return Figures(
        active=sum(n for *_, n in groups),
        queued=sum(n for status, _, n in groups if status == Status.QUEUED),
        troubled=sum(n for status, _, n in groups if status == Status.NOT_RESPONDING),
        targets=sorted(by_target, key=lambda name: (-by_target[name], name)),
        completed_7d=completed,
        failed_7d=failed,
        median=median_duration(bars),
        bars=bars,
    )


def chip_counts(experiment: Experiment) -> Mapping[str, Count]:
    """How many runs each chip shows, and `archived`. One query."""
    runs = Run.objects.filter(experiment=experiment)
    kept = runs.filter(archived_at=None)
    rows = {chip: kept.filter(status__in=statuses) if chip else kept for chip, statuses in CHIPS.items()}
    rows["archived"] = runs.filter(archived_at__isnull=False)
    return dict(zip(rows, _counts(experiment, list(rows.values())), strict=True))


def _counts(experiment: Experiment, rows: Sequence[QuerySet[Run]]) -> list[Count]:
    counted = Experiment.objects.filter(Q(pk=experiment.pk)).values_list(*map(CappedCount, rows))[0]
    return [Count.capped(number) for number in counted]
