"""Workspaces are made and named by whoever runs the server; their owners do the rest on the pages."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef

from runs.errors import Conflict, InvalidName
from runs.folding import spelled_out
from runs.models import Run
from runs.services.compute import create_target
from studio.accounts.changes import record
from studio.accounts.models import Membership, Role, User, Workspace
from studio.accounts.models.workspace import WORKSPACE_NAME

FIRST_TARGET = "local"


def add_workspace(name: str, *, owner: User) -> Workspace:
    """A workspace of this owner, with a compute target `local`. Raises InvalidName, Conflict."""
    _check_name(name)
    try:
        with transaction.atomic():
            workspace = Workspace.objects.create(name=name)
            Membership.objects.create(user=owner, workspace=workspace, role=Role.OWNER)
            create_target(workspace, FIRST_TARGET, by=owner)
    except IntegrityError:
        raise _taken(name) from None
    return workspace


def rename_workspace(workspace: Workspace, name: str, *, by: User) -> None:
    """Give it another name; everything in it stays. Raises InvalidName, Conflict.

    Not while scripts run in it, which were told its name when they were started.
    """
    _check_name(name)
    active = Run.objects.on_node().filter(workspace=OuterRef("pk"))
    try:
        with transaction.atomic():
            renamed = Workspace.objects.filter(~Exists(active), pk=workspace.pk).update(name=name)
            if not renamed:
                raise _active(workspace)
            record(workspace, "member:", f"named the workspace {name}; it was {workspace.name}", by=by)
    except IntegrityError:
        raise _taken(name) from None
    workspace.name = name


def _active(workspace: Workspace) -> Conflict:
    count = Run.objects.on_node().filter(workspace=workspace).count()
    if not count:
        return Conflict(f"{workspace.name} has changed meanwhile.", hint="Try again.")
    return Conflict(
        f"{count} run{'s are' if count > 1 else ' is'} active in {workspace.name}; scripts know the "
        "workspace by its name.",
        hint="Wait for them, or cancel them.",
    )


def _check_name(name: str) -> None:
    try:
        WORKSPACE_NAME(name)
    except ValidationError as error:
        raise InvalidName(
            f"“{spelled_out(name[:40])}” cannot be a workspace's name.", field="name", hint=str(error.message)
        ) from None


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a workspace {name} already.", field="name")
