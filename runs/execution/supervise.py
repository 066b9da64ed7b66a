"""Supervision: a thread per run that carries logs, end and wishes between its folder and the store."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from runs.errors import InvalidInput, NotFound, RunFinished, StaleAttempt, is_disk_full
from runs.execution import launch, processes
from runs.execution.folder import Facts, RunFolder
from runs.execution.outcome import (
    ENDED_WHILE_AWAY,
    FOLDER_GONE,
    NEVER_STARTED,
    WATCHER_KILLED,
    Outcome,
    Reporter,
    Wish,
    lost,
    outcome_of,
)
from runs.execution.shim import KILL_LIMIT_S, LAUNCH_LOG, STD_LOG, boot_id
from runs.execution.tails import MAX_SCRIPT_LOGS, Tail, end_of, script_logs
from runs.execution.tracebacks import TAIL_BYTES

log = logging.getLogger(__name__)

WISH_S = 0.2  # how often the reporter is asked what is to be done
LOOK_S = 1.0  # how often new logs of the script are looked for
PORTIONS = 4  # of one log in a row, before everything else has its turn
FIRST_RETRY_S, LAST_RETRY_S = 0.1, 5.0
SHIM_EXIT_S = 2.0  # from ended.json to the shim's own end
DEFAULT_GRACE_S = 10.0

T = TypeVar("T")


class _LetGo(Exception):
    """The worker goes away; the run stays."""


NOT_OURS = (StaleAttempt, RunFinished, NotFound)
PASS_ON = (*NOT_OURS, _LetGo)


class Supervision:
    """One attempt of a run, from whatever state its folder is in to the report of its end.

    Give `run` a thread. The reporter is called from that thread alone; whatever it raises is tried again with
    growing pauses, except that the run is no longer ours (`NOT_OURS`), which ends its processes.
    """

    def __init__(
        self, folder: RunFolder, reporter: Reporter, *, log_cap_bytes: int, poll_s: float = 0.05
    ) -> None:
        self.folder = folder
        self.reporter = reporter
        self.log_cap_bytes = log_cap_bytes
        self.poll_s = poll_s
        self._letting_go = threading.Event()
        self._launch: Facts = {}
        self._is_adoption = False
        self._tails = {
            STD_LOG: Tail(STD_LOG, folder.std_log, cap_bytes=log_cap_bytes),
            LAUNCH_LOG: Tail(LAUNCH_LOG, folder.launch_log, cap_bytes=log_cap_bytes),
        }
        self._refused: set[str] = set()
        self._said_started = False
        self._stopping_at: float | None = None
        self._ask_at = self._look_at = 0.0

    def let_go(self) -> None:
        """Make `run` return soon, and leave the run going for whoever supervises it next."""
        self._letting_go.set()

    def run(self) -> Outcome | None:
        """Supervise until the run has ended and that is reported; None when it was let go or is not ours."""
        try:
            ended = self._watch()
            outcome = self._insist(lambda: self._conclude(ended))
            self._insist(lambda: self.reporter.ended(outcome))
        except _LetGo:
            return None
        except NOT_OURS as refusal:
            self._abandon(str(refusal))
            return None
        launch.reap()
        return outcome

    # While it runs

    def _watch(self) -> Facts | None:
        """Until the shim has written down the end (that), or is dead without having done so (None)."""
        self._launch = self.folder.read_launch() or {}
        self._is_adoption = not self.folder.is_watched()
        retry_s, quiet_until = FIRST_RETRY_S, 0.0
        while True:
            busy = False
            try:
                watched = self.folder.is_watched()  # before ended.json, which the shim writes before it goes
                ended = self.folder.read_ended()
                if ended is not None or not watched:
                    return ended
                if time.monotonic() >= quiet_until:
                    busy, retry_s = self._tick(), FIRST_RETRY_S
            except PASS_ON:
                raise
            except Exception:
                self._warn(retry_s)
                quiet_until, retry_s = time.monotonic() + retry_s, min(2 * retry_s, LAST_RETRY_S)
            self._pause(0.0 if busy else self.poll_s)

    def _tick(self) -> bool:
        """Everything that is due now; whether there is more to do at once."""
        now = time.monotonic()
        if now >= self._ask_at:
            self._obey(self.reporter.wish(), now)
            self._ask_at = now + WISH_S
        self._say_started()
        self._find_script_logs(now)
        busy = False
        for tail in list(self._tails.values()):
            busy = self._ship(tail, PORTIONS) or busy
        return busy

    def _obey(self, wish: Wish, now: float) -> None:
        if wish is Wish.STOP and self._stopping_at is None:
            self.folder.request_stop()
            self._stopping_at = now
        if self._stopping_at is not None and now > self._stopping_at + self._patience_s():
            self._kill_shim()

    def _patience_s(self) -> float:
        """How long a shim in good health needs at most to end its run."""
        return float(self._launch.get("grace_s", DEFAULT_GRACE_S)) + KILL_LIMIT_S + SHIM_EXIT_S

    def _say_started(self) -> None:
        if not self._said_started and (state := self.folder.read_state()):
            self.reporter.started(int(state["pid"]))
            self._said_started = True

    def _find_script_logs(self, now: float) -> None:
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        since = float(self._launch.get("launched_at", 0.0))
        for name, path in script_logs(self.folder.script_logs, since=since):
            if len(self._tails) - 2 >= MAX_SCRIPT_LOGS:
                return
            if name not in self._tails and name not in self._refused:
                self._tails[name] = Tail(name, path, cap_bytes=self.log_cap_bytes, trim=False)

    def _ship(self, tail: Tail, portions: int, *, final: bool = False) -> bool:
        try:
            for _ in range(portions):
                if not tail.ship(self.reporter, time.monotonic(), final=final):
                    return False
        except InvalidInput as refusal:
            if tail.name in (STD_LOG, LAUNCH_LOG):
                raise
            self.folder.note(f"The log {tail.name} is not kept: {refusal}")
            self._refused.add(tail.name)
            del self._tails[tail.name]
            return False
        return True

    # When it has ended

    def _conclude(self, ended: Facts | None) -> Outcome:
        stop_requested = self.folder.stop_requested or self._stopping_at is not None
        outcome = None if ended else self._lose(stop_requested=stop_requested)
        self._insist(self._say_started)
        self._drain()
        if ended is not None:
            tail = end_of(self.folder.std_log, TAIL_BYTES)
            outcome = outcome_of(ended, stop_requested=stop_requested, log_tail=tail)
        assert outcome is not None
        self._await_shim()
        return outcome

    def _lose(self, *, stop_requested: bool) -> Outcome:
        """The shim is dead: kill what it left, and find words for that."""
        state = self.folder.read_state()
        same_boot = state is None or state["boot_id"] == boot_id()
        killed = self._kill_rest() if same_boot else ()
        never_started = False
        if not self.folder.path.exists():
            message = FOLDER_GONE
        elif not self._is_adoption or killed:
            message = WATCHER_KILLED
        else:
            never_started = state is None
            message = NEVER_STARTED if never_started else ENDED_WHILE_AWAY
        self.folder.note(message)
        return lost(message, stop_requested=stop_requested, killed=killed, never_started=never_started)

    def _kill_shim(self) -> None:
        """For one that does not do its work, stopped by a signal for example; its run is then lost."""
        state = self.folder.read_state()
        shim = processes.find(int(state["shim_pid"]), int(state["shim_started"])) if state else None
        if shim and processes.send(shim, signal.SIGKILL):
            self.folder.note(f"The process that watches this run did not stop it. SIGKILL to {shim}.")

    def _kill_rest(self) -> tuple[int, ...]:
        state = self.folder.read_state()
        script = (int(state["pid"]), int(state["started"])) if state else None
        folder = self.folder
        killed = processes.kill_until_none(
            lambda: processes.leftovers(
                folder.run_id, folder.attempt, script=script, outputs=folder.outputs_of_script
            )
        )
        if killed:
            folder.note(f"SIGKILL to {', '.join(map(str, killed))}.")
        return killed

    def _drain(self) -> None:
        """Hand over all that the logs hold; launch.log last, for it may say something about the others."""
        self._look_at = 0.0
        self._find_script_logs(time.monotonic())
        for tail in sorted(self._tails.values(), key=lambda tail: tail.name == LAUNCH_LOG):
            while self._insist(lambda tail=tail: self._ship(tail, 1, final=True)):  # type: ignore[misc]
                self._pause(0.0)

    def _await_shim(self) -> None:
        end = time.monotonic() + SHIM_EXIT_S
        while self.folder.is_watched() and time.monotonic() < end:
            self._pause(0.005)

    def _abandon(self, why: str) -> None:
        """End the processes of a run that is no longer ours, and report nothing."""
        log.warning("run %s, attempt %s: %s Ending it.", self.folder.run_id, self.folder.attempt, why)
        self.folder.note(f"{why} It is ended.")
        self.folder.request_stop()
        end = time.monotonic() + self._patience_s()
        while self.folder.is_watched() and time.monotonic() < end:
            if self._letting_go.wait(self.poll_s):
                return
        if self.folder.is_watched():
            self._kill_shim()
        self._kill_rest()
        launch.reap()

    # Both

    def _insist(self, call: Callable[[], T]) -> T:
        """Call until it works. The run has ended: what nobody keeps of it makes room on a full disk."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                return call()
            except PASS_ON:
                raise
            except Exception as error:
                if is_disk_full(error):
                    self.folder.make_room()
                self._warn(retry_s)
            self._pause(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)

    def _warn(self, retry_s: float) -> None:
        """In full for the first time, then in a line, so that an outage does not fill the worker's log."""
        first = retry_s == FIRST_RETRY_S
        log.warning("Run %s: trying again in %.1f s.", self.folder.run_id, retry_s, exc_info=first)

    def _pause(self, seconds: float) -> None:
        if self._letting_go.wait(seconds):
            raise _LetGo
