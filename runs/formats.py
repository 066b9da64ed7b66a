"""How times, durations and sizes are written for people. Pure functions of the standard library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

DASH = "–"


def duration_text(value: timedelta | float | None) -> str:
    """A duration in its two largest units: "420 ms", "41s", "12m 04s", "2d 03h"; a dash for None."""
    if value is None:
        return DASH
    exact = value.total_seconds() if isinstance(value, timedelta) else value
    if exact < 1:
        return f"{max(int(exact * 1000), 0)} ms"
    seconds = int(exact)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02d}s"
    if seconds < 86400:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02d}m"
    return f"{seconds // 86400}d {seconds % 86400 // 3600:02d}h"


def ticking_text(value: timedelta) -> str:
    """A duration that goes on: as `duration_text`, but its first second is "<1s"."""
    return "<1s" if value < timedelta(seconds=1) else duration_text(value)


def ago_text(moment: datetime, now: datetime | None = None) -> str:
    """How long ago, in words: "now", "8 s ago", "3 min ago", "2 h ago", "yesterday", "12 Nov"."""
    now = now or datetime.now(UTC)
    seconds = int((now - moment).total_seconds())
    if seconds < 1:
        return "now"
    if seconds < 60:
        return f"{seconds} s ago"
    if seconds < 3600:
        return f"{seconds // 60} min ago"
    if seconds < 86400:
        return f"{seconds // 3600} h ago"
    days = seconds // 86400
    if days == 1:
        return "yesterday"
    if days < 7:
        return f"{days} days ago"
    year = "" if moment.year == now.year else f" {moment.year}"
    return f"{moment.day} {moment:%b}{year}"


def bytes_text(size: int | None) -> str:
    """A size in decimal units with two significant places: "812 B", "3.1 kB", "41 kB", "1.9 MB"."""
    if size is None:
        return DASH
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.5 or unit == "TB":
            break
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:.0f} {unit}"


def number_text(value: float | None) -> str:
    """A number with as many digits as tell it apart: "0.2381", "12,340", "1.2e-05"; a dash for None."""
    if value is None:
        return DASH
    if abs(value) < 1e15 and value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def exact_time(moment: datetime) -> str:
    """A moment to the second in UTC, as titles show it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
