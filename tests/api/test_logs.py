"""The logs of a run over the API: read by offset, waited for, added to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from runs.lifecycle import move
from runs.models import Run
from runs.services.logs import STD_LOG, append_log, read_log
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import make_run

pytestmark = pytest.mark.django_db
LOG = "logs/user_log.txt"


@pytest.fixture
def run(ana: User) -> Run:
    """A run of a script, at its second attempt."""
    run = make_run(status=Status.RUNNING, submitter=ana)
    append_log(run, 1, STD_LOG, 0, b"first attempt\n")
    Run.objects.filter(pk=run.pk).update(attempt=2)
    run.attempt = 2
    append_log(run, 2, STD_LOG, 0, b"hello\nworld\n")
    append_log(run, 2, LOG, 0, "é".encode())
    return run


@pytest.fixture
def interactive(ana: User) -> Run:
    return make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING, submitter=ana)


def address(run: Run, name: str = STD_LOG) -> str:
    return f"/runs/{run.run_id}/logs/{name}"


def facts(answer: Any) -> tuple[int, int, str]:
    """Size, attempt and status that an answer tells."""
    return (
        int(answer["Studio-Log-Size"]),
        int(answer["Studio-Log-Attempt"]),
        answer["Studio-Run-Status"],
    )


def test_the_logs_of_every_attempt_are_listed(api: Api, run: Run) -> None:
    items = api.get(f"/runs/{run.run_id}/logs").json()["items"]
    assert [(one["attempt"], one["name"], one["size"]) for one in items] == [
        (1, STD_LOG, 14),
        (2, LOG, 2),
        (2, STD_LOG, 12),
    ]
    assert items[0]["updated_at"].endswith("Z")
    only = api.get(f"/runs/{run.run_id}/logs", {"attempt": 1}).json()["items"]
    assert [one["attempt"] for one in only] == [1]


def test_a_log_is_read_by_offset(api: Api, run: Run) -> None:
    whole = api.get(address(run))
    assert (whole.status_code, whole.content) == (200, b"hello\nworld\n")
    assert facts(whole) == (12, 2, "Running")
    assert api.get(address(run), {"offset": 6, "length": 3}).content == b"wor"
    assert api.get(address(run), {"offset": 12}).content == b""
    assert api.get(address(run), {"offset": 10**15}).content == b""
    first = api.get(address(run), {"attempt": 1})
    assert (first.content, facts(first)) == (b"first attempt\n", (14, 1, "Running"))


def test_what_a_script_printed_cannot_act_in_a_browser(api: Api, run: Run) -> None:
    answer = api.get(address(run))
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"].startswith("sandbox")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"offset": -1}, "offset"),
        ({"offset": "x"}, "offset"),
        ({"offset": 2**63}, "offset"),
        ({"length": 0}, "length"),
        ({"length": 2**30}, "length"),
        ({"attempt": -1}, "attempt"),
        ({"attempt": 2**31}, "attempt"),
        ({"wait": 21}, "wait"),
        ({"wait": "nan"}, "wait"),
    ],
)
def test_a_part_that_cannot_be_is_refused(api: Api, run: Run, query: dict[str, Any], field: str) -> None:
    answer = api.get(address(run), query)
    assert answer.status_code == 422
    assert refusal(answer)["field"].endswith(field)


def test_an_attempt_that_has_not_begun_has_no_log(api: Api, run: Run) -> None:
    answer = api.get(address(run), {"attempt": 3, "wait": 20})
    assert answer.status_code == 404
    said = refusal(answer)
    assert (said["field"], said["message"], said["hint"]) == (
        "attempt",
        "The run has no attempt 3.",
        "The newest is 2.",
    )


def test_a_log_that_is_not_there(api: Api, run: Run) -> None:
    later = api.get(address(run, "logs/later.txt"))
    assert (later.status_code, later.content, facts(later)) == (200, b"", (0, 2, "Running"))
    ended = make_run(status=Status.CANCELED, submitter=run.submitter)
    assert api.get(address(ended)).status_code == 200
    missing = api.get(address(ended, "logs/never.txt"))
    assert missing.status_code == 404
    assert "“logs/never.txt”" in refusal(missing)["message"]


def test_reading_costs_the_same_however_long_the_log_is(
    api: Api, run: Run, django_assert_num_queries: Any
) -> None:
    append_log(run, 2, STD_LOG, 12, b"x" * 500_000)
    api.get(address(run))
    with django_assert_num_queries(5):  # token, run, membership; state, bytes
        assert len(api.get(address(run)).content) == 500_012


@pytest.mark.django_db(transaction=True)
class TestWait:
    """A read that waits ends with the first byte, or with the log."""

    def read_later(self, api: Api, run: Run, query: dict[str, Any]) -> tuple[threading.Thread, list[Any]]:
        answers: list[Any] = []

        def read() -> None:
            begin = time.monotonic()
            try:
                answers.append(api.get(address(run), query))
                answers.append(time.monotonic() - begin)
            finally:
                connections.close_all()

        thread = threading.Thread(target=read)
        thread.start()
        return thread, answers

    def test_it_comes_back_with_the_bytes(self, api: Api, run: Run) -> None:
        thread, answers = self.read_later(api, run, {"offset": 12, "wait": 20})
        append_log(run, 2, STD_LOG, 12, b"news\n")
        thread.join(15)
        assert (answers[0].content, facts(answers[0])) == (b"news\n", (17, 2, "Running"))

    def test_it_comes_back_when_the_run_ends(self, api: Api, run: Run) -> None:
        thread, answers = self.read_later(api, run, {"offset": 12, "wait": 20})
        assert move(run, to=Status.COMPLETED, expect=[Status.RUNNING])
        thread.join(15)
        assert (answers[0].content, facts(answers[0])) == (b"", (12, 2, "Completed"))

    def test_it_comes_back_after_its_time(self, api: Api, run: Run) -> None:
        thread, answers = self.read_later(api, run, {"offset": 12, "wait": 0.5})
        thread.join(15)
        assert answers[0].content == b""
        assert answers[1] >= 0.5

    def test_the_log_of_an_older_attempt_is_not_waited_for(self, api: Api, run: Run) -> None:
        thread, answers = self.read_later(api, run, {"offset": 14, "attempt": 1, "wait": 20})
        thread.join(15)
        assert (answers[0].content, facts(answers[0])) == (b"", (14, 1, "Running"))

    def test_it_goes_on_with_the_next_attempt_where_none_is_named(self, api: Api, run: Run) -> None:
        thread, answers = self.read_later(api, run, {"offset": 12, "wait": 20})
        Run.objects.filter(pk=run.pk).update(attempt=3)
        append_log(run, 3, STD_LOG, 0, b"the third attempt\n")
        thread.join(15)
        assert (answers[0].content, facts(answers[0])) == (b"tempt\n", (18, 3, "Running"))


def test_an_interactive_run_adds_to_its_log(api: Api, interactive: Run) -> None:
    def add(offset: int, data: bytes) -> Any:
        return api.call("post", f"{address(interactive, LOG)}?offset={offset}", raw=data)

    assert add(0, b"one\n").json() == {"size": 4}
    assert add(4, b"\0\xff\n").json() == {"size": 7}
    again = add(4, b"\0\xff\n")
    assert (again.status_code, again.json()) == (200, {"size": 7})
    assert add(7, b"").json() == {"size": 7}
    for offset, data in ((3, b"x"), (9, b"x"), (4, b"other")):
        error = refusal(refused := add(offset, data))
        assert refused.status_code == 409
        assert (error["code"], error["expected"], error["field"]) == ("offset_mismatch", 7, "offset")
    assert read_log(interactive, LOG, 0, 100) == b"one\n\0\xff\n"


def test_an_addition_has_its_limits(api: Api, interactive: Run, run: Run) -> None:
    big = api.call("post", f"{address(interactive, LOG)}?offset=0", raw=bytes(2**20 + 1))
    assert (big.status_code, refusal(big)["field"]) == (413, "body")
    assert api.call("post", address(interactive, LOG), raw=b"x").status_code == 422
    own = api.call("post", f"{address(interactive, 'system_logs/launch.log')}?offset=0", raw=b"x")
    assert (own.status_code, refusal(own)["code"]) == (422, "invalid_name")
    nodes = api.call("post", f"{address(run, LOG)}?offset=2", raw=b"x")
    assert (nodes.status_code, refusal(nodes)["code"]) == (409, "conflict")


def test_a_run_adds_to_the_log_of_its_child_while_its_attempt_lasts(
    api_of: Callable[[User | Run | None], Api], run: Run
) -> None:
    child = make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING, parent=run, submitter=run.submitter)
    api = api_of(run)
    assert api.call("post", f"{address(child, LOG)}?offset=0", raw=b"x").status_code == 200
    Run.objects.filter(pk=run.pk).update(attempt=3)
    stale = api.call("post", f"{address(child, LOG)}?offset=1", raw=b"x")
    assert (stale.status_code, refusal(stale)["code"]) == (409, "stale_attempt")
