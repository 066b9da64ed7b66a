"""Runs as bars: the few columns that strips, charts and one-line mentions of a run need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from runs.charts import BarRun
from runs.models import Run
from runs.search.expressions import duration_s
from runs.status import Status


def bar_columns(now: datetime) -> tuple[Any, ...]:
    """What `values_list` of runs needs to make a Bar of each.

    The duration is the database's: reading the times of a thousand bars takes longer than finding them.
    """
    return "pk", "number", "display_name", "step_name", "status", "parent_id", duration_s(now)


@dataclass(frozen=True, slots=True)
class Bar:
    """A run, without the weight of its row, as of one moment."""

    pk: int
    number: int
    display_name: str
    step_name: str
    status: str
    parent_pk: int | None
    seconds: float | None

    @property
    def name(self) -> str:
        """What pages call the run."""
        return self.display_name or self.step_name or f"Run {self.number}"

    @property
    def duration(self) -> timedelta | None:
        """As `Run.duration`."""
        return None if self.seconds is None else timedelta(seconds=max(self.seconds, 0.0))


def newest_bars(experiment_pk: int, count: int) -> list[Bar]:
    """The last runs of an experiment that were begun and are not archived, oldest first. One query."""
    runs = Run.objects.filter(experiment=experiment_pk, archived_at=None).exclude(status=Status.NOT_STARTED)
    columns = bar_columns(timezone.now())
    return [Bar(*bar) for bar in reversed(runs.order_by("-pk").values_list(*columns)[:count])]


def median_duration(bars: Iterable[BarRun]) -> timedelta | None:
    """The median duration of the Completed ones; None if there is none."""
    known = sorted(bar.duration for bar in bars if bar.status == Status.COMPLETED and bar.duration)
    if not known:
        return None
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
