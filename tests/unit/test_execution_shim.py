"""The shim with real scripts: what they are given, how they are stopped, and what is written down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from runs.execution import shim
from tests.execution_kit import REPOSITORY, Place, ended, is_gone, kill_shim, printed, rest_of, wait_for

#: Five processes: a child and of that a child, one that calls setsid, and one that forks twice and has lost
#: the run's marker; each prints its pid and waits for its end.
FAMILY = """
    import os, signal, subprocess, sys, time
    role, mood = sys.argv[1:]
    if mood == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leaf = [sys.executable, __file__, "leaf", mood]
    if role == "main":
        subprocess.Popen([sys.executable, __file__, "child", mood])
    if role == "child":
        subprocess.Popen(leaf)
        subprocess.Popen(leaf, start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.execve(leaf[0], leaf, {})
    print(os.getpid(), flush=True)
    while True:
        time.sleep(300)
"""


def pids_of(folder: object, count: int) -> list[int]:
    wait_for(lambda: len(printed(folder).split()) >= count)
    return [int(word) for word in printed(folder).split()]


def test_a_line_of_a_run_of_some_milliseconds_is_kept(place: Place) -> None:
    folder = place.start("echo one line\n", name="quick.sh")
    facts = ended(folder)
    assert printed(folder) == "one line\n"
    assert (facts["reason"], facts["exit_code"], facts["signal"]) == ("exit", 0, None)


def test_output_without_a_newline_and_errors_are_kept_in_order(place: Place) -> None:
    folder = place.start("""
        import sys
        print("out"); print("error", file=sys.stderr); print("no newline", end="")
    """)
    ended(folder)
    assert printed(folder) == "out\nerror\nno newline"


def test_a_script_has_its_folder_no_input_its_arguments_and_a_session_of_its_own(place: Place) -> None:
    folder = place.start(
        """
        import json, os, sys
        print(json.dumps({"cwd": os.getcwd(), "input": sys.stdin.read(), "argv": sys.argv[1:],
                          "leads": os.getsid(0) == os.getpid() == os.getpgrp(),
                          "fds": os.listdir("/proc/self/fd"), "mark": os.environ["STUDIO_RUN_ID"],
                          "lr": os.environ["LR"]}))
    """,
        arguments=["--lr", "0.1", "", "ünïcode \n"],
        LR="0.5",
    )
    ended(folder)
    seen = json.loads(printed(folder))
    assert seen.pop("cwd") == str(folder.code)
    assert len(seen.pop("fds")) == 4  # three, and the one that reads the list
    assert seen == {
        "input": "",
        "argv": ["--lr", "0.1", "", "ünïcode \n"],
        "leads": True,
        "mark": folder.run_id,
        "lr": "0.5",
    }


def test_the_start_is_quick_and_outlives_its_parent_with_none_of_its_signal_settings(place: Place) -> None:
    folder = place.prepare("""
        import os, signal, time
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        print([s.name for s in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1)
               if signal.getsignal(s) != signal.SIG_DFL], blocked, flush=True)
        print(os.getpriority(os.PRIO_PROCESS, 0), flush=True)
        time.sleep(300)
    """)
    parent = textwrap.dedent(f"""
        import os, signal, sys
        from pathlib import Path
        from runs.execution import launch
        from runs.execution.folder import RunFolder
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR2}})
        os.nice(5)
        folder = RunFolder(Path({str(place.root)!r}), {folder.run_id!r}, 1)
        launch.start(folder, launch.LaunchSpec(folder.run_id, 1, [sys.executable, "train.py"], {{}}))
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    died = subprocess.run([sys.executable, "-c", parent], check=False, cwd=REPOSITORY)
    assert died.returncode == -signal.SIGKILL
    wait_for(lambda: printed(folder).count("\n") == 2)
    assert printed(folder).splitlines()[0] == "[] set()"
    if os.geteuid() == 0:  # only root may take a nice value back
        assert printed(folder).splitlines()[1] == "0"
    assert folder.is_watched()


def test_a_stop_ends_an_obedient_family_without_force(place: Place) -> None:
    folder = place.start(FAMILY, arguments=["main", "obedient"])
    pids = pids_of(folder, 5)
    folder.request_stop()
    facts = ended(folder)
    assert all(map(is_gone, pids))
    assert facts["reason"] == "stopped"
    assert set(pids) <= set(facts["terminated"])
    assert facts["killed"] == []
    assert not rest_of(folder)


def test_a_stop_kills_a_stubborn_family_after_the_grace(place: Place) -> None:
    folder = place.start(FAMILY, arguments=["main", "stubborn"], grace_s=0.5)
    pids = pids_of(folder, 5)
    asked = time.monotonic()
    folder.request_stop()
    facts = ended(folder)
    assert 0.5 <= time.monotonic() - asked < 10  # that it is soon is measured in tests/faults
    assert all(map(is_gone, pids))
    assert set(pids) == set(facts["killed"])
    said = folder.launch_log.read_text()
    assert "SIGTERM to" in said
    assert "SIGKILL to" in said
    assert "No process of the run is left." in said


def test_what_a_handler_of_sigterm_writes_prints_and_starts_is_kept(place: Place) -> None:
    folder = place.start("""
        import pathlib, signal, subprocess, sys, time
        def save(number, frame):
            upload = "import time; time.sleep(0.4); print('uploaded')"
            subprocess.run([sys.executable, "-c", upload], check=True)
            pathlib.Path("checkpoint").write_text("weights")
            print("saved", end="")
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        print("ready")
        while True:
            time.sleep(0.1)
    """)
    wait_for(lambda: "ready\n" in printed(folder))
    folder.request_stop()
    facts = ended(folder)
    assert printed(folder) == "ready\nuploaded\nsaved"
    assert (folder.code / "checkpoint").read_text() == "weights"
    assert (facts["reason"], facts["exit_code"]) == ("stopped", 0)


def test_a_child_has_the_grace_also_when_its_parent_ends_at_once(place: Place) -> None:
    folder = place.start(
        f"""
        {sys.executable} -c '
        import signal, sys, time
        def save(number, frame):
            time.sleep(2.5)  # longer than what is left behind by a script that ends by itself gets
            print("saved")
            sys.exit()
        signal.signal(signal.SIGTERM, save)
        print("ready")
        time.sleep(300)'
        echo over
    """.replace("\n        ", "\n"),
        name="train.sh",
        grace_s=8,
    )
    wait_for(lambda: "ready\n" in printed(folder))
    folder.request_stop()
    facts = ended(folder)
    assert printed(folder) == "ready\nsaved\n"
    assert facts["signal"] == signal.SIGTERM
    assert facts["killed"] == []


def test_a_process_that_was_put_to_sleep_hears_the_stop(place: Place) -> None:
    folder = place.start("import os, signal\nprint('ready')\nos.kill(os.getpid(), signal.SIGSTOP)\n")
    pid = wait_for(folder.read_state)["pid"]
    wait_for(lambda: (process := shim.read_process(pid)) and process.state == "T")
    folder.request_stop()
    assert ended(folder, within_s=2)["signal"] == signal.SIGTERM


def test_what_a_script_leaves_behind_is_ended(place: Place) -> None:
    folder = place.start("""
        import subprocess, sys
        for ignore in ("", "signal.signal(signal.SIGTERM, signal.SIG_IGN);"):
            code = f"import os, signal, time; {ignore} print(os.getpid(), flush=True); time.sleep(300)"
            command = [sys.executable, "-c", code]
            child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
            print(int(child.stdout.readline()), flush=True)
        sys.exit(3)
    """)
    obedient, stubborn = pids_of(folder, 2)
    facts = ended(folder)
    assert (facts["reason"], facts["exit_code"]) == ("exit", 3)
    assert obedient in facts["terminated"]
    assert facts["killed"] == [stubborn]
    assert is_gone(obedient)
    assert is_gone(stubborn)


def test_the_time_limit_ends_a_run(place: Place) -> None:
    folder = place.start("import time\ntime.sleep(300)\n", time_limit_s=0.5)
    facts = ended(folder)
    assert (facts["reason"], facts["signal"], facts["time_limit_s"]) == ("time_limit", signal.SIGTERM, 0.5)
    assert 0.5 <= facts["duration_s"] < 2.5


def test_a_stop_that_came_first_starts_nothing(place: Place) -> None:
    folder = place.prepare("print('never')\n")
    folder.request_stop()
    place.launch(folder)
    assert ended(folder)["reason"] == "stopped"
    assert printed(folder) == ""


def test_the_shim_ignores_a_signal_to_all(place: Place) -> None:
    folder = place.start("import time\nprint('ready')\ntime.sleep(300)\n")
    state = wait_for(folder.read_state)
    wait_for(lambda: "ready\n" in printed(folder))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(state["shim_pid"], number)
    folder.request_stop()
    assert ended(folder)["reason"] == "stopped"


def test_the_script_dies_with_the_shim(place: Place) -> None:
    folder = place.start("import time\ntime.sleep(300)\n")
    state = wait_for(folder.read_state)
    kill_shim(folder)
    wait_for(lambda: is_gone(state["pid"]), within_s=2)
    wait_for(lambda: not folder.is_watched(), within_s=2)
    assert folder.read_ended() is None


def test_the_end_by_a_signal_of_somebody_else_is_told(place: Place) -> None:
    folder = place.start("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    facts = ended(folder)
    assert (facts["reason"], facts["signal"], facts["exit_code"]) == ("exit", signal.SIGKILL, None)
    assert facts["out_of_memory"] is False


@pytest.mark.parametrize(
    ("name", "content", "mode", "python", "says"),
    [
        ("missing.py", "", 0o644, sys.executable, "There is no script missing.py in the snapshot."),
        ("tool", "", 0o644, sys.executable, "There is no script ./tool in the snapshot."),
        ("train.py", "pass\n", 0o644, "/no/such/python", "program /no/such/python is missing"),
        ("train.py", "pass\n", 0o644, "python-of-nobody", "program python-of-nobody is missing"),
        ("tool", "#!/no/such/sh\n", 0o755, sys.executable, "./tool names is missing: #!/no/such/sh"),
        (
            "tool",
            "#!/usr/bin/env no-such-sh\n",
            0o755,
            sys.executable,
            "is missing: #!/usr/bin/env no-such-sh",
        ),
        ("tool", "#!/bin/sh\n", 0o644, sys.executable, "Permission denied: ./tool may not be executed"),
        ("tool", "just text\n", 0o755, sys.executable, "./tool is not a program"),
    ],
)
def test_what_cannot_be_started_says_why(
    place: Place, name: str, content: str, mode: int, python: str, says: str
) -> None:
    folder = place.start(content, name=name, mode=mode, python=python)
    facts = ended(folder)
    assert facts["reason"] == "launch"
    assert says in facts["message"]
    assert says in folder.launch_log.read_text()
    assert folder.read_state() is None


@pytest.mark.parametrize(
    "first",
    [
        "#!/usr/bin/env sh",
        "#!/usr/bin/env -S -u N sh",
        "#!/usr/bin/env -S A=b sh -e",
        "#! /usr/bin/env  sh",
    ],
)
def test_what_env_finds_is_started(place: Place, first: str) -> None:
    folder = place.start(f"{first}\necho here\n", name="tool", mode=0o755)
    assert ended(folder)["exit_code"] == 0
    assert printed(folder) == "here\n"


def test_a_folder_is_no_script(place: Place) -> None:
    folder = place.prepare()
    (folder.code / "train.py").mkdir()
    place.launch(folder)
    assert ended(folder)["message"] == "train.py is a folder, not a script."


def test_arguments_beyond_what_the_system_takes_say_so(place: Place) -> None:
    folder = place.start("pass\n", arguments=["x" * 3_000_000])
    assert "too long for the system" in ended(folder)["message"]


def test_a_signal_never_reaches_a_later_process_with_the_same_pid(place: Place) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        process = wait_for(lambda: shim.read_process(child.pid))
        process.started -= 1
        assert not shim.send(process, signal.SIGKILL)
        assert child.poll() is None
    finally:
        child.communicate(b"\n")
    assert child.returncode == 0


def test_a_kill_that_nobody_here_sent_is_lack_of_memory_only_if_the_kernel_counted_one() -> None:
    order = b"\0".join([b"4", b"10", b"", b"train.py", b"0"])
    watch = shim.Watch("/nowhere", shim.Order(order))
    watch.pid = 4711
    watch.kills_before = shim.out_of_memory_kills()
    assert not watch.died_of_memory(-signal.SIGKILL)
    watch.kills_before -= 1
    assert watch.died_of_memory(-signal.SIGKILL)
    assert watch.died_of_memory(137)
    assert not watch.died_of_memory(1)
    watch.killed[4711, 1] = shim.Process(4711, b"4711 (python) S " + b"1 " * 30)
    assert not watch.died_of_memory(-signal.SIGKILL)


def test_what_the_kernel_killed_long_ago_says_nothing_of_a_kill_now() -> None:
    watch = shim.Watch("/nowhere", shim.Order(b"\0".join([b"4", b"10", b"", b"train.py", b"0"])))
    watch.pid = 4711
    watch.kills_before = watch.kills_lately = shim.out_of_memory_kills() - 1  # one was killed after the start
    watch.kills_seen = 1_000.0
    for later_s, is_lately in ((29.0, True), (30.0, True), (59.0, True), (60.0, False)):
        watch.leave_watching(1_000.0 + later_s)
        assert watch.died_of_memory(-signal.SIGKILL) is is_lately, later_s


def test_a_result_that_cannot_be_written_is_written_later(place: Place) -> None:
    folder = place.prepare("pass\n")
    folder.ended_file.mkdir()  # what renaming fails on, for root too
    place.launch(folder)
    wait_for(
        lambda: folder.launch_log.exists() and "ended.json could not be" in folder.launch_log.read_text()
    )
    assert folder.is_watched()
    folder.ended_file.rmdir()
    assert ended(folder)["exit_code"] == 0


def test_a_torn_order_starts_nothing() -> None:
    with pytest.raises(ValueError, match="not complete"):
        shim.Order(b"\0".join([b"9", b"10", b"", b"train.py"]))


def test_a_process_name_may_hold_anything() -> None:
    process = shim.Process(7, b"7 (a) S 1 (\n) R 3 4 5 " + b"0 " * 15 + b"99 0 0")
    assert (process.name, process.state, process.parent, process.started) == ("a) S 1 (?", "R", 3, 99)


def test_a_shell_script_that_opens_its_own_output_by_name_loses_no_line(place: Place) -> None:
    folder = place.start("""
        import subprocess
        subprocess.run(["sh", "-c", '''
            for k in 1 2 3; do echo "out $k"; echo "warn $k" > /dev/stderr; done
            echo x | tee /dev/stderr > /dev/null
            echo last
        '''], check=True)
        with open("/dev/stdout", "w") as again:
            again.write("from Python\\n")
    """)
    ended(folder)
    lines = [line for k in (1, 2, 3) for line in (f"out {k}", f"warn {k}")]
    assert printed(folder).splitlines() == [*lines, "x", "last", "from Python"]


def test_what_says_how_a_run_ended_has_its_room_from_the_start(place: Place) -> None:
    folder = place.start("""
        import time
        print("here", flush=True)
        while True:
            time.sleep(0.1)
    """)
    wait_for(lambda: "here" in printed(folder))
    room = (folder.path / shim.ROOM).stat()
    assert room.st_blocks * 512 >= shim.ROOM_BYTES
    folder.request_stop()
    ended(folder)
    assert (folder.path / shim.ENDED).stat().st_ino == room.st_ino


def test_a_stranger_who_holds_the_output_open_does_not_hold_up_the_end(place: Place) -> None:
    folder = place.start("""
        import time
        print("here", flush=True)
        while True:
            time.sleep(0.1)
    """)
    wait_for(lambda: "here" in printed(folder))
    with open(folder.path / shim.OUTPUT, "w") as stranger:
        folder.request_stop()
        ended(folder)
        assert not stranger.closed
    assert printed(folder) == "here\n"
