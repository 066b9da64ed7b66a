"""Parents that submit children with their own token and wait for them, where there is one slot for all."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now

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

CALLS = textwrap.dedent(
    """
    import json, os, sys, time, urllib.request

    ENDS = ("Completed", "Failed", "Canceled")

    def ask(method, path, body=None):
        request = urllib.request.Request(
            os.environ["STUDIO_URL"] + "/api/v1" + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": "Bearer " + os.environ["AZUREML_RUN_TOKEN"],
                     "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read(), answer.headers

    def call(method, path, body=None):
        return json.loads(ask(method, path, body)[0])

    def wait(run, until=ENDS):
        while run["status"] not in until:
            run = call("GET", f"/runs/{run['run_id']}/wait?since={run['version']}&timeout=20")
            time.sleep(0.05)
        return run

    me = call("GET", "/runs/" + os.environ["AZUREML_RUN_ID"])
    workspace = "/workspaces/" + os.environ["AZUREML_ARM_WORKSPACE_NAME"]

    def submit(script, *arguments, **more):
        return call("POST", workspace + "/submissions", {
            "experiment": me["experiment"], "parent": me["run_id"], "snapshot": me["snapshot"],
            "script": script, "arguments": list(arguments), "target": me["target"], **more,
        })
    """
)
PARENT = CALLS + textwrap.dedent(
    """
    children = [submit("child.py", str(n)) for n in range(3)]
    print("submitted", flush=True)
    print([wait(child)["status"] for child in children])
    """
)
CHILD = "import sys\nprint('child', sys.argv[1])\n"
#: As `wait_for_completion(show_output=True)` does: once there is a log, it asks for what comes of it alone.
FOLLOWER = CALLS + textwrap.dedent(
    """
    child = wait(submit(sys.argv[1], sys.argv[2], max_retries=1), ("Running", *ENDS))
    log, status, size = f"/runs/{child['run_id']}/logs/user_logs/std_log.txt", "", 0
    while status not in ENDS:
        data, headers = ask("GET", f"{log}?offset={size}&wait=1")
        status, size = headers["Studio-Run-Status"], int(headers["Studio-Log-Size"])
        if data.startswith(b"ready"):
            print("follows", flush=True)
    print(status)
    """
)
HELD_UP = textwrap.dedent(
    """
    print("ready", flush=True)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.05)
    """
)
SUBMITTER = CALLS + HELD_UP + 'print(wait(submit("child.py", "of a child"))["status"])\n'
FAILING_ONCE = (
    "import os, sys, time\n"
    + HELD_UP
    + textwrap.dedent(
        """
    if not os.path.exists(sys.argv[1] + ".again"):
        open(sys.argv[1] + ".again", "w").close()
        sys.exit("not yet")
    """
    )
)


@pytest.fixture
def send_parent(ana: User) -> Callable[..., Run]:
    target = make_target("local", is_default=True)
    scripts = {"parent.py": PARENT, "child.py": CHILD, "follower.py": FOLLOWER, "submitter.py": SUBMITTER}
    snapshot = make_snapshot(scripts | {"failing_once.py": FAILING_ONCE})

    def send_it(script: str = "parent.py", *arguments: str) -> Run:
        step = StepSpec("train", script, snapshot, arguments=list(arguments))
        given = {"by": ana, "experiment_name": "family", "default_target": target}
        return submit(target.workspace, steps=[step], **given)[0]

    return send_it


def test_one_slot_is_enough_for_parents_and_their_children(
    make_worker: Callable[..., NodeProcess], live_server: Any, send_parent: Callable[..., Run]
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


@pytest.mark.parametrize("script", ["submitter.py", "failing_once.py"])
def test_a_parent_that_follows_a_log_for_long_keeps_no_slot_from_what_is_queued_below_it(
    make_worker: Callable[..., NodeProcess],
    live_server: Any,
    send_parent: Callable[..., Run],
    tmp_path: Path,
    script: str,
) -> None:
    node = make_worker(slots=1, STUDIO_URL=live_server.url)
    node.start()
    parent = send_parent("follower.py", script, str(tmp_path / "go"))
    says(parent, "follows")
    # Forty seconds later: what it had said of waiting before it began to follow holds no longer.
    Run.objects.filter(pk=parent.pk).update(waits_until=Now() - timedelta(seconds=1))
    (tmp_path / "go").touch()
    assert ended(parent).status == Status.COMPLETED, log_of(parent)
    assert log_of(parent).endswith("Completed\n")
    for run in Run.objects.all():
        assert run.status == Status.COMPLETED
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
    run, _ = submit(workspace, by=ana, experiment_name="family", steps=[step], default_target=target)
    assert ended(run).status == Status.COMPLETED, log_of(run)
    assert log_of(run).startswith("['data.txt'")
    assert log_of(run).endswith("['a b']\n")
