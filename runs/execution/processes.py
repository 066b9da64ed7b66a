"""Finding and killing what is left of a run whose shim cannot do it any more.

As long as the shim lives it kills its own tree (`shim.py`). Once it is dead its descendants have other
parents, so they are known by what they carry: the run's marker in their environment, the session and group of
the script, the run's pipe as their output (or its log, below an older shim), or one of these as parent.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection
from pathlib import Path

from runs.execution.shim import Process, all_processes, below, read_process, send

MARKER = "STUDIO_RUN_ID"
ATTEMPT_MARKER = "STUDIO_ATTEMPT"


def find(pid: int, started: int) -> Process | None:
    """This very process, if it still lives, and not another one with its pid."""
    process = read_process(pid)
    return process if process and process.started == started and process.is_alive else None


def leftovers(
    run_id: str, attempt: int, *, script: tuple[int, int] | None, outputs: Collection[Path]
) -> list[Process]:
    """Every living process of this attempt, except ourselves and those above us.

    `script` is (pid, started) of the script's own process, whose pid names its session and group, `outputs`
    what processes of the run alone print to.
    """
    processes = all_processes()
    session = _session_of(script, processes)
    printed_to = {str(path) for path in outputs}
    roots = [
        process
        for process in processes
        if process.is_alive
        and (
            _is_marked(process, run_id, attempt)
            or (session and session in (process.session, process.group) and _is_ours(process))
            or _prints_to(process, printed_to)
        )
    ]
    found = {process.pid: process for process in roots}
    for root in roots:
        found.update((process.pid, process) for process in below(root.pid, processes) if process.is_alive)
    for pid in _own_line(processes):
        found.pop(pid, None)
    return list(found.values())


def kill_until_none(search: Callable[[], list[Process]], *, for_s: float = 5.0) -> tuple[int, ...]:
    """SIGKILL what `search` gives until it gives nothing; the pids that were killed.

    Whoever was found once is waited for, even when `search` no longer sees it. Returns after `for_s` at the
    latest: a process in the kernel's hands, or another user's, may outlast every SIGKILL.
    """
    killed: dict[tuple[int, int], Process] = {}
    end = time.monotonic() + for_s
    while True:
        known = [process for pid, started in killed if (process := find(pid, started))]
        found = {(process.pid, process.started): process for process in [*known, *search()]}
        for key, process in found.items():
            if send(process, signal.SIGKILL):
                killed[key] = process
        if not found or time.monotonic() >= end:
            return tuple(sorted(pid for pid, _ in killed))
        time.sleep(0.02)


def _is_marked(process: Process, run_id: str, attempt: int) -> bool:
    if not _is_ours(process):
        return False
    try:
        variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    wanted = (f"{MARKER}={run_id}", f"{ATTEMPT_MARKER}={attempt}")
    return all(os.fsencode(pair) in variables for pair in wanted)


def _is_ours(process: Process) -> bool:
    try:
        return os.stat(f"/proc/{process.pid}").st_uid == os.geteuid()
    except OSError:
        return False


def _prints_to(process: Process, outputs: set[str]) -> bool:
    """Only as output: who reads the log, as a person with `tail -f` does, holds it by another number."""
    for number in (1, 2):
        try:
            target = os.readlink(f"/proc/{process.pid}/fd/{number}")
        except OSError:
            continue
        if target.removesuffix(" (deleted)") in outputs:
            return True
    return False


def _session_of(script: tuple[int, int] | None, processes: list[Process]) -> int:
    """The script's session, or 0 when its number has gone to somebody else."""
    if script is None:
        return 0
    pid, started = script
    now = next((process for process in processes if process.pid == pid), None)
    return pid if now is None or now.started == started else 0


def _own_line(processes: list[Process]) -> set[int]:
    """Ourselves and our ancestors, who must never be killed by a mistaken mark."""
    parents = {process.pid: process.parent for process in processes}
    line, pid = set(), os.getpid()
    while pid and pid not in line:
        line.add(pid)
        pid = parents.get(pid, 0)
    return line
