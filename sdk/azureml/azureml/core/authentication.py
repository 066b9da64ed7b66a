"""Azure's ways to sign in. They are accepted wherever `auth=` is, and do nothing: `studio login` signs in."""

from __future__ import annotations

from typing import Any


class AbstractAuthentication:
    """Takes what Azure's takes, and keeps none of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def get_authentication_header(self) -> dict[str, str]:
        """The header that requests to the server need."""
        from studio_client import config

        return {"Authorization": f"Bearer {config.resolve().token}"}


class InteractiveLoginAuthentication(AbstractAuthentication):
    """Accepted, not needed."""


class ServicePrincipalAuthentication(AbstractAuthentication):
    """Accepted, not needed: set STUDIO_URL and STUDIO_TOKEN where nobody can sign in."""


class AzureCliAuthentication(AbstractAuthentication):
    """Accepted, not needed."""


class MsiAuthentication(AbstractAuthentication):
    """Accepted, not needed."""


class TokenAuthentication(AbstractAuthentication):
    """Accepted, not needed."""


__all__ = [
    "AbstractAuthentication",
    "AzureCliAuthentication",
    "InteractiveLoginAuthentication",
    "MsiAuthentication",
    "ServicePrincipalAuthentication",
    "TokenAuthentication",
]
