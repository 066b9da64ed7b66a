"""Live parts of pages, which ask for themselves with the version that they show."""

from __future__ import annotations

from django.http import HttpRequest, QueryDict

from studio.accounts.refusals import is_htmx


def is_seen(request: HttpRequest, version: str) -> bool:
    """Whether a part that polls shows this version already, so that the answer is 204."""
    return is_htmx(request) and request.GET.get("seen") == version


def part_url(path: str, state: QueryDict, version: str) -> str:
    """Where a live part asks for itself: the address of its page with the version that it shows."""
    asked = state.copy()
    asked["seen"] = version
    return f"{path}?{asked.urlencode()}"
