"""Edit, cancel, archive and tag a run: in a dialog, without script, and who may."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.contrib.messages import get_messages
from django.db.models.functions import Now
from django.test import Client

from runs.models import Run, Tag
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.factories import make_pipeline, make_run
from tests.pages.test_run_frame import url_of

SignIn = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def ana_client(ana: User, client_of: SignIn) -> Client:
    return client_of(ana)


def said(response: object) -> list[str]:
    """The toasts that the next page shows."""
    return [str(message) for message in get_messages(response.wsgi_request)]  # type: ignore[attr-defined]


def test_editing_changes_name_and_description(ana_client: Client) -> None:
    run = make_run()
    answer = ana_client.post(url_of(run, "run-edit"), {"display_name": "wide", "description": "*x*"})
    assert (answer.status_code, answer["Location"]) == (303, url_of(run))
    run.refresh_from_db()
    assert (run.display_name, run.description) == ("wide", "*x*")
    assert "wide" in run.search_text


def test_a_refused_edit_keeps_what_was_typed(ana_client: Client) -> None:
    run = make_run(display_name="before")
    typed = {"display_name": "x" * 300, "description": "kept text"}
    answer = ana_client.post(url_of(run, "run-edit"), typed, headers=HTMX)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "x" * 300 in page
    assert "kept text" in page
    assert 'aria-invalid="true"' in page
    run.refresh_from_db()
    assert run.display_name == "before"


@pytest.mark.parametrize("view", ["run-edit", "run-cancel"])
def test_a_dialog_is_a_part_for_htmx_and_a_page_without_script(ana_client: Client, view: str) -> None:
    run = make_run(status=Status.RUNNING)
    assert "<html" not in ana_client.get(url_of(run, view), headers=HTMX).content.decode()
    page = ana_client.get(url_of(run, view)).content.decode()
    assert "<html" in page
    assert "<dialog" in page


def test_an_htmx_edit_closes_the_dialog_and_refreshes(ana_client: Client) -> None:
    answer = ana_client.post(url_of(make_run(), "run-edit"), {"display_name": "a"}, headers=HTMX)
    assert (answer.status_code, answer.content) == (200, b"")
    triggers = json.loads(answer["HX-Trigger"])
    assert triggers["refresh"]
    assert triggers["toast"]["toasts"][0]["text"] == "Saved"


def test_what_is_said_of_a_run_is_not_turned_around_by_its_name(ana_client: Client) -> None:
    run = make_run(display_name="\u202enimda", archived_at=Now())
    tagged = ana_client.post(url_of(run, "run-tags"), {"add": "a=b"}, headers=HTMX)
    assert tagged.status_code == 409
    assert "\\u202enimda is archived" in tagged.text
    assert "\u202enimda is archived" not in tagged.text


def test_the_cancel_dialog_names_what_else_it_ends(ana_client: Client) -> None:
    parent = make_run(status=Status.RUNNING, kind=Kind.INTERACTIVE)
    child = make_run(status=Status.RUNNING, parent=parent, kind=Kind.SCRIPT, display_name="fold 2")
    make_run(status=Status.QUEUED, parent=child, kind=Kind.SCRIPT, display_name="deep")
    make_run(status=Status.COMPLETED, parent=parent, kind=Kind.SCRIPT, display_name="over")
    page = ana_client.get(url_of(parent, "run-cancel"), headers=HTMX).content.decode()
    assert "It also ends 2 active child runs. 1 finished one stays as it is." in page
    assert "fold 2" in page
    assert "deep" in page
    assert "over<" not in page
    assert "Cancel 3 runs" in page


def test_the_cancel_dialog_counts_no_step_as_active_that_has_not_started(ana_client: Client) -> None:
    statuses = {"prepare": Status.RUNNING, "train": Status.NOT_STARTED, "evaluate": Status.NOT_STARTED}
    pipeline = make_pipeline(status=Status.RUNNING, statuses=statuses)
    page = ana_client.get(url_of(pipeline, "run-cancel"), headers=HTMX).content.decode()
    assert "It also ends 1 active child run and 2 that have not started." in page
    assert "Cancel 4 runs" in page
    ended = {"status": Status.COMPLETED, "ended_at": Now(), "holds_slot": False}
    Run.objects.filter(parent=pipeline, step_name="prepare").update(**ended)
    page = ana_client.get(url_of(pipeline, "run-cancel"), headers=HTMX).content.decode()
    assert "It also ends 2 child runs that have not started. 1 finished one stays as it is." in page


def test_cancelling_a_queued_run_ends_it_at_once(ana_client: Client, ana: User) -> None:
    run = make_run(status=Status.QUEUED)
    answer = ana_client.post(url_of(run, "run-cancel"))
    assert (answer.status_code, answer["Location"]) == (303, url_of(run))
    assert said(answer) == [f"Run {run.number} canceled"]
    run.refresh_from_db()
    assert (run.status, run.cancel_requested_by) == (Status.CANCELED, ana)


def test_cancelling_a_running_pipeline_asks_its_steps(ana_client: Client) -> None:
    pipeline = make_pipeline(status=Status.RUNNING)
    answer = ana_client.post(url_of(pipeline, "run-cancel"))
    assert said(answer) == [f"Cancel requested for Run {pipeline.number} and 3 more runs"]
    assert set(pipeline.children.values_list("status", flat=True)) == {Status.CANCEL_REQUESTED}


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELED])
def test_cancelling_an_ended_run_changes_nothing_and_says_so(ana_client: Client, status: Status) -> None:
    run = make_run(status=status)
    assert "There is nothing to cancel" in ana_client.get(url_of(run, "run-cancel")).content.decode()
    answer = ana_client.post(url_of(run, "run-cancel"))
    assert said(answer) == [f"Run {run.number} had ended before: {status}. Nothing changed."]
    before = run.updated_at
    run.refresh_from_db()
    assert (run.status, run.updated_at) == (status, before)


def test_asking_twice_is_no_error(ana_client: Client) -> None:
    run = make_run(status=Status.CANCEL_REQUESTED)
    answer = ana_client.post(url_of(run, "run-cancel"))
    assert said(answer) == [f"Cancel of Run {run.number} was requested before. Nothing changed."]


def test_archiving_offers_to_undo(ana_client: Client) -> None:
    run = make_run()
    answer = ana_client.post(url_of(run, "run-archive"), headers=HTMX)
    toast = json.loads(answer["HX-Trigger"])["toast"]["toasts"][0]
    assert toast["undo"] == url_of(run, "run-unarchive")
    run.refresh_from_db()
    assert run.archived_at is not None
    ana_client.post(toast["undo"])
    run.refresh_from_db()
    assert run.archived_at is None


def test_an_active_run_is_not_archived(ana_client: Client) -> None:
    run = make_run(status=Status.RUNNING)
    answer = ana_client.post(url_of(run, "run-archive"))
    assert "cannot be archived" in said(answer)[0]
    run.refresh_from_db()
    assert run.archived_at is None


def test_tags_are_added_replaced_and_removed_in_place(ana_client: Client) -> None:
    run = make_run(tags={"quality": "bad"})
    part = ana_client.post(url_of(run, "run-tags"), {"add": "quality=fantastic run"}, headers=HTMX)
    assert part.status_code == 200
    assert part.content.decode().strip().startswith('<form class="tag-editor"')
    assert list(run.tags.values_list("key", "value")) == [("quality", "fantastic run")]
    answer = ana_client.post(url_of(run, "run-tags"), {"remove": "quality", "add": "half"})
    assert answer.status_code == 303
    assert not Tag.objects.filter(run=run).exists()


def test_a_tag_that_replaces_another_says_so_and_can_be_undone(ana_client: Client) -> None:
    run = make_run(tags={"owner": "ana"})
    url = url_of(run, "run-tags")
    part = ana_client.post(url, {"add": "owner=ben"}, headers=HTMX)
    [toast] = json.loads(part["HX-Trigger"])["toast"]["toasts"]
    assert toast["text"] == "Tag owner=ben is set; it was owner=ana"
    assert ana_client.post(toast["undo"])["Location"] == url_of(run)
    assert list(run.tags.values_list("key", "value")) == [("owner", "ana")]
    ana_client.get("/tokens/")  # shows what the undo has said
    for typed in ("owner=ana", "new=1"):
        part = ana_client.post(url, {"add": typed}, headers=HTMX)
        assert json.loads(part["HX-Trigger"]) == {"run-changed": True}


@pytest.mark.parametrize("value", ["ana", None])
def test_a_tag_that_was_removed_says_so_and_comes_back(ana_client: Client, value: str | None) -> None:
    run = make_run(tags={"owner": value, "seed": "7"})
    url = url_of(run, "run-tags")
    part = ana_client.post(url, {"remove": "owner"}, headers=HTMX)
    [toast] = json.loads(part["HX-Trigger"])["toast"]["toasts"]
    assert toast["text"] == f"Tag {Tag(key='owner', value=value)} is removed"
    assert ana_client.post(toast["undo"])["Location"] == url_of(run)
    assert dict(run.tags.values_list("key", "value")) == {"owner": value, "seed": "7"}
    ana_client.get("/tokens/")  # shows what the undo has said
    part = ana_client.post(url, {"remove": "never there"}, headers=HTMX)
    assert json.loads(part["HX-Trigger"]) == {"run-changed": True}


def test_a_removed_tag_that_somebody_set_again_stays_as_they_set_it(ana_client: Client) -> None:
    run = make_run(tags={"owner": "ana"})
    url = url_of(run, "run-tags")
    part = ana_client.post(url, {"remove": "owner"}, headers=HTMX)
    [toast] = json.loads(part["HX-Trigger"])["toast"]["toasts"]
    ana_client.post(url, {"add": "owner=ben"}, headers=HTMX)
    ana_client.post(toast["undo"])
    assert dict(run.tags.values_list("key", "value")) == {"owner": "ben"}


def test_a_refused_tag_keeps_what_was_typed_and_says_why(ana_client: Client) -> None:
    run = make_run()
    for headers in (HTMX, {}):
        answer = ana_client.post(url_of(run, "run-tags"), {"add": "=fantastic"}, headers=headers)
        assert answer.status_code == 422
        assert "A tag needs a key." in answer.content.decode()
        assert 'value="=fantastic"' in answer.content.decode()


def test_tags_of_an_archived_run_stay_and_the_answer_says_why(ana_client: Client) -> None:
    run = make_run(tags={"a": "b"})
    ana_client.post(url_of(run, "run-archive"))
    answer = ana_client.post(url_of(run, "run-tags"), {"remove": "a"}, headers=HTMX)
    assert answer.status_code == 409
    assert "Unarchive it first." in answer.content.decode()
    assert run.tags.count() == 1


def test_an_archived_run_cannot_be_renamed_and_its_page_offers_it_no_more(ana_client: Client) -> None:
    run = make_run(display_name="baseline")
    ana_client.post(url_of(run, "run-archive"))
    answer = ana_client.post(url_of(run, "run-edit"), {"display_name": "other"}, headers=HTMX)
    assert "Unarchive it first." in answer.content.decode()
    assert url_of(run, "run-edit") not in ana_client.get(url_of(run, "run-detail")).content.decode()
    run.refresh_from_db()
    assert run.display_name == "baseline"


def test_the_editor_offers_tags_that_exist_here(ana_client: Client, dan: User) -> None:
    run = make_run(tags={"quality": "fantastic run", "seed": "7"})
    make_run(tags={"quality": "good", "Quiet": None})
    make_run(
        tags={"quality": "secret"}, workspace=dan.memberships.get().workspace, target=None, submitter=dan
    )
    offered = ana_client.get(url_of(run, "run-tags"), {"add": "qu"}).content.decode()
    assert '<option value="quality=fantastic run">' in offered
    assert '<option value="Quiet">' in offered
    assert "seed" not in offered
    assert "secret" not in offered


@pytest.mark.parametrize("view", ["run-edit", "run-cancel", "run-archive", "run-unarchive", "run-tags"])
def test_readers_and_strangers_change_nothing(ben: User, dan: User, client_of: SignIn, view: str) -> None:
    run = make_run(status=Status.RUNNING)
    sent = {"add": "a=b", "display_name": "x"}
    assert client_of(ben).post(url_of(run, view), sent).status_code == 403
    assert client_of(dan).post(url_of(run, view), sent).status_code == 404
    fresh = Run.objects.get(pk=run.pk)
    assert (fresh.status, fresh.display_name, fresh.tags.count()) == (Status.RUNNING, "", 0)
