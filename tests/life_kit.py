"""What has to be true of any run's life, and calls that happen at the same time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection

from runs.models import Run
from runs.status import FOLLOWS, TERMINAL, Status


def assert_sound(run: Run) -> None:
    """Its events count from 1 without gaps, each begins where the last ended, and nothing follows an end."""
    fresh = Run.objects.get(pk=run.pk)
    events = list(fresh.events.order_by("seq"))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    for before, event in itertools.pairwise(events):
        assert event.from_status == before.to_status
        assert event.to_status in FOLLOWS[Status(before.to_status)]
        assert event.attempt >= before.attempt
    ends = [event for event in events if event.to_status in TERMINAL]
    assert len(ends) == int(fresh.is_terminal)
    assert (events[-1].to_status if events else Status.NOT_STARTED) == fresh.status
    assert (fresh.ended_at is not None) == fresh.is_terminal
    if fresh.is_terminal:
        assert not fresh.holds_slot
    if fresh.status == Status.FAILED:
        assert fresh.error_message
        assert fresh.error_class


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make all calls at the same time, each on a connection of its own; what each gave or raised."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def make(index: int, call: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(20)
            results[index] = call()
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=make, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results
