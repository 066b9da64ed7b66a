"""Signs of life of interactive runs: one thread for all of them, started with the first."""

from __future__ import annotations

import logging
import os
import threading

from studio_client.api import Api
from studio_client.errors import Conflict, NotFound, StudioClientError

EVERY_S = 8.0
logger = logging.getLogger("studio_client.heartbeat")


class Heartbeat:
    """Beats for every run that was added, until it is removed or the server says that it has ended."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self.every_s = every_s
        self._runs: dict[str, Api] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, api: Api, run_id: str) -> None:
        """From now on this process answers for the run."""
        from studio_client.spool import pump  # what another process left is sent, too

        pump.serve(api)
        with self._lock:
            self._runs[run_id] = api
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat_on, name="studio-heartbeat", daemon=True)
                self._thread.start()

    def remove(self, run_id: str) -> None:
        """The run has ended, or is no business of this process any more."""
        with self._lock:
            self._runs.pop(run_id, None)

    def _beat_on(self) -> None:
        while True:
            self._wake.wait(self.every_s)
            with self._lock:
                due = list(self._runs.items())
                if not due:
                    self._thread = None
                    return
            for run_id, api in due:
                self._beat(api, run_id)

    def _beat(self, api: Api, run_id: str) -> None:
        try:
            api.beat(run_id)
        except (Conflict, NotFound) as error:
            logger.info("run %s needs no more signs of life: %s", run_id, error.message)
            self.remove(run_id)
        except StudioClientError as error:
            logger.debug("a sign of life of run %s was lost: %s", run_id, error.message)


beats = Heartbeat()


def _start_anew() -> None:
    global beats
    beats = Heartbeat()


if hasattr(os, "register_at_fork"):  # the runs of a parent are not its child's business
    os.register_at_fork(after_in_child=_start_anew)
