"""Compute targets and nodes: what people do with them, and what pages say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, Subquery
from django.db.models.functions import Now

from runs.errors import Conflict, InvalidName, NotFound, UnknownTarget
from runs.folding import spelled_out
from runs.models import ComputeTarget, Node, Run
from runs.models.compute import TARGET_NAME, TARGET_NAME_RULE
from runs.services.descriptions import check_description
from runs.services.edits import changed_fields
from runs.status import Status
from studio.accounts.changes import record
from studio.accounts.models import User, Workspace


def find_target(workspace: Workspace, name: str) -> ComputeTarget:
    """The target of this name. Raises UnknownTarget with the names that there are."""
    target = ComputeTarget.objects.filter(workspace=workspace, name=name).first()
    if target is None:
        names = ", ".join(
            ComputeTarget.objects.filter(workspace=workspace).values_list("name", flat=True)[:20]
        )
        raise UnknownTarget(
            f"There is no compute target “{spelled_out(name[:40])}”.",
            field="target",
            hint=f"There is {names}."
            if names
            else f"There is none yet: `python manage.py node --targets {workspace.name}/local` makes one and "
            "runs what is submitted to it, and the page Compute makes others.",
        )
    return target


def check_target_name(name: str) -> None:
    """Raises InvalidName for what no compute target can be called."""
    try:
        TARGET_NAME(name)
    except ValidationError:
        raise InvalidName(
            f"“{spelled_out(name[:40])}” cannot be a compute target's name."
            if name
            else "A compute target needs a name.",
            field="name",
            hint=TARGET_NAME_RULE,
        ) from None


def create_target(
    workspace: Workspace, name: str, *, by: User | None, description: str = "", default: bool = False
) -> ComputeTarget:
    """Make a target; the first of a workspace becomes its default. Raises InvalidName, Conflict."""
    name = name.strip()
    check_target_name(name)
    others = ComputeTarget.objects.filter(workspace=workspace)
    try:
        with transaction.atomic():
            # Of two firsts one is the default.
            Workspace.objects.select_for_update(no_key=True).only("pk").get(pk=workspace.pk)
            target = ComputeTarget.objects.create(
                workspace=workspace,
                name=name,
                description=check_description(description),
                is_default=not others.filter(is_default=True).exists(),
            )
    except IntegrityError:
        raise Conflict(f"There is a compute target {name} already.", field="name") from None
    _record(target, "made it", by=by)
    if default:
        set_default_target(target, by=by)
    return target


def about_target(target: ComputeTarget) -> str:
    """What changes of this target are kept under."""
    return f"target:{target.name}"


def _record(target: ComputeTarget, text: str, *, by: User | None) -> None:
    record(target.workspace_id, about_target(target), text, by=by)


def edit_target(
    target: ComputeTarget, *, by: User, description: str, opened: Mapping[str, str] | None = None
) -> None:
    """Change the description if it differs from `opened`, what was seen of it (else from what is there).

    Raises InvalidInput, Overtaken if somebody else changed it. The name stays: queues and scripts are bound
    to it.
    """
    with transaction.atomic():
        held = ComputeTarget.objects.select_for_update(no_key=True).get(pk=target.pk)
        typed, now = {"description": description}, {"description": held.description}
        if changed_fields(typed, opened=opened or {}, now=now):
            changed = check_description(description)
            ComputeTarget.objects.filter(pk=target.pk).update(description=changed, updated_at=Now())
            _record(target, "changed the description", by=by)


def set_default_target(target: ComputeTarget, *, by: User | None) -> None:
    """Make this the default target of its workspace."""
    with transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).get(pk=target.workspace_id)  # one choice at a time
        others = ComputeTarget.objects.filter(workspace_id=target.workspace_id, is_default=True)
        others.exclude(pk=target.pk).update(is_default=False, updated_at=Now())
        ComputeTarget.objects.filter(pk=target.pk).update(is_default=True, updated_at=Now())
        _record(target, "made it the default", by=by)


def find_node(workspace: Workspace, target: str, name: str) -> Node:
    """The node of this name that serves a target. Raises NotFound."""
    node = Node.objects.filter(target__workspace=workspace, target__name=target, name=name).first()
    if node is None:
        raise NotFound(f"No node {spelled_out(name[:40])} serves {spelled_out(target[:40])}.", field="node")
    return node


def drain_node(node: Node, *, by: User, drained: bool = True) -> bool:
    """Let a node take nothing new (its runs go on), or let it take runs again; whether that changed it."""
    rows = Node.objects.filter(pk=node.pk, drained_at__isnull=drained)
    changed = bool(rows.update(drained_at=Now() if drained else None, drained_by=by if drained else None))
    if changed:
        text = f"drained {node.name}" if drained else f"let {node.name} take runs again"
        _record(node.target, text, by=by)
    return changed


def forget_node(node: Node, *, by: User) -> None:
    """Drop a node that is gone for good. Raises Conflict while it is alive or has runs."""
    if Node.objects.alive().filter(pk=node.pk).exists():
        raise Conflict(f"{node.name} is alive.", hint="Stop it first.")
    if Run.objects.filter(node=node).on_node().exists():
        raise Conflict(
            f"{node.name} still has runs.", hint="They end as lost when its last sign of life is too old."
        )
    target, name = node.target, node.name
    with transaction.atomic():
        Run.objects.filter(node=node).update_in_order(node=None)
        node.delete()
    _record(target, f"forgot {name}", by=by)


@dataclass(frozen=True)
class Waiting:
    """Why a queued run waits: its place (1 is next), the nodes alive, their slots and how many are taken.

    `reason` says it in a sentence.
    """

    place: int
    queued: int
    nodes_alive: int
    slots: int
    slots_used: int
    draining: int
    reason: str


def why_waiting(run: Run) -> Waiting | None:
    """What a queued run waits for; None when it does not wait in a queue. Four queries."""
    if run.status != Status.QUEUED or run.target is None:
        return None
    queue = Run.objects.queued().filter(target_id=run.target_id).order_by()
    # Compared inside the database: SQLite's own clock writes fewer digits than a Python time has.
    since = Subquery(Run.objects.filter(pk=run.pk).values("queued_at"))
    ahead = queue.filter(Q(queued_at__lt=since) | Q(queued_at=since, pk__lt=run.pk)).count()
    queued = queue.count()
    alive = list(Node.objects.alive().filter(target_id=run.target_id))
    taking = [node for node in alive if node.drained_at is None]
    slots = sum(node.slots for node in taking)
    names = [node.name for node in taking]
    used = Run.objects.filter(node__name__in=names, holds_slot=True).count() if names else 0
    reason = _reason(run.target.name, ahead, len(alive), len(taking), slots, used)
    return Waiting(ahead + 1, queued, len(alive), slots, used, len(alive) - len(taking), reason)


def _reason(target: str, ahead: int, alive: int, taking: int, slots: int, used: int) -> str:
    if not alive:
        return f"No node serves {target}."
    if not taking:
        return f"Every node of {target} is draining and takes nothing new."
    if used >= slots:
        queue = f"{ahead} queued before it" if ahead else "it is next"
        taken = "The only slot" if slots == 1 else f"All {slots} slots"
        return f"{taken} of {target} {'is' if slots == 1 else 'are'} taken; {queue}."
    if ahead:
        return f"{ahead} queued before it on {target}."
    return f"{target} has a free slot; a node is about to claim it."
