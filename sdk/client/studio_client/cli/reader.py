"""Whoever reads standard output: where `head` or a pager has seen enough, the command ends, too."""

from __future__ import annotations

import os
import select
import stat
import sys
import threading


def end_with_reader() -> None:
    """From now on the process ends as soon as nobody reads its output, and not with its next line only.

    For commands that wait with nothing half-done. Where no other program reads, it changes nothing.
    """
    try:
        stdout = sys.stdout.fileno()
        mode = os.fstat(stdout).st_mode
    except (OSError, ValueError):
        return
    if hasattr(select, "poll") and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        threading.Thread(target=_end_with, args=(stdout,), daemon=True).start()


def _end_with(stdout: int) -> None:
    poller = select.poll()
    poller.register(stdout, select.POLLRDBAND)  # what macOS has to be asked for; Linux tells the end anyhow
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poller.poll()):
        os._exit(0)  # nothing waits to be written that anybody would read
