"""Resubmit, examples and drafts: forms that are filled from something, and what they cost."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs.models import Draft, Run
from runs.status import Kind
from studio.accounts.models import User
from tests.factories import make_experiment, make_node, make_run, make_snapshot, make_target
from tests.pages.test_submit import form, text_of


@pytest.fixture
def client(client_of: Callable[[User], Client], ana: User) -> Client:
    make_target("local", is_default=True)
    return client_of(ana)


def fields_of(response: Any) -> dict[str, Any]:
    """What a browser without script would send: the fields of the form as they stand."""
    page = re.search(r'<form class="submit".*?</form>', text_of(response), re.S)
    assert page
    fields: dict[str, list[str]] = {}

    def add(name: str, value: str) -> None:
        fields.setdefault(name, []).append(html.unescape(value))

    for tag in re.findall(r"<input[^>]*>", page[0]):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        boxes = attributes.get("type") in ("checkbox", "radio")
        if "name" in attributes and attributes.get("type") != "file" and (not boxes or "checked" in tag):
            add(attributes["name"], attributes.get("value", ""))
    for name, text in re.findall(r'<textarea name="([^"]+)"[^>]*>\r?\n?(.*?)</textarea>', page[0], re.S):
        add(name, text)
    for name, options in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', page[0], re.S):
        chosen = re.search(r'value="([^"]*)"[^>]* selected', options) or re.search(
            r'value="([^"]*)"', options
        )
        add(name, chosen[1] if chosen else "")
    return fields


class TestResubmit:
    def test_a_script_run_comes_back_whole(self, client: Client) -> None:
        run = make_run(
            snapshot=make_snapshot(),
            arguments=["--name", "a b", "--x", ""],
            environment_variables={"A": "1 & 2"},
            time_limit_s=5430,
            max_retries=2,
            display_name="width 512",
            description="does it help?",
            tags={"quality": "good", "baseline": None},
            target=make_target("gpu-compute"),
        )
        fields = fields_of(client.get("/submit/", {"from": run.run_id}))
        fields["steps-0-arguments"] = ["--name 'a b' --x '' --lr 0.2"]
        response = client.post("/submit/", fields)
        again = Run.objects.exclude(pk=run.pk).get()
        assert response.status_code == 303
        assert again.arguments == ["--name", "a b", "--x", "", "--lr", "0.2"]
        for field in (
            "experiment",
            "snapshot",
            "script",
            "environment_variables",
            "time_limit_s",
            "max_retries",
        ):
            assert getattr(again, field) == getattr(run, field), field
        assert (again.display_name, again.description, again.target) == (
            run.display_name,
            run.description,
            run.target,
        )
        assert {tag.key: tag.value for tag in again.tags.all()} == {"quality": "good", "baseline": None}
        assert again.resubmitted_from == run

    def test_a_command_comes_back_as_one(self, client: Client) -> None:
        run = make_run(snapshot=make_snapshot(), command_words=["make", "train now", "LR=0.1"])
        fields = fields_of(client.get("/submit/", {"from": run.run_id}))
        assert fields["steps-0-command"] == ["make 'train now' LR=0.1"]
        fields["steps-0-command"] = ["make 'train now' LR=0.2"]
        assert client.post("/submit/", fields).status_code == 303
        again = Run.objects.exclude(pk=run.pk).get()
        assert (again.script, again.arguments) == ("", [])
        assert again.command_words == ["make", "train now", "LR=0.2"]

    def test_a_command_that_is_emptied_makes_room_for_a_script(self, client: Client) -> None:
        run = make_run(snapshot=make_snapshot(), command_words=["make", "train"])
        fields = fields_of(client.get("/submit/", {"from": run.run_id}))
        fields["steps-0-command"] = [""]
        fields["steps-0-script"] = ["train.py"]
        assert client.post("/submit/", fields).status_code == 303
        again = Run.objects.exclude(pk=run.pk).get()
        assert (again.script, again.command_words) == ("train.py", [])

    def test_a_command_with_an_open_quote_is_refused_at_its_field(self, client: Client) -> None:
        run = make_run(snapshot=make_snapshot(), command_words=["make", "train"])
        fields = fields_of(client.get("/submit/", {"from": run.run_id}))
        fields["steps-0-command"] = ["make 'train"]
        response = client.post("/submit/", fields)
        assert response.status_code == 422
        assert "Close the quotes" in text_of(response)

    @pytest.mark.parametrize("display_name", ["", "the best one"])
    def test_the_name_of_a_single_step_comes_back(self, client: Client, display_name: str) -> None:
        name = {"steps-0-name": "prepare", "display_name": display_name}
        client.post("/submit/", form(**name))
        run = Run.objects.get()
        assert run.name == (display_name or "prepare")
        assert fields_of(client.get("/submit/", {"from": run.run_id}))["steps-0-name"] == ["prepare"]

    def test_a_single_step_that_was_not_named_has_no_name(self, client: Client) -> None:
        client.post("/submit/", form())
        run = Run.objects.get()
        assert run.name == "Run 1"
        assert fields_of(client.get("/submit/", {"from": run.run_id}))["steps-0-name"] == [""]

    def test_a_pipeline_comes_back_with_its_edges(self, client: Client) -> None:
        client.post("/start/")
        first = Run.objects.get(kind=Kind.PIPELINE)
        client.post("/submit/", fields_of(client.get("/submit/", {"from": first.run_id})))
        second = Run.objects.filter(kind=Kind.PIPELINE).exclude(pk=first.pk).get()
        assert steps_of(second) == steps_of(first)
        assert second.resubmitted_from == first
        assert second.target == first.target

    def test_a_step_alone_says_that_it_has_no_inputs(self, client: Client) -> None:
        client.post("/start/")
        pipeline = Run.objects.get(kind=Kind.PIPELINE)
        for name, expected in (("prepare", 0), ("evaluate", 1)):
            step = pipeline.children.get(step_name=name)
            page = client.get(f"/submit/?from={step.run_id}").text
            assert page.count(f'href="/submit/?from={pipeline.run_id}"') == expected
        assert "Resubmit the whole pipeline" not in client.get(f"/submit/?from={pipeline.run_id}").text

    @pytest.mark.parametrize("run_id", ["a/b", "/", "..", "nothing", "a\0b", "x" * 5_000])
    def test_what_is_no_run_is_no_origin(self, client: Client, ana: User, run_id: str) -> None:
        for wrong in ({"tags": "=good"}, {"action": "add-step"}):
            response = client.post("/submit/", form(**wrong, resubmitted_from=run_id))
            assert response.status_code in (200, 422)
            assert "resubmits this run" not in text_of(response)
        saved = client.post("/submit/", form(action="save-draft", resubmitted_from=run_id))
        kept = Draft.objects.get()
        assert kept.content["resubmitted_from"] == [""]
        if "\0" not in run_id:  # a draft of before: PostgreSQL has never kept this one
            kept.content["resubmitted_from"] = [run_id]
            kept.save()
        assert client.get(saved["Location"]).status_code == 200
        assert client.post("/submit/", form(resubmitted_from=run_id)).status_code == 303
        assert Run.objects.get().resubmitted_from is None

    def test_a_refused_form_still_names_its_origin(self, client: Client) -> None:
        run = make_run()
        response = client.post("/submit/", form(tags="=good", resubmitted_from=run.run_id))
        assert response.status_code == 422
        assert f'href="/runs/{run.run_id}/">resubmits this run' in text_of(response)

    def test_an_interactive_run_cannot_be_resubmitted_and_says_why(self, client: Client) -> None:
        run = make_run(kind=Kind.INTERACTIVE)
        response = client.get("/submit/", {"from": run.run_id})
        assert response.status_code == 200
        assert "cannot be resubmitted" in text_of(response)

    def test_a_run_that_does_not_exist_leaves_an_empty_form(self, client: Client) -> None:
        for name in ("nothing", "a/b", "x" * 5_000, "mnist#99999999999999"):
            response = client.get("/submit/", {"from": name})
            assert response.status_code == 200
            assert "no such run" in text_of(response)


def steps_of(pipeline: Run) -> list[tuple[Any, ...]]:
    return [
        (
            s.step_name,
            s.script,
            s.arguments,
            s.snapshot,
            sorted(d.waits_for.step_name for d in s.dependencies.all()),
        )
        for s in pipeline.children.order_by("number")
    ]


def test_an_example_opens_as_it_would_run(client: Client) -> None:
    client.post("/submit/", fields_of(client.get("/submit/", {"example": "digits-pipeline"})))
    opened = Run.objects.get(kind=Kind.PIPELINE)
    client.post("/start/")
    assert steps_of(opened) == steps_of(Run.objects.filter(kind=Kind.PIPELINE).exclude(pk=opened.pk).get())


class TestDrafts:
    def test_a_draft_keeps_uploads_and_half_typed_fields(self, client: Client) -> None:
        upload = {"steps-0-source": "file", "steps-0-file": SimpleUploadedFile("fit.py", b"print(1)")}
        typed = form(action="save-draft", new_experiment="no good!", draft_name="two models", **upload)
        saved = client.post("/submit/", {**typed, "steps-0-arguments": "--name 'open"})
        draft = Draft.objects.get()
        assert (saved.status_code, saved["Location"]) == (303, f"/submit/?draft={draft.pk}")
        fields = fields_of(client.get(saved["Location"]))
        assert fields["new_experiment"] == ["no good!"]
        assert fields["steps-0-arguments"] == ["--name 'open"]
        fields |= {"new_experiment": ["good"], "steps-0-arguments": [""]}
        assert client.post("/submit/", fields).status_code == 303
        assert Run.objects.get().script == "fit.py"

    def test_saving_again_overwrites_it(self, client: Client) -> None:
        first = client.post("/submit/", form(action="save-draft", draft_name="one"))
        fields = fields_of(client.get(first["Location"]))
        client.post("/submit/", {**fields, "action": "save-draft", "draft_name": "two"})
        assert [draft.name for draft in Draft.objects.all()] == ["two"]

    def test_drafts_are_listed_and_deleted(self, client: Client) -> None:
        client.post("/submit/", form(action="save-draft", draft_name="two models"))
        assert "two models" in text_of(client.get("/submit/"))
        draft = Draft.objects.get()
        response = client.post(f"/submit/drafts/{draft.pk}/delete/", follow=True)
        assert "is deleted" in text_of(response)
        assert Draft.objects.count() == 0

    def test_nobody_sees_or_deletes_those_of_others(
        self, client: Client, client_of: Callable[[User], Client], chi: User
    ) -> None:
        client.post("/submit/", form(action="save-draft", draft_name="secret plan"))
        draft = Draft.objects.get()
        other = client_of(chi)
        for address in ("/submit/", f"/submit/?draft={draft.pk}"):
            assert "secret plan" not in text_of(other.get(address))
        other.post(f"/submit/drafts/{draft.pk}/delete/")
        other.post("/submit/", form(action="save-draft", draft=str(draft.pk), draft_name="mine"))
        assert Draft.objects.get(pk=draft.pk).name == "secret plan"

    @pytest.mark.parametrize("number", ["999", "x", "²", "-1", "9" * 30])
    def test_a_draft_that_is_not_there_leaves_an_empty_form(self, client: Client, number: str) -> None:
        response = client.get("/submit/", {"draft": number})
        assert response.status_code == 200
        assert "not there any more" in text_of(response)


class TestWithoutScript:
    """The buttons that script takes over, as a browser without it sends them."""

    def test_a_step_is_added_and_keeps_the_rest(self, client: Client) -> None:
        response = client.post("/submit/", form(action="add-step", **{"steps-0-arguments": "--lr 1"}))
        fields = fields_of(response)
        assert response.status_code == 200
        assert fields["steps-0-arguments"] == ["--lr 1"]
        assert "steps-1-script" in fields

    def test_a_step_is_duplicated_and_deleted_with_its_edges(self, client: Client) -> None:
        one = form(action="duplicate-step:0", **{"steps-0-name": "fit"})
        fields = fields_of(client.post("/submit/", one))
        assert fields["steps-1-name"] == ["fit-2"]
        assert fields["steps-1-digest"] == fields["steps-0-digest"] != [""]
        fields |= {"steps-1-after": ["0"], "action": ["delete-step:0"]}
        left = fields_of(client.post("/submit/", fields))
        assert "steps-0-name" not in left
        assert "steps-1-after" not in left

    def test_a_row_for_a_variable_is_added(self, client: Client) -> None:
        fields = fields_of(client.post("/submit/", form(action="add-variable:0")))
        assert len(fields["steps-0-env_name"]) == 1
        fields = fields_of(client.post("/submit/", {**fields, "action": "add-variable:0"}))
        assert len(fields["steps-0-env_name"]) == 2

    def test_clear_begins_anew(self, client: Client) -> None:
        assert client.post("/submit/", form(action="clear"))["Location"] == "/submit/"


def queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200
    return len(asked)


def test_the_form_costs_the_same_however_much_there_is(client: Client) -> None:
    make_run(snapshot=make_snapshot())
    few = queries(client, "/submit/")
    for number in range(12):
        make_node(f"box{number}", target=make_target(f"target-{number}"))
        make_run(experiment=make_experiment(f"e{number}"), snapshot=make_snapshot({"a.py": str(number)}))
        client.post("/submit/", form(action="save-draft", draft_name=f"draft {number}"))
    # session, default target, experiments there are; targets, experiments; alive, used, nodes, queued;
    # drafts, recent runs; the side bar
    assert queries(client, "/submit/") == few == 12


def test_a_resubmission_costs_the_same_for_every_number_of_steps(client: Client) -> None:
    client.post("/start/")
    pipeline = Run.objects.get(kind=Kind.PIPELINE)
    script = make_run(snapshot=make_snapshot(), tags={"a": "b"})
    assert (
        queries(client, f"/submit/?from={pipeline.run_id}")
        <= queries(client, f"/submit/?from={script.run_id}") + 3
    )


def test_an_experiment_beyond_the_list_stays_chosen(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.submission.EXPERIMENTS_OFFERED", 1)
    make_experiment("old")
    make_experiment("new")
    fields = fields_of(client.get("/submit/", {"experiment": "old"}))
    assert (fields["experiment_kind"], fields["experiment"]) == (["existing"], ["old"])


def test_an_archived_experiment_takes_no_runs(client: Client) -> None:
    make_experiment("mnist", archived_at=datetime.now(UTC))
    response = client.post("/submit/", form())
    assert response.status_code == 422
    assert "is archived" in text_of(response)
