"""What a refused request is answered with: a page, a line of text for htmx, or JSON under /api/."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails

HEADINGS = {
    400: "That request cannot be read",
    401: "Sign in first",
    403: "You may not do that",
    404: "Nothing is here",
    405: "That cannot be done here",
    409: "That is no longer possible",
    413: "That is too big",
    416: "That part is not there",
    422: "That cannot be done as asked",
    429: "Too many tries",
    500: "Something broke in Studio",
    503: "Studio cannot answer right now",
    507: "There is no room left",
}


def is_api(request: HttpRequest) -> bool:
    """Whether programs ask, which want JSON."""
    return request.path.startswith("/api/")


def is_htmx(request: HttpRequest) -> bool:
    """Whether htmx asks, not the browser for a whole page, nor htmx for a page of the history."""
    asked = HtmxDetails(request)
    return bool(asked) and not asked.history_restore_request


def refuse(
    request: HttpRequest,
    status: int,
    message: str,
    *,
    code: str,
    field: str = "",
    hint: str = "",
    **context: Any,
) -> HttpResponse:
    """The answer with this status. `message` says what was wrong, `hint` what would be right.

    htmx gets the text alone, in an element with `data-error`; the page script shows it as a toast. Programs
    get `context` too, beside the message; in it may be another `heading` for the page.
    """
    request_id = getattr(request, "request_id", "")
    if is_api(request):
        error = {"code": code, "message": message, "field": field, "hint": hint, "request_id": request_id}
        return JsonResponse({"error": error | context}, status=status)
    context = {"heading": HEADINGS.get(status, HEADINGS[400]), **context}
    context |= {"code": status, "text": message, "hint": hint}
    template = "errors/_error.html" if is_htmx(request) else "errors/refused.html"
    if status >= 500:
        # The shell asks the database, which may be what broke.
        context |= {"request_id": request_id, "layout": "bare.html"}
    return render(request, template, context, status=status)
