"""Celery tasks: wake-up calls and sweeps. None lasts longer than a moment, and losing one costs a moment."""

from __future__ import annotations

from runs import agent
from runs.services import sweeps
from studio.celery import app


@app.task(name="runs.wake", ignore_result=True)
def wake() -> None:
    """Something waits for a target that this node serves, or may do so: claim it."""
    node = agent.current()
    if node is not None:
        node.claim()


@app.task(name="runs.sweep", ignore_result=True)
def sweep() -> None:
    """Set right runs without a sign of life and pipelines that were interrupted.

    This node's own sign comes first: after a pause of the whole machine its runs are not lost, only late.
    """
    node = agent.current()
    if node is None or node.beat():
        sweeps.sweep()
