"""Long polls: a few callers wait in the server for news; all others are answered at once and come again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from django.conf import settings

T = TypeVar("T")

#: So many requests wait at a time: a third of the web server's threads stays free for everything else.
PLACES = settings.WEB_THREADS * 2 // 3
LOOK_EVERY_S = 0.3

_places = threading.BoundedSemaphore(PLACES)


def wait_until(is_news: Callable[[T], bool], look: Callable[[], T], *, timeout_s: float) -> T:
    """What `look` gives once that is news, or else after the timeout; at once when too many wait already."""
    seen = look()
    if timeout_s <= 0 or is_news(seen) or not _places.acquire(blocking=False):
        return seen
    try:
        until = time.monotonic() + timeout_s
        while not is_news(seen) and (left := until - time.monotonic()) > 0:
            time.sleep(min(LOOK_EVERY_S, left))
            seen = look()
        return seen
    finally:
        _places.release()
