"""Metrics: written in batches, each exactly once, and read again; the only module that touches points.

A batch is one transaction: it holds the ledger of its run, takes the next number of its writer, adds to the
last block of each series or begins new ones, and brings the sums up to date. Whatever is killed at whatever
moment, a batch is stored whole or not at all, and sending it again changes nothing.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from runs.errors import InvalidInput, InvalidName, NotFound, OutOfOrder, StaleAttempt
from runs.lines import Line, empty_line, line_of, thin
from runs.models import Experiment, Metric, MetricBlock, MetricKind, MetricLedger, MetricWriter, Run
from runs.models.metric import NAME_LENGTH
from runs.points import (
    F8,
    I8,
    JSON,
    Points,
    Summary,
    Values,
    concatenated,
    narrow_type,
    nothing,
    pack,
    storable,
    summary,
    type_of,
    unpack,
)

#: Entries of a full block, and how many values it has at most where there are many columns.
BLOCK, BLOCK_VALUES = 4_096, 65_536
#: A block takes more entries while it has fewer than this, and fewer bytes than that.
OPEN_ENTRIES, OPEN_BYTES = 256, 16 << 10
#: What one batch may hold.
MOST_SERIES, MOST_VALUES, MOST_COLUMNS = 20_000, 1_000_000, 1_000
#: The widest chart that is worked out, in dots.
MOST_DOTS = 4_000
#: How a writer of batches may be called.
WRITER_PATTERN = r"[^\x00-\x1f\x7f-\x9f]{1,64}"
LAST_SEQ = 2**63 - 1
#: How many of an experiment's newest runs are looked at for those that have a metric.
NEWEST = 500

#: Columns of rows and tables that count what the others are about.
_COUNTING = frozenset({"epoch", "step", "global_step", "iteration", "iter", "batch", "round"})
_NAMES_AT_ONCE = 500
_ROWS_AT_ONCE = 64
_SUMS = ["description", "count", "last", "least", "most", "last_text", "columns", "tail_start"]


@dataclass(frozen=True)
class Series:
    """Entries to be added to the metric of this name. The first kind of a name stays its kind."""

    name: str
    points: Points
    kind: str = MetricKind.SCALAR
    description: str = ""


@dataclass(frozen=True)
class Stored:
    """How many entries a batch has added; none if it was stored before."""

    count: int
    is_duplicate: bool = False


@dataclass(frozen=True)
class Chart:
    """What a chart draws of one metric: `line` of the entries from `start` to before `end`.

    `is_whole` says that no entry was left out.
    """

    metric: Metric
    column: str
    x: str
    start: int
    end: int
    line: Line
    is_whole: bool


def write_metrics(
    run: Run, series: Sequence[Series], *, writer: str, seq: int, attempt: int | None = None
) -> Stored:
    """Add a batch: number `seq` (from 1) of this writer. One transaction, ten queries.

    A batch that was stored before is not stored again. Raises OutOfOrder if one before it is missing,
    StaleAttempt if the run is no longer at `attempt`, InvalidInput and InvalidName for what cannot be stored.
    """
    check_batch(series, writer, seq)
    with transaction.atomic():
        ledger, _ = MetricLedger.objects.select_for_update().get_or_create(
            run_id=run.pk, defaults={"experiment_id": run.experiment_id}
        )
        _check_attempt(run, attempt)
        if not _take_turn(run, writer, seq):
            return Stored(0, is_duplicate=True)
        _add(run, _by_name(series), ledger)
    return Stored(sum(len(one.points) for one in series))


def check_batch(series: Sequence[Series], writer: str, seq: int) -> None:
    """Raises InvalidInput or InvalidName, naming the first thing that is wrong."""
    if not re.fullmatch(WRITER_PATTERN, writer):
        raise InvalidInput(
            "A writer is named by 1 to 64 characters, none of them a control character.", field="writer"
        )
    if not 1 <= seq <= LAST_SEQ:
        raise InvalidInput("The batches of a writer are numbered from 1.", field="seq")
    if len(series) > MOST_SERIES:
        raise InvalidInput(f"A batch has at most {MOST_SERIES:,} series.", field="series")
    for one in series:
        _check_series(one)
    if sum(len(one.points) * len(one.points.columns) for one in series) > MOST_VALUES:
        raise InvalidInput(f"A batch has at most {MOST_VALUES:,} values; send several.", field="series")


def _check_series(series: Series) -> None:
    columns = series.points.columns
    for name in (series.name, *(name for name in columns if name)):
        if not 1 <= len(name) <= NAME_LENGTH or storable(name) != name:
            raise InvalidName(
                f"{name[:40]!r} has {len(name)} characters, or something in it that cannot be stored.",
                field="name",
                hint=f"Metrics and their columns have names of 1 to {NAME_LENGTH} characters.",
            )
    if series.kind not in MetricKind.values:
        raise InvalidInput(
            f"There is no kind of metric {series.kind[:40]!r}.",
            field="kind",
            hint=f"One of {', '.join(MetricKind.values)}.",
        )
    if not 1 <= len(columns) <= MOST_COLUMNS:
        raise InvalidInput(f"{series.name} has {len(columns):,} columns, not 1 to {MOST_COLUMNS:,}.")
    lengths = {len(values) for values in columns.values()} | {len(series.points)}
    steps = series.points.steps
    if len(lengths) > 1 or (steps is not None and len(steps) != len(series.points)):
        raise InvalidInput(f"The columns, steps and times of {series.name} differ in length.", field="series")


def _check_attempt(run: Run, attempt: int | None) -> None:
    current = Run.objects.filter(pk=run.pk).values_list("attempt", flat=True).first()
    if current is None:
        raise NotFound("There is no such run.")
    if attempt is not None and attempt != current:
        raise StaleAttempt(
            f"The run is at attempt {current}, so attempt {attempt} can no longer write its metrics."
        )


def _take_turn(run: Run, writer: str, seq: int) -> bool:
    """Whether this batch is the next of its writer; False if it was stored before. Raises OutOfOrder."""
    mine = MetricWriter.objects.filter(run=run, writer=writer)
    if mine.filter(seq=seq - 1).update(seq=seq):
        return True
    last = mine.values_list("seq", flat=True).first() or 0
    if seq <= last:
        return False
    if seq > last + 1:
        raise OutOfOrder(f"Batch {last + 1:,} has to come before batch {seq:,}.", expected=last + 1)
    MetricWriter.objects.create(run=run, writer=writer, seq=seq)
    return True


def _by_name(series: Iterable[Series]) -> dict[str, Series]:
    """One series for each name, with the entries of all that have it."""
    merged: dict[str, Series] = {}
    for one in series:
        known = merged.get(one.name)
        if known is not None:
            one = Series(
                one.name, known.points.plus(one.points), known.kind, one.description or known.description
            )
        merged[one.name] = one
    return merged


def _add(run: Run, series: dict[str, Series], ledger: MetricLedger) -> None:
    """Store the points and the sums of each series."""
    known = _metrics_named(run, list(series))
    tails = _tails(list(known.values()))
    new, blocks = [], []
    for name, one in series.items():
        metric = known.get(name)
        if metric is None:
            metric = Metric(run=run, name=name, kind=one.kind)
            new.append(metric)
        blocks.append((metric, _cut(metric, tails.get(metric.pk), one.points)))
        _sum_up(metric, one)
        if metric.kind == MetricKind.IMAGE:
            ledger.images += len(one.points)
    Metric.objects.bulk_create(new)
    Metric.objects.bulk_create(
        known.values(), update_conflicts=True, unique_fields=["id"], update_fields=_SUMS
    )
    for metric, cut in blocks:
        for block in cut:
            block.metric = metric
    MetricBlock.objects.bulk_create(
        [block for _, cut in blocks for block in cut],
        update_conflicts=True, unique_fields=["metric", "start"], update_fields=["count", "is_open", "data"],
    )  # fmt: skip
    ledger.names += sum(metric.kind != MetricKind.IMAGE for metric in new)
    MetricLedger.objects.filter(pk=ledger.pk).update(
        names=ledger.names, images=ledger.images, written_at=Now()
    )


def _metrics_named(run: Run, names: Sequence[str]) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for start in range(0, len(names), _NAMES_AT_ONCE):
        rows = Metric.objects.filter(run=run, name__in=names[start : start + _NAMES_AT_ONCE])
        found |= {metric.name: metric for metric in rows}
    return found


def _tails(metrics: Sequence[Metric]) -> dict[int, Points]:
    """The last block of each metric that takes more entries."""
    tails: dict[int, Points] = {}
    for start in range(0, len(metrics), _NAMES_AT_ONCE):
        rows = MetricBlock.objects.filter(
            metric__in=metrics[start : start + _NAMES_AT_ONCE], start=F("metric__tail_start"), is_open=True
        )
        tails |= {pk: unpack(bytes(data)) for pk, data in rows.values_list("metric_id", "data")}
    return tails


def _shape(points: Points) -> list[tuple[str, str]]:
    return [(name, type_of(values)) for name, values in points.columns.items()]


def _cut(metric: Metric, tail: Points | None, points: Points) -> list[MetricBlock]:
    """The blocks that hold these points, the first of them with the tail that it replaces."""
    start = metric.count
    # Values of another type would turn a whole block into JSON; few of them may.
    if tail is not None and (_shape(tail) == _shape(points) or len(tail) + len(points) < OPEN_ENTRIES):
        start, points = metric.tail_start, tail.plus(points)
    size = max(1, min(BLOCK, BLOCK_VALUES // len(points.columns)))
    blocks = []
    for at in range(0, len(points), size):
        part = points.cut(at, at + size)
        data = pack(part, compressed=False)
        is_open = len(part) < OPEN_ENTRIES and len(data) < OPEN_BYTES
        if not is_open:
            data = pack(part, compressed=True)
        blocks.append(MetricBlock(start=start + at, count=len(part), is_open=is_open, data=data))
    if blocks:
        metric.tail_start = blocks[-1].start
    return blocks


def _sum_up(metric: Metric, series: Series) -> None:
    """Bring count, columns and sums of a metric up to date."""
    points = series.points
    known = {column["name"]: column for column in metric.columns}
    names = dict.fromkeys([*known, *points.columns])
    metric.columns = [
        _column(name, known.get(name), points, had=metric.count, is_alone=len(names) == 1) for name in names
    ]
    shown = next((column for column in metric.columns if column["last"] is not None), metric.columns[0])
    metric.last, metric.least, metric.most = shown["last"], shown["least"], shown["most"]
    metric.last_text = shown["text"]
    metric.description = storable(series.description) or metric.description
    metric.count += len(points)


def _column(
    name: str, known: dict[str, Any] | None, points: Points, *, had: int, is_alone: bool
) -> dict[str, Any]:
    """What is known of a column after these points; `had` entries were there before.

    Unless it `is_alone` its last value is that of the last entry that has one.
    """
    values = points.columns.get(name, nothing(len(points)))
    types = {narrow_type(values)} if len(points) or not known else set()
    types |= {known["type"] if known else JSON} if had else set()
    was = Summary(known["last"], known["least"], known["most"], known["text"]) if known else Summary()
    said = values if is_alone else _without_end(values)
    now = was.plus(summary(said), len(said))
    return {
        "name": name,
        "type": JSON if JSON in types else F8 if F8 in types else I8,
        "last": now.last,
        "least": now.least,
        "most": now.most,
        "text": now.text,
    }


def _without_end(values: Values) -> Values:
    """The values up to the last that is there."""
    end = len(values)
    while end and values[end - 1] is None:
        end -= 1
    return values[:end]


# Reading ------------------------------------------------------------------------------------------------


def find_metric(run: Run, name: str) -> Metric:
    """The metric of this name. One query. Raises NotFound."""
    metric = Metric.objects.filter(run=run, name=name).first() if "\0" not in name else None
    if metric is None:
        raise NotFound(f"The run has no metric {name[:NAME_LENGTH]}.", field="name")
    return metric


def metrics_of(runs: Collection[int], names: Collection[str] | None = None) -> list[Metric]:
    """The metrics of the runs with these keys, or those of these names, in the order of their first entry."""
    rows = Metric.objects.filter(run__in=runs).order_by("run", "id")
    if names is not None:
        rows = rows.filter(name__in=[name for name in names if "\0" not in name])
    return list(rows)


def newest_with(experiment: Experiment, name: str, count: int) -> list[Metric]:
    """The metric of this name of the newest runs of an experiment that have it, each with its run.

    Looks at the newest runs alone, so that it costs the same in an experiment of any size. One query.
    """
    newest = Run.objects.filter(experiment=experiment, archived_at=None).order_by("-pk")[:NEWEST]
    rows = Metric.objects.filter(run__in=newest.values("pk"), name=name.replace("\0", ""))
    return list(rows.select_related("run").defer("run__search_text").order_by("-run")[:count])


def read_points(metrics: Sequence[Metric]) -> dict[int, Points]:
    """All points of each of these metrics, by the metric's key. One query; holds all of them in memory."""
    found = {metric.pk: _no_points(metric) for metric in metrics}
    for pk, blocks in _by_metric(MetricBlock.objects.filter(metric__in=found)):
        found[pk] = concatenated([unpack(data) for _, data in blocks])
    return found


def _no_points(metric: Metric) -> Points:
    return Points({column["name"]: [] for column in metric.columns}, array("d"))


def ends_of(metrics: Sequence[Metric]) -> dict[int, tuple[Points, Points]]:
    """The first and the last block of each of these metrics that has points, by its key. One query."""
    rows = MetricBlock.objects.filter(
        Q(start=0) | Q(start=F("metric__tail_start")), metric__in=[metric.pk for metric in metrics]
    )
    ends: dict[int, tuple[Points, Points]] = {}
    for pk, blocks in _by_metric(rows):
        for _, data in blocks:
            points = unpack(data)
            ends[pk] = (ends[pk][0] if pk in ends else points, points)
    return ends


def iter_points(
    metric: Metric, start: int = 0, end: int | None = None, columns: Collection[str] | None = None
) -> Iterator[tuple[int, Points]]:
    """The entries from `start` to before `end`, as portions with the place of their first. One query."""
    end = metric.count if end is None else min(end, metric.count)
    rows = MetricBlock.objects.filter(metric=metric, start__lt=end, start__gt=start - BLOCK)
    for _, blocks in _by_metric(rows):
        for at, data in blocks:
            part = unpack(data, columns)
            first, last = max(start - at, 0), min(end - at, len(part))
            if first < last:
                yield at + first, part if last - first == len(part) else part.cut(first, last)


def _by_metric(rows: QuerySet[MetricBlock]) -> Iterator[tuple[int, Iterator[tuple[int, bytes]]]]:
    """Blocks as (start, data) by the key of their metric, in order; read while they are used."""
    found = rows.order_by("metric", "start").values_list("metric_id", "start", "data")
    for pk, group in groupby(found.iterator(chunk_size=_ROWS_AT_ONCE), key=itemgetter(0)):
        yield pk, ((start, bytes(data)) for _, start, data in group)


def chart(
    metric: Metric,
    column: str = "",
    x: str = "",
    *,
    dots: int = 1_000,
    start: int = 0,
    end: int | None = None,
) -> Chart:
    """What to draw of a column: all entries if they are few, else the extremes of `dots` stretches.

    `x` names a column that lies on the other axis. One query.
    """
    end = metric.count if end is None else max(0, min(end, metric.count))
    start = max(0, min(start, end))
    wanted = {column, x} if x else {column}
    lines = (line_of(part, column, x, at) for at, part in iter_points(metric, start, end, wanted))
    return _thinned(metric, column, x, start, end, lines, dots)


def charts(
    metrics: Sequence[Metric], *, dots: int = 300, columns: Mapping[str, str] | None = None
) -> list[Chart]:
    """A chart of each of these metrics, in their order, of the column that `columns` has for its name.

    Without one it is the column that the metric is drawn by. One query.
    """
    chosen = columns or {}
    asked = {one.pk: (one, *drawn_columns(one, chosen.get(one.name, ""))) for one in metrics}
    found: dict[int, Chart] = {}
    for pk, blocks in _by_metric(MetricBlock.objects.filter(metric__in=asked)):
        metric, column, x = asked[pk]
        wanted = {column, x} if x else {column}
        lines = (line_of(unpack(data, wanted), column, x, start) for start, data in blocks)
        found[pk] = _thinned(metric, column, x, 0, metric.count, lines, dots)
    empty = empty_line()
    return [found.get(pk) or Chart(metric, column, x, 0, 0, empty, True)
            for pk, (metric, column, x) in asked.items()]  # fmt: skip


def _thinned(
    metric: Metric, column: str, x: str, start: int, end: int, lines: Iterator[Line], dots: int
) -> Chart:
    dots = max(1, min(dots, MOST_DOTS))
    is_whole = end - start <= 2 * dots  # as many as two extremes of each stretch
    size = 1 if is_whole else -(-(end - start) // dots)
    return Chart(metric, column, x, start, end, thin(lines, size), is_whole)


def drawn_columns(metric: Metric, chosen: str = "") -> tuple[str, str]:
    """The column that a metric's chart draws, and the one on its other axis ("" for steps or time).

    `chosen` if that is one of its columns, else the first one with numbers that is not the axis.
    """
    x, names = _axis(metric), [column["name"] for column in metric.columns]
    if chosen and chosen in names:
        return chosen, "" if x == chosen else x
    columns = columns_to_draw(metric)
    telling = [name for name in columns if name.casefold() not in _COUNTING]
    return (telling or columns or names or [""])[0], x


def columns_to_draw(metric: Metric) -> list[str]:
    """The columns with numbers, without the one on the other axis."""
    x = _axis(metric)
    return [name for name in _numeric(metric) if not x or name != x]


def _axis(metric: Metric) -> str:
    """The column of a row or table that its chart draws the others against, "" for none.

    One that counts: it is called so and has room for a number of its own in each row, or it goes up by one
    from row to row. Else the first of exactly two. None where "" holds what was logged without a row.
    """
    numeric, known = _numeric(metric), {column["name"]: column for column in metric.columns}
    if metric.kind not in (MetricKind.ROW, MetricKind.TABLE) or len(numeric) < 2 or "" in known:
        return ""
    spans = {name: known[name]["most"] - known[name]["least"] for name in numeric}
    # Epochs may be parts of whole ones.
    rooms = {name: metric.count - 1 if known[name]["type"] == I8 else 0 for name in numeric}
    grows = {name for name in numeric if known[name]["last"] == known[name]["most"]}
    named = [name for name in grows if name.casefold() in _COUNTING and spans[name] >= rooms[name]]
    if named:
        return max(named, key=spans.__getitem__)
    first = numeric[0]
    counts = first in grows and known[first]["type"] == I8 and spans[first] == metric.count - 1
    return first if counts or len(numeric) == 2 == len(known) else ""


def _numeric(metric: Metric) -> list[str]:
    return [column["name"] for column in metric.columns if column["last"] is not None]
