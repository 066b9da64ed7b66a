"""Answers that fit who asks: a whole page or a part of it, a dialog over the page or as a page."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails

from runs.toasts import add_trigger
from studio.accounts.refusals import is_htmx


def wants_part(request: HttpRequest, part: str) -> bool:
    """Whether htmx asks for the part with this id alone."""
    return is_htmx(request) and (HtmxDetails(request).target or "").rpartition("#")[2] == part


def render_dialog(
    request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """A dialog part for htmx; for a plain link the same dialog on a page of its own."""
    if is_htmx(request):
        return render(request, template, context, status=status)
    return render(request, "dialog_page.html", {**context, "dialog_template": template}, status=status)


def done(request: HttpRequest, url: str) -> HttpResponse:
    """After a write: htmx closes its dialog and asks for what is live, a browser goes to `url` (303)."""
    if is_htmx(request):
        return add_trigger(HttpResponse(), "refresh")
    response = HttpResponseRedirect(url)
    response.status_code = 303
    return response
