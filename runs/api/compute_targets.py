"""Compute targets and their nodes."""

from __future__ import annotations

from typing import Any

from ninja import Router, Status
from pydantic import BaseModel, Field, StrictBool

from runs.api.access import ApiRequest, may_look, may_manage
from runs.api.errors import REFUSALS
from runs.api.schemas import Description, In, Moment, TargetName, Text
from runs.errors import Conflict
from runs.models.compute import NODE_ALIVE_FOR
from runs.services import compute
from runs.services.target_overview import TargetRow, target_row, target_rows

router = Router()

TARGETS = "/workspaces/{workspace}/compute-targets"


class NodeOut(BaseModel):
    """A worker machine."""

    name: str = Field(description="Of the machine, the same for each compute target that it serves.")
    slots: int = Field(description="How many runs it takes at a time, for all its compute targets.")
    used: int = Field(description="How many of its slots are taken, whichever compute target that is for.")
    alive: bool = Field(description=f"Whether it was seen in the last {NODE_ALIVE_FOR.seconds} seconds.")
    drained: bool = Field(description="Whether it takes no new runs.")
    started_at: Moment | None = Field(description="When it began to serve; null if it never did.")
    last_seen_at: Moment | None = Field(description="Its last sign of life; null for none.")
    facts: dict[str, Any] = Field(
        description="What it has: cpus, memory_bytes, gpus (names), python, system."
    )


class TargetOut(BaseModel):
    """A compute target."""

    name: str = Field(description="Unique in its workspace; it never changes.")
    description: str = Field(description="Whatever people wrote about it.")
    is_default: bool = Field(description="Whether runs that name no compute target are for it.")
    created_at: Moment = Field(description="When it was made.")
    slots: int = Field(description="Of its nodes that are alive and not drained.")
    used: int = Field(description="How many of these slots are taken.")
    queued: int = Field(description="How many runs wait for a slot of it.")
    nodes: list[NodeOut] = Field(description="The machines that serve it, or did and were not forgotten.")


class TargetList(BaseModel):
    """All compute targets of a workspace."""

    items: list[TargetOut] = Field(description="The compute targets, the default first.")


class NewTarget(In):
    """A compute target to be made. The first of a workspace becomes its default."""

    name: TargetName = Field(description="Unique in its workspace; it never changes.")
    description: Description = Field("", description="For people.")
    is_default: StrictBool = Field(False, description="Whether it becomes the default in place of another.")


class TargetChange(In):
    """What is to change; what is left out, or null, stays."""

    description: Description | None = Field(None, description="For people.")
    is_default: StrictBool | None = Field(None, description="Only true: one target is always the default.")


class NodeChange(In):
    """Whether the node is to take no new runs."""

    drained: StrictBool = Field(description="False lets it take runs again.")


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
