"""Tags and properties of runs."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from runs.folding import FOLDED_LABEL_LENGTH, fold_label

KEY_LENGTH = 100
VALUE_LENGTH = 5_000


class FoldedLabelField(models.CharField):
    """Key and value of the same row as searches compare them; written with every save and bulk_create."""

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        """The value to store, worked out afresh."""
        label: Any = model_instance
        folded = fold_label(label.key, label.value)
        setattr(model_instance, self.attname, folded)
        return folded


class Tag(models.Model):
    """A mutable label on a run: a key, with a value or without one (null)."""

    run = models.ForeignKey("runs.Run", on_delete=models.CASCADE, related_name="tags", db_index=False)
    key = models.CharField(max_length=KEY_LENGTH)
    value = models.CharField(max_length=VALUE_LENGTH, null=True)  # noqa: DJ001 (null is "no value", "" is a value)
    folded = FoldedLabelField(max_length=FOLDED_LABEL_LENGTH, editable=False)

    class Meta:
        constraints = [  # the first also serves the foreign key
            models.UniqueConstraint(fields=["run", "key"], name="tag_key_once"),
            models.CheckConstraint(condition=~Q(key=""), name="tag_key_not_empty"),
        ]
        indexes = [
            # Search `tag:`: equal (key and value) and by prefix (key alone, values ending in *).
            models.Index(
                fields=["folded", "run"], name="tag_folded", opclasses=["varchar_pattern_ops", "int8_ops"]
            )
        ]
        ordering = ["id"]

    def __str__(self) -> str:
        return self.key if self.value is None else f"{self.key}={self.value}"


class Property(models.Model):
    """An immutable key and value of a run; triggers on both databases refuse UPDATE and DELETE."""

    run = models.ForeignKey("runs.Run", on_delete=models.PROTECT, related_name="properties", db_index=False)
    key = models.CharField(max_length=KEY_LENGTH)
    value = models.CharField(max_length=VALUE_LENGTH)
    folded = FoldedLabelField(max_length=FOLDED_LABEL_LENGTH, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [  # the first also serves the foreign key
            models.UniqueConstraint(fields=["run", "key"], name="property_key_once"),
            models.CheckConstraint(condition=~Q(key=""), name="property_key_not_empty"),
        ]
        indexes = [
            # Search `property:`, as `tag:`.
            models.Index(
                fields=["folded", "run"],
                name="property_folded",
                opclasses=["varchar_pattern_ops", "int8_ops"],
            )
        ]
        ordering = ["key"]
        verbose_name_plural = "properties"

    def __str__(self) -> str:
        return f"{self.key}={self.value}"
