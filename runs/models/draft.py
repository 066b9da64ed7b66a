"""Drafts: what a person has typed into the submit form and not run yet."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from studio.accounts.models import Workspace


class Draft(models.Model):
    """A saved submit form. `content` is the form's own data; sources are kept as snapshots."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="drafts")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="drafts")
    name = models.CharField(max_length=256)
    content = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return self.name
