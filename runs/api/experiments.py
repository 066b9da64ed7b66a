"""Experiments of a workspace."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.db import transaction
from django.urls import reverse
from ninja import Router, Status
from pydantic import BaseModel, Field

from runs.api.access import NO_RUN_TOKEN, WHAT_A_RUN_MAY, ApiRequest, may_contribute, may_look
from runs.api.errors import REFUSALS
from runs.api.paging import Asked, Page, page_by
from runs.api.parameters import Query
from runs.api.schemas import Description, ExperimentName, In, Labels, Moment, Text, page_url
from runs.errors import Conflict, InvalidName, NotFound, PermissionDenied
from runs.models import Experiment
from runs.services.experiments import archive_experiment, edit_experiment, find_or_create_experiment

router = Router()


class ExperimentOut(BaseModel):
    """An experiment."""

    id: int = Field(description="Unique on this server; `experiment_id` of its runs.")
    name: str = Field(description="Unique in its workspace; it never changes.")
    workspace: str = Field(description="The name of its workspace.")
    description: str = Field(description="Markdown.")
    tags: dict[str, str | None] = Field(description="Key to value, or to null for a tag without one.")
    archived_at: Moment | None = Field(description="Null unless it is archived.")
    created_at: Moment = Field(description="When it was made.")
    last_number: int = Field(description="Of its newest run, and how many it has; 0 before the first.")
    url: str = Field(description="The address of its page.")


class ExperimentIn(In):
    """A new experiment."""

    name: ExperimentName = Field(description="Unique in its workspace; it never changes.")
    description: Description = Field("", description="Markdown; counts only if it is new.")
    exist_ok: bool = Field(True, description="Whether one that is there already is the answer.")


class ExperimentChanges(In):
    """What is to be changed; what is left out stays."""

    description: Description | None = Field(None, description="Markdown.")
    tags: Labels | None = Field(
        None, description="Key to value, or to null for a tag without one; they replace all that there are."
    )
    archived: bool | None = Field(
        None, description="Whether lists leave it out, and nothing new begins in it, from now on."
    )


class Filter(BaseModel):
    """Which experiments are listed."""

    view: Literal["active", "archived", "all"] = Field(
        "active", description="Those that are not archived, those that are, or both."
    )
    name: Text | None = Field(None, description="The whole name of one.")


def experiment_out(experiment: Experiment) -> dict[str, Any]:
    """The answer for an experiment with its workspace."""
    names = ("id", "name", "description", "tags", "archived_at", "created_at", "last_number")
    path = reverse("experiment-detail", args=[experiment.name])
    return {name: getattr(experiment, name) for name in names} | {
        "workspace": experiment.workspace.name,
        "url": page_url(path, experiment.workspace.name),
    }


def find_experiment(request: ApiRequest, name: str) -> Experiment:
    """The workspace's experiment of this name. Raises NotFound, PermissionDenied."""
    _keep_to_own(request, name)
    found = Experiment.objects.filter(workspace=request.workspace, name=name) if "\0" not in name else None
    experiment = found.select_related("workspace").first() if found is not None else None
    if experiment is None:
        raise NotFound(f"There is no experiment {name[:255]}.", field="experiment")
    return experiment


def _keep_to_own(request: ApiRequest, name: str) -> None:
    run = request.auth.run
    if run is not None and run.experiment.name != name:
        raise PermissionDenied(NO_RUN_TOKEN, hint=WHAT_A_RUN_MAY)


@router.get(
    "/workspaces/{workspace}/experiments", auth=may_look(), response={200: Page[ExperimentOut], **REFUSALS}
)
def experiment_list(
    request: ApiRequest, workspace: str, filters: Annotated[Filter, Query()], paging: Asked
) -> dict[str, Any]:
    """The experiments of a workspace by name; those that are not archived unless `view` says otherwise."""
    rows = Experiment.objects.in_workspace(request.workspace).select_related("workspace")
    if filters.view != "all":
        rows = rows.filter(archived_at__isnull=filters.view == "active")
    if filters.name is not None:
        rows = rows.filter(name=filters.name)
    found, onward = page_by(rows, "name", paging)
    return {"items": [experiment_out(one) for one in found], "next_cursor": onward}


@router.post(
    "/workspaces/{workspace}/experiments",
    auth=may_contribute(run_token=True),
    response={200: ExperimentOut, 201: ExperimentOut, **REFUSALS},
)
def experiment_create(request: ApiRequest, workspace: str, body: ExperimentIn) -> Status[dict[str, Any]]:
    """Make an experiment, or with `exist_ok` find the one that is there (200)."""
    _keep_to_own(request, body.name)
    try:
        experiment, made = find_or_create_experiment(
            request.workspace, body.name, by=request.auth.user, description=body.description
        )
    except InvalidName as error:
        raise InvalidName(error.message, field="name", hint=error.hint) from None
    if not made and not body.exist_ok:
        raise Conflict(f"There is an experiment {experiment.name} already.", field="name")
    return Status(201 if made else 200, experiment_out(experiment))


@router.get(
    "/workspaces/{workspace}/experiments/{experiment}",
    auth=may_look(run_token=True),
    response={200: ExperimentOut, **REFUSALS},
)
def experiment_detail(request: ApiRequest, workspace: str, experiment: str) -> dict[str, Any]:
    """One experiment."""
    return experiment_out(find_experiment(request, experiment))


@router.patch(
    "/workspaces/{workspace}/experiments/{experiment}",
    auth=may_contribute(),
    response={200: ExperimentOut, **REFUSALS},
)
def experiment_edit(
    request: ApiRequest, workspace: str, experiment: str, body: ExperimentChanges
) -> dict[str, Any]:
    """Change the description or the tags, archive it or bring it back."""
    found, by = find_experiment(request, experiment), request.auth.user
    with transaction.atomic():
        if body.description is not None or body.tags is not None:
            edit_experiment(found, by=by, description=body.description, tags=body.tags)
        if body.archived is not None:
            archive_experiment(found, by=by, archived=body.archived)
    found.refresh_from_db()
    return experiment_out(found)
