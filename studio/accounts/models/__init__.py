"""Who may come in, and what they may do."""

from studio.accounts.models.change import Change
from studio.accounts.models.session import Session
from studio.accounts.models.token import ApiToken, SignInLink
from studio.accounts.models.user import User
from studio.accounts.models.workspace import Membership, Role, Workspace

__all__ = ["ApiToken", "Change", "Membership", "Role", "Session", "SignInLink", "User", "Workspace"]
