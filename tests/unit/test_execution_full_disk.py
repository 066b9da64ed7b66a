"""A run that has filled the disk of its node ends, although nothing could be written down at first."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runs.execution.folder import RunFolder
from tests.execution_kit import Place, Store, outcome_of, wait_for


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every disk counts as full."""
    monkeypatch.setattr("runs.execution.folder.FULL_BYTES", 1 << 62)


FILLS = """
import os, pathlib
pathlib.Path("big").write_text("x" * 1000)
pathlib.Path("cache/deep").mkdir(parents=True)
pathlib.Path("cache/deep/more").write_text("x" * 1000)
os.symlink("/etc", "elsewhere")
pathlib.Path("outputs").mkdir(exist_ok=True)
pathlib.Path("outputs/model").write_text("weights")
raise SystemExit(3)
"""


def test_what_nobody_keeps_is_deleted_for_the_end_to_be_told(place: Place, store: Store, full: None) -> None:
    folder = place.start(FILLS)
    wait_for(folder.read_ended)

    def fail(method: str) -> None:
        if (folder.code / "big").exists():
            raise OSError(errno.ENOSPC, "No space left on device")

    store.before = fail
    place.supervise(folder, store)
    assert outcome_of(store).exit_code == 3
    assert [path.name for path in folder.code.iterdir()] == ["outputs"]
    assert (folder.outputs / "model").read_text() == "weights"
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize(
    ("number", "has_room"), [(errno.EIO, False), (errno.ECONNREFUSED, False), (errno.ENOSPC, True)]
)
def test_nothing_is_deleted_for_another_trouble_or_for_another_disk(
    place: Place, store: Store, request: pytest.FixtureRequest, number: int, has_room: bool
) -> None:
    if not has_room:
        request.getfixturevalue("full")
    folder = place.start(FILLS)
    wait_for(folder.read_ended)
    troubles = iter([OSError(number, os.strerror(number))] * 2)

    def fail(method: str) -> None:
        if trouble := next(troubles, None):
            raise trouble

    store.before = fail
    place.supervise(folder, store)
    assert outcome_of(store).exit_code == 3
    assert next(troubles, None) is None
    assert (folder.code / "big").exists()
    assert (folder.code / "cache/deep/more").exists()


def test_a_link_in_the_place_of_its_folder_is_not_followed(full: None, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "work", "linked_1_aaaa", 1)
    folder.create()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    folder.code.rmdir()
    folder.code.symlink_to(elsewhere)
    folder.make_room()
    assert (elsewhere / "precious").exists()


def test_scratch_of_a_folder_that_is_gone_is_no_trouble(full: None, tmp_path: Path) -> None:
    RunFolder(tmp_path, "gone_1_aaaa", 1).make_room()
    assert not list(tmp_path.iterdir())
