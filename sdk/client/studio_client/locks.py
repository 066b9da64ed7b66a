"""Taking a lock for a limited time, and giving it back whatever comes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def taken(lock: threading.RLock, timeout_s: float) -> Iterator[bool]:
    """Whether this thread has the lock, after so long at most; it is given back to whoever had it before."""
    if lock._is_owned():  # type: ignore[attr-defined]
        yield True
        return
    has_it = None
    try:
        has_it = lock.acquire(timeout=timeout_s)
        yield has_it
    finally:
        # Ctrl-C may come when the lock is taken and nothing says so yet
        if has_it or (has_it is None and lock._is_owned()):  # type: ignore[attr-defined]
            lock.release()
