"""What pages show of metrics: the cards of a run's Metrics tab, tables of points, and images."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from zlib import crc32

from django.db.models import QuerySet

from runs.documents import Document, read_document
from runs.formats import exact_text, number_text, numbers_apart
from runs.lists.export import safe_cell
from runs.models import Artifact, Metric, MetricKind, Run
from runs.points import F8, NO_STEP, Points, Values, finite_number, value_text
from runs.services.metrics import columns_to_draw, drawn_columns, ends_of, iter_points

#: Cards of a page; the rest is on the next ones.
CARDS = 60
#: Rows of a table that its card shows, and that a page of a metric's points has.
PREVIEW, ROWS = 6, 200
#: Columns that a table shows; the rest is in its file.
COLUMNS = 50
#: The newest images of each name that are shown.
IMAGES = 100
DOCUMENTS = (
    MetricKind.CONFUSION_MATRIX,
    MetricKind.ACCURACY_TABLE,
    MetricKind.RESIDUALS,
    MetricKind.PREDICTIONS,
)


@dataclass(frozen=True)
class Shown:
    """A value as a table shows it; `is_odd` for what is no finite number but should be one.

    `exact` has all digits of a number whose `text` has not.
    """

    text: str
    is_number: bool = False
    is_odd: bool = False
    exact: str = ""

    @property
    def title(self) -> str:
        """All of it."""
        return self.exact or self.text


@dataclass
class Card:
    """One metric of the tab. `shape` is line, value, table, document or empty.

    A line is of `column`, one of the `columns` that could be drawn, by `x` ("" for steps or time).
    """

    metric: Metric
    shape: str
    column: str = ""
    x: str = ""
    columns: list[str] = field(default_factory=list)
    choices: list[tuple[str, str]] = field(default_factory=list)  # column and address, set by the view
    heads: list[Shown] = field(default_factory=list)
    rows: list[list[Shown]] = field(default_factory=list)
    document: Document | None = None
    document_text: str = ""

    @property
    def key(self) -> str:
        """A word for this metric that an id may hold."""
        return key_of(self.metric)

    @property
    def has_figures(self) -> bool:
        """Whether last, least and most are of what is drawn: a metric has them of its first column."""
        return self.shape == "value" or (self.shape == "line" and not self.x)

    @property
    def last(self) -> Shown:
        """What came last."""
        return shown_last(self.metric, self._texts[0])

    @property
    def count(self) -> str:
        """How many entries it has."""
        return number_text(self.metric.count)

    @property
    def least(self) -> Shown:
        """The least finite number."""
        return shown_number(self.metric.least, self._texts[1])

    @property
    def most(self) -> Shown:
        """The greatest finite number."""
        return shown_number(self.metric.most, self._texts[2])

    @cached_property
    def _texts(self) -> list[str]:
        return numbers_apart([self.metric.last, self.metric.least, self.metric.most])


@dataclass(frozen=True)
class CardPage:
    """The cards of a page by name, and the names that the pages around begin after ("" for none)."""

    cards: list[Card]
    after: str
    next_after: str
    found: int

    @property
    def groups(self) -> list[tuple[str, list[Card]]]:
        """The cards by what they look like: lines, then tables and documents, then single values."""
        looks = {"line": "lines", "table": "tables", "document": "tables"}
        groups: dict[str, list[Card]] = {"lines": [], "tables": [], "values": []}
        for card in self.cards:
            groups[looks.get(card.shape, "values")].append(card)
        return [(look, cards) for look, cards in groups.items() if cards]


def key_of(metric: Metric) -> str:
    """A word for this metric that an id or an address may hold."""
    return f"{crc32(metric.name.encode()):x}"


def last_value(metric: Metric) -> str | float | None:
    """What came last of a metric; a text of at most 255 letters for what is no number."""
    text = metric.last_text
    return float(text) if text in ("NaN", "Infinity", "-Infinity") else text or metric.last


def shown_last(metric: Metric, text: str) -> Shown:
    """What came last of a metric, as a table shows it: as `text` if it is a number."""
    return shown(last_value(metric)) if metric.last_text else shown_number(metric.last, text)


def shown_number(number: float | None, text: str) -> Shown:
    """A number that a table shows as `text`."""
    exact = "" if number is None else exact_text(number)
    return Shown(text, is_number=True, exact="" if exact == text else exact)


def card_page(
    run: Run, *, search: str = "", after: str = "", chosen: Mapping[str, str] | None = None
) -> CardPage:
    """Metrics of a run whose names hold `search`, by name. Queries: how many, the metrics, their ends.

    `chosen` has columns that are drawn, by the keys of their metrics.
    """
    rows = _named(run, search)
    found = rows.count()
    metrics = list(rows.filter(name__gt=after.replace("\0", "")).order_by("name")[: CARDS + 1])
    next_after = metrics[CARDS - 1].name if len(metrics) > CARDS else ""
    cards = [_card(metric, (chosen or {}).get(key_of(metric), "")) for metric in metrics[:CARDS]]
    _fill(cards)
    return CardPage(cards, after, next_after, found)


def document_card(metric: Metric) -> Card | None:
    """The card of a metric that is a document, with the newest one; None for other metrics. One query."""
    card = _card(metric, "")
    if card.shape != "document":
        return None
    _fill([card])
    return card


def _named(run: Run, search: str) -> QuerySet[Metric]:
    rows = Metric.objects.filter(run=run).exclude(kind=MetricKind.IMAGE)
    return rows.filter(name__icontains=search.replace("\0", "")) if search else rows


def _card(metric: Metric, chosen: str) -> Card:
    columns = columns_to_draw(metric)
    column, x = drawn_columns(metric, chosen if chosen in columns else "")
    return Card(metric, _shape(metric, x), column, x, columns)


def _shape(metric: Metric, x: str) -> str:
    if not metric.count:
        return "empty"
    if metric.kind in DOCUMENTS:
        return "document"
    if metric.kind in (MetricKind.ROW, MetricKind.TABLE) or len(metric.columns) > 1:
        return "line" if x and metric.count > 1 else "table"
    has_numbers = metric.last is not None or any(column["type"] == F8 for column in metric.columns)
    return "line" if has_numbers and metric.count > 1 else "value"


def _fill(cards: Sequence[Card]) -> None:
    """Give tables their first rows and documents their newest document. One query."""
    ends = ends_of([card.metric for card in cards if card.shape in ("table", "document")])
    for card in cards:
        if card.metric.pk not in ends:
            continue
        first, last = ends[card.metric.pk]
        if card.shape == "table":
            heads = [column["name"] for column in card.metric.columns][:COLUMNS]
            part = first.cut(0, PREVIEW)
            columns = [_shown_apart(part.columns.get(head, [None] * len(part))) for head in heads]
            card.heads = [
                Shown(head or "Value", is_number=all(cell.is_number for cell in cells if cell.text))
                for head, cells in zip(heads, columns, strict=True)
            ]
            card.rows = [list(cells) for cells in zip(*columns, strict=True)]
        else:
            document = next(iter(last.columns.values()))[-1]
            card.document = read_document(card.metric.kind, document)
            card.document_text = value_text(document)[:2_000]


# The points of one metric ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class PointRow:
    """An entry of a table of points; `number` counts from 1."""

    number: int
    step: int | None
    at: datetime
    cells: list[Shown]


@dataclass(frozen=True)
class PointPage:
    """Some entries of a metric, oldest first, and where the pages around begin (None for none)."""

    heads: list[str]
    rows: list[PointRow]
    has_steps: bool
    start: int
    before: int | None
    after: int | None


def point_page(metric: Metric, start: int) -> PointPage:
    """A page of a metric's points; a start beyond the end gives the last page. One query."""
    last_page = max(0, (metric.count - 1) // ROWS * ROWS)
    start = max(0, min(start, last_page))
    heads = [column["name"] for column in metric.columns][:COLUMNS]
    rows: list[PointRow] = []
    for at, part in iter_points(metric, start, start + ROWS, heads):
        rows += rows_of(part, heads, at)
    return PointPage(
        heads=[head or "Value" for head in heads],
        rows=rows,
        has_steps=any(row.step is not None for row in rows),
        start=start,
        before=max(0, start - ROWS) if start else None,
        after=start + ROWS if start < last_page else None,
    )


def rows_of(points: Points, heads: Sequence[str], start: int) -> list[PointRow]:
    """The entries as rows of these columns; `start` is the place of the first."""
    columns = [points.columns.get(head, [None] * len(points)) for head in heads]
    return [
        PointRow(
            number=start + at + 1,
            step=_step(points.steps, at),
            at=_moment(points.times[at]),
            cells=[shown(column[at]) for column in columns],
        )
        for at in range(len(points))
    ]


def _step(steps: array[int] | None, at: int) -> int | None:
    return None if steps is None or steps[at] == NO_STEP else steps[at]


def _moment(seconds: float) -> datetime:
    """A time of an entry; times that no calendar has become its ends."""
    return datetime.fromtimestamp(max(0.0, min(seconds, 253_402_300_799.0)), UTC)


def shown(value: Any) -> Shown:
    """A value as a table shows it."""
    if value is None:
        return Shown("")
    if isinstance(value, int) and not isinstance(value, bool):
        return Shown(f"{value:,}" if abs(value) < 10**16 else str(value)[:40], is_number=True)
    number = finite_number(value)
    if number is not None:
        return shown_number(number, number_text(number))
    text = value_text(value)
    cut = f"{text[:1_000]}…" if len(text) > 1_000 else text
    return Shown(cut, is_number=isinstance(value, float), is_odd=isinstance(value, float))


def _shown_apart(column: Values) -> list[Shown]:
    """A column with as many digits as tell its numbers apart; whole numbers have all of theirs."""
    numbers = [None if isinstance(value, int) else finite_number(value) for value in column]
    texts = numbers_apart(numbers)
    return [
        shown(value) if number is None else shown_number(number, text)
        for value, number, text in zip(column, numbers, texts, strict=True)
    ]


def csv_cells(metric: Metric) -> Iterator[list[Any]]:
    """A head line, then a line for each entry, exact. One query, read while it is sent."""
    heads = [column["name"] for column in metric.columns]
    yield ["entry", "step", "time", *(safe_cell(head or "value") for head in heads)]
    for start, part in iter_points(metric):
        columns: list[Values] = [part.columns.get(head, [None] * len(part)) for head in heads]
        for at in range(len(part)):
            step = _step(part.steps, at)
            values = [_exact(column[at]) for column in columns]
            yield [start + at + 1, "" if step is None else step, repr(part.times[at]), *values]


def _exact(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return safe_cell(value_text(value))
    return repr(value)


# Images ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """One logged image; `is_there` unless its file has not arrived."""

    path: str
    number: int
    step: int | None
    at: datetime
    is_there: bool


@dataclass(frozen=True)
class ImageGroup:
    """The images of one name, the newest first; `n_hidden` older ones are not shown."""

    metric: Metric
    images: list[Image]
    n_hidden: int


def image_groups(run: Run) -> list[ImageGroup]:
    """The images that a run has logged, by name. A query, one for each name, and one for the files."""
    groups: list[tuple[Metric, list[tuple[str, PointRow]]]] = []
    for metric in Metric.objects.filter(run=run, kind=MetricKind.IMAGE).order_by("name"):
        entries = []
        for start, part in iter_points(metric, max(0, metric.count - IMAGES)):
            paths = [_path(document) for document in next(iter(part.columns.values()))]
            entries += list(zip(paths, rows_of(part, [], start), strict=True))
        groups.append((metric, entries[::-1]))
    wanted = {path for _, entries in groups for path, _ in entries}
    there = set(Artifact.objects.filter(run=run, path__in=wanted).values_list("path", flat=True))
    return [
        ImageGroup(
            metric,
            [Image(path, row.number, row.step, row.at, path in there) for path, row in entries],
            metric.count - len(entries),
        )
        for metric, entries in groups
    ]


def _path(document: Any) -> str:
    """Where the file of a logged image lies."""
    path = document.get("path") if isinstance(document, dict) else document
    return path if isinstance(path, str) and "\0" not in path else ""
