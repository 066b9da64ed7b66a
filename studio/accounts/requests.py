"""The request as views get it: PersonMiddleware has let its person in."""

from __future__ import annotations

from django.http import HttpRequest

from studio.accounts.models import Membership, User
from studio.accounts.sessions import SessionStore


class MemberRequest(HttpRequest):
    """A request of a signed-in member. For annotations: every view that is not public is called with one."""

    user: User
    membership: Membership
    session: SessionStore
