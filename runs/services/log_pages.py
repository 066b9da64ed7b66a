"""Pages of a log: a thousand lines around a place, at a cost that does not grow with the log."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from runs.logtext import LogLine, render_lines
from runs.models import Run
from runs.services import logs

PAGE_LINES = 1_000
PAGE_BYTES = 256 << 10
#: So much is shown before the line that somebody asked for.
LINES_BEFORE = 300
_BYTES_BEFORE = 64 << 10
#: So far back the beginning of a line is looked for; of a longer line the end is shown.
_LINE_REACH = 1 << 20
_STEP = 64 << 10


@dataclass(frozen=True)
class Log:
    """One log file of one attempt as it was at `size` bytes; `complete` when no byte will follow."""

    run: Run
    name: str
    attempt: int
    size: int
    complete: bool = False

    def read(self, start: int, end: int) -> bytes:
        """A stretch of it; one query."""
        return logs.read_log(self.run, self.name, start, min(end, self.size), self.attempt)

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
        return self.lines[-1].number + (not self.lines[-1].is_open)

    def count(self, level: str) -> int:
        """How many of its lines have this level."""
        return sum(line.level == level for line in self.lines)


def page_at_end(log: Log, find: str = "") -> LogPage:
    """The last lines."""
    return _page(log, _start_before(log, log.size), find=find)


def page_before(log: Log, offset: int, find: str = "") -> LogPage:
    """The lines that end where another page starts."""
    offset = _within(log, offset)
    return _page(log, _start_before(log, offset), stop=offset, find=find)


def page_after(log: Log, offset: int, *, number: int | None = None, find: str = "") -> LogPage:
    """The lines from the start of a line on; its number is looked up if it is not said."""
    return _page(log, _within(log, offset), number=number, find=find)


def page_around(log: Log, offset: int, find: str = "") -> LogPage:
    """The line at this offset, with lines before and after it."""
    line = _line_start(log, _within(log, offset))
    return _page(log, _start_before(log, line, lines=LINES_BEFORE, reach=_BYTES_BEFORE), find=find)


def page_of_news(log: Log, offset: int, number: int, find: str = "") -> LogPage:
    """What has come since somebody read up to the line of this number at `offset`; the end if it is much."""
    offset = _within(log, offset)
    if log.size - offset <= PAGE_BYTES:
        page = page_after(log, offset, number=number, find=find)
        if not page.has_later:
            return page
    page = page_at_end(log, find)
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


def _start_before(log: Log, offset: int, *, lines: int = PAGE_LINES, reach: int = PAGE_BYTES) -> int:
    """Where to begin so that at most so many lines and bytes come before `offset`."""
    low = max(0, offset - reach)
    data = log.read(low, offset)
    end = at = len(data) - data.endswith(b"\n")
    for _ in range(lines):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            break
    if at >= 0:
        return low + at + 1
    if low == 0:
        return 0
    first = data.find(b"\n", 0, end)
    return low + first + 1 if first >= 0 else _line_start(log, low)


def _page(log: Log, start: int, *, stop: int | None = None, number: int | None = None, find: str) -> LogPage:
    """The lines from `start` to before `stop`, which may be cut after a line."""
    stop = log.size if stop is None else stop
    data = log.read(start, min(stop, start + PAGE_BYTES))
    if start + len(data) < stop:
        data = data[: data.rfind(b"\n") + 1] or _long_line(log, start, stop)
    parts = data.split(b"\n", PAGE_LINES)
    if len(parts) > PAGE_LINES:
        data = data[: len(data) - len(parts[-1])]
    end = start + len(data)
    if number is None:
        number = log.number_at(start) if start else 1
    complete = log.complete and end == log.size
    lines = render_lines(data, number=number, offset=start, find=find, complete=complete)
    return LogPage(start, end, log.size, number, lines)


def _long_line(log: Log, start: int, stop: int) -> bytes:
    """One line that is longer than a page, as far as one read goes."""
    data = log.read(start, min(stop, start + logs.READ_BYTES))
    return data[: data.find(b"\n") + 1] or data
