"""Whatever a script does to its processes, none of them is left when its run has been canceled."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runs.models import Run
from runs.services.cancel import cancel_run
from runs.status import Status
from tests.execution_kit import is_gone
from tests.faults.conftest import ended, log_of, says
from tests.fixtures.processes import NodeProcess

pytestmark = pytest.mark.worker

GRACE_S = 3

#: Begins a script: `hide` turns the process into one that nothing but its ancestry ties to the run.
HIDE = """
import os, signal, sys, time

def hide(note):
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.chdir("/")
    with open(note, "a") as file:
        file.write(f"{os.getpid()}\\n")
    os.closerange(0, 256)
    os.execve("/bin/sleep", ["[kworker/0:1]", "600"], {})
"""

#: Twice forked, so that its parent is gone as well.
DAEMON = """
if os.fork() == 0:
    if os.fork() == 0:
        hide(sys.argv[1])
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
print("ready")
time.sleep(600)
"""

#: What a handler of SIGTERM starts; with an exit code as second argument the script ends in that handler.
FORKS_IN_HANDLER = """
def end(*_):
    for _ in range(10):
        if os.fork() == 0:
            hide(sys.argv[1])
    print("forked")
    if len(sys.argv) > 2:
        sys.exit(int(sys.argv[2]))

signal.signal(signal.SIGTERM, end)
print("ready")
while True:
    time.sleep(1)
"""

#: One process at a time, each for less than a millisecond and in a session of its own; all hold one lock.
HOPPING = """
import fcntl
signal.signal(signal.SIGTERM, signal.SIG_IGN)
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
if os.fork():
    print("ready")
    time.sleep(600)
end = time.monotonic() + 30
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    os.setsid()
"""


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """Where the processes of a script leave their ids."""
    return tmp_path / "pids"


@pytest.fixture
def canceled(worker: NodeProcess, send: Callable[..., Run], note: Path, settings: Any) -> Callable[..., Run]:
    """Runs a script with the note as its first argument, and cancels it once it is ready."""
    settings.GRACE_SECONDS = GRACE_S

    def run_and_cancel(text: str, *arguments: str) -> Run:
        run = send(HIDE + text, arguments=[str(note), *arguments])
        says(run, "ready")
        cancel_run(run, by=None)
        return ended(run)

    return run_and_cancel


def pids_in(note: Path) -> list[int]:
    return [int(line) for line in note.read_text().split()]


def test_a_daemon_without_any_trait_of_the_run_is_gone(canceled: Callable[..., Run], note: Path) -> None:
    assert canceled(DAEMON).status == Status.CANCELED
    [pid] = pids_in(note)
    assert is_gone(pid)


def test_a_daemon_does_not_outlive_a_script_that_ends(
    worker: NodeProcess, send: Callable[..., Run], note: Path
) -> None:
    run = send(HIDE + DAEMON.replace("time.sleep(600)", "pass"), arguments=[str(note)])
    assert ended(run).status == Status.COMPLETED
    [pid] = pids_in(note)
    assert is_gone(pid)


@pytest.mark.parametrize("arguments", [(), ("0",)], ids=["and-goes-on", "and-ends"])
def test_what_a_handler_of_sigterm_starts_is_gone(
    canceled: Callable[..., Run], note: Path, arguments: tuple[str, ...]
) -> None:
    done = canceled(FORKS_IN_HANDLER, *arguments)
    assert done.status == Status.CANCELED
    # A process that was forked may get the signal as well, before it becomes another program.
    assert set(log_of(done).splitlines()) == {"ready", "forked"}
    assert len(pids_in(note)) >= 10
    assert all(is_gone(pid) for pid in pids_in(note))


def test_a_chain_of_forks_is_gone(canceled: Callable[..., Run], note: Path) -> None:
    assert canceled(HOPPING).status == Status.CANCELED
    with note.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
