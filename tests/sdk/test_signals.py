"""Signals that come at any moment: what a handler logs is kept, and nothing that was kept before is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studio_client.api import Api

from tests.sdk.spooling import spools, values

INTERRUPTED = """
import signal
def at_every_line(files, act, handle):
    "Act again and again; each time a signal comes one line later. How often it came."
    lines = moment = 0
    def trace(frame, event, arg):
        nonlocal lines
        if not frame.f_code.co_filename.endswith(files):
            return None
        if event == 'line':
            lines += 1
            if lines == moment:
                signal.raise_signal(signal.SIGUSR1)
        return trace
    signal.signal(signal.SIGUSR1, lambda *_: handle(moment))
    while lines >= moment:
        lines, moment = 0, moment + 1
        sys.settrace(trace)
        act(moment)
        sys.settrace(None)
    return moment - 1
"""


def test_a_handler_may_log_and_flush_at_any_moment(
    start: Callable[..., Any], api: Api, run_id: str, home: Path
) -> None:
    process = start(
        INTERRUPTED
        + """
from azureml._metric_shapes import metrics_of
spool.EVERY_S = 3600.0
sent = waiting = 0
def act(moment):
    sender.add(f'm{moment % 2}', moment, moment)
    sender.log('list', 'list', {'': [moment]})
    assert sender.flush(60)
def handle(moment):
    global sent, waiting
    sender.log('handler', 'list', {'': [moment, 0]})
    if not sender.flush(60):
        waiting += 1
        return
    sent += 1
    stored = sender.api.metric_values(run_id, name='handler')[run_id]
    assert moment in metrics_of(run_id, stored)['handler'], stored
files = ('sender.py', 'sending.py', 'left_behind.py', 'spool_folder.py', 'segments.py', 'batches.py')
print(at_every_line(files, act, handle), sent, waiting)
"""
    )
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    moments, sent, waiting = map(int, out.split())
    assert moments == sent + waiting
    assert min(sent, waiting) > 10
    assert said.count("a signal has interrupted their sending") == waiting
    found = values(api, run_id)
    assert sorted(found["handler"]) == [0] * moments + list(range(1, moments + 1))
    assert sorted(found["m0"] + found["m1"]) == list(range(1, moments + 2))
    assert found["list"] == list(range(1, moments + 2))
    assert spools(home) == []


STARTS = {
    "metrics of another run": (
        "pump = spool.Pump()\n"
        "def act(moment):\n"
        "    global pump\n"
        "    pump = spool.Pump()\n"
        "    pump.sender_for(sender.api, run_id).add('m', moment)\n"
        "def handle(moment):\n    pump.sender_for(sender.api, f'run {moment}').add('m', 1)\n"
    ),
    "the end of the run that begins": (
        "from studio_client.heartbeat import Heartbeat\n"
        "beats = Heartbeat(3600)\n"
        "def act(moment):\n"
        "    global beats\n"
        "    beats = Heartbeat(3600)\n"
        "    beats.add(sender.api, run_id)\n"
        "def handle(moment):\n    beats.remove(run_id)\n    spool.pump.wake(True)\n"
    ),
}


@pytest.mark.parametrize("what", STARTS)
def test_a_handler_may_come_while_threads_are_started_and_woken(start: Callable[..., Any], what: str) -> None:
    process = start(
        INTERRUPTED
        + STARTS[what]
        + "files = ('spool.py', 'heartbeat.py', 'background.py', 'threading.py')\n"
        + "print(at_every_line(files, act, handle), flush=True)\nos._exit(0)\n"
    )
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert int(out) > 10
