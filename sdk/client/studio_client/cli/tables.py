"""Tables for people: aligned columns, colours for statuses, durations and times that can be read."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from studio_client.cli.letters import of_same_width, width_of

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
#: Columns of the tables of runs, the first to be left out first where there is no room for all. A name goes
#: only where an id says what the row is.
LEFT_OUT = (
    *("Tags", "Submitter", "RunType", "Target", "EndTime", "Started", "StartTime", "Duration"),
    *("Experiment", "Name"),
)
#: What is cut, down to so many letters or its head, before a column is left out.
_CUT_FIRST, _CUT_TO = frozenset({"Name", "Tags", "Submitter", "Target", "Experiment"}), 8
_GAP = 2
_NEWLINE = re.compile(r"\r\n|[\n\r\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TURNING = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def terminal_width() -> int | None:
    """That of stdout; None where it is no terminal."""
    return (shutil.get_terminal_size().columns or 80) if sys.stdout.isatty() else None


def table(rows: Sequence[Mapping[str, Any]], *, room: int | None = None, left_out: Sequence[str] = ()) -> str:
    """The rows below a head; a column that only some have is empty in the others. "" without rows.

    No line is wider than `room`: the columns `left_out` give way, in this order, and what is cut ends with an
    ellipsis.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return ""
    texts = {name: [plain(name), *(_text(row.get(name)) for row in rows)] for name in names}
    natural = {name: max(map(width_of, column)) for name, column in texts.items()}
    widths = natural if room is None else _fitted(natural, room, left_out)
    lines = [
        "  ".join(
            _cell(name, texts[name][line], width, rows[line - 1] if line else {})
            for name, width in widths.items()
        ).rstrip()
        for line in range(len(rows) + 1)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths.values()))
    return of_same_width("\n".join(lines))


def painted(text: str, colour: str) -> str:
    """The text in a colour, unless the terminal is a dumb one, or NO_COLOR is set (which takes no more)."""
    return text if os.environ.get("NO_COLOR") or is_dumb() else click.style(text, fg=colour)


def is_dumb() -> bool:
    """Whether the terminal says of itself that it obeys nothing, as those inside of editors do."""
    return os.environ.get("TERM") == "dumb"


def plain(value: Any) -> str:
    """The text of a value, with nothing that a terminal obeys or that turns the direction of writing."""
    return "" if value is None else _CONTROL.sub("�", _NEWLINE.sub("⏎", str(value))).translate(_TURNING)


def moment(text: str | None) -> datetime.datetime | None:
    """A time of the API."""
    if not text:
        return None
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def duration(start: str | None, end: str | None) -> str:
    """From one time to another, or to now, as the pages write it: `420 ms`, `6.6s`, `3m 20s`, `2d 03h`.

    "" for what has not begun.
    """
    began, ended = moment(start), moment(end)
    if began is None:
        return ""
    now = ended or datetime.datetime.now(datetime.timezone.utc)
    seconds = max(0.0, (now - began).total_seconds())
    if seconds < 1:
        return f"{int(seconds * 1000)} ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{int(seconds * 1000 + 1e-6) // 100 / 10:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}h"
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"


def local_time(text: str | None) -> str:
    """A time of the API as the clock on the wall shows it; "" for None."""
    found = moment(text)
    return found.astimezone().strftime("%Y-%m-%d %H:%M:%S") if found else ""


def _fitted(natural: Mapping[str, int], room: int, left_out: Sequence[str]) -> dict[str, int]:
    """The columns for which there is room, with their widths."""
    left = {name: min(width, room) for name, width in natural.items()}
    for name in (*(one for one in left_out if one != "Name" or "Run id" in left), ""):
        cut = {name: max(_CUT_TO, width_of(name)) for name in left if name in _CUT_FIRST and left_out}
        widths = _narrowed(left, room, cut)
        if _total(widths) <= room:
            return widths
        if len(left) > 1:
            left.pop(name, None)
    while _total(dict.fromkeys(left, 1)) > room and len(left) > 1:
        left.popitem()
    return _narrowed(left, room, dict.fromkeys(left, 1))


def _narrowed(widths: Mapping[str, int], room: int, least: Mapping[str, int]) -> dict[str, int]:
    """The columns that `least` names narrower, those first that can give most, until there is room or none is
    wider than that.
    """
    made = dict(widths)
    while _total(made) > room:
        widest = max(least, key=lambda name: made[name] - least[name], default="")
        if not widest or made[widest] <= least[widest]:
            break
        made[widest] -= 1
    return made


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _cut(text: str, width: int) -> str:
    """At most so many columns of a terminal; an ellipsis stands for the rest."""
    if width_of(text) <= width:
        return text
    begin = text[:width]
    while width_of(begin) >= width:
        begin = begin[:-1]
    return begin + "…"


def _text(value: Any) -> str:
    text = plain(value)
    return text if len(text) <= LONGEST_CELL or " " not in text else text[: LONGEST_CELL - 1] + "…"


def _cell(name: str, text: str, width: int, row: Mapping[str, Any]) -> str:
    """Padded, and a status painted."""
    shown = _cut(text, width)
    colour = STATUS_COLOURS.get(str(row.get(name))) if name.lower() == "status" else None
    return (painted(shown, colour) if colour else shown) + " " * (width - width_of(shown))
