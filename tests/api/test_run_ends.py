"""Start, heartbeat, complete, fail and cancel over the API."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.models import Run
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import make_run

pytestmark = pytest.mark.django_db


def interactive(status: Status = Status.RUNNING) -> Run:
    return make_run(kind=Kind.INTERACTIVE, status=status)


def test_a_run_from_start_to_end(api: Api) -> None:
    run = api.post("/workspaces/default/runs", {"experiment": "mnist", "start": False}).json()
    address = f"/runs/{run['run_id']}"
    assert api.post(f"{address}/start").json()["status"] == "Running"
    beat = api.post(f"{address}/heartbeat")
    assert (beat.status_code, beat.content) == (204, b"")
    assert api.post(f"{address}/complete").json()["status"] == "Completed"
    assert api.post(f"{address}/complete").status_code == 200
    for act in ("start", "heartbeat"):
        answer = api.post(f"{address}/{act}")
        assert (answer.status_code, refusal(answer)["code"]) == (409, "run_finished")
    assert api.post(f"{address}/fail", {}).status_code == 409


def test_many_are_alive_at_once(api: Api) -> None:
    missed, ended, waiting = interactive(Status.NOT_RESPONDING), interactive(Status.FAILED), interactive()
    unstarted, submitted = interactive(Status.NOT_STARTED), make_run(status=Status.RUNNING)
    known = [missed, ended, waiting, unstarted, submitted]
    Run.objects.update(heartbeat_at=None)
    answer = api.post("/heartbeats", {"run_ids": ["no-such-run", *(run.run_id for run in known)]})
    assert answer.json() == {"ended": [ended.run_id], "unknown": ["no-such-run"]}
    seen = [Run.objects.get(pk=run.pk) for run in known]
    assert [run.heartbeat_at is not None for run in seen] == [True, False, True, False, False]
    assert seen[0].status == Status.RUNNING


def test_signs_of_life_of_many_cost_as_many_queries_as_of_one(api: Api) -> None:
    runs = [interactive() for _ in range(30)]
    api.get("/me")  # notes that the token was used
    for count in (1, 30):
        with CaptureQueriesContext(connection) as asked:
            answer = api.post("/heartbeats", {"run_ids": [run.run_id for run in runs[:count]]})
        assert answer.json() == {"ended": [], "unknown": []}
        # Token, runs, memberships, signs of life, who had been missed, who has ended; PostgreSQL: runs held.
        queries = [q for q in asked if not q["sql"].startswith(("SAVEPOINT", "RELEASE"))]
        assert len(queries) == 6 + (connection.vendor == "postgresql" and count > 1)


def test_so_many_at_once_and_no_more(api: Api) -> None:
    assert api.post("/heartbeats", {"run_ids": []}).json() == {"ended": [], "unknown": []}
    names = [f"run-{at}" for at in range(501)]
    assert len(api.post("/heartbeats", {"run_ids": names[:500]}).json()["unknown"]) == 500
    answer = api.post("/heartbeats", {"run_ids": names})
    assert (answer.status_code, refusal(answer)["field"]) == (422, "run_ids")


def test_a_failure_is_told_whole(api: Api) -> None:
    run = interactive()
    body = {"code": "UserError", "message": "no data", "traceback": "Trace", "exception_type": "ValueError"}
    error = api.post(f"/runs/{run.run_id}/fail", body).json()["error"]
    assert error == {
        "class": "reported",
        "code": "UserError",
        "message": "ValueError: no data",
        "traceback": "Trace",
    }


def test_a_submitted_run_is_stopped_first(api: Api) -> None:
    run = make_run(status=Status.RUNNING)
    assert api.post(f"/runs/{run.run_id}/complete").json()["status"] == "CancelRequested"
    assert refusal(api.post(f"/runs/{run.run_id}/fail", {}))["message"].endswith("cannot end as Failed.")


def test_cancel_counts_what_it_changed(api: Api) -> None:
    parent = interactive()
    make_run(parent=parent, kind=Kind.SCRIPT, status=Status.QUEUED)
    said = api.post(f"/runs/{parent.run_id}/cancel").json()
    assert (said["changed"], said["run"]["status"]) == (2, "Canceled")
    assert api.post(f"/runs/{parent.run_id}/cancel").json()["changed"] == 0


class TestOwnToken:
    """A script speaks of its own run: how its process ends decides."""

    @pytest.fixture
    def run(self, ana: User) -> Run:
        return make_run(status=Status.RUNNING, submitter=ana)

    def test_complete_sets_nothing(self, api_of: Callable[..., Api], run: Run) -> None:
        assert api_of(run).post(f"/runs/{run.run_id}/complete").json()["status"] == "Running"

    def test_fail_keeps_the_reason_alone(self, api_of: Callable[..., Api], run: Run) -> None:
        said = api_of(run).post(f"/runs/{run.run_id}/fail", {"message": "no data"}).json()
        assert (said["status"], said["error"]) == ("Running", None)
        assert Run.objects.get(pk=run.pk).error_message == "no data"

    def test_cancel_is_asked(self, api_of: Callable[..., Api], run: Run) -> None:
        said = api_of(run).post(f"/runs/{run.run_id}/cancel").json()
        assert said["run"]["status"] == "CancelRequested"

    def test_children_are_ended(self, api_of: Callable[..., Api], run: Run) -> None:
        child = make_run(parent=run, kind=Kind.INTERACTIVE, status=Status.RUNNING)
        assert api_of(run).post(f"/runs/{child.run_id}/complete").json()["status"] == "Completed"
