"""Who may call which view. Marks only: PersonMiddleware is the one place that reads them and decides.

A view without a mark needs a signed-in member; reading needs a reader, every other method a contributor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from studio.accounts.models import Membership, Role

View = TypeVar("View", bound=Callable[..., Any])

RANK = {Role.READER: 0, Role.CONTRIBUTOR: 1, Role.OWNER: 2}
READING = frozenset({"GET", "HEAD", "OPTIONS"})
REFUSED = {
    Role.CONTRIBUTOR: "You are a reader of this workspace: you can look at everything and change nothing. "
    "An owner can make you a contributor under Members.",
    Role.OWNER: "Only an owner of this workspace can do that.",
}


def public(view: View) -> View:
    """Anybody may call this view, signed in or not."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def require_role(role: Role) -> Callable[[View], View]:
    """This view needs at least this role, whatever the method."""

    def mark(view: View) -> View:
        view.required_role = role  # type: ignore[attr-defined]
        return view

    return mark


#: For writes that concern nobody but the person: their tokens, their password, the workspace they look at.
member = require_role(Role.READER)
contributor = require_role(Role.CONTRIBUTOR)
owner = require_role(Role.OWNER)


def is_public(view: Callable[..., Any]) -> bool:
    """Whether a view is for everybody."""
    return getattr(view, "is_public", False)


def role_for(view: Callable[..., Any], method: str) -> Role:
    """The least role that may call this view with this method."""
    return getattr(view, "required_role", Role.READER if method in READING else Role.CONTRIBUTOR)


def has_role(membership: Membership, role: Role) -> bool:
    """Whether a membership is enough for what needs this role."""
    return RANK[Role(membership.role)] >= RANK[role]
