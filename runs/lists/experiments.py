"""The rows of the Experiments page: each experiment with what is active in it and its last runs."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    Count,
    Expression,
    F,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from runs.charts import STRIP_BARS
from runs.lists.bars import Bar, bar_columns
from runs.lists.capped import CappedCount
from runs.lists.capped import Count as Capped
from runs.models import ComputeTarget, Experiment, Run
from runs.search.cursors import is_value
from runs.status import Status
from studio.accounts.models import Workspace

PAGE = 50
DEFAULT_ORDER = "-submitted"
_RUNS = Run.objects.filter(experiment=OuterRef("pk")).order_by()
_LATEST = _RUNS.order_by("-number")
_LATEST_COLUMNS = (
    "experiment_id", "number", "display_name", "step_name", "status", "started_at", "ended_at", "created_at",
    "submitter__username",
)  # fmt: skip


def _number(rows: QuerySet[Any], counted: Count) -> Expression:
    grouped = rows.values("experiment").annotate(n=counted).values("n")
    return Coalesce(Subquery(grouped, output_field=IntegerField()), Value(0))


def _of_latest(column: str) -> Expression:
    return Coalesce(Subquery(_LATEST.values(column)[:1]), Value(""))


_SORTS: dict[str, tuple[type, Expression | F]] = {
    "name": (str, F("name")),
    "active": (int, _number(_RUNS.active(), Count("pk"))),
    "targets": (int, _number(_RUNS.active(), Count("target", distinct=True))),
    "latest": (str, _of_latest("status")),
    "submitted": (int, Coalesce(Subquery(_LATEST.values("pk")[:1]), Value(0))),
    "runs": (int, F("last_number")),
    "submitter": (str, _of_latest("submitter__username")),
}


@dataclass
class ExperimentRow:
    """One experiment with its active runs and its last runs, oldest first."""

    experiment: Experiment
    active: int = 0
    troubled: bool = False  # one of the active runs does not respond
    targets: list[str] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    latest: Run | None = None  # a parent run rather than its children, which are newer


@dataclass(frozen=True)
class ExperimentPage:
    """Some rows, and the cursors of the pages around them ("" where there is none).

    `is_lost`: the page that was asked for cannot be found, and this is the first one.
    `is_order_lost`: so is the order that was asked for, and this is the usual one.
    """

    rows: list[ExperimentRow]
    order: str
    next_cursor: str = ""
    prev_cursor: str = ""
    is_lost: bool = False
    is_order_lost: bool = False


def experiment_page(
    experiments: QuerySet[Experiment], *, order: str = "", after: str = "", size: int = PAGE
) -> ExperimentPage:
    """One page, in 4 queries: experiments, their active runs, their last runs, the newest of each.

    An order or cursor that cannot be read gives the first page in the order of the newest run.
    """
    by = order.removeprefix("-")
    is_order_lost = bool(order) and by not in _SORTS
    if by not in _SORTS:
        order, by = DEFAULT_ORDER, DEFAULT_ORDER[1:]
    descending = order.startswith("-")
    cursor = _read_cursor(after, order)
    value, pk, backward = cursor or (None, 0, False)
    larger_next = descending == backward
    rows: QuerySet[Any] = experiments.annotate(sort_value=_SORTS[by][1])
    if cursor:
        way = "gt" if larger_next else "lt"
        rows = rows.filter(Q(**{f"sort_value__{way}": value}) | Q(**{"sort_value": value, f"pk__{way}": pk}))
    sign = "" if larger_next else "-"
    found = list(rows.order_by(f"{sign}sort_value", f"{sign}pk")[: size + 1])
    more, found = len(found) > size, found[:size]
    if backward:
        found.reverse()
    ahead, behind = (cursor is not None, more) if backward else (more, cursor is not None)
    return ExperimentPage(
        _filled(found),
        order,
        _cursor(order, found[-1], False) if ahead and found else "",
        _cursor(order, found[0], True) if behind and found else "",
        is_lost=bool(after) and cursor is None,
        is_order_lost=is_order_lost,
    )


def _cursor(order: str, experiment: Any, backward: bool) -> str:
    parts = json.dumps([order, experiment.sort_value, experiment.pk, int(backward)])
    return base64.urlsafe_b64encode(parts.encode()).decode().rstrip("=")


def _read_cursor(text: str, order: str) -> tuple[Any, int, bool] | None:
    try:
        written, value, pk, backward = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        return None
    kind = _SORTS[order.removeprefix("-")][0]
    if written != order or not is_value(value, kind) or not is_value(pk, int):
        return None
    return value, pk, backward == 1


class _LastOf(Func):
    """Whether a run is one of the last of these experiments.

    By numbers, each of which the index of numbers serves: to compare by a join, PostgreSQL reads all runs. As
    one expression: fifty of Django's own conditions take longer to write than to find the runs.
    """

    output_field = BooleanField()

    def __init__(self, experiments: Sequence[Experiment]) -> None:
        super().__init__(F("experiment_id"), F("number"))
        self.after = [(each.pk, each.last_number - STRIP_BARS) for each in experiments]

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *_: Any, **extra: Any) -> Any:
        """An OR of them."""
        experiment, number = (compiler.compile(column)[0] for column in self.source_expressions)
        each = [f"({experiment} = %s AND {number} > %s)"] * len(self.after)
        return f"({' OR '.join(each)})", tuple(chain.from_iterable(self.after))


def _filled(experiments: Sequence[Experiment]) -> list[ExperimentRow]:
    rows = {experiment.pk: ExperimentRow(experiment) for experiment in experiments}
    grouped = Run.objects.active().filter(experiment__in=rows).order_by()
    for group in (
        grouped.values("experiment_id", "target__name")
        .annotate(n=Count("pk"), troubled=Count("pk", filter=Q(status=Status.NOT_RESPONDING)))
        .order_by("-n")
    ):
        row = rows[group["experiment_id"]]
        row.active += group["n"]
        row.troubled |= group["troubled"] > 0
        if group["target__name"]:
            row.targets.append(group["target__name"])
    columns = bar_columns(timezone.now())
    last = Run.objects.filter(_LastOf(experiments)) if experiments else Run.objects.none()
    for experiment_id, *bar in last.order_by("number").values_list("experiment_id", *columns):
        rows[experiment_id].bars.append(Bar(*bar))
    newest = [_newest(row.bars).pk for row in rows.values() if row.bars]
    for run in Run.objects.filter(pk__in=newest).select_related("submitter").only(*_LATEST_COLUMNS):
        rows[run.experiment_id].latest = run
    return list(rows.values())


def _newest(bars: Sequence[Bar]) -> Bar:
    roots = [bar for bar in bars if bar.parent_pk is None]
    return (roots or bars)[-1]


@dataclass(frozen=True)
class Overview:
    """The numbers around the list."""

    current: Capped
    with_active: Capped
    archived: Capped
    active_runs: int
    active_targets: int
    targets: int

    @property
    def is_empty(self) -> bool:
        """Whether the workspace has no experiment at all."""
        return not (self.current.number or self.archived.number)


def _whole(rows: QuerySet[Any], counted: Count) -> Expression:
    grouped = rows.filter(workspace=OuterRef("pk")).order_by().values("workspace").annotate(n=counted)
    return Coalesce(Subquery(grouped.values("n"), output_field=IntegerField()), Value(0))


def _overviews() -> QuerySet[Any]:
    experiments = Experiment.objects.filter(workspace=OuterRef("pk"))
    busy = Run.objects.active().filter(workspace=OuterRef(OuterRef("pk"))).values("experiment")
    return Workspace.objects.values_list(
        CappedCount(experiments.current()),
        CappedCount(experiments.current().filter(pk__in=busy)),
        CappedCount(experiments.filter(archived_at__isnull=False)),
        _whole(Run.objects.active(), Count("pk")),
        _whole(Run.objects.active(), Count("target", distinct=True)),
        _whole(ComputeTarget.objects.all(), Count("pk")),
    )


_OVERVIEWS = _overviews()  # once: for each page anew that would take longer than the query itself


def overview(workspace: Workspace) -> Overview:
    """All of them in one query."""
    row = _OVERVIEWS.filter(pk=workspace.pk)[0]
    current, with_active, archived = map(Capped.capped, row[:3])
    return Overview(current, with_active, archived, *row[3:])
