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


def test_an_upload_survives_a_refusal(client: Client) -> None:
    upload = {"steps-0-source": "file", "steps-0-file": SimpleUploadedFile("train.py", b"print(1)")}
    refused = client.post("/submit/", form(new_experiment="no such name!", **upload))
    assert refused.status_code == 422
    digest = value_of(refused, "steps-0-digest")
    assert digest == Snapshot.objects.get().digest
    kept = {"steps-0-source": "file", "steps-0-digest": digest, "steps-0-digest_source": "file"}
    assert client.post("/submit/", form(**kept)).status_code == 303
