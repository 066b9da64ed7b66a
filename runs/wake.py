"""Wake-up calls to the nodes of a compute target: a Celery message that says "something waits here".

The database is the truth, so a call that is lost costs a moment (the next sweep finds the run), never a run.
"""

from __future__ import annotations

import logging
import time

from kombu.exceptions import OperationalError

from studio.celery import app

#: Nodes look for queued runs every few seconds by themselves, so an older call is of no use to anybody.
EXPIRES_S = 30
#: For so long after a call that failed none is tried: each may take seconds, with a broker that hangs.
PAUSE_S = 5.0

logger = logging.getLogger("studio.wake")

_pause_until = 0.0


def target_queue(target_pk: int) -> str:
    """The queue that all nodes of a compute target listen to."""
    return f"target-{target_pk}"


def node_queue(name: str) -> str:
    """The queue of one node, for its own sweeps."""
    return f"node-{name}"


def wake(target_pk: int) -> None:
    """Tell one node of the target that a run waits. Never raises: a broker that is away only delays."""
    global _pause_until
    if time.monotonic() < _pause_until:
        return
    try:
        app.send_task(
            "runs.wake",
            queue=target_queue(target_pk),
            expires=EXPIRES_S,
            retry=False,
            ignore_result=True,
        )
    except (
        OperationalError,
        OSError,
        RuntimeError,
    ) as error:  # RuntimeError: closed pool
        _pause_until = time.monotonic() + PAUSE_S
        logger.warning("the broker took no wake-up call (%s); the next sweep will find the run", error)
