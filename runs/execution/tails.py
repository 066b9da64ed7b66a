"""Following the log files of a run as they grow, and handing over what is new in the right portions."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from runs.execution.outcome import Reporter

CHUNK_BYTES = 1 << 20
FAR_BEHIND_BYTES = 4 << 20  # more than this waiting: hand over as much at once
URGENT_BYTES = 256 << 10  # this much does not wait for its turn
CALLS_PER_S = 5.0  # for a log that trickles, as progress bars do
BURST = 2.0  # calls that a log which was quiet has saved up
SLACK_BYTES = 64 << 20  # how far a file may grow past the cap before it is cut back

MAX_SCRIPT_LOGS = 20
MAX_NAME_LETTERS = 100


class Tail:
    """One log file and how far it has been handed over.

    The store decides where to go on, so neither a new worker nor an answer that was lost leads to a gap or a
    repetition. A file that shrinks or is replaced is followed from its new beginning.
    """

    def __init__(self, name: str, path: Path, *, cap_bytes: int, trim: bool = True) -> None:
        self.name = name
        self.path = path
        self.cap_bytes = cap_bytes
        self.trim = trim
        self._position = 0  # in the file
        self._lead = 0  # the position in the store is this much greater
        self._stored: int | None = None  # that position; None when the store has to be asked
        self._inode: int | None = None
        self._calls = BURST
        self._refilled_at: float | None = None
        self._ends_line = False

    def ship(self, reporter: Reporter, now: float, *, final: bool = False) -> bool:
        """Hand over the next portion if it is time for it; whether another one should follow at once.

        What the reporter raises passes through; the next call then begins by asking it where to go on.
        """
        facts = _regular(self.path)
        if facts is None:
            return False
        if self._stored is None:
            self._locate(reporter.log_size(self.name), facts)
        if facts.st_ino != self._inode or facts.st_size < self._position:
            self._begin_anew(facts)
        if self._is_cut:
            self._trim(facts.st_size)
            return False
        waiting = facts.st_size - self._position
        if not waiting or not (final or self._may_call(waiting, now)):
            return False
        if data := self._next(waiting):
            self._append(reporter, data)
        return facts.st_size > self._position

    @property
    def _is_cut(self) -> bool:
        return self._stored is not None and self._stored > self.cap_bytes

    def _locate(self, stored: int, facts: os.stat_result) -> None:
        if self._inode is None:
            # A file shorter than its log was replaced under another worker: what it holds now counts as sent.
            self._inode = facts.st_ino
            self._lead = max(0, stored - facts.st_size)
        self._stored = stored
        self._position = max(0, stored - self._lead)

    def _begin_anew(self, facts: os.stat_result) -> None:
        assert self._stored is not None
        self._inode = facts.st_ino
        self._lead, self._position = self._stored, 0

    def _may_call(self, waiting: int, now: float) -> bool:
        if self._refilled_at is not None:
            self._calls = min(BURST, self._calls + (now - self._refilled_at) * CALLS_PER_S)
        self._refilled_at = now
        return waiting >= URGENT_BYTES or self._calls >= 1.0

    def _next(self, waiting: int) -> bytes:
        """The next bytes of the file, or at the cap the line that says so."""
        assert self._stored is not None
        room = self.cap_bytes - self._stored
        if room <= 0:
            notice = f"[Studio] The log is cut here: it is longer than {self.cap_bytes:,} bytes.\n"
            return notice.encode() if self._ends_line else b"\n" + notice.encode()
        size = FAR_BEHIND_BYTES if waiting > FAR_BEHIND_BYTES else CHUNK_BYTES
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, min(size, room), self._position)
        finally:
            os.close(descriptor)

    def _append(self, reporter: Reporter, data: bytes) -> None:
        assert self._stored is not None
        stored, self._stored = self._stored, None  # unknown until the reporter has answered
        reporter.append_log(self.name, stored, data)
        self._stored = stored + len(data)
        self._position += len(data)
        self._calls = max(0.0, self._calls - 1.0)
        self._ends_line = data.endswith(b"\n")

    def _trim(self, size: int) -> None:
        """Keep a log that is cut from filling the disk; its writer appends, so it goes on at the new end."""
        if self.trim and size > self.cap_bytes + min(SLACK_BYTES, self.cap_bytes):
            os.truncate(self.path, self.cap_bytes)


def script_logs(folder: Path, *, since: float) -> Iterator[tuple[str, Path]]:
    """The names and paths of text files directly in a folder that were written after `since`, sorted."""
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        if _is_fit(entry.name) and (facts := _regular(path)) and facts.st_mtime >= since:
            yield f"{folder.name}/{entry.name}", path


def end_of(path: Path, size: int) -> bytes:
    """The last bytes of a file; none when it cannot be read."""
    facts = _regular(path)
    if facts is None:
        return b""
    with path.open("rb") as file:
        file.seek(max(0, facts.st_size - size))
        return file.read(size)


def _is_fit(name: str) -> bool:
    return name.lower().endswith((".txt", ".log")) and name.isprintable() and len(name) <= MAX_NAME_LETTERS


def _regular(path: Path) -> os.stat_result | None:
    try:
        facts = path.lstat()
    except OSError:
        return None
    return facts if stat.S_ISREG(facts.st_mode) else None
