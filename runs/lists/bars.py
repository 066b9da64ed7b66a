"""Runs as bars: the few columns that strips, charts and one-line mentions of a run need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runs.charts import BarRun
from runs.models import Run
from runs.status import Status

BAR_COLUMNS = (
    "number", "display_name", "step_name", "status", "started_at", "ended_at", "created_at",
    "submitter__username", "parent",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """A run, without the weight of its row."""

    number: int
    display_name: str
    step_name: str
    status: str
    started_at: datetime | None
    ended_at: datetime | None
    created_at: datetime
    shown_name: str | None  # the submitter's
    parent_pk: int | None

    @property
    def name(self) -> str:
        """What pages call the run."""
        return self.display_name or self.step_name or f"Run {self.number}"

    @property
    def submitter(self) -> Bar | None:
        """Who submitted it, as far as `shown_name`; None for Studio itself."""
        return self if self.shown_name else None

    @property
    def duration(self) -> timedelta | None:
        """As `Run.duration`."""
        if self.started_at is None:
            return None
        return (self.ended_at or max(datetime.now(UTC), self.started_at)) - self.started_at


def newest_bars(experiment_pk: int, count: int) -> list[Bar]:
    """The last runs of an experiment that were begun and are not archived, oldest first. One query."""
    runs = Run.objects.filter(experiment=experiment_pk, archived_at=None).exclude(status=Status.NOT_STARTED)
    runs = runs.order_by("-pk")
    return [Bar(*columns) for columns in reversed(runs.values_list(*BAR_COLUMNS)[:count])]


def median_duration(bars: Iterable[BarRun]) -> timedelta | None:
    """The median duration of the Completed ones; None if there is none."""
    known = sorted(bar.duration for bar in bars if bar.status == Status.COMPLETED and bar.duration)
    if not known:
        return None
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
