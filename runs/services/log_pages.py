"""Pages of a log: a thousand lines around a place, at a cost that does not grow with the log."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from runs.log_gaps import note_on_page
from runs.logtext import LogLine, render_lines
from runs.models import Run
from runs.services import logs

PAGE_LINES = 1_000
PAGE_BYTES = 256 << 10
#: So much is shown before the line that somebody asked for.
LINES_BEFORE = 300
_BYTES_BEFORE = 64 << 10
#: A page with less to see than this, as after a progress bar that was written ten thousand times, begins
#: further back, but not more than so far.
_LITTLE = PAGE_BYTES // 8
_MOST_REACH = 4 << 20
#: So far back the beginning of a line is looked for; of a longer line the end is shown.
_LINE_REACH = 1 << 20
_STEP = 64 << 10
#: No note's mark, and hardly any escape sequence, is longer.
_ESCAPE_BYTES = 64


@dataclass(frozen=True)
class Log:
    """One log file of one attempt as it was at `size` bytes; `complete` when no byte will follow."""

    run: Run
    name: str
    attempt: int
    size: int
    complete: bool = False

    def read(self, start: int, end: int) -> bytes:
        """A stretch of it, with a note in the place of a part that is lost; one query."""
        end = min(end, self.size)
        return logs.read_log(self.run, self.name, start, end, self.attempt, lost=note_on_page)

    def long_line(self, start: int) -> bytes:
        """One line from `start` on, as far as one read goes: all of a note, which is no longer than its part.

        A longer line is not cut within an escape sequence.
        """
        data = self.read(start, start + logs.READ_BYTES)
        end = data.find(b"\n") + 1
        if not end and start + len(data) < self.size:
            end = max(0, data.rfind(b"\x1b", len(data) - _ESCAPE_BYTES))
        return data[:end] or data

    def number_at(self, offset: int) -> int:
        """The number of the line at this offset."""
        return logs.line_at(self.run, self.name, offset, self.attempt)

    def offset_of(self, number: int) -> int:
        """Where the line of this number begins."""
        return min(self.size, logs.offset_of_line(self.run, self.name, number, self.attempt))


@dataclass(frozen=True)
class LogPage:
    """Lines that follow one another: the bytes from `start` to before `end` of a log of `size` bytes.

    `is_reset` pages do not follow what was asked for: too much has come meanwhile.
    """

    start: int = 0
    end: int = 0
    size: int = 0
    number: int = 1
    lines: list[LogLine] = field(default_factory=list)
    is_reset: bool = False

    @property
    def has_earlier(self) -> bool:
        """Whether there is something before it."""
        return self.start > 0

    @property
    def has_later(self) -> bool:
        """Whether there is something after it."""
        return self.end < self.size

    @property
    def next_offset(self) -> int:
        """Where to go on reading: at the last line if it may still change, else at the end."""
        return self.lines[-1].offset if self.lines and self.lines[-1].is_open else self.end

    @property
    def next_number(self) -> int:
        """The number of the line at `next_offset`."""
        if not self.lines:
            return self.number
        return self.lines[-1].number + (0 if self.lines[-1].is_open else self.lines[-1].stands_for)

    @property
    def last_number(self) -> int:
        """The number of its last line; 0 without one."""
        return self.lines[-1].number + self.lines[-1].stands_for - 1 if self.lines else 0

    def count(self, level: str) -> int:
        """How many of its lines have this level."""
        return sum(line.level == level for line in self.lines)


def page_at_end(log: Log, find: str = "") -> LogPage:
    """The last lines."""
    return _page_before(log, log.size, find)


def page_before(log: Log, offset: int, find: str = "") -> LogPage:
    """The lines that end where another page starts."""
    return _page_before(log, _within(log, offset), find)


def page_after(log: Log, offset: int, *, number: int | None = None, find: str = "") -> LogPage:
    """The lines from the start of a line on; its number is looked up if it is not said."""
    start = _within(log, offset)
    return _page(log, start, _cut(log, start), number=number, find=find)


def page_around(log: Log, offset: int, find: str = "") -> LogPage:
    """The line at this offset, with lines before and after it."""
    line = _line_start(log, _within(log, offset))
    start, _ = _before(log, line, lines=LINES_BEFORE, reach=_BYTES_BEFORE)
    data = _cut(log, start)
    if start + len(data) <= line:  # what comes before it fills a page
        start, data = line, _cut(log, line)
    return _page(log, start, data, find=find)


def page_of_news(log: Log, offset: int, number: int, find: str = "") -> LogPage:
    """What has come since somebody read up to the line of this number at `offset`; the end if it is much."""
    offset = _within(log, offset)
    if log.size - offset <= PAGE_BYTES:
        page = page_after(log, offset, number=number, find=find)
        if not page.has_later:
            return page
    page = page_at_end(log, find)
    if page.start <= offset:
        return _page(log, offset, log.read(offset, log.size), number=number, find=find)
    return replace(page, is_reset=page.number != number)


def _within(log: Log, offset: int) -> int:
    return max(0, min(offset, log.size))


def _line_start(log: Log, offset: int) -> int:
    """Where the line with this offset begins, or a place within reach if it begins before that."""
    low = offset
    while low > max(0, offset - _LINE_REACH):
        step = max(0, low - _STEP)
        newline = log.read(step, low).rfind(b"\n")
        if newline >= 0:
            return step + newline + 1
        low = step
    return low


def _before(
    log: Log, offset: int, *, lines: int = PAGE_LINES, reach: int = PAGE_BYTES, most: int = 0
) -> tuple[int, bytes | None]:
    """Where to begin so that at most so many lines and bytes come before `offset`, and those bytes.

    With `most`, up to so many bytes while there is little to see. A line that is longer has its beginning
    looked for; its bytes are not given.
    """
    low = max(0, offset - reach)
    data = log.read(low, offset)
    while low > 0 and reach < most and data.count(b"\n") < lines and _seen(data) < _LITTLE:
        reach *= 4
        low = max(0, offset - reach)
        data = log.read(low, offset)
    end = at = len(data) - data.endswith(b"\n")
    for _ in range(lines):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            break
    if at < 0 < low:
        at = data.find(b"\n", 0, end)
        if at < 0:
            return _line_start(log, low), None
    return low + at + 1, data[at + 1 :]


def _seen(data: bytes) -> int:
    """About how many bytes of it can be seen: of each line what its last carriage return has left."""
    return sum(len(line.rstrip(b"\r").rpartition(b"\r")[2]) for line in data.split(b"\n"))


def _page_before(log: Log, offset: int, find: str) -> LogPage:
    start, data = _before(log, offset, most=_MOST_REACH)
    return _page(log, start, log.read(start, offset) if data is None else data, find=find)


def _cut(log: Log, start: int) -> bytes:
    """As many whole lines from `start` on as a page takes."""
    data = log.read(start, start + PAGE_BYTES)
    if start + len(data) < log.size:
        data = data[: data.rfind(b"\n") + 1] or log.long_line(start)
    parts = data.split(b"\n", PAGE_LINES)
    return data[: len(data) - len(parts[-1])] if len(parts) > PAGE_LINES else data


def _page(log: Log, start: int, data: bytes, *, number: int | None = None, find: str) -> LogPage:
    end = start + len(data)
    if number is None:
        number = log.number_at(start) if start else 1
    complete = log.complete and end == log.size
    lines = render_lines(data, number=number, offset=start, find=find, complete=complete)
    return LogPage(start, end, log.size, number, lines)
