"""Confusion matrix, accuracy table, residuals and predictions as drawings, each with its numbers as a table.

The documents are those of `log_confusion_matrix` and its kin: `{"schema_type", "schema_version", "data"}`.
What cannot be read as such gives None, and is shown as the text that it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from runs.axes import reach, tick_texts, ticks
from runs.formats import number_text, numbers_apart
from runs.points import finite_number

WIDTH, HEIGHT, LEFT, BASE, TOP, RIGHT = 420, 240, 44, 212, 10, 410
MOST_CLASSES = 100
SHADES = 9
SERIES = 6


@dataclass(frozen=True)
class Cell:
    """A cell of a confusion matrix: how often, and how dark, from 0 to SHADES."""

    text: str
    shade: int
    is_right: bool


@dataclass(frozen=True)
class Drawing:
    """A drawing with its caption, the lines of its legend, and the same as a table."""

    caption: str
    svg: SafeString
    legend: list[str]
    heads: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Document:
    """What is shown of one document: a matrix, drawings, or why it is neither."""

    labels: list[str] = field(default_factory=list)
    matrix: list[tuple[str, list[Cell]]] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    why_not: str = ""


def read_document(kind: str, document: Any) -> Document | None:
    """The document as it is drawn; None if it does not have the shape that its kind asks for."""
    try:
        return _READERS[kind](document["data"])
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError):
        return None


def _confusion_matrix(data: Any) -> Document:
    labels = [str(label) for label in data["class_labels"]]
    counts = [[_number(value) for value in row] for row in data["matrix"]]
    if not labels or {len(labels)} != {len(counts), *map(len, counts)}:
        raise ValueError("a row and a column for each class")
    if len(labels) > MOST_CLASSES:
        return Document(why_not=f"It has {len(labels):,} classes. More than {MOST_CLASSES} are not drawn.")
    rows = []
    for at, row in enumerate(counts):
        total = sum(row) or 1
        cells = [Cell(number_text(n), round(SHADES * max(0, n) / total), at == i) for i, n in enumerate(row)]
        rows.append((labels[at], cells))
    return Document(labels=labels, matrix=rows)


def _accuracy_table(data: Any) -> Document:
    labels = [str(label) for label in data["class_labels"]]
    tables = data["probability_tables"][:MOST_CLASSES]
    thresholds = [_number(value) for value in data["probability_thresholds"]]
    receiver, precision, rows = [], [], []
    for label, table in zip(labels, tables, strict=False):
        rates = [_rates(*map(_number, row)) for row in table]
        receiver.append([(false, recall) for recall, false, _ in rates])
        precision.append([(recall, exact) for recall, _, exact in rates])
        rows += [
            [label, number_text(at), *map(number_text, rate)]
            for at, rate in zip(thresholds, rates, strict=False)
        ]
    heads = ["class", "threshold", "true positive rate", "false positive rate", "precision"]
    unit = (0.0, 1.0)
    shown = labels[:SERIES]
    return Document(
        drawings=[
            Drawing("Receiver operating characteristic", _lines(receiver[:SERIES], unit, unit, diagonal=True),
                    shown, heads, rows),
            Drawing("Precision by recall", _lines(precision[:SERIES], unit, unit), shown, [], []),
        ]
    )  # fmt: skip


def _rates(true: float, false: float, rejected: float, missed: float) -> tuple[float, float, float]:
    """Recall, false positive rate and precision; precision is 1 where nothing is found."""
    recall = true / (true + missed) if true + missed else 0.0
    wrong = false / (false + rejected) if false + rejected else 0.0
    return recall, wrong, true / (true + false) if true + false else 1.0


def _residuals(data: Any) -> Document:
    edges = [_number(value) for value in data["bin_edges"]]
    counts = [_number(value) for value in data["bin_counts"]]
    # Azure's own examples have a bin before the first edge and one after the last.
    if len(counts) == len(edges) + 1:
        step = edges[1] - edges[0]
        edges = [edges[0] - step, *edges, edges[-1] + step]
    if len(edges) != len(counts) + 1:
        raise ValueError("an edge on both sides of each bin")
    spans = list(pairwise(edges))
    rows = [[*ends, number_text(n)] for ends, n in zip(pairwise(numbers_apart(edges)), counts, strict=True)]
    svg = _bars(spans, counts)
    return Document(
        drawings=[Drawing("Residuals: how many in each bin", svg, [], ["from", "to", "count"], rows)]
    )


def _predictions(data: Any) -> Document:
    averages = [_number(value) for value in data["bin_averages"]]
    errors = [_number(value) for value in data["bin_errors"]]
    edges = [_number(value) for value in data["bin_edges"]]
    counts = [_number(value) for value in data["bin_counts"]]
    middles = [(a + b) / 2 for a, b in pairwise(edges)]
    if not len(middles) == len(averages) == len(errors) == len(counts):
        raise ValueError("an average, an error and a count for each bin")
    spanned = [*edges, *(m - e for m, e in zip(averages, errors, strict=True)),
            *(m + e for m, e in zip(averages, errors, strict=True))]  # fmt: skip
    span = (min(spanned), max(spanned))
    points = list(zip(middles, averages, strict=True))
    svg = _lines([points], span, span, diagonal=True, errors=errors)
    heads = ["true value from", "to", "predicted on average", "error", "count"]
    ends = numbers_apart(edges)
    texts = [ends, ends[1:], *map(numbers_apart, (averages, errors, counts))]
    rows = [list(row) for row in zip(*texts, strict=False)]
    legend = ["predicted by true value, with its error"]
    return Document(drawings=[Drawing("Predicted by true value", svg, legend, heads, rows)])


_READERS: dict[str, Callable[[Any], Document]] = {
    "confusion_matrix": _confusion_matrix,
    "accuracy_table": _accuracy_table,
    "residuals": _residuals,
    "predictions": _predictions,
}


def _number(value: Any) -> float:
    number = finite_number(value)
    if number is None:
        raise ValueError("a finite number")
    return number


# Drawing ------------------------------------------------------------------------------------------------


def _scale(least: float, most: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: round(start + (value - least) / (most - least) * (end - start), 1)


def _svg(
    x: tuple[float, float], y: tuple[float, float], shapes: Callable[..., Iterable[SafeString]]
) -> SafeString:
    """A frame with both axes, and what `shapes` draws in it with the two scales."""
    x, y = reach(*x, 0), reach(*y, 0)
    across, up = _scale(*x, LEFT, RIGHT), _scale(*y, BASE, TOP)
    lines = format_html_join(
        "",
        '<line class="chart-grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
        '<text x="{3}" y="{4}" text-anchor="end">{5}</text>',
        ((LEFT, RIGHT, up(t), LEFT - 6, up(t) + 4, text) for t, text in tick_texts(ticks(*y))),
    )
    numbers = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle">{}</text>',
        ((across(t), BASE + 18, text) for t, text in tick_texts(ticks(*x))),
    )
    return format_html(
        '<svg class="chart document-chart" viewBox="0 0 {} {}" aria-hidden="true">{}{}{}</svg>',
        WIDTH, HEIGHT, lines, numbers, SafeString("".join(shapes(across, up))),
    )  # fmt: skip


def _lines(
    lines: Sequence[Sequence[tuple[float, float]]],
    x: tuple[float, float],
    y: tuple[float, float],
    *,
    diagonal: bool = False,
    errors: Sequence[float] = (),
) -> SafeString:
    def shapes(across: Callable[[float], float], up: Callable[[float], float]) -> Iterable[SafeString]:
        if diagonal:
            yield format_html('<line class="chart-median" x1="{}" y1="{}" x2="{}" y2="{}"/>',
                              across(x[0]), up(x[0]), across(x[1]), up(x[1]))  # fmt: skip
        for place, line in enumerate(lines, start=1):
            path = " ".join(f"{across(a)},{up(b)}" for a, b in line)
            yield format_html('<polyline class="chart-line series-{}" points="{}"/>', place, path)
        for (at, value), error in zip(lines[0], errors, strict=False):
            yield format_html('<line class="chart-line series-1" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
                              '<circle class="chart-dot series-1" cx="{0}" cy="{3}" r="3"/>',
                              across(at), up(value - error), up(value + error), up(value))  # fmt: skip

    return _svg(x, y, shapes)


def _bars(spans: Sequence[tuple[float, float]], counts: Sequence[float]) -> SafeString:
    def shapes(across: Callable[[float], float], up: Callable[[float], float]) -> Iterable[SafeString]:
        for (a, b), count in zip(spans, counts, strict=True):
            yield format_html('<rect class="chart-bar" x="{}" y="{}" width="{}" height="{}"/>', across(a),
                              up(count), max(1, round(across(b) - across(a) - 1, 1)),
                              round(max(0, BASE - up(count)), 1))  # fmt: skip

    return _svg((spans[0][0], spans[-1][1]), (0.0, max(*counts, 1e-12)), shapes)
