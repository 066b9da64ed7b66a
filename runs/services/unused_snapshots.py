"""Snapshots that nothing uses: deleted after a day, and never while somebody is about to submit one.

Whoever sends, names or finds a snapshot to submit it notes that in its row (`keep`), and a deletion is on the
condition that this was a day ago. Both change the same row, so the database decides which came first.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from runs.models import Draft, Run, Snapshot

KEPT_FOR = timedelta(days=1)
#: What was noted so recently is not noted again; clocks may differ by nearly a day.
_NOTED_FOR = timedelta(hours=1)
#: So many in one call; the next one goes on.
AT_ONCE = 100


def keep(snapshot: Snapshot) -> bool:
    """Say that somebody is about to use it, so that it stays for a day; False if it is gone.

    A write at most, once an hour.
    """
    if snapshot.last_named_at > datetime.now(UTC) - _NOTED_FOR:
        return True
    return bool(Snapshot.objects.filter(pk=snapshot.pk).update(last_named_at=Now()))


def delete_unused() -> int:
    """Delete snapshots that no run and no draft has and that nobody named for a day; how many."""
    return sum(_delete(pk) for pk in list(_unused().order_by("pk").values_list("pk", flat=True)[:AT_ONCE]))


def _unused() -> QuerySet[Snapshot]:
    runs = Run.objects.filter(snapshot=OuterRef("pk"))
    return Snapshot.objects.filter(~Exists(runs), last_named_at__lt=Now() - KEPT_FOR)


def _delete(pk: int) -> bool:
    digest = Snapshot.objects.filter(pk=pk).values_list("digest", flat=True).first()
    if digest is None:  # another node tidies, too
        return False
    if Draft.objects.filter(content__icontains=digest).exists():
        Snapshot.objects.filter(pk=pk).update(last_named_at=Now())
        return False
    with transaction.atomic():  # a draft that names it since then has noted so in its row
        snapshot = _unused().select_for_update().defer("files").filter(pk=pk).first()
        if snapshot is None:
            return False
        # The row goes first: who sends the same content meanwhile stores it anew, under another name.
        transaction.on_commit(partial(default_storage.delete, snapshot.storage_name), robust=True)
        snapshot.delete()
    return True
