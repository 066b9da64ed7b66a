"""The names of metrics in the menus of charts, which are searched on the page that has the chart."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runs.views.parts import wants_part


def wanted_menu(request: HttpRequest) -> str:
    """The menu whose names alone are asked for, over or curve; "" for none."""
    return next((key for key in ("over", "curve") if wants_part(request, f"{key}-names")), "")


def names_answer(request: HttpRequest, menu: str, find: str, names: Sequence[str]) -> HttpResponse:
    """The part of a menu with its names, those that hold `find` if that is said."""
    context = {"key": menu, "find": find, "names": names}
    return render(request, "experiments/_chart_names.html", context)
