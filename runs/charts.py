"""Bars of runs as SVG: the strip of the last runs, and the duration chart of an experiment.

Both take runs oldest first; of each they read `number`, `name`, `status` and `duration` (timedelta or None).
Heights are pixels and stand in SVG attributes, so a page needs no inline style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from runs.formats import duration_text
from runs.status import ON_NODE, Status

STRIP_BARS = 20
BAR, GAP, STRIP_HEIGHT, STRIP_BASE = 5, 2, 26, 21
GROWING = ON_NODE - {Status.CANCEL_REQUESTED, Status.NOT_RESPONDING}
PLOT_HEIGHT, PLOT_BASE, PLOT_TOP = 176, 152, 14
LABEL_WIDTH = 14.0  # percent: what "59m 59s" takes where the plot is narrowest
STEPS_S = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 240, 300, 600, 900,
    1800, 3600, 7200, 14400, 21600, 43200, 86400,
]  # fmt: skip


class BarRun(Protocol):
    """What a bar shows of a run."""

    @property
    def number(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def status(self) -> str: ...

    @property
    def duration(self) -> timedelta | None: ...


def _seconds(run: BarRun) -> float:
    duration = run.duration
    return duration.total_seconds() if duration else 0.0


def _label(run: BarRun, duration: timedelta | None) -> str:
    return f"#{run.number} {run.name}: {run.status}, {duration_text(duration)}"


def _strip_bar(run: BarRun, x: int, share: float) -> str:
    """The shapes of one bar: a stub, hollow, solid, with a cap while it grows, with a mark if it failed."""
    kind = run.status.lower()
    if run.status == Status.NOT_STARTED:
        return ""
    if run.status == Status.QUEUED:
        return _rect(kind, x, STRIP_BASE - 3, BAR, 3)
    height = max(3, round(18 * min(1.0, share)))
    y = STRIP_BASE - height
    if run.status == Status.CANCELED:
        return _rect(kind, x + 0.5, y + 0.5, BAR - 1, height - 1)
    shapes = [_rect(kind, x, y, BAR, height)]
    if run.status in GROWING:
        shapes.append(_rect(kind, x, y - 3, BAR, 1.5))
    if run.status == Status.FAILED:
        shapes.append(_rect(kind, x, STRIP_BASE + 2, BAR, 2))
    return "".join(shapes)


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="bar bar-{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="1"/>'


def strip_svg(runs: Sequence[BarRun], base_url: str) -> SafeString:
    """The last 20 runs as bars, the newest at the right; each links to `base_url`runs/<number>/."""
    runs = runs[-STRIP_BARS:]
    width = STRIP_BARS * (BAR + GAP) - GAP
    durations = [run.duration for run in runs]
    seconds = [duration.total_seconds() if duration else 0.0 for duration in durations]
    top_s = max(seconds, default=0) or 1.0
    # A list page has a thousand bars, so only what a person wrote is escaped: all of it would cost 10 ms.
    base_url, bars = escape(base_url), ""
    for at, run in enumerate(runs):
        x, label = (STRIP_BARS - len(runs) + at) * (BAR + GAP), escape(_label(run, durations[at]))
        bars += (
            f'<a href="{base_url}runs/{run.number}/" tabindex="-1" aria-label="{label}">'
            f"<title>{label}</title>{_strip_bar(run, x, seconds[at] / top_s)}"
            f'<rect class="bar-hit" x="{x - 1}" y="0" width="7" height="26"/></a>'
        )
    return format_html(
        '<svg class="strip" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="group" '
        'aria-label="Last {n} run{s}">'
        '<line class="strip-base" x1="0" x2="{w}" y1="{base}" y2="{base}"/>{bars}</svg>',
        w=width, h=STRIP_HEIGHT, n=len(runs), s="" if len(runs) == 1 else "s",
        base=STRIP_BASE + 0.5, bars=mark_safe(bars),  # noqa: S308
    )  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """The time axis of the duration chart: up to `top_s`, a line every `step_s`."""

    top_s: float
    step_s: float

    def y(self, seconds: float) -> float:
        """Where a duration ends, in pixels from the top; what is beyond the scale ends at the top."""
        return round(PLOT_BASE - (PLOT_BASE - PLOT_TOP) * min(1.0, seconds / self.top_s), 1)

    def ticks(self) -> list[float]:
        """The durations that get a line, from 0 up."""
        return [self.step_s * n for n in range(int(self.top_s / self.step_s + 0.001) + 1)]

    def tick_text(self, seconds: float) -> str:
        """The label of a line in the unit of the step."""
        for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
            if self.step_s >= size and self.step_s % size == 0:
                return f"{seconds / size:.0f}{unit}"
        return f"{seconds * 1000:.0f}ms"


def scale_for(durations_s: Sequence[float]) -> Scale:
    """A scale that one very long run does not flatten: what is beyond 3 x the upper quartile is left out."""
    known = sorted(d for d in durations_s if d > 0) or [4.0]
    limit = 3 * known[len(known) * 3 // 4]
    top = max((d for d in known if d <= limit), default=known[0]) * 1.08
    step = next((step for step in STEPS_S if top / step <= 4), 86400 * max(1, round(top / 4 / 86400)))
    return Scale(max(top, step), step)


def _plot_bar(run: BarRun, left: float, width: float, scale: Scale) -> SafeString:
    """One bar of the duration chart, in percent across and pixels down."""
    seconds, kind = _seconds(run), run.status.lower()
    y = min(scale.y(seconds), PLOT_BASE - 3)
    shape = '<rect class="bar bar-{}" x="{}%" y="{}" width="{}%" height="{}" rx="1.5"/>'
    parts = [format_html(shape, kind, left, y, width, round(PLOT_BASE - y, 1))]
    if run.status in GROWING:
        parts.append(format_html(shape, kind, left, y - 4, width, 2.5))
    if run.status == Status.FAILED:
        parts.append(format_html(shape, kind, left, PLOT_BASE + 3, width, 2))
    if seconds > scale.top_s:
        line = '<line class="chart-break" x1="{}%" x2="{}%" y1="{}" y2="{}"/>'
        parts.append(format_html(line, left, round(left + width, 2), y + 20, y + 16))
    return mark_safe("".join(parts))  # noqa: S308


def _beyond(runs: Sequence[BarRun], slot: float, scale: Scale) -> SafeString:
    """The durations of the bars that end at the top because the scale does, above them where they fit."""
    labels, taken = [], 0.0
    for index, run in enumerate(runs):
        middle = (index + 0.5) * slot
        start = min(max(middle - LABEL_WIDTH / 2, 0), 100 - LABEL_WIDTH)
        if _seconds(run) > scale.top_s and start >= taken:
            taken = start + LABEL_WIDTH
            labels.append((round(start + LABEL_WIDTH / 2, 2), PLOT_TOP - 4, duration_text(run.duration)))
    text = '<text class="chart-value" x="{}%" y="{}" text-anchor="middle">{}</text>'
    return format_html_join("", text, labels)


def run_numbers(runs: Sequence[BarRun], slot: float) -> SafeString:
    """The run numbers under the axis, at most eight, round ones first."""
    every = max(1, -(-len(runs) // 8))
    every = next((step for step in (1, 2, 5, 10, 20, 50) if step >= every), 100)
    labelled, last = [], -every
    for index, run in enumerate(runs):
        if run.number % every == 0 and index - last >= every / 2:
            labelled.append((round((index + 0.5) * slot, 2), PLOT_BASE + 20, run.number))
            last = index
    return format_html_join("", '<text x="{}%" y="{}" text-anchor="middle">{}</text>', labelled)


def duration_chart_svg(runs: Sequence[BarRun], base_url: str, median: timedelta | None) -> SafeString:
    """Duration by run number: bars with links, the median as a dashed line, and an axis of times.

    A run that has not started, or never did, has no bar.
    """
    scale = scale_for([_seconds(run) for run in runs])
    slot = round(100 / max(len(runs), 12), 3)
    ticks = scale.ticks()
    axis = format_html_join(
        "",
        '<text x="38" y="{}" text-anchor="end">{}</text>',
        ((scale.y(t) + 4, scale.tick_text(t)) for t in ticks),
    )
    grid = format_html_join(
        "",
        '<line class="chart-grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>',
        ((scale.y(t) + 0.5,) for t in ticks),
    )
    bars = format_html_join(
        "",
        '<a href="{}runs/{}/" aria-label="{}"><title>{}</title>{}</a>',
        (
            (
                base_url,
                run.number,
                _label(run, run.duration),
                _label(run, run.duration),
                _plot_bar(run, left, round(slot * 0.68, 3), scale),
            )
            for run, left in ((run, round((i + 0.16) * slot, 3)) for i, run in enumerate(runs))
            if run.duration is not None
        ),
    )
    line = ""
    if median is not None and median.total_seconds() <= scale.top_s:
        y = round(scale.y(median.total_seconds())) + 0.5
        line = format_html('<line class="chart-median" x1="0" x2="100%" y1="{0}" y2="{0}"/>', y)
    return format_html(
        '<div class="chart-frame"><svg class="chart" width="44" height="{h}" aria-hidden="true">{axis}</svg>'
        '<svg class="chart" height="{h}" role="group" aria-label="Duration by run number">'
        "{grid}{bars}{line}{numbers}{beyond}</svg></div>",
        h=PLOT_HEIGHT, axis=axis, grid=grid, bars=bars, line=line,
        numbers=run_numbers(runs, slot), beyond=_beyond(runs, slot, scale),
    )  # fmt: skip
