"""Killing any process of Studio kills no run, and what is lost says why."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from runs.models import Node, Run
from runs.status import ErrorClass, Status
from tests.faults.conftest import Counting, ended, fresh, log_of, processes_of, says, shim_of
from tests.fixtures.processes import NodeProcess, wait_until
from tests.life_kit import assert_sound

pytestmark = pytest.mark.worker

WAITING = "import time\nprint('ready')\ntime.sleep(600)\n"
WITH_CHILDREN = (
    "import subprocess, time\n"
    "subprocess.Popen(['setsid', 'sh', '-c', 'sleep 600 & sleep 600'])\n"
    "print('ready')\ntime.sleep(600)\n"
)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_node(node: NodeProcess) -> None:
    """The node's process alone, which the shims of its runs outlive."""
    assert node.process is not None
    node.process.kill()
    node.process.wait(10)


def test_a_killed_node_is_missed_by_nobody(
    worker: NodeProcess, send: Callable[..., Run], counting: Counting
) -> None:
    run = send(counting.script)
    says(run, "10\n")
    for _ in range(2):
        kill_node(worker)
        assert processes_of(run)
        worker.start()
    counting.finish()
    done = ended(run)
    assert done.status == Status.COMPLETED
    counting.assert_whole(log_of(run))
    assert done.attempt == 1
    assert_sound(run)


def test_a_run_that_ends_while_the_node_is_dead_ends_as_it_did(
    worker: NodeProcess, send: Callable[..., Run], counting: Counting
) -> None:
    run = send(f"{counting.script}import sys\nsys.exit(3)\n")
    says(run, "3\n")
    kill_node(worker)
    counting.finish()
    wait_until(lambda: not processes_of(run))
    worker.start()
    done = ended(run)
    assert (done.status, done.exit_code, done.error_class) == (Status.FAILED, 3, ErrorClass.SCRIPT)
    counting.assert_whole(log_of(run))


def test_a_node_that_was_forgotten_comes_back_by_itself(
    worker: NodeProcess, send: Callable[..., Run], counting: Counting
) -> None:
    run = send(counting.script)
    says(run, "3\n")
    Node.objects.all().delete()
    says(run, "30\n")
    counting.finish()
    assert ended(run).status == Status.COMPLETED
    counting.assert_whole(log_of(run))
    assert ended(send("print('again')\n")).status == Status.COMPLETED
    assert Node.objects.count() == 1


def test_a_stopped_node_returns_soon_and_leaves_its_runs(
    worker: NodeProcess, send: Callable[..., Run]
) -> None:
    run = send(WAITING)
    says(run, "ready")
    wait_until(lambda: fresh(run).status == Status.RUNNING)
    begin = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - begin < 10  # it waits neither for the script nor for a task that would come
    assert fresh(run).status == Status.RUNNING
    assert processes_of(run)
    worker.start()
    kill(processes_of(run)[0])
    assert ended(run).error_class == ErrorClass.SIGNAL


def test_a_killed_script_says_which_signal(worker: NodeProcess, send: Callable[..., Run]) -> None:
    run = send(WITH_CHILDREN)
    says(run, "ready")
    script = psutil.Process(processes_of(run)[0])
    assert shim_of(run).pid == script.ppid()
    script.kill()
    done = ended(run, within_s=10)
    assert (done.status, done.error_class) == (Status.FAILED, ErrorClass.SIGNAL)
    assert done.error_message == "The script was ended by SIGKILL (killed)."
    assert processes_of(run) == []


def test_a_killed_shim_takes_all_processes_of_the_run_along(
    worker: NodeProcess, send: Callable[..., Run]
) -> None:
    run = send(WITH_CHILDREN)
    says(run, "ready")
    kill(shim_of(run).pid)
    done = ended(run, within_s=10)
    assert (done.status, done.error_class) == (Status.FAILED, ErrorClass.LOST)
    assert done.error_message == "The process that watched this run was killed."
    assert processes_of(run) == []
    assert log_of(run) == "ready\n"


def test_after_everything_was_killed_the_next_start_says_so(
    worker: NodeProcess, send: Callable[..., Run]
) -> None:
    run = send(WAITING)
    says(run, "ready")
    wait_until(lambda: fresh(run).status == Status.RUNNING)
    shim, script = shim_of(run).pid, processes_of(run)
    kill_node(worker)
    for pid in (shim, *script):
        kill(pid)
    wait_until(lambda: not processes_of(run))
    assert fresh(run).status == Status.RUNNING
    worker.start()
    done = ended(run)
    assert (done.status, done.error_class) == (Status.FAILED, ErrorClass.LOST)
    assert done.error_message == "Its process ended while Studio was away."
    assert_sound(run)


def test_a_lost_attempt_is_tried_again_and_both_logs_are_kept(
    worker: NodeProcess, send: Callable[..., Run]
) -> None:
    run = send(
        "import os, time\nprint('try')\nif os.environ['STUDIO_ATTEMPT'] == '1':\n    time.sleep(600)\n",
        max_retries=1,
    )
    says(run, "try")
    kill(shim_of(run).pid)
    done = ended(run)
    assert (done.status, done.attempt) == (Status.COMPLETED, 2)
    assert set(done.log_chunks.filter(name="user_logs/std_log.txt").values_list("attempt", flat=True)) == {
        1,
        2,
    }
    assert_sound(run)


def test_a_node_that_serves_another_target_now_keeps_its_runs(
    worker: NodeProcess, send: Callable[..., Run], counting: Counting
) -> None:
    run = send(counting.script)
    says(run, "5\n")
    worker.stop()
    worker.words[2] = "gpu"
    worker.start()
    counting.finish()
    assert ended(run).status == Status.COMPLETED
    counting.assert_whole(log_of(run))


def test_a_machine_with_a_new_name_keeps_its_runs(
    worker: NodeProcess, send: Callable[..., Run], counting: Counting
) -> None:
    run = send(counting.script)
    says(run, "5\n")
    worker.stop()
    worker.env["STUDIO_NODE"] = "renamed"
    worker.start()
    counting.finish()
    done = ended(run)
    assert done.status == Status.COMPLETED
    counting.assert_whole(log_of(run))
    assert done.node is not None
    assert done.node.name == "renamed"
