"""One line on stderr that says how far something large is. Written at a terminal only."""

from __future__ import annotations

import os
import sys
import time
from typing import IO

from studio_client.transport import Transport

#: From this size on people are shown how far it is.
FROM_BYTES = 10 * 2**20
_LONGEST_BAR, _SHORTEST_BAR = 25, 5
_EVERY_S = 0.1
_COLUMNS = 80


class Progress:
    """The line, from the first step to the end of the `with` block, which leaves nothing of it.

    What is said meanwhile of a server that is away stands on a line of its own.
    """

    def __init__(self, transport: Transport, *, quiet: bool = False) -> None:
        self._transport = transport
        self._is_possible = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._is_shown = False
        self._what, self._done, self._total = "", 0, 0
        self._drawn, self._drawn_at = "", -_EVERY_S

    def __enter__(self) -> Progress:
        self._say_away = self._transport.when_away
        if self._say_away is not None:
            self._transport.when_away = self._away
        return self

    def __exit__(self, *error: object) -> None:
        self._transport.when_away = self._say_away
        self._clear()

    def begin(self, what: str, total: int) -> None:
        """The next step, of so many bytes. The first one that is large makes the line appear."""
        self._is_shown = self._is_shown or (self._is_possible and total >= FROM_BYTES)
        self._what, self._total = what, total
        self._drawn_at = -_EVERY_S
        self.reach(0)

    def add(self, size: int) -> None:
        """So many bytes more are done."""
        self.reach(self._done + size)

    def reading(self, what: str, file: IO[bytes]) -> IO[bytes]:
        """A step that is over once this file has been read; then the server is waited for."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self.begin(what, size)
        read: IO[bytes] = _Read(file, self)  # type: ignore[assignment]  # of a file it has what sending needs
        return read

    def reach(self, done: int) -> None:
        """So many bytes are done, be it less than before."""
        self._done = done
        if self._is_shown and time.monotonic() - self._drawn_at >= _EVERY_S:
            self._draw(_line(self._what, self._done, self._total, _room()))

    def wait(self) -> None:
        """All is sent, and what follows is not ours to measure."""
        self._draw(f"Waiting for the server to take {_size(self._total)} ...")

    def end(self, text: str) -> None:
        """Leave a line that says what was done."""
        if self._is_shown:
            self._draw(text)
            sys.stderr.write("\n")
            sys.stderr.flush()
            self._drawn = ""

    def _draw(self, line: str) -> None:
        if self._is_shown:
            line = line[: _room()]
            sys.stderr.write(f"\r{line:<{len(self._drawn)}}")
            sys.stderr.flush()
            self._drawn, self._drawn_at = line, time.monotonic()

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write(f"\r{'':<{len(self._drawn)}}\r")
            sys.stderr.flush()
            self._drawn = ""

    def _away(self) -> None:
        self._clear()
        if self._say_away is not None:
            self._say_away()


class _Read:
    """A file that tells how much of it has been read."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file, self._progress = file, progress
        self.seek, self.tell = file.seek, file.tell

    def read(self, length: int = -1) -> bytes:
        data = self._file.read(length)
        if data:
            self._progress.reach(self._file.tell())
        else:
            self._progress.wait()
        return data


def _line(what: str, done: int, total: int, room: int) -> str:
    """As much of it as there is room for; the bar gives way first."""
    part = min(1.0, done / total) if total else 1.0
    share = f"{int(100 * part):3d} %"
    end = f"{share} of {_size(total)}"
    bar = min(_LONGEST_BAR, room - len(what) - len(end) - 4)
    if bar >= _SHORTEST_BAR:
        return f"{what}  {'█' * int(bar * part):<{bar}}  {end}"
    return next((line for line in (f"{what} {end}", f"{what} {share}") if len(line) <= room), share.strip())


def _size(size: int) -> str:
    return f"{size / 2**20:.0f} MB"


def _room() -> int:
    """The columns of a line that does not wrap."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return (columns or _COLUMNS) - 1
