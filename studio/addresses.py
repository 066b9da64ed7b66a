"""Addresses of Studio as people copy them, into a browser, a chat or a script."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def whole_address(request: HttpRequest, path: str = "") -> str:
    """The address with host: below `STUDIO_URL` where that was set, else as this request reached Studio."""
    return (settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")) + path
