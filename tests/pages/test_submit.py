"""The submit page without script: what a browser posts, and what comes back."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from runs.models import Experiment, Run, Snapshot
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.factories import make_experiment, make_target


@pytest.fixture
def client(client_of: Callable[[User], Client], ana: User) -> Client:
    make_target("local", is_default=True)
    return client_of(ana)


def form(**over: Any) -> dict[str, Any]:
    """One pasted script, ready to run."""
    fields = {
        "submission_key": "key-of-a-page",
        "experiment_kind": "new",
        "new_experiment": "mnist",
        "target": "local",
        "steps-0-source": "paste",
        "steps-0-pasted": "print('hello')\n",
        "steps-0-pasted_name": "train.py",
    }
    return {name: value for name, value in {**fields, **over}.items() if value is not None}


def text_of(response: Any) -> str:
    return response.content.decode()


def errors_of(response: Any) -> list[str]:
    return re.findall(r'<p class="error"[^>]*>.*?<span>(.*?)</span>', text_of(response), re.S)


def value_of(response: Any, field: str) -> str:
    found = re.search(rf'<input[^>]*name="{field}"[^>]*>', text_of(response))
    assert found, field
    value = re.search(r'value="([^"]*)"', found[0])
    return value[1] if value else ""


def test_a_fresh_form_has_one_step_and_no_error(client: Client) -> None:
    response = client.get("/submit/")
    assert response.status_code == 200
    assert 'name="steps-0-script"' in text_of(response)
    assert errors_of(response) == []
    assert re.search(r'<option value="local"[^>]* selected', text_of(response))


def test_a_pasted_script_is_the_script_whatever_the_hidden_field_says(client: Client) -> None:
    response = client.post("/submit/", form(**{"steps-0-script": "other.py", "steps-0-pasted_name": "a.py"}))
    assert response.status_code == 303
    run = Run.objects.get()
    assert run.script == "a.py"


def test_a_pasted_script_becomes_a_run(client: Client, ana: User) -> None:
    response = client.post("/submit/", form(**{"steps-0-arguments": "--lr 0.1 --name 'a b'"}))
    run = Run.objects.get()
    assert response.status_code == 303
    assert response["Location"] == f"/experiments/mnist/runs/{run.number}/"
    assert (run.kind, run.status, run.submitter) == (Kind.SCRIPT, Status.QUEUED, ana)
    assert (run.script, run.arguments) == ("train.py", ["--lr", "0.1", "--name", "a b"])
    assert run.snapshot is not None
    assert [file["path"] for file in run.snapshot.files] == ["train.py"]


def test_an_existing_experiment_has_to_be_there(client: Client) -> None:
    over = {"experiment_kind": "existing", "new_experiment": None, "experiment": "mistyped"}
    refused = client.post("/submit/", form(**over))
    assert refused.status_code == 422
    assert any("There is no experiment mistyped." in error for error in errors_of(refused))
    assert not Experiment.objects.exists()
    make_experiment("mistyped")
    assert client.post("/submit/", form(**over)).status_code == 303


def test_run_twice_is_one_run(client: Client) -> None:
    first = client.post("/submit/", form())
    again = client.post("/submit/", form())
    assert Run.objects.count() == 1
    assert again["Location"] == first["Location"]


@pytest.mark.parametrize("with_script", [True, False])
def test_another_content_of_a_form_that_was_submitted_becomes_another_run(
    client: Client, with_script: bool
) -> None:
    headers = {"HX-Request": "true"} if with_script else {}
    client.post("/submit/", form(**{"steps-0-arguments": "--lr 0.1"}), headers=headers)
    first = Run.objects.get()
    changed = form(**{"steps-0-arguments": "--lr 0.2"})
    refused = client.post("/submit/", changed, headers=headers)
    assert refused.status_code == 422
    [said] = errors_of(refused)
    assert "submitted before with other content" in said
    assert f'href="/runs/{first.run_id}/"' in said
    assert value_of(refused, "steps-0-arguments") == "--lr 0.2"
    assert Run.objects.count() == 1
    key = value_of(refused, "submission_key")
    assert key not in ("", "key-of-a-page")
    again = client.post("/submit/", {**changed, "submission_key": key}, headers=headers)
    second = Run.objects.exclude(pk=first.pk).get()
    assert second.arguments == ["--lr", "0.2"]
    address = f"/experiments/mnist/runs/{second.number}/"
    assert (again["HX-Redirect"] if with_script else again["Location"]) == address


def test_another_content_of_a_pipeline_that_was_submitted_becomes_another_pipeline(client: Client) -> None:
    steps = {
        "steps-0-name": "prepare",
        "steps-1-name": "train",
        "steps-1-source": "paste",
        "steps-1-pasted": "print(2)",
    }
    first = client.post("/submit/", form(**steps))
    steps["steps-1-after"] = "0"
    refused = client.post("/submit/", form(**steps))
    assert (first.status_code, refused.status_code) == (303, 422)
    assert "submitted before with other content" in text_of(refused)
    client.post("/submit/", form(**steps, submission_key=value_of(refused, "submission_key")))
    edges = [
        Run.objects.filter(parent=p, dependencies__isnull=False).count()
        for p in Run.objects.filter(kind=Kind.PIPELINE).order_by("number")
    ]
    assert edges == [0, 1]


def test_everything_typed_reaches_the_run(client: Client) -> None:
    make_target("gpu-compute")
    client.post(
        "/submit/",
        form(
            **{
                "display_name": "width 512",
                "description": "does it *help*?",
                "tags": "quality=good\r\nbaseline",
                "steps-0-target": "gpu-compute",
                "steps-0-env_name": ["OMP_NUM_THREADS", ""],
                "steps-0-env_value": ["4", ""],
                "steps-0-time_limit": "1h 30m",
                "steps-0-retries": "2",
            }
        ),
    )
    run = Run.objects.get()
    assert (run.display_name, run.description) == ("width 512", "does it *help*?")
    assert {tag.key: tag.value for tag in run.tags.all()} == {"quality": "good", "baseline": None}
    assert run.target is not None
    assert run.target.name == "gpu-compute"
    assert run.environment_variables == {"OMP_NUM_THREADS": "4"}
    assert (run.time_limit_s, run.max_retries) == (5400, 2)


def test_several_steps_make_a_pipeline_with_edges(client: Client) -> None:
    steps = {
        "steps-0-name": "prepare",
        "steps-4-name": "train",
        "steps-4-source": "paste",
        "steps-4-pasted": "print(2)",
        "steps-4-after": ["0"],
    }
    client.post("/submit/", form(**steps))
    pipeline = Run.objects.get(kind=Kind.PIPELINE)
    prepare, train = pipeline.children.order_by("number")
    assert (prepare.step_name, prepare.status) == ("prepare", Status.QUEUED)
    assert (train.step_name, train.status) == ("train", Status.NOT_STARTED)
    assert [edge.waits_for for edge in train.dependencies.all()] == [prepare]


def test_the_experiment_is_remembered_for_the_next_form(client: Client, ana: User) -> None:
    make_experiment("other")
    client.post("/submit/", form())
    assert re.search(r'<option value="mnist" selected', text_of(client.get("/submit/")))


def zip_of(**files: str) -> SimpleUploadedFile:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/").replace("_py", ".py"), text)
    return SimpleUploadedFile("code.zip", data.getvalue())


@pytest.mark.parametrize(
    ("source", "files", "paths"),
    [
        ("zip", {"steps-0-zip": zip_of(train_py="print(1)", lib__nets_py="x = 1")}, None),
        ("file", {"steps-0-file": SimpleUploadedFile("train.py", b"print(1)")}, None),
        (
            "folder",
            {
                "steps-0-folder": [
                    SimpleUploadedFile("train.py", b"print(1)"),
                    SimpleUploadedFile("data.csv", b"1,2"),
                    SimpleUploadedFile(".amlignore", b"*.csv\n"),
                ],
                "steps-0-paths": json.dumps(["digits/train.py", "digits/data.csv", "digits/.amlignore"]),
            },
            [".amlignore", "train.py"],
        ),
    ],
)
def test_uploads_become_the_snapshot(
    client: Client, source: str, files: dict[str, Any], paths: list[str] | None
) -> None:
    content = {"steps-0-source": source, "steps-0-script": "train.py", "steps-0-pasted": None, **files}
    response = client.post("/submit/", form(**content))
    assert response.status_code == 303, errors_of(response)
    snapshot = Run.objects.get().snapshot
    assert snapshot is not None
    found = [file["path"] for file in snapshot.files]
    assert "train.py" in found
    assert paths is None or found == paths


@pytest.mark.parametrize(("paths", "status"), [("[" * 100_000, 200), ("[" + "[]," * 600_000 + "[]]", 422)])
def test_paths_that_are_no_list_of_names(client: Client, paths: str, status: int) -> None:
    one = SimpleUploadedFile("train.py", b"print(1)")
    content = {"index": "0", "steps-0-source": "folder", "steps-0-folder": one, "steps-0-paths": paths}
    answer = client.post("/submit/upload/", content, headers={"HX-Request": "true"})
    assert answer.status_code == status
    assert ("commas" in text_of(answer)) == (status == 422)


def test_an_upload_survives_a_refusal(client: Client) -> None:
    upload = {"steps-0-source": "file", "steps-0-file": SimpleUploadedFile("train.py", b"print(1)")}
    refused = client.post("/submit/", form(new_experiment="no such name!", **upload))
    assert refused.status_code == 422
    digest = value_of(refused, "steps-0-digest")
    assert digest == Snapshot.objects.get().digest
    kept = {"steps-0-source": "file", "steps-0-digest": digest, "steps-0-digest_source": "file"}
    assert client.post("/submit/", form(**kept)).status_code == 303


def source_of(example: str, **over: str) -> dict[str, Any]:
    """The form with a bundled example as the source of its step."""
    return form(**{"steps-0-source": "example", "steps-0-example": example, "steps-0-pasted": None, **over})


def test_an_example_that_was_chosen_alone_runs_as_it_is_declared(client: Client) -> None:
    client.post("/submit/", source_of("hello"))
    run = Run.objects.get()
    assert (run.script, run.arguments) == ("hello.py", ["--name", "Studio", "--seconds", "5"])


def test_what_was_typed_beside_an_example_stays(client: Client) -> None:
    client.post("/submit/", source_of("hello", **{"steps-0-arguments": "--name Ana"}))
    cleared = source_of("hello", submission_key="another-page", **{"steps-0-script": "hello.py"})
    client.post("/submit/", cleared)
    assert [run.arguments for run in Run.objects.order_by("number")] == [["--name", "Ana"], []]


def test_of_a_pipeline_example_no_script_is_guessed_and_the_whole_is_offered(client: Client) -> None:
    refused = client.post("/submit/", source_of("digits-pipeline"))
    assert refused.status_code == 422
    assert not Run.objects.exists()
    assert "Only its files are taken" in text_of(refused)
    assert 'href="/submit/?example=digits-pipeline"' in text_of(refused)
    client.post("/submit/", source_of("digits-pipeline", **{"steps-0-script": "prepare.py"}))
    assert Run.objects.get().script == "prepare.py"


@pytest.mark.parametrize(
    ("example", "script", "arguments", "is_part"),
    [("hello", "hello.py", "--name Studio --seconds 5", False), ("digits-pipeline", "", "", True)],
)
def test_a_chosen_example_answers_with_what_it_runs(
    client: Client, example: str, script: str, arguments: str, is_part: bool
) -> None:
    taken = client.post(
        "/submit/upload/", {"index": "0", "steps-0-source": "example", "steps-0-example": example}
    )
    assert taken.status_code == 200
    assert f'data-script="{script}" data-arguments="{arguments}"' in text_of(taken)
    assert ("Only its files are taken" in text_of(taken)) is is_part


def test_the_whole_pipeline_of_an_example_needs_no_such_word(client: Client) -> None:
    assert "Only its files are taken" not in text_of(client.get("/submit/", {"example": "digits-pipeline"}))


def test_the_name_of_a_single_step_is_the_runs_if_it_has_no_other(client: Client) -> None:
    named = {"steps-0-name": " spawn "}
    client.post("/submit/", form(**named))
    client.post("/submit/", form(submission_key="second-page", display_name="mine", **named))
    client.post("/submit/", form(submission_key="a-third-page"))
    assert [run.name for run in Run.objects.order_by("number")] == ["spawn", "mine", "Run 3"]


def test_tags_are_one_a_line_and_the_form_says_so(client: Client) -> None:
    page = text_of(client.get("/submit/"))
    assert "One a line: key or key=value. A comma is part of the tag." in page
    client.post("/submit/", form(tags="a=b, c\r\nd"))
    assert {tag.key: tag.value for tag in Run.objects.get().tags.all()} == {"a": "b, c", "d": None}


def test_the_form_says_which_ignore_file_counts(client: Client) -> None:
    page = text_of(client.get("/submit/"))
    assert "those in subfolders are not read" in page
