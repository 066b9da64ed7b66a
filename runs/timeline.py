"""The timeline of a run: the time it spent in each status, from its events. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any, Protocol

from runs.status import TERMINAL, Status

#: Letters of a reason for which the timeline has room.
_SHORT = 160


class Event(Protocol):
    """What the timeline reads of a RunEvent."""

    to_status: str
    at: datetime
    why: str
    by: Any


@dataclass
class _Made:
    """The beginning of a step, which no change of status has led to."""

    at: datetime
    to_status: str = Status.NOT_STARTED
    why: str = "submitted with its pipeline"
    by: Any = None


@dataclass(frozen=True)
class Stay:
    """One status on the way. `spent` is None once the run has ended; `is_last` is where the run is now."""

    status: str
    at: datetime
    spent: timedelta | None
    why: str
    is_last: bool
    share: float = 0.0

    @property
    def is_growing(self) -> bool:
        """Whether the run is in this status now and time goes on."""
        return self.is_last and self.spent is not None

    @property
    def first_line(self) -> str:
        """The first line of the reason that says something; the message of an error may have many."""
        return self.why.strip().partition("\n")[0].rstrip()

    @property
    def is_long(self) -> bool:
        """Whether the reason has more than its first line, or that is long."""
        return self.first_line != self.why.strip() or len(self.first_line) > _SHORT

    @property
    def percent(self) -> str:
        """The share of all the time as an SVG length."""
        return f"{self.share * 100:.3f}%"


@dataclass(frozen=True)
class Timeline:
    """The stays in their order. `total` is the time from the first event to the end, or to now."""

    stays: list[Stay]
    total: timedelta
    is_over: bool

    @property
    def parts(self) -> list[Stay]:
        """What the bar shows: every stay that lasts."""
        return [stay for stay in self.stays if stay.spent is not None]

    @property
    def start(self) -> datetime:
        """When it began."""
        return self.stays[0].at


def timeline_of(
    events: Sequence[Event], now: datetime, *, made_at: datetime | None = None
) -> Timeline | None:
    """The timeline of a run from its events, oldest first; None without any.

    `made_at` is for a step, which waits for others before its first event: when it was submitted.
    """
    if made_at is not None:
        events = [_Made(made_at), *events]
    if not events:
        return None
    is_over = events[-1].to_status in TERMINAL
    total = max((events[-1].at if is_over else now) - events[0].at, timedelta())
    stays = []
    for event, after in zip_longest(events, events[1:]):
        ends = after.at if after else now
        spent = None if after is None and is_over else max(ends - event.at, timedelta())
        share = spent / total if spent and total else 0.0
        stays.append(Stay(event.to_status, event.at, spent, reason(event), after is None, share))
    return Timeline(stays, total, is_over)


def reason(event: Event) -> str:
    """Why the status changed, and by whom unless the reason says so already."""
    if event.by is None or event.by.shown_name in event.why:
        return event.why
    return f"{event.why}, by {event.by.shown_name}" if event.why else f"by {event.by.shown_name}"
