"""What happened, said once: as Django messages on a whole page, as an event in the answer to htmx.

A view says `toast(request, "Tag added to 2 runs", undo=url)` and redirects or renders a part; both arrive.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from django.contrib import messages
from django.contrib.messages.storage.base import Message
from django.http import HttpRequest, HttpResponse

from runs.errors import unturned

LEVELS = {
    "success": messages.SUCCESS,
    "info": messages.INFO,
    "warning": messages.WARNING,
    "error": messages.ERROR,
}


@dataclass(frozen=True)
class Toast:
    """One line for the corner of the page. `undo` is an address that takes a POST, `open` one to go to."""

    text: str
    kind: str = "success"
    undo: str = ""
    open: str = ""


def toast(request: HttpRequest, text: str, *, kind: str = "success", undo: str = "", open: str = "") -> None:
    """Say what happened on the page that the person sees next."""
    links = json.dumps({"undo": undo, "open": open}) if undo or open else ""
    messages.add_message(request, LEVELS[kind], unturned(text), extra_tags=links, fail_silently=True)


def toast_of(message: Message) -> Toast:
    """The toast that a Django message carries."""
    links: dict[str, Any] = {}
    if message.extra_tags.startswith("{"):
        links = json.loads(message.extra_tags)
    return Toast(text=str(message.message), kind=message.level_tag or "info", **links)


class ToastMiddleware:
    """Moves waiting messages into the `HX-Trigger` header of an answer that htmx swaps in.

    Answers that send the browser to another page keep them for that page.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.META.get("HTTP_HX_REQUEST") != "true" or 300 <= response.status_code < 400:
            return response
        if response.has_header("HX-Redirect") or response.has_header("HX-Refresh"):
            return response
        said = [asdict(toast_of(message)) for message in messages.get_messages(request)]
        if said:
            add_trigger(response, "toast", {"toasts": said})
        return response


def add_trigger(response: HttpResponse, event: str, detail: dict[str, Any] | bool = True) -> HttpResponse:
    """Let the browser fire an event when the answer arrives, beside those the answer carries already.

    `add_trigger(response, "refresh")` makes every live part of the page ask for itself at once.
    """
    events = json.loads(response.get("HX-Trigger") or "{}")
    response["HX-Trigger"] = json.dumps({**events, event: detail})
    return response
