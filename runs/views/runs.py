"""Lists of runs: those of the workspace, its pipelines, and what the experiment's page shares with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from zlib import crc32

from django.forms import BoundField
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_http_methods, require_safe

from runs.errors import InvalidInput
from runs.filters import RunFilter
from runs.lists import columns
from runs.lists.capped import Count
from runs.lists.export import csv_lines
from runs.lists.metric_columns import (
    Choice,
    MetricColumns,
    choose_metrics,
    metric_cells,
    metric_widths,
    offered_metrics,
    with_values,
)
from runs.lists.runs import Row, RunList
from runs.lists.version import Scope, workspace_scope
from runs.models import Experiment, Run
from runs.search.cursors import parse_order
from runs.search.qualifiers import QUALIFIERS
from runs.search.query import Page, Search
from runs.search.text import PART_LENGTH, TAG_LENGTH, TEXT_LENGTH
from runs.toasts import toast
from runs.views.live import part_url
from runs.views.parts import done, render_dialog, wants_part
from studio.accounts.permissions import member
from studio.accounts.refusals import is_htmx
from studio.addresses import wanted_next

_ASCENDING_FIRST = ("experiment", "name", "status", "submitter", "target", "metric:min:")
_EXPORT_CHUNK = 1_000
_CHOICES = ("status", "submitter", "experiment", "target", "kind")
_PLACES = {"runs": "Runs", "pipelines": "Pipelines", "experiment": "Experiment"}

#: Searches that are one click away: label and query.
_QUICK = (
    ("All", ""),
    ("Active", "is:active"),
    ("My active", "submitter:@me is:active"),
    ("Failed this week", "status:Failed created:7d"),
    ("Archived", "is:archived"),
)


@gzip_page
@require_safe
def run_list(request: HttpRequest) -> HttpResponseBase:
    """All runs of the workspace, newest first."""
    return _workspace_list(request, "runs")


@gzip_page
@require_safe
def pipeline_list(request: HttpRequest) -> HttpResponseBase:
    """The pipeline runs of the workspace, with their step runs folded under them."""
    return _workspace_list(request, "pipelines")


def _workspace_list(request: HttpRequest, place: str) -> HttpResponseBase:
    workspace = request.membership.workspace  # type: ignore[attr-defined]
    runs = RunList(workspace, request.user, request.GET, place=place)  # type: ignore[arg-type]
    if request.GET.get("format") == "csv":
        return csv_response(runs, place)
    if runs.has_panel(request.GET) and runs.is_valid and not is_htmx(request):
        return redirect(f"{request.path}?{runs.state.urlencode()}")

    def more(part: bool) -> dict[str, Any]:
        shown, rest = runs.panel
        fixed = "kind" if place == "pipelines" else ""
        text = str(runs.filter.query)
        panel = RunFilter(shown, workspace=workspace, person=runs.person) if runs.is_valid else runs.filter
        return {
            "section": place,
            "heading": _PLACES[place],
            "quick": [(label, q, runs.is_valid and q == text) for label, q in _QUICK],
            "panel": panel.form,
            "panel_choices": [_choices(panel.form[name]) for name in _CHOICES if name != fixed],
            "panel_rest": rest,
            "panel_count": len(shown),
            "has_panel": runs.state.get("panel") != "off",
            "qualifiers": QUALIFIERS.values(),
            "found_letters": (PART_LENGTH, TAG_LENGTH, TEXT_LENGTH),
        }

    return list_answer(request, runs, workspace_scope(workspace), more, template="runs/run_list.html")


def _choices(field: BoundField) -> dict[str, Any]:
    """A field of the panel as check boxes: what is offered, and what was chosen though it is not offered.

    What the field refuses gets no box, so the next change of the panel leaves it out.
    """
    chosen = list(field.value() or [])
    offered = [value for value, _ in field.field.choices]  # type: ignore[attr-defined]
    beside = [value for value in chosen if value not in offered and field.field.valid_value(value)]  # type: ignore[attr-defined]
    values = [*offered, *beside]
    choices = [{"value": value, "is_chosen": value in chosen} for value in values]
    return {"name": field.html_name, "label": field.label, "choices": choices}


def list_answer(
    request: HttpRequest,
    runs: RunList,
    scope: Scope,
    more: Callable[[bool], dict[str, Any]],
    *,
    template: str,
    metrics: MetricColumns | None = None,
) -> HttpResponse:
    """The page, or for htmx its part `run-list`; 204 when that is what is shown already.

    `more(part)` gives the context that only this page has, and is called when something is rendered.
    `metrics` are columns beside those that every list has.
    """
    shown = columns.chosen(runs.person, runs.place)
    version = f"{scope.version}.{columns.fingerprint(shown)}"
    version += f".{metrics.version(scope.metrics)}" if metrics else ""
    part = wants_part(request, "run-list")
    seen = request.GET.get("seen")
    if part and seen == version:
        return HttpResponse(status=204)
    request.GET = runs.state  # type: ignore[assignment]
    page = runs.page()
    rows = runs.rows(page)
    choices = metrics.choices if metrics else []
    cells = metric_cells([row.run for row in rows], choices)
    own = metric_widths([choice.column for choice in choices], cells)
    shown = columns.with_metrics(shown, own)
    context = {
        "metric_cells": cells,
        "runs": runs,
        "experiment": runs.experiment,
        "page": page,
        "rows": rows,
        "columns": shown,
        "scrolls": columns.scrolls_in(shown),
        "tags_width": 236 if runs.experiment and not choices else 150,
        "heads": _heads(runs, shown),
        "trigger": scope.trigger,
        "part_url": part_url(request.path, runs.state, version),
        "actions_url": f"{_actions_path(runs)}?{runs.state.urlencode()}",
        "matching_key": f"{crc32(str(runs.query).encode()):x}",
        "shows_archived": runs.query.asks_for_archived,
        **_counted(runs, rows, page),
        **more(part),
    }
    if not part:
        return render(request, template, context)
    name = "experiments/_runs.html" if runs.experiment else "runs/_run_list.html"
    response = render(request, name, context)
    if seen is None:
        response["HX-Push-Url"] = _address(request, runs)
    return response


def _counted(runs: RunList, rows: list[Row], page: Page) -> dict[str, Any]:
    """`found`: how many the list has, `how_many` in words. `matching`: how many an action on all takes.

    They differ where child runs are folded under their parents; then it costs a query more, except for an
    experiment, whose chips know.
    """
    found = Count(*runs.count())
    matching = found
    if runs.is_valid and not runs.is_filtered and runs.place == "runs":
        matching = Count(*Search(runs.scope, runs.query).count())
    unfolded = sum(1 for row in rows if row.depth and not row.unseen)
    if runs.is_filtered:
        how_many = f"{found} run{'' if found.number == 1 else 's'} found"
    else:
        what = "pipeline run" if runs.place == "pipelines" else "top-level run"
        how_many = f"{found} {what}{'' if found.number == 1 else 's'}"
    label = how_many
    if unfolded:
        label += f", {unfolded} child run{'' if unfolded == 1 else 's'} unfolded"
    if page.note:
        label += f". {page.note}"
    return {"found": found, "matching": matching, "how_many": how_many, "label": label}


def _address(request: HttpRequest, runs: RunList) -> str:
    return f"{request.path}?{runs.state.urlencode()}" if runs.state else request.path


def _actions_path(runs: RunList) -> str:
    if runs.experiment is not None:
        return reverse("experiment-actions", args=[runs.experiment.name])
    return reverse("pipeline-actions" if runs.place == "pipelines" else "run-actions")


def _heads(runs: RunList, shown: list[columns.Column]) -> list[dict[str, Any]]:
    """The columns that can be chosen, each with the order that a click asks for and its direction now."""
    order = parse_order(runs.order)
    by, down = (order.by, order.descending) if order else ("created", True)
    number = columns.Column("number", "#", "w-64", "number" if runs.experiment else "", "num")
    heads = []
    for column in (number, columns.Column("name", "Name", "col-name", "name", "col-name"), *shown):
        is_current = column.sort == by
        falling = not down if is_current else not column.sort.startswith(_ASCENDING_FIRST)
        heads.append(
            {
                "title": column.title,
                "width": column.width,
                "css": column.css,
                "hidden": column.hidden,
                "sort": column.sort and (f"-{column.sort}" if falling else column.sort),
                "direction": ("descending" if down else "ascending") if is_current else "",
            }
        )
    return heads


def csv_response(runs: RunList, name: str, choices: Sequence[Choice] = ()) -> StreamingHttpResponse:
    """All runs that match, children too, as sorted as the list, with these metrics; sent while it is read.

    Raises InvalidInput if the search cannot be read.
    """
    if not runs.is_valid:
        said = (text for texts in runs.filter.errors.values() for text in texts)
        raise InvalidInput(" ".join(said), field="q", hint="Nothing was exported.")
    rows: Iterator[Run] = (
        runs.in_order().for_table("description", "exit_code", "parent__run_id")  # type: ignore[attr-defined]
        .select_related("parent").iterator(chunk_size=_EXPORT_CHUNK)
    )  # fmt: skip
    filename = f"{name}-{timezone.now():%Y-%m-%d}.csv"
    return StreamingHttpResponse(
        csv_lines(
            with_values(rows, choices, at_once=_EXPORT_CHUNK), [choice.column.title for choice in choices]
        ),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


@member
@require_http_methods(["GET", "HEAD", "POST"])
def run_columns(request: HttpRequest, place: str) -> HttpResponse:
    """The dialog in which a person chooses the columns of a list; the choice is kept."""
    if place not in columns.DEFAULTS:
        raise Http404("There is no such list.")
    person: Any = request.user
    back = wanted_next(request) or reverse("run-list")
    experiment = _experiment_of_columns(request, place)
    part = wants_part(request, "metric-choice")
    is_search = part or "search" in request.POST
    if request.method == "POST" and not is_search:
        wanted = columns.DEFAULTS[place] if "reset" in request.POST else request.POST.getlist("column")
        columns.choose(person, place, wanted)
        if experiment is not None:
            choose_metrics(person, experiment, _asked_metrics(request.POST))
        toast(request, "Columns kept")
        return done(request, back)
    context = {"next": back, **_columns_context(request, place, experiment, is_search=is_search)}
    if part:
        return render(request, "runs/_metric_choice.html", context)
    return render_dialog(request, "runs/_columns_dialog.html", context)


def _columns_context(
    request: HttpRequest, place: str, experiment: Experiment | None, *, is_search: bool
) -> dict[str, Any]:
    """What the dialog shows: what is kept, or with a search of names what was chosen so far."""
    person: Any = request.user
    find = request.POST.get("find", "").strip()
    asked = _asked_metrics(request.POST) if is_search else None
    kept = {column.key for column in columns.chosen(person, place)}
    keys = set(request.POST.getlist("column")) if is_search else kept
    return {
        "section": "experiments" if place == "experiment" else place,
        "heading": "Columns",
        "action": request.path,
        "offered": [(column, column.key in keys) for column in columns.offered(place)],
        "experiment": experiment,
        "metrics": offered_metrics(person, experiment, find=find, asked=asked) if experiment else [],
        "find": find,
        "size": "dialog-sm",
    }


def _experiment_of_columns(request: HttpRequest, place: str) -> Experiment | None:
    """The experiment whose metrics can be chosen too, if the dialog was opened on its page."""
    name = request.POST.get("experiment") or request.GET.get("experiment") or ""
    if place != "experiment" or not name or "\0" in name:
        return None
    workspace = request.membership.workspace  # type: ignore[attr-defined]
    return Experiment.objects.filter(workspace=workspace, name=name).first()


def _asked_metrics(data: QueryDict) -> list[Choice] | None:
    """The metrics that were chosen, in the order of the dialog; None for those that are shown at first."""
    if "reset" in data:
        return None
    names = data.getlist("metric")
    return [Choice(name, sum_) for name, sum_ in zip(names, data.getlist("sum"), strict=False) if sum_]
