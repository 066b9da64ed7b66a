"""Metrics on their way to a real server: exactly once, whatever happens to the network and to processes."""

from __future__ import annotations

import json
import math
import shutil
import signal
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azureml.core import Experiment, Run, ScriptRunConfig, Workspace
from studio_client import spool
from studio_client.api import Api
from studio_client.sender import MetricSender

from tests.fixtures.processes import wait_until
from tests.sdk.spooling import IN_SILENCE, spools, values
from tests.sdk.wire import Wire


def test_every_value_comes_back_as_it_was(sender: MetricSender, api: Api, run_id: str, home: Path) -> None:
    odd = [math.nan, math.inf, -math.inf, 0.1, 2**53 + 1, -(2**63), 2**70, True, None, "a\0\ud800ü", -0.0]
    for value in odd:
        sender.add("odd", value)
    whole = [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)]
    for step, number in enumerate(whole):
        sender.add("whole", number, step)
    sender.add("step", 1.5, 2**70)  # an entry is worth more than its step
    sender.log("empty", "list", {"": []})
    sender.log("rows", "row", {"x": [1], "y": [0.5]})
    sender.log("rows", "row", {"x": [2], "z": ["text"]})
    sender.log("long", "list", {"": [n / 3 for n in range(120_000)]})
    sender.log("document", "confusion_matrix", {"": [{"data": [1, {"a": None}]}]})
    assert len(spools(home)) == 1
    assert sender.flush(30)
    assert spools(home) == []
    found = values(api, run_id)
    assert [repr(value) for value in found["odd"][:3]] == ["nan", "inf", "-inf"]
    assert [(type(v), v) for v in found["odd"][3:9]] == [(type(v), v) for v in odd[3:9]]
    assert found["odd"][9] in ("a\0?ü", "a?ü")
    assert found["whole"] == whole
    assert (found["step"], found["empty"]) == (1.5, [])
    assert found["rows"] == {"x": [1, 2], "y": [0.5, None], "z": [None, "text"]}
    assert found["long"] == [n / 3 for n in range(120_000)]
    assert found["document"] == {"data": [1, {"a": None}]}


def test_while_the_server_is_away_nothing_waits_and_nothing_is_lost(
    sender: MetricSender, wire: Wire, api: Api, run_id: str
) -> None:
    sender.add("m", 0)
    assert sender.flush(30)
    wire.cut()
    taken = []
    for number in range(1, 5_001):
        begin = time.perf_counter()
        sender.add("m", number)
        taken.append(time.perf_counter() - begin)
    assert statistics.median(taken) < 0.001
    assert not sender.flush(0.3)
    assert sender.waiting() == 5_000
    wire.mend()
    assert sender.flush(30)
    assert values(api, run_id) == {"m": list(range(5_001))}


def test_the_background_sends_by_itself_once_the_server_is_back(
    sender: MetricSender, wire: Wire, api: Api, run_id: str
) -> None:
    wire.cut()
    sender.add("m", 1)
    sender.add("m", 2)
    wait_until(lambda: sender._retry_at)
    wire.mend()
    wait_until(lambda: not sender.waiting())
    assert values(api, run_id) == {"m": [1, 2]}


def test_answers_that_are_lost_store_nothing_twice(
    sender: MetricSender, wire: Wire, api: Api, run_id: str
) -> None:
    for batch in range(4):
        for number in range(100):
            sender.add("m", 100 * batch + number)
        wire.lose_answers(batch)
        assert sender.flush(60)
    assert wire.lost == 6
    assert values(api, run_id) == {"m": list(range(400))}


def test_a_flush_is_bounded_and_says_what_to_do(
    sender: MetricSender, wire: Wire, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    wire.cut()
    sender.add("m", 1)
    begin = time.monotonic()
    assert not sender.flush(0.2)
    assert time.monotonic() - begin < 5
    said = capsys.readouterr().err
    assert "1 metrics of run" in said
    assert "studio sync" in said
    assert str(home / "spool") in said
    wire.mend()
    assert sender.flush(30)


def test_a_writer_that_the_server_has_forgotten_goes_on_as_another(
    sender: MetricSender, api: Api, run_id: str
) -> None:
    sender._seq = 5  # as if the server were restored from a backup
    sender.add("m", 1)
    assert sender.flush(30)
    sender.add("m", 2)
    assert sender.flush(30)
    assert values(api, run_id) == {"m": [1, 2]}


def test_a_name_that_is_stored_as_another_is_told_once(
    sender: MetricSender, api: Api, run_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        sender.add("a\0b", number)
        sender.add("größe", number)
    sender.add("\ud800", 1)
    sender.log("row", "row", {"c\0d": [1]})
    assert sender.flush(30)
    found = values(api, run_id)
    assert (found["ab"], found["größe"]) == ([0, 1, 2], [0, 1, 2])
    said = capsys.readouterr().err
    for given, stored in (("a\\x00b", "ab"), ("\\ud800", "?"), ("c\\x00d", "cd")):
        assert said.count(f"'{given}' is stored as '{stored}'") == 1
    assert "größe" not in said


def test_an_entry_that_the_server_never_takes_is_told_and_the_others_are_stored(
    sender: MetricSender, api: Api, run_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(50):
        sender.add("m", number)
    sender.log("wide", "row", {f"c{number}": [1] for number in range(1_001)})
    for number in range(50, 100):
        sender.add("m", number)
    assert sender.flush(60)
    assert values(api, run_id) == {"m": list(range(100))}
    assert "does not take an entry of 'wide'" in capsys.readouterr().err


LOG_ON = """
for number in range(10_000_000):
    sender.add("m", number)
    if number == 50: print("logging", flush=True)
    if number % 50 == 0: time.sleep(0.001)
"""


def test_a_process_that_is_killed_at_any_moment_loses_nothing(
    start: Callable[..., Any], api: Api, run_id: str, home: Path
) -> None:
    process = start("spool.EVERY_S = 0.001\n" + LOG_ON)
    process.stdout.readline()
    wait_until(lambda: values(api, run_id))  # it is sending
    process.kill()
    process.wait()
    (result,) = spool.sync_all()
    assert result.problem == ""
    assert result.run_id == run_id
    assert spools(home) == []
    found = values(api, run_id)["m"]
    assert len(found) > 50
    assert found == list(range(len(found)))


def test_what_was_logged_before_a_kill_is_there_to_the_last_value(
    start: Callable[..., Any], wire: Wire, api: Api, run_id: str, home: Path
) -> None:
    wire.cut()
    process = start(
        "for n in range(5_000): sender.add('m', n)\nprint('done', flush=True)\nsys.stdin.readline()\n",
        wire.url,
    )
    assert process.stdout.readline() == "done\n"
    assert spool.sync_all() == []  # its process lives, and sends it
    process.kill()
    process.wait()
    assert spool.sync_all(wire.url)[0].problem != ""
    (left,) = spools(home)
    assert (left / "state.json").exists()
    rename_server(left, wire.url, api.url)
    assert [(one.entries, one.problem) for one in spool.sync_all()] == [(5_000, "")]
    assert values(api, run_id) == {"m": list(range(5_000))}


def rename_server(left: Path, before: str, after: str) -> None:
    """The wire is one way to the same server."""
    file = left / "state.json"
    state = json.loads(file.read_text())
    assert state["url"] == before
    file.write_text(json.dumps({**state, "url": after}).ljust(2_048))


def test_two_processes_that_race_send_a_spool_once(
    start: Callable[..., Any], api: Api, run_id: str, home: Path
) -> None:
    for part in range(6):
        log = f"for n in range(200): sender.add('m{part}', n)\nos.kill(os.getpid(), 9)\n"
        process = start(IN_SILENCE + log)
        assert process.wait() == -signal.SIGKILL
    sync = "sys.stdin.readline()\nprint(sum(one.entries for one in spool.sync_all()), flush=True)\n"
    racers = [start(sync) for _ in range(3)]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    counts = [int(racer.stdout.readline()) for racer in racers]
    assert sum(counts) == 1_200
    assert spools(home) == []
    assert values(api, run_id) == {f"m{part}": list(range(200)) for part in range(6)}


def test_the_next_process_sends_what_a_killed_one_left(
    start: Callable[..., Any], api: Api, run_id: str, home: Path
) -> None:
    start(IN_SILENCE + "for n in range(200): sender.add('m', n)\nos.kill(os.getpid(), 9)\n").wait()
    assert len(spools(home)) == 1
    start(
        "from studio_client import heartbeat\nheartbeat.beats.add(sender.api, run_id)\nsys.stdin.readline()\n"
    )
    wait_until(lambda: values(api, run_id) == {"m": list(range(200))})
    wait_until(lambda: not spools(home))


def test_whoever_deletes_the_spool_stops_nobody(
    sender: MetricSender, wire: Wire, api: Api, run_id: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wire.cut()
    for number in range(50_000):
        sender.add("m", number)
    shutil.rmtree(home / "spool")
    sender.add("after", 1)
    wire.mend()
    assert sender.flush(60)
    assert values(api, run_id)["after"] == 1
    assert capsys.readouterr().err.count("are gone") == 1


def test_a_process_that_has_too_many_files_open_loses_nothing(
    start: Callable[..., Any], api: Api, run_id: str, home: Path
) -> None:
    process = start(
        IN_SILENCE
        + "import resource\nfrom studio_client.sender import MetricSender\n"
        + "sender = MetricSender(sender.api, run_id, lambda is_much: None)\n"
        + "sender.add('m', 0)\nassert sender.flush(60)  # over a connection that stays open\n"
        + "for n in range(1, 60_000): sender.add('m', n)\n"
        + "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        + "opened = []\n"
        + "try:\n    while True: opened.append(os.open(os.devnull, os.O_RDONLY))\nexcept OSError: pass\n"
        + "assert not sender.flush(1)\n"
        + "for one in opened: os.close(one)\n"
        + "assert sender.flush(60)\n"
    )
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "cannot be read now: Too many open files" in said
    assert values(api, run_id) == {"m": list(range(60_000))}
    assert spools(home) == []


ENDS = {
    "normal": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ("raise RuntimeError('no')", 1),
    "a thread that still logs": (
        "import threading\nthreading.Thread(target=lambda: (time.sleep(0.2), sender.add('m', 500))).start()",
        0,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_end_waits_until_all_is_sent(
    start: Callable[..., Any], api: Api, run_id: str, home: Path, end: str
) -> None:
    code, expected = ENDS[end]
    process = start(f"for n in range(500): sender.add('m', n)\n{code}\n")
    _, said = process.communicate(timeout=60)
    assert process.returncode == expected, said
    assert values(api, run_id) == {"m": list(range(500 + ("thread" in end)))}
    assert spools(home) == []


FORKS = {
    "os.fork": (
        "sender.add('parent', 1)\npid = os.fork()\n"
        "if pid == 0:\n    sender.add('child', 1)\n    sys.exit(0)\n"
        "os.waitpid(pid, 0)\nsender.add('parent', 2)\n",
        {"parent": [1, 2], "child": 1},
    ),
    "while others log": (
        "import threading\n"
        "others = [threading.Thread(target=lambda n=n: [sender.add(f't{n}', i) for i in range(20_000)])"
        " for n in range(2)]\n"
        "for one in others: one.start()\n"
        "for n in range(10):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n        sender.add(f'child{n}', n)\n        sys.exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "for one in others: one.join()\n",
        {**{f"t{n}": list(range(20_000)) for n in range(2)}, **{f"child{n}": n for n in range(10)}},
    ),
    "a pool": (
        "import multiprocessing\nsender.add('parent', 1)\n"
        "def work(n): sender.add(f'child{n}', n)\n"
        "with multiprocessing.get_context('fork').Pool(3) as pool:\n"
        "    pool.map(work, range(9))\n    pool.close()\n    pool.join()\n",
        {"parent": 1, **{f"child{n}": n for n in range(9)}},
    ),
    "workers that are killed": (
        "import signal\nsender.add('parent', 1)\n"
        "for n in range(3):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n        sender.add(f'child{n}', n)\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    os.waitpid(pid, 0)\n",
        {"parent": 1, **{f"child{n}": n for n in range(3)}},
    ),
}


@pytest.mark.parametrize("way", FORKS)
def test_children_write_on_their_own(
    start: Callable[..., Any], api: Api, run_id: str, home: Path, way: str
) -> None:
    code, expected = FORKS[way]
    process = start(code)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert values(api, run_id) == expected
    assert spools(home) == []


def test_nothing_is_imported_while_metrics_are_sent(start: Callable[..., Any]) -> None:
    """A fork in the midst of another thread's import waits for ever for that module."""
    process = start(
        "before = set(sys.modules)\nsender.add('m', 1)\nsender.log('t', 'table', {'a': [1, 2]})\n"
        "assert sender.flush(60)\nprint(sorted(set(sys.modules) - before))\n"
    )
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out.strip()) == (0, "[]"), said


def test_threads_keep_their_order(sender: MetricSender, api: Api, run_id: str) -> None:
    def log(name: str) -> None:
        for number in range(3_000):
            sender.add(name, number)
            if number % 1_000 == 500:
                sender.flush(60)

    threads = [threading.Thread(target=log, args=(f"t{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sender.flush(60)
    assert values(api, run_id) == {f"t{number}": list(range(3_000)) for number in range(6)}


def test_a_signal_handler_may_log(start: Callable[..., Any], api: Api, run_id: str) -> None:
    process = start(
        "import itertools, signal\nseen = itertools.count()\n"
        "def handle(*_): sender.add('handler', next(seen))\n"
        "signal.signal(signal.SIGALRM, handle)\nsignal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)\n"
        "for n in range(100_000): sender.add('m', n)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0, 0)\nprint(next(seen))\n"
    )
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    found = values(api, run_id)
    assert found["m"] == list(range(100_000))
    assert sorted(found["handler"]) == list(range(int(out)))
    assert int(out) > 10


def test_an_end_without_a_server_is_bounded_and_says_what_to_do(
    start: Callable[..., Any], wire: Wire, home: Path
) -> None:
    wire.cut()
    process = start("spool.EXIT_PATIENCE_S = 0.5\nsender.add('m', 1)\n", wire.url)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "studio sync" in said
    assert len(spools(home)) == 1


def test_a_token_of_the_environment_goes_to_its_own_server_only(
    start: Callable[..., Any], wire: Wire, home: Path
) -> None:
    wire.cut()
    start("sender.add('m', 1)\nos.kill(os.getpid(), 9)\n", wire.url).wait()
    wire.mend()
    (result,) = spool.sync_all()
    assert (result.url, result.entries) == (wire.url, 0)
    assert "STUDIO_TOKEN is not for" in result.problem
    assert bytes(wire.seen) == b""
    assert len(spools(home)) == 1


def test_a_run_that_is_gone_is_told_and_its_metrics_stay(
    sender: MetricSender, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    other = MetricSender(api, "no-such-run", lambda is_much: None)
    other.add("m", 1)
    begin = time.monotonic()
    assert not other.flush(60)
    assert time.monotonic() - begin < 20
    assert "1 metrics of run no-such-run are not sent" in capsys.readouterr().err
    assert other.waiting() == 1


def test_metrics_of_a_submitted_script_that_is_killed_are_handed_in(attached: Path) -> None:
    (attached / "train.py").write_text(
        "import os, signal\nfrom azureml.core import Run\nfrom studio_client import spool\n"
        "spool.EVERY_S = 60\n"
        "run = Run.get_context()\n"
        "for number in range(100): run.log('m', number)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    experiment = Experiment(Workspace.from_config(), "handed-in")
    run: Run = experiment.submit(ScriptRunConfig(str(attached), script="train.py", compute_target="local"))
    run.wait_for_completion(raise_on_error=False)
    assert run.get_status() == "Failed"
    assert run.get_metrics() == {"m": list(range(100))}
    logs = run.get_all_logs(destination=str(attached / "logs"))
    (launch,) = [Path(name) for name in logs if name.endswith("launch.log")]
    assert "100 metrics that the script had left were sent." in launch.read_text()
