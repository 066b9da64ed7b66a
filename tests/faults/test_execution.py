"""What a real node does with real scripts: logs, cancels, limits and reasons."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from io import RawIOBase
from pathlib import Path
from typing import Any

import psutil
import pytest

from runs.models import ComputeTarget, Run, RunEvent
from runs.services import logs
from runs.services.cancel import cancel_run
from runs.services.submit import StepSpec, submit
from runs.status import ErrorClass, Status
from runs.wake import wake
from tests.factories import make_snapshot
from tests.faults.conftest import STD_LOG, ended, fastest, fresh, log_of, processes_of, says
from tests.fixtures.processes import NodeProcess, wait_until
from tests.life_kit import assert_sound

pytestmark = pytest.mark.worker

GRANDCHILDREN = (
    "import subprocess, time\nsubprocess.Popen(['setsid', 'sh', '-c', 'setsid sleep 600 & sleep 600'])\n"
)
OBEYING = (
    GRANDCHILDREN + "import signal, sys, os\n"
    "def end(*_):\n"
    "    os.makedirs('outputs', exist_ok=True)\n"
    "    open('outputs/last.txt', 'w').write('kept')\n"
    "    print('saved'); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end)\nprint('ready')\ntime.sleep(600)\n"
)
IGNORING = (
    GRANDCHILDREN + "import signal\n"
    "signal.signal(signal.SIGTERM, lambda *_: print('no'))\nprint('ready')\n"
    "while True:\n    time.sleep(1)\n"
)


def seconds_until_gone(run: Run) -> float:
    """From a cancel until no process of the run is left."""
    begin = time.monotonic()
    cancel_run(run, by=None)
    wait_until(lambda: not processes_of(run))
    return time.monotonic() - begin


class TestLogs:
    def test_a_line_without_its_end_is_stored_within_two_seconds(
        self, worker: NodeProcess, send: Callable[..., Run]
    ) -> None:
        def until_stored() -> float:
            run = send(
                "import sys, time\nsys.stdout.write(f'at {time.time()}|')\n"
                "sys.stdout.flush()\ntime.sleep(600)\n"
            )
            says(run, "|")
            took_s = time.time() - float(log_of(run)[3:-1])
            cancel_run(run, by=None)
            ended(run)
            return took_s

        assert fastest(until_stored, limit_s=2) < 2

    def test_a_run_that_ends_at_once_keeps_its_line(
        self, worker: NodeProcess, send: Callable[..., Run]
    ) -> None:
        run = send("echo done\n", name="train.sh")
        assert ended(run).status == Status.COMPLETED
        assert log_of(run) == "done\n"

    def test_a_hundred_megabytes_are_whole_and_memory_stays_flat(
        self, worker: NodeProcess, send: Callable[..., Run]
    ) -> None:
        line = "x" * 99 + "\n"
        ended(send("print(1)\n"))
        before = psutil.Process(worker.pid).memory_info().rss
        run = send(f"import sys\nfor _ in range(1_100):\n    sys.stdout.write({line!r} * 1_000)\n")
        peak, size = before, 0
        while not fresh(run).is_terminal:
            peak = max(peak, psutil.Process(worker.pid).memory_info().rss)
            size = logs.log_size(fresh(run), 1, STD_LOG)
            wait_until(
                lambda size=size: fresh(run).is_terminal or logs.log_size(run, 1, STD_LOG) > size, within_s=60
            )
        assert fresh(run).status == Status.COMPLETED
        assert logs.log_size(fresh(run), 1, STD_LOG) == 110_000_000
        assert all(set(part) <= set(line.encode()) for part in logs.iter_log(fresh(run), STD_LOG))
        assert peak - before < 64 * 2**20


class TestCancel:
    def test_one_that_obeys_is_gone_with_all_that_it_started(
        self, worker: NodeProcess, send: Callable[..., Run]
    ) -> None:
        def until_gone() -> float:
            run = send(OBEYING)
            says(run, "ready")
            wait_until(lambda: len(processes_of(run)) >= 4)
            took_s = seconds_until_gone(run)
            done = ended(run)
            assert done.status == Status.CANCELED
            assert log_of(run) == "ready\nsaved\n"
            [kept] = done.artifacts.filter(path="outputs/last.txt")
            assert kept.size_bytes == 4
            assert_sound(run)
            return took_s

        assert fastest(until_gone, limit_s=2) < 2

    def test_one_that_ignores_it_is_killed_after_the_grace(
        self, make_worker: Callable[..., NodeProcess], send: Callable[..., Run], settings: Any
    ) -> None:
        settings.GRACE_SECONDS = 3
        make_worker().start()

        def until_gone() -> float:
            run = send(IGNORING)
            says(run, "ready")
            took_s = seconds_until_gone(run)
            assert ended(run).status == Status.CANCELED
            assert log_of(run).startswith("ready\nno\n")
            return took_s

        assert 3 <= fastest(until_gone, limit_s=3 + 2) < 3 + 2

    def test_what_was_canceled_in_the_queue_never_starts(
        self, make_worker: Callable[..., NodeProcess], send: Callable[..., Run], tmp_path: Path
    ) -> None:
        canceled = send(f"open({str(tmp_path / 'canceled')!r}, 'w')\n")
        after = send(f"open({str(tmp_path / 'after')!r}, 'w')\n")
        cancel_run(canceled, by=None)
        make_worker().start()
        assert ended(after).status == Status.COMPLETED
        assert fresh(canceled).status == Status.CANCELED
        assert (tmp_path / "after").exists()
        assert not (tmp_path / "canceled").exists()


class TestReasons:
    @pytest.fixture(autouse=True)
    def _node(self, worker: NodeProcess) -> None:
        """All of these need one."""

    @pytest.mark.parametrize(
        ("text", "over", "kind", "message"),
        [
            ("import sys\nsys.exit(7)\n", {}, ErrorClass.SCRIPT, "The script ended with exit code 7."),
            ("1 / 0\n", {}, ErrorClass.SCRIPT, "ZeroDivisionError: division by zero"),
            ("raise MemoryError('no more')\n", {}, ErrorClass.OUT_OF_MEMORY, "MemoryError: no more"),
            ("import os\nos.abort()\n", {}, ErrorClass.SIGNAL, "The script was ended by SIGABRT (aborted)."),
            ("import time\ntime.sleep(600)\n", {"time_limit_s": 1}, ErrorClass.TIME_LIMIT,
             "The script ran longer than 1 s."),
            ("#!/no/such/shell\n", {"name": "train"}, ErrorClass.LAUNCH, "#!/no/such/shell"),
        ],
    )  # fmt: skip
    def test_each_end_has_its_class_and_its_words(
        self, send: Callable[..., Run], text: str, over: dict[str, Any], kind: str, message: str
    ) -> None:
        done = ended(send(text, **over))
        assert (done.status, done.error_class) == (Status.FAILED, kind)
        assert message in done.error_message
        raised = "Error" in message
        assert done.error_traceback.startswith("Traceback") is raised

    def test_retries_are_made_and_counted(self, send: Callable[..., Run]) -> None:
        run = send("import os, sys\nprint(os.environ['STUDIO_ATTEMPT'])\nsys.exit(1)\n", max_retries=2)
        done = ended(run)
        assert (done.status, done.attempt) == (Status.FAILED, 3)
        for attempt in (1, 2, 3):
            assert b"".join(logs.iter_log(done, STD_LOG, attempt)) == f"{attempt}\n".encode()
        assert_sound(run)


def test_a_snapshot_that_cannot_be_unpacked(
    make_worker: Callable[..., NodeProcess], send: Callable[..., Run], storage: Path
) -> None:
    run = send("print('never')\n")
    (storage / run.snapshot.storage_name).write_bytes(b"no archive")  # type: ignore[union-attr]
    node = make_worker()
    node.start()
    done = ended(run)
    assert (done.status, done.error_class) == (Status.FAILED, ErrorClass.LAUNCH)
    assert "could not be prepared" in done.error_message
    wait_until(lambda: not list((node.folder / "work").glob("faults_*")))


def is_left_off(pipe: RawIOBase) -> bool:
    """Write some more into the pipe; whether nobody reads it any more."""
    try:
        pipe.write(bytes(1 << 16))
    except BrokenPipeError:
        return True
    return False


def test_outputs_and_logs_are_there_for_the_script(worker: NodeProcess, send: Callable[..., Run]) -> None:
    run = send("for name in ('outputs/x.txt', 'logs/y.txt'):\n    open(name, 'w').write('kept')\n")
    assert ended(run).status == Status.COMPLETED, log_of(run)
    assert sorted(run.artifacts.values_list("path", flat=True)) == ["logs/y.txt", "outputs/x.txt"]


def test_empty_outputs_are_none_and_a_file_of_that_name_stays(
    worker: NodeProcess, workspace: Any, ana: Any
) -> None:
    source = {"train.py": "import os\nprint(open('outputs').read(), os.listdir('logs'))\n", "outputs": "mine"}
    step = StepSpec("train", "train.py", make_snapshot(source))
    target = ComputeTarget.objects.get(name="local")
    run, _ = submit(workspace, by=ana, experiment_name="faults", steps=[step], default_target=target)
    assert ended(run).status == Status.COMPLETED, log_of(run)
    assert log_of(run) == "mine []\n"
    assert run.artifacts.count() == 0


def test_a_cancel_does_not_wait_until_large_inputs_are_there(
    worker: NodeProcess, workspace: Any, ana: Any, storage: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    texts = {
        "make": "open('outputs/big.bin', 'w').write('some')\n",
        "wait": f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)\n",
        "use": "print('never')\n",
    }
    steps = [
        StepSpec(
            name,
            "train.py",
            make_snapshot({"train.py": text}),
            after=("make", "wait") if name == "use" else (),
        )
        for name, text in texts.items()
    ]
    target = ComputeTarget.objects.get(name="local")
    pipeline, _ = submit(workspace, by=ana, experiment_name="faults", steps=steps, default_target=target)
    make, use = (pipeline.children.get(step_name=name) for name in ("make", "use"))
    ended(make)
    stored = storage / make.artifacts.get().storage_name
    stored.unlink()
    os.mkfifo(stored)  # as large as whoever writes into it likes, and as slow
    go.touch()
    with stored.open("wb", buffering=0) as endless:
        assert fresh(use).status == Status.PREPARING
        cancel_run(use, by=None)
        wait_until(lambda: is_left_off(endless), within_s=20)
    assert ended(use).status == Status.CANCELED
    assert log_of(use) == ""
    assert_sound(use)


def test_twenty_quick_runs_on_two_slots_with_every_message_twice(
    worker: NodeProcess, send: Callable[..., Run], tmp_path: Path
) -> None:
    text = (
        f"import os\nos.open({str(tmp_path)!r} + '/' + os.environ['STUDIO_RUN_ID'], os.O_CREAT | os.O_EXCL)\n"
    )
    runs = []
    for _ in range(20):
        runs.append(send(text))
        wake(runs[-1].target_id or 0)
    for run in runs:
        assert ended(run, within_s=60).status == Status.COMPLETED
        assert_sound(run)
    assert set(Run.objects.values_list("attempt", flat=True)) == {1}
    assert RunEvent.objects.filter(to_status=Status.PREPARING).count() == 20


def test_a_script_sees_no_secret_of_the_server(
    make_worker: Callable[..., NodeProcess], send: Callable[..., Run]
) -> None:
    node = make_worker(AWS_SECRET_ACCESS_KEY="hidden-1", MY_PASSWORD="hidden-2", STUDIO_SECRET_KEY="hidden-3")
    node.start()
    run = send("import os, time\nfor pair in os.environ.items():\n    print(*pair, sep='=')\nprint('ready')\n"
               "time.sleep(600)\n")  # fmt: skip
    says(run, "ready\n")
    variables = dict(line.partition("=")[::2] for line in log_of(run).splitlines())
    assert variables["AZUREML_RUN_ID"] == variables["STUDIO_RUN_ID"] == run.run_id
    assert not [name for name in variables if "SECRET" in name or "DATABASE" in name or "BROKER" in name]
    assert "hidden-" not in log_of(run)
    token = variables["AZUREML_RUN_TOKEN"].encode()
    for path in (node.folder / "work").rglob("*"):
        if path.is_file() and path.name != "std_log.txt":
            assert token not in path.read_bytes()
    cancel_run(run, by=None)
    ended(run)
