"""The time that a run spent in each status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runs.status import Status
from runs.timeline import timeline_of

START = datetime(2026, 11, 21, 14, tzinfo=UTC)


@dataclass
class Who:
    shown_name: str


@dataclass
class Event:
    to_status: str
    at: datetime
    why: str = ""
    by: Who | None = None


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_each_status_lasts_until_the_next() -> None:
    line = timeline_of([Event(Status.QUEUED, START), Event(Status.RUNNING, after(30))], after(120))
    assert line is not None
    assert [stay.spent for stay in line.stays] == [timedelta(seconds=30), timedelta(seconds=90)]
    assert [stay.share for stay in line.stays] == [0.25, 0.75]
    assert [stay.is_growing for stay in line.stays] == [False, True]
    assert line.stays[0].percent == "25.000%"


def test_a_run_that_has_ended_spends_no_more_time() -> None:
    line = timeline_of([Event(Status.RUNNING, START), Event(Status.FAILED, after(10))], after(1_000))
    assert line is not None
    assert line.is_over
    assert line.total == timedelta(seconds=10)
    assert line.stays[-1].spent is None
    assert [part.status for part in line.parts] == [Status.RUNNING]


def test_a_clock_that_went_back_gives_no_negative_time() -> None:
    line = timeline_of([Event(Status.QUEUED, START), Event(Status.RUNNING, after(-5))], after(-7))
    assert line is not None
    assert all(stay.spent == timedelta() and stay.share == 0 for stay in line.stays)


def test_without_events_there_is_no_timeline() -> None:
    assert timeline_of([], START) is None


def test_a_long_reason_is_named_by_its_first_line() -> None:
    long = "x" * 200
    events = [Event(Status.QUEUED, START, why) for why in ("short", "two\nlines", long, "\n later ")]
    line = timeline_of(events, after(3))
    assert line is not None
    assert [(stay.first_line, stay.is_long) for stay in line.stays] == [
        ("short", False), ("two", True), (long, True), ("later", False),
    ]  # fmt: skip


def test_who_did_it_is_named_once() -> None:
    events = [
        Event(Status.QUEUED, START, "submitted by ana", Who("ana")),
        Event(Status.CANCEL_REQUESTED, after(1), "diverged", Who("ben")),
        Event(Status.CANCELED, after(2), "", Who("ben")),
        Event(Status.CANCELED, after(2), "its node stopped it"),
    ]
    line = timeline_of(events, after(3))
    assert line is not None
    assert [stay.why for stay in line.stays] == [
        "submitted by ana", "diverged, by ben", "by ben", "its node stopped it",
    ]  # fmt: skip


def test_a_step_waits_from_its_submission_on() -> None:
    line = timeline_of([Event(Status.CANCELED, after(1.2))], after(60), made_at=START)
    assert line is not None
    assert [(stay.status, stay.spent) for stay in line.stays] == [
        (Status.NOT_STARTED, timedelta(seconds=1.2)), (Status.CANCELED, None),
    ]  # fmt: skip
    assert (line.total, line.start) == (timedelta(seconds=1.2), START)


def test_a_step_that_waits_still_has_a_timeline() -> None:
    line = timeline_of([], after(5), made_at=START)
    assert line is not None
    assert [(stay.status, stay.is_growing) for stay in line.stays] == [(Status.NOT_STARTED, True)]
