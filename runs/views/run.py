"""A run's page: its head, which every tab shares, and its Overview."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from runs.models import Run
from runs.status import Kind
from runs.toasts import add_trigger
from runs.views.graph import graph_page
from runs.views.run_frame import find_run, is_news, run_frame, run_url
from runs.views.run_overview import overview_page


@require_safe
def run_by_id(request: HttpRequest, run_id: str) -> HttpResponse:
    """The page of the run with this id, whatever its experiment."""
    workspace = request.membership.workspace_id  # type: ignore[attr-defined]
    rows = Run.objects.select_related("experiment").filter(workspace=workspace)
    run_id = run_id.replace("\0", "")
    run = next(iter(rows.filter(run_id=run_id)[:1]), None)
    if run is None:
        raise Http404(f"There is no run {run_id}.")
    return redirect(run_url(run))


@require_safe
def run_head(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The head of the page, asked for again and again; 204 while nothing is newer than `?seen=`.

    2 queries when nothing is new. An answer with news lets the tab below ask for itself; of a graph it is no
    more than that, because the graph brings the head along: a pipeline and its steps show one state.
    """
    if not is_news(request, name, number):
        return HttpResponse(status=204)
    if request.GET.get("tab") == "graph":
        return add_trigger(HttpResponse(status=204), "run-changed")
    run = find_run(request, name, number)
    context = run_frame(run, request, tab=request.GET.get("tab", "overview"))
    return add_trigger(render(request, "run/_head.html", context), "run-changed")


@require_safe
def run_detail(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The tab that a run opens with: the graph of a pipeline run, else the Overview."""
    run = find_run(request, name, number)
    return graph_page(request, run) if run.kind == Kind.PIPELINE else overview_page(request, run)
