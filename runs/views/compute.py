"""The Compute page: targets, their nodes, what runs on them; owners make, edit, drain and forget."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from runs.errors import StudioError
from runs.models import ComputeTarget, Node
from runs.services import compute
from runs.services.target_overview import overview_version, start_command, target_overview
from runs.toasts import toast
from runs.views.edits import opened_with, refused_context
from runs.views.parts import done, render_dialog, wants_part
from studio.accounts.permissions import owner
from studio.accounts.requests import MemberRequest

DIALOG = "compute/_target_dialog.html"


@require_safe
def compute_list(request: MemberRequest) -> HttpResponse:
    """All targets with their nodes, live. A poll with nothing new costs one query beside the session's.

    Queries beside session and shell: version, then the five of `target_overview`.
    """
    workspace = request.membership.workspace
    part = wants_part(request, "targets")
    seen = overview_version(workspace)
    if part and request.GET.get("seen") == seen:
        return HttpResponse(status=204)
    overview = target_overview(workspace)
    context = {"section": "compute", "overview": overview, "seen": seen}
    return render(request, "compute/_targets.html" if part else "compute/compute_list.html", context)


@owner
@require_http_methods(["GET", "HEAD", "POST"])
def target_create(request: MemberRequest) -> HttpResponse:
    """The dialog for a new target, and what it sends."""
    typed: dict[str, Any] = {"name": "", "description": "", "default": False}
    if request.method != "POST":
        return _dialog(request, "New compute target", typed, confirm="Create")
    typed = {"name": request.POST.get("name", ""), **_typed(request)}
    try:
        target = compute.create_target(request.membership.workspace, by=request.user, **typed)
    except StudioError as error:
        return _dialog(request, "New compute target", typed, confirm="Create", error=error)
    toast(request, f"{target.name} is there; start a node for it")
    return done(request, reverse("compute-list"))


@owner
@require_http_methods(["GET", "HEAD", "POST"])
def target_edit(request: MemberRequest, target: str) -> HttpResponse:
    """The dialog for description and default mark, and what it sends."""
    row = _find(request, target)
    now = {"description": row.description}
    title = f"Edit {row.name}"
    if request.method != "POST":
        return _dialog(request, title, {**now, "default": row.is_default}, target=row, opened=now)
    typed, opened = _typed(request), opened_with(request, now)
    try:
        compute.edit_target(row, by=request.user, description=typed["description"], opened=opened)
    except StudioError as error:
        more = refused_context(request, error, opened, about=compute.about_target(row))
        return _dialog(request, title, typed, target=row, **more)
    if typed["default"] and not row.is_default:
        compute.set_default_target(row, by=request.user)
    toast(request, f"{row.name} was changed")
    return done(request, reverse("compute-list"))


@owner
@require_POST
def target_default(request: MemberRequest, target: str) -> HttpResponse:
    """Make a target the one that submissions choose by themselves."""
    row = _find(request, target)
    compute.set_default_target(row, by=request.user)
    toast(request, f"{row.name} is the default compute target")
    return done(request, reverse("compute-list"))


@require_safe
def target_command(request: MemberRequest, target: str) -> HttpResponse:
    """The dialog with the command that starts a node for a target."""
    row = _find(request, target)
    context = {
        "section": "compute",
        "heading": f"Start a node for {row.name}",
        "action": request.path,
        "target": row,
        "command": start_command(row, request.membership.workspace),
    }
    return render_dialog(request, "compute/_command_dialog.html", context)


@owner
@require_POST
def node_change(request: MemberRequest, target: str) -> HttpResponse:
    """Drain, resume or forget one node of a target; `node` names it, `action` says what."""
    row = _find(request, target)
    node = Node.objects.filter(target=row, name=request.POST.get("node", "")).first()
    if node is None:
        raise Http404("There is no such node; it may have been forgotten.")
    action = request.POST.get("action", "")
    try:
        said = _change(node, action, request)
    except StudioError as error:
        toast(request, str(error), kind="error")
    else:
        toast(request, said)
    return done(request, reverse("compute-list"))


def _change(node: Node, action: str, request: MemberRequest) -> str:
    """Do it, and say what was done. Raises Conflict."""
    if action == "forget":
        compute.forget_node(node, by=request.user)
        return f"{node.name} is forgotten; it comes back when it starts again"
    if action not in ("drain", "resume"):
        raise Http404("A node can be drained, resumed or forgotten.")
    changed = compute.drain_node(node, by=request.user, drained=action == "drain")
    if action == "drain":
        return f"{node.name} {'takes' if changed else 'already took'} nothing new; its runs go on"
    return f"{node.name} {'takes' if changed else 'already took'} runs again"


def _find(request: MemberRequest, name: str) -> ComputeTarget:
    """The target of this name in the person's workspace."""
    target = ComputeTarget.objects.filter(workspace=request.membership.workspace, name=name).first()
    if target is None:
        raise Http404(f"There is no compute target {name}.")
    return target


def _typed(request: MemberRequest) -> dict[str, Any]:
    """What both dialogs send; only that of a new target sends a name too."""
    return {"description": request.POST.get("description", ""), "default": "default" in request.POST}


def _dialog(
    request: MemberRequest,
    heading: str,
    typed: dict[str, Any],
    **more: Any,
) -> HttpResponse:
    context = {"section": "compute", "heading": heading, "action": request.path, "typed": typed}
    status = 422 if request.method == "POST" else 200
    return render_dialog(request, DIALOG, {**context, **more}, status=status)
