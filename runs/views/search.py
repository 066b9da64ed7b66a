"""The parts of the search bar."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs.search.complete import complete
from runs.search.parser import MAX_LENGTH


@require_safe
def search_complete(request: HttpRequest) -> HttpResponse:
    """What the search bar offers for `?q=` with the cursor at `?at=`, as browsers count (UTF-16 units)."""
    text = request.GET.get("q", "")[:MAX_LENGTH]
    at = request.GET.get("at", "")
    cursor = _letters(text, int(at)) if at.isascii() and at.isdecimal() and len(at) < 6 else len(text)
    workspace = request.membership.workspace  # type: ignore[attr-defined]
    completion = complete(workspace, text, cursor, request.user)  # type: ignore[arg-type]
    context = {
        "completion": completion,
        "start": _units(text, completion.start),
        "end": _units(text, completion.end),
    }
    return render(request, "runs/_completions.html", context)


def _units(text: str, letters: int) -> int:
    """How many UTF-16 units so many letters take."""
    return len(text[:letters].encode("utf-16-le", "surrogatepass")) // 2


def _letters(text: str, units: int) -> int:
    """How many letters so many UTF-16 units are."""
    return len(text.encode("utf-16-le", "surrogatepass")[: units * 2].decode("utf-16-le", "ignore"))
