"""What every tab of a run's page stands in: finding the run, its version, and the head with toolbar and tabs.

A tab's view:

    run = find_run(request, name, number)
    return render(request, "run/run_logs.html", {**run_frame(run, request, tab="logs"), …})

and its template extends `run/base_run.html` and fills the block `tab`. The head polls for the whole page:
when it has news it fires `run-changed` on the body, which is what live parts of a tab listen for.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest
from django.urls import reverse

from runs.models import Artifact, Run
from runs.status import ON_NODE, TERMINAL, Kind, Status
from runs.versions import version_word

#: How often the page of a queued run is drawn afresh: the queue moves on without the run's row changing.
QUEUE_DRAWN_EVERY_S = 6


@dataclass(frozen=True)
class Tab:
    """One entry of the tab bar."""

    key: str
    label: str
    url: str
    count: int = 0
    is_live: bool = False


@dataclass(frozen=True)
class StatusCount:
    """How many children have a status."""

    status: str
    count: int


# Put together once: for each poll anew that would take longer than the query itself.
_FAMILY = Run.objects.filter(root=Coalesce(OuterRef("root"), OuterRef("pk"))).order_by("-updated_at")
_OUTPUTS = Artifact.objects.filter(run=OuterRef("pk")).order_by().values("run").annotate(n=Count("pk"))
_RUNS = Run.objects.annotate(family_updated_at=Subquery(_FAMILY.values("updated_at")[:1]))
_LOGGED = {
    "metric_count": Coalesce("metric_ledger__names", 0),
    "image_count": Coalesce("metric_ledger__images", 0),
}
VERSIONS: QuerySet[Any] = _RUNS.annotate(**_LOGGED).values_list(
    "updated_at", "family_updated_at", "status", *_LOGGED
)
_WITH_HEAD = (
    _RUNS.select_related(
        "experiment", "submitter", "target", "node", "snapshot", "cancel_requested_by",
        "parent__experiment", "resubmitted_from__experiment",
    )
    .defer("search_text", "snapshot__files", "parent__search_text", "resubmitted_from__search_text")
    .annotate(
        output_count=Coalesce(Subquery(_OUTPUTS.values("n"), output_field=IntegerField()), Value(0)),
        metrics_written_at=F("metric_ledger__written_at"),
        **_LOGGED,
    )
)  # fmt: skip


def at_address(request: HttpRequest, name: str, number: int, *, of: str = "") -> Q:
    """The condition for the run at this address of the workspace; `of` leads to the run, such as "run__".

    By the unique keys of both tables: asked for by runs.workspace, SQLite walks through all its runs.
    """
    keys = {
        "experiment__workspace": request.membership.workspace_id,  # type: ignore[attr-defined]
        "experiment__name": name.replace("\0", ""),
        "number": number,
    }
    return Q(**{of + key: value for key, value in keys.items()})


def row_at(runs: QuerySet[Any], request: HttpRequest, name: str, number: int) -> Any:
    """The one of these at this address, or None; one query. `VERSIONS` gives what `version_text` needs."""
    if "\0" in name:
        raise Http404("No experiment has such a name.")
    return next(iter(runs.filter(at_address(request, name, number))[:1]), None)


def find_run(request: HttpRequest, name: str, number: int) -> Run:
    """The run with all that its head shows, in one query. Raises Http404, also for other workspaces' runs."""
    run: Run | None = row_at(_WITH_HEAD, request, name, number)
    if run is None:
        raise Http404(f"There is no run {number} in the experiment {name}.")
    return run


def is_news(request: HttpRequest, name: str, number: int) -> bool:
    """Whether the page has changed since the version `?seen=`; one query. True if there is no such run."""
    row = row_at(VERSIONS, request, name, number)
    return row is None or version_text(*row) != request.GET.get("seen")


def run_version(run: Any) -> str:
    """The version of a run that `find_run` gave."""
    return version_text(run.updated_at, run.family_updated_at, run.status, run.metric_count, run.image_count)


def version_text(
    updated_at: datetime, family_updated_at: datetime | None, status: str, metrics: int, images: int
) -> str:
    """When a run or its family last changed, and how many metrics and images it has, as one word.

    Of a queued run it also grows with time. That metrics go on does not change it, only a new one does.
    """
    text = f"{version_word(updated_at, family_updated_at)}.{metrics}.{images}"
    return f"{text}-{int(time.time() / QUEUE_DRAWN_EVERY_S)}" if status == Status.QUEUED else text


def run_url(run: Run, view: str = "run-detail", **more: Any) -> str:
    """The address of one of a run's pages; costs no query when the run came with its experiment."""
    return reverse(view, kwargs={"name": run.experiment.name, "number": run.number, **more})


def child_counts(run: Run) -> list[StatusCount]:
    """How many children have which status, in the order of a run's life; one query."""
    return _in_order(run.children.order_by().values_list("status").annotate(n=Count("pk")))


def counts_of(children: Iterable[Run]) -> list[StatusCount]:
    """The same of children that were read already; no query."""
    return _in_order(Counter(child.status for child in children).items())


def _in_order(rows: Iterable[tuple[str, int]]) -> list[StatusCount]:
    order = list(Status)
    return [StatusCount(status, n) for status, n in sorted(rows, key=lambda row: order.index(Status(row[0])))]


def run_frame(
    run: Run, request: HttpRequest, *, tab: str, children: list[StatusCount] | None = None
) -> dict[str, Any]:
    """Context of `run/base_run.html` for a run from `find_run`.

    One more query, for its `children`, unless a tab that shows them says how many it shows in which status.
    """
    children = child_counts(run) if children is None else children
    n_children = sum(row.count for row in children)
    is_live = run.status not in TERMINAL or any(row.status not in TERMINAL for row in children)
    return {
        "section": "pipelines" if run.kind == Kind.PIPELINE else "experiments",
        "run": run,
        "tab": tab,
        "tabs": run_tabs(run, n_children),
        "children": children,
        "n_children": n_children,
        "open_children": sum(row.count for row in children if row.status not in TERMINAL),
        "is_live": is_live,
        "head_url": f"{run_url(run, 'run-head')}?tab={tab}&seen={run_version(run)}",
        "may_contribute": request.membership.can_contribute,  # type: ignore[attr-defined]
        "why_no_cancel": _why_no_cancel(run),
    }


def run_tabs(run: Run, n_children: int) -> list[Tab]:
    """The tabs in their order; a pipeline run opens with its graph."""
    is_pipeline = run.kind == Kind.PIPELINE
    tabs = [Tab("graph", "Graph", run_url(run))] if is_pipeline else []
    return [
        *tabs,
        Tab("overview", "Overview", run_url(run, "run-overview" if is_pipeline else "run-detail")),
        Tab("metrics", "Metrics", run_url(run, "run-metrics"), count=run.metric_count),  # type: ignore[attr-defined]
        Tab("images", "Images", run_url(run, "run-images"), count=run.image_count),  # type: ignore[attr-defined]
        Tab("children", "Child runs", run_url(run, "run-children"), count=n_children),
        Tab("logs", "Logs", run_url(run, "run-logs"), is_live=run.status in ON_NODE),
        Tab("outputs", "Outputs", run_url(run, "run-outputs"), count=run.output_count),  # type: ignore[attr-defined]
        Tab("snapshot", "Snapshot", run_url(run, "run-snapshot")),
    ]


def _why_no_cancel(run: Run) -> str:
    """Why the Cancel button rests; "" when it can be pressed."""
    if run.may_cancel:
        return ""
    if run.status == Status.CANCEL_REQUESTED:
        return "Cancel was requested already"
    return f"The run has ended: {run.status}"
