"""Snapshots that nothing uses go after a day, and none that somebody is about to use."""

from __future__ import annotations

import io
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db.models.functions import Now

from runs.errors import NotFound
from runs.models import Run, Snapshot
from runs.services import unused_snapshots
from runs.services.drafts import OwnSnapshots, save_draft
from runs.services.snapshot_uploads import find_snapshot, upload_snapshot
from runs.services.unused_snapshots import delete_unused
from studio.accounts.models import Membership, User, Workspace
from tests.factories import make_run, make_snapshot
from tests.life_kit import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def sent(workspace: Workspace, ana: User, text: str = "1") -> Snapshot:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train.py", text)
    file.seek(0)
    return upload_snapshot(file, workspace=workspace, by=ana)


def named_before(**age: float) -> None:
    Snapshot.objects.update(last_named_at=Now() - timedelta(**age))


def test_what_another_node_deletes_meanwhile_holds_up_nothing(
    workspace: Workspace, ana: User, storage: Path
) -> None:
    snapshot = sent(workspace, ana)
    named_before(days=2)
    assert unused_snapshots._delete(snapshot.pk)
    assert not unused_snapshots._delete(snapshot.pk)


def test_what_nothing_uses_is_deleted_after_a_day_with_its_file(
    workspace: Workspace, ana: User, storage: Path
) -> None:
    snapshot = sent(workspace, ana)
    named_before(hours=23)
    assert delete_unused() == 0
    named_before(hours=25)
    assert delete_unused() == 1
    assert [path for path in storage.rglob("*") if path.is_file()] == []
    with pytest.raises(NotFound):
        find_snapshot(workspace, snapshot.digest, by=ana)
    again = sent(workspace, ana)
    assert find_snapshot(workspace, snapshot.digest, by=ana) == again
    assert default_storage.exists(again.storage_name)


def test_what_a_run_or_a_draft_has_stays(workspace: Workspace, ana: User) -> None:
    used, kept = make_snapshot(), sent(workspace, ana, "kept")
    make_run(snapshot=used)
    save_draft(ana.memberships.get(), name="later", content={"steps-0-digest": [kept.digest]})
    for _ in range(2):
        named_before(days=9)
        assert delete_unused() == 0
    assert Snapshot.objects.count() == 2


@pytest.mark.parametrize("how", ["sent again", "found by a program", "found by a form"])
def test_what_somebody_names_stays_for_another_day(workspace: Workspace, ana: User, how: str) -> None:
    snapshot = sent(workspace, ana)
    named_before(days=9)
    if how == "sent again":
        sent(workspace, ana)
    elif how == "found by a program":
        find_snapshot(workspace, snapshot.digest, by=ana)
    else:
        own = OwnSnapshots(Membership.objects.get(user=ana), {})
        assert list(own.find([snapshot.digest])) == [snapshot.digest]
    assert delete_unused() == 0


def test_who_submits_at_that_moment_has_it_or_is_told(workspace: Workspace, ana: User) -> None:
    make_run(number=1)  # with all that a run needs

    def submit() -> Run:
        return make_run(snapshot=find_snapshot(workspace, snapshot.digest, by=ana), number=number)

    submitted = 0
    for number in range(2, 14):
        snapshot = sent(workspace, ana, f"{number}")
        named_before(days=2)
        made, *_ = at_once([submit, delete_unused, delete_unused, lambda: sent(workspace, ana, "other")])
        if isinstance(made, Run):
            submitted += 1
            assert default_storage.exists(Run.objects.get(pk=made.pk).snapshot.storage_name)  # type: ignore[union-attr]
        else:
            assert isinstance(made, NotFound), made
            assert not Snapshot.objects.filter(pk=snapshot.pk).exists()
    assert Run.objects.exclude(snapshot=None).count() == submitted


def test_who_sends_it_again_at_that_moment_has_it(workspace: Workspace, ana: User, storage: Path) -> None:
    for number in range(12):
        sent(workspace, ana, f"{number}")
        named_before(days=2)
        made, *_ = at_once([lambda n=number: sent(workspace, ana, f"{n}"), delete_unused, delete_unused])  # type: ignore[misc]
        assert isinstance(made, Snapshot), made
        assert default_storage.exists(find_snapshot(workspace, made.digest, by=ana).storage_name)
    assert sum(path.is_file() for path in storage.rglob("*")) == Snapshot.objects.count()
