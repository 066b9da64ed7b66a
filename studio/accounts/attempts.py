"""Counts tries to sign in, so that passwords cannot be guessed.

Kept in the cache: Studio serves pages from one process, and a restart forgets nothing worth keeping.
"""

from __future__ import annotations

import hashlib

from django.core.cache import cache

WINDOW_S = 300
PER_PERSON, PER_ADDRESS = 8, 60


def _keys(username: str, address: str) -> tuple[str, str]:
    person = hashlib.sha256(username.casefold().encode()).hexdigest()
    return f"sign-in:{address}:{person}", f"sign-in:{address}"


def _count(key: str) -> int:
    if cache.add(key, 1, WINDOW_S):
        return 1
    try:
        return cache.incr(key)
    except ValueError:  # the window ended between the two calls
        cache.set(key, 1, WINDOW_S)
        return 1


def try_once(username: str, address: str) -> bool:
    """Count a try before it is made, so that tries at the same moment count too. False: refuse it unheard."""
    person, everybody = _keys(username, address)
    # Not `or`: both have to count.
    return not ((_count(person) > PER_PERSON) | (_count(everybody) > PER_ADDRESS))


def forget(username: str, address: str) -> None:
    """A try that succeeded counts for nothing, and starts the person's count again."""
    person, everybody = _keys(username, address)
    cache.delete(person)
    try:
        cache.decr(everybody)
    except ValueError:  # the window has ended
        return
