"""Runs: interactive ones are made here; all are listed, looked at, changed and waited for."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from ninja import Router, Status
from pydantic import Field

from runs.api.access import (
    NOT_YOUR_RUN,
    ApiRequest,
    find_run,
    may_contribute,
    may_look,
    may_read_run,
    may_write_run,
)
from runs.api.errors import REFUSALS
from runs.api.experiments import find_experiment
from runs.api.listing import RunFilters, list_runs
from runs.api.long_polls import wait_until
from runs.api.paging import Asked, Page
from runs.api.parameters import Query
from runs.api.run_shape import RunDetailOut, RunOut, new_run_out, run_detail_out, run_out, run_version
from runs.api.schemas import Description, DisplayName, ExperimentName, In, Labels, Properties, RunId, Text
from runs.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from runs.models import ComputeTarget, Run, Snapshot
from runs.services.cancel import why_canceled
from runs.services.compute import why_waiting
from runs.services.interactive import create_interactive
from runs.services.new_runs import NewRun, check_new_run
from runs.services.runs import archive_runs, edit_run, freeze_source
from runs.services.snapshot_uploads import find_snapshot
from runs.services.waiting import look_below, stop_waiting, wait_for_child
from runs.versions import settled

router = Router(by_alias=True)

LONGEST_WAIT_S = 25.0

#: Where a new run belongs.
IntoExperiment = Annotated[ExperimentName, Field(description="The name of one; made if it is new.")]
Below = Annotated[Text | None, Field(description="The run_id of its parent; null for none.")]


class NewRunIn(In):
    """What may be said of any new run; without a `run_id` Studio chooses one."""

    run_id: RunId | None = Field(
        None,
        description="Studio chooses one if it is left out. The same request with it again gives the run that "
        "it made; with other content it is 409.",
    )
    display_name: DisplayName = Field("", description='What pages call it; "" leaves that to them.')
    description: Description = Field("", description="Markdown.")
    tags: Labels = Field(default_factory=dict, description="Key to value, or to null for a tag without one.")
    properties: Properties = Field(default_factory=dict, description="Key to value; they never change.")

    def new_run(self, digest: UUID | None = None) -> NewRun:
        """The same for the services, checked; `digest` is of what it is a part of. Raises as they do."""
        texts = (self.run_id or "", self.display_name, self.description)
        digest = digest or (self.digest() if self.run_id else None)
        return check_new_run(NewRun(*texts, self.tags, self.properties, digest))


class InteractiveRunIn(NewRunIn):
    """A new run of a process that Studio does not start."""

    experiment: IntoExperiment
    parent: Below = None
    start: bool = Field(True, description="Whether it is Running from now on, with a heartbeat to be sent.")
    snapshot: Text | None = Field(None, description="The digest of an uploaded one; null for none.")


class RunChanges(In):
    """What is to be changed; what is left out stays."""

    display_name: DisplayName | None = Field(None, description='"" leaves it to pages what they call it.')
    description: Description | None = Field(None, description="Markdown.")
    archived: bool | None = Field(
        None, description="Whether lists leave it out from now on; only a run that has ended can be archived."
    )
    snapshot: Text | None = Field(None, description="The digest of one, for a run that has none yet.")


def parent_of(request: ApiRequest, run_id: str | None) -> Run | None:
    """The parent that a new run is to have; with a run's own token, itself or a descendant. Raises."""
    if run_id is None:
        if request.auth.run is not None:
            raise PermissionDenied(NOT_YOUR_RUN, field="parent", hint="Make the new run its child.")
        return None
    try:
        parent = find_run(run_id)
    except NotFound as error:
        raise NotFound(error.message, field="parent") from None
    if parent.workspace_id != request.workspace.pk:
        raise NotFound(f"There is no run {run_id[:256]}.", field="parent")
    if not request.auth.may_write(parent):
        raise PermissionDenied(NOT_YOUR_RUN, field="parent")
    return parent


def source_of(request: ApiRequest, digest: str | None, field: str = "snapshot") -> Snapshot | None:
    """The snapshot of this digest, if one is named. Raises InvalidInput if the workspace has none such."""
    if digest is None:
        return None
    try:
        return find_snapshot(request.workspace, digest, by=request.auth.user)
    except NotFound as error:
        raise InvalidInput(error.message, field=field, hint="Upload it first.") from None


@router.get(
    "/workspaces/{workspace}/runs", auth=may_look(run_token=True), response={200: Page[RunOut], **REFUSALS}
)
def run_list(
    request: ApiRequest, workspace: str, filters: Annotated[RunFilters, Query()], paging: Asked
) -> dict[str, Any]:
    """The runs that a search and these filters find, newest first. Children are left out unless asked for."""
    runs: QuerySet[Run] = Run.objects.in_workspace(request.workspace)
    own = request.auth.run
    if own is not None:
        top = own.root_id or own.pk
        runs = runs.filter(pk=top) | runs.filter(root=top)
    _check_named(request, runs, filters)
    if filters.experiment is not None:
        experiment = find_experiment(request, filters.experiment)
        # The workspace beside it would make databases choose the index of the workspace.
        runs = (Run.objects if own is None else runs).filter(experiment=experiment)
    return list_runs(runs, filters, paging, workspace=request.workspace, person=request.auth.user)


def _check_named(request: ApiRequest, runs: QuerySet[Run], filters: RunFilters) -> None:
    """One query for each that is named. Raises NotFound for a run or a target that is not there."""
    for field in ("parent", "root"):
        run_id = getattr(filters, field)
        if run_id is not None and not runs.filter(run_id=run_id).exists():
            raise NotFound(f"There is no run {run_id[:256]}.", field=field)
    targets = ComputeTarget.objects.filter(workspace=request.workspace, name=filters.target)
    if filters.target is not None and not targets.exists():
        raise NotFound(f"There is no compute target {filters.target[:64]}.", field="target")


@router.post(
    "/workspaces/{workspace}/runs",
    auth=may_contribute(run_token=True),
    response={200: RunOut, 201: RunOut, **REFUSALS},
)
def run_create(request: ApiRequest, workspace: str, body: InteractiveRunIn) -> Status[dict[str, Any]]:
    """Make an interactive run; the same request with its `run_id` again gives the one made before (200)."""
    parent, by = parent_of(request, body.parent), request.auth.user
    new, snapshot = body.new_run(), source_of(request, body.snapshot)
    run, made = create_interactive(
        request.workspace, body.experiment, new, by=by, parent=parent, start=body.start, snapshot=snapshot
    )
    return Status(201, new_run_out(run, new, parent)) if made else Status(200, run_out(find_run(run.run_id)))


@router.get("/runs/{run_id}", auth=may_read_run(), response={200: RunDetailOut, **REFUSALS})
def run_detail(request: ApiRequest, run_id: str) -> dict[str, Any]:
    """One run, with its environment variables. Of a queued one, `status_reason` says why it waits.

    A run that asks with its own token after one that descends from it gives its slot back for a while, as if
    it waited, if something below it has been queued for five seconds.
    """
    waiter = request.auth.parent_of(request.run)
    if waiter is not None:
        look_below(waiter)
    return run_detail_out(request.run, status_reason=_reason(request.run))


def _reason(run: Run) -> str | None:
    waiting = why_waiting(run)
    return waiting.reason if waiting else why_canceled(run)


@router.patch("/runs/{run_id}", auth=may_write_run(), response={200: RunOut, **REFUSALS})
def run_edit(request: ApiRequest, run_id: str, body: RunChanges) -> dict[str, Any]:
    """Change its name or description, archive it or bring it back, give it the snapshot that it lacks."""
    run, by = request.run, request.auth.user
    if body.archived and not run.is_terminal:
        raise Conflict(f"{run.name} has not ended, so it cannot be archived.", field="archived")
    with transaction.atomic():
        if body.archived is False:
            archive_runs(Run.objects.filter(pk=run.pk), by=by, archived=False)
        if body.display_name is not None or body.description is not None:
            edit_run(run, by=by, display_name=body.display_name, description=body.description)
        if body.snapshot is not None:
            source = find_snapshot(request.workspace, body.snapshot, by=by, field="snapshot")
            freeze_source(run, source)
        if body.archived:
            archive_runs(Run.objects.filter(pk=run.pk), by=by)
    return run_out(find_run(run_id))


@router.get("/runs/{run_id}/wait", auth=may_read_run(), response={200: RunOut, **REFUSALS})
def run_wait(
    request: ApiRequest,
    run_id: str,
    since: Annotated[
        Text | None, Query(description="The `version` that is known; now's if left out.")
    ] = None,
    timeout: Annotated[
        float, Query(ge=0, le=LONGEST_WAIT_S, description="Seconds after which it answers in any case.")
    ] = 20,
) -> dict[str, Any]:
    """The run as soon as it is another than the one known, or has ended; else after `timeout` seconds.

    When too many wait already, the answer comes at once: ask again half a second later. A run that waits with
    its own token for one that descends from it gives its slot back meanwhile.
    """
    run, waiter = request.run, request.auth.parent_of(request.run)
    known = since or settled(run_version(run))
    if waiter is not None and not run.is_terminal:
        wait_for_child(waiter, run)
    if not _is_news(run, known):
        seen = wait_until(lambda seen: _is_news(seen, known), lambda: _state(run), timeout_s=timeout)
        run = find_run(run_id) if _is_news(seen, known) else run
    if waiter is not None and run.is_terminal:
        stop_waiting(waiter)
    return run_out(run, status_reason=_reason(run))


def _state(run: Run) -> Run:
    return Run.objects.only("status", "updated_at").get(pk=run.pk)


def _is_news(run: Run, known: str) -> bool:
    now = run_version(run)
    # Of one that has just changed no version is known: the answer waits until that moment is past.
    is_known = now == known or (now != settled(now) and settled(now) == settled(known))
    return run.is_terminal or not is_known
