"""Experiments: the list of all, one of them with its runs, and the dialogs that change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from runs.errors import Overtaken, StudioError
from runs.filters import ExperimentFilter
from runs.lists.experiments import ExperimentPage, Overview, experiment_page, overview
from runs.lists.figures import CHART_RUNS, chip_counts, experiment_figures
from runs.lists.metric_columns import MetricColumns, metric_charts, metric_names
from runs.lists.runs import RunList
from runs.lists.version import Scope, find_experiment, workspace_scope
from runs.markdown import render_markdown
from runs.models import Experiment, Tag
from runs.services.experiments import about_experiment, archive_experiment, edit_experiment
from runs.services.tags import parse_tag
from runs.status import Status
from runs.toasts import toast
from runs.views.chart_names import names_answer, wanted_menu
from runs.views.edits import opened_with, refused_context
from runs.views.live import is_seen, part_url
from runs.views.parts import render_dialog, wants_part
from runs.views.runs import csv_response, list_answer
from studio.accounts.permissions import contributor
from studio.accounts.refusals import is_htmx
from studio.accounts.requests import MemberRequest

_HEADS = (
    ("name", "Name", "", "", ""),
    ("active", "Active runs", "w-104", "num", ""),
    ("targets", "Active compute targets", "w-172", "", "from-1280"),
    ("", "Last 20 runs", "w-162", "", ""),
    ("latest", "Latest run", "w-208", "", ""),
    ("submitted", "Submitted", "w-104", "", ""),
    ("runs", "Runs", "w-64", "num", "from-1400"),
    ("submitter", "Last submitter", "w-120", "", "from-1400"),
)
_ASCENDING_FIRST = ("name", "latest", "submitter")
_FIGURES_KEEP = ("q", "show", "order", "panel", "open", "curve", "over", "sum")
_CHIP_STATUS = {
    "active": Status.RUNNING, "queued": Status.QUEUED, "completed": Status.COMPLETED,
    "failed": Status.FAILED, "canceled": Status.CANCELED,
}  # fmt: skip


@gzip_page
@require_safe
def experiment_list(request: HttpRequest) -> HttpResponse:
    """All experiments of the workspace, or the way to start when there is none.

    Queries beside session and shell: version, counts, rows, their active runs, their last runs.
    """
    workspace = request.membership.workspace  # type: ignore[attr-defined]
    scope = workspace_scope(workspace)
    if is_seen(request, scope.version):
        return HttpResponse(status=204)
    around = overview(workspace)
    if around.is_empty:
        return redirect("start")
    state = _state(request.GET)
    found = ExperimentFilter(state, workspace=workspace, person=request.user)  # type: ignore[arg-type]
    page = experiment_page(found.qs, order=state.get("order", ""), after=state.get("after", ""))
    request.GET = state  # type: ignore[assignment]
    part = wants_part(request, "experiment-list")
    template = "experiments/_experiment_table.html" if part else "experiments/experiment_list.html"
    context = {
        "section": "experiments",
        "page": page,
        "around": around,
        "filter": found,
        "heads": _heads(page),
        "chips": _list_chips(found.form.data, around),
        "kept": [(key, value) for key, value in state.items() if key not in ("q", "after")],
        "trigger": scope.trigger,
        "part_url": part_url(request.path, state, scope.version),
    }
    return render(request, template, context)


def _state(data: QueryDict) -> QueryDict:
    """What of an address says which experiments are shown."""
    state = data.copy()
    for key in set(state) - {"q", "active", "mine", "archived", "order", "after"}:
        del state[key]
    return state


def _list_chips(data: Mapping[str, Any], around: Overview) -> list[dict[str, Any]]:
    """The filters that are one click away, each with what it puts into the address."""
    asked = [key for key in ("active", "mine", "archived") if data.get(key)]
    return [
        {"label": label, "icon": icon, "hue": hue, "count": count, key: "true", "is_current": key in asked}
        if key
        else {"label": label, "count": count, "is_current": not asked}
        for key, label, icon, hue, count in (
            ("", "All", "", "", around.current),
            ("active", "With active runs", "circle-dot", "status status-running", around.with_active),
            ("mine", "Mine", "", "", None),
            ("archived", "Archived", "archive", "", around.archived),
        )
    ]


def _heads(page: ExperimentPage) -> list[dict[str, str]]:
    """The columns, each with the order that a click asks for and the direction it has now."""
    by, down = page.order.removeprefix("-"), page.order.startswith("-")
    heads = []
    for key, title, width, css, wide in _HEADS:
        falling = not down if key == by else key not in _ASCENDING_FIRST
        direction = ("descending" if down else "ascending") if key == by else ""
        sort = f"-{key}" if falling else key
        head = {"title": title, "width": width, "css": css, "from": wide}
        heads.append({**head, "sort": key and sort, "direction": direction})
    return heads


@gzip_page
@require_safe
def experiment_detail(request: MemberRequest, name: str) -> HttpResponseBase:
    """One experiment: figures, chart, and its runs with child runs folded under their parents."""
    experiment, scope = _find(request, name)
    if wants_part(request, "experiment-figures"):
        return _figures_part(request, experiment, scope)
    find = request.GET.get("find", "").strip()
    if menu := wanted_menu(request):
        return names_answer(request, menu, find, metric_names(experiment, find))
    workspace, metrics = request.membership.workspace, MetricColumns(request.user, experiment)
    runs = RunList(workspace, request.user, request.GET, place="experiment", experiment=experiment)
    if request.GET.get("format") == "csv":
        return csv_response(runs, experiment.name, metrics.choices)

    def more(part: bool) -> dict[str, Any]:
        context = {"experiment": experiment, **_chips(experiment, runs)}
        if part:
            return context
        found = {"find": find, "found": metric_names(experiment, find)} if find else {}
        return {
            **context,
            **_figures(request, experiment, scope, metrics.names),
            **found,
            **_head(experiment),
        }

    template = "experiments/experiment_detail.html"
    return list_answer(request, runs, scope, more, template=template, metrics=metrics)


def _chips(experiment: Experiment, runs: RunList) -> dict[str, Any]:
    """The statuses that are one click away, the archive only if something is in it, and how many match."""
    counts = chip_counts(experiment)
    chips = [
        {"key": key, "label": key.capitalize() or "All", "status": _CHIP_STATUS.get(key), "count": count}
        for key, count in counts.items()
        if key != "archived" or count.number
    ]
    is_all = not runs.is_filtered and runs.is_valid
    return {"chips": chips, "matching": counts[""]} if is_all else {"chips": chips}


def _find(request: HttpRequest, name: str) -> tuple[Experiment, Scope]:
    found = find_experiment(request.membership.workspace, name)  # type: ignore[attr-defined]
    if found is None:
        raise Http404(f"There is no experiment {name}.")
    return found


def _figures_version(scope: Scope) -> str:
    return f"{scope.version}.{scope.metrics}"


def _figures_part(request: HttpRequest, experiment: Experiment, scope: Scope) -> HttpResponse:
    if is_seen(request, _figures_version(scope)):
        return HttpResponse(status=204)
    return render(request, "experiments/_figures.html", _figures(request, experiment, scope))


def _figures(
    request: HttpRequest, experiment: Experiment, scope: Scope, names: list[str] | None = None
) -> dict[str, Any]:
    """Figures and charts; `names` are the metrics that can be drawn, asked for if they are not given."""
    figures = experiment_figures(experiment)
    asked = QueryDict(mutable=True)
    asked.update({key: request.GET[key] for key in _FIGURES_KEEP if request.GET.get(key)})
    charts = metric_charts(
        experiment,
        metric_names(experiment) if names is None else names,
        figures.bars,
        curve=request.GET.get("curve", ""),
        over=request.GET.get("over", ""),
        sum_=request.GET.get("sum", ""),
    )
    workspace = quote(request.membership.workspace.name, safe="")  # type: ignore[attr-defined]
    return {
        "experiment": experiment,
        "figures": figures,
        "metrics": charts,
        "curves_url": f"/api/v1/workspaces/{workspace}/experiments/{experiment.name}/metrics/charts",
        "chart_runs": CHART_RUNS,
        "description": render_markdown(experiment.description) if experiment.description else "",
        "figures_trigger": scope.trigger,
        "figures_version": _figures_version(scope),
        "figures_url": part_url(request.path, asked, _figures_version(scope)),
    }


def _head(experiment: Experiment) -> dict[str, Any]:
    labels = [Tag(key=key, value=value) for key, value in experiment.tags.items()]
    return {"section": "experiments", "labels": labels}


@contributor
@require_http_methods(["GET", "HEAD", "POST"])
def experiment_edit(request: HttpRequest, name: str) -> HttpResponse:
    """The dialog for description and tags, and what it sends."""
    experiment, _ = _find(request, name)
    now = {"description": experiment.description, "tags": _tag_lines(experiment.tags)}
    if request.method != "POST":
        return _edit_dialog(request, experiment, now, {"opened": now})
    opened = opened_with(request, now)
    typed = {key: request.POST.get(key, before) for key, before in opened.items()}
    try:
        edit_experiment(
            experiment,
            by=request.user,  # type: ignore[arg-type]
            description=typed["description"],
            tags=_tags_of(typed, experiment),
            opened={**opened, "tags": _tags_of(opened, experiment)},
        )
    except StudioError as error:
        if isinstance(error, Overtaken) and "tags" in error.now:
            error.now["tags"] = _tag_lines(error.now["tags"])
        refused = refused_context(request, error, opened, about=about_experiment(experiment))
        return _edit_dialog(request, experiment, typed, refused)
    toast(request, f"{experiment.name} was changed")
    return _to_page(request, experiment)


def _tag_lines(tags: Mapping[str, str | None]) -> str:
    return "\n".join(str(Tag(key=key, value=value)) for key, value in tags.items())


def _tags_of(texts: Mapping[str, str], experiment: Experiment) -> dict[str, str | None]:
    """The tags of these lines. Those that nobody touched stay as they are, whatever a line makes of them."""
    lines = texts["tags"].splitlines()
    if lines == _tag_lines(experiment.tags).splitlines():
        return dict(experiment.tags)
    return dict(parse_tag(line) for line in lines if line.strip())


def _edit_dialog(
    request: HttpRequest, experiment: Experiment, typed: dict[str, str], more: dict[str, Any]
) -> HttpResponse:
    error = more.get("error")
    context = {
        "section": "experiments",
        "heading": f"Edit {experiment.name}",
        "action": request.path,
        "typed": typed,
        "wrong": "tags" if error and error.field == "tags" else "description",
        **more,
    }
    status = 422 if request.method == "POST" else 200
    return render_dialog(request, "experiments/_edit_dialog.html", context, status=status)


@contributor
@require_POST
def experiment_archive(request: HttpRequest, name: str, archived: bool = True) -> HttpResponse:
    """Put an experiment into the archive, or bring it back; refused while runs are active."""
    experiment, _ = _find(request, name)
    try:
        archive_experiment(experiment, by=request.user, archived=archived)  # type: ignore[arg-type]
    except StudioError as error:
        toast(request, str(error), kind="error")
        return _to_page(request, experiment)
    back = "experiment-unarchive" if archived else "experiment-archive"
    done = "archived" if archived else "back from the archive"
    toast(request, f"{experiment.name} is {done}", undo=reverse(back, args=[experiment.name]))
    return _to_page(request, experiment)


def _to_page(request: HttpRequest, experiment: Experiment) -> HttpResponse:
    url = reverse("experiment-detail", args=[experiment.name])
    if is_htmx(request):
        return HttpResponse(headers={"HX-Redirect": url})
    return redirect(url)
