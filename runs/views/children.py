"""The Child runs tab: the tree below a run, three levels at once, more of it on demand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from runs.models import Run
from runs.views.parts import is_htmx, wants_part
from runs.views.run_frame import find_run, run_frame, run_url

LEVELS = 3
#: Runs read at once, for each level.
LEVEL_SIZE = 200
#: Deeper levels are drawn no further to the right.
DEEPEST_INDENT = 8


@dataclass(frozen=True)
class TreeRow:
    """A row of the tree: a run, or, with `n_more`, the place of those below `run` that were not read."""

    run: Run
    depth: int
    n_more: int = 0
    more_url: str = ""

    @property
    def guides(self) -> list[int]:
        """Where the guide lines of the levels above stand, in pixels."""
        return [8 + 20 * level for level in range(min(self.depth, DEEPEST_INDENT))]

    @property
    def indent(self) -> int:
        """How far the name stands to the right, in pixels."""
        return 20 * min(self.depth, DEEPEST_INDENT)


@require_GET
def run_children(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The tab, its live part, or more rows (`?after=`, at `?depth=`). 4 queries on top of the frame's 4."""
    run = find_run(request, name, number)
    after, depth = _number(request, "after"), min(_number(request, "depth"), 1_000)
    context: dict[str, Any] = {"rows": tree_rows(run, after=after, depth=depth)}
    if is_htmx(request) and not wants_part(request, "run-children"):
        return render(request, "run/_child_rows.html", context)
    context |= run_frame(run, request, tab="children")
    context |= {"children_url": run_url(run, "run-children"), "after": after}
    template = "run/_children.html" if wants_part(request, "run-children") else "run/run_children.html"
    return render(request, template, context)


def _number(request: HttpRequest, key: str) -> int:
    """A number of the query string, 0 for anything else."""
    text = request.GET.get(key, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


def tree_rows(run: Run, *, after: int = 0, depth: int = 0) -> list[TreeRow]:
    """The runs below `run` in the order of a tree, from the child after the one with this number on."""
    below: dict[int, list[Run]] = defaultdict(list)
    total = run.children.count()
    level = list(_level(run.children.filter(number__gt=after)))
    below[run.pk] = level
    for _ in range(LEVELS - 1):
        level = list(_level(Run.objects.filter(parent__in=level))) if level else []
        for child in level:
            below[child.parent_id].append(child)  # type: ignore[index]
    seen = run.children.filter(number__lte=after).count() if after else 0
    return list(_walk(run, total - seen, below, depth))


def _level(runs: QuerySet[Run]) -> QuerySet[Run]:
    children = Run.objects.filter(parent=OuterRef("pk")).order_by().values("parent").annotate(n=Count("pk"))
    rows = runs.for_table()  # type: ignore[attr-defined]
    n_children = Coalesce(Subquery(children.values("n"), output_field=IntegerField()), Value(0))
    return rows.annotate(n_children=n_children).order_by("pk")[:LEVEL_SIZE]


def _walk(parent: Run, n_children: int, below: dict[int, list[Run]], depth: int) -> list[TreeRow]:
    rows: list[TreeRow] = []
    known = below[parent.pk]
    for child in known:
        rows.append(TreeRow(child, depth))
        if child.n_children:  # type: ignore[attr-defined]
            rows += _walk(child, child.n_children, below, depth + 1)  # type: ignore[attr-defined]
    if n_children > len(known):
        last = known[-1].number if known else 0
        url = f"{run_url(parent, 'run-children')}?after={last}&depth={depth}"
        rows.append(TreeRow(parent, depth, n_more=n_children - len(known), more_url=url))
    return rows
