"""Metrics that a script has left when it was killed: its node stores them, while no web server is there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db.models import F

from runs.execution import launch
from runs.execution.folder import RunFolder
from runs.execution.outcome import Outcome
from runs.hand_in import hand_in_metrics
from runs.models import Artifact, Metric, Run
from runs.reporter import LAUNCH_LOG, RunReporter
from runs.script_environment import SDK, run_environment
from runs.services import logs
from runs.status import Status
from tests.factories import make_run
from tests.servers import free_port

pytestmark = pytest.mark.django_db

EXIT_0 = Outcome(None, False, 0, None, "")
LOGGING = """
import os, sys
from studio_client.api import connect
from studio_client.spool import sender_for
sender = sender_for(connect(), sys.argv[1])
for number in range(100):
    sender.add("m", number)
os.kill(os.getpid(), 9)
"""

LOGGING_IMAGES = """
import io, os, sys
from studio_client.api import connect
from studio_client.spool import sender_for
sender = sender_for(connect(), sys.argv[1])
sender.log_image("image", io.BytesIO(b"BM1"), "a.png", "a_7")
sender.log_image("refused", io.BytesIO(b"BM2"), "../b.png", "..")
sender.add("m", 1)
sender.log_image("image", io.BytesIO(b"BM33"), "b.png", "b_7")
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def reporter(tmp_path: Path, storage: Path, settings) -> RunReporter:
    """Of a running attempt, whose web server does not answer."""
    settings.STUDIO_URL = f"http://127.0.0.1:{free_port()}"
    run = make_run(status=Status.RUNNING)
    Run.objects.filter(pk=run.pk).update(attempt=1)
    run.refresh_from_db()
    folder = RunFolder(tmp_path / "work", run.run_id, 1)
    folder.create()
    return RunReporter(run, folder, "box", lambda: None, patience_s=60)


def leave_metrics(reporter: RunReporter, run: Run, *, code: str = LOGGING, **env: str) -> None:
    """What a script of the reporter's run does that logs to this run and is killed."""
    run_env = {**run_environment(reporter.run, reporter.folder), **env}
    environment = launch.build_env(os.environ, run_env=run_env, user_env={}, python_path=SDK)
    subprocess.run([sys.executable, "-c", code, run.run_id], env=environment, timeout=60)
    assert reporter.folder.holds_metrics


def refuse(*args: object) -> None:
    raise OSError("no room")


def counts(run: Run) -> list[int]:
    return list(Metric.objects.filter(run=run).order_by("pk").values_list("count", flat=True))


def launch_log(run: Run) -> str:
    return b"".join(logs.iter_log(run, LAUNCH_LOG)).decode()


def left_aside(folder: RunFolder) -> bool:
    """Whether removing the folder keeps its metrics where the log says."""
    folder.remove()
    assert not folder.path.exists()
    return folder.set_aside_spool.is_dir() and any(folder.set_aside_spool.glob("*/*.entries"))


def test_they_are_stored_without_a_web_server(reporter):
    leave_metrics(reporter, reporter.run)
    begin = time.monotonic()
    reporter.ended(EXIT_0)
    assert time.monotonic() - begin < 15
    assert counts(reporter.run) == [100]
    assert "100 metrics that the script had left were sent." in launch_log(reporter.run)
    assert not left_aside(reporter.folder)
    assert not reporter.folder.set_aside_path.exists()


def test_those_of_a_child_run_are_stored_and_those_of_a_stranger_stay(reporter):
    child, stranger = make_run(parent=reporter.run, status=Status.RUNNING), make_run(status=Status.RUNNING)
    leave_metrics(reporter, child)
    leave_metrics(reporter, stranger)
    reporter.ended(EXIT_0)
    assert (counts(child), counts(stranger)) == ([100], [])
    reporter.run.refresh_from_db()
    assert reporter.run.status == Status.COMPLETED
    assert f"{stranger.run_id} is no parent and no child of this run." in launch_log(reporter.run)
    assert f"They are on box in {reporter.folder.set_aside_spool}." in launch_log(reporter.run)
    assert left_aside(reporter.folder)


def test_those_of_a_parent_are_stored_and_images_there_are_not(reporter):
    top = make_run(status=Status.RUNNING)
    middle = make_run(parent=top, status=Status.RUNNING)
    Run.objects.filter(pk=reporter.run.pk).update(parent=middle, root=top)
    reporter.run.refresh_from_db()
    leave_metrics(reporter, middle)
    leave_metrics(reporter, top)
    assert hand_in_metrics(reporter.run, reporter.folder) == [
        "200 metrics that the script had left were sent."
    ]
    assert (counts(middle), counts(top)) == ([100], [100])
    leave_metrics(reporter, top, code=LOGGING_IMAGES)
    reporter.ended(EXIT_0)
    assert not Artifact.objects.filter(run=top).exists()
    assert f"{top.run_id} is no child of this run." in launch_log(reporter.run)


def test_the_address_may_change_while_a_script_runs(reporter):
    leave_metrics(reporter, reporter.run, STUDIO_URL=f"http://127.0.0.1:{free_port()}")
    reporter.ended(EXIT_0)
    assert counts(reporter.run) == [100]


def test_what_else_lies_there_stays_and_hinders_nobody(reporter):
    leave_metrics(reporter, reporter.run)
    (reporter.folder.spool / "0_note.txt").write_text("not ours")
    reporter.ended(EXIT_0)
    assert counts(reporter.run) == [100]
    assert "0_note.txt cannot be read" in launch_log(reporter.run)


def test_why_nobody_could_read_them_is_said(reporter, monkeypatch):
    leave_metrics(reporter, reporter.run)
    reporter.patience_s = 0
    monkeypatch.setattr("runs.hand_in.SDK", [])
    reporter.ended(EXIT_0)
    assert "could not be read" in launch_log(reporter.run)
    assert "studio_client" in launch_log(reporter.run)


def test_damaged_ones_stay_and_hold_up_nobody(reporter):
    leave_metrics(reporter, reporter.run)
    for state in reporter.folder.spool.glob("*/state.json"):
        state.write_text("no JSON")
    reporter.ended(EXIT_0)
    assert "cannot be read" in launch_log(reporter.run)
    assert left_aside(reporter.folder)


def test_a_folder_that_nobody_can_read_ends_no_run_late(reporter):
    reporter.folder.spool.symlink_to(reporter.folder.spool)
    reporter.patience_s = 0
    reporter.ended(EXIT_0)
    reporter.run.refresh_from_db()
    assert reporter.run.status == Status.COMPLETED
    assert "could not be read" in launch_log(reporter.run)
    reporter.folder.remove()
    assert reporter.folder.set_aside_spool.is_symlink()


def test_a_machine_that_starts_no_process_is_tried_again(reporter, monkeypatch):
    leave_metrics(reporter, reporter.run)
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nowhere/python")
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                reporter.ended(EXIT_0)
    reporter.ended(EXIT_0)
    assert counts(reporter.run) == [100]


def test_past_some_patience_it_is_given_up_and_they_stay(reporter, monkeypatch):
    leave_metrics(reporter, reporter.run)
    reporter.patience_s = 0
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nowhere/python")
        reporter.ended(EXIT_0)
    reporter.run.refresh_from_db()
    assert reporter.run.status == Status.COMPLETED
    assert "could not be read: No such file or directory" in launch_log(reporter.run)
    assert left_aside(reporter.folder)


def test_handing_in_again_stores_nothing_twice(reporter, tmp_path):
    leave_metrics(reporter, reporter.run)
    before = tmp_path / "before"
    subprocess.run(["cp", "-r", reporter.folder.spool, before], check=True)
    reporter.ended(EXIT_0)
    reporter.folder.spool.rmdir()
    before.rename(reporter.folder.spool)  # as if the node had been killed before it wrote that down
    RunReporter(reporter.run, reporter.folder, "box", lambda: None)._hand_in_metrics()
    assert counts(reporter.run) == [100]


def test_images_are_stored_before_the_entries_that_name_them(reporter):
    Artifact.objects.create(run=reporter.run, path="a.png", size_bytes=1, sha256="x", storage_name="x")
    leave_metrics(reporter, reporter.run, code=LOGGING_IMAGES)
    reporter.ended(EXIT_0)
    assert counts(reporter.run) == [2, 1]
    paths = dict(reporter.run.artifacts.values_list("path", "size_bytes"))
    assert paths == {"a.png": 1, "a_7.png": 3, "b.png": 4}
    assert "does not take an entry of 'refused'" in launch_log(reporter.run)
    assert not left_aside(reporter.folder)


def test_an_older_attempt_brings_no_images(reporter):
    leave_metrics(reporter, reporter.run, code=LOGGING_IMAGES)
    Run.objects.filter(pk=reporter.run.pk).update(attempt=F("attempt") + 1)
    notes = " ".join(hand_in_metrics(reporter.run, reporter.folder))
    assert "Another attempt of this run has begun" in notes
    assert not reporter.run.artifacts.exists()
    assert counts(reporter.run) == []


def test_images_wait_for_a_storage_that_refuses(reporter, storage, monkeypatch):
    leave_metrics(reporter, reporter.run, code=LOGGING_IMAGES)
    with monkeypatch.context() as broken:
        broken.setattr(default_storage, "save", refuse)
        with pytest.raises(OSError, match="no room"):
            reporter.ended(EXIT_0)
    reporter.ended(EXIT_0)
    assert counts(reporter.run) == [2, 1]
    assert set(reporter.run.artifacts.values_list("path", flat=True)) == {"a.png", "b.png"}
