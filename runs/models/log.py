"""Logs: text files that a run writes as it goes, kept in pieces."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class LogChunk(models.Model):
    """A stretch of one log file of one attempt of a run.

    Small stretches carry their bytes in `data`; once enough have come they are rolled up into one stretch
    whose bytes are a stored file, `storage_name`. `line` counts the newlines before `offset`.
    """

    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="log_chunks")
    attempt = models.PositiveIntegerField()
    name = models.CharField(max_length=255)
    offset = models.PositiveBigIntegerField()
    size = models.PositiveIntegerField()
    line = models.PositiveBigIntegerField()
    newlines = models.PositiveIntegerField()
    data = models.BinaryField(null=True)
    storage_name = models.CharField(max_length=255, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "attempt", "name", "offset"], name="log_chunk_once"),
            models.CheckConstraint(condition=Q(size__gte=1), name="log_chunk_not_empty"),
            models.CheckConstraint(condition=Q(newlines__lte=F("size")), name="log_chunk_newlines_fit"),
            models.CheckConstraint(
                condition=Q(data=None) & ~Q(storage_name="") | Q(data__isnull=False, storage_name=""),
                name="log_chunk_in_one_place",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} [{self.offset}, {self.offset + self.size})"
