"""Real runs for tests: folders below a temporary path, scripts in them, and a store that only remembers."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runs.errors import OffsetMismatch
from runs.execution import launch, processes
from runs.execution.folder import RunFolder
from runs.execution.outcome import Outcome, Wish
from runs.execution.supervise import Supervision

#: The repository: what a Python that a test starts has to have as its folder to import ours.
REPOSITORY = Path(__file__).parents[1]

#: A child in a session of its own that has neither the run's marker nor a parent that lives, and the script.
SCATTERED = """
    import os, subprocess, sys, time
    say = "os.write(1, (str(os.getpid()) + os.linesep).encode())"  # a whole line, which print is not
    code = f"import os, time; {say}; time.sleep(300)"
    subprocess.Popen([sys.executable, "-c", code])
    apart = {"start_new_session": True, "stdout": open("a", "w"), "stderr": open("b", "w")}
    subprocess.Popen([sys.executable, "-c", code], **apart)
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.execve(sys.executable, [sys.executable, "-c", code], {})
    exec(say)
    time.sleep(300)
"""


def nest(folder: Path, levels: int) -> None:
    """Make so many folders in each other, more than one path can name, with a file in the last."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("deep", dir_fd=here)
        there = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def wait_for(condition: Callable[[], Any], *, within_s: float = 60.0) -> Any:
    """What the condition gives once it is true; fails the test when that takes too long."""
    end = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {within_s} s: {condition}"
        time.sleep(0.005)
    return value


class Store:
    """A Reporter that keeps everything in memory and is as strict about offsets as the real one."""

    def __init__(self) -> None:
        self.logs: dict[str, bytearray] = {}
        self.calls: list[tuple[float, str, int]] = []
        self.pids: list[int] = []
        self.outcome: Outcome | None = None
        self.wanted = Wish.KEEP
        self.before: Callable[[str], None] = lambda method: None
        self.after: Callable[[str], None] = lambda method: None

    def wish(self) -> Wish:
        self.before("wish")
        return self.wanted

    def log_size(self, file: str) -> int:
        self.before("log_size")
        return len(self.logs.get(file, b""))

    def append_log(self, file: str, offset: int, data: bytes) -> None:
        self.before("append_log")
        held = self.logs.setdefault(file, bytearray())
        if offset != len(held):
            raise OffsetMismatch(f"{file} ends elsewhere", expected=len(held))
        held += data
        self.calls.append((time.monotonic(), file, len(data)))
        self.after("append_log")

    def started(self, pid: int) -> None:
        self.before("started")
        self.pids.append(pid)

    def ended(self, outcome: Outcome) -> None:
        self.before("ended")
        assert self.outcome is None, "ended twice"
        self.outcome = outcome

    @property
    def text(self) -> str:
        return self.logs.get("user_logs/std_log.txt", b"").decode()

    @property
    def launch_text(self) -> str:
        return self.logs.get("system_logs/launch.log", b"").decode()


def outcome_of(store: Store, *, within_s: float = 60.0) -> Outcome:
    wait_for(lambda: store.outcome, within_s=within_s)
    assert store.outcome is not None
    return store.outcome


class Place:
    """Makes and starts runs, and sees to it that nothing of them is left."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: list[RunFolder] = []
        self.supervisions: list[tuple[Supervision, threading.Thread]] = []

    def prepare(self, script: str = "", *, name: str = "train.py", mode: int = 0o644) -> RunFolder:
        folder = RunFolder(self.root, f"run_{os.getpid()}_{len(self.folders)}_{self.root.name}", 1)
        folder.create()
        self.folders.append(folder)
        if script:
            path = folder.code / name
            path.write_text(textwrap.dedent(script).lstrip())
            path.chmod(mode)
        return folder

    def launch(
        self,
        folder: RunFolder,
        *,
        name: str = "train.py",
        arguments: Sequence[str] = (),
        python: str = sys.executable,
        grace_s: float = 10.0,
        time_limit_s: float | None = None,
        **user_env: str,
    ) -> RunFolder:
        argv = launch.command_for(name, arguments, python)
        env = launch.build_env(os.environ, run_env={}, user_env=user_env)
        spec = launch.LaunchSpec(folder.run_id, folder.attempt, argv, env, grace_s, time_limit_s)
        launch.start(folder, spec)
        return folder

    def start(self, script: str, *, name: str = "train.py", mode: int = 0o644, **options: Any) -> RunFolder:
        return self.launch(self.prepare(script, name=name, mode=mode), name=name, **options)

    def supervise(self, folder: RunFolder, store: Store, *, log_cap_bytes: int = 1 << 30) -> Supervision:
        supervision = Supervision(folder, store, log_cap_bytes=log_cap_bytes)
        thread = threading.Thread(target=supervision.run, name=folder.run_id)
        thread.start()
        self.supervisions.append((supervision, thread))
        return supervision

    def let_go(self, supervision: Supervision) -> None:
        thread = next(thread for known, thread in self.supervisions if known is supervision)
        supervision.let_go()
        thread.join(5)
        assert not thread.is_alive()

    def clear(self) -> None:
        """Kill what the test has left, and fail it if that is not all."""
        for supervision, _ in self.supervisions:
            supervision.let_go()
        for _, thread in self.supervisions:
            thread.join(10)
        for folder in self.folders:
            kill_shim(folder)
            processes.kill_until_none(lambda folder=folder: rest_of(folder))
            wait_for(lambda folder=folder: not folder.is_watched())
        launch.reap()
        assert not any(thread.is_alive() for _, thread in self.supervisions)
        assert not [process for folder in self.folders for process in rest_of(folder)]


def rest_of(folder: RunFolder) -> list[processes.Process]:
    """The living processes of a run, the shim not counted."""
    state = folder.read_state()
    script = (state["pid"], state["started"]) if state else None
    return processes.leftovers(folder.run_id, folder.attempt, script=script, outputs=folder.outputs_of_script)


def kill_shim(folder: RunFolder) -> None:
    state = folder.read_state()
    shim = processes.find(state["shim_pid"], state["shim_started"]) if state else None
    if shim:
        processes.send(shim, signal.SIGKILL)


def printed(folder: RunFolder) -> str:
    return folder.std_log.read_text() if folder.std_log.exists() else ""


def ended(folder: RunFolder, *, within_s: float = 60.0) -> dict[str, Any]:
    """The facts of ended.json, once they are there."""
    wait_for(folder.read_ended, within_s=within_s)
    return folder.read_ended() or {}


def is_gone(pid: int) -> bool:
    process = processes.read_process(pid)
    return process is None or not process.is_alive
