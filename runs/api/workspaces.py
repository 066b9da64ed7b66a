"""Workspaces."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from ninja import Router
from pydantic import BaseModel, Field

from runs.api.access import ApiRequest, Token, may_look
from runs.api.errors import REFUSALS
from runs.api.paging import Asked, Page, page_by
from runs.api.schemas import Moment, page_url
from studio.accounts.models import Workspace

router = Router()


class WorkspaceOut(BaseModel):
    """A workspace."""

    name: str = Field(description="Unique on this server.")
    description: str = Field(description="Whatever people wrote about it.")
    subscription_id: str = Field(description="Nothing to Studio; kept for config.json files of Azure ML.")
    resource_group: str = Field(description="Nothing to Studio; kept for config.json files of Azure ML.")
    location: str = Field(description="Nothing to Studio; kept for config.json files of Azure ML.")
    url: str = Field(description="The address of the page of experiments.")
    created_at: Moment = Field(description="When it was made.")


def workspace_out(workspace: Workspace) -> dict[str, Any]:
    """The answer for a workspace."""
    names = ("name", "description", "subscription_id", "resource_group", "location", "created_at")
    url = page_url(reverse("experiment-list"), workspace.name)
    return {name: getattr(workspace, name) for name in names} | {"url": url}


@router.get("/workspaces", auth=Token(run_token=True), response={200: Page[WorkspaceOut], **REFUSALS})
def workspace_list(request: ApiRequest, paging: Asked) -> dict[str, Any]:
    """The caller's workspaces, by name; with a run's own token, the one of its run."""
    caller = request.auth
    rows = Workspace.objects.filter(memberships__user=caller.user)
    if caller.run is not None:
        rows = Workspace.objects.filter(pk=caller.run.workspace_id)
    found, onward = page_by(rows, "name", paging)
    return {"items": [workspace_out(one) for one in found], "next_cursor": onward}


@router.get(
    "/workspaces/{workspace}", auth=may_look(run_token=True), response={200: WorkspaceOut, **REFUSALS}
)
def workspace_detail(request: ApiRequest, workspace: str) -> dict[str, Any]:
    """One workspace."""
    return workspace_out(request.workspace)
