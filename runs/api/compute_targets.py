"""Compute targets and their nodes."""

from __future__ import annotations

from typing import Any

from ninja import Router, Status
from pydantic import BaseModel, Field, StrictBool

from runs.api.access import ApiRequest, may_look, may_manage
from runs.api.errors import REFUSALS
from runs.api.schemas import Description, In, Moment, TargetName, Text
from runs.errors import Conflict
from runs.services import compute
from runs.services.target_overview import TargetRow, target_row, target_rows

router = Router()

TARGETS = "/workspaces/{workspace}/compute-targets"


class NodeOut(BaseModel):
    """A worker machine. One that is drained takes no new runs; `facts` says what the machine has."""

    name: str
    slots: int
    used: int
    alive: bool
    drained: bool
    started_at: Moment | None
    last_seen_at: Moment | None
    facts: dict[str, Any]


class TargetOut(BaseModel):
    """A compute target: the slots of its nodes that take runs, how many of them are used, and what waits."""

    name: str
    description: str
    is_default: bool
    created_at: Moment
    slots: int
    used: int
    queued: int
    nodes: list[NodeOut]


class TargetList(BaseModel):
    """All compute targets of a workspace."""

    items: list[TargetOut]


class NewTarget(In):
    """A compute target to be made. The first of a workspace becomes its default."""

    name: TargetName
    description: Description = ""
    is_default: StrictBool = False


class TargetChange(In):
    """What is to change; what is left out, or null, stays."""

    description: Description | None = None
    is_default: StrictBool | None = Field(None, description="Only true: one target is always the default.")


class NodeChange(In):
    """Whether the node is to take no new runs."""

    drained: StrictBool


def target_out(row: TargetRow) -> dict[str, Any]:
    """The answer for a compute target; no query."""
    target = row.target
    return {
        "name": target.name,
        "description": target.description,
        "is_default": target.is_default,
        "created_at": target.created_at,
        "slots": row.slots,
        "used": row.used,
        "queued": row.queued,
        "nodes": [
            {
                "name": one.node.name,
                "slots": one.node.slots,
                "used": one.used,
                "alive": one.is_alive,
                "drained": one.node.drained_at is not None,
                "started_at": one.node.started_at,
                "last_seen_at": one.node.last_seen_at,
                "facts": one.node.facts,
            }
            for one in row.nodes
        ],
    }


@router.get(TARGETS, auth=may_look(run_token=True), response={200: TargetList, **REFUSALS})
def target_list(request: ApiRequest, workspace: str) -> dict[str, Any]:
    """All compute targets with their nodes, the default first."""
    return {"items": [target_out(row) for row in target_rows(request.workspace)[0]]}


@router.post(TARGETS, auth=may_manage(), response={201: TargetOut, **REFUSALS})
def target_create(request: ApiRequest, workspace: str, new: NewTarget) -> Status[dict[str, Any]]:
    """Make a compute target. It takes runs at once, and they wait until a node serves it."""
    target = compute.create_target(
        request.workspace,
        new.name,
        by=request.auth.user,
        description=new.description,
        default=new.is_default,
    )
    return Status(201, target_out(target_row(request.workspace, target.name)))


@router.get(TARGETS + "/{target}", auth=may_look(run_token=True), response={200: TargetOut, **REFUSALS})
def target_detail(request: ApiRequest, workspace: str, target: Text) -> dict[str, Any]:
    """One compute target with its nodes."""
    return target_out(target_row(request.workspace, target))


@router.patch(TARGETS + "/{target}", auth=may_manage(), response={200: TargetOut, **REFUSALS})
def target_edit(request: ApiRequest, workspace: str, target: Text, change: TargetChange) -> dict[str, Any]:
    """Change the description, or make it the default. Its name stays: scripts and queues are bound to it."""
    row = target_row(request.workspace, target).target
    if change.is_default is False and row.is_default:
        raise Conflict(
            f"{row.name} is the default.", field="is_default", hint="Make another one the default instead."
        )
    if change.description is not None:
        compute.edit_target(row, by=request.auth.user, description=change.description)
    if change.is_default and not row.is_default:
        compute.set_default_target(row, by=request.auth.user)
    return target_out(target_row(request.workspace, row.name))


@router.patch(TARGETS + "/{target}/nodes/{node}", auth=may_manage(), response={200: TargetOut, **REFUSALS})
def node_edit(
    request: ApiRequest, workspace: str, target: Text, node: Text, change: NodeChange
) -> dict[str, Any]:
    """Drain a node, or let it take runs again; its runs go on either way."""
    found = compute.find_node(request.workspace, target, node)
    compute.drain_node(found, by=request.auth.user, drained=change.drained)
    return target_out(target_row(request.workspace, target))


@router.delete(TARGETS + "/{target}/nodes/{node}", auth=may_manage(), response={204: None, **REFUSALS})
def node_forget(request: ApiRequest, workspace: str, target: Text, node: Text) -> Status[None]:
    """Forget a node that is gone for good; 409 while it is alive or has runs."""
    compute.forget_node(compute.find_node(request.workspace, target, node), by=request.auth.user)
    return Status(204, None)
