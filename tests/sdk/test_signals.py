"""Signals that come at any moment: what a handler logs is kept, and nothing that was kept before is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studio_client import spool
from studio_client.api import Api

from tests.sdk.spooling import IN_SILENCE, spools, values

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


SMALL_SEGMENTS = """
from studio_client import spool_folder
from studio_client.sender import MetricSender
spool_folder.FIRST_BYTES = spool_folder.LARGEST_BYTES = 512
sender = MetricSender(sender.api, run_id, lambda is_much: None)  # nobody sends what has become much
"""


@pytest.mark.parametrize("small", [False, True])
def test_a_handler_may_log_and_flush_at_any_moment(
    start: Callable[..., Any], api: Api, run_id: str, home: Path, small: bool
) -> None:
    """Also where segments become full, one after the other."""
    process = start(
        INTERRUPTED
        + IN_SILENCE
        + (SMALL_SEGMENTS if small else "")
        + f"small = {small}\n"
        + """
from azureml._metric_shapes import metrics_of
sent = waiting = 0
def act(moment):
    sender.add(f'm{moment % 2}', moment, moment)
    for part in range(3 if small else 1):
        sender.log('list', 'list', {'': [moment] + [''] * 99 * small})
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
files = ('spool_folder.py', 'segments.py')
if not small:
    files += ('sender.py', 'sending.py', 'left_behind.py', 'locks.py', 'batches.py')
print(at_every_line(files, act, handle), sent, waiting)
"""
    )
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    moments, sent, waiting = map(int, out.split())
    assert moments == sent + waiting
    assert min(sent, waiting) > 10
    assert said.count("a signal has interrupted their sending") == waiting
    found = values(api, run_id)
    assert sorted(found["handler"]) == [0] * moments + list(range(1, moments + 1))
    assert sorted(found["m0"] + found["m1"]) == list(range(1, moments + 2))
    numbers = [value for value in found["list"] if value != ""]
    assert numbers == [moment for moment in range(1, moments + 2) for _ in range(3 if small else 1)]
    assert spools(home) == []


def test_what_was_logged_before_a_handler_came_is_sent_before_what_it_logs(
    start: Callable[..., Any], api: Api, run_id: str
) -> None:
    process = start(
        INTERRUPTED
        + IN_SILENCE
        + """
logged, before = 0, []
def act(moment):
    global logged
    for logged in range(3): sender.add(f'm{moment}', logged)
    logged = 3
    assert sender.flush(60)
def handle(moment):
    before.append(logged)
    sender.add(f'm{moment}', 9)
    sender.flush(60)
at_every_line(('sender.py', 'segments.py'), act, handle)
print(*before)
"""
    )
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    found = values(api, run_id)
    for moment, count in enumerate(map(int, out.split()), start=1):
        stored = found[f"m{moment}"]
        assert [value for value in stored if value != 9] == [0, 1, 2]
        assert stored.index(9) >= count, stored


def test_what_a_handler_logs_before_it_raises_is_kept(
    start: Callable[..., Any], api: Api, run_id: str
) -> None:
    process = start(
        INTERRUPTED
        + IN_SILENCE
        + SMALL_SEGMENTS
        + """
def act(moment):
    try:
        sender.log('list', 'list', {'': [''] * 99})
    except KeyboardInterrupt:
        pass
def handle(moment):
    sender.add('handler', moment)
    raise KeyboardInterrupt
sender.add('first', 1)
print(at_every_line(('spool_folder.py', 'segments.py'), act, handle), flush=True)
os.kill(os.getpid(), 9)
"""
    )
    out, said = process.communicate(timeout=300)
    assert said == ""  # such as that they are kept in memory only
    assert int(out) > 10
    assert [one.problem for one in spool.sync_all()] == [""]
    assert values(api, run_id)["handler"] == list(range(1, int(out) + 1))


def test_an_exception_that_comes_as_a_lock_is_taken_leaves_it_free(start: Callable[..., Any]) -> None:
    process = start(
        IN_SILENCE
        + """
import threading
def flush_until(moment):
    "Flush; a Ctrl-C comes when so many locks have been taken. Whether there were so many."
    taken = 0
    def watch(frame, event, called):
        nonlocal taken
        is_ours = 'studio_client' in frame.f_code.co_filename
        if is_ours and event == 'c_return' and called.__name__ == 'acquire':
            taken += 1
            if taken == moment:
                raise KeyboardInterrupt
    sender.add('m', moment)
    sys.setprofile(watch)
    try:
        sender.flush(60)
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False
def log():
    sender.add('other', 1)
    flushed.append(sender.flush(60))
moment, flushed = 1, []
while flush_until(moment):
    other = threading.Thread(target=log, daemon=True)
    other.start()
    other.join(20)
    moment += 1
print(moment, len(flushed), flush=True)
os._exit(0)
"""
    )
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    moments, flushed = map(int, out.split())
    assert moments > 3
    assert flushed == moments - 1


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
