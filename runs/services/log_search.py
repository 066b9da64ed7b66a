"""Searching one log for a term: over the whole file, in portions that each take a bounded time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from runs.log_gaps import has_note, lines_beside
from runs.logtext import TERM_MAX_LENGTH, find_matches, visible_text
from runs.services.log_pages import Log

#: One portion ends after so long or with so many lines found, whichever comes first.
BUDGET_S = 1.0
MAX_HITS = 1_000

_WINDOW_BYTES = 4 << 20
_COLOUR = rb"(?:\x1b\[[0-9;:]*m)*"


@dataclass(frozen=True)
class Hit:
    """A line that has the term: its number, where it begins, and how often the term is on it."""

    number: int
    offset: int
    matches: int


@dataclass
class Found:
    """What a portion found, and where the next one goes on (`offset`, on the line `number`).

    `open_bytes` of them belong to a last line that has no newline yet and may still change. `is_partial` says
    that it came by a part that is lost.
    """

    offset: int
    number: int
    size: int
    open_bytes: int = 0
    hits: list[Hit] = field(default_factory=list)
    is_partial: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the whole log was searched."""
        return self.offset >= self.size


def search_log(log: Log, term: str, *, offset: int = 0, number: int = 1, budget_s: float = BUDGET_S) -> Found:
    """The lines from `offset` (a line start, of the line `number`) on that show the term, whatever its case.

    What is looked in is what a page shows: colours do not split a word, and what a progress bar overwrote
    is not found. At least one window of the log is searched, so that asking again always gets further.
    """
    found = Found(max(0, offset), max(1, number), log.size)
    term = term[:TERM_MAX_LENGTH]
    until = time.monotonic() + budget_s
    while term and not found.is_done:
        data = log.read(found.offset, found.offset + _WINDOW_BYTES)
        if not data:
            break
        if found.offset + len(data) < log.size:
            data = data[: data.rfind(b"\n") + 1] or log.long_line(found.offset)
        found.is_partial = found.is_partial or has_note(data)
        _search_window(data, term, found)
        if time.monotonic() > until or len(found.hits) >= MAX_HITS:
            return found
    found.offset = max(found.offset, log.size)
    return found


def _search_window(data: bytes, term: str, found: Found) -> None:
    """Add the hits of a stretch of whole lines while there is room, and go on behind what was searched."""
    at, number = 0, found.number
    for start, end in _candidates(data, term):
        number += data.count(b"\n", at, start) + lines_beside(data, at, start)
        at = start
        matches = len(find_matches(visible_text(data[start:end]), term))
        if matches:
            found.hits.append(Hit(number, found.offset + start, matches))
        if len(found.hits) >= MAX_HITS:
            data = data[: end + 1]
            break
    found.number = number + data.count(b"\n", at) + lines_beside(data, at)
    found.offset += len(data)
    found.open_bytes = len(data) - data.rfind(b"\n") - 1


def _candidates(data: bytes, term: str) -> Iterator[tuple[int, int]]:
    """Start and end of each line whose bytes may show the term."""
    coloured = b"\x1b" in data
    plain = term.isascii() and not coloured
    haystack, needle = (data.lower(), term.lower().encode()) if plain else (data, b"")
    pattern = re.compile(_bytes_pattern(term, coloured))
    at = 0
    while at < len(data):
        if plain:
            place = haystack.find(needle, at)
        else:
            match = pattern.search(data, at)
            place = match.start() if match else -1
        if place < 0:
            return
        end = data.find(b"\n", place)
        end = len(data) if end < 0 else end
        yield data.rfind(b"\n", 0, place) + 1, end
        at = end + 1


def _bytes_pattern(term: str, coloured: bool) -> bytes:
    """The term in any case as a pattern for UTF-8 bytes, with room for colours between its letters."""
    letters = []
    for letter in term:
        forms = sorted({letter, letter.lower(), letter.upper()})
        letters.append(
            b"(?:" + b"|".join(re.escape(form.encode("utf-8", "replace")) for form in forms) + b")"
        )
    return (_COLOUR if coloured else b"").join(letters)
