"""A secret on its way from the request that made it to the page that shows it, once.

The page is another request, so that a reload makes nothing again. In between the secret is in the cache, in
the memory of the one process that serves pages: never on a disk, in an address or in a cookie.
"""

from __future__ import annotations

from django.core.cache import cache
from django.http import HttpRequest

KEPT_S = 60


def _key(request: HttpRequest) -> str:
    return f"shown-once:{request.session.session_key}"


def keep(request: HttpRequest, name: str, secret: str) -> None:
    """Keep a secret, and what it is called, for the next page that takes it in this browser's session."""
    cache.set(_key(request), (name, secret), KEPT_S)


def take(request: HttpRequest) -> tuple[str, str] | None:
    """What was kept in this browser's session, and only the first time."""
    kept: tuple[str, str] | None = cache.get(_key(request))
    # Of two pages that ask at the same time one gets it.
    return kept if kept is not None and cache.delete(_key(request)) else None
