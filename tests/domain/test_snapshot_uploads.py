"""Snapshots by their digest: kept whole, and unknown to whoever may not know them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from runs.errors import InvalidInput, InvalidSnapshot, NotFound, SnapshotTooBig
from runs.models import Snapshot, SnapshotUpload
from runs.services.snapshot_uploads import find_snapshot, upload_snapshot
from studio.accounts.models import User, Workspace
from tests.factories import make_run, make_snapshot, make_workspace

pytestmark = pytest.mark.django_db


def zipped(files: dict[str, str], *, compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    file.seek(0)
    return file


def test_every_file_of_the_archive_is_kept(workspace: Workspace, ana: User) -> None:
    files = {".gitignore": "*.log\n", "src/a.log": "1", "src/__pycache__/a.pyc": "2", "src/.git/HEAD": "3"}
    snapshot = upload_snapshot(zipped(files), workspace=workspace, by=ana)
    assert [file["path"] for file in snapshot.files] == sorted(files)
    assert snapshot.created_by == ana


def test_a_single_top_folder_is_not_dropped(workspace: Workspace, ana: User) -> None:
    snapshot = upload_snapshot(zipped({"src/train.py": ""}), workspace=workspace, by=ana)
    assert [file["path"] for file in snapshot.files] == ["src/train.py"]


def test_the_same_content_is_the_same_snapshot(workspace: Workspace, ana: User, storage: Path) -> None:
    first = upload_snapshot(zipped({"a": "1", "b": "2"}), workspace=workspace, by=ana)
    other_way = zipped({"b": "2", "a": "1"}, compression=zipfile.ZIP_STORED)
    assert upload_snapshot(other_way, workspace=workspace, by=ana) == first
    assert sum(path.is_file() for path in storage.rglob("*")) == 1
    assert SnapshotUpload.objects.count() == 1


def test_whoever_sent_it_may_name_it_in_that_workspace(workspace: Workspace, ana: User, ben: User) -> None:
    snapshot = upload_snapshot(zipped({"a": "1"}), workspace=workspace, by=ana)
    assert find_snapshot(workspace, snapshot.digest, by=ana) == snapshot
    for place, person in ((workspace, ben), (make_workspace("elsewhere"), ana)):
        with pytest.raises(NotFound, match="no such snapshot"):
            find_snapshot(place, snapshot.digest, by=person)


def test_members_may_name_what_a_run_of_their_workspace_has(workspace: Workspace, ben: User) -> None:
    snapshot = make_snapshot()
    with pytest.raises(NotFound):
        find_snapshot(workspace, snapshot.digest, by=ben)
    make_run(snapshot=snapshot)
    assert find_snapshot(workspace, snapshot.digest, by=ben) == snapshot
    with pytest.raises(NotFound):
        find_snapshot(make_workspace("elsewhere"), snapshot.digest, by=ben)


def test_sending_what_another_workspace_has_gives_the_right_to_name_it(
    workspace: Workspace, ana: User, dan: User
) -> None:
    snapshot = upload_snapshot(zipped({"a": "1"}), workspace=workspace, by=ana)
    elsewhere = make_workspace("elsewhere")
    assert upload_snapshot(zipped({"a": "1"}), workspace=elsewhere, by=dan) == snapshot
    assert find_snapshot(elsewhere, snapshot.digest, by=dan) == snapshot


@pytest.mark.parametrize("digest", ["", "0" * 64, "nonsense", "a\0b", "🚀"])
def test_no_other_text_is_a_digest(digest: str, workspace: Workspace, ana: User) -> None:
    with pytest.raises(NotFound):
        find_snapshot(workspace, digest, by=ana)


def test_the_list_of_files_is_not_read_to_find_it(
    workspace: Workspace, ana: User, django_assert_num_queries: Any
) -> None:
    snapshot = upload_snapshot(zipped({"a": "1"}), workspace=workspace, by=ana)
    with django_assert_num_queries(1):
        assert "files" in find_snapshot(workspace, snapshot.digest, by=ana).get_deferred_fields()


def test_what_is_refused_leaves_nothing(
    workspace: Workspace, ana: User, settings: Any, storage: Path
) -> None:
    def refuse(kind: type[Exception], body: io.BytesIO, **options: Any) -> None:
        with pytest.raises(kind):
            upload_snapshot(body, workspace=workspace, by=ana, **options)

    refuse(InvalidSnapshot, io.BytesIO(b"no archive"))
    refuse(InvalidSnapshot, io.BytesIO(b""))
    refuse(InvalidSnapshot, zipped({}))
    refuse(InvalidSnapshot, zipped({"../a": "1"}))
    refuse(InvalidInput, zipped({"a": "1"}), announced=10_000)
    settings.SNAPSHOT_MAX_BYTES = 10
    refuse(SnapshotTooBig, zipped({"a": "1" * 11}))
    refuse(SnapshotTooBig, io.BytesIO(bytes(17 * 2**20)))
    settings.SNAPSHOT_MAX_FILES = 1
    refuse(SnapshotTooBig, zipped({"a": "1", "b": "2"}))
    assert not Snapshot.objects.exists()
    assert not storage.exists()
