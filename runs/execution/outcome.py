"""How a run ended, in a form that says it to people, and the seam through which supervision reports.

Pure: the shim's facts and the end of the log go in, an `Outcome` comes out.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from runs.execution.tracebacks import exception_text, last_traceback
from runs.status import ErrorClass

MESSAGE_LETTERS = 1_000

ENDED_WHILE_AWAY = "Its process ended while Studio was away."
WATCHER_KILLED = "The process that watched this run was killed."
FOLDER_GONE = "Its folder on the node is gone."
NEVER_STARTED = "It was never started: Studio went away just before."


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt. `kind` is None for exit code 0 and for a run that was asked to stop.

    `never_started` says that Studio went away before its shim wrote down a script's start.
    """

    kind: ErrorClass | None
    canceled: bool
    exit_code: int | None
    signal: int | None
    message: str
    traceback: str = ""
    killed: tuple[int, ...] = ()
    never_started: bool = False


class Wish(Enum):
    """What Studio wants of a run."""

    KEEP = "keep"
    STOP = "stop"


class Reporter(Protocol):
    """Where supervision reports to; any method may raise, and is then called again later.

    StaleAttempt, RunFinished or NotFound from any of them means that the run is no longer ours.
    """

    def wish(self) -> Wish:
        """What is to be done with the run; called several times a second, so it has to be cheap."""

    def log_size(self, file: str) -> int:
        """How many bytes of this log are stored."""

    def append_log(self, file: str, offset: int, data: bytes) -> None:
        """Store bytes at the end of a log. `offset` is where that end is; if it is not, raise."""

    def started(self, pid: int) -> None:
        """The script's process is there. Called again by each worker that takes the run up."""

    def ended(self, outcome: Outcome) -> None:
        """The run has ended, and every byte of its logs is stored."""


def outcome_of(ended: Mapping[str, Any], *, stop_requested: bool, log_tail: bytes) -> Outcome:
    """The outcome of what the shim wrote into ended.json."""
    code, number = ended.get("exit_code"), ended.get("signal")
    traceback = "" if code == 0 else last_traceback(log_tail)
    kind, message = _verdict(ended, traceback)
    canceled = stop_requested or ended.get("reason") == "stopped"
    killed = tuple(ended.get("killed") or ())
    if canceled:
        how = f"{len(killed)} of its processes had to be killed." if killed else "It obeyed."
        kind, message, traceback = None, f"Stopped on request. {how}", ""
    if ended.get("left"):
        message += f" Could not be killed: {', '.join(map(str, ended['left']))}."
    return Outcome(kind, canceled, code, number, message[:MESSAGE_LETTERS], traceback, killed)


def lost(
    message: str, *, stop_requested: bool, killed: tuple[int, ...] = (), never_started: bool = False
) -> Outcome:
    """The outcome of a run whose end nobody saw."""
    kind = None if stop_requested else ErrorClass.LOST
    said = f"Stopped on request. {message}" if stop_requested else message
    return Outcome(kind, stop_requested, None, None, said, killed=killed, never_started=never_started)


def _verdict(ended: Mapping[str, Any], traceback: str) -> tuple[ErrorClass | None, str]:
    code, number, reason = ended.get("exit_code"), ended.get("signal"), ended.get("reason")
    raised = exception_text(traceback)
    if reason == "launch":
        return ErrorClass.LAUNCH, str(ended.get("message") or "The script could not be started.")
    if reason == "time_limit":
        return ErrorClass.TIME_LIMIT, f"The script ran longer than {_span(ended.get('time_limit_s') or 0)}."
    if code == 0:
        return None, ""
    if ended.get("out_of_memory"):
        return ErrorClass.OUT_OF_MEMORY, "The system killed the script because memory ran out."
    if number is not None:
        return ErrorClass.SIGNAL, f"The script was ended by {_signal_name(number)}."
    if raised.partition(":")[0].endswith("MemoryError"):  # OutOfMemoryError, as of a GPU, too
        return ErrorClass.OUT_OF_MEMORY, raised
    if raised and code == 1:  # what Python ends with after an exception that nobody caught
        return ErrorClass.SCRIPT, raised
    return ErrorClass.SCRIPT, f"The script ended with exit code {code}."


def _signal_name(number: int) -> str:
    try:
        name = signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
    says = signals.strsignal(number)
    return f"{name} ({says.lower()})" if says else name


def _span(seconds: float) -> str:
    """A time as people write it: 5 s, 2 min 30 s, 3 h."""
    if seconds < 120:
        return f"{seconds:g} s"
    minutes, rest_s = divmod(int(seconds), 60)
    hours, rest_min = divmod(minutes, 60)
    parts = [(hours, "h"), (rest_min, "min"), (rest_s, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
