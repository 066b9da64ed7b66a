"""The agent of one node: it claims, launches and supervises runs, inside the Celery worker's process.

Here the services (database) and the execution (processes) are joined.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection, connections

from runs.errors import Conflict, NotFound, StudioError
from runs.execution import launch
from runs.execution.folder import RunFolder, run_folders
from runs.execution.shim import write_whole
from runs.execution.supervise import Supervision
from runs.models import Node, Run
from runs.models.compute import NODE_ALIVE_FOR
from runs.reporter import RunReporter, State, give_back_unlaunched
from runs.script_environment import SDK, run_environment
from runs.services import nodes, sweeps
from runs.services.artifacts import place_inputs
from runs.services.snapshots import unpack
from runs.services.sweeps import now_with_sleep
from runs.services.unused_snapshots import delete_unused
from runs.status import ErrorClass
from studio.database import take_to_disk

logger = logging.getLogger("studio.agent")

TICK_S = 0.25
BEAT_S = 5.0
SWEEP_EVERY_S = 5.0
#: What nobody needs is deleted so often.
TIDY_EVERY_S = 3_600.0
#: Without a call to sweep for so long, as while the broker is away, the node sweeps unasked.
SWEEP_UNASKED_AFTER_S = 3 * SWEEP_EVERY_S


def _argv(run: Run) -> list[str]:
    if run.command_words:
        return launch.command_line(run.command_words, sys.executable)
    return launch.command_for(run.script, run.arguments, sys.executable)


def instance_of(work: Path) -> str:
    """The id of a work folder, made with it: whoever serves out of it is the same node as before."""
    work.mkdir(parents=True, exist_ok=True)
    file = work / "node.id"
    if not file.exists():
        write_whole(str(file), str(uuid.uuid4()).encode())
    return file.read_text()


class Agent:
    """One machine's part: `start` takes up what it was doing and looks for more, `stop` lets everything go.

    Making it registers the machine. Raises Conflict while another one serves under this name, and other
    StudioErrors for targets that cannot be.
    """

    def __init__(self, name: str, targets: list[str], slots: int, work: Path) -> None:
        self.name, self.targets, self.slots, self.work = name, targets, slots, work
        self._instance = instance_of(work)
        self.nodes: list[Node] = nodes.register(name, targets, slots, self._instance)
        self._claiming = threading.Lock()
        self._lock = threading.Lock()
        self._preparing: set[tuple[int, int]] = set()  # by run and attempt, like what is supervised
        self._supervised: dict[tuple[int, int], Supervision] = {}
        self._threads: list[threading.Thread] = []
        self._states: dict[int, State] = {}
        self._watching_since = self._beat_at = now_with_sleep()
        self._sweeping = threading.Lock()
        self._swept_at = self._tidies_at = time.monotonic()
        self._ready = threading.Event()
        self._claims_no_more = False  # no Event: a signal handler sets it, and must not need a lock
        self._stopping = threading.Event()

    def start(self) -> None:
        """Take up the runs of before, then look for new ones, as soon as the database answers."""
        self._spawn("ticker", self._tick_until_stopped)

    def claim_no_more(self) -> None:
        """Leave what waits to others or to a later start, and go on with what is here."""
        self._claims_no_more = True

    def stop(self) -> None:
        """Let go of everything within two seconds; the runs go on by themselves."""
        self._stopping.set()
        for supervision in list(self._supervised.values()):
            supervision.let_go()
        until = time.monotonic() + 2
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(timeout=max(0.0, until - time.monotonic()))

    def claim(self) -> None:
        """Claim what waits, while there are free slots, and launch each in a thread of its own."""
        if self._stopping.is_set() or self._claims_no_more or not self._ready.is_set():
            return
        with self._claiming:
            claimed = nodes.claim(self.nodes, self.slots)
            with self._lock:
                self._preparing.update((run.pk, run.attempt) for run in claimed)
        for run in claimed:
            if not self._spawn(f"run-{run.pk}", functools.partial(self._launch, run)):
                with self._lock:
                    self._preparing.discard((run.pk, run.attempt))  # so that it is missed, and given back

    def _launch(self, run: Run) -> None:
        folder = RunFolder(self.work, run.run_id, run.attempt)
        key = (run.pk, run.attempt)
        try:
            supervision = self._watch(run, folder) if self._is_launched(run, folder) else None
        finally:
            with self._lock:
                self._preparing.discard(key)
        if supervision is not None:
            self._supervise_until_ended(key, folder, supervision)

    def _is_launched(self, run: Run, folder: RunFolder) -> bool:
        """Launch it, or say in the database why that is impossible."""
        try:
            self._prepare(run, folder)
        except DatabaseError:
            logger.warning("the database failed while run %s was prepared", run.run_id, exc_info=True)
            connection.close_if_unusable_or_obsolete()
            nodes.give_back(run, f"the database did not answer while it was prepared on {self.name}")
        except (StudioError, OSError) as error:
            logger.warning("run %s could not be launched", run.run_id, exc_info=True)
            reason = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
            nodes.end_failed(run, ErrorClass.LAUNCH, f"It could not be prepared on {self.name}: {reason}")
        except Exception:
            # A storage may raise what it likes; the run fails instead of being claimed again for ever.
            logger.exception("run %s could not be launched", run.run_id)
            nodes.end_failed(run, ErrorClass.LAUNCH, f"It could not be prepared on {self.name}.")
        else:
            return True
        _remove(folder)
        return False

    def _prepare(self, run: Run, folder: RunFolder) -> None:
        folder.create()
        if run.snapshot is None:
            raise NotFound("The run has no snapshot.")
        is_unwanted = functools.partial(self._is_unwanted, run)
        unpack(run.snapshot, folder.code, should_stop=is_unwanted)
        place_inputs(run, folder.code, should_stop=is_unwanted)
        folder.create_kept()
        environment = launch.build_env(
            os.environ,
            run_env=run_environment(run, folder),
            user_env=run.environment_variables,
            python_path=SDK,
        )
        spec = launch.LaunchSpec(
            run_id=run.run_id,
            attempt=run.attempt,
            argv=_argv(run),
            env=environment,
            grace_s=run.grace_s,
            time_limit_s=run.time_limit_s,
        )
        if nodes.starting(run):
            take_to_disk()  # it would be started a second time if that were undone
            launch.start(folder, spec)
        else:  # canceled meanwhile: supervision finds the wish and an attempt that never started
            folder.request_stop()
            launch.start(folder, spec)

    def _is_unwanted(self, run: Run) -> bool:
        """Whether it was canceled or given up by the last look, after which this attempt never starts."""
        state = self._states.get(run.pk)
        if state is None or state.attempt < run.attempt:  # a look from before this attempt
            return False
        return state.attempt > run.attempt or state.status not in nodes.UNSTARTED

    def _take_up_all(self) -> None:
        """What this machine was doing when it was last seen, and folders that nobody looks after."""
        with self._claiming:
            mine = nodes.supervised(self.name)
            nodes.beat(self.nodes, [(run.pk, run.attempt) for run in mine])
            for run in mine:
                self._take_up(run)
            left = [folder for folder in run_folders(self.work) if self._is_left_over(folder)]
        self._ready.set()
        self._spawn("cleaner", functools.partial(_remove, *left))
        self.claim()

    def _take_up(self, run: Run) -> None:
        if (run.pk, run.attempt) in self._supervised:
            return
        folder = RunFolder(self.work, run.run_id, run.attempt)
        if not folder.launch_file.exists() and give_back_unlaunched(run, folder):
            self._spawn("cleaner", functools.partial(_remove, folder))  # may take long, and others wait here
            return
        self._supervise(run, folder)

    def _is_left_over(self, folder: RunFolder) -> bool:
        """Whether nobody needs the folder. One with a process, or with a run that is ours, is supervised.

        This machine may have had another name, or the attempt be an older one.
        """
        run = Run.objects.filter(run_id=folder.run_id).first()
        if run is None:
            return True
        if (run.pk, folder.attempt) in self._supervised:
            return False
        is_current = run.attempt == folder.attempt and folder.launch_file.exists()
        is_ours = is_current and nodes.adopt(run, self.nodes, has_process=folder.is_of_this_boot())
        if not is_ours and not folder.is_watched():
            return True
        run.attempt = folder.attempt
        self._supervise(run, folder)
        return False

    def _take_up_missed(self) -> None:
        """Runs of this node that an error left without supervision."""
        with self._claiming:  # a claim is in the database before it is in _preparing
            before = self._in_hand()
            missed = nodes.attempts_on(self.name) - before - self._in_hand()
            for run in nodes.supervised(self.name) if missed else ():
                if (run.pk, run.attempt) in missed:
                    self._take_up(run)

    def _in_hand(self) -> set[tuple[int, int]]:
        """The runs and attempts that are prepared or supervised right now."""
        with self._lock:
            return set(self._supervised) | self._preparing

    def _watch(self, run: Run, folder: RunFolder) -> Supervision:
        reporter = RunReporter(run, folder, self.name, lambda: self._states.get(run.pk))
        supervision = Supervision(folder, reporter, log_cap_bytes=settings.LOG_CAP_BYTES)
        with self._lock:
            self._supervised[run.pk, folder.attempt] = supervision
        if self._stopping.is_set():  # `stop` may not have seen it
            supervision.let_go()
        return supervision

    def _supervise(self, run: Run, folder: RunFolder) -> None:
        supervision = self._watch(run, folder)
        key = (run.pk, folder.attempt)
        if not self._spawn(f"run-{run.pk}", lambda: self._supervise_until_ended(key, folder, supervision)):
            with self._lock:
                self._supervised.pop(key, None)

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

    def _spawn(self, name: str, work: Callable[[], object]) -> bool:
        """Work in a thread; False when the system gives none."""

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
        try:
            thread.start()
        except RuntimeError:
            logger.error("no thread could be started for %s; trying again", name)
            with self._lock:
                self._threads.remove(thread)
            return False
        return True

    def _tick_until_stopped(self) -> None:
        beat_at, fails = 0.0, False
        while not self._stopping.is_set():
            try:
                if not self._ready.is_set():
                    self._take_up_all()
                self._look()
                if time.monotonic() >= beat_at:
                    self.beat()
                    self._take_up_missed()
                    self.claim()  # also while the broker is away, which carries all other calls to claim
                    if time.monotonic() - self._swept_at > SWEEP_UNASKED_AFTER_S:
                        self._spawn("sweeper", self.sweep)
                    beat_at = time.monotonic() + BEAT_S
                fails = False
            except Exception:  # whatever it was, signs of life and wishes of all other runs go on
                logger.warning("a look at the database failed; trying again", exc_info=not fails)
                fails = True
                close_old_connections()
                self._stopping.wait(1)
            self._stopping.wait(TICK_S)

    def beat(self) -> bool:
        """A sign of life of this node and its runs; False while it has not taken up those of before."""
        if not self._ready.is_set():
            return False
        begin = now_with_sleep()
        if not nodes.beat(self.nodes, self._in_hand()):
            self._register_again()
        end = now_with_sleep()  # a database may also hang instead of refusing
        if end - min(begin, self._beat_at) > NODE_ALIVE_FOR.total_seconds():
            self._watching_since = end
        self._beat_at = end
        return True

    def sweep(self) -> None:
        """Set right what is due, here and elsewhere, unless that is being done by this node already.

        Its own sign of life comes first: after a pause of the whole machine its runs are not lost, only late.
        """
        if not self._sweeping.acquire(blocking=False):
            return
        try:
            if self.beat():
                self._swept_at = time.monotonic()
                if not sweeps.sweep(self.watching_for):
                    self._watching_since = now_with_sleep()
                self._tidy()
        finally:
            self._sweeping.release()

    def _tidy(self) -> None:
        """Delete what nobody needs, once in a while."""
        now = time.monotonic()
        if now >= self._tidies_at:
            self._tidies_at = now + TIDY_EVERY_S
            delete_unused()

    @property
    def watching_for(self) -> timedelta:
        """How long this node has been in touch with the database without a break."""
        return timedelta(seconds=now_with_sleep() - self._watching_since)

    def _register_again(self) -> None:
        """For a node that was forgotten while it was away, or whose name another machine took meanwhile."""
        try:
            self.nodes = nodes.register(self.name, self.targets, self.slots, self._instance)
        except StudioError as error:
            logger.error("this node stops: %s", error)
            os.kill(os.getpid(), signal.SIGTERM)

    def _look(self) -> None:
        """One query for the wishes of all runs that are prepared or supervised here."""
        pks = {pk for pk, _ in self._in_hand()}
        if not pks:
            return
        rows = Run.objects.filter(pk__in=pks).values_list("pk", "status", "attempt")
        self._states = {pk: State(status, attempt) for pk, status, attempt in rows}


def _remove(*folders: RunFolder) -> None:
    """Delete what attempts left; what cannot be deleted now is tried again at the next start."""
    for folder in folders:
        try:
            take_to_disk()  # without the folder nobody would know that the run has ended
            folder.remove()
            if folder.set_aside_spool.exists():
                logger.warning("metrics that could not be stored are kept in %s", folder.set_aside_spool)
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
