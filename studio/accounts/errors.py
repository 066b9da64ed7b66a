"""What accounts refuse. Safe to show, like the errors of runs; they know nothing of HTTP."""

from __future__ import annotations


class AccountError(Exception):
    """Something about people, roles or tokens that cannot be done. `field` names the input, "" for none."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class LastOwner(AccountError):
    """A workspace would be left without an owner."""


class AlreadyMember(AccountError):
    """The person is a member already."""


class InvalidUserName(AccountError):
    """The user name would be read as something else than a name."""


class ElsewhereToo(AccountError):
    """An owner asked for a way in as somebody who also belongs to a workspace that is not theirs."""
