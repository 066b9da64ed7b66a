"""Interactive runs: Studio did not start the process that logs into them; it says itself how it goes."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from runs.errors import Conflict, InvalidInput, RunFinished
from runs.lifecycle import begin, begin_all, move
from runs.models import Experiment, Run, Snapshot
from runs.services.experiments import get_or_create_experiment, reserve_number_in, reserve_numbers
from runs.services.new_runs import (
    NewRun,
    check_new_run,
    earlier_run,
    fill,
    hold_parent,
    insert_labels,
    place_below,
)
from runs.services.nodes import beat_attempts
from runs.status import TERMINAL, Kind, Status
from studio.accounts.models import User, Workspace

MOST_CHILDREN = 500
#: Signs of life that are taken at once.
MOST_BEATS = 500
_BATCHES = uuid.UUID("1f0f3c59-4f0a-4ec4-9a7d-0d8d1b8f2a11")


def create_interactive(
    workspace: Workspace,
    experiment_name: str,
    new: NewRun,
    *,
    by: User,
    parent: Run | None = None,
    start: bool = True,
    snapshot: Snapshot | None = None,
) -> tuple[Run, bool]:
    """A new interactive run, Running from now on or (`start` False) NotStarted, and whether it is new.

    Its experiment is made with it if it is new. The same `run_id` again by the same person in the same place
    gives the run that it made before, if its content is the same. Raises Conflict for an id that is taken and
    for an archived experiment, InvalidName, InvalidInput and InvalidTag. Five queries, seven below a parent.
    """
    new = check_new_run(new if new.run_id else replace(new, run_id=str(uuid.uuid4())))
    try:
        with transaction.atomic():
            if parent is None:
                experiment, number, now = reserve_number_in(workspace, experiment_name, by=by)
            else:
                experiment = get_or_create_experiment(workspace, experiment_name, by=by)
                hold_parent(parent, experiment)
                number, now = reserve_numbers(experiment, 1)
            run = _unsaved(experiment, new, number, by=by, parent=parent)
            run.created_at = run.updated_at = now
            run.snapshot = snapshot
            if start:
                begin(run, to=Status.RUNNING, at=now, by=by, why=f"started by {by.shown_name}")
            else:
                run.save(force_insert=True)
            insert_labels([(run, new)])
        return run, True
    except (IntegrityError, Conflict):  # what refuses it now may have come after it was made
        known = earlier_run(new, workspace, experiment_name, [Kind.INTERACTIVE], by=by, parent=parent)
        if known is None:
            raise
        return known, False


def create_children(
    parent: Run, news: Sequence[NewRun], *, by: User, batch_id: str = "", start: bool = False
) -> tuple[list[Run], bool]:
    """Interactive child runs in this order, NotStarted or (`start`) Running, and whether they are new.

    The same batch again gives what it made before, with other content it is refused. All or none. Raises like
    `create_interactive`. Seven queries, eight with `start`, some more for hundreds.
    """
    if len(news) > MOST_CHILDREN:
        raise InvalidInput(
            f"{len(news)} child runs at once are too many.",
            field="children",
            hint=f"At most {MOST_CHILDREN}.",
        )
    named = [
        check_new_run(replace(new, run_id=new.run_id or _id(parent, batch_id, at)))
        for at, new in enumerate(news)
    ]
    if not named:
        return [], False
    try:
        with transaction.atomic():
            hold_parent(parent, parent.experiment)
            parent.experiment.workspace = parent.workspace  # which is loaded
            first, now = reserve_numbers(parent.experiment, len(named))
            runs = [
                _unsaved(parent.experiment, new, first + at, by=by, parent=parent)
                for at, new in enumerate(named)
            ]
            for run in runs:
                run.created_at = run.updated_at = now
            if start:
                begin_all(runs, to=Status.RUNNING, at=now, by=by, why=f"started by {by.shown_name}")
            else:
                Run.objects.bulk_create(runs)
            insert_labels(list(zip(runs, named, strict=True)))
            Run.objects.filter(pk=parent.pk).update(updated_at=Now())
        return runs, True
    except (IntegrityError, Conflict) as refusal:
        return _made_before(parent, named, by=by, refusal=refusal), False


def _id(parent: Run, batch_id: str, at: int) -> str:
    """An id that is the same for the same place of the same batch."""
    return str(uuid.uuid5(_BATCHES, f"{parent.run_id}/{batch_id}/{at}") if batch_id else uuid.uuid4())


def _made_before(
    parent: Run, named: Sequence[NewRun], *, by: User, refusal: IntegrityError | Conflict
) -> list[Run]:
    """What the same request made before. Raises Conflict: the refusal, or that an id is taken."""
    digests = {new.run_id: new.request_digest for new in named}
    if len(digests) < len(named):
        raise InvalidInput("Two of these child runs have the same run_id.", field="children")
    found = Run.objects.filter(run_id__in=digests, parent=parent, submitter=by, kind=Kind.INTERACTIVE)
    known = {run.run_id: run for run in found if run.request_digest == digests[run.run_id]}
    missing = [run_id for run_id in digests if run_id not in known]
    if missing and isinstance(refusal, Conflict):
        raise refusal
    if missing:
        raise Conflict(
            f"The run id {missing[0]} is taken, or this batch was sent before with other content.",
            field="children",
            hint="Give a new batch an id of its own.",
        )
    return [known[run_id] for run_id in digests]


def _unsaved(experiment: Experiment, new: NewRun, number: int, *, by: User, parent: Run | None) -> Run:
    run = Run(
        workspace=experiment.workspace,
        experiment=experiment,
        number=number,
        kind=Kind.INTERACTIVE,
        submitter=by,
    )
    place_below(run, parent)
    return fill(run, new)


def start_run(run: Run, *, by: User) -> None:
    """Running from now on; again changes nothing. Raises Conflict, RunFinished."""
    _only_interactive(run, "started")
    why = f"started by {by.shown_name}"
    if move(run, to=Status.RUNNING, expect=(Status.NOT_STARTED,), by=by, why=why, heartbeat_at=Now()):
        return
    _refuse_ended(run)


def beat(run: Run) -> None:
    """A sign of life of an interactive run; other runs have one from their node. Raises RunFinished."""
    _beat([run])
    _refuse_ended(run)


def beat_all(runs: Collection[Run]) -> set[int]:
    """The same for many, in three queries (PostgreSQL: four); the keys of those that have ended."""
    _beat(runs)
    ended = Run.objects.filter(pk__in=[run.pk for run in runs], status__in=sorted(TERMINAL))
    return set(ended.values_list("pk", flat=True))


def _beat(runs: Iterable[Run]) -> None:
    attempts = [
        (run.pk, run.attempt)
        for run in runs
        if run.kind == Kind.INTERACTIVE and run.status != Status.NOT_STARTED
    ]
    if attempts:
        beat_attempts(attempts)


def _only_interactive(run: Run, done: str) -> None:
    if run.kind != Kind.INTERACTIVE:
        raise Conflict(f"{run.name} was submitted; it is {done} by a node.")


def _refuse_ended(run: Run) -> None:
    status = Run.objects.filter(pk=run.pk).values_list("status", flat=True).get()
    if status in TERMINAL:
        raise RunFinished(f"{run.name} is {status}; a run that has ended stays so.")
