"""Sessions whose row brings along the person, and the workspace that they look at."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils import timezone

from studio.accounts.models import Membership, Session


class SessionStore(DatabaseStore):
    """Django's database sessions, on our own table.

    Loading costs one query and fills `row` with the session, its user, membership and workspace. A session of
    a person is saved with a membership as long as they have one; `look_at` chooses another.
    """

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self.row: Session | None = None
        self.membership_id: int | None = None

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def loaded_row(self) -> Session | None:
        """The stored session, or None for an unknown or expired key. One query at the first call."""
        self.keys()  # loads, unless it was loaded before
        return self.row

    def look_at(self, membership: Membership | None) -> None:
        """Act in the workspace of this membership from now on; None chooses one when saving."""
        self.membership_id = membership.pk if membership else None
        self.modified = True

    def flush(self) -> None:
        self.row = self.membership_id = None
        super().flush()

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        row = Session(session_key=self.session_key or "")
        row.session_data, row.expire_date = self.encode(data), self.get_expiry_date()
        row.user_id = int(data[SESSION_KEY]) if SESSION_KEY in data else None
        if self.membership_id is None and row.user_id is not None:
            memberships = Membership.objects.filter(user_id=row.user_id).order_by("pk")
            self.membership_id = memberships.values_list("pk", flat=True).first()
        row.membership_id = self.membership_id
        return row

    def _get_session_from_db(self) -> Session | None:
        found = (
            Session.objects.select_related("user", "membership__workspace")
            .filter(session_key=self.session_key, expire_date__gt=timezone.now())
            .first()
        )
        if found is None:
            self._session_key = None
        self.row = found
        self.membership_id = found.membership_id if found else None
        return found
