"""A metric by run number as SVG: a dot for each run that has it, in the colour of its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from runs.axes import reach, tick_texts, ticks, within
from runs.charts import PLOT_BASE, PLOT_HEIGHT, PLOT_TOP, BarRun, run_numbers
from runs.formats import exact_text

#: Pixels of the axis, unless its longest label needs more, and of a letter of the widest font.
_AXIS, _LETTER = 44, 7


def value_chart_svg(
    runs: Sequence[BarRun], values: Mapping[int, float], name: str, base_url: str
) -> SafeString:
    """The values of the metric `name` by run number, runs oldest first; each dot leads to its run."""
    known = list(values.values())
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
    places = {run.number: round((at + 0.5) * slot, 2) for at, run in enumerate(runs)}
    dots = format_html_join(
        "",
        '<a href="{0}runs/{1}/" aria-label="{2}"><title>{2}</title>'
        '<circle class="bar bar-{3} value-dot" cx="{4}%" cy="{5}" r="4"/></a>',
        (
            (base_url, run.number, f"#{run.number} {run.name}: {name} {exact_text(values[run.number])}",
             run.status.lower(), places[run.number], y(values[run.number]))
            for run in runs
            if run.number in values
        ),
    )  # fmt: skip
    return format_html(
        '<div class="chart-frame"><svg class="chart" width="{w}" height="{h}" aria-hidden="true">{axis}</svg>'
        '<svg class="chart" height="{h}" role="group" aria-label="{name} by run number">'
        "{grid}{dots}{numbers}</svg></div>",
        w=width, h=PLOT_HEIGHT, axis=axis, grid=grid, dots=dots, numbers=run_numbers(runs, slot), name=name,
    )  # fmt: skip
