"""Ending a run from outside: as Completed, or as Failed with a reason. Cancelling is in `cancel`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Coalesce, Now

from runs.errors import RunFinished
from runs.folding import clean
from runs.lifecycle import advance_pipeline, move
from runs.models import Run
from runs.status import ON_NODE, OPEN, TERMINAL, ErrorClass, Kind, Status
from studio.accounts.models import User

_WAITING = frozenset({Status.NOT_STARTED, Status.QUEUED})
_STOPPABLE = ON_NODE - {Status.CANCEL_REQUESTED}
CODE_LENGTH = 100
TEXT_LENGTH = 100_000
NO_REASON = "It was reported as failed, without a reason."


@dataclass(frozen=True)
class Failure:
    """Why a run failed, as whoever reports it says."""

    code: str = ""
    message: str = ""
    traceback: str = ""

    @property
    def columns(self) -> dict[str, str]:
        """What of a run says so."""
        return {
            "error_code": clean(self.code)[:CODE_LENGTH],
            "error_message": _text(self.message) or NO_REASON,
            "error_traceback": _text(self.traceback),
        }


def _text(text: str) -> str:
    """The text as a database can keep it, its end cut off if it is too long."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:TEXT_LENGTH].strip()


def complete_run(run: Run, *, by: User) -> None:
    """End it as Completed; again changes nothing. What has a process is stopped first.

    Raises RunFinished if it has ended otherwise, or is about to.
    """
    _end(run, Status.COMPLETED, by=by, why=f"completed by {by.shown_name}")


def fail_run(run: Run, failure: Failure, *, by: User) -> None:
    """End it as Failed for this reason; otherwise like `complete_run`."""
    columns = {**failure.columns, "error_class": ErrorClass.REPORTED}
    why = f"failed by {by.shown_name}: {columns['error_message'][:500]}"
    _end(run, Status.FAILED, by=by, why=why, **columns)


def report_failure(run: Run, failure: Failure) -> None:
    """Keep what a script says of its own failure; how its process ends decides whether the run fails."""
    rows = Run.objects.filter(pk=run.pk, attempt=run.attempt, status__in=sorted(ON_NODE))
    rows.exclude(status=Status.CANCEL_REQUESTED).update(**failure.columns)


def _end(run: Run, end: Status, *, by: User, why: str, **columns: Any) -> None:
    asked: dict[str, Any] = {"cancel_requested_at": Now(), "cancel_requested_by": by, "ends_as": end}
    stops = f"{why}; what runs of it is stopped first"
    at_once, begun = _WAITING, dict[str, Any]()
    if run.kind == Kind.INTERACTIVE:
        at_once = OPEN - {Status.CANCEL_REQUESTED}
        # Children that are made in one call are often never started; their work began when they were made.
        begun["started_at"] = Coalesce("started_at", "created_at")
    # A node may claim it between two tries, or a retry put it back into the queue: then look again.
    while (status := _status(run)) in OPEN and status != Status.CANCEL_REQUESTED:
        if run.kind != Kind.PIPELINE and move(
            run, to=end, expect=at_once, by=by, why=why, **begun, **columns
        ):
            return
        stoppable = _STOPPABLE | {Status.QUEUED} if run.kind == Kind.PIPELINE else _STOPPABLE
        if move(run, to=Status.CANCEL_REQUESTED, expect=stoppable, by=by, why=stops, **asked, **columns):
            if run.kind == Kind.PIPELINE:
                advance_pipeline(run.pk)
            return
    _refuse_other_end(run, end)


def _status(run: Run) -> str:
    return Run.objects.filter(pk=run.pk).values_list("status", flat=True).get()


def _refuse_other_end(run: Run, end: Status) -> None:
    known = Run.objects.filter(pk=run.pk).values_list("status", "ends_as", "error_message")
    status, asked, why = known.get()
    coming = status if status in TERMINAL else asked or Status.CANCELED
    if coming != end:
        verb = "is" if status in TERMINAL else "is being stopped, and will be"
        raise RunFinished(f"{run.name} {verb} {coming}, so it cannot end as {end}.", hint=why)
