"""Actions on a selection of runs: what is asked first, what is done, and what can be undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs.models import Run
from runs.status import Kind, Status
from runs.views import bulk
from studio.accounts.models import User
from tests.factories import make_run

URL = "/experiments/mnist/actions/"
HTMX = {"HX-Request": "true", "HX-Target": "div#dialog"}
ClientOf = Callable[[User], Client]


def ids(*runs: Run) -> list[str]:
    """What ticked boxes send."""
    return [run.run_id for run in runs]


def toast_of(response: object) -> dict[str, str]:
    """The toast that an answer to htmx carries."""
    return json.loads(response["HX-Trigger"])["toast"]["toasts"][0]  # type: ignore[index]


def status_of(run: Run) -> str:
    """The status that the database has."""
    return Run.objects.get(pk=run.pk).status


def tags_of(run: Run) -> dict[str, str | None]:
    """The tags that the database has."""
    return dict(run.tags.values_list("key", "value"))


def test_cancel_names_what_else_ends_before_anything_happens(ana: User, client_of: ClientOf) -> None:
    sweep = make_run(display_name="sweep", kind=Kind.INTERACTIVE, status=Status.RUNNING)
    done = make_run(parent=sweep)
    below = make_run(display_name="fold 1", parent=done, status=Status.QUEUED)
    ended = make_run()
    response = client_of(ana).post(URL, {"action": "cancel", "run": ids(sweep, ended)})
    page = response.content.decode()
    assert "Cancel 1 run?" in page
    assert "It also ends 1 active child run." in page
    assert "1 of the selected has ended already" in page
    assert "fold 1" in page
    assert "Cancel 2 runs" in page
    assert (status_of(sweep), status_of(below)) == (Status.RUNNING, Status.QUEUED)


def test_cancel_once_confirmed_ends_all_of_it(ana: User, client_of: ClientOf) -> None:
    sweep = make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING)
    queued = make_run(parent=sweep, status=Status.QUEUED)
    running = make_run(parent=sweep, status=Status.RUNNING)
    data = {"action": "cancel", "run": ids(sweep), "confirmed": "1"}
    response = client_of(ana).post(URL, data, headers=HTMX)
    assert (response.status_code, response.content) == (200, b"")
    assert "refresh" in json.loads(response["HX-Trigger"])
    assert toast_of(response)["text"] == "Cancel requested for 1 run, 2 runs canceled"
    assert [status_of(run) for run in (sweep, queued, running)] == ["Canceled", "Canceled", "CancelRequested"]


def test_cancelling_what_has_ended_changes_nothing_and_says_so(ana: User, client_of: ClientOf) -> None:
    run = make_run()
    client = client_of(ana)
    assert b"Nothing to cancel" in client.post(URL, {"action": "cancel", "run": ids(run)}).content
    data = {"action": "cancel", "run": ids(run), "confirmed": "1"}
    assert "nothing was changed" in toast_of(client.post(URL, data, headers=HTMX))["text"]
    assert status_of(run) == Status.COMPLETED


def test_a_tag_is_added_to_the_ticked_runs_and_undone(ana: User, client_of: ClientOf) -> None:
    new, other, valueless = make_run(), make_run(tags={"quality": "bad"}), make_run(tags={"quality": None})
    untouched = make_run()
    client = client_of(ana)
    chosen = ids(new, other, valueless)
    assert b"key or key=value" in client.post(URL, {"action": "tag", "run": chosen}).content
    data = {"action": "tag", "run": chosen, "confirmed": "1", "tag": "quality=good"}
    toast = toast_of(client.post(URL, data, headers=HTMX))
    assert toast["text"] == "Tag quality=good added to 3 runs"
    assert [tags_of(run) for run in (new, other, valueless)] == [{"quality": "good"}] * 3
    assert tags_of(untouched) == {}
    assert client.post(toast["undo"]).status_code == 302
    assert [tags_of(run) for run in (new, other, valueless)] == [{}, {"quality": "bad"}, {"quality": None}]


def test_undoing_a_tag_of_many_costs_as_many_queries_as_of_one(ana: User, client_of: ClientOf) -> None:
    counts = []
    for count in (1, 40):
        client = client_of(ana)
        chosen = ids(*(make_run() for _ in range(count)))
        data = {"action": "tag", "run": chosen, "confirmed": "1", "tag": "a"}
        toast = toast_of(client.post(URL, data, headers=HTMX))
        with CaptureQueriesContext(connection) as asked:
            client.post(toast["undo"])
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_undo_leaves_what_somebody_changed_since(ana: User, client_of: ClientOf) -> None:
    run = make_run()
    client = client_of(ana)
    data = {"action": "tag", "run": ids(run), "confirmed": "1", "tag": "quality=good"}
    toast = toast_of(client.post(URL, data, headers=HTMX))
    run.tags.update(value="better")
    client.post(toast["undo"])
    assert tags_of(run) == {"quality": "better"}


def test_a_tag_without_a_key_is_refused_in_the_dialog(ana: User, client_of: ClientOf) -> None:
    run = make_run()
    data = {"action": "tag", "run": ids(run), "confirmed": "1", "tag": "=good"}
    response = client_of(ana).post(URL, data, headers=HTMX)
    assert response.status_code == 422
    assert b'value="=good"' in response.content
    assert b"A tag needs a key" in response.content
    assert run.run_id.encode() in response.content


def test_archived_runs_keep_their_tags(ana: User, client_of: ClientOf) -> None:
    away, here = make_run(archived_at=datetime.now(UTC)), make_run()
    data = {"action": "tag", "run": ids(away, here), "confirmed": "1", "tag": "a"}
    toast = toast_of(client_of(ana).post(URL, data, headers=HTMX))
    assert toast["text"] == "Tag a added to 1 run; 1 archived left as they are"
    assert (tags_of(away), tags_of(here)) == ({}, {"a": None})


def test_ended_runs_are_archived_at_once_and_undone(ana: User, client_of: ClientOf) -> None:
    ended, going, before = (
        make_run(),
        make_run(status=Status.RUNNING),
        make_run(archived_at=datetime.now(UTC)),
    )
    client = client_of(ana)
    data = {"action": "archive", "run": ids(ended, going, before)}
    toast = toast_of(client.post(URL, data, headers=HTMX))
    assert toast["text"] == "1 run archived; 2 not ended, left as they are"
    assert Run.objects.exclude(archived_at=None).count() == 2
    client.post(toast["undo"])
    assert list(Run.objects.exclude(archived_at=None)) == [before]


def test_archived_runs_come_back(ana: User, client_of: ClientOf) -> None:
    run = make_run(archived_at=datetime.now(UTC))
    response = client_of(ana).post(f"{URL}?show=archived", {"action": "unarchive", "run": ids(run)})
    assert (response.status_code, response["Location"]) == (303, "/experiments/mnist/?show=archived")
    assert Run.objects.get().archived_at is None


def test_all_that_match_are_asked_for_and_then_changed(ana: User, client_of: ClientOf) -> None:
    for number in range(60):
        make_run(status=Status.FAILED if number % 2 else Status.COMPLETED)
    client = client_of(ana)
    data = {"action": "archive", "matching": "1"}
    asked = client.post(f"{URL}?show=failed", data)
    assert b"Archive 30 runs?" in asked.content
    assert b'name="matching"' in asked.content
    assert not Run.objects.exclude(archived_at=None).exists()
    client.post(f"{URL}?show=failed", {**data, "confirmed": "1"})
    assert set(Run.objects.exclude(archived_at=None).values_list("status")) == {("Failed",)}
    assert Run.objects.exclude(archived_at=None).count() == 30


def test_all_that_match_includes_children(ana: User, client_of: ClientOf) -> None:
    make_run(parent=make_run())
    response = client_of(ana).post("/runs/selected/actions/", {"action": "archive", "matching": "1"})
    assert b"Archive 2 runs?" in response.content


def test_a_search_that_cannot_be_read_changes_nothing(ana: User, client_of: ClientOf) -> None:
    make_run()
    data = {"action": "archive", "matching": "1", "confirmed": "1"}
    assert (
        b"No run is selected" in client_of(ana).post("/runs/selected/actions/?q=duration:>two", data).content
    )
    assert Run.objects.get().archived_at is None


def test_more_than_the_limit_is_refused(
    ana: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST", 2)
    runs = [make_run(status=Status.RUNNING) for _ in range(3)]
    client = client_of(ana)
    for data in ({"matching": "1"}, {"run": ids(*runs)}):
        response = client.post(URL, {"action": "cancel", "confirmed": "1", **data})
        assert b"These are too many runs" in response.content
    assert {status_of(run) for run in runs} == {Status.RUNNING}


@pytest.mark.parametrize("data", [{}, {"action": "quagga"}, {"action": "delete", "matching": "1"}])
def test_unknown_actions_are_refused(ana: User, client_of: ClientOf, data: dict[str, str]) -> None:
    make_run()
    assert client_of(ana).post(URL, data).status_code == 422


@pytest.mark.parametrize("run", ["", "nothing_1", "\0", "x" * 5000])
def test_unknown_runs_are_no_selection(ana: User, client_of: ClientOf, run: str) -> None:
    make_run()
    assert b"No run is selected" in client_of(ana).post(URL, {"action": "archive", "run": run}).content


def test_runs_of_another_workspace_or_experiment_are_left_alone(
    ana: User, dan: User, client_of: ClientOf
) -> None:
    mine, other = make_run(), make_run(experiment="churn")
    theirs = make_run(workspace=dan.memberships.get().workspace)
    client = client_of(ana)
    client.post(URL, {"action": "archive", "run": ids(mine, other, theirs)})
    assert list(Run.objects.exclude(archived_at=None)) == [mine]
    client.post("/runs/selected/actions/", {"action": "archive", "run": ids(other, theirs)})
    assert set(Run.objects.exclude(archived_at=None)) == {mine, other}


def test_undo_is_only_for_those_who_may_and_for_what_was_signed(
    ana: User, ben: User, dan: User, client_of: ClientOf
) -> None:
    run = make_run()
    toast = toast_of(client_of(ana).post(URL, {"action": "archive", "run": ids(run)}, headers=HTMX))
    assert client_of(ben).post(toast["undo"]).status_code == 403
    assert client_of(dan).post(toast["undo"]).status_code == 404
    assert client_of(ana).post(toast["undo"].replace("undo/", "undo/x")).status_code == 404
    assert Run.objects.get(pk=run.pk).archived_at is not None


def test_a_plain_form_works_without_script(ana: User, client_of: ClientOf) -> None:
    run = make_run(status=Status.QUEUED)
    client = client_of(ana)
    asked = client.post(f"{URL}?q=mnist", {"action": "cancel", "run": ids(run)})
    assert b"<html" in asked.content
    assert f'name="run" value="{run.run_id}"'.encode() in asked.content
    response = client.post(f"{URL}?q=mnist", {"action": "cancel", "run": ids(run), "confirmed": "1"})
    assert (response.status_code, response["Location"]) == (303, "/experiments/mnist/?q=mnist")
    assert b"1 run canceled" in client.get(response["Location"]).content
