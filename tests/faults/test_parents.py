"""Parents that submit children with their own token and wait for them, where there is one slot for all."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from runs.models import Run
from runs.services.ending import Failure, complete_run, fail_run
from runs.services.submit import StepSpec, submit
from runs.status import Status
from studio.accounts.models import User
from tests.factories import make_snapshot, make_target
from tests.faults.conftest import ended, log_of, processes_of, says
from tests.fixtures.processes import NodeProcess, wait_until
from tests.life_kit import assert_sound

pytestmark = pytest.mark.worker

PARENT = textwrap.dedent(
    """
    import json, os, sys, time, urllib.request

    def call(method, path, body=None):
        request = urllib.request.Request(
            os.environ["STUDIO_URL"] + "/api/v1" + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": "Bearer " + os.environ["AZUREML_RUN_TOKEN"],
                     "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def wait(run):
        while run["status"] not in ("Completed", "Failed", "Canceled"):
            run = call("GET", f"/runs/{run['run_id']}/wait?since={run['version']}&timeout=20")
            time.sleep(0.05)
        return run

    me = call("GET", "/runs/" + os.environ["AZUREML_RUN_ID"])
    workspace = "/workspaces/" + os.environ["AZUREML_ARM_WORKSPACE_NAME"]
    children = [
        call("POST", workspace + "/submissions", {
            "experiment": me["experiment"], "parent": me["run_id"], "snapshot": me["snapshot"],
            "script": "child.py", "arguments": [str(n)], "target": me["target"],
        })
        for n in range(3)
    ]
    print("submitted", flush=True)
    print([wait(child)["status"] for child in children])
    """
)
CHILD = "import sys\nprint('child', sys.argv[1])\n"


@pytest.fixture
def send_parent(ana: User) -> Callable[[], Run]:
    target = make_target("local", is_default=True)
    step = StepSpec("train", "parent.py", make_snapshot({"parent.py": PARENT, "child.py": CHILD}))
    return lambda: submit(
        target.workspace, by=ana, experiment_name="family", steps=[step], default_target=target
    )


def test_one_slot_is_enough_for_parents_and_their_children(
    make_worker: Callable[..., NodeProcess], live_server: Any, send_parent: Callable[[], Run]
) -> None:
    node = make_worker(slots=1, STUDIO_URL=live_server.url)
    node.start()
    parents = [send_parent() for _ in range(2)]
    for parent in parents:
        assert ended(parent, within_s=90).status == Status.COMPLETED, log_of(parent)
        assert log_of(parent) == "submitted\n['Completed', 'Completed', 'Completed']\n"
        children = Run.objects.filter(parent=parent)
        assert [log_of(child) for child in children.order_by("pk")] == [f"child {n}\n" for n in range(3)]
        for run in (parent, *children):
            assert_sound(run)


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.FAILED])
def test_a_run_that_is_ended_from_outside_is_stopped_and_ends_so(
    worker: NodeProcess, send: Callable[..., Run], ana: User, end: Status
) -> None:
    run = send("import time\nprint('ready')\ntime.sleep(600)\n", max_retries=2)
    says(run, "ready")
    assert processes_of(run)
    if end == Status.COMPLETED:
        complete_run(run, by=ana)
    else:
        fail_run(run, Failure(message="enough of it"), by=ana)
    assert ended(run).status == end
    wait_until(lambda: not processes_of(run))
    assert Run.objects.get(pk=run.pk).error_message == ("enough of it" if end == Status.FAILED else "")
    assert_sound(run)


def test_a_command_runs_in_the_folder_of_its_snapshot(worker: NodeProcess, workspace: Any, ana: User) -> None:
    command = ["python", "-c", "import os, sys; print(sorted(os.listdir()), sys.argv[1:])", "a b"]
    step = StepSpec("train", "", make_snapshot({"data.txt": "x"}), command=command)
    target = make_target("local")
    run = submit(workspace, by=ana, experiment_name="family", steps=[step], default_target=target)
    assert ended(run).status == Status.COMPLETED, log_of(run)
    assert log_of(run).startswith("['data.txt'")
    assert log_of(run).endswith("['a b']\n")
