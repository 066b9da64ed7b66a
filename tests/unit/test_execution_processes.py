"""Finding a run's processes and ending them, and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runs.execution import processes
from runs.execution.shim import all_processes, below, read_process
from tests.execution_kit import REPOSITORY, is_gone, wait_for

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    children: list[subprocess.Popen[bytes]] = []

    def start(code: str = "", **options: Any) -> subprocess.Popen[bytes]:
        ready = "import sys, time; sys.stdin.close(); time.sleep(300)"
        command = [sys.executable, "-c", f"{code}\n{ready}"]
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, **options))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


def marked(run_id: str, attempt: int = 1) -> dict[str, str]:
    return {**os.environ, "STUDIO_RUN_ID": run_id, "STUDIO_ATTEMPT": str(attempt)}


def left(run_id: str, attempt: int = 1) -> list[int]:
    """The pids that carry the marker; no session and no log of theirs is known."""
    found = processes.leftovers(run_id, attempt, script=None, outputs=[Path("/none")])
    return [process.pid for process in found]


def test_a_process_is_known_by_its_start_time_too() -> None:
    process = read_process(os.getpid())
    assert process
    assert processes.find(process.pid, process.started)
    assert processes.find(process.pid, process.started - 1) is None
    assert processes.find(2**22 + 1, process.started) is None


def test_descendants_are_found_over_sessions(start: Start) -> None:
    child = start(
        """
import subprocess
print(subprocess.Popen(["sleep", "300"], start_new_session=True).pid, flush=True)
""",
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    grandchild = int(child.stdout.readline())
    found = [process.pid for process in below(os.getpid(), all_processes())]
    assert {child.pid, grandchild} <= set(found)
    assert [process.pid for process in below(child.pid, all_processes())] == [grandchild]
    os.kill(grandchild, signal.SIGKILL)


def test_a_marker_is_compared_whole(start: Start) -> None:
    wanted = start(env=marked("run_a"))
    others = [start(env=marked("run_ab")), start(env={**os.environ, "X": "STUDIO_RUN_ID=run_a"}), start()]
    wait_for(lambda: left("run_a"))
    assert left("run_a") == [wanted.pid]
    assert left("run_a", 2) == []
    assert not any(is_gone(other.pid) for other in others)


def test_the_session_counts_only_if_its_number_is_still_the_scripts(start: Start, tmp_path: Path) -> None:
    child = start()
    process = wait_for(lambda: read_process(child.pid))

    def leftovers(started: int) -> list[int]:
        found = processes.leftovers("run_x", 1, script=(child.pid, started), outputs=[tmp_path / "log"])
        return [each.pid for each in found]

    assert leftovers(process.started) == [child.pid]
    assert leftovers(process.started - 1) == []


def test_who_prints_into_the_log_counts_and_who_reads_it_does_not(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab") as file:
        writer = start(stdout=file)
    reader = start(f"held = open({str(log)!r}); print('open', flush=True)", stdout=subprocess.PIPE)
    assert reader.stdout
    reader.stdout.readline()
    found = processes.leftovers("run_x", 1, script=None, outputs=[log])
    assert [process.pid for process in found] == [writer.pid]


def test_we_are_never_among_the_leftovers() -> None:
    code = """
import os, sys
from pathlib import Path
from runs.execution import processes
print([p.pid for p in processes.leftovers("run_self", 1, script=None, outputs=[Path("/x")])], os.getpid())
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=marked("run_self"), cwd=REPOSITORY, check=True, capture_output=True)
    assert done.stdout.startswith(b"[] ")


def test_killing_goes_on_until_none_is_left(start: Start) -> None:
    children = [start(env=marked("run_k")) for _ in range(3)]
    wait_for(lambda: len(left("run_k")) == 3)
    killed = processes.kill_until_none(
        lambda: processes.leftovers("run_k", 1, script=None, outputs=[Path("/none")])
    )
    assert killed == tuple(sorted(child.pid for child in children))
    assert all(is_gone(child.pid) for child in children)
