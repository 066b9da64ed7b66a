"""Waiting for something to happen, for a while, in a web process that has few threads.

At most `MOST` requests wait in one process; others are answered at once, and their clients ask again a little
later, so that however many wait, pages are served.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MOST = 4
LONGEST_S = 25.0
LOOK_EVERY_S = 0.25

_room = threading.BoundedSemaphore(MOST)


def wait_until(look: Callable[[], T], *, timeout_s: float) -> T:
    """What `look` gives: once it is true, when the time is over, or at once if there is no room to wait.

    It is asked a few times a second, so it should cost one small query.
    """
    until = time.monotonic() + min(timeout_s, LONGEST_S)
    found = look()
    if found or timeout_s <= 0 or not _room.acquire(blocking=False):
        return found
    try:
        while not found and (left := until - time.monotonic()) > 0:
            time.sleep(min(LOOK_EVERY_S, left))
            found = look()
        return found
    finally:
        _room.release()
