"""The statuses of a run as data: which there are, which are active or terminal, and what may follow what.

The words are those of Azure ML's run history, so that code which compares `run.get_status()` keeps working.
This module imports nothing of Studio and knows no database.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a run stands in its life."""

    NOT_STARTED = "NotStarted"  # a step that waits for another step
    QUEUED = "Queued"  # waits for a slot on its compute target
    PREPARING = "Preparing"  # claimed by a node, snapshot being unpacked
    STARTING = "Starting"  # its process is being started
    RUNNING = "Running"
    FINALIZING = "Finalizing"  # its process has ended, files are being kept
    CANCEL_REQUESTED = "CancelRequested"  # asked to stop, may still run for the grace
    NOT_RESPONDING = "NotResponding"  # no heartbeat; may come back
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"


class Kind(StrEnum):
    """What a run is made of."""

    INTERACTIVE = "interactive"  # logs from a process that Studio did not start
    SCRIPT = "script"  # a script that a node runs
    PIPELINE = "pipeline"  # a parent whose children are its steps
    STEP = "step"  # a script run that belongs to a pipeline run


class ErrorClass(StrEnum):
    """Why a run failed, for people and for the `error:` qualifier of the search."""

    SCRIPT = "script"  # the script ended with an exit code that is not 0
    SIGNAL = "signal"  # the script was ended by a signal that Studio did not send
    TIME_LIMIT = "time_limit"
    OUT_OF_MEMORY = "out_of_memory"
    LAUNCH = "launch"  # the script could not be started at all
    LOST = "lost"  # the process or its node vanished
    OUTPUTS = "outputs"  # the script did its work, and its files could not be kept
    STEP = "step"  # a step of this pipeline run failed
    REPORTED = "reported"  # whoever looks after it, or a person, said so


TERMINAL: frozenset[Status] = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})

#: Neither terminal nor NotStarted: the runs that "active runs" counts.
ACTIVE: frozenset[Status] = frozenset(Status) - TERMINAL - {Status.NOT_STARTED}

#: Not terminal: a run in one of these can still be cancelled.
OPEN: frozenset[Status] = frozenset(Status) - TERMINAL

#: The run has, or may still have, a process on a node.
ON_NODE: frozenset[Status] = ACTIVE - {Status.QUEUED}

#: What may follow what. Queued after a status on a node is a retry, or a start that did not happen.
FOLLOWS: dict[Status, frozenset[Status]] = {
    Status.NOT_STARTED: frozenset({Status.QUEUED, Status.RUNNING}) | TERMINAL,
    Status.QUEUED: frozenset({Status.PREPARING, Status.RUNNING, Status.CANCEL_REQUESTED}) | TERMINAL,
    Status.PREPARING: OPEN - {Status.NOT_STARTED, Status.PREPARING} | TERMINAL,
    Status.STARTING: OPEN - {Status.NOT_STARTED, Status.PREPARING, Status.STARTING} | TERMINAL,
    Status.RUNNING: frozenset(
        {Status.FINALIZING, Status.CANCEL_REQUESTED, Status.NOT_RESPONDING, Status.QUEUED}
    )
    | TERMINAL,
    Status.FINALIZING: frozenset({Status.CANCEL_REQUESTED, Status.NOT_RESPONDING, Status.QUEUED}) | TERMINAL,
    Status.CANCEL_REQUESTED: TERMINAL,  # Canceled, unless it was asked to stop in order to end otherwise
    Status.NOT_RESPONDING: frozenset(
        {Status.RUNNING, Status.FINALIZING, Status.CANCEL_REQUESTED, Status.QUEUED}
    )
    | TERMINAL,
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
}


def is_terminal(status: str) -> bool:
    """Whether a run in this status has ended for good."""
    return status in TERMINAL


def is_active(status: str) -> bool:
    """Whether a run in this status counts as active."""
    return status in ACTIVE


def choices(words: type[StrEnum]) -> list[tuple[str, str]]:
    """The words as pairs for a model or form field."""
    return [(word.value, word.value.replace("_", " ")) for word in words]
