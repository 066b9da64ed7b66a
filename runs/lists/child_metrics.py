"""Metrics on the Child runs tab: columns of the tree, and one of them by run number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias

from runs.lists.bars import median_duration
from runs.lists.columns import Column
from runs.lists.metric_columns import (
    Choice,
    MetricColumns,
    OverRuns,
    find_names,
    metric_cells,
    metric_widths,
    names_of,
    over_runs,
)
from runs.lists.metrics import Shown
from runs.models import MetricLedger, Run
from studio.accounts.models import User

#: Runs that the chart has room for.
CHART_RUNS = 100
#: Columns of metrics, and how many of them are there in windows of any width that has such columns.
_COLUMNS, _NARROW = 3, 2


Cells: TypeAlias = Mapping[int, Mapping[str, Shown]]


@dataclass(frozen=True)
class ChildMetrics:
    """What the tab shows of metrics: columns with their cells by run, and the runs of the chart."""

    columns: list[Column]
    cells: Cells
    bars: list[Run]
    drawn: OverRuns

    @property
    def median(self) -> timedelta | None:
        """The median duration of the runs in the chart."""
        return median_duration(self.bars)


def child_metrics(
    run: Run, runs: Sequence[Run], person: User, *, over: str | None, sum_: str
) -> ChildMetrics | None:
    """Metrics of these runs below `run`, None if they have none; `over` is None until somebody chose.

    Four queries: two for the names, the cells, the chart; one more if no run has what the person chose.
    """
    names = child_names(runs)
    if not names:
        return None
    choices, cells = _shown(runs, names, MetricColumns(person, run.experiment).chosen)
    if over is None:
        over = choices[0].name if choices else names[0]
    bars = [child for child in runs if child.experiment_id == run.experiment_id]
    bars = sorted(bars, key=lambda child: child.number)[-CHART_RUNS:]
    return ChildMetrics(
        metric_widths([_column(choice, at) for at, choice in enumerate(choices)], cells),
        cells,
        bars,
        over_runs(run.experiment, names, bars, over=over, sum_=sum_),
    )


def child_names(runs: Sequence[Run], find: str = "") -> list[str]:
    """Metrics with numbers of these runs, as `names_of`, or `find_names`. Two queries."""
    ledgers = MetricLedger.objects.filter(run__in=[child.pk for child in runs])
    return find_names(ledgers, find) if find else names_of(ledgers)


def _shown(
    runs: Sequence[Run], names: Sequence[str], chosen: Sequence[Choice] | None
) -> tuple[list[Choice], Cells]:
    """What the person chose for the experiment as far as there is any, else what most runs have."""
    if chosen:
        cells = metric_cells(runs, chosen)
        keys = {key for own in cells.values() for key in own}
        if own := [choice for choice in chosen if choice.column.key in keys][:_COLUMNS]:
            return own, cells
    usual = [Choice(name) for name in names[:_COLUMNS]] if chosen != [] else []
    return usual, metric_cells(runs, usual)


def _column(choice: Choice, at: int) -> Column:
    column = choice.column
    return column if at < _NARROW else replace(column, css=column.css.replace("from-1100", "from-1400"))
