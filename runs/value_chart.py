"""A metric by run number as SVG: a dot for each run that has it, in the colour of its status.

What is no finite number is marked as the Metrics tab marks it: a cross or a triangle, at the foot or the top.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from runs.axes import reach, tick_texts, ticks, within
from runs.charts import PLOT_BASE, PLOT_HEIGHT, PLOT_TOP, BarRun, run_numbers
from runs.formats import exact_text
from runs.points import value_text

#: Pixels of the axis, unless its longest label needs more, and of a letter of the widest font.
_AXIS, _LETTER = 44, 7
#: Marks around the point where they stand.
_CROSS, _UP, _DOWN = "M-4-4 4 4M-4 4 4-4", "M0-4 4 4-4 4Z", "M0 4 4-4-4-4Z"


def value_chart_svg(
    runs: Sequence[BarRun], values: Mapping[int, float], name: str, base_url: str
) -> SafeString:
    """The values of the metric `name` by run number, runs oldest first; each dot leads to its run."""
    known = [value for value in values.values() if math.isfinite(value)]
    least, most = (min(known), max(known)) if known else (0.0, 1.0)
    least, most = reach(least, most, 0.08)
    slot = round(100 / max(len(runs), 12), 3)

    def y(value: float) -> float:
        return round(PLOT_BASE - (within(value) - least) / (most - least) * (PLOT_BASE - PLOT_TOP), 1)

    lines = tick_texts(ticks(least, most, 4))
    width = max(_AXIS, 6 + _LETTER * max((len(label) for _, label in lines), default=0))
    axis = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="end">{}</text>',
        ((width - 6, y(t) + 4, label) for t, label in lines),
    )
    grid = format_html_join(
        "", '<line class="chart-grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>', ((y(t),) for t, _ in lines)
    )
    dots = format_html_join(
        "",
        '<a href="{0}runs/{1}/" aria-label="{2}"><title>{2}</title>{3}</a>',
        (
            (base_url, run.number, f"#{run.number} {run.name}: {name} {_text(value)}",
             _dot(run, place, y(value)) if math.isfinite(value) else _mark(value, place))
            for run, place in ((run, round((at + 0.5) * slot, 2)) for at, run in enumerate(runs))
            if (value := values.get(run.number)) is not None
        ),
    )  # fmt: skip
    return format_html(
        '<div class="chart-frame"><svg class="chart" width="{w}" height="{h}" aria-hidden="true">{axis}</svg>'
        '<svg class="chart" height="{h}" role="group" aria-label="{name} by run number">'
        "{grid}{dots}{numbers}</svg></div>",
        w=width, h=PLOT_HEIGHT, axis=axis, grid=grid, dots=dots, numbers=run_numbers(runs, slot), name=name,
    )  # fmt: skip


def _text(value: float) -> str:
    return exact_text(value) if math.isfinite(value) else value_text(value)


def _dot(run: BarRun, x: float, y: float) -> SafeString:
    kind = run.status.lower()
    return format_html('<circle class="bar bar-{} value-dot" cx="{}%" cy="{}" r="4"/>', kind, x, y)


def _mark(value: float, x: float) -> SafeString:
    shape = _UP if value > 0 else _DOWN if value < 0 else _CROSS
    return format_html(
        '<svg class="value-odd" x="{}%" y="{}" overflow="visible">'
        '<circle class="bar-hit" r="8"/><path d="{}"/></svg>',
        x, PLOT_TOP if value > 0 else PLOT_BASE - 6, shape,
    )  # fmt: skip
