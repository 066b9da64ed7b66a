"""Long polls: news at once, nothing new after the timeout, and never more than some of them at a time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from itertools import count

from runs.api.long_polls import PLACES, wait_until


def test_what_is_news_already_is_answered_at_once() -> None:
    assert wait_until(bool, lambda: 1, timeout_s=20) == 1


def test_news_are_answered_as_they_come() -> None:
    looks = count()
    assert wait_until(lambda seen: seen == 2, lambda: next(looks), timeout_s=20) == 2


def test_after_the_timeout_the_last_look_is_answered() -> None:
    begin = time.monotonic()
    assert wait_until(bool, lambda: 0, timeout_s=0.3) == 0
    assert 0.3 <= time.monotonic() - begin < 5


def test_whoever_does_not_wait_takes_one_look() -> None:
    looks = count()
    assert wait_until(lambda seen: False, lambda: next(looks), timeout_s=0) == 0
    assert next(looks) == 1


def test_when_too_many_wait_others_are_answered_at_once_and_later_ones_wait_again() -> None:
    looked: Counter[int] = Counter()
    changed, news = threading.Condition(), threading.Event()

    def look() -> bool:
        with changed:
            looked[threading.get_ident()] += 1
            changed.notify_all()
        return news.is_set()

    waiting = [
        threading.Thread(target=wait_until, args=(bool, look), kwargs={"timeout_s": 20})
        for _ in range(PLACES)
    ]
    for thread in waiting:
        thread.start()
    with changed:  # each looks once before it has its place
        assert changed.wait_for(lambda: sum(n > 1 for n in looked.values()) == PLACES, timeout=10)
    begin = time.monotonic()
    assert wait_until(bool, lambda: False, timeout_s=20) is False
    assert time.monotonic() - begin < 5
    news.set()
    for thread in waiting:
        thread.join(10)
    looks = count()
    assert wait_until(lambda seen: seen == 3, lambda: next(looks), timeout_s=20) == 3


def test_a_look_that_fails_gives_its_place_back() -> None:
    for _ in range(PLACES + 1):
        looks = iter([False])
        try:
            wait_until(bool, lambda looks=looks: next(looks), timeout_s=20)
        except StopIteration:
            continue
        raise AssertionError("it did not look again")
