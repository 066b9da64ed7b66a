"""The version of what a page shows: one word that changes when it does."""

from __future__ import annotations

import time
from datetime import datetime

#: SQLite's clock counts milliseconds, and a second change within the same one would not change the word.
SETTLED_AFTER_S = 0.25


def version_word(*moments: datetime | None) -> str:
    """The latest of these moments as a word; "0" if there is none.

    A moment that is hardly past gives a word that no later one equals, so that a page drawn between two
    changes of the same instant is drawn once more.
    """
    latest = max((round(moment.timestamp() * 1_000_000) for moment in moments if moment), default=0)
    now = time.time()
    if abs(now - latest / 1_000_000) < SETTLED_AFTER_S:
        return f"{latest}-{round(now * 1_000_000)}"
    return str(latest)


def settled(word: str) -> str:
    """The word that stays once the moment of a version word is past."""
    return word.partition("-")[0]
