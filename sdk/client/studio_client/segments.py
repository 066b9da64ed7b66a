"""Entries of metrics in a memory-mapped file: one that was added is kept, even if the process is killed.

A segment has slots of 32 bytes from its start on, and texts from its end towards them:

    value (f8 or i8) · time (f8) · step (i8) · series (u4) · tag (u4)

The tag is written last, so a slot without one ends what is there. Single numbers lie in their slot. Anything
else, and what a series is called, lies in a text of JSON, and the slot says where.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Name, kind and description of a series.
Label = tuple[str, str, str]

NO_STEP = -(2**63)
NAME_LENGTH = 255
SLOT_BYTES = 32
FLOAT, INT, TEXT, NAME = 1, 2, 3, 4
_FLOAT_SLOT, _INT_SLOT = struct.Struct("<ddqII"), struct.Struct("<qdqII")
_WORDS = SLOT_BYTES // 8


class Slots:
    """The slots of a stretch as columns; `words` has the series in its lower half and the tag above."""

    __slots__ = ("floats", "ints", "steps", "times", "words")

    def __init__(self, data: bytes) -> None:
        floats, ints, words = _numbers("d", data), _numbers("q", data), _numbers("Q", data)
        self.words = words[3::_WORDS]
        length = self.words.index(0) if 0 in self.words else len(self.words)
        self.words = self.words[:length]
        self.floats, self.times = floats[0::_WORDS][:length], floats[1::_WORDS][:length]
        self.ints, self.steps = ints[0::_WORDS][:length], ints[2::_WORDS][:length]


class Segment:
    """A piece of a spool. One thread at a time may add; what was added can be read meanwhile.

    A segment without a path lies in memory only. There is no lock, so a signal handler may read while it
    interrupts whoever adds or parks: the memory is let go of when nobody refers to it any more.
    """

    def __init__(self, size: int, path: Path | None = None) -> None:
        self.path, self.size = path, size
        self.labels: dict[int, Label] = {}
        self.end, self.sent = 0, 0  # bytes
        self.count, self.sent_count = 0, 0  # entries
        self._ids: dict[Label, int] = {}
        self._texts_from = size
        self._memory: mmap.mmap | None = None if path else mmap.mmap(-1, size)

    @classmethod
    def create(cls, path: Path, size: int) -> Segment:
        """A new file, filled with zeros: a disk that is full says so here, and not in the midst of a write.

        Raises OSError. Whatever is raised, no file is left.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            left = size
            while left:
                left -= os.write(descriptor, bytes(left))
            segment = cls(size, path)
            segment._memory = mmap.mmap(descriptor, size)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        return segment

    @classmethod
    def found(cls, path: Path) -> Segment:
        """What a process that is gone has left. Raises OSError or ValueError if it cannot be read."""
        segment = cls(path.stat().st_size // SLOT_BYTES * SLOT_BYTES, path)
        if not segment.size:  # its process was killed before it could write
            return segment
        memory = segment._open()
        for raw, _, _, series, tag in _INT_SLOT.iter_unpack(memory[: segment.size]):
            if not tag or segment.end + SLOT_BYTES > segment._texts_from:
                break
            segment.end += SLOT_BYTES
            if tag in (TEXT, NAME):
                segment._texts_from = min(segment._texts_from, raw >> 32)
            if tag == NAME:
                segment.labels[series] = tuple(json.loads(segment.text(raw)))
            else:
                segment.count += 1
        return segment

    def add(self, label: Label, value: float | bytes, step: int, at: float) -> bool:
        """Keep a float, an int of 64 bits, or columns as JSON; False if there is no room."""
        series = self._ids.get(label)
        if series is None:
            series = self._define(label)
            if series is None:
                return False
        if type(value) is bytes:
            if not self._add_text(value, at, step, series, TEXT):
                return False
        else:
            start = self.end
            if start + SLOT_BYTES > self._texts_from:
                return False
            slot, tag = (_INT_SLOT, INT) if type(value) is int else (_FLOAT_SLOT, FLOAT)
            slot.pack_into(self._memory, start, value, at, step, series, tag)  # type: ignore[arg-type]
            self.end = start + SLOT_BYTES
        self.count += 1
        return True

    def read(self, start: int, end: int) -> Slots:
        """The slots from `start` to before `end`, as far as they are written."""
        return Slots(self._open()[start:end])

    def text(self, place: int) -> bytes:
        """The text that a slot points to."""
        start, length = place >> 32, place & 0xFFFFFFFF
        return self._open()[start : start + length]

    def park(self) -> None:
        """Let go of the memory and the file; the next read opens them again."""
        if self.path is not None:
            self._memory = None

    def delete(self) -> None:
        """Delete the file. Nothing can be read afterwards."""
        self._memory = None
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _open(self) -> mmap.mmap:
        memory = self._memory
        if memory is None:
            if self.path is None:
                raise ValueError("the segment was deleted")
            with self.path.open("r+b") as file:
                memory = self._memory = mmap.mmap(file.fileno(), self.size)
        return memory

    def _define(self, label: Label) -> int | None:
        name, kind, description = label
        series = len(self.labels)
        text = as_json([clean_name(name), kind, description])
        if not self._add_text(text, 0.0, NO_STEP, series, NAME):
            return None
        self.labels[series] = tuple(json.loads(text))
        self._ids[label] = series
        return series

    def _add_text(self, text: bytes, at: float, step: int, series: int, tag: int) -> bool:
        start, place = self.end, self._texts_from - len(text)
        if start + SLOT_BYTES > place:
            return False
        memory = self._open()
        memory[place : place + len(text)] = text
        _INT_SLOT.pack_into(memory, start, place << 32 | len(text), at, step, series, tag)
        self.end, self._texts_from = start + SLOT_BYTES, place
        return True


def clean_name(name: str) -> str:
    """The name as the server takes it: of 1 to 255 letters, none of them NUL or half of one."""
    return name.replace("\0", "").encode("utf-8", "replace").decode()[:NAME_LENGTH] or "unnamed"


def as_json(content: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """JSON that every reader takes: halves of letters become question marks. NaN stays."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=default)
    return text.encode("utf-8", "replace")


def _numbers(code: str, data: bytes) -> array[Any]:
    numbers: array[Any] = array(code)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
