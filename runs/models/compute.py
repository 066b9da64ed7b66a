"""Compute targets, and the nodes that serve them."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from studio.accounts.models import User, Workspace

#: A node that was seen within this time counts as alive.
NODE_ALIVE_FOR = timedelta(seconds=15)

TARGET_NAME_RULE = "2 to 24 characters: first a letter, then letters, digits and -."
TARGET_NAME_PATTERN = r"[A-Za-z][A-Za-z0-9-]{1,23}"
TARGET_NAME = RegexValidator(rf"^{TARGET_NAME_PATTERN}\Z", TARGET_NAME_RULE)


class ComputeTarget(models.Model):
    """A named place where runs execute. Each has a queue of its own, served by any number of nodes."""

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="compute_targets")
    name = models.CharField(max_length=24, validators=[TARGET_NAME])
    description = models.TextField(blank=True, default="")
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="target_name_once"),
            models.UniqueConstraint(
                fields=["workspace"], condition=Q(is_default=True), name="target_one_default"
            ),
            models.CheckConstraint(condition=~Q(name=""), name="target_name_not_empty"),
        ]

    def __str__(self) -> str:
        return self.name


class NodeQuerySet(models.QuerySet["Node"]):
    """Nodes by their use."""

    def alive(self) -> NodeQuerySet:
        """Those seen lately, by the database's clock."""
        return self.filter(last_seen_at__gte=Now() - NODE_ALIVE_FOR)


class Node(models.Model):
    """One worker machine serving one compute target.

    A machine that serves several targets has a row for each, with the same `name`; its slots are one pool.
    """

    target = models.ForeignKey(ComputeTarget, on_delete=models.CASCADE, related_name="nodes")
    name = models.CharField(max_length=255)
    instance = models.CharField(max_length=36, blank=True, default="", db_default="")  # of its work folder
    slots = models.PositiveIntegerField()
    facts = models.JSONField(default=dict, blank=True)  # cpus, memory_bytes, gpus, python, system
    started_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField(null=True)
    drained_at = models.DateTimeField(null=True)
    drained_by: models.ForeignKey[User | None, User | None] = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = NodeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["target", "name"], name="node_once_per_target"),
            models.CheckConstraint(condition=Q(slots__gte=1), name="node_has_slots"),
        ]

    def __str__(self) -> str:
        return self.name
