"""Logs: every byte once and in order, whatever repeats, races or dies."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.errors import InvalidInput, InvalidName, NotFound, OffsetMismatch, StaleAttempt
from runs.models import LogChunk, Run
from runs.services import logs
from runs.status import Status
from tests.factories import make_run

NAME = logs.STD_LOG
MEBIBYTE = 1 << 20


@pytest.fixture
def run(db: None) -> Run:
    return make_run(status=Status.RUNNING)


def append(run: Run, *parts: bytes, name: str = NAME) -> bytes:
    """Append the parts one after another; returns them joined."""
    at = logs.log_size(run, run.attempt, name)
    for part in parts:
        logs.append_log(run, run.attempt, name, at, part)
        at += len(part)
    return b"".join(parts)


def whole(run: Run, name: str = NAME, attempt: int | None = None) -> bytes:
    return b"".join(logs.iter_log(run, name, attempt))


def line_of(size: int) -> bytes:
    return b"x" * (size - 1) + b"\n"


class TestAppending:
    def test_bytes_follow_one_another(self, run: Run) -> None:
        append(run, b"one\n", b"two", b" three\n")
        assert whole(run) == b"one\ntwo three\n"
        assert logs.log_size(run, run.attempt, NAME) == 14

    def test_it_takes_a_run_or_its_key(self, run: Run) -> None:
        logs.append_log(run.pk, run.attempt, NAME, 0, b"one")
        logs.append_log(run, run.attempt, NAME, 3, b"two")
        assert logs.log_size(run.pk, run.attempt, NAME) == 6

    def test_what_is_there_already_is_skipped(self, run: Run) -> None:
        append(run, b"one\ntwo\n")
        logs.append_log(run, run.attempt, NAME, 4, b"two\n")
        logs.append_log(run, run.attempt, NAME, 4, b"two\nthree\n")
        assert whole(run) == b"one\ntwo\nthree\n"

    def test_a_gap_is_refused_with_the_right_offset(self, run: Run) -> None:
        append(run, b"one\n")
        with pytest.raises(OffsetMismatch) as caught:
            logs.append_log(run, run.attempt, NAME, 5, b"two\n")
        assert caught.value.expected == 4
        assert whole(run) == b"one\n"

    @pytest.mark.parametrize("before", [b"", b"one\n"])
    def test_another_attempt_is_refused(self, run: Run, before: bytes) -> None:
        append(run, *[before] if before else [])
        for attempt in (run.attempt - 1, run.attempt + 1):
            with pytest.raises(StaleAttempt):
                logs.append_log(run, attempt, NAME, 0, b"old")
        Run.objects.filter(pk=run.pk).update(attempt=2)
        with pytest.raises(StaleAttempt):
            logs.append_log(run, 1, NAME, len(before), b"old")

    def test_nothing_is_written_for_no_bytes(self, run: Run) -> None:
        logs.append_log(run, run.attempt, NAME, 0, b"")
        assert not LogChunk.objects.exists()

    def test_without_the_run_it_says_so(self, db: None) -> None:
        with pytest.raises(NotFound):
            logs.append_log(4711, 1, NAME, 0, b"x")

    @pytest.mark.parametrize("name", ["", "x" * 256, "a\0b", "a\nb"])
    def test_names_that_no_page_could_show_are_refused(self, run: Run, name: str) -> None:
        with pytest.raises(InvalidName):
            logs.append_log(run, run.attempt, name, 0, b"x")

    def test_impossible_places_and_sizes_are_refused(self, run: Run) -> None:
        with pytest.raises(InvalidInput):
            logs.append_log(run, run.attempt, NAME, -1, b"x")
        with pytest.raises(InvalidInput):
            logs.append_log(run, run.attempt, NAME, 0, bytes(logs.PIECE_BYTES + 1))

    def test_attempts_have_logs_of_their_own(self, run: Run) -> None:
        append(run, b"first\n")
        Run.objects.filter(pk=run.pk).update(attempt=2)
        run.refresh_from_db()
        append(run, b"second\n")
        assert whole(run) == b"second\n"
        assert whole(run, attempt=1) == b"first\n"

    def test_it_costs_three_queries_at_most(self, run: Run) -> None:
        with CaptureQueriesContext(
            connection,
        ) as first:
            append_at(run, 0, line_of(5000))  # the end, the run's attempt, the row
        with CaptureQueriesContext(connection) as later:
            append_at(run, 5000, b"more\n")  # the end with the attempt, the row
        with CaptureQueriesContext(connection) as grown:
            append_at(run, 5005, b"more\n")  # the end with the attempt, the row that grows
        assert [count(first), count(later), count(grown)] == [3, 2, 2]

    def test_ten_thousand_small_writes_take_few_rows(self, run: Run) -> None:
        update = b"\r 37%|###########         | 1234/5000 [00:11<00:06, 16.6it/s]"
        append(run, *[update] * 1000)
        assert whole(run) == update * 1000
        assert LogChunk.objects.count() <= 1000 * len(update) // logs.ROW_BYTES * 1.1 + 1


def append_at(run: Run, offset: int, data: bytes) -> None:
    logs.append_log(run, run.attempt, NAME, offset, data)


def count(captured: CaptureQueriesContext) -> int:
    """Queries, without the frame of a transaction."""
    frame = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    return sum(not query["sql"].startswith(frame) for query in captured.captured_queries)


class TestPieces:
    def test_much_at_once_is_stored_directly(self, run: Run, storage: Path) -> None:
        append(run, b"small\n", line_of(MEBIBYTE))
        inline = LogChunk.objects.filter(storage_name="")
        assert not inline.exists()
        assert sorted(file.stat().st_size for file in storage.rglob("*") if file.is_file()) == [6, MEBIBYTE]

    def test_a_mebibyte_of_rows_becomes_one_piece(self, run: Run) -> None:
        expected = append(run, *[line_of(100_000)] * 12)
        assert LogChunk.objects.exclude(storage_name="").count() == 1
        assert LogChunk.objects.filter(storage_name="").count() <= 2
        assert whole(run) == expected

    def test_rolling_up_leaves_no_row_with_bytes(self, run: Run) -> None:
        expected = append(run, *[line_of(5_000)] * 50)
        other = append(run, b"launch\n", name="system_logs/launch.log")
        logs.roll_up(run)
        logs.roll_up(run)
        assert not LogChunk.objects.filter(storage_name="").exists()
        assert LogChunk.objects.count() == 2
        assert whole(run) == expected
        assert whole(run, "system_logs/launch.log") == other

    def test_a_rolled_up_log_can_grow(self, run: Run) -> None:
        before = append(run, b"one\n")
        logs.roll_up(run)
        assert before + append(run, b"two\n") == whole(run)

    def test_a_kill_between_piece_and_row_loses_nothing(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = append(run, *[line_of(5_000)] * 50)

        def killed(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(LogChunk, "save", killed)
            with pytest.raises(KeyboardInterrupt):
                logs.roll_up(run)
        assert whole(run) == expected
        logs.roll_up(run)
        assert whole(run) == expected

    def test_old_orphans_are_dropped_and_young_ones_left(
        self, run: Run, storage: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        append(run, line_of(MEBIBYTE))
        orphan = storage / "logs" / str(run.pk) / str(run.attempt) / "000-orphan"
        orphan.write_bytes(b"orphan")
        logs.roll_up(run)
        assert orphan.exists()
        monkeypatch.setattr(logs, "_ORPHAN_AGE", -logs._ORPHAN_AGE)
        logs.roll_up(run)
        assert not orphan.exists()
        assert len(whole(run)) == MEBIBYTE

    def test_a_piece_that_is_gone_says_so(self, run: Run) -> None:
        append(run, line_of(MEBIBYTE))
        default_storage.delete(LogChunk.objects.get().storage_name)
        with pytest.raises(NotFound, match="missing in the storage"):
            logs.read_log(run, NAME, 0, 10)


class TestReading:
    @pytest.fixture
    def text(self, run: Run) -> bytes:
        """A log of rows and pieces with lines of all lengths, and no newline at its end."""
        chance = random.Random(7)
        parts = [bytes(b"y" * chance.randrange(400)) + b"\n" for _ in range(3000)]
        parts += [line_of(MEBIBYTE), line_of(2 * MEBIBYTE), b"\n\n", line_of(70_000), b"the end"]
        joined = [b"".join(parts[at : at + 37]) for at in range(0, 3000, 37)]
        return append(run, *joined, *parts[3000:])

    def test_any_stretch(self, run: Run, text: bytes) -> None:
        chance = random.Random(8)
        for _ in range(50):
            start = chance.randrange(len(text))
            end = start + chance.randrange(MEBIBYTE)
            assert logs.read_log(run, NAME, start, end) == text[start:end]
        assert logs.read_log(run, NAME, len(text), len(text) + 5) == b""
        assert logs.read_log(run, NAME, -5, 3) == text[:3]

    def test_lines_and_offsets(self, run: Run, text: bytes) -> None:
        chance = random.Random(9)
        for at in [0, 1, len(text) - 1, *(chance.randrange(len(text)) for _ in range(50))]:
            number = text[:at].count(b"\n") + 1
            assert logs.line_at(run, NAME, at) == number
            assert logs.offset_of_line(run, NAME, number) == text.rfind(b"\n", 0, at) + 1
        assert logs.line_at(run, NAME, len(text) + 1) == text.count(b"\n") + 1
        assert logs.offset_of_line(run, NAME, text.count(b"\n") + 2) == len(text)

    def test_no_log_at_all(self, run: Run) -> None:
        assert whole(run) == b""
        assert logs.tail(run, NAME, 100) == (0, b"")
        assert logs.line_at(run, NAME, 5) == 1
        assert logs.offset_of_line(run, NAME, 5) == 0
        assert logs.log_files_of([run.pk]) == {run.pk: []}

    def test_the_tail(self, run: Run, text: bytes) -> None:
        assert logs.tail(run, NAME, 100) == (len(text) - 100, text[-100:])

    def test_files_with_size_and_lines(self, run: Run, text: bytes) -> None:
        append(run, b"a\nb", name="logs/loader.log")
        files = logs.log_files_of([run.pk])[run.pk]
        assert [(file.name, file.size, file.lines) for file in files] == [
            ("logs/loader.log", 3, 1),
            (NAME, len(text), text.count(b"\n")),
        ]
        assert (files[0].folder, files[0].title) == ("logs", "loader.log")
        assert {file.attempt for file in files} == {run.attempt}

    def test_split_letters_come_together(self, run: Run) -> None:
        text = "Zürich 🚂 \U0001f468\u200d\U0001f469\u200d\U0001f467\n".encode()
        append(run, *[text[at : at + 1] for at in range(len(text))])
        assert whole(run) == text

    def test_memory_does_not_grow_with_the_log(self, run: Run) -> None:
        size, portion = 50 * MEBIBYTE, line_of(4 * MEBIBYTE)
        tracemalloc.start()
        try:
            for at in range(0, size, len(portion)):
                append_at(run, at, portion[: size - at])
            taken = sum(len(part) for part in logs.iter_log(run, NAME))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert taken == size
        assert peak < 24 * MEBIBYTE


@pytest.mark.django_db(transaction=True)
class TestRaces:
    @pytest.fixture
    def run(self, transactional_db: None) -> Run:
        return make_run(status=Status.RUNNING)

    def test_two_writers_of_the_same_bytes_leave_them_once(self, run: Run) -> None:
        text = b"".join(b"line %d\n" % number for number in range(2000))
        steps = [(at, at + 997) for at in range(0, len(text), 997)]

        def write() -> Iterator[None]:
            for start, end in steps:
                append_at(run, start, text[start:end])
                yield

        race(write, write)
        assert whole(run) == text
        assert_joined(run)

    def test_rolling_up_beside_a_writer_loses_nothing(self, run: Run) -> None:
        parts = [b"line %d\n" % number * 50 for number in range(300)]

        def write() -> Iterator[None]:
            at = 0
            for part in parts:
                append_at(run, at, part)
                at += len(part)
                yield

        def roll() -> Iterator[None]:
            for _ in range(60):
                logs.roll_up(run)
                yield

        race(write, roll)
        assert whole(run) == b"".join(parts)
        assert_joined(run)

    def test_two_roll_ups_at_once_leave_one_piece(self, run: Run, storage: Path) -> None:
        expected = append(run, *[line_of(9_000)] * 40)

        def roll() -> Iterator[None]:
            logs.roll_up(run)
            yield

        race(roll, roll)
        assert whole(run) == expected
        assert LogChunk.objects.count() == 1
        assert len([path for path in storage.rglob("*") if path.is_file()]) == 1


def race(*actors: Any) -> None:
    """Let them run at the same time, each with a connection of its own, and raise what one of them raised."""
    barrier, failures = threading.Barrier(len(actors)), []

    def act(actor: Any) -> None:
        try:
            barrier.wait()
            for _ in actor():
                pass
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=act, args=[actor]) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def assert_joined(run: Run) -> None:
    """Each piece begins where the one before it ends, and counts its lines right."""
    at = line = 0
    for chunk in LogChunk.objects.filter(run=run).order_by("offset"):
        data = logs.read_log(run, NAME, chunk.offset, chunk.offset + chunk.size)
        assert (chunk.offset, chunk.line, chunk.newlines) == (at, line, data.count(b"\n"))
        at, line = at + chunk.size, line + chunk.newlines
