"""Metrics on their way: kept on disk first, then sent in the background, each exactly once.

    sender = sender_for(api, run_id)
    sender.add("loss", 0.5)                         # kept when this returns, after some microseconds
    sender.log("curve", "list", {"": [1, 2, 3]})
    sender.flush(timeout=300)                       # waits until all is with the server

Nothing that goes wrong on the way stops a script: what cannot be sent waits, and a line on standard error
says so. What a process leaves when it is killed is sent by the next one of the same person on the machine,
by `studio sync`, or, if it belongs to a submitted run, by that run's node (`studio_client.hand_in`).
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue

from studio_client import config
from studio_client.api import Api, connect
from studio_client.background import Background
from studio_client.errors import ConfigError, NotFound, Refused, StudioClientError
from studio_client.sender import MetricSender, say, send_next
from studio_client.spool_folder import STATE, Spool, left_behind, spool_folder

__all__ = ["MetricSender", "Synced", "pump", "send_left_behind", "sender_for", "spool_folder", "sync_all"]

#: Sending waits so long for more to send; what others left is looked for so often.
EVERY_S, SWEEP_S = 1.0, 30.0
#: How long the end of a process may wait for the server.
EXIT_PATIENCE_S = 60.0
#: What was left behind for a run that is gone is deleted after this.
KEPT_S = 30 * 86_400.0
logger = logging.getLogger("studio_client.spool")


def sender_for(api: Api, run_id: str) -> MetricSender:
    """The sender of this run in this process, one for all who log to it, so that order is kept."""
    return pump.sender_for(api, run_id)


def send_left_behind(api: Api, *, patience_s: float = 0.0) -> int:
    """Send what processes that are gone have left for this server; how many entries that were.

    Raises Unreachable. What is refused stays.
    """
    return sum(one.entries for one in _synced(api, patience_s))


class Synced:
    """What became of one spool: so many entries were sent; `problem` says why others were not."""

    __slots__ = ("entries", "problem", "run_id", "url")

    def __init__(self, run_id: str, url: str, entries: int, problem: str = "") -> None:
        self.run_id, self.url = run_id, url
        self.entries, self.problem = entries, problem

    def __repr__(self) -> str:
        return f"Synced({self.run_id!r}, {self.url!r}, {self.entries}, {self.problem!r})"


def sync_all(url: str = "", *, patience_s: float = 10.0) -> list[Synced]:
    """Send what processes that are gone have left on this machine, for one server or for all of them.

    A result for each spool; nothing is raised.
    """
    results = []
    for server in dict.fromkeys(str(state.get("url", "")) for _, state in left_behind()):
        if url and server != url.rstrip("/"):
            continue
        try:
            results += _synced(_connection(server), patience_s)
        except StudioClientError as error:
            results += [Synced(run_id, server, 0, str(error)) for run_id in _waiting(server)]
    return results


def _waiting(server: str) -> list[str]:
    """The runs of the spools for this server that no living process has."""
    found = []
    for folder, state in left_behind():
        if str(state.get("url", "")) == server:
            try:
                spool = Spool.take(folder)
            except ValueError:
                found.append(str(state.get("run_id", "")))
                continue
            if spool is not None:
                spool.close()
                found.append(spool.run_id)
    return found


def _connection(server: str) -> Api:
    """As whom one is signed in there. A token of the environment goes to its own server only."""
    with contextlib.suppress(ConfigError):
        if config.resolve().url == server:
            return connect()
    if os.environ.get("STUDIO_TOKEN"):
        raise ConfigError(f"STUDIO_TOKEN is not for {server}.", hint="Unset it, or set STUDIO_URL, too.")
    return connect(server)


def _synced(api: Api, patience_s: float) -> list[Synced]:
    results = []
    for folder, state in left_behind():
        if state.get("url") != api.url:
            continue
        run_id, problem = str(state.get("run_id")), ""
        spool = None
        try:
            spool = Spool.take(folder)
            if spool is None:
                continue
            while send_next(api, spool, patience_s=patience_s):
                pass
        except (Refused, ValueError, KeyError, OSError) as error:
            problem = str(error)
            logger.debug("the metrics that were left of run %s wait: %s", run_id, problem)
            if isinstance(error, (NotFound, ValueError)):
                _delete_if_old(folder)
        finally:
            if spool is not None and (problem or spool.waiting):
                spool.close()
            elif spool is not None:
                spool.delete()
        results.append(Synced(run_id, api.url, spool.sent if spool else 0, problem))
    return results


def _delete_if_old(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if time.time() - (folder / STATE).stat().st_mtime > KEPT_S:
            shutil.rmtree(folder)


class Pump:
    """The thread that sends for all senders of this process, and what was left behind."""

    def __init__(self) -> None:
        self._senders: dict[tuple[str, str], MetricSender] = {}
        self._apis: dict[str, Api] = {}
        self._idle: dict[tuple[str, str], int] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()
        # a call of `wake`: whether at once. A signal handler may put one in while another is being put in
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._some_wait = False
        self._background = Background(self._run, "studio-metrics")
        self._next_sweep = 0.0
        self._exits_through_pool = False

    def sender_for(self, api: Api, run_id: str) -> MetricSender:
        """The one sender of this run."""
        key = (api.url, run_id)
        found = self._senders.get(key)
        if found is None:
            with self._lock:
                self._apis.setdefault(api.url, api)
                found = self._senders.setdefault(key, MetricSender(api, run_id, self.wake))
        return found

    def serve(self, api: Api) -> None:
        """Send what others have left for this server, now and then."""
        with self._lock:
            self._apis.setdefault(api.url, api)
        self._start()

    def wake(self, at_once: bool) -> None:
        """There is something to send; `at_once` if it should not wait for more."""
        if at_once or self._calls.empty():
            self._calls.put(at_once)
        self._start()

    def _start(self) -> None:
        self._flush_at_the_end_of_pool_workers()
        self._background.start()

    def _run(self) -> None:
        while True:
            try:
                self._turn()
            except Exception:  # whatever it was, the metrics of all other runs go on
                logger.warning("metrics could not be sent; trying again", exc_info=True)
                self._some_wait = True
                time.sleep(EVERY_S)

    def _turn(self) -> None:
        at_once = False if self._some_wait else self._next_call(self._next_sweep)
        if at_once is not None:
            self._wait_for_more(at_once)
            self._some_wait = False
            for sender in list(self._senders.values()):
                if not sender.send_in_background():
                    self._some_wait = True
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + SWEEP_S
            self._sweep()

    def _next_call(self, until: float) -> bool | None:
        """Whether somebody wants to have something sent at once; None if nobody calls."""
        try:
            return self._calls.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            return None

    def _wait_for_more(self, at_once: bool) -> None:
        """A second as a rule; then no call waits that came before."""
        until = time.monotonic() + (0.0 if at_once else EVERY_S)
        while (call := self._next_call(until)) is not None:
            until = 0.0 if call else until

    def _sweep(self) -> None:
        for key, sender in list(self._senders.items()):
            added = sender.added()
            if self._idle.get(key) == added:
                sender.tidy()
            self._idle[key] = added
        for api in list(self._apis.values()):
            try:
                send_left_behind(api)
            except StudioClientError as error:
                logger.debug("what was left behind waits: %s", error.message)
            except OSError as error:
                logger.debug("what was left behind cannot be read: %s", error)

    def flush_all(self) -> None:
        """Before the process ends: send what waits, and what its own children have left."""
        until = time.monotonic() + EXIT_PATIENCE_S
        try:
            for sender in list(self._senders.values()):
                sender.flush(max(0.0, until - time.monotonic()))
            if time.monotonic() < until:
                for api in list(self._apis.values()):
                    with contextlib.suppress(StudioClientError, OSError):
                        send_left_behind(api)
        except KeyboardInterrupt:
            say(f"not all metrics are sent; they are kept in {spool_folder()}, and `studio sync` sends them.")

    def after_fork(self) -> None:
        """In the child: locks, thread and spools are the parent's."""
        self._begin_anew()
        for sender in self._senders.values():
            sender.forget_parent()

    def _flush_at_the_end_of_pool_workers(self) -> None:
        """Processes of multiprocessing end without what `atexit` knows."""
        process = sys.modules.get("multiprocessing.process")
        if self._exits_through_pool or process is None or process.parent_process() is None:
            return
        from multiprocessing import util

        util.Finalize(None, self.flush_all, exitpriority=0)
        self._exits_through_pool = True


pump = Pump()
atexit.register(pump.flush_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pump.after_fork)
