"""Submissions: scripts, commands and pipelines that nodes run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from ninja import Router, Status
from pydantic import Field

from runs.api.access import ApiRequest, find_run, may_contribute
from runs.api.errors import REFUSALS
from runs.api.run_shape import RunOut, run_out
from runs.api.runs import Below, IntoExperiment, NewRunIn, parent_of, source_of
from runs.api.schemas import In, Json, Key, Text
from runs.errors import InvalidInput, StudioError
from runs.models import ComputeTarget, Run
from runs.services.compute import find_target
from runs.services.experiments import check_experiment_name
from runs.services.new_runs import NewRun, earlier_run
from runs.services.submit import MOST_RETRIES, SUBMITTED, StepSpec, submit
from studio.accounts.models import Workspace

router = Router(by_alias=True)

_LARGEST = 2**31 - 1
_NAMES = {"time_limit": "time_limit_s", "retries": "max_retries", "env": "environment_variables"}


class WorkIn(In):
    """What is to be executed: a script of a snapshot with its arguments, or a command in its folder."""

    snapshot: Text | None = Field(
        None, description="The digest of an uploaded one; a step without has that of the submission."
    )
    script: Text = Field("", description="A path in the snapshot.")
    arguments: list[Text] = Field(
        default_factory=list, description="What the script is called with, word by word."
    )
    command: list[Text] = Field(
        default_factory=list, description="Program and arguments, in place of a script."
    )
    target: Text | None = Field(
        None, description="A compute target; left out, that of the submission, else the workspace's default."
    )
    environment_variables: dict[Key, Text] = Field(
        default_factory=dict, description="Name to value; STUDIO_… and AZUREML_… are Studio's own."
    )
    time_limit_s: Annotated[int, Field(ge=1, le=_LARGEST)] | None = Field(
        None, description="Seconds that an attempt may take, at most 60 days; null for no limit."
    )
    max_retries: int = Field(
        0,
        ge=0,
        le=_LARGEST,
        description=f"How often it is tried again if an attempt fails; at most {MOST_RETRIES}.",
    )


class StepIn(WorkIn):
    """A step of a pipeline; it begins when the steps named in `after` are Completed."""

    name: Text = Field(description="Another than the other steps have.")
    after: list[Text] = Field(default_factory=list, description="The names of the steps that it waits for.")


class SubmissionIn(NewRunIn, WorkIn):
    """A run to be queued: one script or command, or with `steps` a pipeline of several."""

    experiment: IntoExperiment
    parent: Below = None
    run_configuration: Json | None = Field(None, description="Kept and shown as it is.")
    steps: list[StepIn] = Field(
        default_factory=list,
        description="In place of a script or command; variables, limit and retries are then each step's own.",
    )
    continue_on_failure: bool = Field(True, description="Of a pipeline: whether other branches go on.")


@router.post(
    "/workspaces/{workspace}/submissions",
    auth=may_contribute(run_token=True),
    response={200: RunOut, 201: RunOut, **REFUSALS},
)
def submission_create(request: ApiRequest, workspace: str, body: SubmissionIn) -> Status[dict[str, Any]]:
    """Queue a run; the same request with its `run_id` again gives the one that was queued before (200)."""
    parent, by = parent_of(request, body.parent), request.auth.user
    new = body.new_run()
    known = earlier_run(new, request.workspace, body.experiment, SUBMITTED, by=by, parent=parent)
    run, made = (known, False) if known else _submit(request, body, new, parent)
    return Status(201 if made else 200, run_out(find_run(run.run_id)))


def _submit(request: ApiRequest, body: SubmissionIn, new: NewRun, parent: Run | None) -> tuple[Run, bool]:
    check_experiment_name(body.experiment)
    steps, target = _steps(request, body), _default_target(request.workspace, body.target)
    try:
        return submit(
            request.workspace,
            by=request.auth.user,
            experiment_name=body.experiment,
            steps=steps,
            default_target=target,
            display_name=new.display_name,
            description=new.description,
            tags=new.tags,
            continue_on_failure=body.continue_on_failure,
            run_id=new.run_id,
            properties=new.properties,
            parent=parent,
            run_configuration=body.run_configuration,
            request_digest=new.request_digest,
        )
    except StudioError as error:
        error.field = _as_sent(error.field, is_pipeline=bool(body.steps))
        raise


def _steps(request: ApiRequest, body: SubmissionIn) -> list[StepSpec]:
    if not body.steps:
        return [_step(request, body, "", ())]
    if body.script or body.command or body.arguments:
        raise InvalidInput("There are steps and a script too.", field="steps", hint="Give one of both.")
    return [
        _step(request, step, step.name, step.after, prefix=f"steps.{at}.", snapshot=body.snapshot)
        for at, step in enumerate(body.steps)
    ]


def _step(
    request: ApiRequest,
    work: WorkIn,
    name: str,
    after: Sequence[str],
    *,
    prefix: str = "",
    snapshot: str | None = None,
) -> StepSpec:
    source = source_of(request, work.snapshot or snapshot, prefix + "snapshot")
    if source is None:
        raise InvalidInput(
            "There is no snapshot to run.", field=prefix + "snapshot", hint="Upload the folder first."
        )
    return StepSpec(
        name=name,
        script=work.script,
        snapshot=source,
        arguments=work.arguments,
        command=work.command,
        target=_target(request.workspace, work.target, prefix + "target") if prefix else None,
        environment_variables=work.environment_variables,
        time_limit_s=work.time_limit_s,
        max_retries=work.max_retries,
        after=after,
    )


def _target(workspace: Workspace, name: str | None, field: str) -> ComputeTarget | None:
    if name is None:
        return None
    try:
        return find_target(workspace, name)
    except StudioError as error:
        error.field = field
        raise


def _default_target(workspace: Workspace, name: str | None) -> ComputeTarget | None:
    """The target that is asked for, or the workspace's default."""
    asked = _target(workspace, name, "target")
    return asked or ComputeTarget.objects.filter(workspace=workspace, is_default=True).first()


def _as_sent(field: str, *, is_pipeline: bool) -> str:
    """What the API calls an input that the service calls `steps-0-retries`."""
    start, _, rest = field.partition("-")
    at, _, name = rest.partition("-")
    if start != "steps" or not name:
        return field
    name = _NAMES.get(name, name)
    return f"steps.{at}.{name}" if is_pipeline else name
