"""A thread that works beside a script."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """A daemon thread for `work`, started by the first who asks. Asking is safe in signal handlers."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work, self._name = work, name
        self._starting = threading.Lock()  # never waited for: who has it may be interrupted by who wants it
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """See to it that it runs, unless the interpreter is about to end."""
        if self._thread is not None or not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:
            return
        finally:
            self._starting.release()
