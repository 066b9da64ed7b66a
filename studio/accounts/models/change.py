"""What people changed: who, when, what."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from studio.accounts.models.user import User
from studio.accounts.models.workspace import Workspace

ABOUT_LENGTH = 300


class Change(models.Model):
    """One change that a person made, of anything but a status (RunEvent has those). Rows are only ever added.

    `about` is the kind of thing and its name, such as `run:<run_id>` or `member:ana`; `text` says in words
    what was done to it.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="changes", db_index=False)
    at = models.DateTimeField(db_default=Now(), editable=False)
    by: models.ForeignKey[User | None, User | None] = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    about = models.CharField(max_length=ABOUT_LENGTH)
    text = models.TextField()

    class Meta:
        constraints = [models.CheckConstraint(condition=~Q(about=""), name="change_about_something")]
        indexes = [
            models.Index(fields=["workspace", "about", "-id"], name="change_about"),
        ]

    def __str__(self) -> str:
        return f"{self.about}: {self.text}"

    @property
    def name(self) -> str:
        """The name of what was changed, without its kind."""
        return self.about.partition(":")[2]
