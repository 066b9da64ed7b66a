"""A log of which the storage has lost a part: everything else is read, numbered, searched and downloaded."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.errors import NotFound
from runs.models import LogChunk, Run
from runs.services import log_pages, log_search, logs
from runs.services.log_pages import Log, LogPage
from runs.status import Status
from studio.accounts.models import User
from studio.accounts.services import make_token
from tests.api_kit import Api, refusal
from tests.factories import make_run

NAME = logs.STD_LOG
PIECE = 1 << 20
PADDING = "." * 180
WHOLE = "".join(f"line {number} of the log{PADDING}\n" for number in range(1, 20_001)).encode()


@pytest.fixture
def run(ana: User, storage: Path) -> Run:
    """A run whose log lies in four pieces, cut in the middle of lines."""
    run = make_run(status=Status.RUNNING)
    for start in range(0, len(WHOLE), PIECE):
        logs.append_log(run, run.attempt, NAME, start, WHOLE[start : start + PIECE])
    logs.roll_up(run)
    return run


def lose(run: Run, number: int) -> LogChunk:
    """Take the file of one piece away; -1 is the last one."""
    chunk = list(LogChunk.objects.filter(run=run).order_by("offset"))[number]
    default_storage.delete(chunk.storage_name)
    return chunk


def log_of(run: Run) -> Log:
    return Log(run, NAME, run.attempt, logs.log_size(run, run.attempt, NAME), complete=True)


def log_without(lost: int | list[int] | None, *parts: bytes) -> Log:
    """A log in these pieces, of which the storage has lost some."""
    run = make_run(status=Status.RUNNING)
    at = 0
    for part in parts:
        at = logs.append_log(run, run.attempt, NAME, at, part)
        logs.roll_up(run)
    for number in [lost] if isinstance(lost, int) else lost or []:
        lose(run, number)
    return log_of(run)


def all_pages(log: Log) -> list[LogPage]:
    """From the first page to the last, by "Later lines"."""
    pages = [log_pages.page_after(log, 0)]
    while pages[-1].has_later:
        pages.append(log_pages.page_after(log, pages[-1].next_offset))
    return pages


def all_pages_back(log: Log) -> list[LogPage]:
    """The same from the end, by "Earlier lines"."""
    pages = [log_pages.page_at_end(log)]
    while pages[0].has_earlier:
        pages.insert(0, log_pages.page_before(log, pages[0].start))
    return pages


@pytest.mark.parametrize("number", [0, 1, -1])
@pytest.mark.parametrize("read", [all_pages, all_pages_back])
def test_every_other_line_is_shown_with_its_number(
    run: Run, number: int, read: Callable[[Log], list[LogPage]]
) -> None:
    lost = lose(run, number)
    lines = [line for page in read(log_of(run)) for line in page.lines]
    [note] = [line for line in lines if "missing" in line.text]
    assert note.text == f"[{lost.size:,} bytes of this log are missing here, {lost.newlines:,} lines]"
    kept = WHOLE[: lost.offset].rpartition(b"\n")[0].count(b"\n") + 1 if lost.offset else 0
    before = [line for line in lines if line.number < note.number]
    assert [line.text for line in before][:kept] == [
        f"line {n} of the log{PADDING}" for n in range(1, kept + 1)
    ]
    after = [line for line in lines if line.number > note.number][1:]
    assert all(line.text == f"line {line.number} of the log{PADDING}" for line in after)
    assert len(after) == WHOLE.count(b"\n", lost.offset + lost.size) - 1 or number == -1
    assert sorted(line.number for line in lines) == [line.number for line in lines]


def test_a_line_behind_it_is_found_by_number_and_by_place(run: Run) -> None:
    lost = lose(run, 1)
    behind = lost.line + lost.newlines + 5
    page = log_pages.page_around(log_of(run), log_of(run).offset_of(behind))
    assert f"line {behind} of the log{PADDING}" in [line.text for line in page.lines if line.number == behind]
    within = log_pages.page_around(log_of(run), log_of(run).offset_of(lost.line + 500))
    assert any("missing here" in line.text for line in within.lines)


def test_a_piece_that_was_cut_short_is_missing(run: Run, storage: Path) -> None:
    chunk = list(LogChunk.objects.filter(run=run).order_by("offset"))[1]
    file = storage / chunk.storage_name
    file.write_bytes(file.read_bytes()[:1000])
    text = [line.text for page in all_pages(log_of(run)) for line in page.lines]
    assert sum("missing here" in line for line in text) == 1
    assert text[-1] == f"line 20000 of the log{PADDING}"


def test_a_search_goes_on_behind_it_and_says_that_a_part_is_missing(run: Run) -> None:
    assert not log_search.search_log(log_of(run), "line 20000 ").is_partial
    lose(run, 1)
    found = log_search.search_log(log_of(run), "line 20000 ")
    assert [(hit.number, found.is_partial) for hit in found.hits] == [(20_000, True)]


def test_lines_behind_it_in_the_same_window_are_found_by_their_numbers(run: Run) -> None:
    lost = lose(run, 1)
    behind = lost.line + lost.newlines + 2
    found = log_search.search_log(log_of(run), f"line {behind} ")
    assert found.hits[0].offset < log_search._WINDOW_BYTES
    assert [hit.number for hit in found.hits] == [behind]


class TestSearchOfWindows:
    """Where a window of a search ends: within a note or an endless line, at the last line that is found."""

    WINDOW = log_search._WINDOW_BYTES
    TAIL = b"".join(b"tail %d\n" % number for number in range(100))

    @pytest.mark.parametrize("more", [0, 1, 30, 85, 100, 110, 120, 140, 160, WINDOW - 60])
    def test_a_note_that_is_longer_than_a_window(self, ana: User, storage: Path, more: int) -> None:
        lost = b"y" * (self.WINDOW + 60 + more - 50) + b"one\n" * 10 + b"y" * 10
        whole = b"first\n" + lost + self.TAIL
        log = log_without(1, b"first\n", lost, self.TAIL)
        found = log_search.search_log(log, "tail 99")
        assert [hit.number for hit in found.hits] == [whole.count(b"\n")]
        assert found.is_partial

    @pytest.mark.parametrize("before", [0, 1, 3, 20, 40, 60, 80, 110])
    def test_a_note_within_an_endless_line(self, ana: User, storage: Path, before: int) -> None:
        start = b"x" * (2 * self.WINDOW - 300 + before)
        log = log_without(1, start, b"y" * 300, self.TAIL)
        portion, hits, partial = log_search.search_log(log, "tail 99", budget_s=0), [], False
        while not portion.is_done:
            hits, partial = hits + portion.hits, partial or portion.is_partial
            portion = log_search.search_log(
                log, "tail 99", offset=portion.offset, number=portion.number, budget_s=0
            )
        assert [hit.number for hit in hits + portion.hits] == [100]
        assert partial or portion.is_partial

    def test_an_endless_line_is_read_in_bounded_portions(self, ana: User, storage: Path) -> None:
        log = log_without(None, *[b"x" * logs.PIECE_BYTES] * 3)
        portion = log_search.search_log(log, "nothing", budget_s=0)
        assert 0 < portion.offset <= logs.READ_BYTES
        assert not portion.is_done

    def test_the_note_is_the_last_line_of_a_portion(
        self, ana: User, storage: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_search, "MAX_HITS", 1)
        log = log_without(1, b"first\n", b"lost line\n" * 100, self.TAIL)
        note = log_search.search_log(log, "missing here")
        assert [hit.number for hit in note.hits] == [3]
        behind = log_search.search_log(log, "tail 0", offset=note.offset, number=note.number)
        assert [hit.number for hit in behind.hits] == [102]

    def test_an_open_line_is_the_last_line_of_a_portion(
        self, ana: User, storage: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_search, "MAX_HITS", 1)
        found = log_search.search_log(log_without(None, b"first\nopen"), "open")
        assert (found.offset, found.number, found.open_bytes) == (10, 2, 4)

    def test_lines_that_a_progress_bar_overwrote_take_no_long_time(self, ana: User, storage: Path) -> None:
        log = log_without(None, (b"needle\rdone\n" * 40_000).ljust(self.WINDOW - 1, b".") + b"\x1b")
        begun = time.monotonic()
        assert log_search.search_log(log, "needle").hits == []
        assert time.monotonic() - begun < 10


@given(
    parts=st.lists(
        st.tuples(
            st.lists(st.sampled_from([b"", b"a", b"line", b"x" * 60]), min_size=1, max_size=9),
            st.sampled_from([0, 1, 150, 400]),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_line_is_found_where_it_is_shown(
    ana: User, storage: Path, parts: list[tuple[list[bytes], int, bool]]
) -> None:
    """Parts that end within lines or with them, any of them lost, some too short for a note."""
    pieces = [(b"y" * size + b"\n".join(lines), is_lost) for lines, size, is_lost in parts]
    pieces = [(text, is_lost) for text, is_lost in pieces if text]  # nothing is kept of an empty one
    texts = [text for text, _ in pieces]
    log = log_without([at for at, (_, is_lost) in enumerate(pieces) if is_lost], *texts)
    lines = [line for page in all_pages(log) for line in page.lines]
    shown = {n: line.offset for line in lines for n in range(line.number, line.number + line.stands_for)}
    total = sum(text.count(b"\n") for text in texts) + 1
    assert list(shown) == list(range(1, len(shown) + 1))
    assert len(shown) in (total, total - 1)
    for number in range(1, total + 3):
        assert log.offset_of(number) == shown.get(number, log.size)
    assert [log.number_at(line.offset) for line in lines] == [line.number for line in lines]


@pytest.mark.parametrize("cut", [b"", b"half a "])
@pytest.mark.parametrize(("before", "behind"), [(5, 5), (0, 5), (5, 0)])
def test_lines_beside_it_by_number(ana: User, storage: Path, cut: bytes, before: int, behind: int) -> None:
    """At the start of the log, in its middle and at its end, with or without a line cut at both ends."""
    first, last = b"kept\n" * before + cut, b"line\n" + b"kept\n" * behind
    lost = b"line\n" + b"lost\n" * 50 + cut
    log = log_without(1 if first else 0, *[part for part in (first, lost, last if behind else b"") if part])
    note, end = len(first) + 1, len(first) + len(lost)
    assert log.offset_of(before + 1) == before * 5
    assert [log.offset_of(before + 1 + n) for n in (1, 2, 3, 49, 50)] == [note] * 5
    assert log.offset_of(before + 52) == end
    assert log.offset_of(before + 53) == (end + 5 if behind else log.size)


@pytest.mark.parametrize("text", [b"ab", b"a\n", b"\n\n\n", b"a\nb", b"x" * 300, b"x" * 300 + b"\n"])
def test_a_small_part_takes_its_room_and_its_lines(run: Run, text: bytes) -> None:
    tiny = make_run(status=Status.RUNNING)
    logs.append_log(tiny, tiny.attempt, NAME, 0, b"one\n")
    logs.roll_up(tiny)
    logs.append_log(tiny, tiny.attempt, NAME, 4, text)
    logs.roll_up(tiny)
    logs.append_log(tiny, tiny.attempt, NAME, 4 + len(text), b"\nend\n")
    lose_second = LogChunk.objects.get(run=tiny, offset=4)
    default_storage.delete(lose_second.storage_name)
    lines = all_pages(log_of(tiny))[0].lines
    assert (lines[0].text, lines[-1].text) == ("one", "end")
    assert lines[-1].number == 3 + text.count(b"\n")
    assert logs.line_count(tiny, tiny.attempt, NAME) == lines[-1].number


class TestPage:
    @pytest.fixture
    def client(self, ana: User, client_of: Callable[[User], Client]) -> Client:
        return client_of(ana)

    def address(self, run: Run, part: str = "") -> str:
        return f"/experiments/{run.experiment.name}/runs/{run.number}/logs/{part}"

    def test_it_opens_with_what_is_left(self, run: Run, client: Client) -> None:
        lost = lose(run, -1)
        page = client.get(self.address(run))
        assert page.status_code == 200
        text = page.content.decode()
        assert f'<span class="ansi-dim">[{lost.size:,} bytes of this log are missing here' in text
        assert f"line {lost.line - 5} of the log" in text
        assert "20,000 lines" in text

    def test_the_download_has_everything_else_in_its_place(self, run: Run, client: Client) -> None:
        lost = lose(run, 1)
        answer: Any = client.get(self.address(run, "raw/"))
        data = b"".join(answer.streaming_content)
        end = lost.offset + lost.size
        assert (data[: lost.offset], data[end:]) == (WHOLE[: lost.offset], WHOLE[end:])
        assert re.fullmatch(rb"\n\[[\d,]+ bytes of this log are missing here, [\d,]+ lines\] *\n",
                            data[lost.offset : end])  # fmt: skip

    def test_a_search_says_so(self, run: Run, client: Client) -> None:
        lose(run, 1)
        answer = client.get(self.address(run, "search/"), {"q": "line 20000 "})
        assert answer.json()["partial"] is True
        plain = client.get(self.address(run), {"q": "line 20000 ", "find": 1})
        assert "A part of this log is missing and was not searched." in plain.content.decode()

    def test_the_graph_shows_the_end_of_a_steps_log(self, run: Run, client: Client) -> None:
        lose(run, -1)
        assert "missing here" in client.get(self.address(run).replace("logs/", "log-tail/")).content.decode()


def test_the_api_gives_what_is_left_and_names_the_part(run: Run, ana: User) -> None:
    lost = lose(run, 1)
    api, path = Api(make_token(ana, "test")[1]), f"/runs/{run.run_id}/logs/{NAME}"
    before = api.get(path, {"offset": lost.offset - 10, "length": 100})
    assert before.content == WHOLE[lost.offset - 10 : lost.offset]
    answer = api.get(path, {"offset": lost.offset, "length": 100})
    assert answer.status_code == 404
    end = lost.offset + lost.size
    assert f"Bytes {lost.offset:,} to {end - 1:,} of {NAME} are missing" in refusal(answer)["message"]
    assert f"offset {end}" in refusal(answer)["hint"]
    assert api.get(path, {"offset": end, "length": 100}).content == WHOLE[end : end + 100]
    with pytest.raises(NotFound, match="are missing in the storage"):
        logs.read_log(run, NAME, lost.offset, end)
