"""A node's dealings with the database: registering, signs of life, claiming runs, ending them."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Now

from runs.errors import Conflict, InvalidName
from runs.lifecycle import move
from runs.models import ComputeTarget, Node, Run
from runs.models.compute import NODE_ALIVE_FOR
from runs.services.compute import create_target
from runs.services.waiting import awaited_parents
from runs.status import ON_NODE, ErrorClass, Status
from studio.accounts.models import Workspace

#: A run and the number of its attempt.
Attempt = tuple[int, int]

NOW = timedelta(0)
BEFORE_RUNNING = (Status.PREPARING, Status.STARTING)
#: What a claimed run can be whose process was never started: silence and a beat move it on without one.
UNSTARTED = (*BEFORE_RUNNING, Status.NOT_RESPONDING, Status.RUNNING)
_UNASKED = ON_NODE - {Status.CANCEL_REQUESTED}


def register(name: str, targets: Iterable[str], slots: int, instance: str) -> list[Node]:
    """The rows of this machine, one for each target that it serves; unknown targets are made.

    `instance` tells apart two machines of one name: raises Conflict while another one serves under it, or may
    come back to its runs. Raises InvalidName.
    """
    facts = machine_facts()  # asks other programs, so not inside the transaction
    with transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).order_by("pk").first()  # one registration at a time
        targets_served = [find_or_create_target(word) for word in targets]
        _refuse_second(name, instance)
        for target in targets_served:
            Node.objects.get_or_create(target=target, name=name, defaults={"slots": slots})
        mine = Node.objects.filter(name=name, target__in=targets_served)
        mine.update(slots=slots, facts=facts, instance=instance, started_at=Now(), last_seen_at=Now())
        return list(mine.select_related("target"))


def _refuse_second(name: str, instance: str) -> None:
    others = Node.objects.filter(name=name).exclude(instance__in=("", instance))
    lost_after = timedelta(seconds=settings.LOST_AFTER_SECONDS)
    theirs = Run.objects.on_node().filter(node__in=others, heartbeat_at__gte=Now() - lost_after)
    seconds = NODE_ALIVE_FOR.seconds if others.alive().exists() else 0
    seconds = settings.LOST_AFTER_SECONDS if theirs.exists() else seconds
    if seconds:
        raise Conflict(
            f"Another node is called {name}; it or a run of it gave a sign of life in the last {seconds} s.",
            hint="Give this one a name of its own with STUDIO_NODE. If it is the same machine with another "
            "work folder, wait until that time is over.",
        )


def find_or_create_target(word: str) -> ComputeTarget:
    """The target that a node names: `name` (in the first workspace) or `workspace/name`.

    Raises InvalidName without such a workspace, or for a name that no target can have.
    """
    workspace_name, slash, name = word.rpartition("/")
    workspaces = Workspace.objects.filter(name=workspace_name) if slash else Workspace.objects.all()
    workspace = workspaces.order_by("pk").first()
    if workspace is None:
        names = ", ".join(Workspace.objects.order_by("name").values_list("name", flat=True)[:20])
        raise InvalidName(
            f"There is no workspace {workspace_name or 'yet'}.",
            field="targets",
            hint=f"There is {names or 'none'}; `manage.py workspace add` makes one.",
        )
    target = ComputeTarget.objects.filter(workspace=workspace, name=name).first()
    return target or create_target(workspace, name, by=None)


def machine_facts() -> dict[str, Any]:
    """What this machine has: cpus, memory_bytes, gpus (names), python, system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": os.cpu_count() or 1,
        "memory_bytes": memory,
        "gpus": _gpus(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _gpus() -> list[str]:
    """The names that nvidia-smi prints; [] where there is none."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def beat(nodes: Collection[Node], attempts: Collection[Attempt]) -> bool:
    """A sign of life of this machine and of the attempts that it supervises; False when it has to register
    again, because its rows were forgotten or belong to another machine by now.

    Two queries at most, and a write for each run whose sign of life had been missed.
    """
    pks = [node.pk for node in nodes]
    mine = Node.objects.filter(pk__in=pks, instance__in={node.instance for node in nodes})
    is_known = mine.update(last_seen_at=Now()) == len(pks)
    if attempts:
        beat_attempts(attempts)
    return is_known


def beat_attempts(attempts: Collection[Attempt]) -> None:
    """A sign of life of these attempts, which runs that had been missed return with.

    It says nothing of a run that has been claimed again since: that attempt may be another machine's.
    """
    of_attempt: dict[int, list[int]] = {}
    for pk, number in attempts:
        of_attempt.setdefault(number, []).append(pk)
    is_current = reduce(or_, (Q(pk__in=pks, attempt=number) for number, pks in of_attempt.items()))
    mine = Run.objects.filter(is_current)
    alive = mine.on_node()
    write = alive.update_in_order if len(attempts) > 1 else alive.update
    if write(heartbeat_at=Now()):
        for pk, number in mine.filter(status=Status.NOT_RESPONDING).values_list("pk", "attempt"):
            why = "heartbeat returned"
            move(pk, to=Status.RUNNING, expect=(Status.NOT_RESPONDING,), attempt=number, why=why)


def claim(nodes: Collection[Node], slots: int) -> list[Run]:
    """Take what waits for these nodes, the longest waiting first, as far as there are free slots.

    Each run is won by one compare-and-swap, so it does not matter who else claims. The caller sees to it that
    one machine does not claim twice at the same time.
    """
    pks = [node.pk for node in nodes]
    names = {node.name for node in nodes}  # its slots are one pool, also for targets that it served before
    taken = _slots_taken(names)
    open_nodes = {node.target_id: node for node in Node.objects.filter(pk__in=pks, drained_at=None)}
    queued = Run.objects.queued().filter(target_id__in=open_nodes).only("target_id")
    # What descends from a run that waits comes first, or one parent after the other would start and wait.
    parents = awaited_parents(queued) if taken < slots else set()
    claimed: list[Run] = []
    while len(claimed) < slots - taken:
        free = slots - taken - len(claimed)
        waiting = list(queued.filter(parent_id__in=parents)[:free] if parents else ())
        waiting = waiting or list(queued[:free])
        if not waiting:
            break
        for run in waiting:
            node = open_nodes[run.target_id or 0]
            why = f"claimed by {node.name}"
            if move(run, to=Status.PREPARING, expect=(Status.QUEUED,), why=why, node=node, holds_slot=True):
                claimed.append(run)
    return list(_whole(Run.objects.filter(pk__in=[run.pk for run in claimed])).order_by("queued_at", "pk"))


def _slots_taken(names: Collection[str]) -> int:
    """How many slots runs hold on these machines. One query.

    A run that gave its slot back to wait for a child, and has not been heard of since, holds it, too.
    """
    # As the index of the slots has it, without which all runs that these machines ever had would be read.
    concerned = Run.objects.filter(Q(holds_slot=True) | Q(waits_until__isnull=False), node__name__in=names)
    return concerned.filter(Q(holds_slot=True) | Q(waits_until__lt=Now())).count()


def _whole(runs: QuerySet[Run]) -> QuerySet[Run]:
    """With what launching reads."""
    return runs.select_related("workspace", "experiment", "snapshot", "parent", "target")


def attempts_on(name: str) -> set[Attempt]:
    """Which those are that `supervised` gives, without what is known of them."""
    return set(Run.objects.filter(node__name=name).on_node().values_list("pk", "attempt"))


def supervised(name: str) -> list[Run]:
    """The runs that a process on this machine belongs to, or belonged to before Studio went away.

    Whichever of its targets they came from: it may serve others now.
    """
    return list(_whole(Run.objects.filter(node__name=name).on_node()))


def adopt(run: Run, nodes: Sequence[Node], *, has_process: bool) -> bool:
    """Write down that this machine has the run's attempt; False when the run has ended, or is another's.

    Without proof that the process was here, as in a folder that was copied, another node has to be gone.
    """
    node = next((node for node in nodes if node.target_id == run.target_id), nodes[0])
    rows = Run.objects.filter(pk=run.pk, attempt=run.attempt).on_node()
    if not has_process:
        rows = rows.exclude(node__in=Node.objects.alive())
    return bool(rows.update(node=node, updated_at=Now()))


def starting(run: Run) -> bool:
    """Preparing is done; False when it must not start, because somebody canceled or claimed it meanwhile."""
    why = "snapshot unpacked"
    if move(run, to=Status.STARTING, expect=(Status.PREPARING,), attempt=run.attempt, why=why):
        return True
    # Without a sign of life for a while, which is over.
    late = Run.objects.filter(pk=run.pk, attempt=run.attempt)
    return late.filter(status__in=(Status.STARTING, Status.NOT_RESPONDING, Status.RUNNING)).exists()


def started(run: Run, pid: int) -> None:
    """The script's process is there. Can be called again."""
    why = f"process {pid}"
    if not move(run, to=Status.RUNNING, expect=BEFORE_RUNNING, attempt=run.attempt, why=why):
        # Asked to stop before it was seen to start: the start still counts for its duration.
        asked = Run.objects.filter(
            pk=run.pk, attempt=run.attempt, status=Status.CANCEL_REQUESTED, started_at=None
        )
        asked.update(started_at=Now(), updated_at=Now())


def finalizing(run: Run, *, ago: timedelta = NOW) -> None:
    """Its process has ended, so long ago; files are being kept."""
    expect = _UNASKED - {Status.FINALIZING}
    why = "its process had ended while Studio was away" if ago else "its process has ended"
    move(run, to=Status.FINALIZING, expect=expect, attempt=run.attempt, why=why, ago=ago)


def give_back(run: Run, why: str, *, expect: Collection[Status] = UNSTARTED) -> bool:
    """Queue a run again that was claimed and never started, which costs it none of its retries."""
    return move(
        run,
        to=Status.QUEUED,
        expect=expect,
        attempt=run.attempt,
        why=why,
        unstarted_attempts=F("unstarted_attempts") + 1,
    )


def end_completed(run: Run, *, ago: timedelta = NOW) -> bool:
    """The script ended with exit code 0, so long ago."""
    with transaction.atomic():
        # The last look is for a cancel that was committed between the first two.
        return (
            _end_asked(run, 0, ago)
            or move(
                run,
                to=Status.COMPLETED,
                expect=_UNASKED,
                attempt=run.attempt,
                why="exit code 0",
                ago=ago,
                exit_code=0,
                error_code="",
                error_message="",
                error_traceback="",
            )
            or _end_asked(run, 0, ago)
        )


def end_failed(
    run: Run,
    kind: ErrorClass,
    message: str,
    *,
    traceback: str = "",
    exit_code: int | None = None,
    may_retry: bool = True,
    expect: Collection[Status] = _UNASKED,
    ago: timedelta = NOW,
) -> bool:
    """The attempt failed, so long ago: Queued again while the run has retries left, else Failed."""
    with transaction.atomic():
        if _end_asked(run, exit_code, ago):
            return True
        started = run.attempt - run.unstarted_attempts
        if may_retry and started <= run.max_retries:
            why = f"attempt {started} of {run.max_retries + 1} failed: {message}"
            done = move(run, to=Status.QUEUED, expect=expect, attempt=run.attempt, why=why)
        else:
            done = move(
                run,
                to=Status.FAILED,
                expect=expect,
                attempt=run.attempt,
                why=message,
                ago=ago,
                exit_code=exit_code,
                error_class=kind,
                **_error_texts(kind, message, traceback),
            )
        return done or _end_asked(run, exit_code, ago)  # a cancel may have been committed in between


def _error_texts(kind: ErrorClass, message: str, traceback: str) -> dict[str, Any]:
    """What is kept of why it failed: of a script that gave its own reason before it ended, that reason."""
    texts = {"error_message": message, "error_traceback": traceback}
    if kind != ErrorClass.SCRIPT:
        return texts
    return {
        name: Case(When(error_message="", then=Value(text, TextField())), default=F(name))
        for name, text in texts.items()
    }


def _end_asked(run: Run, exit_code: int | None, ago: timedelta) -> bool:
    """A run that was asked to stop ends as was asked, however its process ended in the meantime.

    What it is to end as is settled by whoever asks first, and does not change after that.
    """
    asked = Run.objects.filter(pk=run.pk, attempt=run.attempt, status=Status.CANCEL_REQUESTED)
    end = asked.values_list("ends_as", flat=True).first()
    return end is not None and move(
        run,
        to=Status(end or Status.CANCELED),
        expect=(Status.CANCEL_REQUESTED,),
        attempt=run.attempt,
        why="its process has ended",
        ago=ago,
        exit_code=exit_code,
    )
