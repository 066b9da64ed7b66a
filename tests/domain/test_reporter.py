"""The end of an attempt, as a node writes it down: what is kept, also with a storage that refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import InMemoryStorage
from django.db.models.functions import Now

from runs.errors import RunFinished, StaleAttempt
from runs.execution.folder import RunFolder, run_folders
from runs.execution.outcome import Outcome
from runs.models import Run
from runs.reporter import LAUNCH_LOG, RunReporter
from runs.services import logs
from runs.services.artifacts import keep_outputs, open_artifact
from runs.status import ErrorClass, Status
from tests.factories import make_run

pytestmark = pytest.mark.django_db

EXIT_0 = Outcome(None, False, 0, None, "")
EXIT_7 = Outcome(ErrorClass.SCRIPT, False, 7, None, "The script ended with exit code 7.")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """The folder of an attempt whose script wrote one file."""
    one = RunFolder(tmp_path / "work", "mnist_1_aaaa", 1)
    one.create()
    one.outputs.mkdir()
    (one.outputs / "model.bin").write_bytes(b"weights")
    return one


def reporter_of(folder: RunFolder, *, patience_s: float) -> RunReporter:
    run = make_run(status=Status.RUNNING)
    Run.objects.filter(pk=run.pk).update(attempt=1)
    run.refresh_from_db()
    return RunReporter(run, folder, "box", lambda: None, patience_s=patience_s)


def refuse(storage: Path) -> Path:
    """Make the storage refuse artifacts; gives what has to be deleted to make it accept them again."""
    storage.mkdir(parents=True, exist_ok=True)
    in_the_way = storage / "artifacts"
    in_the_way.write_text("a file where the folder should be")
    return in_the_way


def test_a_storage_that_refuses_for_a_while_costs_nothing(folder, storage):
    reporter = reporter_of(folder, patience_s=60)
    in_the_way = refuse(storage)
    for _ in range(2):
        with pytest.raises(OSError, match="artifacts"):
            reporter.ended(EXIT_0)
        reporter.run.refresh_from_db()
        assert reporter.run.status == Status.FINALIZING
    in_the_way.unlink()
    reporter.ended(EXIT_0)
    reporter.run.refresh_from_db()
    assert reporter.run.status == Status.COMPLETED
    assert [artifact.path for artifact in reporter.run.artifacts.all()] == ["outputs/model.bin"]


def test_past_that_the_run_fails_and_its_files_stay_where_the_message_says(folder, storage):
    reporter = reporter_of(folder, patience_s=0)
    refuse(storage)
    reporter.ended(EXIT_0)
    run = reporter.run
    run.refresh_from_db()
    assert (run.status, run.error_class, run.exit_code) == (Status.FAILED, ErrorClass.OUTPUTS, 0)
    assert f"They are on box in {folder.set_aside_path}." in run.error_message
    assert (folder.set_aside_path / "code/outputs/model.bin").read_bytes() == b"weights"
    assert run.error_message in b"".join(logs.iter_log(run, LAUNCH_LOG)).decode()
    assert list(run_folders(folder.root)) == []


class Refusal(Exception):
    """What a storage of another kind raises, as those of clouds do."""


class Refusing(InMemoryStorage):
    """A storage that takes nothing."""

    def _save(self, name: str, content: Any) -> str:
        raise Refusal("quota exceeded")


def test_a_storage_with_exceptions_of_its_own_is_given_up_on_too(folder, settings):
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "tests.domain.test_reporter.Refusing"}}
    patient = reporter_of(folder, patience_s=60)
    with pytest.raises(Refusal):
        patient.ended(EXIT_0)
    hasty = RunReporter(patient.run, folder, "box", lambda: None, patience_s=0)
    hasty.ended(EXIT_0)
    patient.run.refresh_from_db()
    assert patient.run.error_class == ErrorClass.OUTPUTS
    assert "could not be kept: quota exceeded." in patient.run.error_message
    assert (folder.set_aside_path / "code/outputs/model.bin").read_bytes() == b"weights"


@pytest.mark.parametrize("never_started", [True, False])
def test_only_an_attempt_that_never_started_is_given_back(tmp_path, storage, never_started):
    one = RunFolder(tmp_path / "work", "mnist_1_aaaa", 1)
    one.create()
    reporter = reporter_of(one, patience_s=0)
    message = "words that nobody compares"
    reporter.ended(Outcome(ErrorClass.LOST, False, None, None, message, never_started=never_started))
    reporter.run.refresh_from_db()
    assert reporter.run.status == (Status.QUEUED if never_started else Status.FAILED)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.COMPLETED])
def test_an_attempt_that_was_given_up_replaces_nothing_of_the_next(folder, storage, status):
    reporter = reporter_of(folder, patience_s=60)
    run = reporter.run
    Run.objects.filter(pk=run.pk).update(attempt=2)
    newer = Run.objects.get(pk=run.pk)
    (folder.outputs / "model.bin").write_bytes(b"newer")
    keep_outputs(newer, folder.code)
    (folder.outputs / "model.bin").write_bytes(b"older")
    ended_at = Now() if status == Status.COMPLETED else None
    Run.objects.filter(pk=run.pk).update(status=status, ended_at=ended_at, holds_slot=False)
    for late in (lambda: reporter.ended(EXIT_0), lambda: keep_outputs(run, folder.code)):
        with pytest.raises((StaleAttempt, RunFinished)):
            late()
    with open_artifact(run.artifacts.get()) as file:
        assert file.read() == b"newer"


def test_a_script_that_failed_says_why_it_did(folder, storage):
    reporter = reporter_of(folder, patience_s=0)
    refuse(storage)
    reporter.ended(EXIT_7)
    reporter.run.refresh_from_db()
    assert (reporter.run.error_class, reporter.run.error_message) == (ErrorClass.SCRIPT, EXIT_7.message)
    assert folder.set_aside_path.exists()


def test_the_end_can_be_reported_again_after_the_folder_was_set_aside(folder, storage):
    reporter = reporter_of(folder, patience_s=0)
    refuse(storage)
    folder.set_aside()
    reporter.ended(EXIT_0)
    reporter.run.refresh_from_db()
    assert reporter.run.error_class == ErrorClass.OUTPUTS
