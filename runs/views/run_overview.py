"""The Overview of a run: where its time went, why it failed or waits, what it executes, what it is called."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from runs.execution.tracebacks import exception_line
from runs.markdown import render_markdown
from runs.models import Run
from runs.services.compute import Waiting, why_waiting
from runs.services.logs import has_log
from runs.services.runs import about_run
from runs.status import ErrorClass, Kind, Status
from runs.timeline import Timeline, timeline_of
from runs.views.parts import wants_part
from runs.views.run_frame import find_run, run_frame, run_url
from studio.accounts.changes import changes_of

CHANGES_SHOWN, MOST_CHANGES = 10, 200
QUEUE_SHOWN = 5
SLOTS_SHOWN = 10

ERROR_TITLES = {
    ErrorClass.SCRIPT: "The script failed",
    ErrorClass.SIGNAL: "The script was ended by a signal",
    ErrorClass.TIME_LIMIT: "The time limit was reached",
    ErrorClass.OUT_OF_MEMORY: "The run was out of memory",
    ErrorClass.LAUNCH: "The script could not be started",
    ErrorClass.LOST: "The run was lost",
    ErrorClass.OUTPUTS: "The outputs could not be kept",
    ErrorClass.STEP: "A step failed",
    ErrorClass.REPORTED: "The run was reported as failed",
}
ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth")


@dataclass(frozen=True)
class QueueCard:
    """Why a run waits: the title, the sentence, the runs before it, and those that have the slots."""

    title: str
    waiting: Waiting
    ahead: list[tuple[int, Run]]
    n_hidden: int
    on_slots: list[Run]


@dataclass(frozen=True)
class TraceLine:
    """One line of a traceback; `kind` is head, place, error or ""."""

    text: str
    kind: str


@dataclass(frozen=True)
class Change:
    """Arguments that a resubmission has changed: `kind` is same, gone or new."""

    kind: str
    text: str


@require_safe
def run_overview(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The Overview tab, or its live part alone."""
    return overview_page(request, find_run(request, name, number))


def overview_page(request: HttpRequest, run: Run) -> HttpResponse:
    """The same for a run that was found already. 8 queries, 1 more with an error, 6 while it is queued."""
    part = wants_part(request, "run-overview")
    context = {
        **run_frame(run, request, tab="overview"),
        **overview(run, may_contribute=request.membership.can_contribute),  # type: ignore[attr-defined]
    }
    return render(request, "run/_overview.html" if part else "run/run_overview.html", context)


def overview(run: Run, *, may_contribute: bool) -> dict[str, Any]:
    """What the Overview shows of a run."""
    changes = list(changes_of(run.workspace_id, about_run(run.run_id))[:MOST_CHANGES])
    return {
        "timeline": _timeline(run),
        "error_title": error_title(run),
        "error_text": error_text(run),
        "has_log": bool(run.error_class) and has_log(run),
        "traceback": trace_lines(run.error_traceback),
        "failed_steps": _failed_steps(run),
        "queue": _queue_card(run),
        "waits_for": _waits_for(run),
        "description": render_markdown(run.description) if run.description else "",
        "argument_changes": _argument_changes(run),
        "overview_url": run_url(run, "run-overview"),
        "attempts": run.max_retries + 1,
        "run_tags": list(run.tags.all()),
        "may_edit": may_contribute and run.archived_at is None,
        "run_properties": list(run.properties.all()),
        "changes": changes[:CHANGES_SHOWN],
        "earlier_changes": changes[CHANGES_SHOWN:],
    }


def _timeline(run: Run) -> Timeline | None:
    made_at = run.created_at if run.kind == Kind.STEP else None
    return timeline_of(list(run.events.select_related("by")), timezone.now(), made_at=made_at)


def error_title(run: Run) -> str:
    """The class of a run's error in words, with the exception's name if it ended by that; "" without."""
    if not run.error_class:
        return ""
    title = ERROR_TITLES[ErrorClass(run.error_class)]
    exception = exception_line(run.error_traceback).partition(":")[0].rpartition(".")[2]
    return f"{title}: {exception}" if exception and exception in run.error_message else title


def error_text(run: Run) -> str:
    """The message of a run's error, without the exception's name that the title says already."""
    line = exception_line(run.error_traceback)
    name, colon, rest = run.error_message.partition(": ")
    return rest if colon and line.startswith(f"{name}:") else run.error_message


def trace_lines(traceback: str) -> list[TraceLine]:
    """The lines of a traceback with what each of them is."""
    error = exception_line(traceback)
    lines = traceback.splitlines()
    return [TraceLine(line, _line_kind(line, error)) for line in lines]


def _line_kind(line: str, error: str) -> str:
    if line.startswith("Traceback "):
        return "head"
    if line.lstrip().startswith('File "'):
        return "place"
    return "error" if error and line.endswith(error) else ""


def _failed_steps(run: Run) -> list[Run]:
    """The failed steps of a failed pipeline run, which explain it better than its own message."""
    if run.kind != Kind.PIPELINE or run.status != Status.FAILED:
        return []
    failed = run.children.filter(status=Status.FAILED).select_related("experiment").order_by("number")
    return list(failed.only("number", "display_name", "step_name", "error_message", "experiment__name")[:10])


def _waits_for(run: Run) -> list[Run]:
    """The steps that a step still waits for."""
    if run.status != Status.NOT_STARTED or run.kind != Kind.STEP:
        return []
    before = Run.objects.filter(dependents__step=run).exclude(status=Status.COMPLETED)
    return list(before.select_related("experiment").only("number", "display_name", "step_name", "status",
                                                         "experiment__name").order_by("number"))  # fmt: skip


def _queue_card(run: Run) -> QueueCard | None:
    """The queue around a queued run: up to five runs before it and ten on the slots; six queries."""
    waiting = why_waiting(run)
    if waiting is None or run.target is None:
        return None
    rows = Run.objects.select_related("experiment", "submitter", "node").filter(target=run.target)
    first = max(0, waiting.place - 1 - QUEUE_SHOWN)
    ahead = list(rows.filter(pk__in=_queue_pks(run, first, waiting.place - 1)).order_by("queued_at", "id"))
    on_slots = list(
        rows.filter(holds_slot=True).exclude(pk=run.pk).order_by("started_at", "id")[:SLOTS_SHOWN]
    )
    place = ORDINALS[waiting.place - 1] if waiting.place <= len(ORDINALS) else f"Number {waiting.place}"
    title = f"{place} in the queue of {run.target.name}"
    if not waiting.nodes_alive:
        title = f"No node serves {run.target.name}"
    return QueueCard(title, waiting, list(enumerate(ahead, start=first + 1)), first, on_slots)


def _queue_pks(run: Run, first: int, last: int) -> Any:
    return Run.objects.queued().filter(target=run.target_id).values("pk")[first:last]


def _words(run: Run) -> list[str]:
    return run.command_words or [run.script, *run.arguments]


def _argument_changes(run: Run) -> list[Change]:
    """How what is executed differs from the run that this one resubmits; nothing if it does not."""
    before = run.resubmitted_from
    if before is None or before.kind == Kind.PIPELINE:
        return []
    old, new = _words(before), _words(run)
    if old == new:
        return []
    changes: list[Change] = []
    for kind, old_from, old_to, new_from, new_to in difflib.SequenceMatcher(
        a=old, b=new, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            changes.append(Change("same", " ".join(old[old_from:old_to])))
            continue
        changes += [Change("gone", " ".join(old[old_from:old_to]))] if old_to > old_from else []
        changes += [Change("new", " ".join(new[new_from:new_to]))] if new_to > new_from else []
    return changes
