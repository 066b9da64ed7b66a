"""Artifacts: files kept with a run."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Artifact(models.Model):
    """A file kept with a run, by its path, such as `outputs/model.json`.

    `created_by` is the person who put it there; null for what the run itself left in its folder.
    """

    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="artifacts")
    path = models.CharField(max_length=1024)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    content_type = models.CharField(max_length=127)
    storage_name = models.CharField(max_length=255)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "path"], name="artifact_path_once")]

    def __str__(self) -> str:
        return self.path
