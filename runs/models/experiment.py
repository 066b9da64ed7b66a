"""Experiments: named groups of runs."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from studio.accounts.models import Workspace

EXPERIMENT_NAME_RULE = (
    "1 to 255 characters: first a letter or a digit, then letters, digits, - and _ (no spaces, ASCII only)."
)
EXPERIMENT_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}"
EXPERIMENT_NAME = RegexValidator(rf"^{EXPERIMENT_NAME_PATTERN}\Z", EXPERIMENT_NAME_RULE)


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    """Experiments by their use."""

    def in_workspace(self, workspace: Workspace) -> ExperimentQuerySet:
        """Those of one workspace."""
        return self.filter(workspace=workspace)

    def current(self) -> ExperimentQuerySet:
        """Those that are not archived."""
        return self.filter(archived_at=None)


class Experiment(models.Model):
    """A named group of runs that ask the same question.

    `last_number` is the number of the newest run; it is raised in the transaction that makes a run, so the
    numbers of an experiment have no gap and no repeat, and it is also how many runs there are.
    """

    workspace = models.ForeignKey(
        Workspace, on_delete=models.PROTECT, related_name="experiments", db_index=False
    )
    name = models.CharField(max_length=255, validators=[EXPERIMENT_NAME])
    description = models.TextField(blank=True, default="")
    tags = models.JSONField(default=dict, blank=True)  # key -> value or null; shown whole, never searched
    last_number = models.PositiveBigIntegerField(default=0)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="experiment_name_once"),
            models.CheckConstraint(condition=~Q(name=""), name="experiment_name_not_empty"),
        ]

    def __str__(self) -> str:
        return self.name
