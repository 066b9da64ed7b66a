"""Metrics on the page of an experiment: columns of its table, and its charts of a metric over runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import ClassVar
from zlib import crc32

from django.db.models import F, QuerySet

from runs.charts import BarRun
from runs.formats import numbers_apart
from runs.lists.columns import Column
from runs.lists.metrics import Shown, last_value, shown_last, shown_number
from runs.models import Experiment, Metric, MetricLedger, Run
from runs.search.cursors import SUMS, metric_order
from runs.services.metrics import drawn_columns, newest_with
from studio.accounts.models import User
from studio.accounts.services import remember_choice

#: Runs, and metrics of theirs, that are looked at for names that may be chosen; and those that are searched.
_RUNS, _METRICS, _SEARCHED = 20, 1_000, 20_000
#: Columns that are there until a person chooses, and that can be there at most.
_AT_FIRST, MOST = 2, 20
#: How wide a column is for texts of so many letters; the widest has room for any number.
_WIDTHS = ((10, "w-86"), (14, "w-120"), (19, "w-162"), (99, "w-208"))
#: Metrics that the dialog offers.
OFFERED = 100
#: Runs of which the curves are drawn.
CURVES = 5
_KEY = "metric_columns"


@dataclass(frozen=True)
class Choice:
    """A metric as a column: its name, and which of its sums is shown."""

    name: str
    sum: str = "last"

    @property
    def column(self) -> Column:
        """The column of the table."""
        title = self.name if self.sum == "last" else f"{self.name} {self.sum}"
        key = metric_order(self.name, self.sum)
        return Column(key, title, "w-86", key, "num cut from-1100")


@dataclass(frozen=True)
class Curve:
    """A run whose curve is drawn: the row of the legend, which is also the table beside the chart."""

    run: Run
    last: Shown
    least: str
    most: str


@dataclass(frozen=True)
class OverRuns:
    """A metric by run number: the `names` that can be chosen, and the one that is drawn, `over`.

    "" stands for the durations. `values` has its `sum` for each of the runs that has it, by number; what came
    last may be NaN or infinite. A run that logged a text last has none. `unknown` is a name that was asked
    for and that no run has.
    """

    names: list[str]
    over: str
    sum: str
    values: dict[int, float]
    unknown: str
    sums: ClassVar[tuple[str, ...]] = tuple(SUMS)

    @property
    def n_odd(self) -> int:
        """How many of the values are NaN or infinite."""
        return sum(not math.isfinite(value) for value in self.values.values())


@dataclass(frozen=True)
class MetricCharts(OverRuns):
    """The metric charts of an experiment: beside the one by run number, curves of the runs that have one.

    `unknown_curve` is a name that was asked for and that none of the newest runs has.
    """

    curve: str
    curves: list[Curve]
    unknown_curve: str


def metric_names(experiment: Experiment, find: str = "") -> list[str]:
    """Metrics with numbers of an experiment's runs that wrote last, as `names_of`, or `find_names`."""
    ledgers = MetricLedger.objects.filter(experiment=experiment, run__archived_at=None)
    return find_names(ledgers, find) if find else names_of(ledgers)


def names_of(ledgers: QuerySet[MetricLedger]) -> list[str]:
    """Metrics with numbers of those that wrote last, those that most of them have first. Two queries.

    Runs with few names go first, and not too many names are looked at: one sweep over thousands of layers
    neither hides what all other runs log nor makes the page slow.
    """
    rows = Metric.objects.filter(run__in=_looked_at(ledgers, _METRICS), last__isnull=False)
    counts = Counter(rows.order_by("-run", "id").values_list("name", flat=True)[:_METRICS])
    return [name for name, _ in counts.most_common()]


def find_names(ledgers: QuerySet[MetricLedger], text: str) -> list[str]:
    """The first metrics with numbers by name, of those that wrote last, whose names hold `text`. Two queries.

    It is the one to ask where `names_of` leaves out runs with thousands of names.
    """
    rows = Metric.objects.filter(run__in=_looked_at(ledgers, _SEARCHED), last__isnull=False)
    found = rows.filter(name__icontains=text.replace("\0", "")).order_by("name")
    return list(found.values_list("name", flat=True).distinct()[:OFFERED])


def _looked_at(ledgers: QuerySet[MetricLedger], most: int) -> list[int]:
    """Of the runs that wrote last one or more: those with the fewest names, `most` of them together."""
    newest = list(ledgers.order_by("-written_at").values_list("names", "run_id")[:_RUNS])
    looked_at, left = [], most
    for names, run in sorted(newest):
        if left == most or names <= left:
            looked_at.append(run)
            left -= min(names, left)
    return looked_at


class MetricColumns:
    """The metrics that a person's table of an experiment shows: the first ones until they choose."""

    def __init__(self, person: User, experiment: Experiment) -> None:
        self.experiment = experiment
        kept = person.preferences.get(_KEY, {}).get(str(experiment.pk))
        self.kept: list[str] | None = list(map(str, kept)) if isinstance(kept, list) else None

    @cached_property
    def names(self) -> list[str]:
        """The metrics that can be chosen. Two queries."""
        return metric_names(self.experiment)

    @cached_property
    def chosen(self) -> list[Choice] | None:
        """What the person chose, None for nothing yet; costs no query."""
        if self.kept is None:
            return None
        choices = [Choice(name, sum_) for sum_, _, name in (key.partition(":") for key in self.kept)]
        return [choice for choice in choices if choice.sum in SUMS][:MOST]

    @cached_property
    def choices(self) -> list[Choice]:
        """What the table shows; asks for the names while nothing was chosen."""
        if self.chosen is None:
            return [Choice(name) for name in self.names[:_AT_FIRST]]
        return self.chosen

    def version(self, written: str) -> str:
        """What of a list's version comes from metrics, last `written` then; costs no query."""
        if self.kept == []:
            return "0"
        return f"{written}.{crc32(repr(self.kept).encode()):x}"


def offered_metrics(
    person: User, experiment: Experiment, *, find: str = "", asked: Sequence[Choice] | None = None
) -> list[tuple[str, str]]:
    """Each metric that can be a column with what of it is shown ("" for nothing), those that are first.

    `find` offers, beside those that are shown, metrics whose names hold it; `asked` stands for what is shown.
    """
    metrics = MetricColumns(person, experiment)
    shown = [(choice.name, choice.sum) for choice in (metrics.choices if asked is None else asked)]
    names = metric_names(experiment, find) if find else metrics.names
    known = {name for name, _ in shown}
    others = [(name, "") for name in names if name not in known]
    return [*shown, *others[: max(0, OFFERED - len(shown))]]


def choose_metrics(person: User, experiment: Experiment, choices: Iterable[Choice] | None) -> None:
    """Keep a person's choice for an experiment; None goes back to what is shown at first."""
    keys = None
    if choices is not None:
        known = [choice for choice in choices if choice.sum in SUMS and choice.name]
        keys = [f"{choice.sum}:{choice.name}" for choice in known[:MOST]]
    remember_choice(person, _KEY, str(experiment.pk), keys)


def metric_cells(runs: Iterable[Run], choices: Sequence[Choice]) -> dict[int, dict[str, Shown]]:
    """What the columns of these metrics show, by run and column. One query, none without choices."""
    cells: dict[int, dict[str, Shown]] = {}
    found = _metrics(runs, choices)
    for choice in choices:
        metrics = [metric for (_, name), metric in found.items() if name == choice.name]
        texts = numbers_apart([getattr(metric, SUMS[choice.sum]) for metric in metrics])
        for metric, text in zip(metrics, texts, strict=True):
            cells.setdefault(metric.run_id, {})[choice.column.key] = _shown(metric, choice.sum, text)
    return cells


def metric_widths(columns: Iterable[Column], cells: Mapping[int, Mapping[str, Shown]]) -> list[Column]:
    """These columns, those of metrics as wide as the numbers that they show in `cells`."""
    longest: dict[str, int] = {}
    for own in cells.values():
        for key, shown in own.items():
            longest[key] = max(longest.get(key, 0), len(shown.text) if shown.is_number else 0)
    return [
        replace(column, width=next(width for most, width in _WIDTHS if longest[column.key] <= most))
        if column.key in longest
        else column
        for column in columns
    ]


def with_values(
    runs: Iterable[Run], choices: Sequence[Choice], *, at_once: int
) -> Iterator[tuple[Run, list[str | float | None]]]:
    """Each run with the exact values of these columns. A query for every `at_once` runs."""
    left = iter(runs)
    while chunk := list(islice(left, at_once)):
        found = _metrics(chunk, choices)
        for run in chunk:
            metrics = [(found.get((run.pk, choice.name)), choice.sum) for choice in choices]
            yield run, [_value(metric, sum_) if metric else None for metric, sum_ in metrics]


def _metrics(runs: Iterable[Run], choices: Sequence[Choice]) -> dict[tuple[int, str], Metric]:
    if not choices:
        return {}
    names = {choice.name for choice in choices}
    rows = Metric.objects.filter(run__in={run.pk for run in runs}, name__in=names)
    return {(metric.run_id, metric.name): metric for metric in rows.defer("columns", "description")}


def _value(metric: Metric, sum_: str) -> str | float | None:
    return last_value(metric) if sum_ == "last" else getattr(metric, SUMS[sum_])


def _shown(metric: Metric, sum_: str, text: str) -> Shown:
    return shown_last(metric, text) if sum_ == "last" else shown_number(getattr(metric, SUMS[sum_]), text)


def metric_charts(
    experiment: Experiment, names: list[str], bars: Sequence[BarRun], *, curve: str, over: str, sum_: str
) -> MetricCharts:
    """What the charts show: for names that no run has the first one, and durations. Three queries at most."""
    curve = curve.replace("\0", "")
    rows = newest_with(experiment, curve, CURVES) if curve else []
    unknown_curve = "" if rows else curve
    if not rows:
        curve = names[0] if names else ""
        rows = newest_with(experiment, curve, CURVES) if curve else []
    figures = [_figures(m) for m in rows]
    texts = iter(numbers_apart([number for three in figures for number in three]))
    curves = [
        Curve(m.run, _last(m, three[0], next(texts)), next(texts), next(texts))
        for m, three in zip(rows, figures, strict=True)
    ]
    drawn = over_runs(experiment, names, bars, over=over, sum_=sum_)
    return MetricCharts(
        names, drawn.over, drawn.sum, drawn.values, drawn.unknown, curve, curves, unknown_curve
    )


def _figures(metric: Metric) -> tuple[float | None, float | None, float | None]:
    """Last, least and most of the column that the metric's chart draws."""
    column, x = drawn_columns(metric)
    drawn = next((one for one in metric.columns if one["name"] == column), None)
    if not x or drawn is None:
        return metric.last, metric.least, metric.most
    return drawn["last"], drawn["least"], drawn["most"]


def _last(metric: Metric, number: float | None, text: str) -> Shown:
    """What came last of that column; of one that is drawn by another it is a number."""
    return shown_number(number, text) if drawn_columns(metric)[1] else shown_last(metric, text)


def over_runs(
    experiment: Experiment, names: list[str], bars: Sequence[BarRun], *, over: str, sum_: str
) -> OverRuns:
    """A metric of these runs of an experiment, durations for a name that none has. One query at most."""
    over, sum_ = over.replace("\0", ""), sum_ if sum_ in SUMS else "last"
    values: dict[int, float] = {}
    unknown = ""
    if over:
        found = Metric.objects.filter(
            run__experiment=experiment, run__number__in=[bar.number for bar in bars], name=over
        ).annotate(number=F("run__number"))
        rows = list(found.defer("columns", "description"))
        shown = {metric.number: _value(metric, sum_) for metric in rows}
        values = {number: value for number, value in shown.items() if isinstance(value, float)}
        if not rows and over not in names:
            over, unknown = "", over
    return OverRuns(names, over, sum_, values, unknown)
