"""What stands in the place of a part of a log that the storage has lost: a note, as long as it was.

Pure. Because nothing moves, every byte and every line behind the part keeps its number.
"""

from __future__ import annotations

import re
import secrets

#: No script can write it, so none can make lines vanish from a page. As an escape sequence it is never shown.
_KEY = b"\x1bPlost-" + secrets.token_hex(8).encode() + b":"
_MARK = re.compile(re.escape(_KEY) + rb"(\d+)\x1b\\")


def note_on_page(size: int, newlines: int) -> bytes:
    """One line that stands for all lines of the part; only the note can be seen of it."""
    mark = b"%s%d\x1b\\" % (_KEY, max(0, newlines - 2))
    note = mark + b"\x1b[2m" + _note(size, newlines) + b"\x1b[22m"
    return _in_its_place(size, newlines, b"", b"\r", note if newlines > 1 else note + b" ")


def note_in_file(size: int, newlines: int) -> bytes:
    """One line with the note, and blanks for what is left of its room."""
    return _in_its_place(size, newlines, _note(size, newlines), b" ", b"")


def _note(size: int, newlines: int) -> bytes:
    lines = f"{newlines:,} line{'' if newlines == 1 else 's'}"
    return f"[{size:,} bytes of this log are missing here, {lines}]".encode()


def _in_its_place(size: int, newlines: int, first: bytes, fill: bytes, last: bytes) -> bytes:
    """A line of its own, if the part has the newlines for that; question marks if there is no room for it."""
    start, end = b"\n"[:newlines], b"\n" if newlines > 1 else b""
    room = size - len(start + first + last + end)
    if room < 0:
        return b"?" * (size - newlines) + b"\n" * newlines
    return start + first + fill * room + last + end


def has_note(data: bytes) -> bool:
    """Whether a note of a page is in these bytes."""
    return _KEY in data


def lines_beside(data: bytes, start: int = 0, end: int | None = None) -> int:
    """How many lines the notes in a stretch stand for, beside the newlines that are there."""
    end = len(data) if end is None else end
    if data.find(_KEY, start, end) < 0:
        return 0
    return sum(int(mark[1]) for mark in _MARK.finditer(data, start, end))
