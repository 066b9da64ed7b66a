"""Snapshots by their digest: sent once, then named. A digest opens nothing to people who may not know it."""

from __future__ import annotations

from typing import BinaryIO, cast

from django.db.models import Exists, OuterRef

from runs.errors import NotFound, SnapshotTooBig
from runs.models import Run, Snapshot, SnapshotUpload
from runs.services.archives import limit_text
from runs.services.snapshots import snapshot_from_zip, source_limits
from runs.services.streams import Readable, received
from runs.services.unused_snapshots import keep
from studio.accounts.models import User, Workspace

#: What an archive may have on top of its files: names, headers, the list at its end.
_WRAPPING_BYTES = 16 * 2**20


def upload_snapshot(
    stream: Readable, *, workspace: Workspace, by: User, announced: int | None = None
) -> Snapshot:
    """The snapshot of a zip that arrives as a stream, with every file that is in it.

    From now on this person may name it in this workspace by its digest. Content that is known is not stored
    twice. Raises InvalidSnapshot and SnapshotTooBig, and has stored nothing then.
    """
    most = source_limits().max_bytes + _WRAPPING_BYTES
    with received(stream, most_bytes=most, too_big=_too_big, announced=announced) as body:
        snapshot = snapshot_from_zip(cast(BinaryIO, body.file), by=by, unwrap=False, whole=True)
    SnapshotUpload.objects.get_or_create(snapshot=snapshot, workspace=workspace, by=by)
    return snapshot


def _too_big() -> SnapshotTooBig:
    return SnapshotTooBig(
        f"A snapshot may have {limit_text(source_limits().max_bytes)}.",
        field="source",
        hint="Leave out data and environments with a file `.amlignore` at the root.",
    )


def find_snapshot(workspace: Workspace, digest: str, *, by: User, field: str = "digest") -> Snapshot:
    """The snapshot with this digest that a run of the workspace has, or that this person sent to it.

    It stays for a day at least. One query, and a write once an hour; the list of files is not read. Raises
    NotFound, also for content of other workspaces; `field` names the input that the digest came in.
    """
    # Asked for by runs.workspace, SQLite would walk through all runs of the workspace.
    runs = Run.objects.filter(snapshot=OuterRef("pk"), experiment__workspace=workspace)
    uploads = SnapshotUpload.objects.filter(snapshot=OuterRef("pk"), workspace=workspace, by=by)
    known = Snapshot.objects.filter(Exists(uploads) | Exists(runs), digest=digest.replace("\0", ""))
    snapshot = known.defer("files").first()
    if snapshot is None or not keep(snapshot):
        raise NotFound(
            "This workspace has no such snapshot.", field=field, hint="Upload it, then name its digest."
        )
    return snapshot
