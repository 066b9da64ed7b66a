"""Cancelling runs, with all that hangs below them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Now

from runs.lifecycle import advance_pipeline, move, subtree
from runs.models import Run
from runs.status import ON_NODE, OPEN, Kind, Status
from studio.accounts.models import User

_WAITING = (Status.NOT_STARTED, Status.QUEUED)
_STOPPABLE = ON_NODE - {Status.CANCEL_REQUESTED}


@dataclass(frozen=True)
class CancelReport:
    """What a cancel did: runs Canceled at once, asked to stop, and ended before it."""

    canceled: int = 0
    requested: int = 0
    finished: int = 0

    @property
    def changed(self) -> int:
        """How many runs it touched; 0 means that nothing changed, which is not an error."""
        return self.canceled + self.requested

    def __add__(self, other: CancelReport) -> CancelReport:
        return CancelReport(
            self.canceled + other.canceled, self.requested + other.requested, self.finished + other.finished
        )


def cancel_run(run: Run, *, by: User | None, why: str = "") -> CancelReport:
    """Cancel a run and its descendants. Asking twice, or for a run that has ended, changes nothing.

    A run that has not started becomes Canceled at once; one with a process becomes CancelRequested, and its
    node ends the process tree: SIGTERM, after the run's grace SIGKILL, then Canceled.
    """
    report = CancelReport()
    reason = why or (f"canceled by {by.shown_name}" if by else "canceled by Studio")
    pks: list[int] = []
    # Again until nothing is new: a child may have been made before its parent was seen to be canceled.
    while new := [pk for pk in subtree(run.pk) if pk not in pks]:
        pks += new
        for each in Run.objects.filter(pk__in=new).only("kind", "status", "parent_id").order_by("pk"):
            report += _cancel_one(each, by=by, why=reason)
    for pipeline in Run.objects.filter(pk__in=pks, kind=Kind.PIPELINE, status__in=sorted(OPEN)):
        advance_pipeline(pipeline.pk)
    return report


def why_canceled(run: Run) -> str | None:
    """The reason of whoever canceled a run, or of Studio; None for one that is not Canceled. One query."""
    if run.status != Status.CANCELED:
        return None
    reasons = run.events.exclude(why="").filter(to_status__in=(Status.CANCEL_REQUESTED, Status.CANCELED))
    return reasons.order_by("seq").values_list("why", flat=True).first()


def cancel_runs(runs: Iterable[Run], *, by: User | None, why: str = "") -> CancelReport:
    """The same for many; what it did in all."""
    report = CancelReport()
    for run in runs:
        report += cancel_run(run, by=by, why=why)
    return report


def _cancel_one(run: Run, *, by: User | None, why: str) -> CancelReport:
    asked: dict[str, Any] = {"cancel_requested_at": Now(), "cancel_requested_by": by}
    if run.kind == Kind.PIPELINE:
        # Not Canceled at once: its steps come first, and advance_pipeline ends it after the last of them.
        if move(
            run, to=Status.CANCEL_REQUESTED, expect=_STOPPABLE | {Status.QUEUED}, by=by, why=why, **asked
        ):
            return CancelReport(requested=1)
    elif run.kind == Kind.INTERACTIVE:
        if move(run, to=Status.CANCELED, expect=OPEN, by=by, why=why, **asked):
            return CancelReport(canceled=1)
    else:
        # A node may claim it between the two, or a retry put it back into the queue: then look again.
        while _may_cancel(run):
            if move(run, to=Status.CANCELED, expect=_WAITING, by=by, why=why, **asked):
                return CancelReport(canceled=1)
            if move(run, to=Status.CANCEL_REQUESTED, expect=_STOPPABLE, by=by, why=why, **asked):
                return CancelReport(requested=1)
    return CancelReport(finished=1)


def _may_cancel(run: Run) -> bool:
    return Run.objects.filter(pk=run.pk, status__in=sorted(OPEN - {Status.CANCEL_REQUESTED})).exists()
