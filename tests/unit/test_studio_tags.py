"""The template tags: formatting that pages rely on, safe with whatever people typed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from runs.status import Status
from runs.templatetags import studio


@dataclass
class Label:
    key: str
    value: str | None = None

    def __str__(self) -> str:
        return self.key if self.value is None else f"{self.key}={self.value}"


@dataclass
class Who:
    shown_name: str


@dataclass
class Timed:
    started_at: datetime | None
    ended_at: datetime | None = None
    status: str = Status.RUNNING


@pytest.mark.parametrize("value", list(Status))
def test_status_is_icon_word_and_class(value: Status) -> None:
    html = studio.status(value)
    assert f"#{studio.STATUS_ICONS[value]}" in html
    assert f">{value}<" in html
    assert f"status-{value.lower()}" in html


def test_status_without_its_word_keeps_it_as_title() -> None:
    assert "<title>Failed</title>" in studio.status("Failed", word=False)


def test_only_what_moves_breathes() -> None:
    assert "is-live" in studio.status("Running")
    assert not any("is-live" in studio.status(word) for word in ("Queued", "NotResponding", "Completed"))


def test_duration_ticks_only_while_it_runs() -> None:
    start = datetime.now(UTC) - timedelta(minutes=12, seconds=4)
    assert "data-since" in studio.duration(Timed(start))
    ended = studio.duration(Timed(start, start + timedelta(seconds=41)))
    assert ">41s<" in ended
    assert "data-since" not in ended
    assert "–" in studio.duration(Timed(None))
    stopping = studio.duration(Timed(start, status=Status.CANCEL_REQUESTED))
    assert ">12m 04s<" in stopping
    assert "data-since" not in stopping


def test_ago_has_the_exact_time_as_title() -> None:
    html = studio.ago(datetime(2026, 11, 21, 14, 2, 20, tzinfo=UTC))
    assert 'title="2026-11-21 14:02:20 UTC"' in html


@pytest.mark.parametrize(("name", "initials"), [("ana", "AN"), ("ana.maria", "AM"), ("x", "X"), ("_", "_")])
def test_person_has_initials_and_a_stable_colour(name: str, initials: str) -> None:
    html = studio.person(Who(name))
    assert f">{initials}<" in html
    assert html == studio.person(Who(name))


def test_nobody_is_studio() -> None:
    assert "Studio" in studio.person(None)


def test_tags_that_do_not_fit_are_counted_and_named() -> None:
    labels = [Label("quality", "fantastic run"), Label("baseline"), Label("width", "512"), Label("seed", "3")]
    html = studio.tag_list(labels, width=236)
    assert html.count(" hidden>") > 0
    assert "quality=fantastic run, baseline, width=512, seed=3" in html


@pytest.mark.parametrize(("count", "sent"), [(3, 3), (40, 8)])
def test_some_more_tags_than_fit_come_hidden(count: int, sent: int) -> None:
    html = studio.tag_list([Label("key", str(n)) for n in range(100, 100 + count)], width=60)
    assert html.count('class="tag"') == sent
    assert html.count(" hidden>") == sent - 1
    assert f'data-tags="{count}">+{count - 1}</span>' in html


def test_a_tag_is_never_dropped_for_being_long() -> None:
    assert "x" * 300 in studio.tag_list([Label("x" * 300)])


def test_what_people_typed_is_escaped() -> None:
    assert "<b>" not in studio.tag(Label("<b>", "<b>")) + studio.person(Who("<b>"))
