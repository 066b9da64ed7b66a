"""Whoever reads standard output: a pager or `head` that has seen enough ends the command, too."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from typing import NoReturn


def end_with_reader() -> None:
    """From now on the command ends as soon as nobody reads its output, and not with its next line only."""
    if not hasattr(select, "poll") or sys.stdout.isatty():
        return

    def end(*_: object) -> NoReturn:
        write_no_more()
        raise SystemExit(0)  # what waits for the server takes a BrokenPipeError for one of the network

    signal.signal(signal.SIGPIPE, end)
    threading.Thread(target=_watch, args=(sys.stdout.fileno(),), daemon=True).start()


def _watch(stdout: int) -> None:
    poller = select.poll()
    poller.register(stdout, 0)  # the end alone is told
    poller.poll()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGPIPE)


def write_no_more() -> None:
    """Let what is still to be written go nowhere, or the end of Python would complain of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
