"""Celery tasks: wake-up calls and sweeps. None lasts longer than a moment, and losing one costs a moment."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

from django.db import OperationalError

from runs import agent
from studio.celery import app

logger = logging.getLogger("studio.tasks")


def later_is_fine(task: Callable[[], None]) -> Callable[[], None]:
    """A database that is away is a line in the log, every two seconds, and no traceback."""

    @functools.wraps(task)
    def call() -> None:
        try:
            task()
        except OperationalError as error:
            logger.warning("the database failed, and is asked again soon: %s", str(error).strip())

    return call


@app.task(name="runs.wake", ignore_result=True)
@later_is_fine
def wake() -> None:
    """Something waits for a target that this node serves, or may do so: claim it."""
    node = agent.current()
    if node is not None:
        node.claim()


@app.task(name="runs.sweep", ignore_result=True)
@later_is_fine
def sweep() -> None:
    """Set right runs without a sign of life and pipelines that were interrupted."""
    node = agent.current()
    if node is not None:
        node.sweep()
