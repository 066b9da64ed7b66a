"""Submissions over the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runs.models import Run, Snapshot, SnapshotUpload
from runs.status import Kind, Status
from studio.accounts.models import User, Workspace
from tests.api_kit import Api, refusal
from tests.factories import make_run, make_snapshot, make_target
from tests.life_kit import at_once

HERE = "/workspaces/default/submissions"


@pytest.fixture
def snapshot(workspace: Workspace, ana: User) -> Snapshot:
    """What ana has uploaded."""
    make_target("local", is_default=True)
    source = make_snapshot({"train.py": "print()", "tool": "#!/bin/sh\n"})
    SnapshotUpload.objects.create(snapshot=source, workspace=workspace, by=ana)
    return source


def body(source: Snapshot, **over: Any) -> dict[str, Any]:
    return {"experiment": "mnist", "snapshot": source.digest, "script": "train.py", **over}


def test_a_script_is_queued(api: Api, snapshot: Snapshot) -> None:
    answer = api.post(
        HERE,
        body(
            snapshot,
            display_name="first",
            arguments=["--lr", "0.1"],
            tags={"a": None},
            properties={"b": "c"},
            environment_variables={"X": "1"},
            time_limit_s=60,
            max_retries=2,
            run_configuration={"script": "train.py", "nodeCount": 1},
        ),
    )
    assert answer.status_code == 201
    said = answer.json()
    assert (said["status"], said["kind"], said["target"]) == ("Queued", "script", "local")
    assert (said["script"], said["arguments"], said["command"]) == ("train.py", ["--lr", "0.1"], [])
    assert (said["tags"], said["properties"]) == ({"a": None}, {"b": "c"})
    assert (said["time_limit_s"], said["max_retries"], said["snapshot"]) == (60, 2, snapshot.digest)
    assert said["run_configuration"] == {"script": "train.py", "nodeCount": 1}
    assert Run.objects.get().environment_variables == {"X": "1"}


def test_a_bad_name_of_the_experiment_is_named_first(api: Api, snapshot: Snapshot) -> None:
    refused = api.post(HERE, body(snapshot, experiment="no good!", snapshot=None))
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "experiment")


def test_a_command_instead_of_a_script(api: Api, snapshot: Snapshot) -> None:
    said = api.post(HERE, body(snapshot, script="", command=["python", "-c", "print(1)"])).json()
    assert (said["script"], said["command"]) == ("", ["python", "-c", "print(1)"])


def test_the_same_id_again_is_the_same_run(api: Api, snapshot: Snapshot) -> None:
    first = api.post(HERE, body(snapshot, run_id="mine"))
    again = api.post(HERE, body(snapshot, run_id="mine"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert Run.objects.count() == 1
    assert api.post(HERE, body(snapshot, run_id="mine", experiment="other")).status_code == 409


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("steps", [[], [{"name": name, "script": "train.py"} for name in "ab"]])
def test_one_of_many_at_once_with_the_same_id_is_told_that_it_made_the_run(
    api: Api, snapshot: Snapshot, steps: list[Any]
) -> None:
    sent = body(snapshot, run_id="mine", steps=steps, script="" if steps else "train.py")
    answers = at_once([lambda: Api(api.token).post(HERE, sent)] * 12)
    assert {answer.json()["run_id"] for answer in answers} == {"mine"}
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]


def test_blanks_around_the_experiment_do_not_make_it_another(api: Api, snapshot: Snapshot) -> None:
    answers = [api.post(HERE, body(snapshot, run_id="mine", experiment=" mnist ")) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]


def test_a_pipeline(api: Api, snapshot: Snapshot) -> None:
    steps = [
        {"name": "prepare", "script": "train.py"},
        {"name": "train", "script": "train.py", "after": ["prepare"], "max_retries": 1},
    ]
    sent = body(snapshot, script="", steps=steps, continue_on_failure=False)
    said = api.post(HERE, sent).json()
    assert (said["kind"], said["has_children"]) == ("pipeline", True)
    statuses = dict(Run.objects.filter(kind=Kind.STEP).values_list("step_name", "status"))
    assert statuses == {"prepare": "Queued", "train": "NotStarted"}


@pytest.mark.parametrize("name", ["n" * 101, "a\nb\x1b[31m", "größer"])
def test_what_cannot_be_a_steps_name_is_not_kept_of_a_step_alone(
    api: Api, snapshot: Snapshot, name: str
) -> None:
    answer = api.post(HERE, body(snapshot, script="", steps=[{"name": name, "script": "train.py"}]))
    assert answer.status_code == 201
    assert Run.objects.get().step_name == ""


def nested(levels: int) -> list[Any]:
    """A list in a list in a list."""
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"script": "missing.py"}, "script"),
        ({"script": ""}, "script"),
        ({"script": "train.py", "command": ["x"]}, "command"),
        ({"script": "", "command": [""]}, "command"),
        ({"snapshot": "0" * 64}, "snapshot"),
        ({"snapshot": None}, "snapshot"),
        ({"target": "gpu-compute"}, "target"),
        ({"time_limit_s": 10**8}, "time_limit_s"),
        ({"max_retries": 99}, "max_retries"),
        ({"environment_variables": {"STUDIO_URL": "x"}}, "environment_variables"),
        ({"environment_variables": {"A": 1}}, "environment_variables.A"),
        ({"arguments": ["\0"]}, "arguments.0"),
        ({"run_configuration": {"a": "\0"}}, "run_configuration"),
        ({"run_configuration": {"a": ["\ud800"]}}, "run_configuration"),
        ({"run_configuration": {"a": nested(260)}, "run_id": "deep"}, "run_configuration"),
        ({"steps": [{"name": "a", "script": "train.py"}]}, "steps"),
        ({"script": "", "steps": [{"name": "a", "script": "x.py"}]}, "steps.0.script"),
        (
            {
                "script": "",
                "steps": [
                    {"name": "a", "script": "train.py"},
                    {"name": "b", "script": "train.py", "after": ["c"]},
                ],
            },
            "steps.1.after",
        ),
    ],
)
def test_bad_input_names_its_field_and_queues_nothing(
    api: Api, snapshot: Snapshot, over: dict[str, Any], field: str
) -> None:
    answer = api.post(HERE, body(snapshot, **over))
    assert (answer.status_code, refusal(answer)["field"]) == (422, field)
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"script": "a\0"}, "script holds the character NUL, which nothing in Studio may contain."),
        ({"run_id": "a b"}, "run_id is 1 to 256 letters, digits, dots, hyphens and underscores, "),
        ({"properties": {"": "v"}}, "A property needs a key."),
        ({"tags": {"k": "a\x01"}}, "k has the control character U+0001 in it."),
        ({"display_name": "a\x1b[1m"}, "The display name has the control character U+001B in it."),
    ],
)
def test_refusals_are_words_for_people(
    api: Api, snapshot: Snapshot, over: dict[str, Any], message: str
) -> None:
    assert refusal(api.post(HERE, body(snapshot, **over)))["message"].startswith(message)


def test_too_many_steps_are_named(api: Api, snapshot: Snapshot) -> None:
    steps = [{"name": f"s{n}", "script": "train.py"} for n in range(101)]
    answer = api.post(HERE, body(snapshot, script="", steps=steps))
    assert (answer.status_code, refusal(answer)["field"]) == (422, "steps")


def test_an_unknown_target_is_named_with_those_that_there_are(api: Api, snapshot: Snapshot) -> None:
    error = refusal(api.post(HERE, body(snapshot, target="gpu-compute")))
    assert error["code"] == "unknown_target"
    assert "gpu-compute" in error["message"]
    assert "local" in error["hint"]


def test_what_somebody_else_uploaded_is_not_there(
    api_of: Callable[..., Api], chi: User, snapshot: Snapshot
) -> None:
    answer = api_of(chi).post(HERE, body(snapshot))
    assert (answer.status_code, refusal(answer)["field"]) == (422, "snapshot")


def test_a_run_submits_children_in_the_name_of_its_submitter(
    api_of: Callable[..., Api], ana: User, snapshot: Snapshot
) -> None:
    parent = make_run(status=Status.RUNNING, submitter=ana, snapshot=snapshot)
    api = api_of(parent)
    said = api.post(HERE, body(snapshot, parent=parent.run_id)).json()
    assert (said["parent_run_id"], said["submitter"], said["status"]) == (parent.run_id, "ana", "Queued")
    assert api.post(HERE, body(snapshot)).status_code == 403
    other = api.post(HERE, body(snapshot, parent=parent.run_id, experiment="other"))
    assert other.status_code == 422
