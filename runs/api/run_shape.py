"""The shape of a run in every answer of the API."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from ninja import Field
from pydantic import BaseModel

from runs.api.schemas import Moment, page_url
from runs.models import Run
from runs.services.new_runs import NewRun
from runs.status import Kind
from runs.versions import version_word


class RunErrorOut(BaseModel):
    """Why a run failed."""

    kind: str = Field(serialization_alias="class")
    code: str
    message: str
    traceback: str


class RunOut(BaseModel):
    """A run. `version` changes whenever the run does; `status_reason` is told of single runs alone.

    It says why a run is Queued or Canceled.
    """

    run_id: str
    number: int
    workspace: str
    experiment: str
    experiment_id: int
    parent_run_id: str | None
    root_run_id: str
    kind: str
    status: str
    status_reason: str | None
    display_name: str
    name: str
    description: str
    submitter: str | None
    target: str | None
    node: str | None
    script: str
    arguments: list[str]
    command: list[str]
    run_configuration: dict[str, Any] | None
    snapshot: str | None
    tags: dict[str, str | None]
    properties: dict[str, str]
    attempt: int
    max_retries: int
    time_limit_s: int | None
    created_at: Moment
    queued_at: Moment | None
    started_at: Moment | None
    ended_at: Moment | None
    heartbeat_at: Moment | None
    archived_at: Moment | None
    error: RunErrorOut | None
    exit_code: int | None
    has_children: bool
    url: str
    version: str


class RunDetailOut(RunOut):
    """A run with what is told of it alone. `after` names the steps that it waits for, if it is a step."""

    environment_variables: dict[str, str]
    after: list[str]


_SAME = (
    "run_id",
    "number",
    "experiment_id",
    "kind",
    "status",
    "display_name",
    "name",
    "description",
    "script",
    "arguments",
    "run_configuration",
    "attempt",
    "max_retries",
    "time_limit_s",
    "created_at",
    "queued_at",
    "started_at",
    "ended_at",
    "heartbeat_at",
    "archived_at",
    "exit_code",
)


_Labels = tuple[dict[str, str | None], dict[str, str]]


def run_out(run: Any, *, status_reason: str | None = None, labels: _Labels | None = None) -> dict[str, Any]:
    """The answer for a run out of `Run.objects.for_api()`; no query. `labels` are its tags and properties."""
    tags, properties = labels or (
        {tag.key: tag.value for tag in run.tags.all()},
        {one.key: one.value for one in run.properties.all()},
    )
    return {
        **{name: getattr(run, name) for name in _SAME},
        "workspace": run.workspace.name,
        "experiment": run.experiment.name,
        "parent_run_id": run.parent_run_id,
        "root_run_id": run.root_run_id,
        "status_reason": status_reason,
        "submitter": run.submitter.username if run.submitter else None,
        "target": run.target.name if run.target else None,
        "node": run.node.name if run.node else None,
        "snapshot": run.snapshot_digest,
        "tags": tags,
        "properties": properties,
        "command": run.command_words,
        "error": _error(run),
        "has_children": run.has_children,
        "url": page_url(reverse("run-detail", args=[run.experiment.name, run.number])),
        "version": run_version(run),
    }


def run_detail_out(run: Run, *, status_reason: str | None) -> dict[str, Any]:
    """The answer for a run alone. Two queries more than `run_out`, three for a step."""
    before = Run.objects.filter(dependents__step=run.pk).order_by("number")
    return run_out(run, status_reason=status_reason) | {
        "environment_variables": run.environment_variables,
        "after": list(before.values_list("step_name", flat=True)) if run.kind == Kind.STEP else [],
    }


def new_run_out(run: Run, new: NewRun, parent: Any | None) -> dict[str, Any]:
    """The answer for a run that was made just now out of this, below this parent; no query."""
    fresh: Any = run
    fresh.parent_run_id = parent.run_id if parent else None
    fresh.root_run_id = parent.root_run_id if parent else run.run_id
    fresh.snapshot_digest = run.snapshot.digest if run.snapshot else None
    fresh.has_children = False
    return run_out(fresh, labels=(dict(new.tags), dict(new.properties)))


def _error(run: Run) -> dict[str, str] | None:
    if not run.error_class:
        return None
    return {
        "kind": run.error_class,
        "code": run.error_code,
        "message": run.error_message,
        "traceback": run.error_traceback,
    }


def run_version(run: Run) -> str:
    """A text that changes whenever the run does; of one that has just changed, at every look."""
    return version_word(run.updated_at)
