"""The Metrics and Images tabs of a run: charts and tables of what it has logged, live."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from runs.lists.metrics import card_page, csv_cells, document_card, image_groups, key_of, point_page
from runs.models import Metric, Run
from runs.services.metrics import columns_to_draw, drawn_columns, find_metric
from runs.versions import version_word
from runs.views.live import is_seen, part_url
from runs.views.log_frame import number_in
from runs.views.parts import wants_part
from runs.views.run_frame import find_run, run_frame, run_url

#: What of an address says how charts are drawn; the script of the page writes it there.
_LOOKS = ("x", "log", "logx", "smooth")
#: Which column of a row or table is drawn: its metric's key, a colon and the column, once for each metric.
_COLUMN = "col"
_LINES_AT_ONCE = 1_000


@gzip_page
@require_safe
def run_metrics(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The tab: a card for each metric whose name holds `?q=`. 204 for the part while nothing was logged.

    Queries beside the frame's: how many metrics, those of this page, the ends of tables and documents.
    """
    run = find_run(request, name, number)
    part, version = wants_part(request, "run-metrics"), _version(run)
    if part and is_seen(request, version):
        return HttpResponse(status=204)
    search = request.GET.get("q", "").strip()
    state = request.GET.copy()
    state.pop("seen", None)
    page = card_page(run, search=search, after=request.GET.get("after", ""), chosen=_chosen(request))
    for card in page.cards:
        card.choices = _choices(state, card.key, card.columns)
    context = {
        **run_frame(run, request, tab="metrics"),
        **_looks(request, run),
        "page": page,
        "search": search,
        "part_url": part_url(request.path, state, version),
    }
    return render(request, "run/_metrics.html" if part else "run/run_metrics.html", context)


def _version(run: Run) -> str:
    """When metrics were last written, and whether more may come."""
    return f"{version_word(run.metrics_written_at)}-{int(run.is_terminal)}"  # type: ignore[attr-defined]


def _looks(request: HttpRequest, run: Run) -> dict[str, Any]:
    """How charts are drawn, as the address says."""
    asked = {key: request.GET.get(key, "") for key in _LOOKS}
    smooth = number_in(request, "smooth") or 0
    return {
        "by_time": asked["x"] == "time",
        "by_log": bool(asked["log"]),
        "by_logx": bool(asked["logx"]),
        "smooth": smooth if smooth < 100 else 0,
        "kept": [
            *((key, value) for key, value in asked.items() if value),
            *((_COLUMN, text) for text in request.GET.getlist(_COLUMN)),
        ],
        "charts_url": f"/api/v1/runs/{run.run_id}/metrics/charts",
    }


def _chosen(request: HttpRequest) -> dict[str, str]:
    """The columns that the address chooses, by the keys of their metrics."""
    pairs = (text.partition(":") for text in request.GET.getlist(_COLUMN))
    return {key: column for key, _, column in pairs}


def _choices(state: QueryDict, key: str, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Each column with the query that draws it instead, nothing where there is no choice."""
    if len(columns) < 2:
        return []
    others = [text for text in state.getlist(_COLUMN) if text.partition(":")[0] != key]
    links = []
    for column in columns:
        query = state.copy()
        query.setlist(_COLUMN, [*others, f"{key}:{column}"])
        links.append((column, f"?{query.urlencode()}"))
    return links


@gzip_page
@require_safe
def run_metric(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """One metric, `?name=`: its chart, and its points as a table from entry `?from=` on."""
    run = find_run(request, name, number)
    metric = find_metric(run, request.GET.get("name", ""))
    columns, chosen = columns_to_draw(metric), _chosen(request).get(key_of(metric), "")
    column, x = drawn_columns(metric, chosen if chosen in columns else "")
    context = {
        **run_frame(run, request, tab="metrics"),
        **_looks(request, run),
        "metric": metric,
        "column": column,
        "x_column": x,
        "choices": _choices(request.GET, key_of(metric), columns),
        "card": document_card(metric),
        "is_drawn": metric.count > 1 and _is_numeric(metric),
        "csv_query": urlencode({"name": metric.name}),
        "points": point_page(metric, number_in(request, "from") or 0),
    }
    return render(request, "run/run_metric.html", context)


def _is_numeric(metric: Metric) -> bool:
    return metric.last is not None or any(column["type"] == "f8" for column in metric.columns)


@require_safe
def run_metric_csv(request: HttpRequest, name: str, number: int) -> StreamingHttpResponse:
    """All points of the metric `?name=` as a file, made while it is sent."""
    run = find_run(request, name, number)
    metric = find_metric(run, request.GET.get("name", ""))
    answer = StreamingHttpResponse(_csv(metric), content_type="text/csv; charset=utf-8")
    filename = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in metric.name)
    answer["Content-Disposition"] = content_disposition_header(True, f"{name}-{number}-{filename}.csv") or ""
    return answer


def _csv(metric: Metric) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for at, cells in enumerate(csv_cells(metric)):
        writer.writerow(cells)
        if at % _LINES_AT_ONCE == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


@require_safe
def run_images(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The tab: the images that the run has logged, by name, the newest first."""
    run = find_run(request, name, number)
    part, version = wants_part(request, "run-images"), _version(run)
    if part and is_seen(request, version):
        return HttpResponse(status=204)
    context = {
        **run_frame(run, request, tab="images"),
        "groups": image_groups(run),
        "part_url": part_url(request.path, request.GET.__class__(mutable=True), version),
        "outputs_url": run_url(run, "run-outputs"),
    }
    return render(request, "run/_images.html" if part else "run/run_images.html", context)
