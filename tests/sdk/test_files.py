"""Files, logs and snapshots of runs, against a real Studio."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from azureml.core import Experiment, Run, ScriptRunConfig, Workspace
from azureml.exceptions import (
    AzureMLAggregatedException,
    AzureMLException,
    ModelPathNotFoundException,
    SnapshotException,
    UnsupportedException,
    UserErrorException,
)
from studio_client.downloads import written_whole

from tests.fixtures.processes import wait_until
from tests.sdk.live import Signed, environment_of


@pytest.fixture
def exp(attached: Path) -> Experiment:
    """An experiment of the working folder's workspace."""
    return Experiment(Workspace.from_config(), "files")


@pytest.fixture
def run(exp: Experiment) -> Run:
    """An interactive run."""
    return exp.start_logging(snapshot_directory=None, outputs=None)


def test_files_come_back_as_they_were(run: Run, attached: Path) -> None:
    (attached / "model.bin").write_bytes(bytes(range(256)) * 10_000)
    run.upload_file("outputs/deep/model.bin", "model.bin")
    run.upload_file("ä ö#?%.txt", io.BytesIO(b"odd name"))
    assert run.get_file_names() == ["outputs/deep/model.bin", "ä ö#?%.txt"]
    run.download_file("outputs/deep/model.bin", "there/again.bin")
    assert (attached / "there" / "again.bin").read_bytes() == (attached / "model.bin").read_bytes()
    run.download_file("ä ö#?%.txt")
    assert (attached / "ä ö#?%.txt").read_bytes() == b"odd name"
    run.download_file("outputs/deep/model.bin", "there/")
    assert (attached / "there" / "model.bin").exists()
    assert not list(attached.rglob("*.part"))


def test_all_names_are_listed_however_many_come_at_once(run: Run) -> None:
    names = [f"{number}.txt" for number in range(5)]
    for name in names:
        run.upload_file(name, io.BytesIO(b"x"))
    assert [kept["path"] for kept in run._api.artifacts(run.id, limit=2)] == names


def test_a_download_has_the_mode_of_any_file_and_leaves_the_umask_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the process's, so a script's other threads would make files with another one."""
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", None)
            with written_whole(str(tmp_path / "file")) as target:
                target.write(b"x")
            with pytest.raises(KeyboardInterrupt), written_whole(str(tmp_path / "part")):
                raise KeyboardInterrupt
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["file"]
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_uploaded(run: Run, attached: Path) -> None:
    (attached / "a").write_text("a")
    (attached / "b").write_text("b")
    run.upload_file("x", "a")
    with pytest.raises(AzureMLException, match="already"):
        run.upload_file("x", "b")
    with pytest.raises(FileNotFoundError):
        run.upload_file("y", "missing")
    for wrong in (3, io.StringIO("text")):
        with pytest.raises(UserErrorException):
            run.upload_file("y", wrong)
    for name in ("", "../y", "/"):
        with pytest.raises(UserErrorException):
            run.upload_file(name, "a")
    with pytest.raises(TypeError):
        run.upload_files(["a"], [])
    with pytest.raises(AzureMLAggregatedException):
        run.upload_files(["p", "q"], ["missing", "gone"])
    assert run.get_file_names() == ["x"]


def test_folders(run: Run, attached: Path) -> None:
    for name in ("a.txt", "deep/b.txt"):
        path = attached / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    run.upload_folder("kept", "folder")
    run.upload_files(["one", "two"], ["folder/a.txt", "folder/deep/b.txt"])
    assert run.get_file_names() == ["kept/a.txt", "kept/deep/b.txt", "one", "two"]
    run.download_files(prefix="kept", output_directory="whole")
    run.download_files(prefix="kept", output_directory="short", append_prefix=False)
    assert (attached / "whole" / "kept" / "deep" / "b.txt").read_text() == "deep/b.txt"
    assert (attached / "short" / "deep" / "b.txt").exists()
    assert not (attached / "whole" / "one").exists()
    with pytest.raises(UserErrorException, match="no folder"):
        run.upload_folder("x", "folder/a.txt")
    with pytest.raises(UserErrorException, match="leads out"):
        run.download_files(prefix="one", output_directory="safe", output_paths=["../../out"])


def test_a_missing_file_names_those_that_there_are(run: Run, attached: Path) -> None:
    run.upload_file("there.txt", io.BytesIO(b""))
    with pytest.raises(UserErrorException, match=r"missing\.txt was not found.*there\.txt"):
        run.download_file("missing.txt")
    assert not (attached / "missing.txt").exists()


def test_models_are_not_registered_but_looked_for(run: Run) -> None:
    run.upload_file("outputs/model.pkl", io.BytesIO(b""))
    with pytest.raises(ModelPathNotFoundException, match=r"outputs/model\.pkl"):
        run.register_model("m", "outputs/other.pkl")
    with pytest.raises(UnsupportedException, match="register_model"):
        run.register_model("m", "outputs/model.pkl")


def test_a_snapshot_is_taken_once(run: Run, attached: Path) -> None:
    (attached / "a.py").write_text("1")
    digest = run.take_snapshot("a.py")
    assert run.get_snapshot_id() == digest
    with zipfile.ZipFile(run.restore_snapshot()) as archive:
        assert archive.namelist() == ["a.py"]
    with pytest.raises(SnapshotException, match="already"):
        run.take_snapshot("a.py")
    with pytest.raises(UserErrorException):
        run.restore_snapshot(snapshot_id="other")


def test_a_folder_that_is_too_big_is_refused(exp: Experiment, attached: Path) -> None:
    with (attached / "big.bin").open("wb") as file:
        file.truncate(301 * 2**20)
    with pytest.raises(SnapshotException, match=r"300 MB.*big\.bin"):
        exp.start_logging()
    assert list(exp.get_runs(tags="none")) == []


def test_logs_of_a_run(exp: Experiment, attached: Path) -> None:
    (attached / "a.py").write_text("print('x' * 3_000_000)\n")
    run = exp.submit(ScriptRunConfig(".", "a.py"))
    run.wait_for_completion()
    written = run.get_all_logs()
    assert str(attached / "assets" / run.id / "user_logs" / "std_log.txt") in written
    assert (attached / "assets" / run.id / "user_logs" / "std_log.txt").stat().st_size == 3_000_001
    run.download_file("user_logs/std_log.txt", "log.txt")
    assert (attached / "log.txt").read_text() == "x" * 3_000_000 + "\n"
    address = run.get_details()["logFiles"]["user_logs/std_log.txt"]
    assert address == f"{run._api.url}/api/v1/runs/{run.id}/logs/user_logs/std_log.txt"
    with pytest.raises(UserErrorException, match="is a file"):
        run.get_all_logs("log.txt")


def test_lines_are_streamed_as_they_are_printed(exp: Experiment, attached: Path, signed_in: Signed) -> None:
    (attached / "slow.py").write_text("import time\nprint('first')\ntime.sleep(60)\nprint('last')\n")
    code = (
        "from azureml.core import *\n"
        "exp = Experiment(Workspace.from_config(), 'files')\n"
        "run = exp.submit(ScriptRunConfig('.', 'slow.py'))\n"
        "run.wait_for_completion(show_output=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment_of(signed_in),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as watching:
        assert watching.stdout is not None
        os.set_blocking(watching.stdout.fileno(), False)
        seen = b""

        def first_line() -> bool:
            nonlocal seen
            seen += watching.stdout.read() or b""
            return b"\nfirst\n" in seen

        wait_until(first_line)
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=20)
    assert b"ExperimentExecutionException" in errors
    assert b"the run is still executing" in errors
    assert b"studio run cancel -r" in errors
    run = next(exp.get_runs())
    assert run.get_status() == "Running"
    begin = time.monotonic()
    run.cancel()
    assert run.get_status() == "Canceled"
    assert time.monotonic() - begin < 12


def test_a_second_attempt_is_streamed_from_its_start(
    exp: Experiment, attached: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (attached / "flaky.py").write_text(
        "import os\nprint('attempt', os.environ['STUDIO_ATTEMPT'])\n"
        "raise SystemExit(os.environ['STUDIO_ATTEMPT'] == '1')\n"
    )
    from studio_client import snapshots

    digest = snapshots.take(exp._api, "default", ".")
    record = exp._api.submit(
        "default",
        {
            "experiment": exp.name,
            "run_id": "flaky",
            "snapshot": digest,
            "script": "flaky.py",
            "max_retries": 1,
        },
    )
    Run(exp, record["run_id"]).wait_for_completion(show_output=True)
    out = capsys.readouterr().out
    assert "attempt 2\n" in out
    assert out.count("attempt 2\n") == 1
