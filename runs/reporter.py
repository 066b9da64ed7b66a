"""What supervision reports of one attempt of a run, written into the database."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from django.db import Error, connection

from runs.errors import RunFinished, StaleAttempt
from runs.execution.folder import RunFolder
from runs.execution.outcome import Outcome, Wish
from runs.execution.supervise import NOT_OURS
from runs.hand_in import hand_in_metrics
from runs.models import Run
from runs.services import logs, nodes
from runs.services.artifacts import keep_outputs
from runs.status import TERMINAL, ErrorClass, Status

log = logging.getLogger(__name__)

T = TypeVar("T")

NOTICED_WITHIN_S = 2.0
KEEPING_PATIENCE_S = 60.0  # with a storage that refuses files, or a spool that cannot be read
LAUNCH_LOG = "system_logs/launch.log"


@dataclass(frozen=True)
class State:
    """What the last look at the database said of a run."""

    status: str
    attempt: int


def give_back_unlaunched(run: Run, folder: RunFolder) -> bool:
    """Queue a run again that was not launched; a folder that is gone altogether proves that only for some."""
    expect = nodes.UNSTARTED if folder.path.exists() else nodes.BEFORE_RUNNING
    return nodes.give_back(run, "Studio went away before it was started", expect=expect)


def _mending(method: Callable[..., T]) -> Callable[..., T]:
    """Drop a connection that broke, so that supervision's next try gets a new one."""

    @functools.wraps(method)
    def call(*arguments: Any) -> T:
        try:
            return method(*arguments)
        except Error:
            connection.close_if_unusable_or_obsolete()
            raise

    return call


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class RunReporter:
    """The reporter of an attempt in its folder on a node; `look` gives what was last seen of it, or None."""

    def __init__(
        self,
        run: Run,
        folder: RunFolder,
        node_name: str,
        look: Callable[[], State | None],
        *,
        patience_s: float = KEEPING_PATIENCE_S,
    ) -> None:
        self.run, self.folder, self.node_name, self.look = run, folder, node_name, look
        self.patience_s = patience_s
        self._failing_since: dict[str, float] = {}
        self._metrics_are_in = False

    def wish(self) -> Wish:
        state = self.look()
        if state is None or state.attempt < self.run.attempt:  # a look from before this attempt
            return Wish.KEEP
        self._refuse_if_not_ours(state)
        return Wish.STOP if state.status == Status.CANCEL_REQUESTED else Wish.KEEP

    def _refuse_if_not_ours(self, state: State) -> None:
        if state.attempt > self.run.attempt:
            raise StaleAttempt("Another attempt of this run has begun.")
        if state.status == Status.QUEUED:
            raise StaleAttempt("This attempt was given up, and the run waits for another.")
        if state.status in TERMINAL:
            raise RunFinished("This run has ended.")

    @_mending
    def log_size(self, file: str) -> int:
        return logs.log_size(self.run, self.run.attempt, file)

    @_mending
    def append_log(self, file: str, offset: int, data: bytes) -> None:
        logs.append_log(self.run, self.run.attempt, file, offset, data)

    @_mending
    def started(self, pid: int) -> None:
        nodes.started(self.run, pid)

    @_mending
    def ended(self, outcome: Outcome) -> None:
        # Without its log file the script was not even forked, so starting it again starts it once.
        never_forked = outcome.never_started and not self.folder.std_log.exists()
        if never_forked and not outcome.canceled and give_back_unlaunched(self.run, self.folder):
            return
        ago = self._ended_ago()
        nodes.finalizing(self.run, ago=ago)
        # After an absence the run may be another's, whose files these must not replace.
        now = Run.objects.filter(pk=self.run.pk).values_list("status", "attempt").get()
        self._refuse_if_not_ours(State(*now))
        self._hand_in_metrics()
        refusal = self._keep_files()
        if refusal and outcome.kind is None:
            nodes.end_failed(self.run, ErrorClass.OUTPUTS, refusal, exit_code=outcome.exit_code, ago=ago)
        elif outcome.kind is None and not outcome.canceled:
            nodes.end_completed(self.run, ago=ago)
        else:
            nodes.end_failed(
                self.run,
                outcome.kind or ErrorClass.LOST,
                outcome.message,
                traceback=outcome.traceback,
                exit_code=outcome.exit_code,
                ago=ago,
            )

    def _ended_ago(self) -> timedelta:
        """How long ago the process ended, for a run that ended while no worker looked."""
        try:
            age_s = time.time() - self.folder.ended_file.stat().st_mtime
        except FileNotFoundError:
            return nodes.NOW
        return timedelta(seconds=age_s) if age_s > NOTICED_WITHIN_S else nodes.NOW

    def _hand_in_metrics(self) -> None:
        """Store what the script could not send: once, however often the end is reported.

        What cannot be stored is not deleted with the folder, and the log says where it is.
        """
        if self._metrics_are_in:
            return
        try:
            notes = hand_in_metrics(self.run, self.folder)
        except (Error, *NOT_OURS):
            raise
        except Exception as error:
            if not self._gives_up("metrics"):
                raise
            log.warning("the metrics of run %s could not be read", self.run.run_id, exc_info=True)
            notes = [f"Metrics that the script had left could not be read: {_reason(error)}"]
        if self.folder.holds_metrics:
            notes.append(f"They are on {self.node_name} in {self.folder.set_aside_spool}.")
        self._note(notes)
        self._metrics_are_in = True

    def _gives_up(self, on: str) -> bool:
        """Whether what has failed just now has failed for long enough."""
        since = self._failing_since.setdefault(on, time.monotonic())
        return time.monotonic() >= since + self.patience_s

    def _keep_files(self) -> str:
        """Keep outputs and logs; "" or why that is impossible.

        A storage that refuses is tried again for a while, by raising what it raised, for each storage has
        exceptions of its own; then the folder is set aside.
        """
        if self.folder.set_aside_path.exists():
            return self._refusal("see system_logs/launch.log")
        try:
            kept = keep_outputs(self.run, self.folder.code)
            self._note(kept.notes)
            logs.roll_up(self.run, self.run.attempt)
        except (Error, *NOT_OURS):
            raise
        except Exception as error:
            if not self._gives_up("files"):
                raise
            log.warning("the files of run %s could not be kept", self.run.run_id, exc_info=True)
            refusal = self._refusal(_reason(error))
            self._note([refusal])
            self.folder.set_aside()
            return refusal
        return ""

    def _refusal(self, reason: str) -> str:
        where = f"They are on {self.node_name} in {self.folder.set_aside_path}."
        return f"Its files could not be kept: {reason}. {where}"

    def _note(self, notes: list[str]) -> None:
        size = logs.log_size(self.run, self.run.attempt, LAUNCH_LOG)
        if notes:
            text = "".join(f"{note}\n" for note in notes).encode()
            logs.append_log(self.run, self.run.attempt, LAUNCH_LOG, size, text)
