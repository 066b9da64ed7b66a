"""The Graph tab of a pipeline run: its steps and edges, their times, and one step opened beside them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from runs.formats import duration_text
from runs.graph import Box, Line, layout
from runs.logtext import LogLine, render_lines
from runs.models import LogChunk, Run, RunDependency, RunEvent
from runs.services.logs import STD_LOG, tail
from runs.status import ACTIVE, ON_NODE, TERMINAL, Kind, Status
from runs.views.parts import wants_part
from runs.views.run_frame import at_address, counts_of, find_run, run_frame, run_url

TAIL_BYTES = 8 * 1024
TAIL_LINES = 8
_TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@dataclass(frozen=True)
class GraphBox:
    """A box with its step."""

    box: Box
    step: Run

    @property
    def is_dim(self) -> bool:
        """Whether the step has done nothing, or never will."""
        return self.step.status in (Status.NOT_STARTED, Status.CANCELED) and self.step.started_at is None


@dataclass(frozen=True)
class GraphLine:
    """An edge; `kind` is done, live or waiting (dashed)."""

    line: Line
    kind: str


@dataclass(frozen=True)
class StepRow:
    """A row of the timeline; places are SVG percentages, the wait in the queue comes before the bar."""

    step: Run
    why: str = ""
    left: str = ""
    width: str = ""
    wait_left: str = ""


@dataclass(frozen=True)
class Tick:
    """A label of the time axis."""

    left: str
    text: str


@require_safe
def run_graph(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The Graph tab, or its live part alone; `?step=` opens a step beside it."""
    run = find_run(request, name, number)
    if run.kind != Kind.PIPELINE:
        raise Http404(f"Run {number} is no pipeline run, so it has no graph.")
    return graph_page(request, run)


def graph_page(request: HttpRequest, run: Run) -> HttpResponse:
    """The same for a run that was found already. 6 queries, 2 more for the log of an open step."""
    children = _children(run)  # read once, because steps go on between two queries
    context = {
        **run_frame(run, request, tab="graph", children=counts_of(children)),
        **graph(run, children, request.GET.get("step", "")),
    }
    template = "run/_graph_with_head.html" if wants_part(request, "run-graph") else "run/run_graph.html"
    return render(request, template, context)


def graph(run: Run, children: list[Run], open_step: str = "") -> dict[str, Any]:
    """What the Graph tab shows of a pipeline run with these children."""
    steps = {child.step_name: child for child in children if child.kind == Kind.STEP}
    names = {step.pk: name for name, step in steps.items()}
    waits_for: dict[str, list[str]] = {name: [] for name in steps}
    for after, before in RunDependency.objects.filter(step__parent=run).values_list(
        "step_id", "waits_for_id"
    ):
        if after in names and before in names:
            waits_for[names[after]].append(names[before])
    drawn = layout(list(steps), waits_for)
    rows, ticks = step_rows(run, list(steps.values()), waits_for, _reasons(run), timezone.now())
    step = steps.get(open_step)
    return {
        "graph": drawn,
        "boxes": [GraphBox(box, steps[box.name]) for box in drawn.boxes],
        "lines": [GraphLine(line, _line_kind(steps[line.before], steps[line.after])) for line in drawn.lines],
        "rows": rows,
        "ticks": ticks,
        "step": step,
        "step_after": [steps[name] for name in waits_for[open_step]] if step else [],
        "step_waited": _waited(step) if step else None,
        "graph_url": run_url(run, "run-graph"),
        **(step_log(step) if step else {}),
    }


def _children(run: Run) -> list[Run]:
    rows = run.children.select_related("experiment", "node", "target")
    return list(rows.defer("search_text", "error_traceback", "environment_variables").order_by("number"))


def _reasons(run: Run) -> dict[int, str]:
    """Why steps were canceled, by their keys."""
    events = RunEvent.objects.filter(run__parent=run, to_status=Status.CANCELED)
    return dict(events.values_list("run_id", "why"))


def _line_kind(before: Run, after: Run) -> str:
    if after.status in ACTIVE and after.status != Status.QUEUED:
        return "live"
    has_gone = before.status == Status.COMPLETED and after.status != Status.NOT_STARTED
    return "done" if has_gone and not GraphBox(Box("", 0, 0), after).is_dim else "waiting"


def _waited(step: Run) -> timedelta | None:
    if step.queued_at is None or step.started_at is None:
        return None
    return max(step.started_at - step.queued_at, timedelta())


def step_rows(
    run: Run, steps: list[Run], waits_for: dict[str, list[str]], reasons: dict[int, str], now: datetime
) -> tuple[list[StepRow], list[Tick]]:
    """The rows of the timeline and its axis, to scale from the pipeline's submission to its end or to now."""
    start = run.created_at
    length = max((run.ended_at or now) - start, timedelta(seconds=1))

    def percent(moment: datetime) -> float:
        return min(100.0, max(0.0, (moment - start) / length * 100))

    rows = []
    for step in steps:
        if step.started_at is None:
            rows.append(StepRow(step, why=_why_no_bar(step, steps, waits_for, reasons)))
            continue
        left = percent(step.started_at)
        width = max(percent(step.ended_at or now) - left, 0.4)
        wait = (
            f"{percent(step.queued_at):.2f}%" if step.queued_at and step.queued_at < step.started_at else ""
        )
        rows.append(StepRow(step, left=f"{left:.2f}%", width=f"{width:.2f}%", wait_left=wait))
    return rows, _ticks(length.total_seconds())


def _why_no_bar(step: Run, steps: list[Run], waits_for: dict[str, list[str]], reasons: dict[int, str]) -> str:
    if step.status == Status.NOT_STARTED:
        done = {other.step_name for other in steps if other.status == Status.COMPLETED}
        open_names = [name for name in waits_for[step.step_name] if name not in done]
        return f"waits for {', '.join(open_names)}" if open_names else ""
    if step.status == Status.CANCELED:
        why = reasons.get(step.pk, "")
        return why if why.startswith("canceled") else f"canceled: {why}" if why else "canceled"
    if step.status == Status.QUEUED and step.target:
        return f"waits for a slot on {step.target.name}"
    return step.error_message if step.status == Status.FAILED else ""


def _ticks(length_s: float) -> list[Tick]:
    """The labels of the axis. static/js/graph.js places them by the same rule while time goes on."""
    every = next((tick for tick in _TICKS_S if length_s / tick <= 6), _TICKS_S[-1])
    every = max(every, int(length_s / 10))
    moments = range(0, int(length_s * 0.97) + 1, every)
    return [Tick(f"{moment / length_s * 100:.2f}%", _tick_text(moment)) for moment in moments]


def _tick_text(seconds: int) -> str:
    """The time without the zeros at its end: "5m", not "5m 00s"."""
    if seconds == 0:
        return "0s"
    if seconds >= 60 and seconds % 60 == 0 and seconds < 3600:
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h" if seconds % 3600 == 0 else duration_text(seconds)


def step_log(step: Run) -> dict[str, Any]:
    """The last lines of a step's log and the size of it; two queries."""
    start, data = tail(step, STD_LOG, TAIL_BYTES)
    cut = data.find(b"\n") + 1 if start else 0
    if cut < len(data):
        start, data = start + cut, data[cut:]
    lines: list[LogLine] = render_lines(data, offset=start, complete=step.status in TERMINAL)
    return {
        "step": step,
        "log_lines": lines[-TAIL_LINES:],
        "log_url": f"{run_url(step, 'run-log-tail')}?seen={start + len(data)}",
        "log_is_live": step.status in ON_NODE,
    }


@require_safe
def run_log_tail(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The last lines of a run's log; 204 while it is as long as `?seen=`. 2 queries when nothing is new."""
    seen = request.GET.get("seen", "")
    if seen and seen == str(_log_size(request, name, number)):
        return HttpResponse(status=204)
    return render(request, "run/_log_tail.html", step_log(find_run(request, name, number)))


def _log_size(request: HttpRequest, name: str, number: int) -> int | None:
    """The size of the log of the run's present attempt; None without one."""
    chunks = LogChunk.objects.filter(
        at_address(request, name, number, of="run__"), attempt=F("run__attempt"), name=STD_LOG
    )
    return chunks.order_by("-offset").values_list(F("offset") + F("size"), flat=True).first()
