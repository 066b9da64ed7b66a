"""What only browsers need: sessions, and messages for their next page.

A program that calls the API says with each request who it is, so nothing of this is made ready for it.
"""

from __future__ import annotations

from typing import Any

from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest

from studio.accounts.refusals import is_api


def is_program(request: HttpRequest) -> bool:
    """Whether a program asks the API, with a token of its own."""
    return bool(request.META.get("HTTP_AUTHORIZATION")) and is_api(request)


class _BrowsersOnly:
    """Lets requests of programs pass by the middleware that comes after it in the class's bases."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if is_program(request):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class BrowserSessions(_BrowsersOnly, SessionMiddleware):
    """`request.session`, of browsers."""


class BrowserMessages(_BrowsersOnly, MessageMiddleware):
    """What happened, kept for the next page."""
