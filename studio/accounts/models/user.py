"""A person who signs in."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person. `preferences` holds what they chose for their own pages, such as table columns."""

    preferences = models.JSONField(default=dict, blank=True)

    @property
    def shown_name(self) -> str:
        """What pages call this person: the user name, which is also what `submitter:` searches."""
        return self.username
