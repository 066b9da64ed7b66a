"""Snapshots: frozen source folders."""

from __future__ import annotations

from typing import TypedDict

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from studio.accounts.models import Workspace


class SnapshotFile(TypedDict):
    """One entry of `Snapshot.files`."""

    path: str
    size: int
    sha256: str
    executable: bool


class Snapshot(models.Model):
    """A frozen source folder, stored once however often it is submitted.

    `digest` is the sha256 of the canonical manifest (runs.services.archives says how it is written);
    `storage_name` is the deflated zip in default storage.
    """

    digest = models.CharField(max_length=64, unique=True)
    size_bytes = models.PositiveBigIntegerField()  # of the files, unpacked
    file_count = models.PositiveIntegerField()
    files = models.JSONField()  # list[SnapshotFile], sorted by path
    storage_name = models.CharField(max_length=255)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_named_at = models.DateTimeField(db_default=Now(), editable=False)  # see services.unused_snapshots

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(file_count__gte=1), name="snapshot_not_empty"),
            models.CheckConstraint(condition=Q(digest__length=64), name="snapshot_digest_whole"),
        ]

    def __str__(self) -> str:
        return self.digest[:12]


class SnapshotUpload(models.Model):
    """That a person sent this content to a workspace, and may name it there by its digest.

    Content is stored once for all workspaces, so a digest alone says nothing about who may have it.
    """

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="uploads")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["snapshot", "workspace", "by"], name="snapshot_upload_once")
        ]

    def __str__(self) -> str:
        return f"{self.snapshot} by {self.by}"
