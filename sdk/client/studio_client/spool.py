"""Metrics on their way: kept on disk first, then sent in the background, each exactly once.

    sender = sender_for(api, run_id)
    sender.add("loss", 0.5)                         # kept when this returns, after some microseconds
    sender.log("curve", "list", {"": [1, 2, 3]})
    sender.flush(timeout=300)                       # waits until all is with the server

Nothing that goes wrong on the way stops a script: what cannot be sent waits, and a line on standard error
says so. What a process leaves when it is killed is sent by the next one of the same person on the machine,
by `studio sync`, or, if it belongs to a submitted run, by that run's node (`studio_client.hand_in`).
`studio_client.left_behind` does the first two.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from queue import Empty, SimpleQueue

from studio_client import left_behind
from studio_client.api import Api
from studio_client.background import Background
from studio_client.errors import StudioClientError
from studio_client.left_behind import Synced, send_left_behind, sync_all
from studio_client.sender import FLUSH_S, MetricSender, node_hands_in
from studio_client.sending import say
from studio_client.spool_folder import spool_folder

__all__ = ["MetricSender", "Synced", "pump", "send_left_behind", "sender_for", "spool_folder", "sync_all"]

#: Sending waits so long for more to send; what others left is looked for so often.
EVERY_S, SWEEP_S = 1.0, 30.0
#: How long the end of a process may wait for the server.
EXIT_PATIENCE_S = 60.0
#: What of it passes in silence.
_SILENCE_S = 1.0
logger = logging.getLogger("studio_client.spool")


def sender_for(api: Api, run_id: str) -> MetricSender:
    """The sender of this run in this process, one for all who log to it, so that order is kept."""
    return pump.sender_for(api, run_id)


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

    def flush_below(self, own: MetricSender) -> None:
        """Wait until what this process has logged to this run is sent, and to the runs that may descend from
        it; for all of them together as long as for one.
        """
        until = time.monotonic() + FLUSH_S
        known = [sender for sender in list(self._senders.values()) if sender is not own]
        for sender in [own, *(sender for sender in known if sender.may_be_below(own))]:
            sender.flush_until(until)

    def flush_all(self) -> None:
        """Before the process ends: send what waits, and what its own children have left."""
        begin = time.monotonic()
        end = begin + EXIT_PATIENCE_S
        said = threading.Timer(_SILENCE_S, self._say_what_waits, (end,))
        said.daemon = True
        try:
            if any(sender.waiting() for sender in list(self._senders.values())):
                with contextlib.suppress(RuntimeError):  # Python 3.12.0 and .1 begin no thread at their end
                    said.start()
            for sender in list(self._senders.values()):
                sender.flush_at_the_end(EXIT_PATIENCE_S, begin)
            for api in list(self._apis.values()):
                if time.monotonic() < end and not node_hands_in(api):
                    with contextlib.suppress(StudioClientError, OSError):
                        send_left_behind(api, until=end)
        except KeyboardInterrupt:
            say(f"not all metrics are sent; they are kept in {spool_folder()}, and `studio sync` sends them.")
        finally:
            said.cancel()

    def _say_what_waits(self, end: float) -> None:
        """Say what the end of this process waits for; what its node hands in, it does not wait for."""
        waiting: dict[str, int] = {}
        for sender in list(self._senders.values()):
            if not node_hands_in(sender.api):
                waiting[sender.api.url] = waiting.get(sender.api.url, 0) + sender.waiting()
        for url, count in waiting.items():
            if count:
                say(
                    f"{count:,} metrics wait for the server at {url}; waiting up to "
                    f"{max(0.0, end - time.monotonic()):.0f} s more. "
                    "Ctrl-C leaves them for `studio sync`."
                )

    def after_fork(self) -> None:
        """In the child: locks, thread and spools are the parent's."""
        self._begin_anew()
        left_behind.forget_parent()
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
