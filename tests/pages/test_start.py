"""The Start page: one click runs a real pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.test import Client

from runs.models import Run
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.factories import make_experiment, make_target

ClientOf = Callable[[User], Client]


def test_it_shows_the_example_and_its_steps(client_of: ClientOf, ana: User) -> None:
    text = client_of(ana).get("/start/").content.decode()
    assert "No experiments yet" in text
    for step in ("prepare", "train-mlp", "train-softmax", "evaluate"):
        assert f">{step}</text>" in text
    assert "studio login --url http://testserver</span>" in text
    assert "The first line is for the folder of Studio's source." in text
    assert "--token" not in text


def test_it_is_also_there_when_there_are_experiments(client_of: ClientOf, ana: User) -> None:
    make_experiment("mnist")
    assert "No experiments yet" not in client_of(ana).get("/start/").content.decode()


def test_one_click_submits_the_pipeline(client_of: ClientOf, ana: User) -> None:
    target = make_target("local", is_default=True)
    response = client_of(ana).post("/start/", {"submission_key": "key-of-a-page"})
    pipeline = Run.objects.get(kind=Kind.PIPELINE)
    assert response.status_code == 303
    assert response["Location"] == f"/experiments/digits-pipeline/runs/{pipeline.number}/"
    assert (pipeline.submitter, pipeline.target) == (ana, target)
    first, *rest = pipeline.children.order_by("number")
    assert (first.step_name, first.status) == ("prepare", Status.QUEUED)
    assert {step.status for step in rest} == {Status.NOT_STARTED}


def test_two_clicks_are_one_submission(client_of: ClientOf, ana: User) -> None:
    make_target("local", is_default=True)
    client = client_of(ana)
    answers = [client.post("/start/", {"submission_key": "key-of-a-page"})["Location"] for _ in range(2)]
    assert answers[0] == answers[1]
    assert Run.objects.filter(kind=Kind.PIPELINE).count() == 1


def test_without_a_compute_target_it_says_so(client_of: ClientOf, ana: User) -> None:
    response = client_of(ana).post("/start/", follow=True)
    assert "compute target" in response.content.decode()
    assert Run.objects.count() == 0


def test_a_reader_gets_no_button_and_cannot_post(client_of: ClientOf, ben: User) -> None:
    client = client_of(ben)
    assert "Run the example" not in client.get("/start/").content.decode()
    assert client.post("/start/").status_code == 403


def test_the_files_can_be_read(client_of: ClientOf, ben: User) -> None:
    client = client_of(ben)
    text = client.get("/start/files/", {"path": "train.py"}).content.decode()
    assert re.search(r"<pre[^>]*>.*import", text, re.S)
    assert "not text" in client.get("/start/files/", {"path": "digits.csv.gz"}).content.decode()


def test_only_its_own_files_can_be_read(client_of: ClientOf, ben: User) -> None:
    for path in ("../../manage.py", "/etc/passwd", "nothing.py"):
        assert client_of(ben).get("/start/files/", {"path": path}).status_code == 404
