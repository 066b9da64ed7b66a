"""What the server is, and who asks it."""

from __future__ import annotations

from typing import Any

from ninja import Router
from pydantic import BaseModel, Field

import studio
from runs.api.access import ApiRequest, Token
from runs.api.errors import REFUSALS
from runs.api.schemas import Text
from studio.accounts.models import Membership, Role

router = Router()


class InfoOut(BaseModel):
    """What the server is."""

    product: str = Field(description="Always `studio`.")
    version: str = Field(description="Of Studio, as the header `Studio-Version` says it, too.")
    api_versions: list[int] = Field(description="Those that it speaks: 1 is at `/api/v1`.")


class MyWorkspaceOut(BaseModel):
    """A workspace and the caller's role in it."""

    name: str = Field(description="Unique on this server.")
    role: str = Field(description=f"One of {', '.join(Role)}; each may do what those before it may.")
    subscription_id: str = Field(description="Nothing to Studio; kept for config.json files of Azure ML.")
    resource_group: str = Field(description="Nothing to Studio; kept for config.json files of Azure ML.")
    location: str = Field(description="Nothing to Studio; kept for config.json files of Azure ML.")


class MeOut(BaseModel):
    """Who asks."""

    username: Text = Field(description="Of the person, or of who submitted the run.")
    display_name: str | None = Field(description="Their full name; null if they gave none.")
    run_id: str | None = Field(description="The run whose own token was sent; null for a person.")
    workspaces: list[MyWorkspaceOut] = Field(description="Those that the token reaches, by name.")


@router.get("/info", auth=None, response={200: InfoOut, **REFUSALS})
def info(request: Any) -> dict[str, Any]:
    """What this server is. Needs no token."""
    return {"product": "studio", "version": studio.VERSION, "api_versions": [1]}


@router.get("/me", auth=Token(run_token=True), response={200: MeOut, **REFUSALS})
def me(request: ApiRequest) -> dict[str, Any]:
    """Who the token belongs to, and the workspaces that it reaches."""
    caller = request.auth
    memberships = Membership.objects.filter(user=caller.user).select_related("workspace")
    if caller.run is not None:
        memberships = memberships.filter(workspace=caller.run.workspace_id)
    return {
        "username": caller.user.username,
        "display_name": caller.user.get_full_name() or None,
        "run_id": caller.run.run_id if caller.run else None,
        "workspaces": [
            {
                "name": one.workspace.name,
                "role": one.role,
                "subscription_id": one.workspace.subscription_id,
                "resource_group": one.workspace.resource_group,
                "location": one.workspace.location,
            }
            for one in memberships.order_by("workspace__name")
        ],
    }
