"""The side bar's menu, asked for again and again by every open page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs.context import load_shell


@require_safe
def shell(request: HttpRequest) -> HttpResponse:
    """The menu with its counts; 204 while they are those of `?seen=`. One query.

    HEAD says whether anybody is signed in: pages ask before they send a form that holds typed text.
    """
    fresh = load_shell(request.membership)  # type: ignore[attr-defined]
    if fresh.seen == request.GET.get("seen"):
        return HttpResponse(status=204)
    context = {"shell": fresh, "section": request.GET.get("section", "")}
    return render(request, "parts/_side_menu.html", context)
