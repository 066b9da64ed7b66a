"""The agent of one node: it claims, launches and supervises runs, inside the Celery worker's process.

Here the services (database) and the execution (processes) are joined.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.core import signing
from django.db import DatabaseError, close_old_connections, connection, connections

from runs.errors import Conflict, NotFound, RunFinished, StaleAttempt, StudioError
from runs.execution import launch
from runs.execution.folder import RunFolder, run_folders
from runs.execution.outcome import NEVER_STARTED, Outcome, Wish
from runs.execution.supervise import Supervision
from runs.models import Node, Run
from runs.services import logs, nodes
from runs.services.artifacts import keep_outputs, place_inputs
from runs.services.snapshots import unpack
from runs.status import TERMINAL, ErrorClass, Status

T = TypeVar("T")

logger = logging.getLogger("studio.agent")

TICK_S = 0.25
BEAT_S = 5.0
NOTICED_WITHIN_S = 2.0
LAUNCH_LOG = "system_logs/launch.log"
TOKEN_SALT = "studio.run-token"  # noqa: S105 (names a use, is no secret)


def run_token(run: Run) -> str:
    """The token of one attempt: valid for this run only, while it is active and at this attempt."""
    return signing.dumps({"run": run.run_id, "attempt": run.attempt}, salt=TOKEN_SALT)


def run_environment(run: Run) -> dict[str, str]:
    """What a script is told of its run, under the names that Azure ML's SDK reads, and ours."""
    return {
        "AZUREML_RUN_ID": run.run_id,
        "AZUREML_RUN_TOKEN": run_token(run),
        "AZUREML_ARM_SUBSCRIPTION": run.workspace.subscription_id,
        "AZUREML_ARM_RESOURCEGROUP": run.workspace.resource_group,
        "AZUREML_ARM_WORKSPACE_NAME": run.workspace.name,
        "AZUREML_ARM_PROJECT_NAME": run.experiment.name,
        "AZUREML_EXPERIMENT_ID": str(run.experiment_id),
        "AZUREML_WORKSPACE_ID": str(run.workspace_id),
        "AZUREML_SERVICE_ENDPOINT": settings.STUDIO_URL,
        "STUDIO_URL": settings.STUDIO_URL,
    }


@dataclass
class _State:
    """What the last look at the database said of a run."""

    status: str
    attempt: int


def _mending(method: Callable[..., T]) -> Callable[..., T]:
    """Drop a connection that broke, so that supervision's next try gets a new one."""

    @functools.wraps(method)
    def call(*arguments: Any) -> T:
        try:
            return method(*arguments)
        except DatabaseError:
            connection.close_if_unusable_or_obsolete()
            raise

    return call


class _Reporter:
    """Supervision's reports about one attempt, written into the database."""

    def __init__(self, agent: Agent, run: Run, folder: RunFolder) -> None:
        self.agent, self.run, self.folder = agent, run, folder

    def wish(self) -> Wish:
        state = self.agent.state_of(self.run.pk)
        if state is None or state.attempt < self.run.attempt:  # a look from before this attempt
            return Wish.KEEP
        if state.attempt > self.run.attempt:
            raise StaleAttempt("Another attempt of this run has begun.")
        if state.status == Status.QUEUED:
            raise StaleAttempt("This attempt was given up, and the run waits for another.")
        if state.status in TERMINAL:
            raise RunFinished("This run has ended.")
        return Wish.STOP if state.status == Status.CANCEL_REQUESTED else Wish.KEEP

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
        if outcome.message == NEVER_STARTED and not self.folder.std_log.exists() and _give_back(self.run):
            return
        ago = self._ended_ago()
        nodes.finalizing(self.run, ago=ago)
        self._keep_files()
        if outcome.kind is None and not outcome.canceled:
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

    def _keep_files(self) -> None:
        try:
            kept = keep_outputs(self.run, self.folder.code)
        except OSError as error:
            notes = [f"outputs could not be kept: {error.strerror or error}"]
        else:
            notes = kept.notes
        size = logs.log_size(self.run, self.run.attempt, LAUNCH_LOG)
        if notes:
            text = "".join(f"{note}\n" for note in notes).encode()
            logs.append_log(self.run, self.run.attempt, LAUNCH_LOG, size, text)
        logs.roll_up(self.run, self.run.attempt)


def _give_back(run: Run) -> bool:
    return nodes.give_back(run, "Studio went away before it was started")


class Agent:
    """One machine's part: `start` registers it and takes up what it was doing, `stop` lets everything go."""

    def __init__(self, name: str, targets: list[str], slots: int, work: Path) -> None:
        self.name, self.slots, self.work = name, slots, work
        self.nodes: list[Node] = nodes.register(name, targets, slots)
        self._claiming = threading.Lock()
        self._lock = threading.Lock()
        self._preparing: set[int] = set()
        self._supervised: dict[tuple[int, int], Supervision] = {}  # by run and attempt
        self._threads: list[threading.Thread] = []
        self._states: dict[int, _State] = {}
        self._ready = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Take up the runs of before, then look for new ones, as soon as the database answers."""
        self.work.mkdir(parents=True, exist_ok=True)
        self._spawn("ticker", self._tick_until_stopped)

    def stop(self) -> None:
        """Let go of everything within two seconds; the runs go on by themselves."""
        self._stopping.set()
        for supervision in list(self._supervised.values()):
            supervision.let_go()
        until = time.monotonic() + 2
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(timeout=max(0.0, until - time.monotonic()))

    def state_of(self, pk: int) -> _State | None:
        """What the last tick saw of a run; None when no tick has seen it yet."""
        return self._states.get(pk)

    def claim(self) -> None:
        """Claim what waits and launch it, while there are free slots."""
        if self._stopping.is_set() or not self._ready.is_set():
            return
        with self._claiming:
            claimed = nodes.claim(self.nodes, self.slots)
            self._preparing.update(run.pk for run in claimed)  # their sign of life until they are supervised
            for run in claimed:
                self._launch(run)

    def _launch(self, run: Run) -> None:
        folder = RunFolder(self.work, run.run_id, run.attempt)
        try:
            self._prepare(run, folder)
        except DatabaseError:
            logger.warning("the database failed while run %s was prepared", run.run_id, exc_info=True)
            connection.close_if_unusable_or_obsolete()
            nodes.give_back(run, f"the database did not answer while it was prepared on {self.name}")
            _remove(folder)
            return
        except (StudioError, OSError) as error:
            logger.warning("run %s could not be launched", run.run_id, exc_info=True)
            reason = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
            nodes.end_failed(run, ErrorClass.LAUNCH, f"It could not be prepared on {self.name}: {reason}")
            _remove(folder)
            return
        except Exception:
            # A storage may raise what it likes; the run fails instead of being claimed again for ever.
            logger.exception("run %s could not be launched", run.run_id)
            nodes.end_failed(run, ErrorClass.LAUNCH, f"It could not be prepared on {self.name}.")
            _remove(folder)
            return
        finally:
            self._preparing.discard(run.pk)
        self._supervise(run, folder)

    def _prepare(self, run: Run, folder: RunFolder) -> None:
        folder.create()
        if run.snapshot is None:
            raise NotFound("The run has no snapshot.")
        unpack(run.snapshot, folder.code)
        place_inputs(run, folder.code)
        environment = launch.build_env(
            os.environ, run_env=run_environment(run), user_env=run.environment_variables
        )
        spec = launch.LaunchSpec(
            run_id=run.run_id,
            attempt=run.attempt,
            argv=launch.command_for(run.script, run.arguments, sys.executable),
            env=environment,
            grace_s=run.grace_s,
            time_limit_s=run.time_limit_s,
        )
        if nodes.starting(run):
            launch.start(folder, spec)
        else:  # canceled meanwhile: supervision finds the wish and an attempt that never started
            folder.request_stop()
            launch.start(folder, spec)

    def _take_up_all(self) -> None:
        """What this machine was doing when it was last seen, and folders that nobody looks after."""
        with self._claiming:
            mine = nodes.supervised(self.name)
            nodes.beat(self.nodes, [run.pk for run in mine])
            for run in mine:
                self._take_up(run)
            for folder in list(run_folders(self.work)):
                self._take_up_folder(folder)
        self._ready.set()
        self.claim()

    def _take_up(self, run: Run) -> None:
        if (run.pk, run.attempt) in self._supervised:
            return
        folder = RunFolder(self.work, run.run_id, run.attempt)
        if not folder.launch_file.exists() and _give_back(run):
            return
        self._supervise(run, folder)

    def _take_up_folder(self, folder: RunFolder) -> None:
        """Supervise a process whose run this node does not know as its own, or remove what it left."""
        run = Run.objects.filter(run_id=folder.run_id).first()
        if run is not None and (run.pk, folder.attempt) in self._supervised:
            return
        if run is not None and run.attempt == folder.attempt and folder.launch_file.exists():
            adopted = nodes.adopt(run, self.nodes)  # this machine had another name, perhaps
        else:
            adopted = False
        if run is None or not (adopted or folder.is_watched()):
            _remove(folder)
            return
        run.attempt = folder.attempt
        self._supervise(run, folder)

    def _take_up_missed(self) -> None:
        """Runs of this node that an error left without supervision."""
        if not self._claiming.acquire(blocking=False):
            return  # what is being launched right now is not missed
        try:
            before = set(self._supervised)
            for run in nodes.supervised(self.name):
                if (run.pk, run.attempt) not in before | set(self._supervised):
                    self._take_up(run)
        finally:
            self._claiming.release()

    def _supervise(self, run: Run, folder: RunFolder) -> None:
        supervision = Supervision(folder, _Reporter(self, run, folder), log_cap_bytes=settings.LOG_CAP_BYTES)
        key = (run.pk, folder.attempt)
        with self._lock:
            self._supervised[key] = supervision
        self._spawn(f"run-{run.pk}", lambda: self._supervise_until_ended(key, folder, supervision))

    def _supervise_until_ended(
        self, key: tuple[int, int], folder: RunFolder, supervision: Supervision
    ) -> None:
        try:
            supervision.run()
        finally:
            with self._lock:
                self._supervised.pop(key, None)
        if self._stopping.is_set():
            return
        _remove(folder)
        launch.reap()
        self.claim()

    def _spawn(self, name: str, work: Callable[[], None]) -> None:
        def body() -> None:
            try:
                work()
            except Exception:
                logger.exception("%s ended unexpectedly", name)
            finally:
                connections.close_all()
                with self._lock:
                    self._threads.remove(thread)

        thread = threading.Thread(target=body, name=name, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _tick_until_stopped(self) -> None:
        beat_at = 0.0
        while not self._stopping.is_set():
            try:
                if not self._ready.is_set():
                    self._take_up_all()
                self._look()
                if time.monotonic() >= beat_at:
                    self.beat()
                    self._take_up_missed()
                    beat_at = time.monotonic() + BEAT_S
            except Exception:  # whatever it was, signs of life and wishes of all other runs go on
                logger.warning("a look at the database failed; trying again", exc_info=True)
                close_old_connections()
                self._stopping.wait(1)
            self._stopping.wait(TICK_S)

    def beat(self) -> bool:
        """A sign of life of this node and its runs; False while it has not taken up those of before."""
        if not self._ready.is_set():
            return False
        nodes.beat(self.nodes, {pk for pk, _ in list(self._supervised)} | self._preparing.copy())
        return True

    def _look(self) -> None:
        """One query for the wishes of all runs that are supervised here."""
        pks = {pk for pk, _ in list(self._supervised)}
        if not pks:
            return
        rows = Run.objects.filter(pk__in=pks).values_list("pk", "status", "attempt")
        self._states = {pk: _State(status, attempt) for pk, status, attempt in rows}


def _remove(folder: RunFolder) -> None:
    """Delete what an attempt left; what cannot be deleted now is tried again at the next start."""
    try:
        folder.remove()
    except (Conflict, OSError) as error:
        logger.warning("the folder %s could not be removed: %s", folder.path, error)


_current: Agent | None = None


def set_current(agent: Agent | None) -> None:
    """Make this the agent of the process, which its Celery tasks work for."""
    global _current
    _current = agent


def current() -> Agent | None:
    """The agent of this process; None outside a node's worker."""
    return _current
