"""Signs of life of interactive runs: one request for many of them, and helpers where it takes several."""

from __future__ import annotations

import logging
import os
import time
from queue import Empty, SimpleQueue

from studio_client.api import Api
from studio_client.background import Background
from studio_client.errors import (
    Conflict,
    NoStudio,
    NotFound,
    NotSignedIn,
    Refused,
    ServerFailed,
    StudioClientError,
    WrongServer,
    is_away,
)
from studio_client.sending import say

EVERY_S = 8.0
#: How long the server may take for one; then it is the next run's turn.
ANSWER_S = 5.0
#: So many are on their way at the same time at most: some that hang delay nobody else's.
AT_ONCE = 4
#: The most runs that one request speaks for.
TOGETHER = 500
logger = logging.getLogger("studio_client.heartbeat")


class Heartbeat:
    """Beats for every run that was added, until it is removed or the server says that it has ended.

    Adding and removing wait for nothing, so they are safe in signal handlers.
    """

    def __init__(self, every_s: float = EVERY_S) -> None:
        self.every_s = every_s
        self._runs: dict[str, Api] = {}
        self._on_their_way: set[str] = set()  # a slow one is not asked for again before it is there
        self._told: set[tuple[str, str]] = set()  # a run and why it is refused
        self._one_by_one: set[Api] = set()  # their servers are too old to take several
        self._background = Background(self._beat_on, "studio-heartbeat")

    def add(self, api: Api, run_id: str) -> None:
        """From now on this process answers for the run."""
        from studio_client.spool import pump  # what another process left is sent, too

        pump.serve(api)
        self._runs[run_id] = api
        self._background.start()

    def remove(self, run_id: str) -> None:
        """The run has ended, or is no business of this process any more."""
        self._runs.pop(run_id, None)

    def _beat_on(self) -> None:
        pause_s = self.every_s
        while True:
            time.sleep(pause_s)
            begin = time.monotonic()
            try:
                self._beat_for_all()
            except Exception:  # whatever it was, the next signs of life go on
                logger.warning("signs of life could not be sent; trying again", exc_info=True)
            pause_s = max(self.every_s / 8, self.every_s - (time.monotonic() - begin))

    def _beat_for_all(self) -> None:
        due: SimpleQueue[tuple[Api, list[str]]] = SimpleQueue()
        by_api: dict[Api, list[str]] = {}
        for run_id, api in self._runs.copy().items():
            if run_id not in self._on_their_way:
                self._on_their_way.add(run_id)
                by_api.setdefault(api, []).append(run_id)
        for api, run_ids in by_api.items():
            together = 1 if api in self._one_by_one else TOGETHER
            for start in range(0, len(run_ids), together):
                due.put((api, run_ids[start : start + together]))
        helpers = [
            Background(lambda: self._beat_for(due), "studio-heartbeat-helper")
            for _ in range(min(AT_ONCE, due.qsize()) - 1)
        ]
        for helper in helpers:
            helper.start()
        self._beat_for(due)

    def _beat_for(self, due: SimpleQueue[tuple[Api, list[str]]]) -> None:
        while True:
            try:
                api, run_ids = due.get_nowait()
            except Empty:
                return
            try:
                self._beat_together(api, [run_id for run_id in run_ids if run_id in self._runs])
            except Exception:  # in a helper nobody else would catch it
                logger.warning("a sign of life could not be sent; trying again", exc_info=True)
            finally:
                self._on_their_way.difference_update(run_ids)

    def _beat_together(self, api: Api, run_ids: list[str]) -> None:
        if len(run_ids) > 1:
            try:
                for run_id in api.beat_all(run_ids, timeout_s=ANSWER_S):
                    logger.info("run %s needs no more signs of life: it has ended or is gone", run_id)
                    self.remove(run_id)
                return
            except StudioClientError as error:
                if _is_too_old(error):
                    self._one_by_one.add(api)
                elif not _is_of_one(error):
                    return self._missed(run_ids, error)
        for run_id in run_ids:
            self._beat(api, run_id)

    def _beat(self, api: Api, run_id: str) -> None:
        try:
            api.beat(run_id, timeout_s=ANSWER_S)
        except (Conflict, NotFound) as error:
            logger.info("run %s needs no more signs of life: %s", run_id, error.message)
            self.remove(run_id)
        except StudioClientError as error:
            self._missed([run_id], error)

    def _missed(self, run_ids: list[str], error: StudioClientError) -> None:
        if not isinstance(error, NotSignedIn):
            logger.debug("a sign of life of %s was lost: %s", ", ".join(run_ids), error.message)
            return
        for run_id in run_ids:
            if (run_id, str(error)) not in self._told:
                self._told.add((run_id, str(error)))
                say(f"run {run_id}: its signs of life are refused, so it will fail: {error}")


def _is_too_old(error: StudioClientError) -> bool:
    """Whether the server knows no request for several runs."""
    if isinstance(error, Refused):
        return error.code == "unknown_address"
    return isinstance(error, WrongServer) and not isinstance(error, NoStudio)


def _is_of_one(error: StudioClientError) -> bool:
    """Whether it may be one run that all are refused for, and not who asks or how the server is."""
    return (
        isinstance(error, Refused)
        and not isinstance(error, (NotSignedIn, ServerFailed))
        and not is_away(error)
    )


beats = Heartbeat()


def _start_anew() -> None:
    global beats
    beats = Heartbeat()


if hasattr(os, "register_at_fork"):  # the runs of a parent are not its child's business
    os.register_at_fork(after_in_child=_start_anew)
