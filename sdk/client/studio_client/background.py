"""A thread that works beside a script."""

from __future__ import annotations

import threading
from collections.abc import Callable

from studio_client.locks import taken


class Background:
    """A daemon thread for `work`, started by the first who asks. Asking is safe in signal handlers."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work, self._name = work, name
        self._starting = threading.RLock()  # never waited for: who has it may be interrupted by who wants it
        self._is_starting = False  # under that lock, so true only for who interrupts it
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """See to it that it runs, unless the interpreter is about to end."""
        if self._thread is None:
            with taken(self._starting, 0.0) as has_it:
                if has_it and self._thread is None and not self._is_starting:
                    self._start()

    def _start(self) -> None:
        try:
            self._is_starting = True
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        except RuntimeError:
            return
        finally:
            self._is_starting = False
