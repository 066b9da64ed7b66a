"""Browser sessions that know their person, so that one query answers who asks and in which workspace."""

from __future__ import annotations

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models

from studio.accounts.models.workspace import Membership


class Session(AbstractBaseSession):
    """A signed-in browser. `membership` is the workspace that it looks at."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="sessions"
    )
    membership = models.ForeignKey(Membership, on_delete=models.SET_NULL, null=True, related_name="+")

    objects = BaseSessionManager()  # type: ignore[misc]

    class Meta:
        indexes = [models.Index(fields=["expire_date"], name="session_expire")]  # clearing expired sessions

    @classmethod
    def get_session_store_class(cls):  # type: ignore[no-untyped-def]
        from studio.accounts.sessions import SessionStore

        return SessionStore
