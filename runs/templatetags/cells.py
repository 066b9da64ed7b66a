"""The cells of a table of runs, by column: one tag a row, because a table has hundreds of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any

from django import template
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from runs.addresses import experiment_url
from runs.formats import DASH
from runs.lists.columns import Column
from runs.lists.metrics import Shown
from runs.models import Run
from runs.templatetags import studio

register = template.Library()


_CLOSE = mark_safe("</td>")


@lru_cache(1_000)
def _experiment_link(name: str) -> SafeString:
    return format_html('<a class="plain-link" href="{0}" title="{1}">{1}</a>', experiment_url(name), name)


@cache
def _opening(css: str, place: str) -> SafeString:
    if not place:
        return format_html('<td class="{}">', css)
    return format_html('<td class="{}" data-cell="{}">', css, place)


def _titled(text: str) -> SafeString | str:
    return format_html('<span title="{0}">{0}</span>', text) if text else DASH


_CELLS: dict[str, Callable[[Run], Any]] = {
    "experiment": lambda run: _experiment_link(run.experiment.name),
    "status": lambda run: studio.status(run.status),
    "duration": studio.duration,
    "submitter": lambda run: studio.person(run.submitter),
    "target": lambda run: _titled(run.target.name if run.target else ""),
    "node": lambda run: _titled(run.node.name if run.node else ""),
    "kind": lambda run: run.kind,
    "command": lambda run: _titled(run.command),
    "error": lambda run: _titled(run.error_message),
    "run_id": lambda run: _titled(run.run_id),
    "started": lambda run: studio.ago(run.started_at) if run.started_at else DASH,
    "ended": lambda run: studio.ago(run.ended_at) if run.ended_at else DASH,
    "created": lambda run: studio.ago(run.created_at),
}


@register.simple_tag
def run_cells(
    run: Run,
    columns: Iterable[Column],
    tags_width: int,
    metrics: Mapping[int, Mapping[str, Shown]] | None = None,
) -> SafeString:
    """The cells of a run for these columns; `metrics` has those of metrics, by run and column."""
    own = (metrics or {}).get(run.pk, {})
    cells = (
        _metric(own.get(column.key), column) if column.is_metric else _cell(run, column, tags_width)
        for column in columns
    )
    return mark_safe("".join(cells))  # noqa: S308 each is safe


@register.simple_tag
def metric_hint(
    run: Run, columns: Iterable[Column], metrics: Mapping[int, Mapping[str, Shown]] | None = None
) -> SafeString | str:
    """The first metric of the table that this run has, in words, for where columns have no room."""
    own = (metrics or {}).get(run.pk, {})
    first = next((column for column in columns if column.key in own), None)
    return format_html(" · {} {}", first.title, own[first.key].text) if first else ""


def _metric(shown: Shown | None, column: Column) -> SafeString:
    if shown is None:
        return format_html('<td class="{}">{}</td>', column.css, DASH)
    css = f"{column.css} is-odd" if shown.is_odd else column.css
    return format_html('<td class="{}" title="{}">{}</td>', css, shown.title, shown.text)


def _cell(run: Run, column: Column, tags_width: int) -> SafeString:
    show = _CELLS.get(column.key)
    text = show(run) if show else studio.tag_list(run.labels, tags_width)
    return _opening(column.css, column.place) + conditional_escape(text) + _CLOSE
