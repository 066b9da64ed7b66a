"""What is set right from time to time: runs without a sign of life, pipelines that were interrupted."""

from __future__ import annotations

import time
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from runs.lifecycle import advance_pipeline, move
from runs.models import Run, RunDependency
from runs.models.compute import NODE_ALIVE_FOR
from runs.services.nodes import end_failed
from runs.services.waiting import take_slots_back
from runs.status import ON_NODE, OPEN, ErrorClass, Kind, Status

#: So many changes of one kind in a sweep; the next one goes on. Each is a write of its own, and thousands in
#: a row would keep everybody else from writing for seconds.
AT_ONCE = 200
_DEAD = (Status.FAILED, Status.CANCELED)
_WAITING = (Status.NOT_STARTED, Status.QUEUED)
_RESPONDING = ON_NODE - {Status.NOT_RESPONDING, Status.CANCEL_REQUESTED}


def now_with_sleep() -> float:
    """Seconds of a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def sweep(watching_for: timedelta) -> bool:
    """Set right what no single change could. Safe to run anywhere, at any time, by several.

    `watching_for` is how long whoever calls has been in touch with the database without a break. No run is
    lost before that is the time between the two limits: after an outage that silenced everybody, each node
    gets that time to return. False says that this very sweep was held up for so long that it is such a break.
    """
    begin = now_with_sleep()
    mark_silent_runs()
    in_touch = now_with_sleep() - begin <= NODE_ALIVE_FOR.total_seconds()
    limits = settings.LOST_AFTER_SECONDS - settings.NOT_RESPONDING_AFTER_SECONDS
    if in_touch and watching_for >= timedelta(seconds=limits):
        end_lost_runs()
    take_slots_back()
    resume_pipelines()
    return in_touch


def _with_last_sign() -> QuerySet[Run]:
    """Runs with a process somewhere, and when it gave its last sign of life."""
    last_sign = Coalesce("heartbeat_at", "started_at", "queued_at", "created_at")
    return Run.objects.on_node().exclude(kind=Kind.PIPELINE).annotate(last_sign=last_sign)


def _silent_for(seconds: int) -> Q:
    """Whether that is longer ago than this, by the database's clock."""
    return Q(last_sign__lt=Now() - timedelta(seconds=seconds))


def _lost_runs() -> QuerySet[Run]:
    """Those that nobody waits for any longer: for interactive ones more patience."""
    silent, asked = Q(status=Status.NOT_RESPONDING), Q(status=Status.CANCEL_REQUESTED)
    interactive = Q(kind=Kind.INTERACTIVE)
    short = _silent_for(settings.LOST_AFTER_SECONDS)
    long = _silent_for(settings.INTERACTIVE_LOST_AFTER_SECONDS)
    return _with_last_sign().filter(silent | asked, interactive & long | ~interactive & short)


def mark_silent_runs() -> int:
    """NotResponding for runs whose heartbeat is old, the oldest first and not all at once; how many."""
    after = settings.NOT_RESPONDING_AFTER_SECONDS
    silent = _with_last_sign().filter(_silent_for(after), status__in=sorted(_RESPONDING))
    why = f"no heartbeat for {after} s"
    pks = silent.order_by("pk").values_list("pk", flat=True)[:AT_ONCE]
    return sum(move(pk, to=Status.NOT_RESPONDING, expect=_RESPONDING, why=why) for pk in pks)


def end_lost_runs() -> int:
    """Failed (or Canceled, if that was asked) for runs without a sign of life for long; how many.

    The oldest first, and not all at once.
    """
    ended = 0
    for run in _lost_runs().select_related("node").order_by("pk")[:AT_ONCE]:
        moment = run.heartbeat_at or run.started_at or run.created_at
        where = f" of {run.node.name}" if run.node else ""
        message = f"No sign of life{where} since {moment:%Y-%m-%d %H:%M:%S} UTC."
        # Not one whose heartbeat has returned since: that is Running again.
        may_retry = run.kind != Kind.INTERACTIVE  # nobody but its own process could start it again
        ended += end_failed(
            run, ErrorClass.LOST, message, expect=(Status.NOT_RESPONDING,), may_retry=may_retry
        )
    return ended


def resume_pipelines() -> int:
    """Go on with pipelines whose next change was lost, as by a kill between two; how many it looked at."""
    steps = Run.objects.filter(parent=OuterRef("pk"))
    before = RunDependency.objects.filter(step=OuterRef("pk"))
    waits = Exists(before.filter(waits_for__status__in=sorted(OPEN)))
    in_vain = Exists(before.filter(waits_for__status__in=_DEAD))
    ready = Exists(steps.filter(~waits | in_vain, status=Status.NOT_STARTED))
    ended = ~Exists(steps.filter(status__in=sorted(OPEN)))
    begun = Q(status=Status.QUEUED) & Exists(steps.exclude(status__in=_WAITING))
    failed = Q(continue_on_failure=False) & Exists(steps.filter(status=Status.FAILED))
    unasked = Exists(steps.filter(status__in=sorted(OPEN - {Status.CANCEL_REQUESTED})))
    canceled = Q(status=Status.CANCEL_REQUESTED) & unasked
    pipelines = Run.objects.filter(kind=Kind.PIPELINE, status__in=sorted(OPEN))
    halted = pipelines.filter(ready | ended | begun | failed | canceled)
    pks = list(halted.order_by("pk").values_list("pk", flat=True)[:AT_ONCE])
    for pk in pks:
        advance_pipeline(pk)
    return len(pks)
