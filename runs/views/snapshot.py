"""The Snapshot tab: the frozen source of a run, its files as text, and the difference to another run's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from runs.downloads import download
from runs.errors import InvalidSnapshot, NotFound
from runs.highlight import highlight
from runs.models import Run, Snapshot
from runs.services.snapshots import FileDiff, Text, diff, open_zip, read_text, tree
from runs.status import Kind
from runs.submission import find_run as run_meant
from runs.views.parts import wants_part
from runs.views.run_frame import find_run, run_frame, run_url

LINES_SHOWN = 5_000
FILES_SHOWN = 2_000
DIFF_LINES_SHOWN = 5_000
#: So many runs before this one are looked at for one with another source.
COMPARED_RUNS = 200


@dataclass(frozen=True)
class DiffLine:
    """A line of a difference; `kind` is added, removed, place or same."""

    kind: str
    text: str


@require_safe
def run_snapshot(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The tab with the file `?path=` open, else the run's script; `?against=` shows a difference instead."""
    run = find_run(request, name, number)
    context = {**run_frame(run, request, tab="snapshot"), "snapshot_url": run_url(run, "run-snapshot")}
    if run.snapshot is None:
        context["steps"] = _steps_with_source(run)
    elif "against" in request.GET:
        context |= _difference(request, run, run.snapshot, request.GET["against"].strip())
    else:
        context |= _files(run, run.snapshot, request.GET.get("path", ""))
    part = "run/_snapshot.html" if wants_part(request, "run-snapshot") else "run/run_snapshot.html"
    return render(request, part, context)


def _steps_with_source(run: Run) -> list[Run]:
    if run.kind != Kind.PIPELINE:
        return []
    steps = run.children.filter(snapshot__isnull=False).select_related("experiment", "snapshot")
    return list(steps.defer("snapshot__files", "search_text").order_by("number"))


def _files(run: Run, snapshot: Snapshot, path: str) -> dict[str, Any]:
    """The tree and one file of it. Raises NotFound for a path that is not in it."""
    entries = tree(snapshot)
    files = [entry.path for entry in entries if not entry.is_folder]
    chosen = path or (run.script if run.script in files else files[0])
    context: dict[str, Any] = {
        "entries": entries[:FILES_SHOWN],
        "n_hidden": max(0, len(entries) - FILES_SHOWN),
        "path": chosen,
        "others": _comparable(run),
    }
    try:
        text: Text = read_text(snapshot, chosen)
    except (NotFound, InvalidSnapshot) as error:
        if chosen not in files:
            raise
        return {**context, "text_error": str(error)}
    lines = [] if text.binary else highlight(chosen, text.text)
    return {
        **context,
        "text": text,
        "lines": lines[:LINES_SHOWN],
        "is_cut": text.truncated or len(lines) > LINES_SHOWN,
    }


def _comparable(run: Run) -> list[Run]:
    """Runs whose source one may want to compare: the one resubmitted, the last one with another source."""
    found = [run.resubmitted_from] if run.resubmitted_from and run.resubmitted_from.snapshot_id else []
    earlier = Run.objects.filter(experiment=run.experiment_id, pk__lt=run.pk, snapshot__isnull=False)
    newest = earlier.order_by("-pk").values_list("pk", "snapshot_id")[:COMPARED_RUNS]
    pk = next((pk for pk, snapshot in newest if snapshot != run.snapshot_id), None)
    before = Run.objects.select_related("experiment").filter(pk=pk).first() if pk else None
    return found + ([before] if before and before not in found else [])


def _difference(request: HttpRequest, run: Run, snapshot: Snapshot, against: str) -> dict[str, Any]:
    """What changed from another run's source to this one's; `against` is its number, id or address."""
    context: dict[str, Any] = {"is_difference": True, "against": against, "others": _comparable(run)}
    other = _other_run(request, run, against)
    if other is None:
        return {**context, "against_error": f"There is no run {against} here." if against else "Name a run."}
    if other.snapshot is None:
        return {**context, "against_error": f"{other.name} has no source."}
    changes = diff(other.snapshot, snapshot)
    left, shown = DIFF_LINES_SHOWN, []
    for change in changes:
        lines = diff_lines(change)[: max(0, left)]
        left -= len(lines)
        shown.append((change, lines))
    return {**context, "other": other, "changes": shown, "is_cut": left <= 0}


def _other_run(request: HttpRequest, run: Run, against: str) -> Run | None:
    text = against.removeprefix("#")
    if text.isascii() and text.isdecimal() and len(text) < 16:
        rows = Run.objects.filter(experiment=run.experiment_id, number=int(text))
        return rows.select_related("experiment", "snapshot").defer("search_text").first()
    try:
        return run_meant(request.membership.workspace, against)  # type: ignore[attr-defined]
    except NotFound:
        return None


def diff_lines(change: FileDiff) -> list[DiffLine]:
    """The lines of one file's difference, without the two that only name the file."""
    kinds = {"+": "added", "-": "removed", "@": "place", "\\": "place"}
    return [DiffLine(kinds.get(line[:1], "same"), line) for line in change.diff.split("\n")[2:]]


@require_safe
def run_snapshot_zip(request: HttpRequest, name: str, number: int) -> HttpResponseBase:
    """The whole source as one zip."""
    run = find_run(request, name, number)
    if run.snapshot is None:
        raise Http404("This run has no source.")
    snapshot = run.snapshot
    return download(
        request, lambda: open_zip(snapshot), filename=f"{name}-{number}-source.zip",
        sha256=snapshot.digest, content_type="application/zip",
    )  # fmt: skip
