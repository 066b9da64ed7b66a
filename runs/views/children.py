"""The Child runs tab: the tree below a run, three levels at once, more of it on demand.

What was asked for stands in the address (`?open=12,12,40`: more below Run 12, twice, and below Run 40), so it
is still there after a live update, and in a link.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from runs.lists.child_metrics import ChildMetrics, child_metrics, child_names
from runs.models import MetricLedger, Run
from runs.versions import version_word
from runs.views.chart_names import names_answer, wanted_menu
from runs.views.live import is_seen, part_url
from runs.views.parts import wants_part
from runs.views.run_frame import VERSIONS, find_run, row_at, run_frame, run_url, version_text

LEVELS = 3
#: Runs read at once, for each level.
LEVEL_SIZE = 200
#: How often more can be asked for before a run's own page is the better place; each time costs 8 queries.
MOST_OPEN = 20
#: Deeper levels are drawn no further to the right.
DEEPEST_INDENT = 8


# Of the experiment, because that is one look into an index however large the family is.
_LEDGERS = MetricLedger.objects.filter(experiment=OuterRef("experiment")).order_by("-written_at")
_VERSIONS = VERSIONS.annotate(logged_at=Subquery(_LEDGERS.values("written_at")[:1]))


@dataclass(frozen=True)
class TreeRow:
    """A row of the tree: a run, or, with `n_more`, the place of those below `run` numbered beyond `after`."""

    run: Run
    depth: int
    n_more: int = 0
    after: int = 0

    @property
    def guides(self) -> list[int]:
        """Where the guide lines of the levels above stand, in pixels."""
        return [8 + 20 * level for level in range(min(self.depth, DEEPEST_INDENT))]

    @property
    def indent(self) -> int:
        """How far the name stands to the right, in pixels."""
        return 20 * min(self.depth, DEEPEST_INDENT)


@gzip_page
@require_safe
def run_children(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The tab or its live part, for which 204 means that neither tree nor metrics have changed.

    12 queries on top of the frame's 4, and 8 for each time more was asked for.
    """
    part, version = wants_part(request, "run-children"), _version(request, name, number)
    if part and is_seen(request, version):
        return HttpResponse(status=204)
    run = find_run(request, name, number)
    opened = _opened(request)
    chart = {key: request.GET[key] for key in ("over", "sum") if key in request.GET}
    find = request.GET.get("find", "").strip()
    request.GET = _state(opened, chart)  # type: ignore[assignment]
    rows = opened_rows(run, map(int, opened))
    found = child_names(_runs(rows), find) if find or wanted_menu(request) else []
    if menu := wanted_menu(request):
        return names_answer(request, menu, find, found)
    context: dict[str, Any] = {
        **run_frame(run, request, tab="children"),
        "rows": rows,
        "metrics": _metrics(request, run, rows),
        "children_url": run_url(run, "run-children"),
        "part_url": part_url(request.path, request.GET, version),
        "opened": ",".join(opened),
        "chart_query": f"&{urlencode(chart)}" if chart else "",
        "find": find,
        "found": found,
        "may_open": len(opened) < MOST_OPEN,
    }
    return render(request, "run/_children.html" if part else "run/run_children.html", context)


def _version(request: HttpRequest, name: str, number: int) -> str:
    """When the family last changed, and when a run of its experiment last wrote metrics. One query."""
    row = row_at(_VERSIONS, request, name, number)
    return f"{version_text(*row[:-1])}.{version_word(row[-1])}" if row else ""


def _opened(request: HttpRequest) -> list[str]:
    """The numbers of the runs below which more is shown, one for each time."""
    asked = request.GET.get("open", "").split(",")
    return [word for word in asked if word.isascii() and word.isdecimal() and len(word) < 16][:MOST_OPEN]


def _state(opened: Sequence[str], chart: Mapping[str, str]) -> QueryDict:
    """What of an address says what is shown."""
    state = QueryDict(mutable=True)
    state.update({"open": ",".join(opened)} if opened else {})
    state.update(chart)
    return state


def _runs(rows: Iterable[TreeRow]) -> list[Run]:
    return [row.run for row in rows if not row.n_more]


def _metrics(request: HttpRequest, run: Run, rows: Iterable[TreeRow]) -> ChildMetrics | None:
    runs = _runs(rows)
    over, sum_ = request.GET.get("over"), request.GET.get("sum", "")
    return child_metrics(run, runs, request.user, over=over, sum_=sum_)  # type: ignore[arg-type]


def opened_rows(run: Run, opened: Iterable[int]) -> list[TreeRow]:
    """The tree below a run, with more below the runs of these numbers, as often as each is named."""
    left, waiting, rows = Counter(opened), deque(tree_rows(run)), []
    while waiting:
        row = waiting.popleft()
        if row.n_more and left[row.run.number]:
            left[row.run.number] -= 1
            waiting.extendleft(reversed(tree_rows(row.run, after=row.after, depth=row.depth)))
        else:
            rows.append(row)
    return rows


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
        rows.append(TreeRow(parent, depth, n_more=n_children - len(known), after=last))
    return rows
