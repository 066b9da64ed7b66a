"""Bars of runs: what shape each status has, and how one very long run is kept from flattening the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import pytest

from runs.charts import PLOT_TOP, duration_chart_svg, scale_for, strip_svg
from runs.status import Status


@dataclass
class Bar:
    number: int
    status: str = "Completed"
    seconds: float | None = 60
    name: str = "a run"

    @property
    def duration(self) -> timedelta | None:
        return None if self.seconds is None else timedelta(seconds=self.seconds)


def bars(svg: str, status: str) -> list[str]:
    return re.findall(rf'<rect class="bar bar-{status.lower()}"[^>]*>', svg)


@pytest.mark.parametrize(
    ("status", "shapes"),
    [("NotStarted", 0), ("Queued", 1), ("Running", 2), ("NotResponding", 1), ("Failed", 2), ("Canceled", 1)],
)
def test_strip_draws_each_status_in_its_shape(status: str, shapes: int) -> None:
    assert len(bars(strip_svg([Bar(1, status)], "/x/"), status)) == shapes


def test_strip_shows_the_last_twenty_as_links() -> None:
    svg = strip_svg([Bar(n) for n in range(1, 31)], "/experiments/mnist/")
    assert re.findall(r'href="/experiments/mnist/runs/(\d+)/"', svg) == [str(n) for n in range(11, 31)]


def test_strip_escapes_what_people_typed() -> None:
    assert "<script>" not in strip_svg([Bar(1, name="<script>")], "/x/")


def test_strip_of_no_runs_is_its_base_line() -> None:
    assert "strip-base" in strip_svg([], "/x/")


def test_one_very_long_run_is_broken_and_labelled() -> None:
    svg = duration_chart_svg(
        [*(Bar(n, seconds=240) for n in range(1, 20)), Bar(20, seconds=1880)], "/x/", None
    )
    assert "chart-break" in svg
    assert ">31m 20s<" in svg
    assert scale_for([240] * 19 + [1880]).top_s < 300


def test_labels_of_long_runs_keep_their_distance() -> None:
    long = {0: 3_600, 1: 3_700, 2: 3_800, 20: 3_900, 23: 4_000, 39: 4_100}
    svg = duration_chart_svg([Bar(n, seconds=long.get(n, 60)) for n in range(40)], "/x/", None)
    label = r'<text class="chart-value" x="([\d.]+)%" y="(\d+)"'
    found = re.findall(label, svg)
    spans = [(float(x) - 7, float(x) + 7) for x, _ in found]
    assert all(int(y) < PLOT_TOP for _, y in found)  # none lies on a bar
    assert len(spans) == 3
    assert all(before <= start for (_, before), (start, _) in pairwise(spans))
    assert spans[0][0] >= 0
    assert spans[-1][1] <= 100


def test_the_label_of_a_long_run_has_its_unit() -> None:
    svg = duration_chart_svg([*(Bar(n, seconds=0.1) for n in range(9)), Bar(9, seconds=0.905)], "/x/", None)
    assert ">905 ms<" in svg


@pytest.mark.parametrize("status", [Status.QUEUED, Status.CANCELED])
def test_a_run_that_never_started_has_no_bar_of_a_duration(status: Status) -> None:
    svg = duration_chart_svg([Bar(1), Bar(2, status, seconds=None)], "/x/", None)
    assert bars(svg, status) == []
    assert "/x/runs/2/" not in svg


def test_axis_has_few_round_lines() -> None:
    scale = scale_for([200, 300, 740])
    assert [scale.tick_text(tick) for tick in scale.ticks()] == ["0m", "4m", "8m", "12m"]


def test_axis_goes_down_to_milliseconds() -> None:
    short = scale_for([0.014, 0.031, 0.07])
    assert [short.tick_text(tick) for tick in short.ticks()] == ["0ms", "20ms", "40ms", "60ms"]
    assert short.y(0.07) < short.y(0.014) - 50
    half = scale_for([0.8, 1.2])
    assert [half.tick_text(tick) for tick in half.ticks()] == ["0ms", "500ms", "1000ms"]
    assert [scale_for([0.0002]).tick_text(tick) for tick in scale_for([0.0002]).ticks()] == ["0ms", "1ms"]
    assert [scale_for([]).tick_text(tick) for tick in scale_for([]).ticks()] == ["0s", "2s", "4s"]


def test_median_is_a_dashed_line_within_the_scale() -> None:
    runs = [Bar(n, seconds=100) for n in range(1, 5)]
    assert "chart-median" in duration_chart_svg(runs, "/x/", timedelta(seconds=100))
    assert "chart-median" not in duration_chart_svg(runs, "/x/", timedelta(seconds=1000))


@pytest.mark.parametrize("status", list(Status))
def test_chart_takes_every_status_without_a_duration(status: Status) -> None:
    assert duration_chart_svg([Bar(1, status, seconds=None)], "/x/", None)
