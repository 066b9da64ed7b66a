"""The threads that answer requests: who answered last answers next, and none is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from runs.web_threads import WebThreads

MOST_S = 30


class Task:
    """What Waitress hands to a thread; `then` is what that does with it."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.then = then
        self.by = ""
        self.done = threading.Event()

    def service(self) -> None:
        self.by = threading.current_thread().name
        self.then()
        self.done.set()

    def cancel(self) -> None:
        """Waitress tells those that wait when it stops."""


@pytest.fixture
def threads() -> Iterator[WebThreads]:
    made = WebThreads(4)
    yield made
    made.shutdown(timeout=MOST_S)


def wait_until_idle(threads: WebThreads) -> None:
    """All have come back to wait. Each counts itself out under the lock in which it begins to wait."""
    for _ in range(MOST_S * 1_000):
        with threads.lock:
            if threads.active_count == 0:
                return
        threading.Event().wait(0.001)
    raise AssertionError("a thread is still busy")


def test_requests_one_by_one_have_the_same_thread(threads: WebThreads) -> None:
    seen = set()
    for _ in range(50):
        wait_until_idle(threads)
        task = Task()
        threads.add_task(task)
        assert task.done.wait(MOST_S)
        seen.add(task.by)
    assert len(seen) == 1


def test_as_many_at_once_as_there_are_threads(threads: WebThreads) -> None:
    together = threading.Barrier(4)
    tasks = [Task(lambda: together.wait(MOST_S)) for _ in range(4)]
    for task in tasks:
        threads.add_task(task)
    assert all(task.done.wait(MOST_S) for task in tasks)
    assert len({task.by for task in tasks}) == 4


def test_what_comes_while_all_are_busy_is_answered_afterwards(threads: WebThreads) -> None:
    free, order = threading.Event(), []
    busy = [Task(lambda: free.wait(MOST_S)) for _ in range(4)]
    later = [Task(lambda at=at: order.append(at)) for at in range(200)]
    for task in [*busy, *later]:
        threads.add_task(task)
    free.set()
    assert all(task.done.wait(MOST_S) for task in [*busy, *later])
    assert sorted(order) == list(range(200))


def test_bursts_from_several_sides_are_all_answered(threads: WebThreads) -> None:
    tasks = [[Task() for _ in range(500)] for _ in range(4)]

    def send(some: list[Task]) -> None:
        for task in some:
            threads.add_task(task)

    senders = [threading.Thread(target=send, args=(some,)) for some in tasks]
    for sender in senders:
        sender.start()
    assert all(task.done.wait(MOST_S) for some in tasks for task in some)


def test_all_end_when_told_to() -> None:
    threads = WebThreads(4)
    wait_until_idle(threads)
    threads.shutdown(timeout=MOST_S)
    assert not threads.threads
