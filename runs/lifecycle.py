"""The only writer of `Run.status`: compare-and-swap, one event each, and what follows after commit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F, Subquery, Value
from django.db.models.functions import Coalesce, Greatest, Now

from runs.models import Run, RunDependency, RunEvent
from runs.status import FOLLOWS, ON_NODE, OPEN, TERMINAL, ErrorClass, Kind, Status
from runs.wake import wake
from studio.accounts.models import User
from studio.clock import NowAtRow
from studio.prepared import PreparedInsert

_new_run, _new_event = PreparedInsert(Run), PreparedInsert(RunEvent)


def move(
    run: Run | int,
    *,
    to: Status,
    expect: Collection[Status],
    by: User | None = None,
    why: str = "",
    attempt: int | None = None,
    follow: bool = True,
    ago: timedelta = timedelta(0),
    **changes: Any,
) -> bool:
    """Change the status if it is still one of `expect`; say whether this caller won.

    The change, its event and `changes` (other columns of the run) are one transaction of three queries. With
    `attempt`, a run that has been claimed again since is not touched. The loser of a race gets False and
    nothing has happened. What follows a change (a wake-up call, the steps that waited, the end of the parent)
    is done after commit, unless `follow` is False because the caller sees to it. `ago` is how long
    before now it happened, for what Studio learns late. `run` is not refreshed.
    """
    pk = run.pk if isinstance(run, Run) else run
    impossible = [status for status in expect if to not in FOLLOWS[Status(status)]]
    if impossible:
        raise ValueError(f"{to} never follows {', '.join(impossible)}")
    with transaction.atomic():
        rows = Run.objects.filter(pk=pk, status__in=list(expect))
        if attempt is not None:
            rows = rows.filter(attempt=attempt)
        if not rows.update(**{"status": to, "updated_at": NowAtRow(), **_stamps(to, ago), **changes}):
            return False
        before = RunEvent.objects.filter(run_id=pk).order_by("-seq").first()
        RunEvent.objects.create(
            run_id=pk,
            seq=before.seq + 1 if before else 1,
            from_status=before.to_status if before else Status.NOT_STARTED,
            to_status=to,
            **_when(pk, to, before, ago),
            by=by,
            why=why,
            attempt=Subquery(Run.objects.filter(pk=pk).values("attempt")),
        )
        if follow:
            transaction.on_commit(partial(_after_move, pk, to))
    return True


def _when(pk: int, to: Status, before: RunEvent | None, ago: timedelta) -> dict[str, Any]:
    """The moment of a change: where the run has it itself, the same, so that durations of both agree."""
    is_start = to == Status.RUNNING and not (before and before.to_status == Status.NOT_RESPONDING)
    if not is_start and to not in TERMINAL:
        return {"at": Greatest(Now() - ago, Value(before.at))} if ago and before else {}
    of_run = Subquery(Run.objects.filter(pk=pk).values("started_at" if is_start else "ended_at"))
    return {"at": Greatest(of_run, Value(before.at)) if before else of_run}


def begin(run: Run, *, to: Status, at: datetime, by: User | None, why: str) -> None:
    """Insert a new run that is in this status from its first moment on, with the event that says so.

    Needs a transaction. `at` is that moment by the database's clock. Two queries.
    """
    run.status, run.started_at, run.heartbeat_at = to, at, at
    _new_run.run(run)
    _new_event.run(
        RunEvent(run=run, seq=1, from_status=Status.NOT_STARTED, to_status=to, by=by, why=why, at=at)
    )


def begin_all(runs: Sequence[Run], *, to: Status, at: datetime, by: User | None, why: str) -> None:
    """As `begin`, for many runs: two queries, some more for hundreds. Needs a transaction."""
    for run in runs:
        run.status, run.started_at, run.heartbeat_at = to, at, at
    Run.objects.bulk_create(runs)
    first = {"seq": 1, "from_status": Status.NOT_STARTED, "to_status": to, "by": by, "why": why, "at": at}
    RunEvent.objects.bulk_create(RunEvent(run=run, **first) for run in runs)


def _stamps(to: Status, ago: timedelta) -> dict[str, Any]:
    """The columns that go with a status, by the database's clock."""
    if to == Status.QUEUED:
        return {
            "queued_at": Now(),
            "started_at": None,
            "heartbeat_at": None,
            "node": None,
            "holds_slot": False,
            "waits_until": None,
            **dict.fromkeys(("error_code", "error_message", "error_traceback"), ""),
        }
    if to == Status.PREPARING:  # every claim is an attempt of its own, so that an older one can be refused
        return {"heartbeat_at": Now(), "attempt": F("attempt") + 1}
    if to == Status.RUNNING:
        return {"started_at": Coalesce("started_at", Now())}
    if to in TERMINAL:
        # A clock that was set back must not make a run end before it started, or was made.
        return {
            "ended_at": Greatest(Now() - ago, Coalesce("started_at", "created_at")),
            "holds_slot": False,
            "waits_until": None,
        }
    return {}


def _after_move(pk: int, to: Status) -> None:
    run = Run.objects.only("kind", "target_id", "parent_id").get(pk=pk)
    if to == Status.QUEUED and run.target_id and run.kind != Kind.PIPELINE:
        wake(run.target_id)
    if run.kind == Kind.STEP and run.parent_id and (to in TERMINAL or to == Status.RUNNING):
        advance_pipeline(run.parent_id)


def advance_pipeline(pk: int) -> None:
    """Bring a pipeline run up to date with its steps: release, cancel, and end it when all have ended.

    Safe to call at any time and by several at once: every change is a compare-and-swap. Queries: three, and
    three for each status that changes.
    """
    pipeline = Run.objects.only("status", "continue_on_failure", "ends_as").get(pk=pk)
    if pipeline.status not in OPEN:
        return
    steps = {
        step.pk: step for step in Run.objects.filter(parent_id=pk).only("status", "step_name", "target_id")
    }
    waits_for: dict[int, list[int]] = {step: [] for step in steps}
    for edge in RunDependency.objects.filter(step__parent_id=pk):
        waits_for[edge.step_id].append(edge.waits_for_id)
    _stop_branches(pipeline, steps)
    for step in _in_order(steps, waits_for):
        _advance_step(pipeline, step, [steps[before] for before in waits_for[step.pk]])
    _close(pipeline, list(steps.values()))


def _in_order(steps: dict[int, Run], waits_for: dict[int, list[int]]) -> list[Run]:
    """The steps, each after all that it waits for."""
    done: list[Run] = []
    seen: set[int] = set()
    ready = [pk for pk in steps if not waits_for[pk]]
    dependents: dict[int, list[int]] = {pk: [] for pk in steps}
    left = {pk: len(before) for pk, before in waits_for.items()}
    for pk, before in waits_for.items():
        for other in before:
            dependents[other].append(pk)
    while ready:
        pk = ready.pop()
        seen.add(pk)
        done.append(steps[pk])
        for later in dependents[pk]:
            left[later] -= 1
            if not left[later]:
                ready.append(later)
    return done


def _stop_branches(pipeline: Run, steps: dict[int, Run]) -> None:
    """End what is open of a pipeline that was canceled, or failed and does not go on after a failure."""
    failed = [step.step_name for step in steps.values() if step.status == Status.FAILED]
    canceled = pipeline.status == Status.CANCEL_REQUESTED
    if not canceled and (pipeline.continue_on_failure or not failed):
        return
    stops = "the pipeline run was canceled"
    why = stops if canceled else f"{failed[0]} failed, and the pipeline stops at its first failure"
    for step in steps.values():
        if step.status in (Status.NOT_STARTED, Status.QUEUED):
            _cancel_step(step, why)
        if step.status in ON_NODE - {Status.CANCEL_REQUESTED}:
            move(
                step,
                to=Status.CANCEL_REQUESTED,
                expect=ON_NODE - {Status.CANCEL_REQUESTED},
                why=why,
                follow=False,
                cancel_requested_at=Now(),
            )


def _cancel_step(step: Run, why: str) -> None:
    if move(step, to=Status.CANCELED, expect=(Status.NOT_STARTED, Status.QUEUED), why=why, follow=False):
        step.status = Status.CANCELED


def _advance_step(pipeline: Run, step: Run, before: list[Run]) -> None:
    if step.status != Status.NOT_STARTED:
        return
    dead = [other for other in before if other.status in (Status.FAILED, Status.CANCELED)]
    if pipeline.status == Status.CANCEL_REQUESTED:
        _cancel_step(step, "the pipeline run was canceled")
    elif dead:
        _cancel_step(
            step, f"{dead[0].step_name} {'failed' if dead[0].status == Status.FAILED else 'was canceled'}"
        )
    elif all(other.status == Status.COMPLETED for other in before):
        why = f"after {', '.join(other.step_name for other in before)}" if before else ""
        if move(step, to=Status.QUEUED, expect=(Status.NOT_STARTED,), why=why):
            step.status = Status.QUEUED


def _close(pipeline: Run, steps: list[Run]) -> None:
    open_steps = [step for step in steps if step.status in OPEN]
    if open_steps:
        started = [step for step in steps if step.status not in (Status.NOT_STARTED, Status.QUEUED)]
        if started and pipeline.status in (Status.NOT_STARTED, Status.QUEUED):
            move(
                pipeline,
                to=Status.RUNNING,
                expect=(Status.NOT_STARTED, Status.QUEUED),
                why="its first step started",
            )
        return
    failed = [step.step_name for step in steps if step.status == Status.FAILED]
    expect = OPEN - {Status.CANCEL_REQUESTED}
    if pipeline.status == Status.CANCEL_REQUESTED:
        end = Status(pipeline.ends_as or Status.CANCELED)
        move(pipeline, to=end, expect=(Status.CANCEL_REQUESTED,), why="all of its steps have ended")
    elif failed:
        message = f"{len(failed)} of {len(steps)} steps failed: {', '.join(failed)}."
        move(
            pipeline,
            to=Status.FAILED,
            expect=expect,
            why=message,
            error_class=ErrorClass.STEP,
            error_message=message,
        )
    elif any(step.status == Status.CANCELED for step in steps):
        move(pipeline, to=Status.CANCELED, expect=expect, why="a step was canceled")
    else:
        move(pipeline, to=Status.COMPLETED, expect=expect, why="all of its steps are Completed")


def subtree(pk: int) -> list[int]:
    """The run and all its descendants, parents first. One query per level."""
    found, level = [pk], [pk]
    while level:
        level = list(Run.objects.filter(parent_id__in=level).values_list("pk", flat=True))
        found += level
    return found


def descends(run: Run, above: Run) -> bool:
    """Whether this is a parent of the run, or of one of its parents. One query per level between them."""
    pk = run.parent_id
    while pk is not None and pk != above.pk:
        pk = Run.objects.values_list("parent_id", flat=True).get(pk=pk)
    return pk is not None
