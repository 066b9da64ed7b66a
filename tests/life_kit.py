"""What has to be true of any run's life, and calls that happen at the same time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from runs.models import Run
from runs.status import FOLLOWS, TERMINAL, Status
from tests.execution_kit import wait_for


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
    results, threads = _threads(calls, lambda index: barrier.wait(20))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


@contextmanager
def held_up(rows: QuerySet[Any], calls: Sequence[Callable[[], Any]]) -> Iterator[list[Any]]:
    """Hold these rows while the block runs, in its transaction, and let all calls run into that.

    Each has a connection of its own, and begins when the one before it waits. After the block the list has
    what each gave or raised. On SQLite they wait for the whole database, which cannot be seen.
    """
    backends: dict[int, int] = {}
    results, threads = _threads(calls, lambda index: backends.update({index: _backend()}))
    with transaction.atomic():
        list(rows.select_for_update())
        for index, thread in enumerate(threads):
            thread.start()
            wait_for(lambda: not thread.is_alive() or (index in backends and _waits(backends[index])))  # noqa: B023
        yield results
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def _threads(
    calls: Sequence[Callable[[], Any]], begin: Callable[[int], object]
) -> tuple[list[Any], list[threading.Thread]]:
    """Threads for these calls, each on a connection of its own, and where they put what they gave or raised.

    `begin` is called with the number of each before it, once its connection is there.
    """
    results: list[Any] = [None] * len(calls)

    def make(index: int, call: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            begin(index)
            results[index] = call()
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    return results, [threading.Thread(target=make, args=pair) for pair in enumerate(calls)]


def _backend() -> int:
    return connection.connection.info.backend_pid if connection.vendor == "postgresql" else 0


def _waits(backend: int) -> bool:
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)", [backend])
        return bool(cursor.fetchone()[0])
