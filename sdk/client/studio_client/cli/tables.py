"""Tables for people: aligned columns, colours for statuses, durations and times that can be read."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import click

STATUS_COLOURS = {
    "Completed": "green",
    "Failed": "red",
    "Canceled": "yellow",
    "CancelRequested": "yellow",
    "NotResponding": "red",
    "Running": "blue",
    "Finalizing": "blue",
}
LONGEST_CELL = 60
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows below a head; a column that only some have is empty in the others. "" without rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return ""
    cells = [[_text(row.get(name)) for name in names] for row in rows]
    widths = [max(_width(text) for text in column) for column in zip(names, *cells)]
    lines = [_line(names, widths), "  ".join("-" * width for width in widths)]
    for row, texts in zip(rows, cells):
        painted = [_painted(name, text, row.get(name)) for name, text in zip(names, texts)]
        lines.append(_line(texts, widths, painted))
    return "\n".join(lines)


def moment(text: str | None) -> datetime.datetime | None:
    """A time of the API."""
    if not text:
        return None
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def duration(start: str | None, end: str | None) -> str:
    """From one time to another, or to now: `3m 20s`; "" for what has not begun."""
    began, ended = moment(start), moment(end)
    if began is None:
        return ""
    now = ended or datetime.datetime.now(datetime.timezone.utc)
    seconds = max(0.0, (now - began).total_seconds())
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"


def local_time(text: str | None) -> str:
    """A time of the API as the clock on the wall shows it; "" for None."""
    found = moment(text)
    return found.astimezone().strftime("%Y-%m-%d %H:%M:%S") if found else ""


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = _CONTROL.sub("�", str(value))
    return text if len(text) <= LONGEST_CELL or " " not in text else text[: LONGEST_CELL - 1] + "…"


def _width(text: str) -> int:
    """In columns of a terminal."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(bool(unicodedata.combining(letter)) for letter in text)


def _line(texts: Sequence[str], widths: Sequence[int], painted: Sequence[str] | None = None) -> str:
    shown = painted or texts
    padded = (cell + " " * (width - _width(text)) for cell, text, width in zip(shown, texts, widths))
    return "  ".join(padded).rstrip()


def _painted(name: str, text: str, value: Any) -> str:
    colour = STATUS_COLOURS.get(str(value)) if name.lower() == "status" else None
    return click.style(text, fg=colour) if colour else text
