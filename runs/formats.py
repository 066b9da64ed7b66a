"""How times, durations and sizes are written for people. Pure functions of the standard library."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal

DASH = "–"


def duration_text(value: timedelta | float | None) -> str:
    """A duration in its two largest units: "420 ms", "6.6s", "41s", "12m 04s", "2d 03h"; a dash for None."""
    if value is None:
        return DASH
    exact = value.total_seconds() if isinstance(value, timedelta) else value
    if exact < 1:
        return f"{max(int(exact * 1000), 0)} ms"
    seconds = int(exact)
    if exact < 10 and exact != seconds:
        return f"{int(exact * 1000 + 1e-6) // 100 / 10:.1f}s"
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02d}s"
    if seconds < 86400:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02d}m"
    return f"{seconds // 86400}d {seconds % 86400 // 3600:02d}h"


def ticking_text(value: timedelta) -> str:
    """A duration that goes on: as `duration_text`, but in whole seconds, and its first one is "<1s"."""
    return "<1s" if value < timedelta(seconds=1) else duration_text(int(value.total_seconds()))


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


def number_text(value: float | None, digits: int = 4) -> str:
    """A number with so many digits, more only before its point: "0.2381", "12,340", "1e-05"; a dash for None.

    What is rounded is the exact text, a half away from zero, as people do it: 1234.5 is "1,235". From 1e16 on
    and below 1e-4 there is an exponent. `numberText` in static/js/numbers.js writes the same.
    """
    if value is None:
        return DASH
    exact = Decimal(repr(value or 0))  # -0.0 is 0
    power = exact.adjusted()
    kept = max(digits, power + 1) if power < 16 else digits
    rounded = Context(prec=kept, rounding=ROUND_HALF_UP).plus(exact).normalize()
    power = rounded.adjusted()
    if -4 <= power < 16:
        return f"{rounded:,f}"
    return f"{rounded.scaleb(-power):f}e{power:+03d}"


def exact_text(value: float) -> str:
    """A number with all its digits, the shortest text that is this number again: "123,456.7"."""
    return number_text(value, 17)


def numbers_apart(values: Sequence[float | None]) -> list[str]:
    """Each as `number_text`, with the fewest digits that make unequal numbers look different."""
    texts = [number_text(value) for value in values]
    for digits in range(5, 18):
        if len(set(texts)) == len(set(values)):
            break
        longer = [number_text(value, digits) for value in values]
        texts = longer if len(set(longer)) > len(set(texts)) else texts
    return texts


def tick_text(value: float, step: float) -> str:
    """A number of an axis with the digits that tell it from its neighbours, a `step` away."""
    if not step:
        return number_text(value)
    digits = Decimal(repr(value)).adjusted() - Decimal(repr(step)).adjusted() + 2  # steps may be 2.5
    return number_text(value, min(17, max(4, digits)))


def exact_time(moment: datetime) -> str:
    """A moment to the second in UTC, as titles show it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
