"""Workspaces, and who has which role in them."""

from __future__ import annotations

from enum import StrEnum

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Length, Now

models.CharField.register_lookup(Length)

WORKSPACE_NAME = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9_-]{0,254}\Z",
    "A workspace name starts with a letter or digit and goes on with letters, digits, - and _.",
)


class Role(StrEnum):
    """What a person may do in a workspace; each role may do what the ones before it may."""

    READER = "reader"
    CONTRIBUTOR = "contributor"
    OWNER = "owner"


class Workspace(models.Model):
    """The place that experiments, compute targets and members belong to.

    `subscription_id`, `resource_group` and `location` mean nothing to Studio: they are kept so that a
    `config.json` written for Azure ML still finds its workspace.
    """

    name = models.CharField(max_length=255, unique=True, validators=[WORKSPACE_NAME])
    description = models.TextField(blank=True, default="")
    subscription_id = models.CharField(max_length=100, blank=True, default="")
    resource_group = models.CharField(max_length=100, blank=True, default="")
    location = models.CharField(max_length=100, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.CheckConstraint(condition=~Q(name=""), name="workspace_name_not_empty")]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One person's role in one workspace."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=[(role.value, role.value) for role in Role])
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "workspace"], name="membership_once"),
            models.CheckConstraint(
                condition=Q(role__in=[role.value for role in Role]), name="membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.workspace}"

    @property
    def can_contribute(self) -> bool:
        """May submit, cancel, tag, edit and archive."""
        return self.role in (Role.CONTRIBUTOR, Role.OWNER)

    @property
    def is_owner(self) -> bool:
        """May also manage members and compute targets."""
        return self.role == Role.OWNER
