"""What people do to a run: edit, cancel, archive, tag."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.text import Truncator
from django.views.decorators.http import require_http_methods, require_POST

from runs.errors import InvalidInput, StudioError
from runs.lifecycle import subtree
from runs.models import Run, Tag
from runs.services.cancel import CancelReport, cancel_run
from runs.services.runs import about_run, archive_runs, edit_run
from runs.services.tags import parse_tag, remove_tag, set_tag
from runs.status import OPEN, TERMINAL
from runs.toasts import add_trigger, toast
from runs.views.bulk import also_ends, removed_tag_undo_url, tag_undo_url
from runs.views.edits import opened_with, refused_context
from runs.views.parts import done, render_dialog
from runs.views.run_frame import find_run, run_url
from studio.accounts.permissions import contributor
from studio.accounts.refusals import is_htmx

CANCEL_SHOWN = 8
SUGGESTED_FROM = 500
SUGGESTED = 8


def _title(run: Run) -> str:
    """How dialogs and toasts name a run."""
    return (
        f"Run {run.number}, {run.display_name or run.step_name}"
        if run.name != f"Run {run.number}"
        else run.name
    )


@contributor
@require_http_methods(["GET", "HEAD", "POST"])
def run_edit(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The dialog for display name and description."""
    run = find_run(request, name, number)
    now = {"display_name": run.display_name, "description": run.description}
    context: dict[str, Any] = {
        "run": run,
        "action": run_url(run, "run-edit"),
        "heading": f"Edit {_title(run)}",
    }
    if request.method != "POST":
        return render_dialog(request, "run/_edit.html", {**context, "typed": now, "opened": now})
    opened = opened_with(request, now)
    typed = {key: request.POST.get(key, before) for key, before in opened.items()}
    try:
        edit_run(run, by=request.user, opened=opened, **typed)  # type: ignore[arg-type]
    except StudioError as error:
        context |= refused_context(request, error, opened, about=about_run(run.run_id))
        return render_dialog(request, "run/_edit.html", {**context, "typed": typed}, status=422)
    toast(request, "Saved")
    return done(request, run_url(run))


@contributor
@require_http_methods(["GET", "HEAD", "POST"])
def run_cancel(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The dialog that names what a cancel ends, and the cancel itself, which leaves an ended run as it is."""
    run = find_run(request, name, number)
    if request.method != "POST":
        return render_dialog(request, "run/_cancel.html", _cancel_context(run))
    report = cancel_run(run, by=request.user)  # type: ignore[arg-type]
    run.refresh_from_db(fields=["status"])
    toast(request, cancel_text(run, report), kind="success" if report.changed else "info")
    return done(request, run_url(run))


def cancel_text(run: Run, report: CancelReport) -> str:
    """What a cancel did, in words."""
    if not report.changed:
        if run.status in TERMINAL:
            return f"Run {run.number} had ended before: {run.status}. Nothing changed."
        return f"Cancel of Run {run.number} was requested before. Nothing changed."
    others = report.changed - 1
    also = f" and {others} more run{'s' if others > 1 else ''}" if others else ""
    if report.requested:
        return f"Cancel requested for Run {run.number}{also}"
    return f"Run {run.number}{also} canceled"


def _cancel_context(run: Run) -> dict[str, Any]:
    below = Run.objects.filter(pk__in=subtree(run.pk)[1:])
    ending = below.filter(status__in=sorted(OPEN)).select_related("experiment").order_by("number")
    statuses = list(ending.values_list("status", flat=True))
    n_ending = len(statuses) + int(run.may_cancel)
    return {
        "run": run,
        "also": also_ends(statuses),
        "below": ending[:CANCEL_SHOWN],
        "n_hidden": max(0, len(statuses) - CANCEL_SHOWN),
        "n_finished": below.count() - len(statuses),
        "action": run_url(run, "run-cancel"),
        "heading": f"Cancel {_title(run)}?",
        "size": "dialog-sm",
        "confirm": f"Cancel {n_ending} runs" if n_ending > 1 else "Cancel run",
        "n_ending": n_ending,
    }


@require_POST
def run_archive(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """Take an ended run out of the lists; the toast undoes it."""
    run = find_run(request, name, number)
    changed = archive_runs(Run.objects.filter(pk=run.pk), by=request.user)  # type: ignore[arg-type]
    if changed:
        toast(request, f"Run {run.number} archived", undo=run_url(run, "run-unarchive"))
    elif not run.is_terminal:
        toast(
            request,
            f"Run {run.number} is {run.status}; a run that has not ended cannot be archived.",
            kind="warning",
        )
    return done(request, run_url(run))


@require_POST
def run_unarchive(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """Bring an archived run back."""
    run = find_run(request, name, number)
    if archive_runs(Run.objects.filter(pk=run.pk), by=request.user, archived=False):  # type: ignore[arg-type]
        toast(request, f"Run {run.number} is back in the lists")
    return done(request, run_url(run))


@require_http_methods(["GET", "HEAD", "POST"])
def run_tags(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """Add (`add=key=value`) or remove (`remove=key`) a tag; a GET offers tags that begin with `?add=`."""
    run = find_run(request, name, number)
    if request.method != "POST":
        options = _suggestions(request, request.GET.get("add", ""))
        return render(request, "run/_tag_options.html", {"options": options})
    typed = request.POST.get("add", "")
    try:
        _edit_tags(request, run, typed)
    except InvalidInput as error:
        return _tag_editor(request, run, error=str(error), typed=typed, status=422)
    if not is_htmx(request):
        return done(request, run_url(run))
    left = typed if "remove" in request.POST else ""
    return add_trigger(_tag_editor(request, run, typed=left), "run-changed")


def _edit_tags(request: HttpRequest, run: Run, typed: str) -> None:
    """Removing wins over what stands in the field: browsers send both when a cross is pressed."""
    if "remove" in request.POST:
        key = request.POST["remove"].replace("\0", "")
        gone = Tag.objects.filter(run=run, key=key).first()
        if remove_tag(run, key, by=request.user) and gone is not None:  # type: ignore[arg-type]
            undo = removed_tag_undo_url(request, run_url(run), gone)
            toast(request, f"Tag {Truncator(gone).chars(60)} is removed", undo=undo)
    elif typed.strip():
        key, value = parse_tag(typed)
        was = Tag.objects.filter(run=run, key=key).first()
        set_tag(run, key, value, by=request.user)  # type: ignore[arg-type]
        if was is not None and was.value != value:
            _say_replaced(request, run, was, Tag(key=key, value=value))


def _say_replaced(request: HttpRequest, run: Run, was: Tag, tag: Tag) -> None:
    """Somebody else may have set it a moment ago, which the page did not show yet."""
    undo = tag_undo_url(request, run_url(run), tag, new=[], before={run.pk: was.value})
    now, before = (Truncator(one).chars(60) for one in (tag, was))
    toast(request, f"Tag {now} is set; it was {before}", undo=undo)


def _tag_editor(
    request: HttpRequest, run: Run, *, error: str = "", typed: str = "", status: int = 200
) -> HttpResponse:
    url = run_url(run, "run-tags")
    context = {
        "run": run, "tags": run.tags.all(), "may_edit": run.archived_at is None, "action": url,
        "suggest_url": url, "error": error, "typed": typed,
    }  # fmt: skip
    template = "parts/_tag_editor.html" if is_htmx(request) else "run/run_tags.html"
    return render(request, template, context, status=status)


def _suggestions(request: HttpRequest, typed: str) -> list[str]:
    """Tags of the newest runs that begin with what was typed, whatever the case, and go on after it."""
    workspace = request.membership.workspace_id  # type: ignore[attr-defined]
    newest = list(
        Run.objects.filter(workspace=workspace).order_by("-pk").values_list("pk", flat=True)[:SUGGESTED_FROM]
    )
    wanted = typed.strip().casefold()
    if not wanted:
        return []
    rows = Tag.objects.filter(run__in=newest).order_by("key", "value").values_list("key", "value").distinct()
    texts = (key if value is None else f"{key}={value}" for key, value in rows)
    return [text for text in texts if text.casefold().startswith(wanted) and text != typed][:SUGGESTED]
