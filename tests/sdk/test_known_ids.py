"""Runs under ids of one's own choice: a request that is sent again, and the same line on another day."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azureml.core import Experiment, Run, Workspace
from azureml.exceptions import UserErrorException
from studio_client import snapshots
from studio_client.api import connect

from tests.sdk.live import Signed, environment_of
from tests.sdk.wire import Wire


@pytest.fixture
def wire(signed_in: Signed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Between this process and the server."""
    made = Wire(signed_in.studio.port)
    monkeypatch.setenv("STUDIO_URL", made.url)
    yield made
    made.close()


@pytest.fixture
def exp(attached: Path, wire: Wire) -> Experiment:
    """An experiment of the working folder's workspace, over the wire."""
    return Experiment(Workspace.from_config(), "known-ids")


@pytest.fixture
def run_id() -> str:
    """An id that no run has."""
    return f"nightly-{uuid.uuid4().hex}"


def start(exp: Experiment, run_id: str, **options: object) -> Run:
    return exp.start_logging(run_id=run_id, snapshot_directory=None, outputs=None, **options)


NIGHTLY = """
import sys
from azureml.core import Experiment, Workspace
with Experiment(Workspace.from_config(), "known-ids").start_logging(
    run_id=sys.argv[1], snapshot_directory=None, outputs=None, tags={"n": "1"}
) as run:
    run.log("loss", 1.5)
    assert len(sys.argv) == 2, "as if it had crashed"
"""


def test_the_same_line_on_another_day_says_that_the_run_has_ended(
    exp: Experiment, signed_in: Signed, run_id: str
) -> None:
    def nightly(*more: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", NIGHTLY, run_id, *more]
        env = environment_of(signed_in)
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False)

    assert nightly("crash").returncode == 1
    again = nightly()
    assert again.returncode == 1
    assert "UserErrorException" in again.stderr
    assert f"Run {run_id} has ended Failed, so it cannot be started again; choose another" in again.stderr
    assert Run(exp, run_id).get_metrics() == {"loss": 1.5}


def test_an_id_under_which_something_else_was_started_is_taken(exp: Experiment, run_id: str) -> None:
    run = start(exp, run_id, tags={"n": 1})
    with pytest.raises(UserErrorException, match=f"{run_id} was made with other content"):
        start(exp, run_id, tags={"n": 2})
    with pytest.raises(UserErrorException, match=f"another run {run_id} already"):
        run.child_run(run_id=run_id)
    assert start(exp, run_id, tags={"n": 1}) == run
    run.complete()


def test_a_child_that_has_ended_is_not_started_again(exp: Experiment, run_id: str) -> None:
    parent = start(exp, f"parent-of-{run_id}")
    parent.child_run("fold", run_id=run_id).complete()
    with pytest.raises(UserErrorException, match=f"Run {run_id} has ended Completed"):
        parent.child_run("fold", run_id=run_id)
    parent.complete()


def start_in_a_repository(exp: Experiment, run_id: str) -> list[str]:
    subprocess.run(["git", "init", "-q", "."], check=True)
    return [start(exp, run_id, tags={"n": 1}, properties={"p": 1}, display_name="n", description="d").id]


def submit(exp: Experiment, run_id: str) -> list[str]:
    Path("train.py").write_text("print(1)\n")
    api = connect()
    digest = snapshots.take(api, "default", ".", script="train.py")
    content = {"experiment": exp.name, "run_id": run_id, "script": "train.py", "snapshot": digest}
    return [str(exp._api.submit("default", {**content, "tags": {"n": "1"}})["run_id"])]


def make_child(exp: Experiment, run_id: str) -> list[str]:
    return [Run(exp, run_id).child_run("fold").id]


def make_children(exp: Experiment, run_id: str) -> list[str]:
    return [child.id for child in Run(exp, run_id).create_children(tag_key="n", tag_values=[1, 2, 3])]


@pytest.mark.parametrize("make", [start_in_a_repository, submit, make_child, make_children])
def test_a_lost_answer_is_asked_for_again_and_makes_nothing_twice(
    exp: Experiment, wire: Wire, run_id: str, make: Callable[[Experiment, str], list[str]]
) -> None:
    def post(*words: Any, **options: Any) -> Any:
        wire.lose_answers(1)
        return send(*words, **options)

    is_below = make in (make_child, make_children)
    if is_below:
        start(exp, run_id)
    before = {run.id for run in exp.get_runs(include_children=True)}
    send, exp._api._post = exp._api._post, post
    made = make(exp, run_id)
    del exp._api._post
    assert wire.lost == 1
    assert {run.id for run in exp.get_runs(include_children=True)} - before == set(made)
    if is_below or make is start_in_a_repository:
        Run(exp, run_id).complete()
