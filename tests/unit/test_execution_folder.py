"""The run folder: where things are, and what its files say."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from runs.errors import Conflict
from runs.execution.folder import RunFolder, run_folders
from tests.execution_kit import nest


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path, "mnist_1_abc", 2)
    folder.create()
    return folder


def test_it_is_made_with_its_folders_and_may_be_made_again(folder: RunFolder, tmp_path: Path) -> None:
    folder.create()
    assert folder.path == tmp_path / "mnist_1_abc" / "2"
    assert {entry.name for entry in folder.path.iterdir()} == {"code", "user_logs", "system_logs"}
    assert folder.std_log == folder.path / "user_logs" / "std_log.txt"
    assert folder.launch_log == folder.path / "system_logs" / "launch.log"
    assert folder.outputs == folder.code / "outputs"


@pytest.mark.parametrize("run_id", ["", ".", "..", "../other", "a/b", "a\0"])
def test_a_run_id_never_leads_out_of_the_work_folder(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ValueError, match="not a run id"):
        RunFolder(tmp_path, run_id, 1)


def test_facts_are_read_as_they_were_written(folder: RunFolder) -> None:
    assert folder.read_ended() is None
    folder.write_ended({"exit_code": 3, "message": "grüß"})
    assert folder.read_ended() == {"exit_code": 3, "message": "grüß"}
    assert [entry.name for entry in folder.path.iterdir() if "ended" in entry.name] == ["ended.json"]


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"{", b"[]"])
def test_a_file_that_a_crash_has_spoilt_counts_as_none(folder: RunFolder, content: bytes) -> None:
    folder.state_file.write_bytes(content)
    assert folder.read_state() is None


def test_a_stop_can_be_asked_for_again_and_of_nobody(folder: RunFolder, tmp_path: Path) -> None:
    assert not folder.stop_requested
    folder.request_stop()
    folder.request_stop()
    assert folder.stop_requested
    RunFolder(tmp_path, "gone", 1).request_stop()


def test_it_is_watched_as_long_as_its_lock_is_held(folder: RunFolder) -> None:
    assert not folder.is_watched()
    with folder.lock_file.open("w") as held:
        assert not folder.is_watched()
        fcntl.flock(held, fcntl.LOCK_EX)
        assert folder.is_watched()
        with pytest.raises(Conflict):
            folder.remove()
    assert not folder.is_watched()


def test_it_is_removed_with_everything_and_the_last_attempt_takes_the_run_along(
    folder: RunFolder, tmp_path: Path
) -> None:
    other = RunFolder(tmp_path, "mnist_1_abc", 1)
    other.create()
    (tmp_path / "kept").write_text("outside")
    (folder.code / "link").symlink_to(tmp_path)
    locked = folder.code / "locked" / "deep"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0)
    locked.parent.chmod(0o500)
    folder.remove()
    assert not folder.path.exists()
    assert (tmp_path / "kept").exists()
    other.remove()
    other.remove()
    assert not (tmp_path / "mnist_1_abc").exists()


def test_so_is_one_that_is_deeper_than_a_path_can_name(folder: RunFolder) -> None:
    folder.create_kept()
    nest(folder.outputs, 1_500)
    folder.remove()
    assert not folder.path.parent.exists()


def test_the_attempts_on_a_node_are_found(folder: RunFolder, tmp_path: Path) -> None:
    RunFolder(tmp_path, "mnist_1_abc", 10).create()
    RunFolder(tmp_path, "other", 1).create()
    (tmp_path / "other" / "notes").mkdir()
    (tmp_path / "file").write_text("x")
    found = {(each.run_id, each.attempt) for each in run_folders(tmp_path)}
    assert found == {("mnist_1_abc", 2), ("mnist_1_abc", 10), ("other", 1)}
    assert list(run_folders(tmp_path / "nowhere")) == []
