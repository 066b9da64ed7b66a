"""Metrics: what is known of each named series of a run without reading its points."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Metric(models.Model):
    """A named series of one run, summed up: lists and `metric:` searches read only this.

    `last`, `least` and `most` are null while no finite value has come; NaN and infinities only count.
    """

    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="metrics", db_index=False)
    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=20, default="scalar")
    count = models.PositiveBigIntegerField(default=0)
    last = models.FloatField(null=True)
    least = models.FloatField(null=True)
    most = models.FloatField(null=True)

    class Meta:
        constraints = [  # the first also serves the foreign key
            models.UniqueConstraint(fields=["run", "name"], name="metric_name_once"),
            models.CheckConstraint(condition=~Q(name=""), name="metric_name_not_empty"),
        ]
        indexes = [
            # Search `metric:accuracy>0.9`, and `metric:accuracy` alone.
            models.Index(fields=["name", "last", "run"], name="metric_name_last")
        ]

    def __str__(self) -> str:
        return self.name
