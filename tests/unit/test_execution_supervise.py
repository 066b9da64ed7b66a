"""Supervision with real runs: logs arrive whole and once, ends are told truthfully, whatever is killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from runs.errors import InvalidInput, StaleAttempt
from runs.execution.folder import RunFolder
from runs.execution.outcome import Outcome, Wish
from runs.execution.shim import all_processes, below
from runs.status import ErrorClass
from tests.execution_kit import (
    SCATTERED,
    Place,
    Store,
    is_gone,
    kill_shim,
    outcome_of,
    printed,
    rest_of,
    wait_for,
)

SLEEP = "import time\nprint('ready', flush=True)\ntime.sleep(300)\n"


def memory_kb(which: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which))


def run(place: Place, store: Store, script: str, **options: object) -> Outcome:
    folder = place.start(script, **options)  # type: ignore[arg-type]
    place.supervise(folder, store)
    return outcome_of(store)


# Logs


def test_a_quick_run_is_reported_whole(place: Place, store: Store) -> None:
    outcome = run(place, store, "printf 'one line\\nand a rest'\n", name="quick.sh")
    assert outcome == Outcome(None, False, 0, None, "")
    assert store.text == "one line\nand a rest"
    assert "Command: /bin/sh quick.sh" in store.launch_text
    assert "ended with exit code 0" in store.launch_text
    assert len(store.pids) == 1


def test_a_part_of_a_line_is_shipped_soon(place: Place, store: Store) -> None:
    folder = place.start("""
        import pathlib, sys, time
        for word in ("one", "two"):
            sys.stdout.write(word + " ")
            while not pathlib.Path(word).exists():
                time.sleep(0.001)
            sys.stdout.write(str(time.monotonic()) + " ")
    """)
    place.supervise(folder, store)
    wait_for(lambda: store.text == "one ")
    (folder.code / "one").touch()
    wait_for(lambda: "two" in store.text)
    seen = time.monotonic()
    assert seen - float(store.text.split()[1]) < 2
    (folder.code / "two").touch()
    outcome_of(store)


def test_ten_thousand_progress_updates_cost_few_calls(place: Place, store: Store) -> None:
    run(
        place,
        store,
        """
        import sys, time
        for step in range(10_000):
            sys.stderr.write(f"\\r{step:5}")
            if step % 100 == 0:
                time.sleep(0.02)
    """,
    )
    assert store.text == "".join(f"\r{step:5}" for step in range(10_000))
    calls = [at for at, name, _ in store.calls if name == "user_logs/std_log.txt"]
    assert len(calls) <= 5 * (calls[-1] - calls[0]) + 4


def test_logs_of_the_script_are_carried_and_nothing_else(place: Place, store: Store) -> None:
    folder = place.prepare("""
        import os, pathlib
        logs = pathlib.Path("logs")
        (logs / "train.txt").write_text("epoch 1\\n")
        (logs / "b.log").write_text("b")
        (logs / "model.bin").write_text("no log")
        (logs / "link.txt").symlink_to("/etc/passwd")
        (logs / "deep").mkdir()
        os.mkfifo(logs / "pipe.log")
    """)
    folder.script_logs.mkdir()
    (folder.script_logs / "of_the_snapshot.txt").write_text("old")
    os.utime(folder.script_logs / "of_the_snapshot.txt", (1, 1))
    place.launch(folder)
    place.supervise(folder, store)
    outcome_of(store)
    logs = {name: bytes(data) for name, data in store.logs.items() if name.startswith("logs/")}
    assert logs == {"logs/train.txt": b"epoch 1\n", "logs/b.log": b"b"}


def test_a_log_folder_that_is_a_link_is_not_followed(place: Place, store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    run(
        place,
        store,
        f"""
        import os, pathlib
        os.symlink({str(tmp_path / "elsewhere")!r}, "logs")
        pathlib.Path("logs/secret.txt").write_text("secret")
    """,
    )
    assert set(store.logs) == {"system_logs/launch.log"}


def test_only_twenty_logs_of_the_script_are_carried(place: Place, store: Store) -> None:
    run(
        place,
        store,
        """
        import pathlib
        pathlib.Path("logs").mkdir()
        for number in range(30):
            pathlib.Path(f"logs/{number}.txt").write_text("x")
    """,
    )
    assert sum(name.startswith("logs/") for name in store.logs) == 20


def test_a_log_that_the_store_refuses_by_name_stops_nothing(place: Place, store: Store) -> None:
    class Picky(Store):
        def append_log(self, file: str, offset: int, data: bytes) -> None:
            if file.startswith("logs/"):
                raise InvalidInput("No such name.")
            super().append_log(file, offset, data)

    picky = Picky()
    run(
        place,
        picky,
        """
        import pathlib
        pathlib.Path("logs").mkdir()
        pathlib.Path("logs/a.txt").write_text("x")
    """,
    )
    assert "The log logs/a.txt is not kept: No such name." in picky.launch_text


def test_a_big_log_arrives_whole_with_flat_memory(place: Place, store: Store) -> None:
    class Counting(Store):
        size = 0
        most = 0

        def log_size(self, file: str) -> int:
            return self.size if "std" in file else super().log_size(file)

        def append_log(self, file: str, offset: int, data: bytes) -> None:
            if "std" not in file:
                return super().append_log(file, offset, data)
            assert offset == self.size
            self.size += len(data)
            self.most = max(self.most, len(data))

    counting = Counting()
    folder = place.start("""
        import sys
        block = (b"x" * 99 + b"\\n") * 10_000
        for _ in range(200):
            sys.stdout.buffer.write(block)
    """)
    wait_for(lambda: folder.read_ended(), within_s=60)
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest use of memory so far
    before = memory_kb("VmHWM")
    began = time.monotonic()
    place.supervise(folder, counting)
    outcome_of(counting, within_s=60)
    assert counting.size == 200_000_000
    assert counting.most <= 4 << 20
    assert counting.size / (time.monotonic() - began) > 30_000_000
    assert memory_kb("VmHWM") - before < 30_000


def test_a_log_past_its_cap_says_so_and_does_not_fill_the_disk(place: Place, store: Store) -> None:
    folder = place.start("""
        import pathlib, sys, time
        while not pathlib.Path("enough").exists():
            sys.stdout.write("x" * 999 + "\\n")
            time.sleep(0.005)
        raise ValueError("the end")
    """)
    supervision = place.supervise(folder, store, log_cap_bytes=100_500)
    cut = wait_for(lambda: store.text if "The log is cut" in store.text else "")
    assert cut[:100_500] == ("x" * 999 + "\n") * 100 + "x" * 500
    assert cut[100_500:] == "\n[Studio] The log is cut here: it is longer than 100,500 bytes.\n"
    sizes = [0]

    def shrinks() -> bool:
        sizes.append(folder.std_log.stat().st_size)
        return sizes[-1] < sizes[-2]

    wait_for(shrinks)
    place.let_go(supervision)
    place.supervise(folder, store, log_cap_bytes=100_500)
    (folder.code / "enough").touch()
    assert outcome_of(store).message == "ValueError: the end"
    assert store.text == cut
    assert max(sizes) < 1_000_000


# Ends


@pytest.mark.parametrize(
    ("script", "kind", "code", "number", "message"),
    [
        ("raise ValueError('bad lr')", ErrorClass.SCRIPT, 1, None, "ValueError: bad lr"),
        ("raise SystemExit(3)", ErrorClass.SCRIPT, 3, None, "The script ended with exit code 3."),
        ("raise MemoryError('8 EiB')", ErrorClass.OUT_OF_MEMORY, 1, None, "MemoryError: 8 EiB"),
        ("import os; os.kill(0, 9)", ErrorClass.SIGNAL, None, 9, "The script was ended by SIGKILL (killed)."),
        ("import os; os.abort()", ErrorClass.SIGNAL, None, 6, "The script was ended by SIGABRT (aborted)."),
    ],
)
def test_each_end_has_its_class_and_its_reason(
    place: Place,
    store: Store,
    script: str,
    kind: ErrorClass,
    code: int | None,
    number: int | None,
    message: str,
) -> None:
    outcome = run(place, store, script + "\n")
    assert (outcome.kind, outcome.exit_code, outcome.signal, outcome.message) == (kind, code, number, message)
    assert not outcome.canceled
    assert outcome.traceback.startswith("Traceback") == (code == 1)


def test_a_time_limit_is_told(place: Place, store: Store) -> None:
    outcome = run(place, store, SLEEP, time_limit_s=0.5)
    assert (outcome.kind, outcome.message) == (ErrorClass.TIME_LIMIT, "The script ran longer than 0.5 s.")


def test_a_script_that_is_not_there_is_a_launch_error(place: Place, store: Store) -> None:
    folder = place.launch(place.prepare())
    place.supervise(folder, store)
    outcome = outcome_of(store)
    assert outcome.kind is ErrorClass.LAUNCH
    assert outcome.message == "There is no script train.py in the snapshot."
    assert store.pids == []


@pytest.mark.parametrize("code", [0, 7])
def test_a_wish_to_stop_is_obeyed_whatever_the_exit_code(place: Place, store: Store, code: int) -> None:
    folder = place.start(f"""
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("saved"), sys.exit({code})))
        print("ready")
        time.sleep(300)
    """)
    place.supervise(folder, store)
    wait_for(lambda: "ready" in store.text)
    asked = time.monotonic()
    store.wanted = Wish.STOP
    outcome = outcome_of(store)
    assert time.monotonic() - asked < 2.0
    assert outcome == Outcome(None, True, code, None, "Stopped on request. It obeyed.")
    assert store.text == "ready\nsaved\n"
    assert "SIGTERM to" in store.launch_text


def test_what_had_to_be_killed_is_named(place: Place, store: Store) -> None:
    folder = place.start(
        """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready")
        time.sleep(300)
    """,
        grace_s=0.3,
    )
    place.supervise(folder, store)
    wait_for(lambda: "ready" in store.text)
    store.wanted = Wish.STOP
    outcome = outcome_of(store, within_s=2.3)
    assert outcome.canceled
    assert outcome.killed == (store.pids[0],)
    assert outcome.signal == signal.SIGKILL


def test_kill_9_of_the_shim_leaves_no_process_and_is_told(place: Place, store: Store) -> None:
    folder = place.start(SCATTERED)
    place.supervise(folder, store)
    wait_for(lambda: store.text.count("\n") == 3 and (folder.code / "a").read_text())
    pids = [int(word) for word in (store.text + (folder.code / "a").read_text()).split()]
    kill_shim(folder)
    outcome = outcome_of(store, within_s=10)
    assert outcome.kind is ErrorClass.LOST
    assert outcome.message == "The process that watched this run was killed."
    assert len(pids) == 4
    assert all(map(is_gone, pids))
    assert not rest_of(folder)
    assert "SIGKILL to" in store.launch_text


def test_kill_9_of_the_script_is_told(place: Place, store: Store) -> None:
    folder = place.start(SLEEP)
    place.supervise(folder, store)
    wait_for(lambda: store.pids)
    os.kill(store.pids[0], signal.SIGKILL)
    assert outcome_of(store, within_s=10).kind is ErrorClass.SIGNAL


def test_kill_9_of_everything_is_told_when_studio_is_back(place: Place, store: Store) -> None:
    folder = place.start(SLEEP)
    state = wait_for(folder.read_state)
    wait_for(lambda: "ready\n" in printed(folder))
    kill_shim(folder)
    wait_for(lambda: is_gone(state["pid"]) and not folder.is_watched())
    place.supervise(folder, store)
    outcome = outcome_of(store)
    assert (outcome.kind, outcome.message) == (ErrorClass.LOST, "Its process ended while Studio was away.")
    assert store.text == "ready\n"


def test_after_a_reboot_no_process_is_touched(place: Place, store: Store) -> None:
    folder = place.prepare()
    child = place.start(SLEEP)  # stands for a stranger who has the old pid, and even our marker
    state = wait_for(child.read_state)
    folder.write_launch({"grace_s": 10})
    folder.write_state({**state, "boot_id": "another boot"})
    place.supervise(folder, store)
    assert outcome_of(store).message == "Its process ended while Studio was away."
    assert not is_gone(state["pid"])


def test_a_folder_that_was_never_started_is_told(place: Place, store: Store) -> None:
    folder = place.prepare()
    folder.write_launch({"grace_s": 10})
    place.supervise(folder, store)
    outcome = outcome_of(store)
    assert outcome.kind is ErrorClass.LOST
    assert "never started" in outcome.message
    assert outcome.never_started


def test_a_folder_that_is_gone_is_told(place: Place, store: Store, tmp_path: Path) -> None:
    place.supervise(RunFolder(tmp_path, "run_of_old", 1), store)
    outcome = outcome_of(store)
    assert (outcome.kind, outcome.message) == (ErrorClass.LOST, "Its folder on the node is gone.")


def test_a_shim_that_hangs_does_not_hold_up_a_cancel(place: Place, store: Store) -> None:
    folder = place.start(SLEEP, grace_s=0)
    state = wait_for(folder.read_state)
    os.kill(state["shim_pid"], signal.SIGSTOP)
    supervision = place.supervise(folder, store)
    wait_for(lambda: store.pids)
    store.wanted = Wish.STOP
    wait_for(lambda: folder.stop_requested)
    supervision._stopping_at = time.monotonic() - 60  # the patience is over
    outcome = outcome_of(store)
    assert outcome.canceled
    assert is_gone(state["pid"])


# Changing hands


def test_letting_go_is_quick_and_the_next_takes_up_without_gap_or_repeat(place: Place, store: Store) -> None:
    folder = place.start("""
        import pathlib, time
        number = 0
        while not pathlib.Path("enough").exists():
            print(number)
            number += 1
            time.sleep(0.0005)
        print("end", number)
    """)
    for _ in range(5):
        before = len(store.text)
        supervision = place.supervise(folder, store)
        wait_for(lambda before=before: len(store.text) > before + 200)
        began = time.monotonic()
        place.let_go(supervision)
        assert time.monotonic() - began < 2
        assert folder.is_watched()
    assert store.outcome is None
    place.supervise(folder, store)
    (folder.code / "enough").touch()
    outcome_of(store)
    lines = store.text.splitlines()
    assert lines[-1] == f"end {len(lines) - 1}"
    assert lines[:-1] == [str(number) for number in range(len(lines) - 1)]


def test_what_ended_while_nobody_looked_is_told_in_full(place: Place, store: Store) -> None:
    folder = place.start("print('all of it')\nraise SystemExit(4)\n")
    wait_for(folder.read_ended)
    place.supervise(folder, store)
    assert outcome_of(store).exit_code == 4
    assert store.text == "all of it\n"
    assert store.pids == [(folder.read_state() or {})["pid"]]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_store_that_fails_loses_no_byte_and_gets_none_twice(place: Place, store: Store, when: str) -> None:
    luck = random.Random(5)

    def fail(method: str) -> None:
        if luck.random() < 0.4:
            raise ConnectionError(f"{method}: the database is busy")

    setattr(store, when, fail)
    outcome = run(
        place,
        store,
        """
        import time
        for number in range(100):
            print(number)
            time.sleep(0.005)
    """,
    )
    assert outcome.kind is None
    assert store.text == "".join(f"{number}\n" for number in range(100))


def test_a_failing_store_does_not_hold_up_letting_go(place: Place, store: Store) -> None:
    def fail(method: str) -> None:
        raise ConnectionError("the database is gone")

    store.before = fail
    folder = place.start(SLEEP)
    supervision = place.supervise(folder, store)
    wait_for(lambda: "ready\n" in printed(folder))
    began = time.monotonic()
    place.let_go(supervision)
    assert time.monotonic() - began < 2
    assert folder.is_watched()


@pytest.mark.parametrize("method", ["wish", "append_log", "started"])
def test_a_run_that_is_no_longer_ours_is_ended_without_a_report(
    place: Place, store: Store, method: str
) -> None:
    def refuse(called: str) -> None:
        if called == method:
            raise StaleAttempt("Attempt 2 has begun.")

    store.before = refuse
    folder = place.start(SLEEP)
    place.supervise(folder, store)
    wait_for(lambda: not place.supervisions[0][1].is_alive())
    assert store.outcome is None
    assert not folder.is_watched()
    assert not rest_of(folder)


def test_another_attempt_of_the_run_is_not_touched(place: Place, store: Store) -> None:
    first = place.start(SLEEP)
    second = RunFolder(first.root, first.run_id, 2)
    second.create()
    (second.code / "train.py").write_text(SLEEP)
    place.folders.append(second)
    place.launch(second)
    wait_for(lambda: printed(first) and printed(second))
    place.supervise(first, store)
    wait_for(lambda: store.pids)
    kill_shim(first)
    assert outcome_of(store).kind is ErrorClass.LOST
    assert second.is_watched()
    assert not rest_of(first)
    assert len(rest_of(second)) == 1


def test_twenty_runs_at_once_leave_neither_thread_nor_zombie(place: Place) -> None:
    stores = [Store() for _ in range(20)]
    for store in stores:
        place.supervise(place.start("print('done')\n"), store)
    for store in stores:
        assert outcome_of(store, within_s=60).kind is None
        assert store.text == "done\n"
    wait_for(lambda: not any(thread.name.startswith("run_") for thread in threading.enumerate()))
    wait_for(lambda: not [one for one in below(os.getpid(), all_processes()) if one.state == "Z"])
