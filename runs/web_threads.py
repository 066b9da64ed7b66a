"""The threads that answer requests: who answered last answers next."""

from __future__ import annotations

import threading

from waitress.task import ThreadedTaskDispatcher


class _LastFirst:
    """A condition that wakes who began to wait last, where `threading.Condition` wakes who waits longest."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._waiting: list[threading.Lock] = []

    def wait(self) -> None:
        """Let go of the lock until this thread is woken, and have it again then."""
        woken = threading.Lock()
        woken.acquire()
        self._waiting.append(woken)
        self._lock.release()
        try:
            woken.acquire()
        finally:
            self._lock.acquire()

    def notify(self) -> None:
        """Wake one thread. The lock must be held, as for `wait` and `notify_all`."""
        if self._waiting:
            self._waiting.pop().release()

    def notify_all(self) -> None:
        """Wake all of them."""
        while self._waiting:
            self.notify()


class WebThreads(ThreadedTaskDispatcher):
    """Waitress's threads, of which few requests keep few busy.

    Each thread has a connection to the database and a cache of its own. In turn, as Waitress has it, each
    would find what it knows outdated, and all would fill their caches.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.queue_cv = _LastFirst(self.lock)
        self.set_thread_count(count)
