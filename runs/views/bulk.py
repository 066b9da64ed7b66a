"""Actions on a selection of runs: those that are ticked, or all that match a search."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core import signing
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from runs.errors import InvalidInput, StudioError
from runs.lists.runs import RunList
from runs.lists.version import find_experiment
from runs.models import Run, Tag
from runs.services.cancel import CancelReport, cancel_runs
from runs.services.runs import archive_runs
from runs.services.tags import add_tags, parse_tag, remove_tags
from runs.status import OPEN, TERMINAL, Status
from runs.toasts import toast
from runs.views.parts import done, render_dialog
from studio.accounts.permissions import contributor
from studio.accounts.refusals import is_htmx

#: Runs that one action takes at most.
MOST = 1_000
#: Runs that a dialog names; the others are counted.
NAMED = 8
#: Letters of an undo address: headers hold the longer one, the cookie of a plain page the other.
_UNDO_LETTERS, _UNDO_LETTERS_PLAIN = 6_000, 1_200
_UNDO_FOR_S = 24 * 3600
_SALT = "runs.bulk.undo"
_STOPPABLE = sorted(OPEN - {Status.CANCEL_REQUESTED})


@dataclass(frozen=True)
class Selection:
    """The runs that an action is for, and how a dialog says them again."""

    runs: QuerySet[Run]
    count: int
    is_matching: bool
    run_ids: list[str]
    back: str


@contributor
@require_POST
def run_actions(request: HttpRequest, name: str = "", place: str = "experiment") -> HttpResponse:
    """Cancel, tag, archive or unarchive. Asks first where it cannot be undone or runs were not ticked."""
    selection = _selection(request, name, place)
    action = request.POST.get("action", "")
    if action not in _ACTIONS:
        raise InvalidInput("There is no such action.", field="action")
    if selection.count == 0:
        return _refused(request, selection, "No run is selected", "Tick the runs that you mean first.")
    if selection.count > MOST:
        why = f"At most {MOST:,} runs can be changed at once. Narrow the search, for example with created:7d."
        return _refused(request, selection, "These are too many runs", why)
    return _ACTIONS[action](request, selection)


def _selection(request: HttpRequest, name: str, place: str) -> Selection:
    workspace = request.membership.workspace  # type: ignore[attr-defined]
    found = find_experiment(workspace, name) if place == "experiment" else None
    if place == "experiment" and found is None:
        raise Http404(f"There is no experiment {name}.")
    experiment = found[0] if found else None
    runs = RunList(workspace, request.user, request.GET, place=place, experiment=experiment)  # type: ignore[arg-type]
    list_url = request.path.removesuffix("actions/")
    back = f"{list_url}?{runs.state.urlencode()}" if runs.state else list_url
    if request.POST.get("matching"):
        chosen, ids = runs.matching(), []
    else:
        ids = [run_id for run_id in request.POST.getlist("run") if "\0" not in run_id][: MOST + 1]
        chosen = runs.scope.filter(run_id__in=ids)
    count = chosen.order_by().values("pk")[: MOST + 1].count()
    return Selection(chosen, count, not ids, ids, back)


def _dialog(
    request: HttpRequest, selection: Selection, action: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    context = {
        "section": "runs",
        "action": request.get_full_path(),
        "selection": selection,
        "chosen_action": action,
        "size": "dialog-sm",
        **context,
    }
    return render_dialog(request, f"runs/_{action}_dialog.html", context, status=status)


def _refused(request: HttpRequest, selection: Selection, heading: str, why: str) -> HttpResponse:
    return _dialog(request, selection, "refused", {"heading": heading, "why": why})


# Cancel -----------------------------------------------------------------------------------------------


def _cancel(request: HttpRequest, selection: Selection) -> HttpResponse:
    stoppable = selection.runs.filter(status__in=_STOPPABLE)
    if request.POST.get("confirmed"):
        report = cancel_runs(list(stoppable.order_by("pk")), by=request.user)  # type: ignore[arg-type]
        toast(request, _cancel_text(report), kind="success" if report.changed else "info")
        return done(request, selection.back)
    chosen = list(stoppable.order_by("-pk").values_list("pk", flat=True))
    below = _open_below(chosen)
    total = len(chosen) + len(below)
    if not total:
        return _refused(request, selection, "Nothing to cancel", "All of these runs have ended already.")
    shown = [*chosen, *below][:NAMED]
    rows = {run.pk: run for run in Run.objects.filter(pk__in=shown).select_related("experiment")}
    context = {
        "heading": f"Cancel {_runs(len(chosen))}?",
        "also": also_ends(below.values()),
        "ended": selection.count - len(chosen),
        "rows": [rows[pk] for pk in shown if pk in rows],
        "unnamed": total - len(shown),
        "confirm": f"Cancel {_runs(total)}",
        "confirm_kind": "btn-danger",
        "keep": "Keep running",
    }
    return _dialog(request, selection, "cancel", context)


def _open_below(pks: list[int]) -> dict[int, str]:
    """The descendants of these runs that a cancel ends too, newest first: key and status."""
    seen, level, found = set(pks), pks, dict[int, str]()
    while level:
        rows = Run.objects.filter(parent__in=level).values_list("pk", "status")
        new = [(pk, status) for pk, status in rows if pk not in seen]
        found |= {pk: status for pk, status in new if status in _STOPPABLE}
        level = [pk for pk, _ in new]
        seen.update(level)
    return dict(sorted(found.items(), reverse=True))


def also_ends(statuses: Collection[str]) -> str:
    """What a cancel ends besides, in words, from the statuses of those child runs; "" for none."""
    waiting = sum(status == Status.NOT_STARTED for status in statuses)
    active = len(statuses) - waiting
    parts = [f"{active} active child run{'s' if active > 1 else ''}"] if active else []
    if waiting:
        which = "" if active else " child run" + ("s" if waiting > 1 else "")
        parts.append(f"{waiting}{which} that {'have' if waiting > 1 else 'has'} not started")
    return f"It also ends {' and '.join(parts)}." if parts else ""


def _cancel_text(report: CancelReport) -> str:
    parts = []
    if report.requested:
        parts.append(f"Cancel requested for {_runs(report.requested)}")
    if report.canceled:
        parts.append(f"{_runs(report.canceled)} canceled")
    return ", ".join(parts) or "These runs have ended already; nothing was changed"


# Tag --------------------------------------------------------------------------------------------------


def _tag(request: HttpRequest, selection: Selection) -> HttpResponse:
    kept = selection.runs.filter(archived_at=None)
    typed = request.POST.get("tag", "")
    context = {"heading": f"Tag {_runs(selection.count)}", "confirm": "Add tag", "typed": typed}
    if not request.POST.get("confirmed"):
        return _dialog(request, selection, "tag", context)
    rows = list(kept.order_by("pk"))
    try:
        key, value = parse_tag(typed)
        before = dict(Tag.objects.filter(run__in=rows, key=key).values_list("run_id", "value"))
        count = add_tags(rows, {key: value}, by=request.user)  # type: ignore[arg-type]
    except StudioError as error:
        return _dialog(request, selection, "tag", {**context, "error": error}, status=422)
    new = [run.pk for run in rows if run.pk not in before]
    label = Tag(key=key, value=value)
    undo = tag_undo_url(request, selection.back, label, new=new, before=before)
    left = selection.count - count
    toast(
        request,
        f"Tag {label} added to {_runs(count)}" + (f"; {left} archived left as they are" if left else ""),
        undo=undo,
    )
    return done(request, selection.back)


def tag_undo_url(
    request: HttpRequest, back: str, tag: Tag, *, new: list[int], before: dict[int, str | None]
) -> str:
    """The address that undoes a tag on the `new` runs, and on those that had another value `before`.

    "" if there is too much to say in one.
    """
    old: dict[str, list[int]] = {}
    for pk, was in before.items():
        old.setdefault(f"={was}" if was is not None else "", []).append(pk)
    return _undo_url(request, back, {"do": "tag", "key": tag.key, "value": tag.value, "new": new, "old": old})


def removed_tag_undo_url(request: HttpRequest, back: str, tag: Tag) -> str:
    """The address that brings back a tag that was taken from its run; "" if it is too long for one."""
    what = {"do": "untag", "key": tag.key, "value": tag.value, "runs": [tag.run_id]}
    return _undo_url(request, back, what)


def _tag_again(token: dict[str, Any], workspace_pk: int, by: Any) -> int:
    """Set a tag again where it was taken away, unless somebody has set its key since."""
    again = Tag.objects.filter(key=token["key"], run__workspace=workspace_pk).values("run")
    runs = Run.objects.filter(workspace=workspace_pk, pk__in=token["runs"], archived_at=None)
    return add_tags(list(runs.exclude(pk__in=again)), {token["key"]: token["value"]}, by=by)


def _untag(token: dict[str, Any], workspace_pk: int, by: Any) -> int:
    """Take a tag away where it was added and put back what it replaced, unless somebody changed it since."""
    same = Tag.objects.filter(key=token["key"], value=token["value"], run__workspace=workspace_pk)
    runs = Run.objects.filter(tags__in=same.filter(run__in=token["new"]), archived_at=None)
    changed = remove_tags(runs, [token["key"]], by=by)
    for was, pks in token["old"].items():
        runs = Run.objects.filter(tags__in=same.filter(run__in=pks), archived_at=None)
        changed += add_tags(list(runs), {token["key"]: was[1:] if was else None}, by=by)
    return changed


# Archive ----------------------------------------------------------------------------------------------


def _archive(request: HttpRequest, selection: Selection) -> HttpResponse:
    ended = selection.runs.filter(status__in=sorted(TERMINAL), archived_at=None)
    return _move_archived(request, selection, ended, archived=True)


def _unarchive(request: HttpRequest, selection: Selection) -> HttpResponse:
    archived = selection.runs.filter(archived_at__isnull=False)
    return _move_archived(request, selection, archived, archived=False)


def _move_archived(
    request: HttpRequest, selection: Selection, runs: QuerySet[Run], *, archived: bool
) -> HttpResponse:
    word = "Archive" if archived else "Unarchive"
    pks = list(runs.order_by("pk").values_list("pk", flat=True))
    if selection.is_matching and not request.POST.get("confirmed"):
        context = {
            "heading": f"{word} {_runs(len(pks))}?",
            "left": selection.count - len(pks),
            "confirm": f"{word} {_runs(len(pks))}",
            "verb": word.lower(),
        }
        return _dialog(request, selection, word.lower(), context)
    count = archive_runs(Run.objects.filter(pk__in=pks), by=request.user, archived=archived)  # type: ignore[arg-type]
    undo = _undo_url(request, selection.back, {"do": "unarchive" if archived else "archive", "runs": pks})
    left = selection.count - count
    why = "not ended" if archived else "not archived"
    said = f"{_runs(count)} {'archived' if archived else 'back from the archive'}"
    toast(request, said + (f"; {left} {why}, left as they are" if left else ""),
          kind="success" if count else "info", undo=undo if count else "")  # fmt: skip
    return done(request, selection.back)


# Undo -------------------------------------------------------------------------------------------------


def _undo_url(request: HttpRequest, back: str, what: dict[str, Any]) -> str:
    """The address that undoes it; "" if there is too much to say in one."""
    workspace_pk = request.membership.workspace_id  # type: ignore[attr-defined]
    token = signing.dumps({**what, "in": workspace_pk, "back": back}, salt=_SALT, compress=True)
    longest = _UNDO_LETTERS if is_htmx(request) else _UNDO_LETTERS_PLAIN
    return reverse("run-undo", args=[token]) if len(token) <= longest else ""


@contributor
@require_POST
def run_undo(request: HttpRequest, token: str) -> HttpResponse:
    """Undo a tag or an archiving; the address says which."""
    workspace_pk = request.membership.workspace_id  # type: ignore[attr-defined]
    try:
        what: dict[str, Any] = signing.loads(token, salt=_SALT, max_age=_UNDO_FOR_S)
    except signing.BadSignature:
        raise Http404("This can no longer be undone.") from None
    if what["in"] != workspace_pk:
        raise Http404("This belongs to another workspace.")
    if what["do"] == "tag":
        count = _untag(what, workspace_pk, request.user)
    elif what["do"] == "untag":
        count = _tag_again(what, workspace_pk, request.user)
    else:
        runs = Run.objects.filter(workspace=workspace_pk, pk__in=what["runs"])
        count = archive_runs(runs, by=request.user, archived=what["do"] == "archive")  # type: ignore[arg-type]
    toast(request, f"Undone for {_runs(count)}", kind="success" if count else "info")
    return redirect(urlsplit(what["back"])._replace(scheme="", netloc="").geturl())


def _runs(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"


_ACTIONS = {"cancel": _cancel, "tag": _tag, "archive": _archive, "unarchive": _unarchive}
