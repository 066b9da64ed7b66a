"""Real runs on real nodes: submitting them, waiting for them, and finding what is left of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from runs.models import Run
from runs.services import logs
from runs.services.submit import StepSpec, submit
from tests.factories import make_snapshot, make_target
from tests.fixtures.processes import wait_until

STD_LOG = "user_logs/std_log.txt"


@pytest.fixture
def send(transactional_db: None, workspace: Any, ana: Any) -> Callable[..., Run]:
    """Submits a script, given as text, as ana; keywords are those of a step."""
    target = make_target("local", is_default=True)

    def send_it(text: str, *, name: str = "train.py", **over: Any) -> Run:
        step = StepSpec("train", name, make_snapshot({name: text}), **over)
        return submit(workspace, by=ana, experiment_name="faults", steps=[step], default_target=target)[0]

    return send_it


class Counting:
    """A script that prints a number every 50 ms until it is told to finish, and then how many they were."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._finish = folder / "finish"

    @property
    def script(self) -> str:
        return (
            "import itertools, os, time\n"
            "for n in itertools.count():\n    print(n)\n    time.sleep(0.05)\n"
            f"    if os.path.exists({str(self._finish)!r}):\n        break\n"
            "print('done', n + 1)\n"
        )

    def finish(self) -> None:
        """Let it end, at whatever number it is."""
        self._finish.touch()

    def assert_whole(self, log: str) -> None:
        """Every number is there, once and in order, up to the last."""
        *numbers, last = log.splitlines(keepends=True)
        assert last == f"done {len(numbers)}\n"
        assert numbers == [f"{n}\n" for n in range(len(numbers))]


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    return Counting(tmp_path)


def fresh(run: Run) -> Run:
    """The run as the database has it now."""
    return Run.objects.get(pk=run.pk)


def ended(run: Run, *, within_s: float = 90.0) -> Run:
    """The run once it has ended."""
    return wait_until(lambda: found if (found := fresh(run)).is_terminal else None, within_s=within_s)


def log_of(run: Run, name: str = STD_LOG) -> str:
    """What is stored of a log of the run's current attempt."""
    return b"".join(logs.iter_log(fresh(run), name)).decode()


def says(run: Run, text: str, *, within_s: float = 60.0) -> None:
    """Wait until the stored log holds this."""
    wait_until(lambda: text in log_of(run), within_s=within_s)


def fastest(measure: Callable[[], float], *, limit_s: float) -> float:
    """The shortest of up to three times, in seconds, for what has to be done within a limit.

    A machine that is busy with other things is slow once; a defect is slow every time.
    """
    times = [measure()]
    while min(times) >= limit_s and len(times) < 3:
        times.append(measure())
    return min(times)


def processes_of(run: Run) -> list[int]:
    """Every living process that carries the run's marker: its script and all that came of it."""
    marker, found = f"STUDIO_RUN_ID={run.run_id}".encode(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            carries = marker in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if carries and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE:
                found.append(int(pid))
        except (OSError, psutil.Error):
            continue
    return found


def shim_of(run: Run) -> psutil.Process:
    """The process that watches the run's script."""
    script = psutil.Process(processes_of(run)[0])
    return next(above for above in script.parents() if any("shim" in word for word in above.cmdline()))
