"""What keeps others' log lines readable without hiding them."""

from __future__ import annotations

import logging
import time

EVERY_S = 60.0


class OneLineAMinute(logging.Filter):
    """Lets each kind of message through once a minute, as its first line and without its traceback.

    For loggers that repeat the same for as long as it lasts, such as Celery's beat while its broker is away.
    """

    def __init__(self, name: str = "") -> None:
        super().__init__(name)
        self._until: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged; shortens it on the way."""
        kind, now = str(record.msg), time.monotonic()
        if now < self._until.get(kind, 0.0):
            return False
        self._until[kind] = now + EVERY_S
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        record.exc_info = record.exc_text = record.stack_info = None
        return True
