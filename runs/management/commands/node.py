"""`manage.py node`: make this machine a node, a Celery worker that claims, launches and supervises runs."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import warnings
from argparse import ArgumentParser
from typing import IO, Any

from celery import bootsteps
from celery.apps.worker import Worker
from celery.beat import EmbeddedService
from celery.platforms import SecurityWarning
from celery.worker import state
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from runs import agent
from runs.embedded import CLAIM_NO_MORE
from runs.errors import StudioError
from runs.execution.locking import LockTaken, hold_lock
from runs.wake import node_queue, target_queue
from studio.addresses import address_of_this_studio
from studio.celery import app
from studio.secret_key import keep_secret_key

CLAIM_EVERY_S = 2.0
PR_SET_PDEATHSIG = 1


class BeatStep(bootsteps.StartStopStep):
    """Celery's beat in a thread of the worker: each node sweeps for itself, with no process more."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, **options: Any) -> None:
        self.service = EmbeddedService(app, thread=True, scheduler_cls="celery.beat:Scheduler")

    def start(self, worker: Any) -> None:
        """Start ticking."""
        self.service.start()

    def stop(self, worker: Any) -> None:
        """End with the worker; its own stop would sleep until the next tick is due."""
        self.service.service.stop(wait=False)

    terminate = stop


class AgentStep(bootsteps.StartStopStep):
    """The agent goes with the worker, and not with its connection: it works also while the broker is away.

    It lets go of the runs here and not in a signal handler. One that takes a lock may wait for ever: a parent
    that is killed sends several signals at once, and one handler then interrupts another that holds it.
    """

    requires = {"celery.worker.components:Pool"}

    def start(self, worker: Any) -> None:
        """Take up the runs; from now on a signal ends the worker in order."""
        _listen_for_the_end()
        node = agent.current()
        if node is not None:
            node.start()

    def stop(self, worker: Any) -> None:
        """The runs go on by themselves."""
        node = agent.current()
        if node is not None:
            node.stop()

    terminate = stop


class Command(BaseCommand):
    """Serve compute targets with this machine until told to stop; runs survive that."""

    help = "Serve compute targets with this machine. Stopping it leaves its runs to the next start."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Each option has its variable; docs/operations.md has them in one table."""
        parser.add_argument("--name", default=settings.NODE_NAME, help="what pages call this machine")
        parser.add_argument(
            "--targets", default=",".join(settings.NODE_TARGETS), help="comma-separated, made if new"
        )
        parser.add_argument("--slots", type=int, default=settings.NODE_SLOTS, help="runs at a time")
        parser.add_argument("--parent", type=int, default=0, help="stop when the process of this id is gone")

    def handle(self, *args: Any, **options: Any) -> None:
        """Blocks until SIGTERM or SIGINT."""
        if options["slots"] < 1:
            raise CommandError("--slots has to be at least 1.")
        _die_with(options["parent"])
        targets = [word.strip() for word in options["targets"].split(",") if word.strip()]
        with _lock_work_folder():
            try:
                node = agent.Agent(options["name"], targets, options["slots"], settings.WORK_DIR)
            except StudioError as error:
                raise CommandError(str(error)) from None
            except DatabaseError as error:
                raise CommandError(f"The database cannot be used: {' '.join(str(error).split())}") from None
            if not options["parent"]:
                self._say_what_it_does(node)
            agent.set_current(node)
            signal.signal(CLAIM_NO_MORE, lambda *_: node.claim_no_more())
            _serve(node)

    def _say_what_it_does(self, node: agent.Agent) -> None:
        address = address_of_this_studio()
        targets = ", ".join(served.target.name for served in node.nodes)
        slots = f"{node.slots} slot{'' if node.slots == 1 else 's'}"
        self.stdout.write(f"{node.name}: {slots} for {targets}. Scripts reach Studio at {address}.")
        if not settings.PUBLIC_URL:
            self.stdout.write(
                "STUDIO_URL is not set. If the pages are elsewhere, as seen from this machine, set it."
            )
        self.stdout.flush()


def _lock_work_folder() -> IO[str]:
    try:
        keep_secret_key()
        settings.WORK_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        return hold_lock(settings.WORK_DIR / "node.lock")
    except LockTaken as error:
        raise CommandError(
            f"Another node uses {settings.WORK_DIR} (process {error.holder}). A second one on this machine "
            "needs a folder and a name of its own: set STUDIO_WORK and STUDIO_NODE."
        ) from None
    except OSError as error:
        folder = error.filename or settings.WORK_DIR
        raise CommandError(f"The work folder {folder} cannot be used: {error.strerror}.") from None


def _serve(node: agent.Agent) -> None:
    mine = node_queue(node.name)
    to_me = {"queue": mine, "expires": 10}
    app.conf.beat_schedule = {
        "claim": {"task": "runs.wake", "schedule": CLAIM_EVERY_S, "options": to_me},
        "sweep": {"task": "runs.sweep", "schedule": agent.SWEEP_EVERY_S, "options": to_me},
    }
    app.steps["worker"].update({AgentStep, BeatStep})
    # As root, scripts run as root too: docs/operations.md says so, and Celery need not at every start.
    warnings.simplefilter("ignore", SecurityWarning)
    queues = [mine, *(target_queue(served.target_id) for served in node.nodes)]
    worker = Worker(
        app=app,
        hostname=f"studio@{node.name}",
        queues=",".join(queues),
        pool="threads",
        concurrency=2,
        loglevel=logging.WARNING,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        optimization="fair",
    )
    worker.start()
    sys.exit(worker.exitcode or 0)


def _listen_for_the_end() -> None:
    """As Celery's handlers for a warm shutdown, without what those print."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(state, "should_stop", os.EX_OK))


def _die_with(parent: int) -> None:
    """Get SIGTERM when the parent process is gone, so that no node is left behind unseen."""
    if not parent:
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise CommandError("The process that started this node is gone.")
