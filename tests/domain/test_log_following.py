"""Logs for programs: how far one has come, and what interactive runs add to theirs."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connections

from runs.errors import Conflict, InvalidInput, InvalidName, NotFound, OffsetMismatch
from runs.models import Run
from runs.services.log_following import ADDED_BYTES, add_to_log, log_state
from runs.services.logs import STD_LOG, append_log, log_size, read_log
from runs.status import Kind, Status
from tests.factories import make_run

pytestmark = pytest.mark.django_db
LOG = "logs/user_log.txt"


def interactive(**over: Any) -> Run:
    return make_run(**{"kind": Kind.INTERACTIVE, "status": Status.RUNNING, "attempt": 0, **over})


def text(run: Run, name: str = LOG) -> bytes:
    return read_log(run, name, 0, 10_000)


def test_a_log_that_may_still_come_is_empty_and_any_other_is_not_found() -> None:
    running, ended = make_run(status=Status.RUNNING), make_run(status=Status.COMPLETED)
    assert (log_state(running, LOG).size, log_state(running, LOG).may_grow) == (0, True)
    assert (log_state(ended, STD_LOG).size, log_state(ended, STD_LOG).may_grow) == (0, False)
    with pytest.raises(NotFound):
        log_state(ended, LOG)


def test_the_log_of_an_older_attempt_no_longer_grows(django_assert_num_queries: Any) -> None:
    run = make_run(status=Status.RUNNING)
    append_log(run, 1, STD_LOG, 0, b"first\n")
    Run.objects.filter(pk=run.pk).update(attempt=2)
    with django_assert_num_queries(1):
        old = log_state(run, STD_LOG, 1)
    assert (old.attempt, old.size, old.may_grow, old.run_attempt) == (1, 6, False, 2)
    now = log_state(run, STD_LOG)
    assert (now.attempt, now.size, now.may_grow, now.run_status) == (2, 0, True, Status.RUNNING)
    with pytest.raises(NotFound):
        log_state(run, "logs/other.txt", 1)


def test_what_is_added_is_read_back() -> None:
    run = interactive()
    assert add_to_log(run, LOG, 0, b"one\n") == 4
    assert add_to_log(run, LOG, 4, b"two\n") == 8
    assert text(run) == b"one\ntwo\n"


def test_the_same_bytes_may_be_sent_again() -> None:
    run = interactive()
    add_to_log(run, LOG, 0, b"one\ntwo\n")
    assert add_to_log(run, LOG, 4, b"two\n") == 8
    assert add_to_log(run, LOG, 4, b"two\nthree\n") == 14
    assert text(run) == b"one\ntwo\nthree\n"


@pytest.mark.parametrize(("offset", "data"), [(9, b"x"), (4, b"TWO\n"), (4, b"tw!\nthree"), (0, b"x")])
def test_any_other_offset_is_refused_with_the_right_one(offset: int, data: bytes) -> None:
    run = interactive()
    add_to_log(run, LOG, 0, b"one\ntwo\n")
    with pytest.raises(OffsetMismatch) as refusal:
        add_to_log(run, LOG, offset, data)
    assert refusal.value.expected == 8
    assert text(run) == b"one\ntwo\n"


@pytest.mark.django_db(transaction=True)
def test_of_two_writers_at_one_offset_one_is_told() -> None:
    run = interactive()
    barrier = threading.Barrier(2)
    outcomes = []

    def add(data: bytes) -> None:
        barrier.wait()
        try:
            outcomes.append(add_to_log(run, LOG, 0, data))
        except OffsetMismatch as refusal:
            outcomes.append(-refusal.expected)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=add, args=(data,)) for data in (b"aaaa\n", b"bbbb\n")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [-5, 5]
    assert text(run) in (b"aaaa\n", b"bbbb\n")


def test_the_log_of_a_submitted_run_is_its_nodes() -> None:
    run = make_run(status=Status.RUNNING)
    with pytest.raises(Conflict, match="node writes the log"):
        add_to_log(run, LOG, 0, b"x")


@pytest.mark.parametrize(
    "name", ["", "../x", "/x", "a//b", "system_logs/launch.log", "a\nb", "a/", "x" * 256]
)
def test_a_name_that_is_no_log_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        add_to_log(interactive(), name, 0, b"x")


def test_a_log_and_a_run_have_their_limits(settings: Any) -> None:
    settings.LOG_CAP_BYTES, settings.OUTPUTS_MAX_FILES = 2 * ADDED_BYTES, 2
    run = interactive()
    with pytest.raises(InvalidInput, match="at once"):
        add_to_log(run, LOG, 0, bytes(ADDED_BYTES + 1))
    add_to_log(run, LOG, 0, bytes(ADDED_BYTES))
    add_to_log(run, LOG, ADDED_BYTES, bytes(ADDED_BYTES))
    with pytest.raises(InvalidInput, match="A log may have 2 MiB"):
        add_to_log(run, LOG, 2 * ADDED_BYTES, b"x")
    add_to_log(run, "logs/b.txt", 0, b"x")
    with pytest.raises(InvalidInput, match="2 logs"):
        add_to_log(run, "logs/c.txt", 0, b"x")
    assert log_size(run, 0, LOG) == 2 * ADDED_BYTES
