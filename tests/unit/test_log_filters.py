"""Log lines that repeat themselves are shortened, and never hidden altogether."""

from __future__ import annotations

import logging
import sys

from studio import log_filters
from studio.log_filters import OneLineAMinute


def record(message: str, *arguments: object, fails: bool = False) -> logging.LogRecord:
    """As a logger makes it."""
    why = None
    if fails:
        try:
            raise OSError("no space left")
        except OSError:
            why = sys.exc_info()
    return logging.LogRecord("celery.beat", logging.ERROR, __file__, 1, message, arguments, why)


def test_a_long_message_becomes_its_first_line() -> None:
    kept = record("Message Error: %s\n%s", "disk full\nmore", ["a stack"], fails=True)
    assert OneLineAMinute().filter(kept)
    assert logging.Formatter("%(message)s").format(kept) == "Message Error: disk full"


def test_each_kind_of_message_is_let_through_once() -> None:
    one = OneLineAMinute()
    kept = [one.filter(record("Message Error: %s", number)) for number in range(3)]
    assert kept == [True, False, False]
    assert one.filter(record("Connection error: %s", 1))


def test_it_comes_again_when_it_lasts() -> None:
    one = OneLineAMinute()
    assert one.filter(record("Message Error"))
    one._until["Message Error"] -= log_filters.EVERY_S
    assert one.filter(record("Message Error"))
