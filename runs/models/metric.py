"""Metrics: what is known of each named series of a run without its points, and the blocks that hold those.

Blocks, writers and ledgers are read and written by `runs.services.metrics` alone.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

NAME_LENGTH = 255


class MetricKind(models.TextChoices):
    """What was logged; kinds from IMAGE on hold one JSON document for each entry."""

    SCALAR = "scalar"
    LIST = "list"
    ROW = "row"
    TABLE = "table"
    IMAGE = "image"
    CONFUSION_MATRIX = "confusion_matrix"
    ACCURACY_TABLE = "accuracy_table"
    RESIDUALS = "residuals"
    PREDICTIONS = "predictions"


class Metric(models.Model):
    """A named series of one run, summed up: lists and `metric:` searches read only this.

    `last`, `least` and `most` are null while no finite number has come; of rows and tables they are those of
    the first column that has numbers. `last_text` says what came last if that is no finite number, such as
    NaN. `columns` has for each column its name, its type (f8, i8, json), last, least and most.
    """

    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="metrics", db_index=False)
    name = models.CharField(max_length=NAME_LENGTH)
    kind = models.CharField(max_length=20, default=MetricKind.SCALAR)
    description = models.TextField(default="", db_default="")
    count = models.PositiveBigIntegerField(default=0)
    last = models.FloatField(null=True)
    least = models.FloatField(null=True)
    most = models.FloatField(null=True)
    last_text = models.CharField(max_length=255, default="", db_default="")
    columns = models.JSONField(default=list)
    tail_start = models.PositiveBigIntegerField(default=0, db_default=0)  # of the last block

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


class MetricBlock(models.Model):
    """Entries of one metric that follow one another, packed by `runs.points`; `start` counts from 0.

    Only the last block of a metric can be open, which means that the next entries are added to it.
    """

    metric = models.ForeignKey(Metric, on_delete=models.CASCADE, related_name="blocks", db_index=False)
    start = models.PositiveBigIntegerField()
    count = models.PositiveIntegerField()
    is_open = models.BooleanField()
    data = models.BinaryField()

    class Meta:
        constraints = [  # also serves the foreign key, and reading in order
            models.UniqueConstraint(fields=["metric", "start"], name="metric_block_once"),
            models.CheckConstraint(condition=Q(count__gte=1), name="metric_block_not_empty"),
        ]

    def __str__(self) -> str:
        return f"{self.start} to {self.start + self.count}"


class MetricWriter(models.Model):
    """Who sent metrics of a run, and the number of the last batch that was stored: each counts once."""

    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="+", db_index=False)
    writer = models.CharField(max_length=64)
    seq = models.PositiveBigIntegerField()

    class Meta:
        constraints = [  # also serves the foreign key
            models.UniqueConstraint(fields=["run", "writer"], name="metric_writer_once")
        ]

    def __str__(self) -> str:
        return f"{self.writer} {self.seq}"


class MetricLedger(models.Model):
    """What pages ask of all metrics of a run: how many there are, and when they last changed.

    Whoever writes metrics of the run holds its row, so that writers of one run follow one another. It stands
    apart from the run, whose row would be written anew for every batch, with all its indexes.
    """

    run = models.OneToOneField(
        "runs.Run", on_delete=models.CASCADE, primary_key=True, related_name="metric_ledger"
    )
    experiment = models.ForeignKey(
        "runs.Experiment", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    names = models.PositiveIntegerField(default=0)  # without images
    images = models.PositiveIntegerField(default=0)  # entries of kind image
    written_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            # Version of an experiment's page: the newest of its runs.
            models.Index(fields=["experiment", "written_at"], name="metric_ledger_version")
        ]

    def __str__(self) -> str:
        return f"{self.names} metrics"
